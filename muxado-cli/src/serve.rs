//! What this side serves: canned responses from a file, on a connection that a command makes, or as a server.

mod file;
mod service;

use std::path::{Path, PathBuf};

use clap::Args;
use muxado_rpc::PeerBuilder;

use self::file::Canned;
pub(crate) use self::service::CannedResponses;
use crate::{exit::Failure, options::CONNECTION, output::Output};

/// What is served to the peer while a command runs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Answer calls that the peer makes back over the connection from this file; see `muxado serve --help`
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    serve: Option<PathBuf>,
}

impl ServeArgs {
    /// Has a connection serve what is in the file, if there is one.
    pub(crate) fn apply(&self, builder: PeerBuilder, output: &Output) -> Result<PeerBuilder, Failure> {
        let Some(path) = &self.serve else { return Ok(builder) };
        let responses = responses(path, output)?;
        let described = responses.describe();
        Ok(builder.fallback(responses).describe_fallback(described).reflection())
    }
}

/// Reads a file of canned responses. With `-v`, what becomes of each call is said on standard error.
pub(crate) fn responses(path: &Path, output: &Output) -> Result<CannedResponses, Failure> {
    Ok(CannedResponses::new(Canned::read(path)?, output.verbosity() > 0))
}
