//! The charts: which workloads are in one picture, and which of their numbers.

use std::{fs, path::Path};

use super::{
    report::Line,
    svg::{self, Bar, Chart, Section},
};
use crate::{Result, peers};

/// One picture.
struct Picture {
    file: &'static str,
    title: &'static str,
    note: &'static str,
    /// Names of workloads, in the order of the sections.
    workloads: &'static [&'static str],
    modes: &'static [&'static str],
    /// The number of a line.
    value: fn(&Line) -> Option<f64>,
    more_is_better: bool,
}

const CT: &[&str] = &["ct"];
const MT: &[&str] = &["mt"];
const BOTH: &[&str] = &["ct", "mt"];
const UNARY: &[&str] = &["unary-1", "unary-64", "unary-256", "unary-1024"];

/// All pictures; those without numbers are not drawn.
const PICTURES: &[Picture] = &[
    Picture::of_rates("unary-ct", "Calls that echo 32 bytes, one thread for each end", "calls/s", UNARY, CT),
    Picture::of_rates("unary-mt", "Calls that echo 32 bytes, both ends on two threads", "calls/s", UNARY, MT),
    Picture::of_rates(
        "streams",
        "Open a stream, echo 32 bytes, close",
        "streams/s",
        &["streams-1", "streams-64", "streams-256"],
        BOTH,
    ),
    Picture::of_rates(
        "bulk",
        "Large messages echoed over streams",
        "MB/s each way",
        &["echo-1m-1", "echo-1m-8", "echo-32m-1"],
        BOTH,
    ),
    Picture::of_rates(
        "items",
        "Streams of 32-byte items",
        "items/s",
        &["items", "items-channel", "bidi-items"],
        BOTH,
    ),
    Picture::of_rates(
        "link",
        "32 MiB over a link of 100 ms and 1 GB/s, simulated",
        "MB/s",
        &["link-100ms", "link-100ms-wide"],
        CT,
    ),
    Picture {
        file: "tail",
        title: "64 bytes echoed while four streams echo 1 MiB each",
        note: "99 of 100 take at most so many microseconds: less is better",
        workloads: &["mixed"],
        modes: BOTH,
        value: |line| line.p99_us,
        more_is_better: false,
    },
    Picture::of_rates(
        "waiting",
        "Calls whose handlers wait: for another task, for a timer",
        "calls/s",
        &["hop-64", "hop-256", "sleep-1024"],
        BOTH,
    ),
    Picture::of_rates(
        "fleets",
        "Calls over many connections, two processes with two threads each",
        "calls/s",
        &["fleet-50x20", "fleet-500x2", "fleet-5000x1"],
        MT,
    ),
    Picture {
        file: "steady",
        title: "Calls that come at a steady rate, whether it can be held or not",
        note: "99 of 100 are answered so many microseconds after they were due: less is better",
        workloads: &["open-50k", "open-100k", "open-200k"],
        modes: BOTH,
        value: |line| line.p99_us,
        more_is_better: false,
    },
    Picture {
        file: "memory",
        title: "Memory of what is open and idle",
        note: "resident bytes of both ends together: less is better",
        workloads: &["idle-stream", "idle-session", "idle-call"],
        modes: CT,
        value: |line| Some(line.rate),
        more_is_better: false,
    },
];

impl Picture {
    const fn of_rates(
        file: &'static str,
        title: &'static str,
        note: &'static str,
        workloads: &'static [&'static str],
        modes: &'static [&'static str],
    ) -> Self {
        Self { file, title, note, workloads, modes, value: |line| Some(line.rate), more_is_better: true }
    }

    fn chart(&self, lines: &[Line]) -> Chart {
        let mut sections = Vec::new();
        for &workload in self.workloads {
            for &mode in self.modes {
                let bars = self.bars(lines.iter().filter(|l| l.workload == workload && l.mode == mode));
                if !bars.is_empty() {
                    let title =
                        if self.modes.len() > 1 { format!("{workload}, {mode}") } else { workload.into() };
                    sections.push(Section { title, bars });
                }
            }
        }
        Chart { title: self.title.to_owned(), note: self.note.to_owned(), sections }
    }

    /// The best first.
    fn bars<'a>(&self, lines: impl Iterator<Item = &'a Line>) -> Vec<Bar> {
        let bar = |line: &Line| {
            let value = (self.value)(line).filter(|&value| value > 0.0)?;
            Some(Bar { name: line.peer.to_owned(), value, ours: peers::is_ours(line.peer) })
        };
        let mut bars: Vec<Bar> = lines.filter_map(bar).collect();
        bars.sort_by(|a, b| a.value.total_cmp(&b.value));
        if self.more_is_better {
            bars.reverse();
        }
        bars
    }
}

/// Draws what there are numbers for, a file each; gives their names.
pub(crate) fn write(directory: &Path, lines: &[Line]) -> Result<Vec<String>> {
    fs::create_dir_all(directory)?;
    let mut written = Vec::new();
    for picture in PICTURES {
        let chart = picture.chart(lines);
        if !chart.sections.is_empty() {
            let name = format!("{}.svg", picture.file);
            fs::write(directory.join(&name), svg::draw(&chart))?;
            written.push(name);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    #[test]
    fn every_workload_of_a_picture_is_one_that_runs() {
        for picture in PICTURES {
            for name in picture.workloads {
                assert!(Workload::all().any(|all| all == *name), "{name}");
            }
        }
    }

    #[test]
    fn the_best_comes_first() {
        let line = |peer, rate, p99| Line { p99_us: Some(p99), ..Line::of_rate("mixed", "ct", peer, rate) };
        let lines = [line("h2", 10.0, 500.0), line("muxado", 20.0, 100.0)];
        let tail = PICTURES.iter().find(|picture| picture.file == "tail").unwrap();
        let chart = tail.chart(&lines);
        let bars: Vec<(&str, bool)> =
            chart.sections[0].bars.iter().map(|bar| (bar.name.as_str(), bar.ours)).collect();
        assert_eq!(bars, [("muxado", true), ("h2", false)]);
    }

    #[test]
    fn pictures_without_numbers_are_not_drawn() {
        let lines = [Line::of_rate("unary-1", "ct", "tonic", 1.0)];
        let drawn = PICTURES.iter().filter(|picture| !picture.chart(&lines).sections.is_empty());
        assert_eq!(drawn.map(|picture| picture.file).collect::<Vec<_>>(), ["unary-ct"]);
    }
}
