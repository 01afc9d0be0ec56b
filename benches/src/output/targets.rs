//! What muxado is to reach, and what it has reached in this run.

use super::{report::Line, table::Table};
use crate::{peers, sample::Sample, stats, workload::Workload};

/// The number that a target is about.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// Exchanges, items or bytes in a time.
    Rate,
    /// The time that one exchange takes, where rates are measured.
    Time,
    /// Within this 99 of 100 exchanges are done.
    P99,
    /// The same of 999 of 1000.
    P999,
    /// What is held.
    Bytes,
}

/// What ours is compared with.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// Peers in the same workload; the better one counts.
    Peers(&'static [&'static str]),
    /// Another peer of ours in the same workload.
    Ours(&'static str),
    /// The same peer of ours in another workload, which takes turns with this one.
    Workload(&'static str),
    /// Nothing: it is a number of ours, of the worst of these.
    Nothing(&'static [&'static str]),
}

/// How it is judged.
#[derive(Clone, Copy, Debug)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// One aim, for several workloads.
struct Target {
    workloads: &'static [&'static str],
    modes: &'static [&'static str],
    number: Number,
    against: Against,
    bar: Bar,
}

const CT: &[&str] = &["ct"];
const MT: &[&str] = &["mt"];
const BOTH: &[&str] = &["ct", "mt"];

/// tarpc's codecs: the best one counts.
const TARPC: Against = Against::Peers(&["tarpc-messagepack", "tarpc-bincode"]);
const TONIC: Against = Against::Peers(&["tonic"]);
/// Who is best at large calls.
const LARGE: Against = Against::Peers(&["tarpc-messagepack", "tarpc-bincode", "capnp-rpc"]);

const UNARY: &[&str] = &["unary-64", "unary-256", "unary-1024"];
const JSON: &[&str] = &["unary-json-64", "unary-json-256"];
const STREAMS: &[&str] = &["streams-64", "streams-256"];
const WAITING: &[&str] = &["hop-64", "hop-256", "sleep-1024"];
const FLEETS: &[&str] = &["fleet-50x20", "fleet-500x2", "fleet-5000x1"];
const STEADY: &[&str] = &["open-50k", "open-100k", "open-200k"];
const ITEMS: &[&str] = &["items", "items-channel", "bidi-items"];
const ECHO: &[&str] = &["echo-1m-1", "echo-1m-8", "echo-32m-1"];

const TARGETS: &[Target] = &[
    // Handlers that wait.
    Target::at_least(2.0, WAITING, CT, TARPC),
    Target::at_least(1.5, WAITING, MT, TARPC),
    Target::at_least(8.0, WAITING, BOTH, TONIC),
    // Handlers that never wait.
    Target::at_least(4.0, &["unary-64", "unary-256"], CT, TARPC),
    Target::at_least(3.5, &["unary-1024"], CT, TARPC),
    Target::at_least(3.0, UNARY, MT, TARPC),
    Target::at_least(15.0, UNARY, BOTH, TONIC),
    Target::at_least(10.0, UNARY, BOTH, Against::Peers(&["vox"])),
    Target::at_least(2.0, JSON, BOTH, Against::Peers(&["tarpc-json"])),
    Target::at_least(5.0, JSON, BOTH, Against::Peers(&["jsonrpsee"])),
    Target::at_most(1.05, Number::Time, &["unary-1"], CT, Against::Peers(&["raw-tcp"])),
    Target::at_most(1.4, Number::Time, &["unary-1"], MT, Against::Peers(&["raw-tcp"])),
    // A time limit; a clone of the client; that and the task which it is for.
    Target::at_least(0.95, &["unary-64"], BOTH, Against::Workload("unlimited-64")),
    Target::at_least(0.95, &["clone-64"], BOTH, Against::Workload("spawn-64")),
    Target::at_least(0.95, &["clone-64"], BOTH, Against::Workload("unary-64")),
    // Many connections.
    Target::at_least(4.0, &["fleet-50x20"], MT, TARPC),
    Target::at_least(3.0, &["fleet-500x2"], MT, TARPC),
    Target::at_least(2.0, &["fleet-5000x1"], MT, TARPC),
    Target::at_most(0.5, Number::P99, FLEETS, MT, TARPC),
    // Steady load.
    Target::at_most(0.8, Number::P99, STEADY, BOTH, TARPC),
    Target::at_most(0.8, Number::P999, STEADY, BOTH, TARPC),
    // Large messages, and small ones beside them.
    Target::at_least(1.5, &["unary-64k-16"], BOTH, LARGE),
    Target::at_least(1.3, &["payload-1m"], BOTH, LARGE),
    Target::at_least(1.0, ECHO, BOTH, Against::Peers(&["h2"])),
    Target::at_least(1.3, &["link-100ms"], CT, Against::Peers(&["rust-yamux"])),
    Target::at_most(2.0, Number::P99, &["mixed"], BOTH, Against::Ours("muxado")),
    Target::at_most(0.25, Number::P99, &["mixed"], CT, Against::Peers(&["h2"])),
    Target::at_most(0.5, Number::P99, &["mixed"], CT, Against::Peers(&["ngrok-muxado"])),
    // Streams, and streams of items.
    Target::at_least(10.0, STREAMS, BOTH, Against::Peers(&["ngrok-muxado"])),
    Target::at_least(5.0, STREAMS, BOTH, Against::Peers(&["h2"])),
    Target::at_least(2.0, ITEMS, CT, TONIC),
    Target::at_least(4.0, ITEMS, MT, TONIC),
    // What is held of an end.
    Target::at_most(1024.0, Number::Bytes, &["idle-stream"], CT, Against::Nothing(&["muxado"])),
    Target::at_most(16_384.0, Number::Bytes, &["idle-session"], CT, Against::Nothing(&["muxado"])),
    Target::at_most(4096.0, Number::Bytes, &["idle-session"], CT, Against::Nothing(&["muxado-rpc"])),
    Target::at_most(819.0, Number::Bytes, &["idle-call"], CT, Against::Nothing(&["muxado-rpc"])),
];

impl Number {
    /// The number of one measurement.
    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Rate | Self::Bytes => Some(sample.rate),
            Self::Time => Some(1.0 / sample.rate),
            Self::P99 => sample.p99_us,
            Self::P999 => sample.p999_us,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Time => "time",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Bytes => "bytes",
        }
    }

    /// Of all rounds.
    fn rounds(self, line: &Line) -> Vec<Option<f64>> {
        line.rounds.iter().map(|sample| self.of(sample.as_ref()?)).collect()
    }
}

impl Bar {
    fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Self::AtLeast(_) => a.min(b),
            Self::AtMost(_) => a.max(b),
        }
    }

    /// How much of it is reached: with 1 and more it is met.
    fn share(self, reached: f64) -> f64 {
        match self {
            Self::AtLeast(bar) => reached / bar,
            Self::AtMost(bar) => bar / reached,
        }
    }
}

impl Target {
    const fn at_least(
        bar: f64,
        workloads: &'static [&'static str],
        modes: &'static [&'static str],
        against: Against,
    ) -> Self {
        Self { workloads, modes, number: Number::Rate, against, bar: Bar::AtLeast(bar) }
    }

    const fn at_most(
        bar: f64,
        number: Number,
        workloads: &'static [&'static str],
        modes: &'static [&'static str],
        against: Against,
    ) -> Self {
        Self { workloads, modes, number, against, bar: Bar::AtMost(bar) }
    }

    /// What this run says; none if it was not measured. Of several peers the one that we do worst by.
    fn reached(&self, lines: &[Line], workload: &str, mode: &str) -> Option<f64> {
        let line = |workload: &str, peer: &str| {
            lines.iter().find(|line| line.workload == workload && line.mode == mode && line.peer == peer)
        };
        let ratio = |ours: &Line, theirs: &Line| {
            stats::paired_ratio(&self.number.rounds(ours), &self.number.rounds(theirs))
        };
        let worst = |numbers: &mut dyn Iterator<Item = f64>| numbers.reduce(|a, b| self.bar.worse(a, b));
        match self.against {
            Against::Peers(names) => worst(&mut names.iter().filter_map(|name| {
                ratio(line(workload, counterpart(name, workload)?)?, line(workload, name)?)
            })),
            Against::Ours(name) => ratio(line(workload, "muxado-rpc")?, line(workload, name)?),
            Against::Workload(other) => ratio(line(workload, "muxado-rpc")?, line(other, "muxado-rpc")?),
            Against::Nothing(names) => {
                worst(&mut names.iter().filter_map(|name| Some(line(workload, name)?.rate)))
            }
        }
    }

    fn against(&self) -> String {
        match self.against {
            Against::Peers(names) => names.join(", "),
            Against::Ours(name) => format!("{name} (muxado-rpc is judged)"),
            Against::Workload(other) => format!("{other} of muxado-rpc"),
            Against::Nothing(names) => format!("itself: {}", names.join(", ")),
        }
    }

    fn text(&self) -> String {
        let unit = if let Against::Nothing(_) = self.against { "" } else { "x" };
        let (sign, bar) = match self.bar {
            Bar::AtLeast(bar) => (">=", bar),
            Bar::AtMost(bar) => ("<=", bar),
        };
        format!("{sign} {bar}{unit} {}", self.number.name())
    }
}

/// Which of ours a peer is compared with, by their names.
fn counterpart(peer: &str, workload: &str) -> Option<&'static str> {
    let entry = peers::ALL.iter().find(|entry| entry.name == peer)?;
    peers::counterpart(entry, workload.parse::<Workload>().ok()?)
}

/// The table of all targets. Ratios are medians of those within a round.
pub(crate) fn table(lines: &[Line]) -> Table {
    let titles = ["workload", "mode", "against", "target", "verdict", "reached", "reached/target"];
    let mut table = Table::new(&titles, 5);
    for target in TARGETS {
        for &workload in target.workloads {
            for &mode in target.modes {
                let reached = target.reached(lines, workload, mode);
                let share = reached.map(|reached| target.bar.share(reached));
                let verdict = match share {
                    None => "not measured",
                    Some(share) if share >= 1.0 => "met",
                    Some(_) => "missed",
                };
                let number = |number: Option<f64>| number.map(|n| format!("{n:.2}")).unwrap_or_default();
                table.row(&[
                    workload.to_owned(),
                    mode.to_owned(),
                    target.against(),
                    target.text(),
                    verdict.to_owned(),
                    number(reached),
                    number(share),
                ]);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::Mode;

    /// A line of a round each, of rates and of times in microseconds.
    fn line(workload: &str, mode: &str, peer: &'static str, rounds: &[(f64, f64, f64)]) -> Line {
        let sample = |&(rate, p99, p999): &(f64, f64, f64)| {
            Some(Sample { rate, p99_us: Some(p99), p999_us: Some(p999), ..Sample::default() })
        };
        Line {
            rounds: rounds.iter().map(sample).collect(),
            ..Line::of_rate(workload, mode, peer, rounds.first().map_or(0.0, |round| round.0))
        }
    }

    /// The rows of a workload whose cells have all of these words.
    fn rows(lines: &[Line], workload: &str, words: &[&str]) -> Vec<String> {
        let text = table(lines).to_string();
        let cells = |row: &str| -> Vec<String> {
            row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
        };
        text.lines()
            .map(cells)
            .filter(|cells| cells.first().is_some_and(|cell| cell == workload))
            .map(|cells| cells[1..].join("|"))
            .filter(|row| words.iter().all(|word| row.contains(word)))
            .collect()
    }

    #[test]
    fn the_better_codec_counts() {
        let lines = [
            line("unary-64", "ct", "muxado-rpc", &[(6.0, 1.0, 1.0)]),
            line("unary-64", "ct", "tarpc-messagepack", &[(1.0, 1.0, 1.0)]),
            line("unary-64", "ct", "tarpc-bincode", &[(3.0, 1.0, 1.0)]),
        ];
        let expected = ["ct|tarpc-messagepack, tarpc-bincode|>= 4x rate|missed|2.00|0.50"];
        assert_eq!(rows(&lines, "unary-64", &["ct", "tarpc"]), expected);
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let lines = [
            line("hop-64", "ct", "muxado-rpc", &[(30.0, 1.0, 1.0), (60.0, 1.0, 1.0), (90.0, 1.0, 1.0)]),
            line("hop-64", "ct", "tarpc-bincode", &[(10.0, 1.0, 1.0), (20.0, 1.0, 1.0), (45.0, 1.0, 1.0)]),
        ];
        assert_eq!(rows(&lines, "hop-64", &["ct", "met", "3.00|1.50"]).len(), 1);
    }

    #[test]
    fn a_workload_has_targets_for_several_numbers() {
        let lines = [
            line("open-50k", "mt", "muxado-rpc", &[(1.0, 80.0, 90.0)]),
            line("open-50k", "mt", "tarpc-bincode", &[(1.0, 160.0, 100.0)]),
            line("fleet-500x2", "mt", "muxado-rpc", &[(6.0, 30.0, 1.0)]),
            line("fleet-500x2", "mt", "tarpc-bincode", &[(2.0, 40.0, 1.0)]),
        ];
        assert_eq!(rows(&lines, "open-50k", &["mt", "<= 0.8x p99|met|0.50|1.60"]).len(), 1);
        assert_eq!(rows(&lines, "open-50k", &["mt", "<= 0.8x p99.9|missed|0.90|0.89"]).len(), 1);
        assert_eq!(rows(&lines, "fleet-500x2", &[">= 3x rate|met|3.00|1.00"]).len(), 1);
        assert_eq!(rows(&lines, "fleet-500x2", &["<= 0.5x p99|missed|0.75|0.67"]).len(), 1);
    }

    #[test]
    fn costs_are_those_of_ours_in_another_workload() {
        let lines = [
            line("unary-64", "ct", "muxado-rpc", &[(96.0, 1.0, 1.0)]),
            line("unlimited-64", "ct", "muxado-rpc", &[(100.0, 1.0, 1.0)]),
            line("clone-64", "ct", "muxado-rpc", &[(80.0, 1.0, 1.0)]),
            line("spawn-64", "ct", "muxado-rpc", &[(82.0, 1.0, 1.0)]),
        ];
        let expected = ["ct|unlimited-64 of muxado-rpc|>= 0.95x rate|met|0.96|1.01"];
        assert_eq!(rows(&lines, "unary-64", &["ct", "unlimited"]), expected);
        assert_eq!(rows(&lines, "clone-64", &["ct", "spawn-64", "met"]).len(), 1);
        assert_eq!(rows(&lines, "clone-64", &["ct", "unary-64", "missed|0.83"]).len(), 1);
    }

    #[test]
    fn calls_are_compared_with_streams_of_ours() {
        let lines = [
            line("mixed", "ct", "muxado-rpc", &[(1.0, 150.0, 1.0)]),
            line("mixed", "ct", "muxado", &[(1.0, 100.0, 1.0)]),
            line("mixed", "ct", "h2", &[(1.0, 800.0, 1.0)]),
        ];
        assert_eq!(rows(&lines, "mixed", &["muxado-rpc is judged", "<= 2x p99|met|1.50|1.33"]).len(), 1);
        assert_eq!(rows(&lines, "mixed", &["ct|h2|<= 0.25x p99|met|0.12|2.00"]).len(), 1);
    }

    #[test]
    fn less_is_better_where_it_is() {
        let one = [
            line("unary-1", "ct", "muxado-rpc", &[(50.0, 1.0, 1.0)]),
            line("unary-1", "ct", "raw-tcp", &[(100.0, 1.0, 1.0)]),
        ];
        assert_eq!(rows(&one, "unary-1", &["ct"]), ["ct|raw-tcp|<= 1.05x time|missed|2.00|0.53"]);
        let idle = [line("idle-stream", "ct", "muxado", &[(2048.0, 1.0, 1.0)])];
        let expected = ["ct|itself: muxado|<= 1024 bytes|missed|2048.00|0.50"];
        assert_eq!(rows(&idle, "idle-stream", &[]), expected);
    }

    #[test]
    fn what_was_not_measured_is_said() {
        assert_eq!(rows(&[], "items", &["ct"]), ["ct|tonic|>= 2x rate|not measured"]);
        let failed = Line { rounds: vec![None], ..line("items", "ct", "muxado-rpc", &[]) };
        let tonic = line("items", "ct", "tonic", &[(1.0, 1.0, 1.0)]);
        assert_eq!(rows(&[failed, tonic], "items", &["ct", "not measured"]).len(), 1);
    }

    #[test]
    fn every_target_can_be_measured() {
        let runs = |name: &str, workload: Workload| match peers::ALL.iter().find(|entry| entry.name == name) {
            Some(entry) => (entry.runs)(workload),
            None => peers::OPTIONAL.contains(&name),
        };
        for target in TARGETS {
            for name in target.workloads {
                let workload: Workload = name.parse().unwrap();
                assert!(Workload::all().any(|all| all == *name), "{name}");
                for mode in target.modes {
                    assert!(Mode::of(workload).contains(&mode.parse().unwrap()), "{name} {mode}");
                }
                match target.against {
                    Against::Peers(names) | Against::Nothing(names) => {
                        assert!(names.iter().all(|peer| runs(peer, workload)), "{name} {names:?}");
                    }
                    Against::Ours(peer) => assert!(runs(peer, workload) && runs("muxado-rpc", workload)),
                    Against::Workload(other) => {
                        let other: Workload = other.parse().unwrap();
                        assert_eq!(other.beside(), workload.beside(), "{name} {other}");
                        assert!(runs("muxado-rpc", workload) && runs("muxado-rpc", other));
                    }
                }
            }
        }
    }
}
