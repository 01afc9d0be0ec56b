//! The subcommands, each in a file of its own.

pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod describe;
pub(crate) mod health;
pub(crate) mod list;
pub(crate) mod ping;
pub(crate) mod schema;
pub(crate) mod serve;

use crate::{
    cli::Command,
    exit::{Failure, interruptible},
    output::Output,
};

/// Runs a subcommand to its end, or until a signal comes.
pub(crate) async fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        // It ends with a summary.
        Command::Ping(args) => args.run(output).await,
        Command::Bench(args) => args.run(output).await,
        command => interruptible(run_interruptible(command, output)).await,
    }
}

async fn run_interruptible(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::List(args) => args.run(output).await,
        Command::Describe(args) => args.run(output).await,
        Command::Call(args) => args.run(output).await,
        Command::Health(args) => args.run(output).await,
        Command::Ping(args) => args.run(output).await,
        Command::Bench(args) => args.run(output).await,
        Command::Serve(args) => args.run(output).await,
        Command::Schema(args) => args.run(output).await,
        Command::Completions(args) => args.run(output),
        Command::Man(args) => args.run(output),
    }
}
