//! Ours: calls.

use std::{future, iter, net::SocketAddr};

use futures_util::{StreamExt, stream};
use muxado::Config;
use muxado_rpc::{
    CallService, Channel, ClientTls, Codec, Limits, Peer as Connection, Server, ServerBuilder, ServerTls,
    Stream, Streaming,
    layers::{Metrics, MetricsLayer, Trace, TraceLayer},
    telemetry::Prometheus,
};
use tower_layer::Layer as _;

use crate::{
    Result, arena,
    hop::Hop,
    identity::{HOST, identity},
    message::{Copies, Message},
    peer::{Doorplate, Entry, Layer, Peer},
    sample::Sample,
    slice::Slice,
    source, waiting,
    workload::Workload,
};

/// The largest message by default; what is around a string counts.
const MESSAGE_SIZE: usize = 16 * 1024 * 1024;

#[muxado_rpc::service]
pub(crate) trait Echo {
    async fn echo(&self, text: String) -> String;
    async fn borrowed(&self, text: &str) -> String;
    async fn hop(&self, text: String) -> String;
    async fn sleep(&self, text: String) -> String;
    async fn items(&self, text: String, count: u32) -> impl Stream<Item = String>;
    async fn items_channel(&self, text: String, count: u32) -> impl Stream<Item = String>;
    async fn bidi_items(&self, items: Streaming<String>) -> impl Stream<Item = String>;
    async fn never(&self, slot: u32) -> bool;
}

struct Echoing(Hop);

impl Echo for Echoing {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn borrowed(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn hop(&self, text: String) -> String {
        self.0.ask(text).await
    }

    async fn sleep(&self, text: String) -> String {
        self.0.nap(text).await
    }

    async fn items(&self, text: String, count: u32) -> impl Stream<Item = String> {
        stream::iter(iter::repeat_n(text, count as usize))
    }

    async fn items_channel(&self, text: String, count: u32) -> impl Stream<Item = String> {
        source::channel(text, count)
    }

    async fn bidi_items(&self, items: Streaming<String>) -> impl Stream<Item = String> {
        // An item that does not arrive ends the stream early, which the client notices.
        items.take_while(|item| future::ready(item.is_ok())).filter_map(|item| future::ready(item.ok()))
    }

    async fn never(&self, slot: u32) -> bool {
        waiting::forever(slot).await
    }
}

/// A connection with its defaults. Only the client chooses a codec.
///
/// What observes calls has a type of its own, so that the tasks of those without have no room for it.
#[derive(Clone)]
pub(crate) struct MuxadoRpc<S = Channel>(EchoClient<S>);

/// What the client's calls go through.
pub(crate) trait Through: CallService + Sync {
    fn around(channel: Channel) -> Self;
}

impl Through for Channel {
    fn around(channel: Channel) -> Self {
        channel
    }
}

impl Through for Metrics<Channel> {
    fn around(channel: Channel) -> Self {
        MetricsLayer::client().layer(channel)
    }
}

impl Through for Trace<Channel> {
    fn around(channel: Channel) -> Self {
        TraceLayer::client().layer(channel)
    }
}

/// Measures calls through what the workload asks for.
fn measure(slice: Slice) -> Result<Sample> {
    match slice.workload {
        Workload::MetricsUnary { .. } => arena::measure::<MuxadoRpc<Metrics<Channel>>>(slice),
        Workload::OtelUnary { .. } => arena::measure::<MuxadoRpc<Trace<Channel>>>(slice),
        _ => arena::measure::<MuxadoRpc>(slice),
    }
}

/// The entry for lists.
pub(crate) const ENTRY: Entry = Entry { measure, ..Entry::of::<MuxadoRpc>() };

impl<S: Through> MuxadoRpc<S> {
    fn new(connection: &Connection, workload: Workload) -> Self {
        let codec = match workload {
            Workload::UnaryJson { .. } => Codec::Json,
            _ => Codec::MessagePack,
        };
        let client = EchoClient::new(S::around(connection.channel())).with_codec(codec);
        match workload.time_limit() {
            Some(limit) => Self(client.with_timeout(limit)),
            None => Self(client),
        }
    }
}

/// The defaults, unless the workload goes beyond.
fn limits(workload: Workload) -> Limits {
    match workload {
        Workload::Payload { size } if size >= MESSAGE_SIZE => Limits::default().max_message_size(2 * size),
        Workload::IdleBeside { .. } => Limits::default().max_in_flight(workload.room()),
        Workload::Conns { .. } | Workload::Fleet { .. } => {
            let room = workload.room();
            Limits::default().max_connections(room).max_connections_per_address(room)
        }
        _ => match workload.handlers() {
            Some(handlers) => Limits::default().max_in_flight(handlers),
            None => Limits::default(),
        },
    }
}

/// Returns the configuration of the session underneath.
fn config(workload: Workload) -> Config {
    match workload {
        Workload::IdleBeside { .. } => {
            let room = workload.room();
            // Calls use three quarters of the streams that may be open.
            Config::default().max_streams(room).accept_backlog(room).max_open_streams(2 * room)
        }
        _ => Config::default(),
    }
}

impl<S: Through> Peer for MuxadoRpc<S> {
    const NAME: &'static str = "muxado-rpc";
    const PACKAGE: &'static str = "muxado-rpc";
    const LAYER: Layer = Layer::Calls;
    const CALLS_BACK: bool = true;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload)
            || super::runs_items_of_streams(workload)
            || super::runs_json_calls(workload)
            || super::runs_waiting_calls(workload)
            || super::runs_calls_over_tls(workload)
            || super::runs_calls_in_time(workload)
            || workload.is_ours_alone()
            || workload == Workload::Overload
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        match workload {
            Workload::MetricsUnary { .. } => {
                let prometheus = Prometheus::install()?;
                // Durations are put into their buckets, as an endpoint does.
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        prometheus.upkeep();
                    }
                });
                serve(Server::builder().layer(MetricsLayer::server()), workload, doorplate).await
            }
            Workload::OtelUnary { .. } => {
                serve(Server::builder().layer(TraceLayer::server()), workload, doorplate).await
            }
            _ => serve(Server::builder(), workload, doorplate).await,
        }
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let mut builder = Connection::builder().limits(limits(workload)).config(config(workload));
        if let Workload::Both { .. } = workload {
            builder = builder.serve(EchoServer::new(Echoing(Hop::start(workload))));
        }
        let mut address = format!("tcp://{server}");
        if workload.has_tls() {
            address = format!("tls://{server}");
            builder = builder.tls(ClientTls::with_ca(identity()?.certificate_pem()).server_name(HOST));
        }
        Ok(Self::new(&builder.connect(&address).await?, workload))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.echo(message.text().to_owned()).await?)
    }

    async fn borrowed(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.borrowed(message.text()).await?)
    }

    async fn hop(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.hop(message.text().to_owned()).await?)
    }

    async fn sleep(&mut self, message: &Message) -> Result<()> {
        message.check(&self.0.sleep(message.text().to_owned()).await?)
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        check(self.0.items(message.text().to_owned(), count).await?, message.copies(count)).await
    }

    async fn items_channel(&mut self, message: &Message, count: u32) -> Result<()> {
        check(self.0.items_channel(message.text().to_owned(), count).await?, message.copies(count)).await
    }

    async fn bidi_items(&mut self, message: &Message, count: u32) -> Result<()> {
        let sent = stream::iter(iter::repeat_n(message.text().to_owned(), count as usize));
        check(self.0.bidi_items(sent).await?, message.copies(count)).await
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.0.never(slot).await?;
        Ok(())
    }
}

async fn check(mut items: Streaming<String>, mut copies: Copies<'_>) -> Result<()> {
    while let Some(item) = items.try_next().await? {
        copies.take(&item)?;
    }
    copies.end()
}

/// Serves with the layers of a builder.
async fn serve<L, S: Through>(
    builder: ServerBuilder<L>,
    workload: Workload,
    doorplate: Doorplate<MuxadoRpc<S>>,
) -> Result<()>
where
    L: tower_layer::Layer<muxado_rpc::Router, Service: CallService>,
{
    let mut builder = builder
        .serve(EchoServer::new(Echoing(Hop::start(workload))))
        .limits(limits(workload))
        .config(config(workload));
    if let Workload::Both { .. } = workload {
        let accepted = doorplate.accepted();
        builder = builder.on_connect(move |connection| {
            // Nobody takes it when the client has given up.
            let _ = accepted.send(MuxadoRpc::new(&connection, workload));
        });
    }
    let mut address = "tcp://127.0.0.1:0";
    if workload.has_tls() {
        address = "tls://127.0.0.1:0";
        let identity = identity()?;
        builder = builder.tls(ServerTls::from_pem(identity.certificate_pem(), identity.key_pem()));
    }
    let server = builder.listen(address).await?;
    let address = server.local_addr().socket_addr().ok_or("a server on TCP has a socket address")?;
    doorplate.hang(address);
    server.wait().await;
    Ok(())
}
