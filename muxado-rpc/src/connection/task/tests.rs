//! When the memory of requests is given back: with their handlers, however the connection ends.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::stream;
use muxado::{Config, ErrorCode, Session, Side, StreamType, TypedSession, TypedStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep,
};

use super::Connection;
use crate::{
    Context, NamedService, PeerInfo, Stream,
    connection::{setup::Setup, shared::ConnectionShared},
    support::panics::CatchDrop,
};

#[crate::service(crate = "crate")]
trait Stay {
    async fn hang(&self, text: String);
    async fn hang_with_context(&self, cx: &Context, text: String);
    async fn hang_with_items(&self, text: String) -> impl Stream<Item = u64>;
    /// Returns when it is let go.
    #[method(no_cancel)]
    async fn finish(&self, text: String);
    #[method(no_cancel)]
    async fn finish_with_context(&self, cx: &Context, text: String);
    /// Answers with so many bytes.
    async fn grow(&self, cx: &Context, bytes: usize) -> String;
    /// As `grow`, and leaves a task behind that runs until the call is over.
    async fn spawn_and_grow(&self, cx: &Context, bytes: usize) -> String;
}

/// How many handlers and tasks run, and what lets them go.
#[derive(Clone, Default)]
struct Staying {
    running: watch::Sender<usize>,
    let_go: Arc<Notify>,
}

/// Counts itself out when it is dropped.
struct Running(Staying);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

impl Staying {
    fn run(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(self.clone())
    }

    async fn hang(&self) {
        let _running = self.run();
        pending::<()>().await;
    }

    async fn finish(&self) {
        let _running = self.run();
        self.let_go.notified().await;
    }
}

impl Stay for Staying {
    async fn hang(&self, _: String) {
        Self::hang(self).await;
    }

    async fn hang_with_context(&self, _: &Context, _: String) {
        Self::hang(self).await;
    }

    async fn hang_with_items(&self, _: String) -> impl Stream<Item = u64> {
        stream::once(async {
            Self::hang(self).await;
            7
        })
    }

    async fn finish(&self, _: String) {
        Self::finish(self).await;
    }

    async fn finish_with_context(&self, _: &Context, _: String) {
        Self::finish(self).await;
    }

    async fn grow(&self, _: &Context, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn spawn_and_grow(&self, cx: &Context, bytes: usize) -> String {
        let staying = self.clone();
        cx.spawn(async move { Self::hang(&staying).await });
        "x".repeat(bytes)
    }
}

/// A served connection, and a bare client at its other end.
struct Rig {
    shared: Arc<ConnectionShared>,
    connection: JoinHandle<()>,
    session: TypedSession,
    staying: Staying,
    /// Has the client do nothing more, and keep its end of the transport open.
    freeze: Arc<Notify>,
}

/// What ends a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The peer closes it.
    Peer,
    /// This side does.
    Own,
    /// Its task is dropped.
    Dropped,
}

const ENDS: [End; 3] = [End::Peer, End::Own, End::Dropped];

impl Rig {
    fn new() -> Self {
        let (near, far) = duplex(64 * 1024);
        let (mut setup, staying) = (Setup::new(), Staying::default());
        setup.serve(StayServer::new(staying.clone()));
        let router = setup.router().unwrap();
        let connection = Connection::new(
            Side::Server,
            far,
            PeerInfo::default(),
            &setup,
            router.clone(),
            CatchDrop::new(router),
        );
        let shared = Arc::clone(connection.shared());
        let connection = tokio::spawn(connection.run());
        let (session, mut driver) = Session::client(near, Config::default());
        let freeze = Arc::<Notify>::default();
        let frozen = Arc::clone(&freeze);
        tokio::spawn(async move {
            tokio::select! {
                _ = &mut driver => {}
                () = frozen.notified() => pending().await,
            }
        });
        Self { shared, connection, session: TypedSession::new(session), staying, freeze }
    }

    /// Begins a call in two pieces, so that the request is buffered.
    async fn begin(&self, method: &str, more: &str) -> TypedStream {
        let (mut stream, rest) = self.begin_in_part(method, more).await;
        stream.write_all(rest.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        settle().await;
        stream
    }

    /// Begins a call whose request comes at once, so that nothing is buffered and its handler is parked.
    async fn begin_at_once(&self, method: &str) -> TypedStream {
        let id = <StayServer<Staying> as NamedService>::INFO.id().as_u32();
        let mut stream = self.session.open_typed(StreamType::new(id)).await.unwrap();
        let request = format!(r#"{{"method":"{method}","params":{{"text":"x"}}}}"#) + "\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        settle().await;
        stream
    }

    /// Begins a call, and gives the bytes that it lacks.
    async fn begin_in_part(&self, method: &str, more: &str) -> (TypedStream, &'static str) {
        let id = <StayServer<Staying> as NamedService>::INFO.id().as_u32();
        let mut stream = self.session.open_typed(StreamType::new(id)).await.unwrap();
        let text = "x".repeat(10_000);
        let params = format!(r#"{{"text":"{text}","bytes":1000000}}"#);
        let request = format!(r#"{{"method":"{method}",{more}"params":{params}"#);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        settle().await;
        (stream, "}\n")
    }

    async fn end(&self, end: End) {
        match end {
            End::Peer => self.session.session().close(ErrorCode::NO_ERROR, ""),
            End::Own => self.shared.session().close(ErrorCode::NO_ERROR, ""),
            End::Dropped => self.connection.abort(),
        }
        settle().await;
    }

    fn used(&self) -> usize {
        self.shared.memory().request_bytes()
    }

    fn running(&self) -> usize {
        *self.staying.running.borrow()
    }

    async fn let_go(&self) {
        self.staying.let_go.notify_waiters();
        settle().await;
    }
}

/// Lets all tasks come to rest.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_gives_all_back_with_the_handlers() {
    for end in ENDS {
        for method in ["hang", "hang_with_context", "hang_with_items"] {
            let rig = Rig::new();
            let _stream = rig.begin(method, "").await;
            assert!(rig.used() > 10_000 && rig.running() == 1, "{end:?}, {method}: {}", rig.used());
            rig.end(end).await;
            assert_eq!((rig.used(), rig.running()), (0, 0), "{end:?}, {method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn parked_handlers_end_with_their_connection_unless_they_must_finish() {
    for end in ENDS {
        for (method, left) in
            [("hang", 0), ("hang_with_context", 0), ("finish", 4), ("finish_with_context", 4)]
        {
            let rig = Rig::new();
            let mut streams = Vec::new();
            for _ in 0..4 {
                streams.push(rig.begin_at_once(method).await);
            }
            assert_eq!(rig.running(), 4, "{end:?}, {method}");
            rig.end(end).await;
            assert_eq!(rig.running(), left, "{end:?}, {method}");
            rig.let_go().await;
            assert_eq!(rig.running(), 0, "{end:?}, {method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn parked_handlers_do_not_wait_for_the_end_of_the_transport() {
    let rig = Rig::new();
    let _streams = [rig.begin_at_once("hang").await, rig.begin_at_once("finish").await];
    rig.freeze.notify_one();
    settle().await;
    assert_eq!(rig.running(), 2);
    rig.end(End::Own).await;
    assert!(!rig.connection.is_finished(), "it waits for the peer to close");
    assert_eq!(rig.running(), 1, "the one that must finish");
    rig.let_go().await;
    assert_eq!(rig.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn so_it_does_with_requests_that_are_not_whole() {
    for end in ENDS {
        let rig = Rig::new();
        let _parts = [rig.begin_in_part("hang", "").await, rig.begin_in_part("finish", "").await];
        assert!(rig.used() > 20_000 && rig.running() == 0, "{end:?}: {}", rig.used());
        rig.end(end).await;
        assert_eq!(rig.used(), 0, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_must_finish_keeps_its_request_until_it_has() {
    for method in ["finish", "finish_with_context"] {
        for end in ENDS {
            let rig = Rig::new();
            let _stream = rig.begin(method, "").await;
            let used = rig.used();
            assert!(used > 10_000, "{used}");
            rig.end(end).await;
            assert_eq!((rig.used(), rig.running()), (used, 1), "{end:?}, {method}");
            rig.let_go().await;
            assert_eq!((rig.used(), rig.running()), (0, 0), "{end:?}, {method}");
        }
        let rig = Rig::new();
        let (kept, dropped) = (rig.begin(method, "").await, rig.begin(method, "").await);
        let used = rig.used();
        drop(dropped);
        settle().await;
        assert_eq!((rig.used(), rig.running()), (used, 2), "{method}: after a reset");
        rig.let_go().await;
        assert_eq!((rig.used(), rig.running()), (0, 0), "{method}");
        drop(kept);
    }
}

#[tokio::test(start_paused = true)]
async fn nor_does_its_time_limit_give_it_back() {
    for method in ["finish", "finish_with_context"] {
        let rig = Rig::new();
        let mut stream = rig.begin(method, r#""timeout_ms":1000,"#).await;
        let used = rig.used();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("deadline_exceeded"), "{answer}");
        assert_eq!((rig.used(), rig.running()), (used, 1), "{method}");
        rig.let_go().await;
        assert_eq!((rig.used(), rig.running()), (0, 0), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_holds_nothing_of_the_request() {
    let rig = Rig::new();
    let _stream = rig.begin("grow", "").await;
    assert_eq!(rig.shared.session().stats().streams_open, 1, "the answer is still on its way");
    assert_eq!(rig.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_of_the_call_does_until_the_call_is_over() {
    let rig = Rig::new();
    let mut stream = rig.begin("spawn_and_grow", "").await;
    assert!(rig.used() > 10_000 && rig.running() == 1, "{}", rig.used());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("x\"}\n"));
    settle().await;
    assert_eq!((rig.used(), rig.running()), (0, 0));
}
