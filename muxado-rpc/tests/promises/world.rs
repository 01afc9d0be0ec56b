//! The dimensions that each promise is kept in: codec, direction of the call, transport.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado::Side;
use muxado_rpc::{
    AppError, CallService, Codec, Context, Peer, PeerBuilder, Router, Status, Stream, Streaming,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, duplex},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::yield_now,
    time::{Instant, timeout},
};
use tower::{Layer, layer::util::Identity};

#[derive(Clone, Debug, PartialEq, AppError, serde::Serialize, serde::Deserialize)]
pub(crate) enum Refusal {
    #[code(PermissionDenied)]
    NotYours { owner: String },
}

/// A method for every promise.
#[muxado_rpc::service]
pub(crate) trait Duty {
    async fn echo(&self, text: String) -> String;
    async fn refuse(&self) -> Result<u64, Refusal>;
    async fn status(&self) -> Result<u64, Status>;
    async fn panic(&self);
    /// Never returns, and neither does a task of its.
    async fn hang(&self, cx: &Context);
    /// Returns when it is told to.
    async fn work(&self) -> u64;
    async fn alive(&self) -> usize;
    /// Milliseconds left of the time limit.
    async fn time_left(&self, cx: &Context) -> Option<u64>;
    /// What `time_left` of the caller says to this handler.
    async fn time_left_there(&self, cx: &Context) -> Result<Option<u64>, Status>;
    async fn metadata(&self, cx: &Context) -> Option<String>;
    async fn annotated(&self, cx: &Context, size: usize) -> u64;
    async fn annotated_items(&self, cx: &Context) -> impl Stream<Item = u64>;
    async fn count(&self, to: u64) -> impl Stream<Item = u64>;
    async fn count_then_refuse(&self, to: u64) -> impl Stream<Item = Result<u64, Refusal>>;
    /// One item, then none and no end.
    async fn stall(&self) -> impl Stream<Item = u64>;
    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, Status>;
    async fn double(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>>;
}

/// What can be seen of the duties of one end from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Duties {
    alive: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

/// Counts itself out when it is dropped.
struct Alive(Duties);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl Duties {
    fn guard(&self) -> Alive {
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Alive(self.clone())
    }

    pub(crate) async fn until_alive(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.alive.load(Ordering::SeqCst) == count {
                return;
            }
            changed.await;
        }
    }
}

pub(crate) const REFUSAL: &str = "Ada";

fn refusal() -> Refusal {
    Refusal::NotYours { owner: REFUSAL.to_owned() }
}

impl Duty for Duties {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn refuse(&self) -> Result<u64, Refusal> {
        Err(refusal())
    }

    async fn status(&self) -> Result<u64, Status> {
        Err(Status::aborted("later").with_details(&7))
    }

    async fn panic(&self) {
        panic!("a secret");
    }

    async fn hang(&self, cx: &Context) {
        let (_alive, also_alive) = (self.guard(), self.guard());
        drop(cx.spawn(async move {
            let _alive = also_alive;
            pending::<()>().await;
        }));
        pending::<()>().await;
    }

    async fn work(&self) -> u64 {
        let _alive = self.guard();
        self.go_on.notified().await;
        7
    }

    async fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    async fn time_left(&self, cx: &Context) -> Option<u64> {
        Some(cx.deadline()?.saturating_duration_since(Instant::now()).as_millis() as u64)
    }

    async fn time_left_there(&self, cx: &Context) -> Result<Option<u64>, Status> {
        Ok(DutyClient::new(cx.channel()).time_left().await?)
    }

    async fn metadata(&self, cx: &Context) -> Option<String> {
        cx.metadata().get("k").map(str::to_owned)
    }

    async fn annotated(&self, cx: &Context, size: usize) -> u64 {
        cx.insert_metadata("k", "v".repeat(size));
        cx.insert_trailer("t", "w");
        1
    }

    async fn annotated_items(&self, cx: &Context) -> impl Stream<Item = u64> {
        cx.insert_metadata("k", "v");
        stream::iter([1]).inspect(|_| cx.insert_trailer("t", "w"))
    }

    async fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    async fn count_then_refuse(&self, to: u64) -> impl Stream<Item = Result<u64, Refusal>> {
        stream::iter((1..=to).map(Ok).chain([Err(refusal()), Ok(99)]))
    }

    async fn stall(&self) -> impl Stream<Item = u64> {
        let alive = self.guard();
        stream::iter([1]).chain(stream::once(async move {
            let _alive = alive;
            pending().await
        }))
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> Result<u64, Status> {
        let mut sum = 0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    async fn double(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>> {
        numbers.map(|number| Ok(2 * number?))
    }
}

/// One combination of the dimensions: who calls, who serves, how.
pub(crate) struct World {
    pub(crate) codec: Codec,
    pub(crate) caller: Peer,
    pub(crate) callee: Peer,
    /// The duties that the callee serves; the caller serves some of its own.
    pub(crate) duties: Duties,
}

/// What an end of a connection does in a world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Caller,
    Callee,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    Memory,
    Tcp,
}

/// An end of a connection that is to be started, with a service on it already.
pub(crate) struct End {
    pub(crate) role: Role,
    pub(crate) builder: PeerBuilder,
    side: Side,
    io: Box<dyn Io>,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl End {
    pub(crate) fn start(self) -> Peer {
        self.start_with(|builder| builder)
    }

    /// Starts it set up otherwise: with limits or layers.
    pub(crate) fn start_with<L>(self, set_up: impl FnOnce(PeerBuilder) -> PeerBuilder<L>) -> Peer
    where
        L: Layer<Router, Service: CallService>,
    {
        let builder = set_up(self.builder);
        match self.side {
            Side::Client => builder.client(self.io),
            Side::Server => builder.server(self.io),
        }
        .unwrap()
    }
}

/// Runs a test in every world. Time is virtual unless there are real sockets.
#[expect(clippy::print_stdout, reason = "it is shown when a test fails")]
pub(crate) fn in_each_world(start: impl Fn(End) -> Peer, test: impl AsyncFn(World)) {
    for transport in [Transport::Memory, Transport::Tcp] {
        for caller in [Side::Client, Side::Server] {
            for codec in [Codec::Json, Codec::MessagePack] {
                println!("{transport:?}, the {caller:?} calls, {codec}");
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .start_paused(transport == Transport::Memory)
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let world = World::new(transport, caller, codec, &start).await;
                    timeout(FOR_EVER, test(world)).await.expect("something waits for ever");
                });
            }
        }
    }
}

/// No test takes so long unless it hangs.
const FOR_EVER: Duration = Duration::from_secs(300);

impl World {
    async fn new(transport: Transport, caller: Side, codec: Codec, start: impl Fn(End) -> Peer) -> Self {
        let [client, server] = connect(transport).await;
        let duties = Duties::default();
        let begin = |side, io| {
            let (role, duties) = if side == caller {
                (Role::Caller, Duties::default())
            } else {
                (Role::Callee, duties.clone())
            };
            let builder: PeerBuilder<Identity> = Peer::builder().serve(DutyServer::new(duties));
            start(End { role, builder, side, io })
        };
        let (client, server) = (begin(Side::Client, client), begin(Side::Server, server));
        let (caller, callee) = if caller == Side::Client { (client, server) } else { (server, client) };
        Self { codec, caller, callee, duties }
    }

    pub(crate) fn client(&self) -> DutyClient {
        DutyClient::new(self.caller.channel()).with_codec(self.codec)
    }

    /// The connection serves calls, and nothing of earlier ones is left.
    pub(crate) async fn assert_unharmed(&self) {
        assert_eq!(self.client().echo("alive".to_owned()).await.as_deref(), Ok("alive"));
        assert_eq!(self.client().alive().await, Ok(0));
        for peer in [&self.caller, &self.callee] {
            while peer.stats().streams_open > 0 {
                yield_now().await;
            }
        }
    }
}

async fn connect(transport: Transport) -> [Box<dyn Io>; 2] {
    if transport == Transport::Memory {
        let (near, far) = duplex(64 * 1024);
        return [Box::new(near), Box::new(far)];
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    for socket in [&connected, &accepted] {
        socket.set_nodelay(true).unwrap();
    }
    [Box::new(connected), Box::new(accepted)]
}
