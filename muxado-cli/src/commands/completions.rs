//! `muxado completions` and `muxado man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, exit::Failure, output::Output};

/// For bash: `muxado completions bash > ~/.local/share/bash-completion/completions/muxado`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, output: &Output) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "muxado", &mut script);
        output.bytes(&script)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) fn run(self, output: &Output) -> Result<(), Failure> {
        if let Some(dir) = self.dir {
            return clap_mangen::generate_to(Cli::command(), &dir)
                .map_err(|error| Failure::other(format!("{}: {error}", dir.display())));
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        output.bytes(&page)
    }
}
