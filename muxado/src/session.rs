//! Sessions: the handles by which streams are opened and accepted.

use std::{
    fmt,
    future::Future,
    num::NonZeroU64,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use crate::{
    config::Config,
    driver::Driver,
    error::{ErrorCode, OpenError, SessionEnd},
    proto::{Finish, SessionStats, Side, Source, StreamKey},
    shared::{Core, Direction, OpenWait, Shared, Signal, Wait, WaiterId},
    stream::Stream,
};

/// One side of a connection that carries many streams.
///
/// It is a handle: clones are cheap and refer to the same session. The work is done by the [`Driver`] that is returned
/// with it, and that the caller spawns. Once the last handle and the last stream are dropped, what was finished is sent
/// and the session is closed.
///
/// ```
/// use muxado::{Config, Session};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (near, far) = tokio::io::duplex(64 * 1024);
/// let (client, driver) = Session::client(near, Config::default());
/// tokio::spawn(driver);
/// let (server, driver) = Session::server(far, Config::default());
/// tokio::spawn(driver);
///
/// let mut stream = client.open().await?;
/// stream.write_all(b"hello").await?;
/// stream.shutdown().await?;
///
/// let mut accepted = server.accept().await.expect("the session lives");
/// let mut said = String::new();
/// accepted.read_to_string(&mut said).await?;
/// assert_eq!(said, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    side: Side,
    /// Names this handle while [`poll_accept`](Self::poll_accept) waits.
    pub(crate) waiter: WaiterId,
}

impl Session {
    /// Returns a session for the side that connected, and its driver.
    ///
    /// The session does nothing unless the [`Driver`] is spawned or polled. Any transport will do; on TCP,
    /// `TCP_NODELAY` should be set.
    pub fn client<T: AsyncRead + AsyncWrite + Unpin>(io: T, config: Config) -> (Self, Driver<T>) {
        Self::new(Side::Client, io, config)
    }

    /// Returns a session for the side that was connected to, and its driver; see [`client`](Self::client).
    pub fn server<T: AsyncRead + AsyncWrite + Unpin>(io: T, config: Config) -> (Self, Driver<T>) {
        Self::new(Side::Server, io, config)
    }

    /// Returns a session for this side, and its driver; see [`client`](Self::client).
    pub fn new<T: AsyncRead + AsyncWrite + Unpin>(side: Side, io: T, config: Config) -> (Self, Driver<T>) {
        Self::with_shared_config(side, io, Arc::new(config))
    }

    /// Returns a session as [`new`](Self::new) does, whose configuration others may have, too.
    pub(crate) fn with_shared_config<T: AsyncRead + AsyncWrite + Unpin>(
        side: Side,
        io: T,
        mut config: Arc<Config>,
    ) -> (Self, Driver<T>) {
        if config.frame_log.is_none()
            && let Ok(name) = std::env::var("MUXADO_FRAME_LOG")
        {
            config = Arc::new(Config::clone(&config).frame_log(name));
        }
        let shared = Shared::new(side, Arc::clone(&config));
        let waiter = shared.with(|core| {
            core.proto.handle_timeout(Instant::now().into_std());
            core.new_waiter()
        });
        let driver = Driver::new(io, Arc::clone(&shared), config);
        (Self { shared, side, waiter }, driver)
    }

    /// Opens a stream.
    ///
    /// Waits while as many streams are open, or opened and not yet accepted by the peer, as
    /// [`Config::max_open_streams`] and [`Config::max_unacknowledged_opens`] allow. Those who wait are woken in order. A
    /// future that is woken and not polled holds up no other: room that it does not use in one turn of the driver goes
    /// to the next.
    ///
    /// The peer hears of the stream with the first bytes written, with the first flush, or with the first read that has
    /// to wait, so a stream on which the peer is to send first works, too.
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue, and nothing else.
    pub fn open(&self) -> Open {
        Open { opening: Opening::new(&self.shared, None, OpenWait::ANY) }
    }

    /// Takes the next stream that the peer opened. Returns `None` once the session has ended.
    ///
    /// # Cancel safety
    ///
    /// No stream is lost when the future is dropped.
    pub async fn accept(&self) -> Option<Stream> {
        self.accept_with_type().await.map(|(stream, _)| stream)
    }

    /// Polls for the next stream that the peer opened. Returns `None` once the session has ended.
    ///
    /// If several tasks poll one handle, only the last one is woken. Give each task a clone, or use
    /// [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.poll_accept_with_type(cx).map(|accepted| accepted.map(|(stream, _)| stream))
    }

    /// Takes the next stream that the peer opened, if there is one.
    ///
    /// No task is woken when one comes: this is for work that is polled together with the driver, see
    /// [`Driver::poll_with`](crate::Driver::poll_with).
    pub fn try_accept(&self) -> Option<Stream> {
        self.try_accept_with_type().map(|(stream, _)| stream)
    }

    pub(crate) fn try_accept_with_type(&self) -> Option<(Stream, Option<u32>)> {
        let (key, stream_type) = self.shared.with(|core| core.proto.accept())?;
        Some((Stream::new(Arc::clone(&self.shared), key), stream_type))
    }

    pub(crate) fn poll_accept_with_type(&self, cx: &Context<'_>) -> Poll<Option<(Stream, Option<u32>)>> {
        self.shared.with(|core| {
            let accepted = self.poll_accept_from(core);
            if accepted.is_pending() {
                core.wait(Signal::Acceptable, self.waiter, cx);
            }
            accepted
        })
    }

    pub(crate) fn accept_with_type(&self) -> impl Future<Output = Option<(Stream, Option<u32>)>> {
        Wait::new(&self.shared, Signal::Acceptable, |core: &mut Core| self.poll_accept_from(core))
    }

    pub(crate) fn poll_accept_from(&self, core: &mut Core) -> Poll<Option<(Stream, Option<u32>)>> {
        match core.proto.accept() {
            Some((key, stream_type)) => {
                if core.proto.refuses_opens() {
                    // It may have been the last one, for which somebody waits (`SessionListener::ended`).
                    core.proto.announce_capacity();
                }
                Poll::Ready(Some((Stream::new(Arc::clone(&self.shared), key), stream_type)))
            }
            None if core.proto.has_ended() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Sends a go-away: from now on neither side opens streams, and those that are open run on.
    pub fn go_away(&self) {
        self.shared.with(|core| core.proto.go_away());
    }

    /// Returns whether no stream can be opened any more: either side goes away, or the session has ended.
    pub fn is_going_away(&self) -> bool {
        self.shared.with(|core| core.proto.refuses_opens())
    }

    /// Waits until either side goes away or the session ends.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the go-away.
    pub async fn going_away(&self) {
        Wait::new(&self.shared, Signal::GoingAway, |core: &mut Core| match core.proto.refuses_opens() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Ends the session now: its streams fail, and the peer gets a GOAWAY with this code and text
    /// as the last frame. Closing again changes nothing.
    ///
    /// What was finished before is still sent, as fast as the peer takes it; the transport is
    /// closed within [`Config::close_timeout`].
    pub fn close(&self, code: ErrorCode, reason: impl Into<Bytes>) {
        let reason = reason.into();
        self.shared.with_poke(|core| core.proto.close_draining(code, reason));
    }

    /// Closes the session gracefully: sends a go-away, waits until all streams have ended or `grace` is over, and closes
    /// the session as [`close`](Self::close) does.
    ///
    /// Returns true if all streams had ended, apart from those that nobody had accepted: they are refused.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the go-away stays in force, and the session is not closed.
    pub async fn shutdown(&self, grace: Duration) -> bool {
        self.drain(grace).await == 0
    }

    /// Closes the session gracefully as [`shutdown`](Self::shutdown) does, and returns how many streams of either side
    /// were cut. That is 0 if the session ended for another reason meanwhile.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the go-away stays in force, and the session is not closed.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.go_away();
        // What is open is counted below: the time limit says nothing that it does not.
        let _ = timeout(grace, self.idle()).await;
        let cut = self.shared.with_poke(|core| core.proto.close_refusing(ErrorCode::NO_ERROR, Bytes::new()));
        self.closed().await;
        cut
    }

    fn idle(&self) -> impl Future<Output = ()> {
        Wait::new(&self.shared, Signal::Idle, |core: &mut Core| {
            if core.proto.has_ended() || core.proto.is_idle() { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Waits for the end of the session and of its driver, and returns why it ended.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub async fn closed(&self) -> SessionEnd {
        Wait::new(&self.shared, Signal::Closed, |core: &mut Core| match core.proto.end() {
            Some(end) if core.driver_done => Poll::Ready(end),
            _ => Poll::Pending,
        })
        .await
    }

    /// Returns whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.has_ended()
    }

    /// Returns whether the protocol extensions are negotiated: both sides have them, and show it
    /// ([`Config::extensions`], `PROTOCOL §12`).
    ///
    /// A peer shows them with the first stream that it opens, or with its first answer.
    pub fn extensions_negotiated(&self) -> bool {
        self.shared.with(|core| core.proto.extensions_negotiated())
    }

    /// Returns whether the protocol extensions are negotiated.
    #[deprecated(note = "it is called `extensions_negotiated` now")]
    pub fn peer_is_family(&self) -> bool {
        self.extensions_negotiated()
    }

    /// Returns counters, and what the session holds now.
    pub fn stats(&self) -> SessionStats {
        self.shared.with(|core| core.proto.stats())
    }

    /// Returns which side this is.
    pub fn side(&self) -> Side {
        self.side
    }

    pub(crate) fn set_typed(&self) {
        let now = Instant::now().into_std();
        self.shared.with_poke(|core| core.proto.set_typed(now));
    }
}

impl Clone for Session {
    fn clone(&self) -> Self {
        let waiter = self.shared.with(|core| {
            core.sessions += 1;
            core.new_waiter()
        });
        Self { shared: Arc::clone(&self.shared), side: self.side, waiter }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.release_session(self.waiter);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("side", &self.side).finish_non_exhaustive()
    }
}

/// The future returned by [`Session::open`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Open {
    opening: Opening,
}

impl Future for Open {
    type Output = Result<Stream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.opening.poll(cx)
    }
}

/// A place in the queue of those who wait to open a stream.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The stream has it once it is open.
    shared: Option<Arc<Shared>>,
    stream_type: Option<u32>,
    wait: OpenWait,
    ticket: Option<NonZeroU64>,
}

impl Opening {
    pub(crate) fn new(shared: &Arc<Shared>, stream_type: Option<u32>, wait: OpenWait) -> Self {
        Self { shared: Some(Arc::clone(shared)), stream_type, wait, ticket: None }
    }

    pub(crate) const fn stream_type(&self) -> Option<u32> {
        self.stream_type
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, OpenError>> {
        self.poll_with(cx, |_, _, _| {})?.map(|key| Ok(self.opened(key)))
    }

    /// Opens a stream, which takes as much of `data` as it has room for, and its end if that is all. Then the task is
    /// woken for what comes back, otherwise for room, and in either case so long `after` the driver's next turn. The stream
    /// is put into `stream`.
    #[inline]
    pub(crate) fn poll_final(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
        after: Option<Duration>,
        stream: &mut Option<Stream>,
    ) -> Poll<Result<(), OpenError>> {
        let task = &Context::from_waker(cx.waker());
        let polled = self.poll_with(cx, |shared, core, key| {
            // With a stream that has just been opened nothing can be wrong.
            let _ = core.proto.write_with(key, data, Finish::Yes);
            let direction = if data.has_remaining() { Direction::Write } else { Direction::Read };
            core.register_stream(key, direction, task);
            if let Some(after) = after {
                core.remind_after(key, after, || shared.reminder_now());
            }
        });
        polled.map_ok(|key| *stream = Some(self.opened(key)))
    }

    /// Opens a stream when it is its turn, and does `first` with it in the same step.
    #[inline]
    fn poll_with(
        &mut self,
        cx: &Context<'_>,
        first: impl FnOnce(&Shared, &mut Core, StreamKey),
    ) -> Poll<Result<StreamKey, OpenError>> {
        let shared = self.shared.as_ref().expect("no future is polled after it was ready");
        let (ticket, stream_type, wait) = (&mut self.ticket, self.stream_type, self.wait);
        shared.with(|core| {
            if !core.poll_open_turn(wait, ticket, cx) {
                return Poll::Pending;
            }
            let opened = core.proto.open(stream_type);
            if let Ok(key) = opened {
                first(shared, core, key);
            }
            Poll::Ready(opened)
        })
    }

    fn opened(&mut self, key: StreamKey) -> Stream {
        Stream::new(self.shared.take().expect("it was there when the stream was opened"), key)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let (ticket, wait) = (&mut self.ticket, self.wait);
        if let Some(shared) = self.shared.as_ref().filter(|_| ticket.is_some()) {
            shared.with(|core| core.abandon_opening(wait, ticket));
        }
    }
}
