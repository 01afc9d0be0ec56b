//! Values of an application that panic when they are dropped, wherever that is: the call says so, the connection and
//! the server go on, and it is counted.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test panics to fail, and here to pass, too")]

mod support;

use std::{
    error::Error,
    fmt,
    future::{Future, pending},
    io,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{
    BodyEnd, BoxError, Code, Codec, Context, Handshake, NamedService, Peer, PeerInfo, Reconnect, Request,
    Response, Server, Socket, Status, Stream, Streaming,
    reconnect::{BoxIo, Connector, State},
};
use support::{
    CODECS, WorkClient, WorkServer, Worker, assert_alive,
    place::{Place, assert_answers, client},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::TcpStream,
    sync::Notify,
};
use tower::{Service, layer::layer_fn};

const SECOND: Duration = Duration::from_secs(1);

/// Panics when it is dropped, and what the panic leaves behind does so, too.
struct Undroppable;

impl Drop for Undroppable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(Self);
        }
    }
}

#[muxado_rpc::service]
trait Hold {
    async fn fine(&self) -> u64;
    async fn plain(&self);
    async fn with_context(&self, cx: &Context);
    #[method(no_cancel)]
    async fn must_finish(&self);
    async fn items(&self) -> impl Stream<Item = u64>;
    async fn reads(&self, items: Streaming<u64>);
    async fn panics(&self);
    async fn panics_later(&self, cx: &Context);
    async fn returns_items(&self) -> impl Stream<Item = u64>;
}

/// Handlers that hold what cannot be dropped, until they are let go.
#[derive(Clone, Default)]
struct Holding {
    begun: Arc<Notify>,
    let_go: Arc<Notify>,
}

impl Holding {
    async fn hang(&self) {
        let _undroppable = Undroppable;
        self.begun.notify_one();
        self.let_go.notified().await;
    }
}

impl Hold for Holding {
    async fn fine(&self) -> u64 {
        7
    }

    async fn plain(&self) {
        self.hang().await;
    }

    async fn with_context(&self, _: &Context) {
        self.hang().await;
    }

    async fn must_finish(&self) {
        self.hang().await;
    }

    async fn items(&self) -> impl Stream<Item = u64> {
        stream::iter([1]).chain(stream::once(async {
            self.hang().await;
            2
        }))
    }

    async fn reads(&self, _items: Streaming<u64>) {
        self.hang().await;
    }

    async fn panics(&self) {
        panic_any(Undroppable);
    }

    async fn panics_later(&self, _: &Context) {
        tokio::task::yield_now().await;
        panic_any(Undroppable);
    }

    async fn returns_items(&self) -> impl Stream<Item = u64> {
        let undroppable = Undroppable;
        stream::iter([1]).map(move |n| {
            let _undroppable = &undroppable;
            n
        })
    }
}

/// A connection whose calling end is bare, so that only the serving side keeps the time.
fn bare_client(holding: &Holding) -> (TypedSession, Peer) {
    let (near, far) = duplex(64 * 1024);
    let peer = Peer::builder().serve(HoldServer::new(holding.clone())).server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    (TypedSession::new(session), peer)
}

fn pair(holding: &Holding) -> (HoldClient, Peer, Peer) {
    let (near, far) = duplex(64 * 1024);
    let far = Peer::builder().serve(HoldServer::new(holding.clone())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    (HoldClient::new(near.channel()), near, far)
}

async fn exchange(session: &TypedSession, request: &str) -> String {
    let service = StreamType::new(HoldServer::<Holding>::INFO.id().as_u32());
    let mut stream = session.open_typed(service).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until so many panics were counted.
async fn until_panicked(peer: &Peer, count: u64) {
    for _ in 0..1000 {
        if peer.call_stats().panicked == count {
            return;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(peer.call_stats().panicked, count);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_is_told_though_the_handler_cannot_be_dropped() {
    let holding = Holding::default();
    let (session, peer) = bare_client(&holding);
    for (n, method) in ["plain", "with_context", "items", "reads"].into_iter().enumerate() {
        let request = format!("{{\"method\":\"{method}\",\"timeout_ms\":1000}}\n");
        let answer = exchange(&session, &request).await;
        assert!(answer.contains(r#""code":"deadline_exceeded""#), "{method}: {answer}");
        until_panicked(&peer, n as u64 + 1).await;
        assert_eq!(exchange(&session, "{\"method\":\"fine\"}\n").await, "{\"ok\":7}\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_cannot_be_dropped_fails_its_call_when_it_ends() {
    let holding = Holding::default();
    let (client, _near, far) = pair(&holding);
    for (n, codec) in CODECS.into_iter().enumerate() {
        let client = client.clone().with_codec(codec);
        let mut panicked = 5 * n as u64;
        for method in 0..5 {
            holding.let_go.notify_one();
            let ended = match method {
                0 => client.plain().await.map(drop),
                1 => client.with_context().await,
                2 => client.must_finish().await,
                3 => client.reads(stream::pending()).await,
                _ => match client.returns_items().await {
                    Ok(items) => items.map(|item| item.map(drop)).collect::<Vec<_>>().await.pop().unwrap(),
                    Err(error) => Err(error),
                },
            };
            assert_eq!(ended.unwrap_err().code(), Code::Internal, "method {method}");
            if method < 4 {
                holding.begun.notified().await;
            }
            panicked += 1;
            until_panicked(&far, panicked).await;
            assert_eq!(client.fine().await, Ok(7));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_handler_that_cannot_be_dropped_is_counted() {
    let holding = Holding::default();
    let (client, _near, far) = pair(&holding);
    for (n, method) in (0..4).enumerate() {
        let (caller, begun) = (client.clone(), Arc::clone(&holding.begun));
        let call = tokio::spawn(async move {
            match method {
                0 => caller.plain().await,
                1 => caller.with_context().await,
                2 => caller.reads(stream::pending()).await,
                _ => {
                    let mut items = caller.items().await.unwrap();
                    while items.next().await.is_some() {}
                    Ok(())
                }
            }
        });
        begun.notified().await;
        call.abort();
        until_panicked(&far, n as u64 + 1).await;
        assert_eq!(client.fine().await, Ok(7));
    }
    let stats = far.call_stats();
    assert_eq!((stats.cancelled, stats.in_flight()), (4, 0));
    // The end of the connection drops them as well.
    for method in 0..2 {
        let (client, near, far) = pair(&holding);
        let call = tokio::spawn(async move {
            if method == 0 { client.plain().await } else { client.with_context().await }
        });
        holding.begun.notified().await;
        near.close();
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
        until_panicked(&far, 1).await;
    }
}

#[tokio::test]
async fn a_panic_that_leaves_what_cannot_be_dropped_fails_its_call() {
    let (client, _near, far) = pair(&Holding::default());
    for codec in CODECS {
        let client = client.clone().with_codec(codec);
        let before = far.call_stats().panicked;
        for result in [client.panics().await, client.panics_later().await] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains("the handler panicked"), "{message}");
        }
        assert_eq!(far.call_stats().panicked, before + 2);
        assert_eq!(client.fine().await, Ok(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_in_the_same_process_keeps_its_time_limit() {
    let client = HoldClient::new(HoldServer::new(Holding::default())).with_timeout(SECOND);
    assert_eq!(client.plain().await.unwrap_err().code(), Code::DeadlineExceeded);
}

// Layers.

/// What a layer of the application's does around each call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bad {
    /// The future that was ready cannot be dropped.
    Future,
    /// It fails with an error that cannot be dropped, or shown.
    Error,
    Text,
    /// The request has an extension that cannot be dropped.
    Extension,
    NotReady,
}

#[derive(Debug)]
struct BadError(Bad, #[expect(dead_code, reason = "it is there to be dropped")] Option<Debuggable>);

#[derive(Debug)]
struct Debuggable;

impl Drop for Debuggable {
    fn drop(&mut self) {
        drop(Undroppable);
    }
}

impl fmt::Display for BadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Bad::Text { panic!("while it is shown") } else { f.write_str("bad") }
    }
}

impl Error for BadError {}

#[derive(Clone)]
struct Around<S>(S, Bad);

struct BadFuture<F> {
    call: Option<Pin<Box<F>>>,
    bad: Bad,
    _undroppable: Option<Undroppable>,
}

impl<F: Future<Output = Result<Response, Status>>> Future for BadFuture<F> {
    type Output = Result<Response, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let Bad::Error | Bad::Text = self.bad {
            let undroppable = (self.bad == Bad::Error).then_some(Debuggable);
            return Poll::Ready(Err(Box::new(BadError(self.bad, undroppable))));
        }
        self.call.as_mut().unwrap().as_mut().poll(cx).map_err(Into::into)
    }
}

impl<S> Service<Request> for Around<S>
where
    S: Service<Request, Response = Response, Error = Status>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = BadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.1 == Bad::NotReady {
            return Poll::Ready(Err(Box::new(BadError(Bad::Error, Some(Debuggable)))));
        }
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if self.1 == Bad::Extension {
            request.extensions_mut().insert(Undroppable);
        }
        let undroppable = (self.1 == Bad::Future).then_some(Undroppable);
        BadFuture { call: Some(Box::pin(self.0.call(request))), bad: self.1, _undroppable: undroppable }
    }
}

#[tokio::test]
async fn what_a_layer_cannot_drop_fails_its_call_and_no_other() {
    for bad in [Bad::Future, Bad::Error, Bad::Text, Bad::Extension, Bad::NotReady] {
        let (near, far) = duplex(64 * 1024);
        let layer = layer_fn(move |inner| Around(inner, bad));
        let far =
            Peer::builder().layer(layer).serve(HoldServer::new(Holding::default())).server(far).unwrap();
        let near = Peer::builder().client(near).unwrap();
        for codec in CODECS {
            let client = HoldClient::new(near.channel()).with_codec(codec);
            let before = far.call_stats();
            for _ in 0..3 {
                let error = client.fine().await.unwrap_err();
                assert_eq!(error.code(), Code::Internal, "{bad:?}: {error}");
            }
            let stats = far.call_stats();
            assert_eq!((stats.panicked - before.panicked, stats.failed - before.failed), (3, 3), "{bad:?}");
        }
        assert!(!near.is_closed());
    }
}

/// A service that cannot be cloned more than so often, and whose clones cannot be dropped.
struct Fragile<S>(Option<S>, Arc<AtomicUsize>);

impl<S: Clone> Clone for Fragile<S> {
    fn clone(&self) -> Self {
        assert!(self.1.fetch_sub(1, Ordering::SeqCst) > 0, "cloned too often");
        Self(self.0.clone(), Arc::clone(&self.1))
    }
}

impl<S> Drop for Fragile<S> {
    fn drop(&mut self) {
        drop(Undroppable);
    }
}

impl<S: Service<Request>> Service<Request> for Fragile<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.as_mut().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.as_mut().unwrap().call(request)
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_cloned_or_dropped_harms_its_calls_alone() {
    let clones = Arc::new(AtomicUsize::new(1000));
    let (near, far) = duplex(64 * 1024);
    let count = Arc::clone(&clones);
    let builder = Peer::builder().layer(layer_fn(move |inner| Fragile(Some(inner), Arc::clone(&count))));
    let holding = Holding::default();
    let far = builder.serve(HoldServer::new(holding.clone())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = HoldClient::new(near.channel());
    assert_eq!(client.fine().await, Ok(7));
    clones.store(0, Ordering::SeqCst);
    // It takes the clone that is there, and the next call needs another.
    let caller = client.clone();
    let hanging = tokio::spawn(async move { caller.plain().await });
    holding.begun.notified().await;
    assert_eq!(client.fine().await.unwrap_err().code(), Code::Internal);
    clones.store(1000, Ordering::SeqCst);
    assert_eq!(client.fine().await, Ok(7));
    hanging.abort();
    assert!(far.call_stats().panicked >= 1);
    near.close();
    far.closed().await;
}

/// Panics when it is read, and when it is dropped.
struct BadTransport(DuplexStream, Arc<AtomicUsize>, Undroppable);

impl AsyncRead for BadTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        if self.1.load(Ordering::SeqCst) > 0 && polled.is_ready() {
            panic_any(Undroppable);
        }
        polled
    }
}

impl AsyncWrite for BadTransport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_ends_its_connection_for_all_its_handles() {
    let place = Place::default();
    let bad = Arc::new(AtomicUsize::new(0));
    let (here, accept) = (Arc::clone(&bad), place.clone());
    let connector = move || {
        std::future::ready(accept.accept().map(|io| BadTransport(io, Arc::clone(&here), Undroppable)))
    };
    let channel = Reconnect::builder().connector(connector).build().unwrap();
    assert_answers(&client(&channel)).await;
    bad.store(1, Ordering::SeqCst);
    let error = client(&channel).echo("x".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    bad.store(0, Ordering::SeqCst);
    assert_answers(&client(&channel)).await;
    let near = Peer::builder().client(BadTransport(place.accept().unwrap(), Arc::clone(&bad), Undroppable));
    let near = near.unwrap();
    assert_alive(&WorkClient::new(near.channel())).await;
    bad.store(1, Ordering::SeqCst);
    let error = WorkClient::new(near.channel()).hang().await;
    drop(near.closed().await);
    assert_eq!(error.unwrap_err().code(), Code::Unavailable);
}

// Hooks, handshakes, connectors.

#[tokio::test]
async fn hooks_of_items_that_panic_do_not_keep_others_from_the_end() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let layer = layer_fn(move |inner| Hooked(inner, Arc::clone(&count)));
    let (near, far) = duplex(64 * 1024);
    let far = Peer::builder().layer(layer).serve(HoldServer::new(Holding::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = HoldClient::new(near.channel());
    let items = client.returns_items().await.unwrap();
    assert!(items.collect::<Vec<_>>().await[0].is_ok());
    assert_eq!(told.load(Ordering::SeqCst), 1);
    assert_eq!(client.fine().await, Ok(7));
    drop(far);
}

/// Leaves two hooks with all items, the first of which panics.
#[derive(Clone)]
struct Hooked<S>(S, Arc<AtomicUsize>);

impl<S> Service<Request> for Hooked<S>
where
    S: Service<Request, Response = Response, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (call, told) = (self.0.call(request), Arc::clone(&self.1));
        Box::pin(async move {
            let mut response = call.await?;
            if let Some(items) = response.body_mut() {
                items.on_end(|_| panic_any(Undroppable));
                items.on_end(move |end| {
                    assert!(matches!(end, BodyEnd::Complete | BodyEnd::Failed(_)));
                    told.fetch_add(1, Ordering::SeqCst);
                });
            }
            Ok(response)
        })
    }
}

/// Does what the first byte says, and leaves an extension that cannot be dropped.
struct Shaking;

#[async_trait::async_trait]
impl Handshake for Shaking {
    async fn accept(&self, mut socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        peer.extensions_mut().insert(Undroppable);
        let what = socket.read_u8().await?;
        if what == b'p' {
            panic_any(Undroppable);
        }
        if what == b'e' {
            return Err(Box::new(BadError(Bad::Error, Some(Debuggable))));
        }
        Ok(Box::new(socket))
    }
}

#[tokio::test]
async fn a_server_outlives_hooks_handshakes_and_services_that_cannot_be_dropped() {
    let clones = Arc::new(AtomicUsize::new(1_000_000));
    let count = Arc::clone(&clones);
    let server = Server::builder()
        .layer(layer_fn(move |inner| Fragile(Some(inner), Arc::clone(&count))))
        .serve(WorkServer::new(Worker::default()))
        .handshake(Shaking)
        .on_connect(|_| panic_any(Undroppable))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr().socket_addr().unwrap();
    for what in [b'p', b'e', b'o', b'o', b'p', b'o'] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(&[what]).await.unwrap();
        if what == b'o' {
            let peer = Peer::builder().client(socket).unwrap();
            assert_alive(&WorkClient::new(peer.channel())).await;
            peer.shutdown(SECOND).await;
        } else {
            let _ = socket.read(&mut [0]).await;
        }
    }
    server.shutdown(SECOND).await;
}

/// A service that itself cannot be dropped.
struct Grudging(Undroppable);

#[muxado_rpc::service]
trait Grudge {
    async fn fine(&self) -> u64;
}

impl Grudge for Grudging {
    async fn fine(&self) -> u64 {
        let Self(_undroppable) = self;
        7
    }
}

#[tokio::test]
async fn a_server_ends_in_good_order_though_its_services_cannot_be_dropped() {
    let count = Arc::new(AtomicUsize::new(1_000_000));
    let server = Server::builder()
        .layer(layer_fn(move |inner| Fragile(Some(inner), Arc::clone(&count))))
        .serve(GrudgeServer::new(Grudging(Undroppable)))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    assert_eq!(GrudgeClient::new(peer.channel()).fine().await, Ok(7));
    let drained = server.shutdown(SECOND).await;
    assert_eq!((drained.is_clean(), server.call_stats().served), (true, 1));
    peer.closed().await;
}

#[tokio::test]
async fn a_server_outlives_a_service_that_cannot_be_cloned() {
    let clones = Arc::new(AtomicUsize::new(1_000_000));
    let count = Arc::clone(&clones);
    let server = Server::builder()
        .layer(layer_fn(move |inner| Fragile(Some(inner), Arc::clone(&count))))
        .serve(WorkServer::new(Worker::default()))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let connect = || async {
        let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
        let result = WorkClient::new(peer.channel()).echo("x".to_owned()).await;
        (peer, result.is_ok())
    };
    assert!(connect().await.1);
    clones.store(0, Ordering::SeqCst);
    assert!(!connect().await.1);
    clones.store(1_000_000, Ordering::SeqCst);
    assert!(connect().await.1);
    server.shutdown(SECOND).await;
}

/// Panics in each of its parts in turn, then connects.
struct Clumsy {
    place: Place,
    asked: AtomicUsize,
}

#[derive(Debug)]
struct BadCause(Debuggable);

impl fmt::Display for BadCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad: {:?}", self.0)
    }
}

impl Error for BadCause {}

#[async_trait::async_trait]
impl Connector for Clumsy {
    async fn connect(&self) -> io::Result<BoxIo> {
        let _held = match self.asked.fetch_add(1, Ordering::SeqCst) {
            0 => panic_any(Undroppable),
            1 => Some(Undroppable),
            2 => return Err(io::Error::other(BadCause(Debuggable))),
            3 => pending().await,
            _ => None,
        };
        Ok(Box::new(self.place.accept()?))
    }

    fn address(&self) -> Option<&str> {
        if self.asked.load(Ordering::SeqCst) < 5 { panic_any(Undroppable) } else { None }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconnecting_client_outlives_a_connector_that_panics_in_every_part() {
    let place = Place::default();
    let clumsy = Clumsy { place: place.clone(), asked: AtomicUsize::new(0) };
    let channel = Reconnect::builder().connector(clumsy).build().unwrap();
    let mut states = channel.watch();
    assert!(matches!(states.changed().await, State::Backoff { .. }));
    assert_answers(&client(&channel)).await;
    assert!(channel.state().is_connected());
    let client = client(&channel).with_codec(Codec::Json);
    place.crash(0);
    assert_answers(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_reconnecting_client_outlives_a_hook_that_panics_in_every_part() {
    let (place, asked, kept) = (Place::default(), AtomicUsize::new(0), Undroppable);
    let hook = move |_: Peer| {
        let _kept = &kept;
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        if nth == 0 {
            panic_any(Undroppable);
        }
        async move {
            let _held = match nth {
                1 => panic_any(Undroppable),
                2 => return Err(BadCause(Debuggable)),
                3 => Some(Undroppable),
                4 => {
                    let _held = Undroppable;
                    pending().await
                }
                _ => None,
            };
            Ok(())
        }
    };
    let channel = Reconnect::builder().connector(place.connector()).on_connect(hook).build().unwrap();
    assert_answers(&client(&channel)).await;
    assert_eq!(place.connections(), 6);
    // What the hook has kept goes with the client.
    drop(channel);
    place.far(5).closed().await;
}

/// Wakes nobody, and panics when it is dropped: as a waker that owns its task does when the task cannot be dropped.
struct BadWaker {
    _task: Undroppable,
}

impl task::Wake for BadWaker {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_cannot_be_dropped_harms_no_other_call() {
    for codec in CODECS {
        let holding = Holding::default();
        let (client, near, _far) = pair(&holding);
        let client = client.with_codec(codec);
        let mut items = client.items().await.unwrap();
        let mut calls: [Pin<Box<dyn Future<Output = ()> + '_>>; 4] = [
            Box::pin(async { drop(client.fine().await) }),
            Box::pin(async { while let Ok(Some(_)) = items.try_next().await {} }),
            Box::pin(async { drop(near.closed().await) }),
            Box::pin(async { drop(near.capabilities().await) }),
        ];
        for call in &mut calls {
            let waker = task::Waker::from(Arc::new(BadWaker { _task: Undroppable }));
            let pending = call.as_mut().poll(&mut task::Context::from_waker(&waker)).is_pending();
            // The last reference is the session's.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
            assert!(pending);
        }
        holding.let_go.notify_one();
        tokio::time::sleep(SECOND).await;
        assert_eq!(client.fine().await, Ok(7));
        for call in calls {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
        }
        assert_eq!(client.fine().await, Ok(7));
    }
}
