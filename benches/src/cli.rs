//! The command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use crate::{
    Result, peers,
    slice::{Mode, Slice},
    workload::Workload,
};

/// What `--help` says.
pub(crate) const USAGE: &str = "\
measures muxado and muxado-rpc beside their peers, in turn

usage: cargo run --release -p benches -- [option ...] [workload ...]

  --quick         short measurements, ends within 60 s; without workloads that take long to set up
                  and without connectrpc and vox
  --json          one JSON object per line instead of a table
  --targets       a table of what is to be reached, and what this run has reached
  --charts DIR    draws the results as SVG files in this directory
  --markdown FILE writes all of it as a document, with versions and the machine
  --rounds N      how often the peers take turns (5; with --quick 1, of named workloads 2)
  --seconds S     length of one measurement (0.4)
  --mode MODE     ct or mt only; may be repeated
  --peer NAME     this peer only; may be repeated
";

/// How long a measurement is. What drifts does so from process to process and from minute to minute: longer
/// ones make medians of rounds no better.
const LENGTH: Duration = Duration::from_millis(400);

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// To measure.
    Run(Options),
    /// To be the process that does one measurement of one peer.
    Measure {
        peer: String,
        slice: Slice,
    },
    /// To be the process of a server.
    Serve {
        peer: String,
        workload: Workload,
    },
    Help,
}

/// What is to be measured, and how.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) modes: Vec<Mode>,
    /// Of no names: all.
    pub(crate) peers: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) pace: Pace,
    pub(crate) output: Output,
    pub(crate) targets: bool,
    pub(crate) charts: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
}

/// How long a measurement is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    Fixed(Duration),
    /// As long as lets all of them end in time.
    Quick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Table,
    Json,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: &[String]) -> Result<Command> {
    let mut options = Options {
        workloads: Vec::new(),
        modes: Vec::new(),
        peers: Vec::new(),
        rounds: 0,
        pace: Pace::Fixed(LENGTH),
        output: Output::Table,
        targets: false,
        charts: None,
        markdown: None,
    };
    let (mut quick, mut rounds, mut seconds) = (false, None, None);
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg {
            "--quick" => quick = true,
            "--rounds" => rounds = Some(value::<usize>(arg, rest.next())?.max(1)),
            "--seconds" => seconds = Some(Duration::try_from_secs_f64(value(arg, rest.next())?)?),
            "--measure" => return measure(&rest.collect::<Vec<_>>()),
            "--serve" => return serve(&rest.collect::<Vec<_>>()),
            "--help" | "-h" => return Ok(Command::Help),
            arg => options.read(arg, &mut rest)?,
        }
    }
    // All of it leaves a quick run no time for a second round.
    let quick_rounds = if options.workloads.is_empty() { 1 } else { 2 };
    options.rounds = rounds.unwrap_or(if quick { quick_rounds } else { 5 });
    match seconds {
        None if quick => options.pace = Pace::Quick,
        length => options.pace = Pace::Fixed(length.unwrap_or(LENGTH)),
    }
    options.complete(quick)?;
    Ok(Command::Run(options))
}

impl Options {
    /// Reads one argument, and its value from the rest.
    fn read<'a>(&mut self, arg: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<()> {
        match arg {
            "--json" => self.output = Output::Json,
            "--targets" => self.targets = true,
            "--charts" => self.charts = Some(value(arg, rest.next())?),
            "--markdown" => self.markdown = Some(value(arg, rest.next())?),
            "--mode" => self.modes.push(value::<Mode>(arg, rest.next())?),
            "--peer" => self.peers.push(known_peer(value(arg, rest.next())?)?),
            option if option.starts_with('-') => {
                return Err(format!("unknown option '{option}'\n\n{USAGE}").into());
            }
            name => self.workloads.push(name.parse::<Workload>()?),
        }
        Ok(())
    }

    /// What was not asked for is all there is.
    fn complete(&mut self, quick: bool) -> Result<()> {
        if self.workloads.is_empty() {
            let standard = Workload::STANDARD.split_whitespace().count();
            let count = if quick { standard } else { usize::MAX };
            self.workloads = Workload::all().take(count).map(str::parse).collect::<Result<_, _>>()?;
            // A minute is not enough for more.
            if quick && self.peers.is_empty() {
                let names = peers::ALL.iter().map(|entry| entry.name);
                self.peers =
                    names.filter(|name| !peers::NOT_QUICK.contains(name)).map(str::to_owned).collect();
            }
        }
        if self.modes.is_empty() {
            self.modes = vec![Mode::Ct, Mode::Mt];
        }
        Ok(())
    }
}

/// The arguments by which [`parse`] gives [`Command::Measure`].
pub(crate) fn measure_args(peer: &str, slice: Slice) -> [String; 5] {
    let (workload, mode) = (slice.workload.to_string(), slice.mode.to_string());
    ["--measure".to_owned(), peer.to_owned(), workload, mode, slice.time.as_millis().to_string()]
}

fn measure(args: &[&str]) -> Result<Command> {
    let &[peer, workload, mode, millis] = args else {
        return Err("--measure needs a peer, a workload, a mode and milliseconds".into());
    };
    let time = Duration::from_millis(millis.parse()?);
    let slice = Slice { workload: workload.parse()?, mode: mode.parse()?, time };
    Ok(Command::Measure { peer: known_peer(peer.to_owned())?, slice })
}

/// The arguments by which [`parse`] gives [`Command::Serve`].
pub(crate) fn serve_args(peer: &str, workload: Workload) -> [String; 3] {
    ["--serve".to_owned(), peer.to_owned(), workload.to_string()]
}

fn serve(args: &[&str]) -> Result<Command> {
    let &[peer, workload] = args else { return Err("--serve needs a peer and a workload".into()) };
    Ok(Command::Serve { peer: known_peer(peer.to_owned())?, workload: workload.parse()? })
}

fn value<T: FromStr<Err: ToString>>(option: &str, value: Option<&str>) -> Result<T> {
    let text = value.ok_or_else(|| format!("{option} needs a value"))?;
    text.parse().map_err(|error: T::Err| format!("{option}: {}", error.to_string()).into())
}

fn known_peer(name: String) -> Result<String> {
    if peers::ALL.iter().any(|entry| entry.name == name) {
        return Ok(name);
    }
    if peers::OPTIONAL.contains(&name.as_str()) {
        return Err(format!("peer '{name}' is left out of this build: add `--features {name}`").into());
    }
    let known: Vec<&str> = peers::ALL.iter().map(|entry| entry.name).collect();
    Err(format!("unknown peer '{name}', there are {}", known.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_everything_runs() {
        let Ok(Command::Run(options)) = parse_line("") else { panic!("not a run") };
        let count = |names: &str| names.split_whitespace().count();
        assert_eq!(options.workloads.len(), count(Workload::STANDARD) + count(Workload::LONG));
        assert_eq!(options.modes, [Mode::Ct, Mode::Mt]);
        assert_eq!((options.rounds, options.output), (5, Output::Table));
        assert_eq!(options.pace, Pace::Fixed(LENGTH));
    }

    #[test]
    fn arguments_come_in_any_order() {
        let line = "unary-64 --json --mode mt --quick streams-1 --peer h2 --rounds 3";
        let Ok(Command::Run(options)) = parse_line(line) else { panic!("not a run") };
        assert_eq!(options.workloads.len(), 2);
        assert_eq!((options.modes, options.peers), (vec![Mode::Mt], vec!["h2".to_owned()]));
        assert_eq!((options.rounds, options.pace, options.output), (3, Pace::Quick, Output::Json));
    }

    #[test]
    fn a_quick_run_of_everything_has_one_round() {
        for (line, rounds) in [("--quick", 1), ("--quick mixed", 2), ("--quick --rounds 4", 4)] {
            let Ok(Command::Run(options)) = parse_line(line) else { panic!("not a run") };
            assert_eq!(options.rounds, rounds, "{line}");
        }
    }

    #[test]
    fn a_quick_run_of_everything_leaves_peers_out() {
        let Ok(Command::Run(options)) = parse_line("--quick") else { panic!("not a run") };
        assert!(options.peers.iter().all(|peer| !peers::NOT_QUICK.contains(&peer.as_str())));
        assert!(options.peers.contains(&"tonic".to_owned()));
        let Ok(Command::Run(options)) = parse_line("--quick mixed") else { panic!("not a run") };
        assert!(options.peers.is_empty());
    }

    #[test]
    fn a_peer_that_needs_a_feature_says_which() {
        for name in peers::OPTIONAL {
            let built = peers::ALL.iter().any(|entry| entry.name == *name);
            match parse_line(&format!("--peer {name}")) {
                Ok(_) => assert!(built),
                Err(error) => assert!(!built && error.to_string().contains("--features"), "{error}"),
            }
        }
    }

    #[test]
    fn documents_are_written_where_it_is_said() {
        let Ok(Command::Run(options)) = parse_line("--targets --charts a/b --markdown c.md mixed") else {
            panic!("not a run")
        };
        assert!(options.targets);
        assert_eq!((options.charts, options.markdown), (Some("a/b".into()), Some("c.md".into())));
    }

    #[test]
    fn a_measurement_is_read_as_it_is_written() {
        let time = Duration::from_millis(1500);
        let slice = Slice { workload: Workload::Mixed, mode: Mode::Mt, time };
        let command = parse(&measure_args("h2", slice)).unwrap();
        assert_eq!(command, Command::Measure { peer: "h2".to_owned(), slice });
    }

    #[test]
    fn a_server_is_read_as_it_is_written() {
        let workload = Workload::Fleet { connections: 50, calls: 20 };
        let command = parse(&serve_args("tonic", workload)).unwrap();
        assert_eq!(command, Command::Serve { peer: "tonic".to_owned(), workload });
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for line in ["--fast", "--rounds", "--rounds x", "--peer nobody", "--mode st", "--serve h2", "unary"]
        {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
