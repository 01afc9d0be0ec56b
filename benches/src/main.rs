//! Measures muxado and muxado-rpc beside their peers, on the same work, in turn.
//!
//! `README.md` beside this package says what is measured, how the peers are set up, and what cannot
//! be compared.

mod arena;
mod arrivals;
mod both;
mod cli;
mod clock;
mod connect;
mod fleet;
mod hop;
mod identity;
mod idle;
mod link;
mod load;
mod memory;
mod message;
mod open;
mod output;
mod peer;
mod peers;
mod pipe;
mod plan;
mod process;
mod progress;
mod sample;
mod slice;
mod source;
mod stats;
mod waiting;
mod worker;
mod workload;

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use self::{
    cli::{Command, Options, Output},
    output::{
        charts, markdown,
        report::{self, Line},
        targets,
    },
    peer::Entry,
    slice::Slice,
};

/// Errors only go to whoever started the program.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = cli::parse(&args).and_then(|command| match command {
        Command::Run(options) => run(&options),
        Command::Measure { peer, slice } => measure(&peer, slice),
        Command::Serve { peer, workload } => (entry(&peer)?.serve)(workload),
        Command::Help => Ok(io::stdout().write_all(cli::USAGE.as_bytes())?),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error the exit code has to do.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let mut all = Vec::new();
    let failed = plan::run(options, |group| {
        let lines = report::lines(&group);
        if options.output == Output::Json {
            let mut stdout = io::stdout().lock();
            for line in &lines {
                writeln!(stdout, "{}", serde_json::to_string(line)?)?;
            }
        }
        all.extend(lines);
        Ok(())
    })?;
    if options.output == Output::Table {
        for (title, table) in report::tables(&all) {
            writeln!(io::stdout(), "{title}\n{table}")?;
        }
    }
    documents(options, &all)?;
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} measurements failed").into()),
    }
}

/// What is asked for beside the results themselves.
fn documents(options: &Options, lines: &[Line]) -> Result<()> {
    let mut links = Vec::new();
    if let Some(directory) = &options.charts {
        // As seen from the document, if they are below it.
        let base = options.markdown.as_deref().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
        let below = directory.strip_prefix(base).unwrap_or(directory);
        for name in charts::write(directory, lines)? {
            links.push(below.join(name).display().to_string());
        }
    }
    if let Some(file) = &options.markdown {
        fs::write(file, markdown::document(lines, options.rounds, &links))?;
    }
    match options.output {
        _ if !options.targets => {}
        Output::Table => writeln!(io::stdout(), "targets\n{}", targets::table(lines))?,
        // Beside the lines of JSON.
        Output::Json => writeln!(io::stderr(), "targets\n{}", targets::table(lines))?,
    }
    Ok(())
}

/// Measures once and prints the numbers for the process that started this one.
fn measure(peer: &str, slice: Slice) -> Result<()> {
    arena::watch(slice.limit());
    let sample = (entry(peer)?.measure)(slice)?;
    Ok(writeln!(io::stdout(), "{}", serde_json::to_string(&sample)?)?)
}

fn entry(peer: &str) -> Result<&'static Entry> {
    Ok(peers::ALL.iter().find(|entry| entry.name == peer).ok_or("no such peer")?)
}
