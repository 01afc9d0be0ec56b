//! The connection that a command uses.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use clap::Args;
use muxado::PingError;
use muxado_rpc::{Address, BoxIo, ClientTls, Peer};

use crate::{
    catalog::Catalog, exit::Failure, headers::HeaderArgs, output::Output, serve::ServeArgs, tap::Tap,
};

pub(crate) use crate::options::{CONNECTION, duration};

/// Where the peer is, and how it is connected to; for all commands that need a connection.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Where the peer is: tcp://host:port (or host:port), tls://host:port, ws://host/path, wss://host/path, unix:///path,
    /// unix:@name, or 'exec:program args' for a child process
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) options: ConnectOptions,
}

/// How peers are connected to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectOptions {
    #[command(flatten)]
    tls: TlsArgs,
    /// How long connecting may take, to the first answer, as in 500ms, 2s, 1m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = CONNECTION)]
    connect_timeout: Duration,
    #[command(flatten)]
    serve: ServeArgs,
}

/// How a server is verified, and who this side is.
#[derive(Clone, Debug, Default, Args)]
struct TlsArgs {
    /// Trust the authorities in this file (PEM) in place of the system's
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    cacert: Option<PathBuf>,
    /// The certificate of this side (PEM), with its chain
    #[arg(long, value_name = "FILE", requires = "key", help_heading = CONNECTION)]
    cert: Option<PathBuf>,
    /// The key of this side (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = CONNECTION)]
    key: Option<PathBuf>,
    /// The name that the server's certificate has to be for, in place of the host of the address
    #[arg(long, value_name = "NAME", help_heading = CONNECTION)]
    server_name: Option<String>,
    /// Do not verify who the server is: anybody in between can read and change everything
    #[arg(long, conflicts_with = "cacert", help_heading = CONNECTION)]
    insecure: bool,
}

impl ConnectArgs {
    /// Connects. The connection is closed when the program ends.
    pub(crate) async fn connect(&self, output: &Output) -> Result<Peer, Failure> {
        self.options.connect(&self.address, output).await
    }
}

impl ConnectOptions {
    /// Connects to an address. The connection is closed when the program ends.
    pub(crate) async fn connect(&self, address: &str, output: &Output) -> Result<Peer, Failure> {
        let mut builder = Peer::builder().connect_timeout(self.connect_timeout);
        if let Some(tls) = self.tls.client() {
            builder = builder.tls(tls);
        }
        if output.verbosity() > 1 {
            builder = builder.wrap_transport(|io: BoxIo| Box::new(Tap::new(io)));
        }
        let builder = self.serve.apply(builder, output)?;
        let peer = builder.connect(full_address(address)?).await?;
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).push(peer.clone());
        self.hear_from(&peer, address).await?;
        Ok(peer)
    }

    /// Waits until the peer has answered anything: a port may be that of another protocol, whose server waits for more.
    async fn hear_from(&self, peer: &Peer, address: &str) -> Result<(), Failure> {
        match tokio::time::timeout(self.connect_timeout, peer.ping()).await {
            Ok(Ok(_) | Err(PingError::Unsupported)) => Ok(()),
            Ok(Err(error)) => Err(Failure::connection(format!("{address}: {error}"))),
            Err(_) => {
                let limit = self.connect_timeout;
                let silent = format!("{address} was connected to, and says nothing within {limit:?}");
                Err(Failure::connection(silent)
                    .hint("is it a peer of muxado, and is the scheme the right one?"))
            }
        }
    }
}

impl TlsArgs {
    /// Returns the settings, if there are any.
    fn client(&self) -> Option<ClientTls> {
        let Self { cacert, cert, key, server_name, insecure } = self;
        if cacert.is_none() && cert.is_none() && server_name.is_none() && !insecure {
            return None;
        }
        let mut tls = ClientTls::new();
        if let Some(path) = cacert {
            tls = tls.ca_file(path);
        }
        if let (Some(cert), Some(key)) = (cert, key) {
            tls = tls.identity_files(cert, key);
        }
        if let Some(name) = server_name {
            tls = tls.server_name(name);
        }
        Some(if *insecure { tls.dangerous_any_server() } else { tls })
    }
}

/// The connections of this process. Each is closed in good order at the end, so that the peer learns of calls that were
/// given up.
static OPEN: Mutex<Vec<Peer>> = Mutex::new(Vec::new());

/// How long the end of a connection may take.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// Closes all connections, and waits until the peers can know.
pub(crate) async fn close_all() {
    let peers = std::mem::take(&mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner));
    let closing = async {
        peers.iter().for_each(Peer::close);
        for peer in &peers {
            peer.closed().await;
        }
    };
    // A peer that takes nothing is left alone.
    _ = tokio::time::timeout(CLOSE_WITHIN, closing).await;
}

/// Reads an address; `host:port` is one of TCP.
fn full_address(text: &str) -> Result<Address, Failure> {
    text.parse().or_else(|error: muxado_rpc::AddressError| {
        let is_short = !text.contains('/')
            && text
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        match format!("tcp://{text}").parse() {
            Ok(address) if is_short => Ok(address),
            _ => Err(Failure::usage(error.to_string())),
        }
    })
}

/// Where descriptions of services come from: a peer or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Peer(String),
    File(PathBuf),
}

impl Place {
    /// Reads an address, or the path of a file that is there. An address is never taken for a file.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match full_address(text) {
            Ok(_) => Ok(Self::Peer(text.to_owned())),
            Err(_) if Path::new(text).is_file() => Ok(Self::File(text.into())),
            Err(failure) => Err(failure.hint(format!("nor is there a file {text}"))),
        }
    }

    /// Returns what is known there.
    pub(crate) async fn catalog(
        &self,
        options: &ConnectOptions,
        headers: &HeaderArgs,
        output: &Output,
    ) -> Result<Catalog, Failure> {
        match self {
            Self::File(path) => Catalog::of_file(path),
            Self::Peer(address) => {
                Ok(Catalog::of_peer(&options.connect(address, output).await?, address, headers))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(address) => f.write_str(address),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "ms", "-1s", "1d", "1e40", "NaN"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_and_port_alone_are_an_address_of_tcp() {
        assert_eq!(full_address("localhost:7000").unwrap().to_string(), "tcp://localhost:7000");
        assert_eq!(full_address("[::1]:7").unwrap().to_string(), "tcp://[::1]:7");
        for wrong in ["localhost", "a/b:7", ":7", "localhost:70000", "http://x:1"] {
            assert!(full_address(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(Place::parse("Cargo.toml"), Ok(Place::File(_))));
        assert!(Place::parse("there/is/none").is_err());
    }
}
