//! What a handler knows of its call, and what ends with it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use muxado_rpc::{
    AppError, CallError, Code, Codec, Context, Peer, PeerInfo, Request, Status, Stream, Streaming,
};
use tokio::{io::duplex, sync::Notify, time::Instant};
use tower::{ServiceBuilder, util::MapRequestLayer};

#[derive(Debug, PartialEq, AppError, serde::Serialize, serde::Deserialize)]
enum Trouble {
    #[code(NotFound)]
    Nowhere {
        place: String,
    },
    #[code(Aborted)]
    Clash(u32),
    Odd,
}

#[muxado_rpc::service]
trait Inner {
    /// Milliseconds left of the time limit.
    async fn time_left(&self, cx: &Context) -> Option<u64>;
    #[method(timeout_ms = 2000)]
    async fn limited(&self, cx: &Context) -> Option<u64>;
    /// What `time_left` of the caller says.
    async fn time_left_there(&self, cx: &Context, inherit: bool) -> Result<Option<u64>, Status>;
    async fn who(&self, cx: &Context) -> Vec<String>;
    async fn tell(&self, cx: &Context) -> u8;
    async fn tell_items(&self, cx: &Context) -> impl Stream<Item = u8>;
    async fn fail(&self, how: u32) -> Result<(), Trouble>;
    /// Leaves a task behind that never ends.
    async fn leave_task(&self, cx: &Context);
    async fn hang_with_task(&self, cx: &Context);
    #[method(no_cancel)]
    async fn must_finish(&self, cx: &Context) -> u8;
    #[method(no_cancel)]
    async fn must_read(&self, items: Streaming<u8>) -> usize;
}

#[derive(Clone, Default)]
struct Worker {
    alive: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    go_on: Arc<Notify>,
}

/// Counts itself.
struct Alive(Worker);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Worker {
    fn alive(&self) -> Alive {
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Alive(self.clone())
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    async fn until_alive(&self, count: usize) {
        self.until(|worker| worker.alive.load(Ordering::SeqCst) == count).await;
    }

    fn finish(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

fn left(cx: &Context) -> Option<u64> {
    Some(cx.deadline()?.saturating_duration_since(Instant::now()).as_millis() as u64)
}

impl Inner for Worker {
    async fn time_left(&self, cx: &Context) -> Option<u64> {
        left(cx)
    }

    async fn limited(&self, cx: &Context) -> Option<u64> {
        left(cx)
    }

    async fn time_left_there(&self, cx: &Context, inherit: bool) -> Result<Option<u64>, Status> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let client = InnerClient::new(cx.channel()).with_default_timeout(Duration::from_secs(60));
        let client = if inherit { client } else { client.without_inherited_deadline() };
        // A task of the call inherits, too.
        cx.spawn(async move { client.time_left().await }).await.unwrap().unwrap().map_err(Into::into)
    }

    async fn who(&self, cx: &Context) -> Vec<String> {
        let own = cx.extension::<&str>().map(ToString::to_string);
        let connections = cx.extension::<u32>().map(ToString::to_string);
        [Some(cx.peer_info().to_string()), own, connections].into_iter().flatten().collect()
    }

    async fn tell(&self, cx: &Context) -> u8 {
        cx.insert_metadata("head", "1");
        cx.insert_trailer("trailer", "2");
        7
    }

    async fn tell_items(&self, cx: &Context) -> impl Stream<Item = u8> {
        cx.insert_metadata("head", "1");
        stream::iter([7]).chain_trailer(cx)
    }

    async fn fail(&self, how: u32) -> Result<(), Trouble> {
        Err(match how {
            0 => Trouble::Nowhere { place: "here".to_owned() },
            1 => Trouble::Clash(7),
            _ => Trouble::Odd,
        })
    }

    async fn leave_task(&self, cx: &Context) {
        let alive = self.alive();
        drop(cx.spawn(async move {
            let _alive = alive;
            pending::<()>().await;
        }));
    }

    async fn hang_with_task(&self, cx: &Context) {
        self.leave_task(cx).await;
        pending::<()>().await;
    }

    async fn must_finish(&self, cx: &Context) -> u8 {
        let _alive = self.alive();
        cx.cancelled().await;
        self.go_on.notified().await;
        self.finish();
        7
    }

    async fn must_read(&self, mut items: Streaming<u8>) -> usize {
        let _alive = self.alive();
        let mut read = 0;
        while let Some(Ok(_)) = items.next().await {
            read += 1;
        }
        self.finish();
        read
    }
}

/// A stream that leaves a trailer behind its items.
trait ChainTrailer: Stream<Item = u8> + Sized {
    fn chain_trailer(self, cx: &Context) -> impl Stream<Item = u8> {
        use futures_util::StreamExt;
        self.inspect(|_| cx.insert_trailer("trailer", "2"))
    }
}

impl<S: Stream<Item = u8>> ChainTrailer for S {}

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

fn pair() -> (Peer, Peer, Worker) {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let near = Peer::builder().serve(InnerServer::new(worker.clone())).client(near).unwrap();
    let mut info = PeerInfo::new("mem://near").with_identity("CN=near");
    info.extensions_mut().insert(3_u32);
    let far = Peer::builder()
        .peer_info(info)
        .serve(InnerServer::new(worker.clone()))
        .layer(MapRequestLayer::new(|mut request: Request| {
            request.extensions_mut().insert("from a layer");
            request
        }))
        .server(far)
        .unwrap();
    (near, far, worker)
}

#[tokio::test]
async fn who_calls_is_known_with_all_that_was_learnt_of_it() {
    let (near, _far, _) = pair();
    let who = InnerClient::new(near.channel()).who().await.unwrap();
    assert_eq!(who, ["CN=near at mem://near", "from a layer", "3"]);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_time_limit_counts() {
    let (near, _far, _) = pair();
    let client = InnerClient::new(near.channel());
    let seconds = Duration::from_secs;
    assert_eq!(client.time_left().await, Ok(None));
    assert_eq!(client.limited().await, Ok(Some(2000)));
    let lazy = client.clone().with_default_timeout(seconds(9));
    assert_eq!((lazy.time_left().await, lazy.limited().await), (Ok(Some(9000)), Ok(Some(2000))));
    let strict = lazy.with_timeout(seconds(5));
    assert_eq!((strict.time_left().await, strict.limited().await), (Ok(Some(5000)), Ok(Some(5000))));
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_handler_inherit_what_is_left() {
    let (near, _far, _) = pair();
    let client = InnerClient::new(near.channel());
    assert_eq!(client.time_left_there(true).await, Ok(Some(60_000)));
    let client = client.with_timeout(Duration::from_secs(5));
    assert_eq!(client.time_left_there(true).await, Ok(Some(4700)));
    assert_eq!(client.time_left_there(false).await, Ok(Some(60_000)));
}

#[tokio::test]
async fn metadata_of_the_answer_arrives() {
    use tower::util::MapResponseLayer;
    let (near, _far, _) = pair();
    for codec in CODECS {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let see = Arc::clone(&seen);
        let channel = ServiceBuilder::new()
            .layer(MapResponseLayer::new(move |response: muxado_rpc::Response| {
                see.lock().unwrap().extend(response.metadata().iter().map(|(name, _)| name.to_owned()));
                response
            }))
            .service(near.channel());
        let client = InnerClient::new(channel).with_codec(codec);
        assert_eq!(client.tell().await, Ok(7));
        assert_eq!(*seen.lock().unwrap(), ["head", "trailer"]);
        let mut items = client.tell_items().await.unwrap();
        assert_eq!(items.try_next().await, Ok(Some(7)));
        assert_eq!((items.metadata().get("head"), items.trailer().get("trailer")), (Some("1"), None));
        assert_eq!(items.try_next().await, Ok(None));
        assert_eq!(items.trailer().get("trailer"), Some("2"));
    }
}

#[tokio::test]
async fn an_error_of_the_application_shows_its_code_to_those_who_do_not_know_it() {
    #[muxado_rpc::service(name = "Inner")]
    trait Stranger {
        async fn fail(&self, how: u32);
    }
    let (near, _far, _) = pair();
    for codec in CODECS {
        let client = InnerClient::new(near.channel()).with_codec(codec);
        let nowhere = Trouble::Nowhere { place: "here".to_owned() };
        assert_eq!(client.fail(0).await, Err(CallError::App(nowhere)));
        let stranger = StrangerClient::new(near.channel()).with_codec(codec);
        for (how, code) in [(0, Code::NotFound), (1, Code::Aborted), (2, Code::Internal)] {
            assert_eq!(stranger.fail(how).await.unwrap_err().code(), code);
        }
    }
}

#[tokio::test]
async fn tasks_of_a_call_end_with_it() {
    let (near, _far, worker) = pair();
    let client = InnerClient::new(near.channel());
    client.leave_task().await.unwrap();
    worker.until_alive(0).await;
    let call = tokio::spawn(async move { client.hang_with_task().await });
    worker.until_alive(1).await;
    call.abort();
    worker.until_alive(0).await;
}

#[tokio::test]
async fn a_method_that_must_finish_does() {
    let (near, _far, worker) = pair();
    let client = InnerClient::new(near.channel());
    let call = tokio::spawn(async move { client.must_finish().await });
    worker.until_alive(1).await;
    call.abort();
    // It has heard of it, and goes on.
    worker.go_on.notify_one();
    worker.until(|worker| worker.finished.load(Ordering::SeqCst) == 1).await;
    worker.until_alive(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_method_that_must_finish_does_so_after_its_time_limit_too() {
    let (near, _far, worker) = pair();
    let client = InnerClient::new(near.channel()).with_timeout(Duration::from_secs(1));
    assert_eq!(client.must_finish().await.unwrap_err().code(), Code::DeadlineExceeded);
    worker.go_on.notify_one();
    worker.until(|worker| worker.finished.load(Ordering::SeqCst) == 1).await;
    near.close();
}

#[tokio::test]
async fn a_method_that_must_finish_outlives_the_connection() {
    let (near, far, worker) = pair();
    let client = InnerClient::new(near.channel());
    let items = stream::pending();
    let call = tokio::spawn(async move { client.must_read(items).await });
    worker.until_alive(1).await;
    far.close();
    assert!(call.await.unwrap().is_err());
    worker.until(|worker| worker.finished.load(Ordering::SeqCst) == 1).await;
}
