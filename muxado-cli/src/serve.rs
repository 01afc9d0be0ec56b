//! What this side serves on its connections: canned responses from a file.

use clap::Args;
use muxado_rpc::PeerBuilder;

use crate::exit::Failure;

/// What is served to the peer while a command runs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeArgs {}

impl ServeArgs {
    /// Has a connection serve what is in the file, if there is one.
    pub(crate) fn apply(&self, builder: PeerBuilder) -> Result<PeerBuilder, Failure> {
        Ok(builder)
    }
}
