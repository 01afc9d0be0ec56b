//! The results as a document that says all that is needed to judge and to repeat them.

use std::env;

use super::{
    machine,
    report::{self, Line},
    targets,
};
use crate::peers;

/// Where the limits of the comparison are said.
const README: &str = include_str!("../../README.md");
const NOTES: &str = "## What cannot be compared";

/// The whole document. `charts` are the links to the pictures.
pub(crate) fn document(lines: &[Line], rounds: usize, charts: &[String]) -> String {
    let mut text = format!(
        "# muxado and muxado-rpc beside their peers\n\n```text\n{}\n```\n\n\
         Medians of {rounds} rounds in which the peers took turns.\n\n{}\n",
        command(),
        machine::lines().iter().map(|line| format!("* {line}\n")).collect::<String>(),
    );
    text.push_str(&versions(lines));
    for chart in charts {
        text.push_str(&format!("![{}]({chart})\n", chart.rsplit('/').next().unwrap_or(chart)));
    }
    text.push_str("\n## Results\n\n");
    for (title, table) in report::tables(lines) {
        text.push_str(&format!("### {title}\n\n{}\n", table.markdown()));
    }
    text.push_str(&format!("## Targets\n\n{}\n{}", targets::table(lines).markdown(), notes()));
    text
}

/// How this process was started.
fn command() -> String {
    let args: Vec<String> = env::args().skip(1).collect();
    let built = |name: &&&str| peers::ALL.iter().any(|entry| entry.name == **name);
    let features: Vec<&str> = peers::OPTIONAL.iter().filter(built).copied().collect();
    let features = match features[..] {
        [] => String::new(),
        _ => format!(" --features {}", features.join(",")),
    };
    format!("cargo run --release -p benches{features} -- {}", args.join(" "))
        .trim_end_matches([' ', '-'])
        .to_owned()
}

/// Of the peers that ran.
fn versions(lines: &[Line]) -> String {
    let mut text = "| peer | package | version |\n|---|---|---|\n".to_owned();
    for entry in peers::ALL.iter().filter(|entry| lines.iter().any(|line| line.peer == entry.name)) {
        let version = machine::version(entry.package, peers::is_ours(entry.name)).unwrap_or("unknown");
        text.push_str(&format!("| {} | {} | {version} |\n", entry.name, entry.package));
    }
    text.push('\n');
    text
}

/// The section of the README, whole.
fn notes() -> &'static str {
    let begin = README.find(NOTES).unwrap_or(README.len());
    let rest = &README[begin..];
    let end = rest.match_indices("\n## ").map(|(place, _)| place + 1).next().unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_ran_and_what_cannot_be_compared() {
        let lines = [
            Line::of_rate("unary-64", "ct", "muxado-rpc", 1_000_000.0),
            Line::of_rate("unary-64", "ct", "tonic", 1000.0),
        ];
        let text = document(&lines, 5, &["charts/unary-ct.svg".to_owned()]);
        for part in [
            "cargo run --release",
            "Medians of 5 rounds",
            "| tonic | tonic | 0.14.",
            "### unary-64\n\n| mode | peer | calls/s |",
            "| ct | muxado-rpc | 1 000 000 |",
            "![unary-ct.svg](charts/unary-ct.svg)",
            "* **Features.**",
            "## Targets",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("jsonrpsee-server") && !text.contains("## Left out"));
    }
}
