//! quinn: QUIC streams over UDP, encrypted.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use quinn::{
    ClientConfig, Connection, Endpoint, Incoming, RecvStream, SendStream, ServerConfig, TransportConfig,
    VarInt,
    rustls::{
        RootCertStore,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};
use tokio::sync::OnceCell;

use crate::{
    Result,
    identity::{HOST, identity},
    message::{Message, Pieces},
    peer::{Doorplate, Held, Layer, Peer},
    workload::{WIDE, Workload},
};

/// Messages up to this many bytes are written, with their end, before anything is read.
const WRITTEN_FIRST: usize = 16 * 1024;

/// Streams at a time by default: enough where there are few.
const DEFAULT_STREAMS: usize = 100;

/// Open streams with which it was seen to work: 16 000 take less than a second, 32 000 were not open after 18.
const MOST_STREAMS: usize = 16_000;

/// One socket for all connections of the client, as its documentation advises.
static CLIENT: OnceCell<Endpoint> = OnceCell::const_new();

/// A connection.
#[derive(Clone)]
pub(crate) struct Quinn(Connection);

impl Peer for Quinn {
    const NAME: &'static str = "quinn";
    const PACKAGE: &'static str = "quinn";
    const LAYER: Layer = Layer::Streams;

    fn runs(workload: Workload) -> bool {
        super::runs_streams(workload)
            && match workload {
                // The simulated link carries bytes, not datagrams.
                Workload::Link { .. } => false,
                Workload::IdleBeside { streams } => streams <= MOST_STREAMS,
                _ => true,
            }
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let identity = identity()?;
        let chain = vec![CertificateDer::from(identity.certificate_der())];
        let key = PrivatePkcs8KeyDer::from(identity.key_der());
        let mut config = ServerConfig::with_single_cert(chain, key.into())?;
        config.transport_config(transport(room(workload))?).max_incoming(workload.room());
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
        doorplate.hang(endpoint.local_addr()?);
        while let Some(incoming) = endpoint.accept().await {
            // How a connection ends is for its client to say.
            tokio::spawn(serve_connection(incoming));
        }
        Ok(())
    }

    async fn connect(_workload: Workload, server: SocketAddr) -> Result<Self> {
        let endpoint = CLIENT.get_or_try_init(async || client()).await?;
        Ok(Self(endpoint.connect(server, HOST)?.await?))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        let (mut sender, mut receiver) = self.0.open_bi().await?;
        let mut pieces = message.pieces();
        let write = async {
            sender.write_chunk(message.bytes().clone()).await?;
            Ok(sender.finish()?)
        };
        if message.len() <= WRITTEN_FIRST {
            write.await?;
            read_to_end(&mut receiver, &mut pieces).await?;
        } else {
            tokio::try_join!(write, read_to_end(&mut receiver, &mut pieces))?;
        }
        pieces.end()
    }

    async fn hold(&mut self, message: &Message) -> Result<Held> {
        let (mut sender, mut receiver) = self.0.open_bi().await?;
        sender.write_chunk(message.bytes().clone()).await?;
        let mut pieces = message.pieces();
        while pieces.missing() > 0 {
            let chunk = receiver.read_chunk(usize::MAX, true).await?.ok_or("the stream has ended")?;
            pieces.take(&chunk.bytes)?;
        }
        Ok(Box::new((sender, receiver)))
    }
}

/// Streams that the other end may have open. They take memory of each connection before they are opened.
fn room(workload: Workload) -> usize {
    match workload {
        Workload::IdleSession | Workload::Conns { .. } => DEFAULT_STREAMS,
        _ => workload.room(),
    }
}

/// Windows so wide that nothing waits for credit, and room for so many streams of the other end.
fn transport(streams: usize) -> Result<Arc<TransportConfig>> {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WIDE.into())
        .send_window(WIDE.into())
        .max_concurrent_bidi_streams(VarInt::try_from(streams)?)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Nothing is to end because it is idle.
        .max_idle_timeout(None);
    Ok(Arc::new(transport))
}

fn client() -> Result<Endpoint> {
    let mut roots = RootCertStore::empty();
    roots.add(identity()?.certificate_der().into())?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    // Only the client opens streams.
    config.transport_config(transport(0)?);
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

async fn read_to_end(receiver: &mut RecvStream, pieces: &mut Pieces<'_>) -> Result<()> {
    while let Some(chunk) = receiver.read_chunk(usize::MAX, true).await? {
        pieces.take(&chunk.bytes)?;
    }
    Ok(())
}

async fn serve_connection(incoming: Incoming) -> Result<()> {
    let connection = incoming.await?;
    loop {
        let (sender, receiver) = connection.accept_bi().await?;
        tokio::spawn(serve_stream(sender, receiver));
    }
}

/// Sends back what comes, and the end after it.
async fn serve_stream(mut sender: SendStream, mut receiver: RecvStream) -> Result<()> {
    while let Some(chunk) = receiver.read_chunk(usize::MAX, true).await? {
        sender.write_chunk(chunk.bytes).await?;
    }
    Ok(sender.finish()?)
}
