//! A peer in the middle that passes on all calls it does not know, of every shape: `fallback` with a channel.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use muxado::{Config, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{
    BoxChannel, CallError, CallHead, Channel, Code, Codec, Inline, Limits, Metadata, Origin, Peer, Reconnect,
    Request, Response, Router, Shape, Status,
    layers::{RetryPolicy, TimeoutLayer, TraceLayer},
};
use support::{
    CODECS, DivideError, WorkClient, WorkServer, Worker,
    feed::{Broken, FeedClient, FeedServer, Feeding, collect},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::Instant,
};
use tower::{ServiceBuilder, retry::RetryLayer, service_fn};

/// Is served in the middle; `far` is not among its methods there.
#[muxado_rpc::service(name = "Middle")]
trait Near {
    async fn near(&self) -> String;
}

#[muxado_rpc::service(name = "Middle")]
trait Far {
    async fn near(&self) -> String;
    async fn far(&self, n: u32) -> u32;
}

struct Place(&'static str);

impl Near for Place {
    async fn near(&self) -> String {
        self.0.to_owned()
    }
}

impl Far for Place {
    async fn near(&self) -> String {
        self.0.to_owned()
    }

    async fn far(&self, n: u32) -> u32 {
        n + 1
    }
}

/// A caller, a relay and a server in a row.
struct Row {
    caller: Peer,
    middle: [Peer; 2],
    server: Peer,
    feeding: Feeding,
    worker: Worker,
}

impl Row {
    fn new() -> Self {
        Self::with(Inline::Adaptive, Limits::default())
    }

    fn with(inline: Inline, relay: Limits) -> Self {
        let ((a, b), (c, d)) = (duplex(4096), duplex(4096));
        let (feeding, worker) = (Feeding::default(), Worker::default());
        let server = Peer::builder()
            .no_heartbeat()
            .serve(FeedServer::new(feeding.clone()))
            .serve(WorkServer::new(worker.clone()))
            .serve(FarServer::new(Place("far")))
            .server(d)
            .unwrap();
        let onward = Peer::builder().no_heartbeat().limits(relay.clone()).client(c).unwrap();
        let inward = Peer::builder()
            .no_heartbeat()
            .inline(inline)
            .limits(relay)
            .serve(NearServer::new(Place("near")))
            .fallback(onward.channel())
            .server(b)
            .unwrap();
        let caller = Peer::builder().no_heartbeat().client(a).unwrap();
        Self { caller, middle: [inward, onward], server, feeding, worker }
    }

    fn feed(&self, codec: Codec) -> FeedClient {
        FeedClient::new(self.caller.channel()).with_codec(codec)
    }

    fn work(&self, codec: Codec) -> WorkClient {
        WorkClient::new(self.caller.channel()).with_codec(codec)
    }

    /// Nothing is left at any of the four ends.
    async fn assert_quiet(&self) {
        let peers = [&self.caller, &self.middle[0], &self.middle[1], &self.server];
        let left = || {
            let handlers = self.feeding.count_alive() + self.worker.hanging();
            (peers.map(|peer| peer.stats().streams_open), handlers)
        };
        for _ in 0..1000 {
            if left() == ([0; 4], 0) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("streams and handlers are left: {:?}", left());
    }
}

#[tokio::test]
async fn every_shape_goes_through() {
    for inline in [Inline::Adaptive, Inline::Always, Inline::Never] {
        let row = Row::with(inline, Limits::default());
        for codec in CODECS {
            let client = row.feed(codec);
            assert_eq!(client.one(5).await, Ok(5));
            assert_eq!(collect(&mut client.count(1000).await.unwrap()).await.0.len(), 1000);
            assert_eq!(collect(&mut client.count(0).await.unwrap()).await, (vec![], None));
            assert_eq!(client.sum(stream::iter(1..=1000)).await, Ok(500_500));
            assert_eq!(client.sum(stream::iter([])).await, Ok(0));
            let doubled = collect(&mut client.double(stream::iter(1..=1000)).await.unwrap()).await;
            assert_eq!(doubled, ((1..=1000).map(|n| 2 * n).collect(), None));
            assert_eq!(client.ignore(stream::repeat(1)).await, Ok(7));
            row.assert_quiet().await;
        }
    }
}

#[tokio::test]
async fn items_of_both_sides_go_through_one_by_one() {
    let row = Row::new();
    for codec in CODECS {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<u64>();
        let input =
            stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        let mut doubled = row.feed(codec).double(input).await.unwrap();
        for n in 1..=3 {
            sender.send(n).unwrap();
            assert_eq!(doubled.try_next().await, Ok(Some(2 * n)));
        }
        drop(sender);
        assert_eq!(doubled.try_next().await, Ok(None));
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn an_unknown_method_of_a_known_service_goes_through_and_a_known_one_does_not() {
    let row = Row::new();
    for codec in CODECS {
        let client = FarClient::new(row.caller.channel()).with_codec(codec);
        assert_eq!(client.near().await.as_deref(), Ok("near"));
        assert_eq!(client.far(1).await, Ok(2));
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn errors_go_through_with_code_and_details() {
    let row = Row::new();
    for codec in CODECS {
        let divided = row.work(codec).divide(1.0, 0.0).await;
        assert_eq!(divided, Err(CallError::App(DivideError::ByZero { dividend: 1.0 })));
        let Err(CallError::Status(status)) = row.work(codec).find("x".to_owned()).await else {
            panic!("no status");
        };
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no x"));
        assert_eq!(status.details::<String>().as_deref(), Some("x"));
        let panicked = row.work(codec).panic().await.unwrap_err();
        assert_eq!((panicked.code(), panicked.may_have_executed()), (Code::Internal, true));
        let broken = collect(&mut row.feed(codec).broken(2).await.unwrap()).await;
        assert_eq!(broken, (vec![1, 2], Some(CallError::App(Broken::After(2)))));
        let mut at_once = row.feed(codec).broken_at_once().await.unwrap();
        assert_eq!(collect(&mut at_once).await, (vec![], Some(CallError::App(Broken::After(0)))));
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn metadata_go_through_in_both_directions() {
    let row = Row::new();
    for codec in CODECS {
        let client = row.work(codec).with_metadata(Metadata::from([("tenant", "blue")]));
        assert_eq!(client.metadata().await, Ok(vec!["tenant=blue".to_owned()]));
        let mut annotated = row.feed(codec).annotated(3).await.unwrap();
        assert_eq!(collect(&mut annotated).await, (vec![1], None));
        assert_eq!((annotated.metadata().get("k"), annotated.trailer().get("t")), (Some("vvv"), Some("www")));
        row.assert_quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_goes_through() {
    let row = Row::new();
    for codec in CODECS {
        let start = Instant::now();
        let left = row.work(codec).with_timeout(Duration::from_secs(5)).time_left().await.unwrap();
        assert!(left.is_some_and(|left| left > 4000 && left <= 5000), "{left:?}");
        let client = row.feed(codec).with_timeout(Duration::from_secs(5));
        // Time only passes where nothing else happens.
        let items = stream::iter([1]).chain(stream::pending());
        assert_eq!(client.hang(items).await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        let items = client.large_then_stall(10).await.unwrap().collect::<Vec<_>>().await;
        assert_eq!(items.last().unwrap().as_ref().unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        row.assert_quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_of_the_relay_reaches_the_server() {
    let ((a, b), (c, d)) = (duplex(4096), duplex(4096));
    let worker = Worker::default();
    let _server = Peer::builder().no_heartbeat().serve(WorkServer::new(worker)).server(d).unwrap();
    let onward = Peer::builder().no_heartbeat().client(c).unwrap();
    let _relay = Peer::builder()
        .no_heartbeat()
        .layer(TimeoutLayer::new(Duration::from_secs(3)))
        .fallback(onward.channel())
        .server(b)
        .unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    let left = WorkClient::new(caller.channel()).time_left().await.unwrap();
    assert!(left.is_some_and(|left| left > 2000 && left <= 3000), "{left:?}");
}

#[tokio::test]
async fn giving_up_goes_through() {
    let row = Row::new();
    for codec in CODECS {
        let client = row.work(codec);
        let call = tokio::spawn(async move { client.hang().await });
        row.worker.until_hanging(1).await;
        call.abort();
        row.worker.until_hanging(0).await;
        let client = row.feed(codec);
        let call = tokio::spawn(async move { client.hang(stream::repeat(1)).await });
        row.feeding.until_alive(1).await;
        call.abort();
        row.feeding.until_alive(0).await;
        let mut items = row.feed(codec).large_then_stall(10).await.unwrap();
        assert_eq!(items.try_next().await.unwrap().map(|item| item.len()), Some(10));
        drop(items);
        row.feeding.until_alive(0).await;
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_server_that_goes_is_an_error_behind_a_relay() {
    for codec in CODECS {
        let row = Row::new();
        let mut items = row.feed(codec).large_then_stall(10).await.unwrap();
        assert!(items.try_next().await.unwrap().is_some());
        row.server.close();
        assert_eq!(items.try_next().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(items.try_next().await, Ok(None));
        // The relay has not even sent it, and passes that on.
        let error = row.feed(codec).one(1).await.unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::Unavailable, false));
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn what_nobody_knows_is_refused_by_the_last() {
    let row = Row::new();
    for codec in CODECS {
        let call = row.caller.channel().call_raw("Nobody", "m").codec(codec);
        let Err(CallError::Status(status)) = call.call::<()>().await else { panic!("answered") };
        assert_eq!((status.code(), status.origin()), (Code::Unimplemented, Origin::Peer));
        assert!(!status.may_have_executed());
        assert!(status.message().contains("no service"), "{status}");
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn streams_of_a_relay_take_places_among_those_that_stream() {
    let row = Row::with(Inline::Adaptive, Limits::default().max_streaming_calls(4));
    for codec in CODECS {
        // A quarter of the limit is kept for deeper calls.
        let mut open = Vec::new();
        let error = loop {
            let mut items = row.feed(codec).large_then_stall(10).await.unwrap();
            match items.try_next().await {
                Ok(item) => assert!(item.is_some()),
                Err(error) => break error,
            }
            open.push(items);
            assert!(open.len() < 8);
        };
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert!(error.to_string().contains("max_streaming_calls"), "{error}");
        assert_eq!(row.feed(codec).one(5).await, Ok(5));
        drop(open);
        row.assert_quiet().await;
    }
}

#[tokio::test]
async fn a_relay_may_reconnect_and_have_layers_towards_the_server() {
    let connect = || async {
        let (near, far) = duplex(4096);
        let server = Peer::builder().serve(FeedServer::new(Feeding::default())).server(far).unwrap();
        tokio::spawn(async move { server.closed().await });
        Ok::<_, std::io::Error>(near)
    };
    let upstream = Reconnect::builder().connector(connect).build().unwrap();
    let upstream = ServiceBuilder::new()
        .layer(BoxChannel::layer())
        .layer(RetryLayer::new(RetryPolicy::new(3)))
        .layer(TraceLayer::client())
        .service(upstream);
    let (a, b) = duplex(4096);
    let _relay =
        Peer::builder().no_heartbeat().layer(TraceLayer::server()).fallback(upstream).server(b).unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        assert_eq!(client.one(5).await, Ok(5));
        assert_eq!(collect(&mut client.count(100).await.unwrap()).await.0.len(), 100);
        assert_eq!(client.sum(stream::iter(1..=100)).await, Ok(5050));
        let doubled = collect(&mut client.double(stream::iter([1, 2])).await.unwrap()).await;
        assert_eq!(doubled, (vec![2, 4], None));
    }
}

/// A relay of its own kind: sees names and bodies, and answers by itself.
#[tokio::test]
async fn a_fallback_sees_names_parameters_and_items() {
    let (a, b) = duplex(4096);
    let seen = service_fn(|mut request: Request| async move {
        let method = request.method();
        assert_eq!((method.shape(), method.name()), (Shape::Unknown, "sum"));
        assert_eq!(method.service(), muxado_rpc::ServiceId::from_name("Feed").to_string());
        assert!(request.peer_info().is_some());
        let mut frames = 0;
        if let Some(mut body) = request.take_body() {
            while body.next_frame().await.is_some() {
                frames += 1;
            }
        }
        Response::new(request.codec(), &frames)
    });
    let _server = Peer::builder().no_heartbeat().fallback(seen).server(b).unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        // Two items and the end.
        assert_eq!(client.sum(stream::iter([1, 2])).await, Ok(3));
        assert_eq!(client.sum(stream::iter([])).await, Ok(1));
    }
}

#[tokio::test]
async fn a_fallback_is_authorised_by_the_head_and_sees_a_long_request_whole() {
    let (a, b) = duplex(64);
    let length =
        service_fn(|request: Request| async move { Response::new(request.codec(), &request.params().len()) });
    let _server = Peer::builder()
        .no_heartbeat()
        .authorize(|head: &mut CallHead<'_>| match head.method().name() {
            "secret" => Err(Status::permission_denied("not for you")),
            _ => Ok(()),
        })
        .fallback(length)
        .server(b)
        .unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let call = |name| caller.channel().call_raw("S", name).codec(codec).params(&"x".repeat(10_000));
        assert_eq!(call("open").call::<usize>().await.unwrap() / 10, 1000);
        let Err(CallError::Status(status)) = call("secret").call::<usize>().await else { panic!("served") };
        assert_eq!(status, Status::permission_denied("not for you"));
    }
}

#[tokio::test]
async fn a_name_without_end_is_refused() {
    let (a, b) = duplex(4096);
    let never = service_fn(|_: Request| async { Err::<Response, _>(Status::internal("called")) });
    let _server = Peer::builder().no_heartbeat().fallback(never).server(b).unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let call = caller.channel().call_raw("S", "n".repeat(1025)).codec(codec);
        let Err(CallError::Status(status)) = call.call::<()>().await else { panic!("answered") };
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().contains("more than 1024 bytes"), "{status}");
    }
}

#[tokio::test]
async fn a_router_may_be_the_fallback_of_another() {
    let (feeding, worker) = (Feeding::default(), Worker::default());
    let inner = Router::new().add(FeedServer::new(feeding)).unwrap();
    let outer = Router::new().add(WorkServer::new(worker)).unwrap().fallback(inner);
    let (a, b) = duplex(4096);
    let _server = Peer::builder().no_heartbeat().fallback(outer.clone()).server(b).unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        assert_eq!(client.sum(stream::iter(1..=10)).await, Ok(55));
        assert_eq!(collect(&mut client.count(3).await.unwrap()).await.0.len(), 3);
        let client = FeedClient::new(outer.clone()).with_codec(codec);
        assert_eq!(client.sum(stream::iter(1..=10)).await, Ok(55));
        let error = FarClient::new(outer.clone()).with_codec(codec).far(1).await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn items_in_another_codec_than_the_call_are_refused() {
    let (a, b) = duplex(4096);
    let wrong = service_fn(|request: Request| async move {
        let other = if request.codec() == Codec::Json { Codec::MessagePack } else { Codec::Json };
        let items = stream::iter([Ok::<_, Status>(1)]);
        Ok::<_, Status>(Response::from_body(muxado_rpc::Body::from_items(other, items)))
    });
    let _server = Peer::builder().no_heartbeat().fallback(wrong).server(b).unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let mut items = FeedClient::new(caller.channel()).with_codec(codec).count(3).await.unwrap();
        let error = items.try_next().await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.to_string().contains("for a call in"), "{error}");
    }
}

#[tokio::test]
async fn calls_back_of_a_relayed_handler_reach_the_relay() {
    // The server's caller is the relay: who is behind that, it does not know.
    let row = Row::new();
    let error = row.work(Codec::Json).ask_back("x".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_relay_of_relays_works() {
    let (first, mut near) = duplex(4096);
    let mut keep = Vec::new();
    for _ in 0..3 {
        let (next, far) = duplex(4096);
        let onward: Channel = {
            let peer = Peer::builder().no_heartbeat().client(next).unwrap();
            let channel = peer.channel();
            keep.push(peer);
            channel
        };
        keep.push(Peer::builder().no_heartbeat().fallback(onward).server(near).unwrap());
        near = far;
    }
    keep.push(
        Peer::builder().no_heartbeat().serve(FeedServer::new(Feeding::default())).server(near).unwrap(),
    );
    let caller = Peer::builder().no_heartbeat().client(first).unwrap();
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        let doubled = collect(&mut client.double(stream::iter(1..=100)).await.unwrap()).await;
        assert_eq!(doubled.0.len(), 100);
        assert_eq!(client.one(5).await, Ok(5));
    }
}

/// A relay between two ends that are written by hand: that of a caller, and that of a server.
struct Bare {
    caller: TypedSession,
    server: TypedSession,
    relay: [Peer; 2],
}

impl Bare {
    fn new() -> Self {
        let ((a, b), (c, d)) = (duplex(4096), duplex(4096));
        let onward = Peer::builder().no_heartbeat().client(c).unwrap();
        let inward = Peer::builder().no_heartbeat().fallback(onward.channel()).server(b).unwrap();
        let (caller, driver) = Session::client(a, Config::default());
        tokio::spawn(driver);
        let (server, driver) = Session::server(d, Config::default());
        tokio::spawn(driver);
        let [caller, server] = [caller, server].map(TypedSession::new);
        Self { caller, server, relay: [inward, onward] }
    }

    async fn open(&self) -> TypedStream {
        self.caller.open_typed(StreamType::new(7)).await.unwrap()
    }

    async fn accept(&self) -> TypedStream {
        loop {
            let stream = self.server.accept_typed().await.unwrap();
            if stream.stream_type() == StreamType::new(7) {
                return stream;
            }
        }
    }
}

async fn read_line(stream: &mut TypedStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

async fn read_all(stream: &mut TypedStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

const REQUEST: &str = "{\"method\":\"m\",\"params\":[1]}\n";

#[tokio::test]
async fn a_call_without_items_is_passed_on_without_an_end_of_items() {
    for is_late in [false, true] {
        let bare = Bare::new();
        let mut near = bare.open().await;
        near.write_all(REQUEST.as_bytes()).await.unwrap();
        if !is_late {
            near.shutdown().await.unwrap();
        }
        let mut far = bare.accept().await;
        let request = read_line(&mut far).await;
        assert!(request.starts_with("{\"method\":\"m\"") && request.contains("\"params\":[1]"), "{request}");
        if is_late {
            near.shutdown().await.unwrap();
        }
        // Nothing comes behind it but the end of the stream.
        assert_eq!(read_all(&mut far).await, "");
        far.write_all(b"{\"ok\":7}\n").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(read_all(&mut near).await, "{\"ok\":7}\n");
    }
}

#[tokio::test]
async fn what_a_relay_passes_on_is_what_it_got() {
    let bare = Bare::new();
    let mut near = bare.open().await;
    near.write_all(REQUEST.as_bytes()).await.unwrap();
    near.write_all(b"{\"item\":[1, 2]}\n{\"end\":true}\n").await.unwrap();
    near.shutdown().await.unwrap();
    let mut far = bare.accept().await;
    assert!(read_line(&mut far).await.starts_with("{\"method\":\"m\""));
    assert_eq!(read_all(&mut far).await, "{\"item\":[1, 2]}\n{\"end\":true}\n");
    let answer = "{\"metadata\":{\"k\":\"v\"}}\n{\"item\":{ }}\n{\"ok\":null}\n";
    far.write_all(answer.as_bytes()).await.unwrap();
    far.shutdown().await.unwrap();
    assert_eq!(read_all(&mut near).await, answer);
}

#[tokio::test]
async fn items_that_stop_without_an_end_do_not_end_well_behind_a_relay() {
    let bare = Bare::new();
    // Of the request: the stream behind the relay is reset.
    let mut near = bare.open().await;
    near.write_all(REQUEST.as_bytes()).await.unwrap();
    near.write_all(b"{\"item\":1}\n").await.unwrap();
    near.shutdown().await.unwrap();
    let mut far = bare.accept().await;
    read_line(&mut far).await;
    assert_eq!(read_line(&mut far).await, "{\"item\":1}\n");
    assert!(far.read_u8().await.is_err_and(|error| error.kind() != std::io::ErrorKind::UnexpectedEof));
    assert!(read_all(&mut near).await.contains("data_loss"));
    // Of the response: the caller is told.
    let mut near = bare.open().await;
    near.write_all(REQUEST.as_bytes()).await.unwrap();
    near.shutdown().await.unwrap();
    let mut far = bare.accept().await;
    read_line(&mut far).await;
    far.write_all(b"{\"item\":1}\n").await.unwrap();
    far.shutdown().await.unwrap();
    let answer = read_all(&mut near).await;
    assert!(answer.starts_with("{\"item\":1}\n{\"err\":") && answer.contains("data_loss"), "{answer}");
    drop(bare.relay);
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_the_server_does_not_take_is_refused() {
    let bare = Bare::new();
    let mut control = bare.server.open_typed(StreamType::CONTROL).await.unwrap();
    control.write_all(b"{\"hello\":{\"codecs\":[\"json\"]}}\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut near = bare.open().await;
    near.write_all(b"\0\0\0\x04\x92\xa1m\x90").await.unwrap();
    near.shutdown().await.unwrap();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.contains("unimplemented") && answer.contains("the serving side does not take"),
        "{answer}"
    );
    assert!(answer.contains("executed"), "{answer}");
    // The other goes on.
    let mut near = bare.open().await;
    near.write_all(REQUEST.as_bytes()).await.unwrap();
    near.shutdown().await.unwrap();
    assert!(read_line(&mut bare.accept().await).await.contains("\"params\":[1]"));
}
