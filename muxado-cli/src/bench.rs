//! `muxado bench`: measures how fast a method is served.

use clap::Args;

use crate::{connect::ConnectArgs, exit::Failure, output::Output};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl BenchArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        self.connect.connect(output).await?;
        Err(Failure::other("not there yet"))
    }
}
