//! What is measured in which order: in each round every peer has its turn.

use std::{
    env,
    process::{Command, Stdio},
};

use crate::{
    Result,
    cli::{self, Options},
    clock::Clock,
    peer::Entry,
    peers,
    progress::Progress,
    sample::Sample,
    slice::{Mode, Slice},
    workload::Workload,
};

/// All measurements of a workload in a mode.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) workload: Workload,
    pub(crate) mode: Mode,
    pub(crate) runs: Vec<Run>,
}

/// All measurements of a peer in a group.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) peer: Entry,
    /// One for each round; none where it failed or there was no time.
    pub(crate) rounds: Vec<Option<Sample>>,
}

/// The groups that the options ask for, without numbers yet.
pub(crate) fn groups(options: &Options) -> Vec<Group> {
    let mut groups = Vec::new();
    for &workload in &options.workloads {
        for &mode in Mode::of(workload).iter().filter(|mode| options.modes.contains(mode)) {
            let wanted = |entry: &&Entry| {
                (entry.runs)(workload)
                    && (options.peers.is_empty() || options.peers.iter().any(|name| name == entry.name))
            };
            let runs: Vec<Run> =
                peers::ALL.iter().filter(wanted).map(|&peer| Run { peer, rounds: Vec::new() }).collect();
            if !runs.is_empty() {
                groups.push(Group { workload, mode, runs });
            }
        }
    }
    groups
}

/// Does all measurements; `finished` gets each group with its numbers. Says how many failed.
pub(crate) fn run(options: &Options, mut finished: impl FnMut(Group) -> Result<()>) -> Result<usize> {
    let groups = groups(options);
    let slices = groups.iter().flat_map(|group| vec![group.workload; group.runs.len() * options.rounds]);
    let (mut progress, mut failed) = (Progress::new(slices.clone().count()), 0);
    let mut clock = Clock::new(options.pace, slices);
    for mut group in groups {
        let (workload, mode) = (group.workload, group.mode);
        for round in 1..=options.rounds {
            for run in &mut group.runs {
                progress.step(&format!("{workload} {mode} round {round}"), run.peer.name);
                let note =
                    |text: &str| progress.note(&format!("{workload} {mode} {}: {text}", run.peer.name));
                let sample = clock.next().map(|time| measure(run.peer.name, Slice { workload, mode, time }));
                match &sample {
                    None => note("no time is left"),
                    Some(Err(error)) => {
                        failed += 1;
                        note(&error.to_string());
                    }
                    Some(Ok(_)) => {}
                }
                run.rounds.push(sample.and_then(Result::ok));
            }
        }
        finished(group)?;
    }
    progress.end();
    Ok(failed)
}

/// Measures in a process of its own: memory and what a peer leaves behind stay there.
fn measure(peer: &str, slice: Slice) -> Result<Sample> {
    let mut command = Command::new(env::current_exe()?);
    let output = command.args(cli::measure_args(peer, slice)).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout)?);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().map(str::trim).collect::<Vec<_>>().join("; ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Ok(cli::Command::Run(options)) = cli::parse(&args) else { panic!("not a run") };
        options
    }

    #[test]
    fn every_peer_is_compared_with_ours_of_its_kind() {
        for group in groups(&options("")) {
            let names: Vec<&str> = group.runs.iter().map(|run| run.peer.name).collect();
            for run in &group.runs {
                match peers::counterpart(&run.peer, group.workload) {
                    Some(ours) => assert!(names.contains(&ours), "{} {ours}", group.workload),
                    None => assert!(run.peer.name.starts_with("muxado"), "{}", run.peer.name),
                }
            }
            assert!(names.len() > 1, "{}", group.workload);
        }
    }

    #[test]
    fn only_what_is_asked_for_is_measured() {
        let groups = groups(&options("--mode ct --peer h2 --peer tonic mixed unary-1 streams-1"));
        let names: Vec<(String, Vec<&str>)> = groups
            .iter()
            .map(|group| (group.workload.to_string(), group.runs.iter().map(|run| run.peer.name).collect()))
            .collect();
        let expected =
            [("mixed", vec!["tonic", "h2"]), ("unary-1", vec!["tonic"]), ("streams-1", vec!["h2"])];
        assert_eq!(names, expected.map(|(workload, peers)| (workload.to_owned(), peers)));
    }
}
