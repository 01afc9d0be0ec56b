//! Limits never wait for those who wait for them: calls back, of any depth, beside each other and beside streams.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use muxado::Config;
use muxado_rpc::{CallError, Channel, Code, Codec, Context, Limits, Peer, PeerBuilder, Status, Stream};
use support::{CODECS, WorkClient, WorkServer, Worker};
use tokio::{
    io::duplex,
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

/// As in the README.
#[muxado_rpc::service]
trait Chat {
    async fn name(&self) -> String;
    async fn greet(&self, cx: &Context) -> String;
    /// Calls back so many times, each within the one before; returns how many handlers ran at the end.
    async fn dig(&self, cx: &Context, depth: u32) -> Result<u32, Status>;
    /// Calls back as `dig` does, but each handler waits for the others of its depth before it calls.
    async fn dig_in_a_task(&self, cx: &Context, depth: u32) -> Result<u32, Status>;
    async fn wait(&self);
    async fn subscribe(&self) -> impl Stream<Item = u32>;
    async fn upload(&self, values: muxado_rpc::Streaming<u32>) -> u32;
    /// Calls back by a client that the handler was not given by its context.
    async fn greet_otherwise(&self) -> String;
}

#[derive(Clone, Default)]
struct Member {
    name: &'static str,
    codec: Option<Codec>,
    other: Arc<std::sync::OnceLock<ChatClient<Channel>>>,
    subscribed: Arc<AtomicUsize>,
}

impl Member {
    fn client(&self, channel: Channel) -> ChatClient<Channel> {
        ChatClient::new(channel).with_codec(self.codec.unwrap_or(Codec::MessagePack))
    }
}

fn text(result: Result<String, CallError>) -> String {
    result.unwrap_or_else(|error| error.to_string())
}

impl Chat for Member {
    async fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn greet(&self, cx: &Context) -> String {
        format!("hello, {}", text(self.client(cx.channel()).name().await))
    }

    async fn dig(&self, cx: &Context, depth: u32) -> Result<u32, Status> {
        tokio::task::yield_now().await;
        if depth == 0 {
            return Ok(1);
        }
        Ok(1 + self.client(cx.channel()).dig(depth - 1).await?)
    }

    async fn dig_in_a_task(&self, cx: &Context, depth: u32) -> Result<u32, Status> {
        if depth == 0 {
            return Ok(1);
        }
        let other = self.other.get().cloned().unwrap();
        let deeper = cx.spawn(async move { other.dig_in_a_task(depth - 1).await });
        Ok(1 + deeper.await.unwrap().unwrap()?)
    }

    async fn wait(&self) {
        pending::<()>().await;
    }

    async fn subscribe(&self) -> impl Stream<Item = u32> {
        self.subscribed.fetch_add(1, Ordering::SeqCst);
        stream::pending()
    }

    async fn upload(&self, mut values: muxado_rpc::Streaming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(value) = values.next().await {
            sum += value.unwrap();
        }
        sum
    }

    async fn greet_otherwise(&self) -> String {
        let other = self.other.get().unwrap();
        format!("hello, {}", text(other.name().await))
    }
}

/// Two members of a chat, each with these settings.
struct Pair {
    near: ChatClient<Channel>,
    far: ChatClient<Channel>,
    far_member: Member,
    _peers: [Peer; 2],
}

impl Pair {
    fn new(codec: Codec, set: impl Fn(PeerBuilder) -> PeerBuilder) -> Self {
        let (near, far) = duplex(64 * 1024);
        let near_member = Member { name: "near", codec: Some(codec), ..Member::default() };
        let far_member = Member { name: "far", codec: Some(codec), ..Member::default() };
        let near = set(Peer::builder()).serve(ChatServer::new(near_member.clone())).client(near).unwrap();
        let far = set(Peer::builder()).serve(ChatServer::new(far_member.clone())).server(far).unwrap();
        let client = |peer: &Peer| ChatClient::new(peer.channel()).with_codec(codec);
        let _ = near_member.other.set(client(&near));
        let _ = far_member.other.set(client(&far));
        Self { near: client(&near), far: client(&far), far_member, _peers: [near, far] }
    }

    fn limited(codec: Codec, max_in_flight: usize) -> Self {
        Self::new(codec, |peer| peer.limits(Limits::default().max_in_flight(max_in_flight)))
    }
}

/// So many calls each way at once.
async fn both_ways<T, F: Future<Output = T>>(
    pair: &Pair,
    calls: usize,
    call: impl Fn(ChatClient<Channel>) -> F,
) -> Vec<T> {
    let all = (0..calls).flat_map(|_| [call(pair.near.clone()), call(pair.far.clone())]);
    timeout(Duration::from_secs(3600), join_all(all)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_peers_that_greet_each_other_at_once_are_all_answered() {
    for codec in CODECS {
        let pair = Pair::new(codec, |peer| peer);
        let begun = Instant::now();
        let answers = both_ways(&pair, 2000, |client| async move { client.greet().await }).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4000);
        assert!(answers.chunks(2).all(|pair| pair[0].as_deref() == Ok("hello, near")
            && pair[1].as_deref() == Ok("hello, far")));
        assert!(begun.elapsed() < SECOND, "{codec}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn with_one_call_in_flight_a_call_back_is_answered() {
    for codec in CODECS {
        let pair = Pair::limited(codec, 1);
        for calls in [1, 2, 20] {
            let answers = both_ways(&pair, calls, |client| async move { client.greet().await }).await;
            assert!(answers.iter().all(Result::is_ok), "{codec}: {answers:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_back_of_any_depth_are_answered_beside_each_other() {
    for codec in CODECS {
        for (limit, calls, depth) in [(8, 8, 4), (8, 100, 7), (1, 8, 7), (1, 1, 0)] {
            let pair = Pair::limited(codec, limit);
            let one_way = (0..calls).map(|_| pair.near.dig(depth));
            let answers = timeout(60 * SECOND, join_all(one_way)).await.unwrap();
            assert!(answers.iter().all(|answer| *answer == Ok(depth + 1)), "{codec} {limit}: {answers:?}");
            let answers = both_ways(&pair, calls, |client| async move { client.dig(depth).await }).await;
            assert!(answers.iter().all(|answer| *answer == Ok(depth + 1)), "{codec} {limit}: {answers:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_call_and_other_clients_call_as_deep_as_the_context() {
    for codec in CODECS {
        let pair = Pair::limited(codec, 1);
        let answers = both_ways(&pair, 8, |client| async move { client.dig_in_a_task(5).await }).await;
        assert!(answers.iter().all(|answer| *answer == Ok(6)), "{codec}: {answers:?}");
        let answers = both_ways(&pair, 8, |client| async move { client.greet_otherwise().await }).await;
        assert!(answers.iter().all(Result::is_ok), "{codec}: {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deepest_calls_are_refused_instead_of_waiting() {
    for codec in CODECS {
        let pair = Pair::limited(codec, 1);
        // Depths 8, 9 and 10 are one class, of which each side serves one call: depth 10 is one too many.
        assert_eq!(pair.near.dig(9).await, Ok(10));
        let begun = Instant::now();
        let status = Status::from(pair.near.dig(10).await.unwrap_err());
        assert_eq!((status.code(), begun.elapsed()), (Code::ResourceExhausted, Duration::ZERO));
        let says = "calls of depth 8 in flight, at the serving side's limit of 1 (Limits::max_in_flight)";
        assert!(status.message().ends_with(says), "{status}");
        assert_eq!(pair.near.dig(9).await, Ok(10));
    }
}

#[tokio::test(start_paused = true)]
async fn limits_on_streams_keep_room_for_calls_back() {
    let configs = [
        Config::default().max_open_streams(1),
        Config::default().max_unacknowledged_opens(1),
        Config::default().max_open_streams(8).max_unacknowledged_opens(2),
        Config::default().extensions(false),
    ];
    for codec in CODECS {
        for config in &configs {
            let set =
                |peer: PeerBuilder| peer.config(config.clone()).limits(Limits::default().max_in_flight(8));
            let pair = Pair::new(codec, set);
            let answers = both_ways(&pair, 100, |client| async move { client.dig(6).await }).await;
            assert!(answers.iter().all(|answer| *answer == Ok(7)), "{config:?}: {answers:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_backlog_has_room_for_calls_back() {
    for codec in CODECS {
        let pair = Pair::limited(codec, 1);
        // One is served. The others fill the backlog of the far side, and then the near side's limit on streams.
        let waits = (0..2000).map(|_| {
            let near = pair.near.clone();
            tokio::spawn(async move { near.wait().await })
        });
        let waits: Vec<_> = waits.collect();
        sleep(SECOND).await;
        assert!(timeout(SECOND, pair.near.name()).await.is_err(), "there is room left");
        for depth in [1, 6] {
            assert_eq!(timeout(SECOND, pair.far.dig(depth)).await.unwrap(), Ok(depth + 1), "{codec}");
        }
        waits.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn open_subscriptions_leave_calls_their_room() {
    for codec in CODECS {
        let pair = Pair::new(codec, |peer| peer);
        let mut subscriptions = Vec::new();
        for _ in 0..1024 {
            subscriptions.push(pair.near.subscribe().await.unwrap());
        }
        let name = timeout(Duration::from_millis(1), pair.near.name()).await;
        assert_eq!(name.unwrap().as_deref(), Ok("far"), "{codec}");
        assert_eq!(pair.far_member.subscribed.load(Ordering::SeqCst), 1024);
        // One more waits, and is told so.
        let more = pair.near.subscribe().await.unwrap().next().await.unwrap();
        let status = Status::from(more.unwrap_err());
        assert_eq!((status.code(), status.may_have_executed()), (Code::ResourceExhausted, false));
        let says = "beside the streaming calls in flight, at the serving side's limit of 1024 \
                    (Limits::max_streaming_calls)";
        assert!(status.message().contains(says), "{status}");
        // Uploads are of them, too: until one of them ends.
        drop(subscriptions.pop());
        assert_eq!(pair.near.upload(stream::iter([1, 2])).await, Ok(3));
    }
}

/// The place of a call that has just been answered is given to the next one before that is read.
#[tokio::test(start_paused = true)]
async fn open_uploads_leave_calls_their_room() {
    for codec in CODECS {
        let pair = Pair::limited(codec, 1);
        let mut uploads = Vec::new();
        for _ in 0..3 {
            let name = timeout(Duration::from_millis(1), pair.near.name()).await;
            assert_eq!(name.unwrap().as_deref(), Ok("far"), "{codec}, beside {} uploads", uploads.len());
            let client = pair.near.clone();
            uploads.push(tokio::spawn(async move { client.upload(stream::pending()).await }));
            sleep(Duration::from_millis(1)).await;
        }
        uploads.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_fill_their_room_leave_subscriptions_theirs() {
    let pair = Pair::limited(Codec::MessagePack, 1);
    let hanging = pair.near.clone();
    let hanging = tokio::spawn(async move { hanging.wait().await });
    tokio::task::yield_now().await;
    assert_eq!(pair.near.upload(stream::iter([1, 2])).await, Ok(3));
    hanging.abort();
}

/// A peer that knows nothing of depths: its calls are all of the first.
#[tokio::test(start_paused = true)]
async fn calls_of_other_clients_are_served_in_the_room_of_the_first_depth() {
    let (near, far) = duplex(64 * 1024);
    let near = Peer::builder().client(near).unwrap();
    let limits = Limits::default().max_in_flight(1);
    let _far = Peer::builder().limits(limits).serve(WorkServer::new(Worker::default())).server(far).unwrap();
    let client = WorkClient::new(near.channel());
    let all = stream::iter(0..100).map(|n| {
        let client = client.clone();
        async move { client.echo(n.to_string()).await }
    });
    let answers: Vec<_> = all.buffer_unordered(10).collect().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
