//! A process that was stopped finds everything due at once: what had come in time counts before a limit does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use muxado::{Config, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{Code, NamedService, Peer, Reconnect, reconnect::State};
use support::{
    CODECS, WorkClient, WorkServer, Worker,
    feed::{FeedClient, FeedServer, Feeding, collect},
    threads::poll_once,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::{JoinSet, yield_now},
    time::{Instant, advance, sleep},
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Holds back what comes from the transport.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn shut(&self) {
        self.0.lock().unwrap().0 = true;
    }

    fn open(&self) {
        let waker = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = false;
            gate.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let mut gate = self.0.lock().unwrap();
        if !gate.0 {
            return Poll::Ready(());
        }
        gate.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A transport that is read through a gate.
struct Gated(DuplexStream, Gate);

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.1.poll_open(cx));
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A transport behind a gate, and a peer that serves at its other end.
fn gated(worker: &Worker) -> (Gated, Gate, Peer) {
    let (near, far) = duplex(64 * 1024);
    let gate = Gate::default();
    let builder = Peer::builder().no_heartbeat().serve(WorkServer::new(worker.clone()));
    let far = builder.serve(FeedServer::new(Feeding::default())).server(far).unwrap();
    (Gated(near, gate.clone()), gate, far)
}

/// Lets time pass as for a process that is stopped meanwhile: many tasks are ready when it goes on, and the timers
/// are found to be due while most of them wait for their turn.
async fn stop_for(time: Duration, then: impl FnOnce()) -> JoinSet<()> {
    let mut busy = JoinSet::new();
    for _ in 0..100 {
        busy.spawn(async {
            for _ in 0..100 {
                yield_now().await;
            }
        });
    }
    // What wakes up with it is behind all of them.
    then();
    advance(time).await;
    busy
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_counts_before_the_time_limit() {
    for codec in CODECS {
        let worker = Worker::default();
        let (near, gate, _far) = gated(&worker);
        let near = Peer::builder().no_heartbeat().client(near).unwrap();
        let client = WorkClient::new(near.channel()).with_codec(codec).with_timeout(SECOND);
        let mut call = Box::pin(client.echo("in time".to_owned()));
        assert!(poll_once(&mut call).is_pending());
        gate.shut();
        // The answer is on its way, up to the gate.
        sleep(MILLI).await;
        let _busy = stop_for(10 * SECOND, || gate.open()).await;
        assert_eq!(call.await.as_deref(), Ok("in time"));
        let late = client.hang();
        let begin = Instant::now();
        assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(begin.elapsed(), SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_came_count_before_the_time_limit() {
    for codec in CODECS {
        let (near, gate, _far) = gated(&Worker::default());
        let near = Peer::builder().no_heartbeat().client(near).unwrap();
        let client = FeedClient::new(near.channel()).with_codec(codec).with_timeout(SECOND);
        let mut items = client.count(3).await.unwrap();
        gate.shut();
        sleep(MILLI).await;
        let _busy = stop_for(10 * SECOND, || gate.open()).await;
        assert_eq!(collect(&mut items).await, (vec![1, 2, 3], None));
        // Those that are in the buffer, too.
        let mut items = client.count(3).await.unwrap();
        sleep(MILLI).await;
        advance(10 * SECOND).await;
        assert_eq!(collect(&mut items).await, (vec![1, 2, 3], None));
    }
}

/// A connection whose calling end is bare, so that only the serving side keeps the time.
fn bare_client(gate: &Gate) -> (TypedSession, Peer) {
    let (near, far) = duplex(64 * 1024);
    let builder = Peer::builder().no_heartbeat().serve(WorkServer::new(Worker::default()));
    let far = builder.server(Gated(far, gate.clone())).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    (TypedSession::new(session), far)
}

async fn open(session: &TypedSession) -> TypedStream {
    let service = StreamType::new(WorkServer::<Worker>::INFO.id().as_u32());
    session.open_typed(service).await.unwrap()
}

async fn answer(mut stream: TypedStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_counts_before_the_time_for_its_first_byte() {
    let gate = Gate::default();
    let (session, _far) = bare_client(&gate);
    let mut stream = open(&session).await;
    stream.flush().await.unwrap();
    sleep(SECOND).await;
    gate.shut();
    stream.write_all(b"{\"method\":\"hanging\"}\n").await.unwrap();
    sleep(SECOND).await;
    let _busy = stop_for(60 * SECOND, || gate.open()).await;
    assert_eq!(answer(stream).await, "{\"ok\":0}\n");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_done_counts_before_the_time_limit_of_its_caller() {
    let (session, far) = bare_client(&Gate::default());
    let mut stream = open(&session).await;
    // Both are due in the same moment.
    let request = b"{\"method\":\"sleep\",\"params\":{\"ms\":1000},\"timeout_ms\":1000}\n";
    stream.write_all(request).await.unwrap();
    sleep(MILLI).await;
    let _busy = stop_for(10 * SECOND, || ()).await;
    assert_eq!(answer(stream).await, "{\"ok\":null}\n");
    assert_eq!(far.call_stats().served, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_that_came_counts_before_the_time_to_connect() {
    let worker = Worker::default();
    let (near, gate, _far) = gated(&worker);
    gate.shut();
    let transport = Mutex::new(Some(near));
    let connector = move || {
        let transport = transport.lock().unwrap().take();
        std::future::ready(transport.ok_or_else(|| std::io::Error::other("only once")))
    };
    let heartbeat = muxado::HeartbeatConfig::default().tolerance(1000 * SECOND).interval(1000 * SECOND);
    let channel = Reconnect::builder()
        .connector(connector)
        .peer(Peer::builder().heartbeat(heartbeat))
        .connect_timeout(SECOND)
        .build()
        .unwrap();
    sleep(SECOND / 2).await;
    assert!(matches!(channel.state(), State::Connecting { attempt: 1 }));
    let _busy = stop_for(10 * SECOND, || gate.open()).await;
    channel.connected().await.unwrap();
    assert!(channel.state().is_connected());
}
