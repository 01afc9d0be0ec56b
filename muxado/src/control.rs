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

/// The control streams of a session: one stream of each side that is about the session itself (`PROTOCOL §8`).
///
/// What is sent on them is up to the application; `muxado-rpc` advertises its limits and services. They count against no
/// limit on streams and take no place in the backlog. A session with nothing but control streams is idle: it drains at
/// once and is closed when its other handles are dropped. The peer's first stream of the type is its control stream;
/// further ones are ordinary streams.
///
/// Dropping the handle changes nothing, and a handle does not keep the session open.
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
    /// Names this handle while the `poll_*` methods wait.
    waiter: WaiterId,
}

impl ControlStreams {
    /// Makes `stream_type` the type of the control streams of both sides.
    ///
    /// Call it before the session's driver runs, so that no stream of the peer comes before.
    pub fn start(session: &TypedSession, stream_type: StreamType) -> Self {
        let shared = Arc::clone(&session.session().shared);
        let waiter = shared.with(|core| {
            core.proto.set_control_type(stream_type.as_u32());
            core.new_waiter()
        });
        Self { shared, waiter }
    }

    /// Opens a control stream, of which a peer takes one. It never waits; the peer hears of the stream as it does of
    /// [any other](crate::Session::open).
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended.
    pub fn open(&self) -> Result<Stream, OpenError> {
        let key = self.shared.with(|core| core.proto.open_control())?;
        Ok(Stream::new(Arc::clone(&self.shared), key))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Takes the peer's control stream, once. Returns `None` if the session ends before.
    ///
    /// # Cancel safety
    ///
    /// No stream is lost when the future is dropped.
    pub async fn accept(&self) -> Option<Stream> {
        Wait::new(&self.shared, Signal::Control, |core: &mut Core| self.poll_accept_from(core)).await
    }

    /// Polls for the peer's control stream. Returns `None` if the session ends before.
    ///
    /// If several tasks poll one handle, only the last one is woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.shared.with(|core| {
            let accepted = self.poll_accept_from(core);
            if accepted.is_pending() {
                core.wait(Signal::Control, self.waiter, cx);
            }
            accepted
        })
    }

    /// Polls for the protocol extensions.
    #[deprecated(note = "it is called `poll_extensions_negotiated` now")]
    pub fn poll_peer_is_family(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.poll_extensions_negotiated(cx)
    }

    fn poll_accept_from(&self, core: &mut Core) -> Poll<Option<Stream>> {
        match core.proto.accept_control() {
            Some(key) => Poll::Ready(Some(Stream::new(Arc::clone(&self.shared), key))),
            None if core.proto.has_ended() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Polls for the protocol extensions: true once they are negotiated, false if the session ends before.
    ///
    /// See [`Session::extensions_negotiated`](crate::Session::extensions_negotiated). If several tasks poll one handle,
    /// only the last one is woken.
    pub fn poll_extensions_negotiated(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.shared.with(|core| {
            let negotiated = core.proto.extensions_negotiated();
            if negotiated || core.proto.has_ended() {
                return Poll::Ready(negotiated);
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
