//! The control streams of a typed session.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    error::OpenError,
    shared::{Core, Shared, Signal, Wait, WaiterId},
    stream::Stream,
    typed::{StreamType, TypedSession},
};

/// One stream of each side's on which the peers talk about the session itself (`PROTOCOL §8`).
///
/// What is said on it is up to the application; `muxado-rpc` tells its limits and services. The
/// session treats it as though it were not there: it counts against no limit on streams and takes no
/// place in the backlog, a session with nothing but control streams is idle, drains at once and is
/// closed like any other. The peer's first stream of the type is its control stream; further ones
/// are streams like any other.
///
/// Dropping the handle changes nothing, and it does not keep the session open.
///
/// ```
/// use muxado::{Config, ControlStreams, Session, StreamType, TypedSession};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let (near, far) = tokio::io::duplex(64 * 1024);
/// let (session, driver) = Session::client(near, Config::default());
/// let client = ControlStreams::start(&TypedSession::new(session.clone()), StreamType::CONTROL);
/// tokio::spawn(driver);
/// # let (session_of_server, driver) = Session::server(far, Config::default());
/// # let server = ControlStreams::start(&TypedSession::new(session_of_server.clone()), StreamType::CONTROL);
/// # tokio::spawn(driver);
/// let mut ours = client.open()?;
/// ours.write_all(b"about the client").await?;
/// ours.shutdown().await?;
///
/// let mut theirs = server.accept().await.expect("the session lives");
/// let mut said = String::new();
/// theirs.read_to_string(&mut said).await?;
/// assert_eq!(said, "about the client");
/// # Ok(())
/// # }
/// ```
pub struct ControlStreams {
    shared: Arc<Shared>,
    /// Under this name the `poll_*` methods wait.
    waiter: WaiterId,
}

impl ControlStreams {
    /// Makes `stream_type` that of control streams, of both sides. To be called before the session's
    /// driver runs, so that no stream comes before.
    pub fn start(session: &TypedSession, stream_type: StreamType) -> Self {
        let shared = Arc::clone(&session.session().shared);
        let waiter = shared.with(|core| {
            core.proto.set_control_type(stream_type.as_u32());
            core.new_waiter()
        });
        Self { shared, waiter }
    }

    /// Opens a control stream. It never waits; the peer hears of it as of [any stream](crate::Session::open).
    /// A peer takes one of them.
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended.
    pub fn open(&self) -> Result<Stream, OpenError> {
        let key = self.shared.with(|core| core.proto.open_control())?;
        Ok(Stream::new(Arc::clone(&self.shared), key))
    }

    /// Bytes that this side may hold unread, for `muxado-rpc` to tell the peer; `None` if they are the default.
    #[doc(hidden)]
    pub fn session_memory(&self) -> Option<usize> {
        self.shared.with(|core| core.proto.told_memory())
    }

    /// Bytes that the peer may hold unread, as it told.
    #[doc(hidden)]
    pub fn set_peer_memory(&self, bytes: usize) {
        self.shared.with(|core| core.proto.set_peer_memory(bytes));
    }

    /// Takes the peer's control stream, once; `None` if the session ends before.
    ///
    /// # Cancel safety
    ///
    /// No stream is lost when the future is dropped.
    pub async fn accept(&self) -> Option<Stream> {
        Wait::new(&self.shared, Signal::Control, |core: &mut Core| self.poll_accept_from(core)).await
    }

    /// Polls for the peer's control stream. Of the tasks that poll one handle, the last one is woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.shared.with(|core| {
            let accepted = self.poll_accept_from(core);
            if accepted.is_pending() {
                core.wait(Signal::Control, self.waiter, cx);
            }
            accepted
        })
    }

    fn poll_accept_from(&self, core: &mut Core) -> Poll<Option<Stream>> {
        match core.proto.accept_control() {
            Some(key) => Poll::Ready(Some(Stream::new(Arc::clone(&self.shared), key))),
            None if core.proto.has_ended() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Polls for the first sign that the peer is of this family: true once it came, false if the
    /// session ends before. See [`Session::peer_is_family`](crate::Session::peer_is_family). As for
    /// [`poll_accept`](Self::poll_accept), the last task that polled this handle is woken.
    pub fn poll_peer_is_family(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.shared.with(|core| {
            let is_family = core.proto.peer_is_family();
            if is_family || core.proto.has_ended() {
                return Poll::Ready(is_family);
            }
            core.wait(Signal::Control, self.waiter, cx);
            Poll::Pending
        })
    }
}

impl Clone for ControlStreams {
    fn clone(&self) -> Self {
        let waiter = self.shared.with(Core::new_waiter);
        Self { shared: Arc::clone(&self.shared), waiter }
    }
}

impl Drop for ControlStreams {
    fn drop(&mut self) {
        self.shared.with(|core| core.stop_waiting(Signal::Control, self.waiter));
    }
}

impl fmt::Debug for ControlStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlStreams").finish_non_exhaustive()
    }
}
