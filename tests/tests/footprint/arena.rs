//! Two threads and the connections between them. What one of the threads allocates is counted.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream as StdStream},
    thread,
    time::Duration,
};

use allocation_counter::measure;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::yield_now,
    time::{advance, pause, resume},
};

/// How many are counted, and how many there were before: what is made once is not counted.
const COUNTED: usize = 64;
const BEFORE: usize = 16;

/// Turns of the scheduler in which whatever has arrived is dealt with.
const TURNS: usize = 100;

/// Time after which an end is at rest.
pub const REST: Duration = Duration::from_secs(3);

/// Bytes that each connection holds at one end, once `near` has made what it keeps of it, has used it,
/// and has come to rest. `far` serves the other end.
pub fn held_by_connection<K, L: Send>(
    near: impl AsyncFn(TcpStream) -> K,
    far: impl Fn(TcpStream) -> L + Send + 'static,
) -> usize {
    let (near_ends, far_ends) = connections(BEFORE + COUNTED);
    let other = Other::serve(far_ends, far);
    let mut near_ends = near_ends.into_iter();
    let held = held_by_each(async |count| {
        let mut kept = Vec::with_capacity(count);
        for io in near_ends.by_ref().take(count) {
            kept.push(near(TcpStream::from_std(io).expect("a reactor")).await);
        }
        kept
    });
    other.end();
    held
}

/// Bytes that each of what `make` makes holds, at rest. It is called for those that are not counted,
/// then for those that are.
pub fn held_by_each<K>(make: impl AsyncFnMut(usize) -> Vec<K>) -> usize {
    held_by_each_of(COUNTED, make)
}

/// The same of so many that are counted.
pub fn held_by_each_of<K>(count: usize, mut make: impl AsyncFnMut(usize) -> Vec<K>) -> usize {
    let runtime = runtime();
    let (mut before, mut counted) = (Vec::new(), Vec::new());
    let mut made = async |count| {
        let kept = make(count).await;
        rest(REST).await;
        kept
    };
    measure(|| before = runtime.block_on(made(BEFORE)));
    let held = measure(|| counted = runtime.block_on(made(count)));
    assert_eq!((before.len(), counted.len()), (BEFORE, count));
    let bytes = usize::try_from(held.bytes_current).expect("they hold something") / count;
    drop((before, counted));
    bytes
}

/// Lets so much time pass at once, and everybody do what there is to do.
pub async fn rest(time: Duration) {
    turns().await;
    pause();
    advance(time).await;
    turns().await;
    resume();
}

async fn turns() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

/// The thread at whose ends nothing is counted.
pub struct Other {
    thread: thread::JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Other {
    /// Serves all these ends, until the end.
    pub fn serve<L: Send>(ends: Vec<StdStream>, far: impl Fn(TcpStream) -> L + Send + 'static) -> Self {
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime().block_on(async move {
                let serve = |io| far(TcpStream::from_std(io).expect("a reactor"));
                let kept: Vec<_> = ends.into_iter().map(serve).collect();
                ended.await.ok();
                drop(kept);
            });
        });
        Self { thread, end }
    }

    pub fn end(self) {
        self.end.send(()).ok();
        self.thread.join().expect("the other ends did not fail");
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

/// Both ends of so many connections.
pub fn connections(count: usize) -> (Vec<StdStream>, Vec<StdStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let pair = |_| {
        let near = StdStream::connect(address).expect("it listens");
        let (far, _) = listener.accept().expect("it was connected to");
        for io in [&near, &far] {
            io.set_nonblocking(true).expect("a socket can be that");
            io.set_nodelay(true).expect("a TCP socket can be that");
        }
        (near, far)
    };
    (0..count).map(pair).unzip()
}
