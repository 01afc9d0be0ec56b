//! Spans and traces of calls, of streams until their end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{cell::RefCell, io, sync::Once, time::Duration};

use futures_util::stream;
use muxado_rpc::{
    CallService, Channel, Limits, MethodInfo, NamedService, Peer, RawCall,
    layers::{Trace, TraceContext, TraceLayer},
};
use support::{
    CODECS, Pair, WorkClient, WorkServer, Worker,
    feed::{FeedClient, FeedServer, Feeding, collect},
};
use tokio::io::duplex;
use tower::Layer;
use tracing_subscriber::fmt::format::FmtSpan;

/// The two ends of a connection, the further of which serves this and traces it.
fn behind_trace(service: impl CallService + NamedService + Sync) -> (Peer, Peer) {
    let (near, far) = duplex(64 * 1024);
    let limits = Limits::default().max_message_size(1 << 20);
    let far = Peer::builder().limits(limits).layer(TraceLayer::server()).serve(service).server(far).unwrap();
    (Peer::builder().client(near).unwrap(), far)
}

thread_local! {
    /// What the subscriber wrote of this thread's spans: each test has a thread, and all its tasks there.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a subscriber wrote, line by line.
struct Lines(());

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Writes each span of this thread down when it ends.
    ///
    /// One subscriber serves all tests: whether a place in the code has one is remembered for all
    /// threads, so one for each would depend on which thread comes there first.
    fn record() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_span_events(FmtSpan::CLOSE)
                .with_writer(|| Self(()))
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LINES.take();
        Self(())
    }

    /// The innermost spans that have ended, by the text between the braces.
    fn spans(&self) -> Vec<String> {
        let text = String::from_utf8(LINES.take()).unwrap();
        let inner = |line: &str| Some(line.rsplit_once("rpc{")?.1.split_once('}')?.0.to_owned());
        text.lines().filter(|line| line.contains("close")).filter_map(inner).collect()
    }
}

/// The value of a field of a span.
fn field<'a>(span: &'a str, name: &str) -> Option<&'a str> {
    let value = span.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"'))
}

fn traced(channel: Channel) -> WorkClient<Trace<Channel>> {
    WorkClient::new(TraceLayer::client().layer(channel))
}

#[tokio::test]
async fn a_call_has_a_span_on_each_side_in_one_trace() {
    let lines = Lines::record();
    let (near, _far) = behind_trace(WorkServer::new(Worker::default()));
    let client = traced(near.channel());
    client.hanging().await.unwrap();
    let spans = lines.spans();
    let [server, client_span] = &spans[..] else { panic!("not two spans: {spans:?}") };
    for (span, side) in [(client_span, "client"), (server, "server")] {
        assert_eq!(field(span, "rpc.system.name"), Some("muxado"));
        assert_eq!(field(span, "rpc.method"), Some("Work/hanging"));
        assert_eq!(field(span, "otel.name"), Some("Work/hanging"));
        assert_eq!(field(span, "rpc.response.status_code"), Some("ok"));
        assert_eq!(field(span, "otel.kind"), Some(side));
        for absent in ["error.type", "otel.status_code", "rpc.method_original"] {
            assert_eq!(field(span, absent), None, "{absent}");
        }
    }
    assert_eq!(field(server, "trace_id"), field(client_span, "trace_id"));
    assert_eq!(field(server, "parent_id"), field(client_span, "span_id"));
    assert_eq!(field(client_span, "parent_id"), None);
    assert!(server.contains("peer=unknown peer"), "{server}");

    client.find("x".to_owned()).await.unwrap_err();
    client.divide(1.0, 0.0).await.unwrap_err();
    let codes: Vec<_> = lines
        .spans()
        .iter()
        .map(|span| field(span, "rpc.response.status_code").unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["not_found", "not_found", "unknown", "unknown"]);
}

#[tokio::test]
async fn a_failed_call_has_its_code_as_the_type_of_the_error_and_is_an_error_of_whom_it_concerns() {
    let lines = Lines::record();
    let (near, _far) = behind_trace(WorkServer::new(Worker::default()));
    let client = traced(near.channel());
    client.find("x".to_owned()).await.unwrap_err();
    client.divide(1.0, 0.0).await.unwrap_err();
    let seen: Vec<_> = lines
        .spans()
        .iter()
        .map(|span| {
            let [kind, error, status] = ["otel.kind", "error.type", "otel.status_code"]
                .map(|name| field(span, name).map(str::to_owned));
            (kind.unwrap(), error.unwrap(), status.is_some())
        })
        .collect();
    let expected = [
        ("server", "not_found", false),
        ("client", "not_found", true),
        ("server", "unknown", true),
        ("client", "unknown", true),
    ];
    assert_eq!(seen, expected.map(|(kind, error, failed)| (kind.to_owned(), error.to_owned(), failed)));
}

#[tokio::test]
async fn a_name_that_the_program_does_not_know_is_no_name_of_a_span() {
    let lines = Lines::record();
    let (near, _far) = behind_trace(WorkServer::new(Worker::default()));
    let channel = TraceLayer::client().layer(near.channel());
    RawCall::new(channel, MethodInfo::dynamic("Work", "made_up")).call::<()>().await.unwrap_err();
    let spans = lines.spans();
    let [span] = &spans[..] else { panic!("not one span: {spans:?}") };
    assert_eq!(field(span, "otel.name"), Some("_OTHER"));
    assert_eq!(field(span, "rpc.method"), Some("_OTHER"));
    assert_eq!(field(span, "rpc.method_original"), Some("Work/made_up"));
    assert_eq!(field(span, "error.type"), Some("unimplemented"));
}

/// Of a unary method as of a streamed one, on both sides.
#[tokio::test]
async fn an_error_of_the_application_has_its_code_in_the_span() {
    #[derive(Debug, PartialEq, muxado_rpc::AppError, serde::Serialize, serde::Deserialize)]
    enum Refusal {
        #[code(NotFound)]
        Missing,
        #[code(PermissionDenied)]
        Forbidden,
    }

    #[muxado_rpc::service]
    trait Door {
        async fn open(&self, locked: bool) -> Result<(), Refusal>;
        async fn watch(&self) -> Result<impl muxado_rpc::Stream<Item = u8>, Refusal>;
        async fn knock(&self) -> impl muxado_rpc::Stream<Item = Result<u8, Refusal>>;
    }

    struct Shut;

    impl Door for Shut {
        async fn open(&self, locked: bool) -> Result<(), Refusal> {
            Err(if locked { Refusal::Forbidden } else { Refusal::Missing })
        }

        async fn watch(&self) -> Result<impl muxado_rpc::Stream<Item = u8>, Refusal> {
            if true { Err(Refusal::Missing) } else { Ok(stream::empty()) }
        }

        async fn knock(&self) -> impl muxado_rpc::Stream<Item = Result<u8, Refusal>> {
            stream::iter([Err(Refusal::Forbidden)])
        }
    }

    let lines = Lines::record();
    let (near, _far) = behind_trace(DoorServer::new(Shut));
    for codec in CODECS {
        let client = DoorClient::new(TraceLayer::client().layer(near.channel())).with_codec(codec);
        let codes = || {
            lines
                .spans()
                .iter()
                .map(|span| field(span, "rpc.response.status_code").unwrap().to_owned())
                .collect()
        };
        assert_eq!(client.open(true).await.unwrap_err().app(), Some(&Refusal::Forbidden));
        assert_eq!(client.open(false).await.unwrap_err().app(), Some(&Refusal::Missing));
        let unary: Vec<String> = codes();
        assert_eq!(unary, ["permission_denied", "permission_denied", "not_found", "not_found"], "{codec}");
        let failed = match client.watch().await {
            Ok(mut items) => collect(&mut items).await.1,
            Err(error) => Some(error),
        };
        assert_eq!(failed.unwrap().app(), Some(&Refusal::Missing));
        let mut knocks = client.knock().await.unwrap();
        assert_eq!(collect(&mut knocks).await.1.unwrap().app(), Some(&Refusal::Forbidden));
        drop(knocks);
        let streamed: Vec<String> = codes();
        assert_eq!(streamed.iter().filter(|code| *code == "permission_denied").count(), 2, "{streamed:?}");
        assert_eq!(streamed.iter().filter(|code| *code == "not_found").count(), 2, "{streamed:?}");
    }
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_trace_goes_through_a_handler_and_its_own_calls() {
    #[muxado_rpc::service]
    trait Relay {
        async fn relay(&self) -> Vec<String>;
        async fn spawned(&self, cx: &muxado_rpc::Context) -> (bool, bool, bool);
    }

    struct Node(Channel);

    impl Relay for Node {
        async fn relay(&self) -> Vec<String> {
            traced(self.0.clone()).metadata().await.unwrap()
        }

        async fn spawned(&self, cx: &muxado_rpc::Context) -> (bool, bool, bool) {
            let context = cx.extension::<TraceContext>().unwrap().clone();
            let without = tokio::spawn(async { TraceContext::current() }).await.unwrap();
            let within = context.clone().scope(async { TraceContext::current() });
            let of_the_call = cx.spawn(async { TraceContext::current() }).await.unwrap().unwrap();
            let context = Some(context);
            (without.is_some(), tokio::spawn(within).await.unwrap() == context, of_the_call == context)
        }
    }

    let behind = Pair::new();
    let (near, far) = duplex(1024);
    let node = RelayServer::new(Node(behind.near.channel()));
    let _far = Peer::builder().layer(TraceLayer::server()).serve(node).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = RelayClient::new(near.channel());

    let sent = [("traceparent", PARENT), ("tracestate", "vendor=7")];
    let arrived = client.clone().with_metadata(sent.into()).relay().await.unwrap();
    let [parent, state] = &arrived[..] else { panic!("{arrived:?}") };
    let context = TraceContext::from_metadata(&[parent.split_once('=').unwrap()].into()).unwrap();
    assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    assert_ne!(context.span_id(), "b7ad6b7169203331");
    assert_eq!(state, "tracestate=vendor=7");

    for invalid in ["", "00-nonsense", &PARENT.to_uppercase()] {
        let sent = [("traceparent", invalid), ("tracestate", "vendor=7")];
        let arrived = client.clone().with_metadata(sent.into()).relay().await.unwrap();
        assert_eq!(arrived.len(), 1, "a new trace begins, without the old state");
        assert!(!arrived[0].contains("0af7651916cd43dd8448eb211c80319c"));
    }
    assert_eq!(client.spawned().await, Ok((false, true, true)));
    assert_eq!(TraceContext::current(), None);
}

#[tokio::test]
async fn a_call_that_names_its_trace_goes_on_with_it() {
    let pair = Pair::new();
    let client = traced(pair.near.channel()).with_metadata([("traceparent", PARENT)].into());
    let arrived = client.metadata().await.unwrap();
    assert!(arrived[0].starts_with("traceparent=00-0af7651916cd43dd8448eb211c80319c-"), "{arrived:?}");
    assert_ne!(arrived[0], format!("traceparent={PARENT}"));
}

/// A traced client of a feed, and what keeps the connection open.
fn feed() -> (FeedClient<Trace<Channel>>, Feeding, (Peer, Peer)) {
    let feeding = Feeding::default();
    let peers = behind_trace(FeedServer::new(feeding.clone()));
    (FeedClient::new(TraceLayer::client().layer(peers.0.channel())), feeding, peers)
}

/// The sides of spans that have ended, with the status of each.
fn outcomes(lines: &Lines) -> Vec<(String, String)> {
    let text = |span: &str, name| field(span, name).unwrap_or("none").to_owned();
    let mut outcomes: Vec<_> = lines
        .spans()
        .iter()
        .map(|span| (text(span, "otel.kind"), text(span, "rpc.response.status_code")))
        .collect();
    outcomes.sort();
    outcomes
}

/// The same status on both sides.
fn both(status: &str) -> Vec<(String, String)> {
    ["client", "server"].map(|side| (side.to_owned(), status.to_owned())).into()
}

#[tokio::test]
async fn the_span_of_a_stream_lasts_until_its_end() {
    let lines = Lines::record();
    let (client, _feeding, _peers) = feed();
    for codec in CODECS {
        let client = client.clone().with_codec(codec);
        let mut items = client.count(100_000).await.unwrap();
        for n in 1..=100 {
            assert_eq!(items.try_next().await, Ok(Some(n)));
        }
        assert_eq!(outcomes(&lines), [], "the window is full, nothing has ended");
        assert_eq!(collect(&mut items).await.0.len(), 99_900);
        assert_eq!(outcomes(&lines), both("ok"));
        let mut broken = client.broken(3).await.unwrap();
        assert_eq!(collect(&mut broken).await.0.len(), 3);
        assert_eq!(outcomes(&lines), both("out_of_range"));
    }
}

#[tokio::test]
async fn the_span_of_a_stream_that_nobody_wants_ends_as_cancelled() {
    let lines = Lines::record();
    let (client, feeding, _peers) = feed();
    let mut items = client.large_then_stall(3).await.unwrap();
    assert_eq!(items.try_next().await.unwrap().unwrap().len(), 3);
    drop(items);
    feeding.until_alive(0).await;
    assert_eq!(outcomes(&lines), both("cancelled"));
    // So does that of one answer.
    let mut call = Box::pin(client.hang(stream::iter([1])));
    tokio::select! {
        _ = &mut call => panic!("it hangs"),
        () = feeding.until_alive(1) => {}
    }
    drop(call);
    feeding.until_alive(0).await;
    assert_eq!(outcomes(&lines), both("cancelled"));
}

#[tokio::test(start_paused = true)]
async fn the_span_of_a_stream_that_is_cut_says_why() {
    let lines = Lines::record();
    let (client, feeding, peers) = feed();
    let limited = client.clone().with_timeout(Duration::from_secs(1));
    let mut items = limited.large_then_stall(3).await.unwrap();
    // The server's clock is the first to be looked at.
    feeding.until_alive(1).await;
    feeding.until_alive(0).await;
    assert!(collect(&mut items).await.1.is_some());
    assert_eq!(outcomes(&lines), both("deadline_exceeded"));
    let mut items = client.large_then_stall(3).await.unwrap();
    assert!(items.try_next().await.unwrap().is_some());
    peers.0.close();
    assert!(items.try_next().await.is_err());
    feeding.until_alive(0).await;
    let ended = ["client unavailable", "server cancelled"].map(|text| text.split_once(' ').unwrap());
    assert_eq!(outcomes(&lines), ended.map(|(side, status)| (side.to_owned(), status.to_owned())));
}

#[tokio::test]
async fn a_stream_makes_its_calls_in_the_trace_of_its_own() {
    #[muxado_rpc::service]
    trait Relay {
        async fn relay(&self) -> impl muxado_rpc::Stream<Item = Vec<String>>;
    }

    struct Node(Channel);

    impl Relay for Node {
        async fn relay(&self) -> impl muxado_rpc::Stream<Item = Vec<String>> {
            stream::once(async { traced(self.0.clone()).metadata().await.unwrap() })
        }
    }

    let behind = Pair::new();
    let (near, _far) = behind_trace(RelayServer::new(Node(behind.near.channel())));
    let client = RelayClient::new(near.channel()).with_metadata([("traceparent", PARENT)].into());
    let arrived = client.relay().await.unwrap().try_next().await.unwrap().unwrap();
    assert!(arrived[0].starts_with("traceparent=00-0af7651916cd43dd8448eb211c80319c-"), "{arrived:?}");
}
