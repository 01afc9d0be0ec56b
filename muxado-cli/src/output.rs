//! What is written, where, and how it looks there.

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};

use crate::exit::Failure;

/// How things are written; for all commands.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Say more on standard error: metadata and timing; twice: frames, too.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Write errors as JSON, one line on standard error.
    #[arg(long, global = true)]
    pub(crate) format_error: bool,
    /// When to use colours: `NO_COLOR` turns them off, too.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = false
    )]
    pub(crate) color: When,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    #[default]
    Auto,
    Always,
    Never,
}

/// Where a command writes: answers to standard output, everything else to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) verbose: u8,
    pub(crate) format_error: bool,
    /// Whether standard output is for a person: indented, in colours unless those are off.
    pub(crate) is_terminal: bool,
    pub(crate) color: bool,
    pub(crate) error_color: bool,
}

impl Output {
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let colored = |is_terminal: bool| match args.color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let is_terminal = io::stdout().is_terminal();
        Self {
            verbose: args.verbose,
            format_error: args.format_error,
            is_terminal,
            color: colored(is_terminal),
            error_color: colored(io::stderr().is_terminal()),
        }
    }

    /// Writes a line to standard output, at once.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes to standard output.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a line to standard error. Whether somebody reads it makes no difference.
    pub(crate) fn note(&self, line: &str) {
        _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Says why the program ends.
    pub(crate) fn failure(&self, failure: &Failure) {
        if !failure.message().is_empty() {
            self.note(&format!("error: {failure}"));
        }
    }
}
