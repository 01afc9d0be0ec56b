//! `muxado call`.

use clap::Args;

use crate::{connect::ConnectArgs, exit::Failure, output::Output};

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl CallArgs {
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        self.connect.connect(output).await?;
        Err(Failure::other("not there yet"))
    }
}
