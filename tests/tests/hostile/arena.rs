//! A session under attack on a real socket, its attacker on another thread, and a bystander.
//!
//! The session, its driver and its application run on the test's own thread, whose allocations are
//! counted; the attacker's are not among them. Nothing is decided by time: limits on waiting only
//! turn what would hang into a failure.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream as StdStream},
    panic::resume_unwind,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use allocation_counter::measure;
use muxado::{Config, Session, SessionEnd, SessionError, SessionStats, Side};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    sync::oneshot,
};

use crate::{
    app::App,
    attacker::{Attacker, Bystander},
    target::{Target, View},
};

/// Bytes that the kernel keeps for an attacker who does not read; about twice as many in the end.
const SMALL_BUFFER: u32 = 16 * 1024;

/// Bytes by which the queues of the runtime may have grown.
pub const SLACK: i64 = 64 * 1024;

/// What an attack came to.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What the script gave.
    pub result: T,
    /// Bytes held behind the attack, while the connection was still open.
    pub held: usize,
    /// Most bytes held at a time.
    pub peak: usize,
    /// Bytes that are still there after the end of the session.
    pub left: i64,
    /// Why the session had ended by the end of the script.
    pub end: Option<SessionEnd>,
    /// The counters at the end of the script.
    pub stats: SessionStats,
}

impl<T> Outcome<T> {
    /// The session was not impressed.
    #[track_caller]
    pub fn survived(&self) -> &Self {
        assert_eq!(self.end, None, "the session was to go on");
        self
    }

    /// The session ended over the peer's conduct, with this code.
    #[track_caller]
    pub fn broken_off(&self, code: u32) -> &Self {
        match self.end.as_ref().map(|end| &end.local) {
            Some(SessionError::Protocol(error)) => assert_eq!(error.code().as_u32(), code, "{error}"),
            other => panic!("the session was to end with code {code}: {other:?}"),
        }
        self
    }

    /// No more bytes were ever held than this, and none stayed.
    #[track_caller]
    pub fn bounded(&self, bytes: usize) -> &Self {
        assert!(self.peak <= bytes, "{} bytes held at a time, {bytes} are allowed", self.peak);
        assert!(self.left <= SLACK, "{} bytes stayed", self.left);
        self
    }
}

/// Lets `script` attack a server with the default settings.
pub fn attack<T: Send + 'static>(
    app: App,
    script: impl FnOnce(&mut Attacker) -> T + Send + 'static,
) -> Outcome<T> {
    attack_with(Side::Server, Config::default(), app, script)
}

/// Lets `script` attack a session of this side.
pub fn attack_with<T: Send + 'static>(
    side: Side,
    config: Config,
    app: App,
    script: impl FnOnce(&mut Attacker) -> T + Send + 'static,
) -> Outcome<T> {
    attack_target(move |tcp| Target::session(side, config, &app, tcp), script)
}

/// Lets `script` attack what `make` makes of its end of a connection.
pub fn attack_target<T: Send + 'static>(
    make: impl FnOnce(TcpStream) -> Target,
    script: impl FnOnce(&mut Attacker) -> T + Send + 'static,
) -> Outcome<T> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let listener = runtime.block_on(async { listen() }).expect("a free port");
    let bystander = Bystander::new(runtime.block_on(bystander(&listener)));
    let (near, far) = runtime.block_on(connection(&listener));
    let (start, started) = sync_channel(1);
    let (done, finished) = oneshot::channel();
    let attacking = thread::spawn(move || run_script(far, bystander, &started, done, script));

    let mut state = None;
    let during = measure(|| {
        state = Some(runtime.block_on(async {
            let target = make(near);
            start.send((target.view.clone(), target.side)).expect("the attacker waits");
            let attacker = finished.await.ok();
            (target, attacker)
        }));
    });
    let (target, attacker) = state.expect("it has run");
    let result = attacking.join().unwrap_or_else(|panic| resume_unwind(panic));
    let stats = target.view.stats();
    let (over, mut end) = (target.view.is_closed(), None);
    let after = measure(|| {
        // It waits for the attacker to close its side, too.
        drop(attacker);
        end = Some(runtime.block_on(target.tear_down()));
    });
    let end = end.filter(|_| over);
    Outcome {
        result,
        held: usize::try_from(during.bytes_current).unwrap_or(0),
        peak: usize::try_from(during.bytes_max).unwrap_or(usize::MAX),
        left: during.bytes_current + after.bytes_current,
        end,
        stats,
    }
}

/// The attacker's thread: it begins when the target is there, and hands the attacker back, so that the
/// connection stays open until everything was counted.
fn run_script<T>(
    tcp: StdStream,
    bystander: Bystander,
    started: &Receiver<(View, Side)>,
    done: oneshot::Sender<Attacker>,
    script: impl FnOnce(&mut Attacker) -> T,
) -> T {
    let (view, side) = started.recv().expect("the target is made");
    let mut attacker = Attacker::new(tcp, view, side, bystander);
    attacker.check_bystander();
    let result = script(&mut attacker);
    attacker.check_bystander();
    done.send(attacker).ok();
    result
}

/// A connection through the listener: the session's end, and the peer's.
async fn connection(listener: &TcpListener) -> (TcpStream, StdStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(SMALL_BUFFER).expect("a buffer size");
    let address = listener.local_addr().expect("it is bound");
    let (accepted, connected) = tokio::join!(listener.accept(), socket.connect(address));
    let (near, _) = accepted.expect("a connection");
    near.set_nodelay(true).expect("a TCP socket");
    let far = connected.expect("a connection").into_std().expect("a socket of the system's");
    far.set_nonblocking(false).expect("a socket of the system's");
    (near, far)
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SMALL_BUFFER)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(64)
}

/// Another connection of the same process, with an echo server behind it.
async fn bystander(listener: &TcpListener) -> StdStream {
    let (near, far) = connection(listener).await;
    let (session, driver) = Session::server(near, Config::default());
    tokio::spawn(driver);
    tokio::spawn(App::Echo.serve(session));
    far
}
