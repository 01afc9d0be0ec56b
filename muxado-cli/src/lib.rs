//! The command `muxado`: lists, describes, calls, checks and measures services that it has never seen.
//!
//! A server that has `.reflection()` says what it serves, and the command reads the rest from that: names, shapes, JSON
//! Schemas of parameters. Where reflection is off, a file that `muxado schema export` or
//! [`Document::write`](muxado_rpc::schema::Document::write) wrote takes its place. `muxado --help` says what there is; this
//! crate has no other interface.

mod bench;
mod catalog;
mod cli;
mod commands;
mod connect;
mod exit;
mod headers;
mod input;
mod json;
mod options;
mod output;
mod params;
mod request;
mod serve;
mod suggest;
mod tap;
mod types;

use std::process::ExitCode;

use clap::Parser;

use self::{cli::Cli, exit::Failure, output::Output};

/// Runs the program with the arguments of this process. Returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::of_arguments(&error),
    };
    let output = Output::new(&cli.output);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    let runtime = cli.command.runtime().build().map_err(|error| Failure::other(error.to_string()))?;
    let outcome = runtime.block_on(async {
        let outcome = commands::run(cli.command, output).await;
        connect::close_all().await;
        outcome
    });
    // A read of standard input that is under way is not waited for.
    runtime.shutdown_background();
    outcome
}
