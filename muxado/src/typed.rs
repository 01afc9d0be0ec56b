//! Typed streams, whose first four bytes tell what they are for (`PROTOCOL §8`).

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    error::OpenError,
    proto::{Side, Source},
    session::{Opening, Session},
    shared::OpenWait,
    stream::Stream,
};

/// The type of a stream, which tells what it is for: any number that the two peers agree on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamType(u32);

impl StreamType {
    /// The type of heartbeat streams, unless configured otherwise.
    pub const HEARTBEAT: Self = Self(0xFFFF_FFFF);

    /// The type of control streams, if the application has any ([`ControlStreams`](crate::ControlStreams)).
    pub const CONTROL: Self = Self(0xFFFF_FFFE);

    /// Returns the type with this value.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// Returns the value on the wire.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamType({self})")
    }
}

/// A session each of whose streams has a type.
///
/// The type and the first bytes leave in one frame. A stream of the peer is accepted once its type has arrived; one
/// whose type is late holds nothing up, and is reset after [`Config::type_timeout`](crate::Config::type_timeout). A
/// typed session answers the heartbeats of the peer by itself: they are never accepted.
///
/// ```
/// use muxado::{Config, Session, StreamType, TypedSession};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let (near, far) = tokio::io::duplex(64 * 1024);
/// let (session, driver) = Session::client(near, Config::default());
/// tokio::spawn(driver);
/// let client = TypedSession::new(session);
/// # let (session, driver) = Session::server(far, Config::default());
/// # tokio::spawn(driver);
/// # let server = TypedSession::new(session);
/// let mut stream = client.open_typed(StreamType::new(7)).await?;
/// stream.write_all(b"seven").await?;
///
/// let accepted = server.accept_typed().await.expect("the session lives");
/// assert_eq!(accepted.stream_type(), StreamType::new(7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TypedSession {
    session: Session,
}

impl TypedSession {
    /// Makes the session a typed one, for all its handles. The first four bytes of streams that wait to be accepted
    /// become their type.
    pub fn new(session: Session) -> Self {
        session.set_typed();
        Self { session }
    }

    /// Opens a stream of this type, as [`Session::open`] does. The type leaves with the first bytes
    /// written, with a flush, or with a read that has to wait.
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended.
    pub fn open_typed(&self, stream_type: StreamType) -> OpenTyped {
        self.open_waiting(stream_type, OpenWait::ANY)
    }

    pub(crate) fn open_waiting(&self, stream_type: StreamType, wait: OpenWait) -> OpenTyped {
        OpenTyped { opening: Opening::new(&self.session.shared, Some(stream_type.0), wait) }
    }

    /// Takes the next stream of the peer whose type has arrived. Returns `None` once the session has ended.
    ///
    /// # Cancel safety
    ///
    /// No stream is lost when the future is dropped.
    pub async fn accept_typed(&self) -> Option<TypedStream> {
        self.session.accept_with_type().await.map(TypedStream::accepted)
    }

    /// Polls for the next stream of the peer whose type has arrived. Returns `None` once the session has ended.
    ///
    /// If several tasks poll one handle, only the last one is woken; see [`Session::poll_accept`].
    pub fn poll_accept_typed(&self, cx: &mut Context<'_>) -> Poll<Option<TypedStream>> {
        self.session.poll_accept_with_type(cx).map(|accepted| accepted.map(TypedStream::accepted))
    }

    /// Takes the next stream of the peer whose type has arrived, if there is one; see [`Session::try_accept`].
    pub fn try_accept_typed(&self) -> Option<TypedStream> {
        self.session.try_accept_with_type().map(TypedStream::accepted)
    }

    /// Returns the underlying session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns which side this is.
    pub fn side(&self) -> Side {
        self.session.side()
    }
}

/// The future returned by [`TypedSession::open_typed`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct OpenTyped {
    opening: Opening,
}

impl OpenTyped {
    /// Opens the stream with a message that is all this side will send on it; see
    /// [`OpenTypedExt`](crate::rpc::OpenTypedExt::poll_with_final).
    #[inline]
    pub(crate) fn poll_final(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
        after: Option<Duration>,
        stream: &mut Option<Stream>,
    ) -> Poll<Result<(), OpenError>> {
        self.opening.poll_final(cx, data, after, stream)
    }
}

impl Future for OpenTyped {
    type Output = Result<TypedStream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream_type = StreamType(self.opening.stream_type().unwrap_or_default());
        self.opening.poll(cx).map_ok(|stream| TypedStream { stream, stream_type })
    }
}

/// A stream with its type. It reads and writes as the [`Stream`] inside does.
#[derive(Debug)]
pub struct TypedStream {
    stream: Stream,
    stream_type: StreamType,
}

impl TypedStream {
    /// Streams of a typed session are not accepted without their type.
    #[inline]
    pub(crate) fn accepted((stream, stream_type): (Stream, Option<u32>)) -> Self {
        Self { stream, stream_type: StreamType(stream_type.unwrap_or_default()) }
    }

    /// Returns what the stream is for.
    pub fn stream_type(&self) -> StreamType {
        self.stream_type
    }

    /// Returns a mutable reference to the stream.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Returns the stream without its type.
    #[inline]
    pub fn into_inner(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for TypedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TypedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
