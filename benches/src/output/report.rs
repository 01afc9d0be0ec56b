//! Results: lines of JSON, or a table.

use serde::Serialize;

use super::table::Table;
use crate::{
    peers,
    plan::{Group, Run},
    sample::Sample,
    stats,
    workload::{Measure, Workload},
};

/// Whoever answers so many of 100 calls in time holds the rate at which they come. The last ones of a measurement may
/// be answered after it.
const HELD: f64 = 99.0;

/// The result of a peer in a workload and mode, as it is printed.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Line {
    pub(crate) workload: String,
    pub(crate) mode: String,
    pub(crate) peer: &'static str,
    pub(crate) rate: f64,
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p999_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_s_per_m: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mb_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bulk_mb_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answered_percent: Option<f64>,
    /// Ours in relation to the peer, of what counts in the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ours_to_peer: Option<f64>,
    /// What the rounds gave, to compare further numbers within them.
    #[serde(skip)]
    pub(crate) rounds: Vec<Option<Sample>>,
}

/// The lines of a group: medians over its rounds. A peer that never succeeded has none.
pub(crate) fn lines(group: &Group) -> Vec<Line> {
    group.runs.iter().filter_map(|run| line(group, run)).collect()
}

fn line(group: &Group, run: &Run) -> Option<Line> {
    let samples: Vec<Sample> = run.rounds.iter().flatten().cloned().collect();
    if samples.is_empty() {
        return None;
    }
    let median = Sample::median(&samples);
    Some(Line {
        workload: group.workload.to_string(),
        mode: group.mode.to_string(),
        peer: run.peer.name,
        rate: rounded(median.rate, 1),
        unit: group.workload.measure().unit(),
        p50_us: median.p50_us.map(|us| rounded(us, 1)),
        p99_us: median.p99_us.map(|us| rounded(us, 1)),
        p999_us: median.p999_us.map(|us| rounded(us, 1)),
        cpu_s_per_m: median.cpu_s_per_m.map(|seconds| rounded(seconds, 2)),
        mb_s: median.mb_s.map(|rate| rounded(rate, 1)),
        bulk_mb_s: median.bulk_mb_s.map(|rate| rounded(rate, 1)),
        connections: median.connections,
        answered_percent: median.answered_percent.map(|percent| rounded(percent, 1)),
        ours_to_peer: ratio(group, run).map(|ratio| rounded(ratio, 3)),
        rounds: run.rounds.clone(),
    })
}

fn ratio(group: &Group, run: &Run) -> Option<f64> {
    let ours = peers::counterpart(&run.peer, group.workload)?;
    let ours = group.runs.iter().find(|run| run.peer.name == ours)?;
    let counts = |run: &Run| -> Vec<Option<f64>> {
        run.rounds.iter().map(|sample| counts(group.workload, sample.as_ref()?)).collect()
    };
    stats::paired_ratio(&counts(ours), &counts(run))
}

/// The number that counts.
fn counts(workload: Workload, sample: &Sample) -> Option<f64> {
    match workload.measure() {
        Measure::Tail => sample.p99_us,
        Measure::Rate(_) | Measure::Throughput | Measure::Simulated | Measure::Time | Measure::Memory => {
            Some(sample.rate)
        }
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

/// A table for each workload, under its name.
pub(crate) fn tables(lines: &[Line]) -> Vec<(String, Table)> {
    let mut tables: Vec<(String, Table)> = Vec::new();
    for line in lines {
        if tables.iter().all(|(title, _)| *title != line.workload) {
            let of_workload: Vec<&Line> =
                lines.iter().filter(|other| other.workload == line.workload).collect();
            tables.push((line.workload.clone(), table(&of_workload)));
        }
    }
    tables
}

fn table(lines: &[&Line]) -> Table {
    let ratio = match lines[0].workload.parse().map(Workload::measure) {
        Ok(Measure::Tail) => "ours/peer (p99)",
        _ => "ours/peer",
    };
    let unit = lines[0].unit;
    let mut table = Table::new(
        &[
            "mode",
            "peer",
            unit,
            "MB/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "cpu s/M",
            "bulk MB/s",
            "connections",
            "answered %",
            ratio,
        ],
        2,
    );
    for line in lines {
        table.row(&cells(line));
    }
    table
}

fn cells(line: &Line) -> [String; 12] {
    let number = |number: Option<f64>, digits| number.map(|n| grouped(n, digits)).unwrap_or_default();
    [
        line.mode.clone(),
        line.peer.to_owned(),
        grouped(line.rate, usize::from(line.rate < 100.0)),
        number(line.mb_s, 1),
        number(line.p50_us, 1),
        number(line.p99_us, 1),
        number(line.p999_us, 1),
        number(line.cpu_s_per_m, 2),
        number(line.bulk_mb_s, 0),
        number(line.connections, 0),
        line.answered_percent.map(|percent| answered(line, percent)).unwrap_or_default(),
        number(line.ours_to_peer, 2),
    ]
}

/// The share that was answered; with a word where it should be all.
fn answered(line: &Line, percent: f64) -> String {
    let steady = matches!(line.workload.parse(), Ok(Workload::Open { .. }));
    let word = if steady && percent < HELD { ", not held" } else { "" };
    format!("{percent:.1}{word}")
}

/// A number with a space between thousands.
fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let whole = text.find('.').unwrap_or(text.len());
    let mut grouped = String::with_capacity(text.len() + whole / 3);
    for (place, digit) in text.char_indices() {
        if place > 0 && place < whole && (whole - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
impl Line {
    /// One without further numbers.
    pub(crate) fn of_rate(workload: &str, mode: &str, peer: &'static str, rate: f64) -> Self {
        let unit = workload.parse().map_or("", |workload: Workload| workload.measure().unit());
        let (workload, mode) = (workload.to_owned(), mode.to_owned());
        Self { workload, mode, peer, rate, unit, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::Mode;

    fn group(workload: &str, numbers: &[(&str, &[f64])]) -> Group {
        let run = |&(name, rates): &(&str, &[f64])| Run {
            peer: *peers::ALL.iter().find(|entry| entry.name == name).unwrap(),
            rounds: rates
                .iter()
                .map(|&rate| Some(Sample { rate, p99_us: Some(1e6 / rate), ..Sample::default() }))
                .collect(),
        };
        Group { workload: workload.parse().unwrap(), mode: Mode::Ct, runs: numbers.iter().map(run).collect() }
    }

    #[test]
    fn lines_have_the_names_of_the_contract() {
        let group = group("unary-64", &[("tarpc-messagepack", &[1.0, 244_096.0, 300_000.0])]);
        assert_eq!(
            serde_json::to_string(&lines(&group)[0]).unwrap(),
            r#"{"workload":"unary-64","mode":"ct","peer":"tarpc-messagepack","rate":244096.0,"unit":"calls/s","p99_us":4.1}"#
        );
    }

    #[test]
    fn ratios_are_of_what_counts() {
        let rates = group("unary-64", &[("muxado-rpc", &[600.0, 900.0]), ("tonic", &[100.0, 100.0])]);
        assert_eq!(lines(&rates)[1].ours_to_peer, Some(7.5));
        let tails = group("mixed", &[("muxado", &[400.0]), ("h2", &[100.0])]);
        assert_eq!(lines(&tails)[1].ours_to_peer, Some(0.25));
        assert_eq!(lines(&tails)[0].ours_to_peer, None);
    }

    #[test]
    fn who_does_not_hold_the_rate_says_so() {
        let line = |workload, percent| Line {
            answered_percent: Some(percent),
            ..Line::of_rate(workload, "ct", "tonic", 1.0)
        };
        let text = |line: Line| tables(&[line])[0].1.to_string();
        assert!(text(line("open-50k", 61.25)).contains("61.2, not held"));
        assert!(!text(line("open-50k", 99.5)).contains("not held"));
        assert!(!text(line("overload", 9.0)).contains("not held"));
        assert!(text(line("open-50k", 99.5)).contains("answered %"));
    }

    #[test]
    fn a_peer_that_never_succeeded_has_no_line() {
        let mut group = group("unary-64", &[("muxado-rpc", &[600.0]), ("tonic", &[100.0])]);
        group.runs[1].rounds = vec![None];
        assert_eq!(lines(&group).len(), 1);
    }

    #[test]
    fn a_workload_has_one_table_wherever_its_lines_are() {
        let line = |workload, mode| Line::of_rate(workload, mode, "muxado-rpc", 1.0);
        let lines = [line("unary-64", "ct"), line("clone-64", "ct"), line("unary-64", "mt")];
        let tables = tables(&lines);
        let titles: Vec<&str> = tables.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(titles, ["unary-64", "clone-64"]);
        assert_eq!(tables[0].1.to_string().lines().count(), 3);
    }

    #[test]
    fn the_table_is_grouped_by_workload() {
        let groups = [
            group("unary-64", &[("muxado-rpc", &[1_234_567.0]), ("tonic", &[1000.0])]),
            group("idle-stream", &[("muxado", &[512.0])]),
        ];
        let lines: Vec<Line> = groups.iter().flat_map(lines).collect();
        let expected = "  \
mode  peer          calls/s   p99 us  ours/peer
  ct    muxado-rpc  1 234 567      0.8
  ct    tonic           1 000  1 000.0   1 234.57
  mode  peer    bytes   p99 us
  ct    muxado    512  1 953.1
";
        let tables = tables(&lines);
        assert_eq!(
            tables.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>(),
            ["unary-64", "idle-stream"]
        );
        assert_eq!(tables.iter().map(|(_, table)| table.to_string()).collect::<String>(), expected);
    }
}
