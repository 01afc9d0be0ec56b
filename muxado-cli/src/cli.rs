//! What can be written behind `muxado`.

use clap::{Parser, Subcommand};
use tokio::runtime;

use crate::{
    bench::BenchArgs,
    commands::{
        call::CallArgs,
        completions::{CompletionsArgs, ManArgs},
        describe::DescribeArgs,
        health::HealthArgs,
        list::ListArgs,
        ping::PingArgs,
        schema::SchemaArgs,
        serve::ServeCommandArgs,
    },
    exit::EXIT_STATUS,
    output::OutputArgs,
};

/// Sees, calls and measures muxado-rpc services.
#[derive(Debug, Parser)]
#[command(name = "muxado", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services of a peer.
    List(ListArgs),
    /// Describe services, methods and types.
    Describe(DescribeArgs),
    /// Call a method.
    Call(Box<CallArgs>),
    /// Ask whether a server, or one of its services, takes calls.
    Health(HealthArgs),
    /// Measure round trips.
    Ping(PingArgs),
    /// Measure how fast a method is served.
    Bench(Box<BenchArgs>),
    /// Serve canned responses from a file.
    Serve(ServeCommandArgs),
    /// Export the document of a program, or compare two.
    Schema(SchemaArgs),
    /// Print completions for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands.
    Man(ManArgs),
}

impl Command {
    /// Returns what runs the command: one thread, but for measurements.
    pub(crate) fn runtime(&self) -> runtime::Builder {
        let mut builder = match self {
            Self::Bench(args) => args.runtime(),
            _ => runtime::Builder::new_current_thread(),
        };
        builder.enable_all();
        builder
    }
}
