//! Control streams: what the two ends of a connection tell each other about themselves
//! (`PROTOCOL §10.13`).
//!
//! ```text
//! handles ── ask, drain ──▶ Signal ──▶ CapabilityStreams, polled by the connection's task
//!    ▲                                    ├── ControlSender: our stream
//!    └─ RemoteCapabilities ◀─ what it said ──┴── ControlReceiver: the peer's stream
//! ```

mod advertised;
mod line;
mod peer;
mod receiver;
mod sender;
mod signal;

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use muxado::{ControlStreams, Session, StreamType, TypedSession, rpc::ControlStreamsExt};
use tokio::{sync::Notify, time::Instant};

pub use self::peer::{PeerCapabilities, ServiceCapability};
use self::{
    line::Line,
    receiver::ControlReceiver,
    sender::{ControlSender, Listener, Wishes},
    signal::Signal,
};
use crate::{Limits, Router, message::limits::PeerLimits, support::timer};

/// What is known of the peer, for all handles of a connection.
#[derive(Debug)]
pub(crate) struct RemoteCapabilities {
    info: OnceLock<Arc<PeerCapabilities>>,
    /// The peer will not say anything.
    is_silent: AtomicBool,
    /// When somebody first waited for what it says.
    awaited_since: OnceLock<Instant>,
    changed: Notify,
    signal: Arc<Signal>,
}

impl RemoteCapabilities {
    pub(crate) fn new() -> Self {
        let signal = Signal::new();
        Self {
            info: OnceLock::new(),
            is_silent: AtomicBool::new(false),
            awaited_since: OnceLock::new(),
            changed: Notify::new(),
            signal,
        }
    }

    /// What the peer said. Has it asked, if it said nothing yet.
    pub(crate) fn info(&self) -> Option<Arc<PeerCapabilities>> {
        if self.info.get().is_none() {
            self.signal.ask();
        }
        self.info.get().cloned()
    }

    /// Waits for what the peer says; `None` if it will say nothing, has said nothing in the time that it has for it, or
    /// the session ends.
    pub(crate) async fn capabilities(&self, session: &Session) -> Option<Arc<PeerCapabilities>> {
        let since = *self.awaited_since.get_or_init(Instant::now);
        self.signal.await_peer();
        timer::before(since.checked_add(SAYS_WITHIN), self.said(session)).await.flatten()
    }

    async fn said(&self, session: &Session) -> Option<Arc<PeerCapabilities>> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(info) = self.info() {
                return Some(info);
            }
            if self.is_silent.load(Ordering::Acquire) || session.is_closed() {
                return None;
            }
            tokio::select! {
                () = changed => {}
                _ = session.closed() => {}
            }
        }
    }

    /// Returns the limits that the peer advertised for messages to it.
    pub(crate) fn limits(&self) -> PeerLimits {
        self.info.get().map_or_else(PeerLimits::default, |info| info.limits())
    }

    /// The connection drains, and calls under way have so much time.
    pub(crate) fn drain(&self, grace: Duration) {
        self.signal.drain(grace);
    }

    fn hear(&self, line: Line) {
        if let Some(hello) = line.hello
            && self.info.set(Arc::new(hello)).is_ok()
        {
            self.changed.notify_waiters();
        }
        if let (Some(drain), Some(info)) = (line.drain, self.info.get()) {
            info.note_drain(drain);
        }
    }

    fn note_silent(&self) {
        if !self.is_silent.swap(true, Ordering::Release) {
            self.changed.notify_waiters();
        }
    }
}

/// The control streams of a connection, polled by its task. No call waits for them.
pub(crate) struct CapabilityStreams {
    streams: ControlStreams,
    /// Wakes the task, and is set by that.
    signal: Arc<Signal>,
    sender: ControlSender,
    receiver: ControlReceiver,
}

impl CapabilityStreams {
    /// To be made before the session's driver runs.
    pub(crate) fn new(session: &TypedSession, remote: &RemoteCapabilities) -> Self {
        let signal = Arc::clone(&remote.signal);
        let streams = ControlStreams::start(session, StreamType::CONTROL);
        Self { streams, signal, sender: ControlSender::Silent, receiver: ControlReceiver::Waiting }
    }

    /// Listens and speaks, if there is reason to. As a rule there is none, and this costs next to
    /// nothing.
    pub(crate) fn poll(
        &mut self,
        cx: &Context<'_>,
        remote: &RemoteCapabilities,
        limits: &Limits,
        router: &Router,
    ) {
        if self.signal.take() {
            self.signal.register(cx);
            self.poll_streams(remote, limits, router);
        }
    }

    /// Notes that another task goes on with the connection: it is the one to be woken.
    pub(crate) fn note_moved(&self) {
        self.signal.set();
    }

    fn poll_streams(&mut self, remote: &RemoteCapabilities, limits: &Limits, router: &Router) {
        let waker = Waker::from(Arc::clone(&self.signal));
        let cx = &mut Context::from_waker(&waker);
        let streams = &self.streams;
        self.receiver.poll(cx, streams, |line| {
            if let Some(memory) = line.hello.as_ref().and_then(PeerCapabilities::session_memory) {
                streams.set_peer_memory(memory);
            }
            remote.hear(line);
        });
        let wishes = Wishes {
            is_asked: self.signal.is_asked(),
            is_awaited: self.signal.is_awaited() && streams.shows_extensions(),
            has_heard: remote.info.get().is_some(),
            drain: self.signal.drains(),
        };
        let hello = || line::hello(limits, streams.session_memory(), router);
        let listener = self.sender.poll(cx, streams, wishes, hello);
        if listener == Listener::Gone || self.receiver.is_over() {
            remote.note_silent();
        }
    }
}

impl Drop for CapabilityStreams {
    fn drop(&mut self) {
        // The handles of a connection outlive its task, and must not hold its memory.
        self.signal.forget_task();
    }
}

/// How long a peer may take to say what it is, from when that is first waited for. One of another implementation may
/// never say it, and not refuse to.
const SAYS_WITHIN: Duration = Duration::from_secs(5);
