//! What two peers of ours tell each other on their control streams (`PROTOCOL §10.13`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use muxado::{Config, SessionError};
use muxado_rpc::{
    CallError, Code, Codec, Context, Drained, Limits, Metadata, Peer, Server, ServiceId, Stream, Streaming,
};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::duplex,
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep},
};

/// A little more than the time until a peer says who it is.
const SAID: Duration = Duration::from_millis(1010);

/// A pair with these limits at its far end, which are known at the near end and the other way round.
async fn known(near: Limits, far: Limits) -> Pair {
    let pair = Pair::with(Peer::builder().limits(near), Peer::builder().limits(far));
    assert_alive(&pair.client(Codec::Json)).await;
    assert!(pair.near.capabilities().await.is_some() && pair.far.capabilities().await.is_some());
    pair
}

fn limited() -> Limits {
    Limits::default().max_message_size(4096).max_metadata_size(100).max_in_flight(7)
}

/// Fails unless the call was refused on this side; with this text.
#[track_caller]
fn assert_refused_here<T: std::fmt::Debug>(result: Result<T, CallError>, text: &str) {
    let status = result.unwrap_err().status().cloned().unwrap();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
    assert!(!status.may_have_executed());
}

#[tokio::test(start_paused = true)]
async fn peers_learn_limits_codecs_and_services_of_each_other() {
    let pair = known(Limits::default(), limited()).await;
    let remote = pair.near.known_capabilities().unwrap();
    assert_eq!(remote.max_message_size(), Some(4096));
    assert_eq!(remote.max_metadata_size(), Some(100));
    assert_eq!(remote.max_in_flight(), Some(7));
    assert_eq!(remote.max_request_memory(), Some(256 * 1024 * 1024));
    assert_eq!(remote.first_byte_timeout(), Some(Duration::from_secs(10)));
    assert_eq!(remote.codecs(), Some(&CODECS[..]));
    assert!(!remote.is_truncated() && !remote.is_draining());
    let [work] = &remote.services()[..] else { panic!("{remote:?}") };
    assert_eq!((work.name(), work.id()), ("Work", ServiceId::from_name("Work")));
    assert_eq!(work.methods().unwrap()[..2], ["echo", "divide"]);
    let back = pair.far.capabilities().await.unwrap();
    assert_eq!((back.max_message_size(), back.services().len()), (Some(16 * 1024 * 1024), 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_in_the_first_second_unless_somebody_asks() {
    let pair = Pair::new();
    assert_alive(&pair.client(Codec::Json)).await;
    let frames = || (pair.near.stats().frames_sent, pair.far.stats().frames_sent);
    sleep(Duration::from_millis(999)).await;
    assert_eq!(frames(), (2, 1));
    sleep(SAID - Duration::from_millis(999)).await;
    // On each side a line, and the end of the other direction.
    assert_eq!(frames(), (4, 3));
    assert!(pair.near.known_capabilities().is_some() && pair.far.known_capabilities().is_some());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(frames(), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn asking_has_both_say_it_at_once() {
    let pair = Pair::new();
    assert!(pair.near.known_capabilities().is_none());
    let start = Instant::now();
    assert_alive(&pair.client(Codec::Json)).await;
    assert!(pair.near.capabilities().await.is_some());
    assert!(pair.far.capabilities().await.is_some());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_that_is_asked_answers_within_a_round_trip() {
    // The first thing on the wire, long before the first heartbeat.
    for asks in ["near", "far", "both"] {
        let pair = Pair::new();
        let start = Instant::now();
        let (near, far) = tokio::join!(
            async { if asks == "far" { None } else { pair.near.capabilities().await } },
            async { if asks == "near" { None } else { pair.far.capabilities().await } },
        );
        assert_eq!((near.is_some(), far.is_some()), (asks != "far", asks != "near"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        // A line and the end of the other direction on each side: no more than is said later anyhow.
        assert_eq!((pair.near.stats().frames_sent, pair.far.stats().frames_sent), (2, 2));
        assert!(pair.near.known_capabilities().is_some() && pair.far.known_capabilities().is_some());
        assert_alive(&pair.client(Codec::Json)).await;
        sleep(Duration::from_secs(5)).await;
        // The extensions are known, so that the request was one frame.
        assert_eq!((pair.near.stats().frames_sent, pair.far.stats().frames_sent), (3, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_over_the_peers_limit_fails_before_a_byte_is_sent() {
    let pair = known(Limits::default(), limited()).await;
    let text = "x".repeat(5000);
    for (codec, size) in [(Codec::Json, 5038), (Codec::MessagePack, 5015)] {
        let (frames, calls) = (pair.near.stats().frames_sent, pair.far.call_stats());
        assert_refused_here(
            pair.client(codec).echo(text.clone()).await,
            &format!(
                "Work.echo: a request of {size} bytes, over the serving side's limit of 4096 (Limits::max_message_size)"
            ),
        );
        yield_now().await;
        assert_eq!((pair.near.stats().frames_sent, pair.far.call_stats()), (frames, calls));
        assert_alive(&pair.client(codec)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_over_the_peers_limit_fail_before_a_byte_is_sent() {
    let pair = known(Limits::default(), limited()).await;
    let frames = pair.near.stats().frames_sent;
    let client = pair.client(Codec::Json).with_metadata(Metadata::from([("k", "v".repeat(100))]));
    assert_refused_here(
        client.metadata().await,
        "Work.metadata: metadata of 101 bytes, over the other side's limit of 100 (Limits::max_metadata_size)",
    );
    assert_eq!(pair.near.stats().frames_sent, frames);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_known_is_found_out_by_the_peers_answer() {
    let pair = Pair::with(Peer::builder(), Peer::builder().limits(limited()));
    let status = pair.client(Codec::Json).echo("x".repeat(5000)).await.unwrap_err();
    assert_eq!((status.code(), pair.far.call_stats().failed), (Code::ResourceExhausted, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_callers_limit_is_not_sent() {
    let pair = known(limited(), Limits::default()).await;
    let sent = pair.far.stats().bytes_sent;
    let error = pair.client(Codec::MessagePack).grow(5000).await.unwrap_err();
    let text = "an answer of 5007 bytes, over the calling side's limit of 4096 (Limits::max_message_size)";
    assert_eq!((error.code(), error.status().unwrap().message()), (Code::ResourceExhausted, text));
    assert!(pair.far.stats().bytes_sent - sent < 300);
}

#[muxado_rpc::service]
trait Lists {
    async fn total(&self, items: Streaming<String>) -> usize;
    async fn repeat(&self, size: usize) -> impl Stream<Item = String>;
    async fn callers_limit(&self, cx: &Context) -> Option<usize>;
}

#[derive(Clone)]
struct Lister;

impl Lists for Lister {
    async fn total(&self, mut items: Streaming<String>) -> usize {
        let mut total = 0;
        while let Some(Ok(item)) = items.next().await {
            total += item.len();
        }
        total
    }

    async fn repeat(&self, size: usize) -> impl Stream<Item = String> {
        futures_util::stream::iter(["x".to_owned(), "x".repeat(size)])
    }

    async fn callers_limit(&self, cx: &Context) -> Option<usize> {
        cx.channel().capabilities().await?.max_message_size()
    }
}

/// A client of lists, on a side with these limits, and the other side with these.
async fn lists(near: Limits, far: Limits) -> (ListsClient, Peer, Peer) {
    let (near_io, far_io) = duplex(64 * 1024);
    let far = Peer::builder().limits(far).serve(ListsServer::new(Lister)).server(far_io).unwrap();
    let near = Peer::builder().limits(near).client(near_io).unwrap();
    let client = ListsClient::new(near.channel()).with_codec(Codec::Json);
    client.callers_limit().await.unwrap();
    assert!(near.capabilities().await.is_some());
    (client, near, far)
}

#[tokio::test(start_paused = true)]
async fn items_over_the_receivers_limit_are_not_sent_either_way() {
    let text = "an item of 5011 bytes, over the receiving side's limit of 4096 (Limits::max_message_size)";
    let (client, _near, _far) = lists(Limits::default(), limited()).await;
    let items = futures_util::stream::iter(["x".to_owned(), "x".repeat(5000)]);
    let error = client.total(items).await.unwrap_err();
    assert_eq!(error.status().unwrap().message(), format!("Lists.total: {text}"));

    let (client, _near, far) = lists(limited(), Limits::default()).await;
    let sent = far.stats().bytes_sent;
    let mut items = client.repeat(5000).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), "x");
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!(error.status().unwrap().message(), format!("Lists.repeat: {text}"));
    assert!(far.stats().bytes_sent - sent < 500);
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_what_its_caller_said() {
    let (client, _near, _far) = lists(limited(), Limits::default()).await;
    assert_eq!(client.callers_limit().await.unwrap(), Some(4096));
}

#[tokio::test(start_paused = true)]
async fn a_peer_says_that_it_drains_and_for_how_long() {
    let pair = known(Limits::default(), Limits::default()).await;
    let client = pair.client(Codec::Json);
    let slow = tokio::spawn(async move { client.sleep(2000).await });
    sleep(Duration::from_millis(1)).await;
    let far = pair.far.clone();
    let draining = tokio::spawn(async move { far.shutdown(Duration::from_secs(5)).await });
    sleep(Duration::from_millis(1)).await;
    let remote = pair.near.known_capabilities().unwrap();
    assert!(remote.is_draining() && pair.near.is_going_away());
    assert_eq!(remote.drain_grace(), Some(Duration::from_secs(5)));
    assert!(!pair.far.known_capabilities().unwrap().is_draining());
    let error = pair.client(Codec::Json).hanging().await.unwrap_err();
    assert!(!error.may_have_executed());
    slow.await.unwrap().unwrap();
    assert_eq!(draining.await.unwrap(), drained(1));
}

fn drained(finished: u64) -> Drained {
    let mut drained = Drained::default();
    drained.finished = finished;
    drained
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_drains_before_anything_was_said_says_go_away_and_no_more() {
    let pair = Pair::new();
    let client = pair.client(Codec::Json);
    let slow = tokio::spawn(async move { client.sleep(500).await });
    sleep(Duration::from_millis(1)).await;
    let drained_far = pair.far.shutdown(Duration::from_secs(5)).await;
    slow.await.unwrap().unwrap();
    assert_eq!(drained_far, drained(1));
    // The go-away with its pad, the answer, and the go-away that closes.
    assert_eq!(pair.far.stats().frames_sent, 4);
    assert!(pair.near.capabilities().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_for_no_control_stream() {
    for said in [false, true] {
        let pair = Pair::new();
        assert_alive(&pair.client(Codec::Json)).await;
        if said {
            sleep(SAID).await;
            assert!(pair.near.known_capabilities().is_some());
        }
        let start = Instant::now();
        assert_eq!(pair.far.shutdown(Duration::from_secs(60)).await, Drained::default());
        pair.near.closed().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_control_streams_is_idle() {
    let limit = Duration::from_secs(30);
    let config = || Peer::builder().config(Config::default().idle_timeout(Some(limit))).no_heartbeat();
    let pair = Pair::with(config(), config());
    assert_alive(&pair.client(Codec::Json)).await;
    let start = Instant::now();
    sleep(SAID).await;
    assert!(pair.near.known_capabilities().is_some());
    let end = pair.near.closed().await;
    assert!(start.elapsed() <= limit + SAID, "{:?}", start.elapsed());
    assert!(matches!(end.local, SessionError::IdleTimeout(_) | SessionError::ClosedByPeer(_)), "{end}");
}

#[tokio::test(start_paused = true)]
async fn control_streams_are_no_calls_and_take_no_calls_place() {
    let far = Peer::builder().limits(Limits::default().max_in_flight(1));
    let pair = Pair::with(Peer::builder(), far);
    let client = pair.client(Codec::Json);
    let hanging = tokio::spawn(async move { client.hang().await });
    pair.far_worker.until_hanging(1).await;
    // The one call that is served at a time is under way.
    assert_eq!(pair.far.capabilities().await.unwrap().max_in_flight(), Some(1024));
    assert_eq!(pair.far.call_stats().started, 1);
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn the_smallest_limits_on_streams_leave_room_for_calls() {
    let config = Config::default().max_streams(1).max_open_streams(1).accept_backlog(1);
    let builder = || Peer::builder().config(config.clone()).no_heartbeat();
    let pair = Pair::with(builder(), builder());
    assert_alive(&pair.client(Codec::Json)).await;
    sleep(SAID).await;
    assert!(pair.near.known_capabilities().is_some() && pair.far.known_capabilities().is_some());
    for codec in CODECS {
        assert_alive(&pair.client(codec)).await;
        assert_alive(&WorkClient::new(pair.far.channel()).with_codec(codec)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_show_itself_says_nothing() {
    for (near, far) in [(false, true), (true, false), (false, false)] {
        let builder = |shown| Peer::builder().config(Config::default().extensions(shown));
        let pair = Pair::with(builder(near).no_heartbeat(), builder(far).no_heartbeat());
        assert_alive(&pair.client(Codec::Json)).await;
        assert!(pair.near.known_capabilities().is_none() && pair.far.known_capabilities().is_none());
        sleep(Duration::from_secs(10)).await;
        assert_eq!((pair.near.stats().frames_sent, pair.far.stats().frames_sent), (2, 1));
        assert!(pair.near.known_capabilities().is_none() && pair.far.known_capabilities().is_none());
        // Who does not show itself does not ask, either.
        let asked = if near { &pair.far } else { &pair.near };
        assert!(asked.capabilities().await.is_none());
        assert_eq!((pair.near.stats().frames_sent, pair.far.stats().frames_sent), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_what_a_peer_says_ends_with_the_connection() {
    let (near, far) = duplex(1024);
    let near = Peer::builder().no_heartbeat().client(near).unwrap();
    let waiting = tokio::spawn({
        let near = near.clone();
        async move { near.capabilities().await }
    });
    sleep(Duration::from_secs(4)).await;
    assert!(!waiting.is_finished());
    drop(far);
    assert!(waiting.await.unwrap().is_none());
    assert!(near.capabilities().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_said_goes_with_the_connection() {
    let pair = known(Limits::default(), Limits::default()).await;
    let weak = [&pair.near, &pair.far].map(|peer| Arc::downgrade(&peer.known_capabilities().unwrap()));
    drop(pair);
    sleep(Duration::from_secs(3)).await;
    assert!(weak.iter().all(|weak| weak.upgrade().is_none()));
}

#[tokio::test]
async fn both_ends_of_a_socket_learn_of_each_other() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::builder()
        .limits(limited())
        .serve(WorkServer::new(Worker::default()))
        .on_connect(move |peer| tell.send(peer).unwrap())
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let near =
        Peer::builder().serve(WorkServer::new(Worker::default())).connect(server.local_addr()).await.unwrap();
    assert_alive(&WorkClient::new(near.channel())).await;
    let far = told.recv().await.unwrap();
    let (there, here) = tokio::join!(near.capabilities(), far.capabilities());
    assert_eq!(there.unwrap().max_message_size(), Some(4096));
    assert_eq!(here.unwrap().services()[0].name(), "Work");
    assert_eq!(server.shutdown(Duration::from_secs(60)).await, Drained::default());
}
