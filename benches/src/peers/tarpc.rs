//! tarpc over TCP, with each of its codecs.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use tarpc::{
    client, context, serde_transport,
    server::{self, Channel},
    tokio_serde::formats,
};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{
    Result,
    hop::{self, Hop},
    message::Message,
    peer::{Doorplate, Layer, Peer, dial},
    waiting,
    workload::Workload,
};

/// The deadline of a call that waits; the default is 10 s.
const LONG: Duration = Duration::from_secs(3600);

#[tarpc::service]
pub(crate) trait Echo {
    async fn echo(text: String) -> String;
    async fn hop(text: String) -> String;
    async fn sleep(text: String) -> String;
    async fn never(slot: u32) -> bool;
}

#[derive(Clone)]
struct Echoing(Hop);

impl Echo for Echoing {
    async fn echo(self, _: context::Context, text: String) -> String {
        text
    }

    async fn hop(self, _: context::Context, text: String) -> String {
        self.0.ask(text).await
    }

    async fn sleep(self, _: context::Context, text: String) -> String {
        self.0.nap(text).await
    }

    async fn never(self, _: context::Context, slot: u32) -> bool {
        waiting::forever(slot).await
    }
}

/// The framing of tarpc's own TCP transport, which leaves Nagle's algorithm on.
fn framed(stream: TcpStream) -> Framed<TcpStream, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder().max_frame_length(64 * 1024 * 1024).new_framed(stream)
}

/// The context of a call with a time limit that all peers have.
fn limited(limit: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + limit;
    context
}

/// Runs each call in a task of its own.
async fn spawn_all<F>(calls: impl Stream<Item = F>)
where
    F: Future<Output = ()> + Send + 'static,
{
    calls.for_each(async |call| drop(tokio::spawn(call))).await;
}

/// A codec is two types, one for each direction, so a generic peer would be mostly bounds.
macro_rules! tarpc_peer {
    ($peer:ident, $name:literal, $codec:ident, $runs:expr) => {
        #[doc = concat!("tarpc with the codec ", stringify!($codec), ".")]
        #[derive(Clone)]
        pub(crate) struct $peer(EchoClient, Duration);

        impl Peer for $peer {
            const NAME: &'static str = $name;
            const PACKAGE: &'static str = "tarpc";
            const LAYER: Layer = Layer::Calls;

            fn runs(workload: Workload) -> bool {
                let runs: fn(Workload) -> bool = $runs;
                runs(workload)
            }

            async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
                let (room, echoing) = (workload.room(), Echoing(Hop::start(workload)));
                let connection = move |stream: TcpStream| {
                    let echoing = echoing.clone();
                    async move {
                        let transport = serde_transport::new(framed(stream), formats::$codec::default());
                        let channel = server::Config { pending_response_buffer: room }.channel(transport);
                        match workload.handlers() {
                            None => spawn_all(channel.execute(echoing.serve())).await,
                            Some(handlers) => {
                                let channel = channel.max_concurrent_requests(handlers);
                                spawn_all(channel.execute(echoing.serve())).await;
                            }
                        }
                        Ok(())
                    }
                };
                doorplate.serve(connection).await
            }

            async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
                let stream = dial(server).await?;
                let transport = serde_transport::new(framed(stream), formats::$codec::default());
                let mut config = client::Config::default();
                config.max_in_flight_requests = workload.room();
                config.pending_request_buffer = workload.room();
                let limit = workload.time_limit().unwrap_or(hop::LIMIT);
                Ok(Self(EchoClient::new(config, transport).spawn(), limit))
            }

            async fn echo(&mut self, message: &Message) -> Result<()> {
                message.check(&self.0.echo(context::current(), message.text().to_owned()).await?)
            }

            async fn hop(&mut self, message: &Message) -> Result<()> {
                message.check(&self.0.hop(limited(self.1), message.text().to_owned()).await?)
            }

            async fn sleep(&mut self, message: &Message) -> Result<()> {
                message.check(&self.0.sleep(limited(self.1), message.text().to_owned()).await?)
            }

            async fn never(&mut self, slot: u32) -> Result<()> {
                let mut context = context::current();
                context.deadline = Instant::now() + LONG;
                self.0.never(context, slot).await?;
                Ok(())
            }
        }
    };
}

tarpc_peer!(TarpcMessagepack, "tarpc-messagepack", MessagePack, |workload| {
    super::runs_calls(workload)
        || super::runs_waiting_calls(workload)
        || super::runs_calls_in_time(workload)
        || workload == Workload::Overload
});
tarpc_peer!(TarpcBincode, "tarpc-bincode", Bincode, |workload| {
    matches!(workload, Workload::Unary { .. } | Workload::Payload { .. })
        || super::runs_waiting_calls(workload)
        || super::runs_calls_in_time(workload)
});
tarpc_peer!(TarpcJson, "tarpc-json", Json, super::runs_json_calls);
