//! The connection that a command uses.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use muxado_rpc::{ClientTls, Peer};

use crate::{exit::Failure, output::Output, serve::ServeArgs};

/// Where the peer is, and how it is connected to; for all commands that need a connection.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Where the peer is: tcp://host:port, tls://host:port, ws://host/path, wss://host/path,
    /// unix:///path, unix:@name, or 'exec:program args' for a child process.
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// How long connecting may take, as in 500ms, 2s, 1m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Connection")]
    pub(crate) connect_timeout: Duration,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// How a server is verified, and who this side is.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct TlsArgs {
    /// Trust the authorities in this file (PEM) in place of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// The certificate of this side (PEM), with its chain.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of this side (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The name that the server's certificate has to be for, in place of the host of the address.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Do not verify who the server is. Anybody in between can read and change everything.
    #[arg(long, conflicts_with = "cacert")]
    pub(crate) insecure: bool,
}

impl ConnectArgs {
    /// Connects. The connection is closed when the last handle to it is dropped.
    pub(crate) async fn connect(&self, _output: &Output) -> Result<Peer, Failure> {
        let builder = Peer::builder().connect_timeout(self.connect_timeout).tls(self.tls.client());
        let builder = self.serve.apply(builder)?;
        Ok(builder.connect(self.address.as_str()).await?)
    }
}

impl TlsArgs {
    fn client(&self) -> ClientTls {
        let mut tls = ClientTls::new();
        if let Some(path) = &self.cacert {
            tls = tls.ca_file(path);
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity_files(cert, key);
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        tls
    }
}

/// Reads a time: a number with a unit, or of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "us" => 0.000_001,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("`{unit}` is no unit of time; there are us, ms, s, m and h")),
    };
    let number: f64 = digits.parse().map_err(|_| "not a number with a unit, as in 500ms or 2s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "no such time".to_owned())
}
