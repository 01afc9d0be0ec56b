//! `muxado health`.

use clap::Args;

use crate::{connect::ConnectArgs, exit::Failure, output::Output};

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl HealthArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        self.connect.connect(output).await?;
        Err(Failure::other("not there yet"))
    }
}
