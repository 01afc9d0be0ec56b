//! What muxado is to reach, and what it has reached in this run.

use super::{report::Line, table::Table};

/// How a number is judged.
#[derive(Clone, Copy, Debug)]
enum Bar {
    /// Ours in relation to the peer, of what counts in the workload.
    AtLeast(f64),
    AtMost(f64),
    /// Of the time that one exchange takes, where rates are measured.
    TimeAtMost(f64),
    /// A number of ours alone.
    Bytes(f64),
}

/// One aim, for several workloads.
struct Target {
    workloads: &'static [&'static str],
    modes: &'static [&'static str],
    /// The better one counts; for [`Bar::Bytes`] those of ours.
    peers: &'static [&'static str],
    bar: Bar,
}

const CT: &[&str] = &["ct"];
const MT: &[&str] = &["mt"];
const BOTH: &[&str] = &["ct", "mt"];
const TARPC: &[&str] = &["tarpc-messagepack", "tarpc-bincode"];
const UNARY: &[&str] = &["unary-64", "unary-256", "unary-1024"];
const JSON: &[&str] = &["unary-json-64", "unary-json-256"];
const STREAMS: &[&str] = &["streams-64", "streams-256"];
const WAITING: &[&str] = &["hop-64", "hop-256", "sleep-1024"];
const STEADY: &[&str] = &["open-50k", "open-100k", "open-200k"];
const ECHO: &[&str] = &["echo-1m-1", "echo-1m-8", "echo-32m-1"];

const TARGETS: &[Target] = &[
    Target { workloads: UNARY, modes: CT, peers: TARPC, bar: Bar::AtLeast(3.0) },
    Target { workloads: UNARY, modes: MT, peers: TARPC, bar: Bar::AtLeast(2.0) },
    Target { workloads: UNARY, modes: BOTH, peers: &["tonic"], bar: Bar::AtLeast(10.0) },
    Target { workloads: JSON, modes: BOTH, peers: &["tarpc-json"], bar: Bar::AtLeast(2.0) },
    Target { workloads: JSON, modes: BOTH, peers: &["jsonrpsee"], bar: Bar::AtLeast(5.0) },
    Target { workloads: &["unary-1"], modes: CT, peers: &["raw-tcp"], bar: Bar::TimeAtMost(1.1) },
    Target { workloads: &["unary-1"], modes: MT, peers: &["raw-tcp"], bar: Bar::TimeAtMost(1.5) },
    Target { workloads: &["unary-64k-16"], modes: BOTH, peers: TARPC, bar: Bar::AtLeast(1.3) },
    Target { workloads: WAITING, modes: CT, peers: TARPC, bar: Bar::AtLeast(2.0) },
    Target { workloads: WAITING, modes: MT, peers: TARPC, bar: Bar::AtLeast(1.5) },
    Target { workloads: WAITING, modes: BOTH, peers: &["tonic"], bar: Bar::AtLeast(8.0) },
    Target { workloads: &["fleet-50x20"], modes: MT, peers: TARPC, bar: Bar::AtLeast(4.0) },
    Target { workloads: &["fleet-500x2"], modes: MT, peers: TARPC, bar: Bar::AtLeast(3.0) },
    Target { workloads: &["fleet-5000x1"], modes: MT, peers: TARPC, bar: Bar::AtLeast(2.0) },
    Target { workloads: STEADY, modes: BOTH, peers: TARPC, bar: Bar::AtMost(0.8) },
    Target { workloads: STREAMS, modes: BOTH, peers: &["ngrok-muxado"], bar: Bar::AtLeast(10.0) },
    Target { workloads: STREAMS, modes: BOTH, peers: &["h2"], bar: Bar::AtLeast(5.0) },
    Target { workloads: ECHO, modes: BOTH, peers: &["h2"], bar: Bar::AtLeast(1.0) },
    Target { workloads: &["items"], modes: BOTH, peers: &["tonic"], bar: Bar::AtLeast(10.0) },
    Target { workloads: &["mixed"], modes: CT, peers: &["h2"], bar: Bar::AtMost(0.25) },
    Target { workloads: &["mixed"], modes: CT, peers: &["ngrok-muxado"], bar: Bar::AtMost(0.5) },
    Target { workloads: &["idle-stream"], modes: CT, peers: &["muxado"], bar: Bar::Bytes(1024.0) },
    Target {
        workloads: &["idle-session"],
        modes: CT,
        peers: &["muxado", "muxado-rpc"],
        bar: Bar::Bytes(16_384.0),
    },
];

impl Target {
    /// What this run says; none if it was not measured. Of several peers the one that we do worst by.
    fn reached(&self, lines: &[Line], workload: &str, mode: &str) -> Option<f64> {
        let lines = lines.iter().filter(|line| line.workload == workload && line.mode == mode);
        let of_peers = lines.filter(|line| self.peers.contains(&line.peer));
        match self.bar {
            Bar::AtLeast(_) => of_peers.filter_map(|line| line.ours_to_peer).reduce(f64::min),
            Bar::AtMost(_) => of_peers.filter_map(|line| line.ours_to_peer).reduce(f64::max),
            Bar::TimeAtMost(_) => of_peers.filter_map(|line| Some(1.0 / line.ours_to_peer?)).reduce(f64::max),
            Bar::Bytes(_) => of_peers.map(|line| line.rate).reduce(f64::max),
        }
    }

    /// How much of the target that is: with 1 and more it is met.
    fn share(&self, reached: f64) -> f64 {
        match self.bar {
            Bar::AtLeast(bar) => reached / bar,
            Bar::AtMost(bar) | Bar::TimeAtMost(bar) | Bar::Bytes(bar) => bar / reached,
        }
    }

    fn text(&self) -> String {
        match self.bar {
            Bar::AtLeast(bar) => format!(">= {bar}x"),
            Bar::AtMost(bar) => format!("<= {bar}x p99"),
            Bar::TimeAtMost(bar) => format!("<= {bar}x time"),
            Bar::Bytes(bar) => format!("<= {bar} bytes"),
        }
    }
}

/// The table of all targets. Ratios are medians of those within a round.
pub(crate) fn table(lines: &[Line]) -> Table {
    let titles = ["workload", "mode", "against", "target", "verdict", "reached", "reached/target"];
    let mut table = Table::new(&titles, 5);
    for target in TARGETS {
        for &workload in target.workloads {
            for &mode in target.modes {
                let reached = target.reached(lines, workload, mode);
                let share = reached.map(|reached| target.share(reached));
                let verdict = match share {
                    None => "not measured",
                    Some(share) if share >= 1.0 => "met",
                    Some(_) => "missed",
                };
                let number = |number: Option<f64>| number.map(|n| format!("{n:.2}")).unwrap_or_default();
                let against =
                    if let Bar::Bytes(_) = target.bar { String::new() } else { target.peers.join(", ") };
                table.row(&[
                    workload.to_owned(),
                    mode.to_owned(),
                    against,
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
    use crate::{peers, slice::Mode, workload::Workload};

    fn line(workload: &str, mode: &str, peer: &'static str, ours_to_peer: f64) -> Line {
        Line { ours_to_peer: Some(ours_to_peer), ..Line::of_rate(workload, mode, peer, 2048.0) }
    }

    fn verdict(lines: &[Line], workload: &str, against: &str) -> String {
        let text = table(lines).to_string();
        let row = text.lines().find(|row| row.contains(workload) && row.contains(against)).unwrap();
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).skip(2).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn the_better_codec_counts() {
        let lines =
            [line("unary-64", "ct", "tarpc-messagepack", 6.0), line("unary-64", "ct", "tarpc-bincode", 1.5)];
        let expected = "tarpc-messagepack, tarpc-bincode|>= 3x|missed|1.50|0.50";
        assert_eq!(verdict(&lines, "unary-64", "tarpc"), expected);
    }

    #[test]
    fn less_is_better_where_it_is() {
        assert_eq!(
            verdict(&[line("mixed", "ct", "h2", 0.125)], "mixed", "h2"),
            "h2|<= 0.25x p99|met|0.12|2.00"
        );
        let one = [line("unary-1", "ct", "raw-tcp", 0.5)];
        assert_eq!(verdict(&one, "unary-1 ", "raw-tcp"), "raw-tcp|<= 1.1x time|missed|2.00|0.55");
        let idle = [line("idle-stream", "ct", "muxado", 9.9)];
        assert_eq!(verdict(&idle, "idle-stream", "bytes"), "<= 1024 bytes|missed|2048.00|0.50");
    }

    #[test]
    fn what_was_not_measured_is_said() {
        assert_eq!(verdict(&[], "items", "tonic"), "tonic|>= 10x|not measured");
    }

    #[test]
    fn every_target_can_be_measured() {
        for target in TARGETS {
            for name in target.workloads {
                let workload: Workload = name.parse().unwrap();
                assert!(Workload::all().any(|all| all == *name), "{name}");
                for mode in target.modes {
                    assert!(Mode::of(workload).contains(&mode.parse().unwrap()), "{name} {mode}");
                }
                for peer in target.peers {
                    let entry = peers::ALL.iter().find(|entry| entry.name == *peer).unwrap();
                    assert!((entry.runs)(workload), "{name} {peer}");
                }
            }
        }
    }
}
