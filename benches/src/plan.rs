//! What is measured in which order: in each round every peer has its turn.

use std::{process::Stdio, thread};

use crate::{
    Result,
    cli::{self, Options},
    clock::Clock,
    peer::Entry,
    peers, process,
    progress::Progress,
    sample::Sample,
    slice::{Mode, Slice},
    workload::{Measure, Workload},
};

/// All measurements of a workload in a mode.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) workload: Workload,
    pub(crate) mode: Mode,
    pub(crate) runs: Vec<Run>,
}

impl Group {
    /// How many peers are measured at a time. Memory is not of the machine's speed, and to weigh it
    /// is mostly to wait.
    fn at_once(&self) -> usize {
        if self.workload.measure() == Measure::Memory { self.runs.len() } else { 1 }
    }

    /// How often something is measured in a round.
    fn turns(&self) -> usize {
        self.runs.len().div_ceil(self.at_once())
    }
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

/// Puts together what takes turns: of a workload, and of those that are compared with it.
pub(crate) fn blocks(groups: Vec<Group>) -> Vec<Vec<Group>> {
    let key = |group: &Group| (group.workload.beside(), group.mode);
    let mut blocks: Vec<Vec<Group>> = Vec::new();
    for group in groups {
        match blocks.iter_mut().find(|block| key(&block[0]) == key(&group)) {
            Some(block) => block.push(group),
            None => blocks.push(vec![group]),
        }
    }
    blocks
}

/// Does all measurements; `finished` gets each group with its numbers. Says how many failed.
pub(crate) fn run(options: &Options, mut finished: impl FnMut(Group) -> Result<()>) -> Result<usize> {
    let blocks = blocks(groups(options));
    let count = blocks.iter().flatten().map(|group| group.runs.len() * options.rounds).sum();
    let clock = Clock::new(options.pace, turns(&blocks, options.rounds));
    let mut bench = Bench { progress: Progress::new(count), clock, failed: 0 };
    for mut block in blocks {
        for round in 1..=options.rounds {
            for group in &mut block {
                bench.round(group, round);
            }
        }
        for group in block {
            finished(group)?;
        }
    }
    bench.progress.end();
    Ok(bench.failed)
}

/// The workload of each turn, of all rounds.
pub(crate) fn turns(blocks: &[Vec<Group>], rounds: usize) -> impl Iterator<Item = Workload> {
    let round = |block: &[Group]| -> Vec<Workload> {
        block.iter().flat_map(|group| vec![group.workload; group.turns()]).collect()
    };
    blocks.iter().flat_map(move |block| round(block).repeat(rounds))
}

/// Measures, and says how far it is.
struct Bench {
    progress: Progress,
    clock: Clock,
    failed: usize,
}

impl Bench {
    /// Measures every peer once.
    fn round(&mut self, group: &mut Group, round: usize) {
        let (workload, mode, at_once) = (group.workload, group.mode, group.at_once());
        for runs in group.runs.chunks_mut(at_once) {
            for run in &*runs {
                self.progress.step(&format!("{workload} {mode} round {round}"), run.peer.name);
            }
            let time = self.clock.next();
            let samples = match time {
                Some(time) => measure_all(runs, Slice { workload, mode, time }),
                None => runs.iter().map(|_| Err("no time is left".into())).collect(),
            };
            for (run, sample) in runs.iter_mut().zip(samples) {
                if let Err(error) = &sample {
                    self.failed += usize::from(time.is_some());
                    self.progress.note(&format!("{workload} {mode} {}: {error}", run.peer.name));
                }
                run.rounds.push(sample.ok());
            }
        }
    }
}

/// Measures all of them at the same time.
fn measure_all(runs: &[Run], slice: Slice) -> Vec<Result<Sample>> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            runs.iter().map(|run| scope.spawn(move || measure(run.peer.name, slice))).collect();
        let died = |_| Err("the thread that measures has panicked".into());
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect()
    })
}

/// Measures in a process of its own: memory and what a peer leaves behind stay there.
fn measure(peer: &str, slice: Slice) -> Result<Sample> {
    let mut command = process::again(slice.workload.files())?;
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
            assert_eq!(names.len() > 1, !group.workload.is_ours_alone(), "{}", group.workload);
        }
    }

    #[test]
    fn what_is_compared_with_another_workload_takes_turns_with_it() {
        let blocks = blocks(groups(&options("unary-64 unary-1 clone-64 mixed unlimited-64 --mode ct")));
        let names: Vec<Vec<String>> = blocks
            .iter()
            .map(|block| block.iter().map(|group| group.workload.to_string()).collect())
            .collect();
        assert_eq!(names, [vec!["unary-64", "clone-64", "unlimited-64"], vec!["unary-1"], vec!["mixed"]]);
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
