//! Typed streams: the first four bytes of each say what it is for (`PROTOCOL §8`).

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    error::OpenError,
    proto::{OpenLevel, Side, Source},
    session::{Opening, Session},
    stream::Stream,
};

/// What a stream is for: any number that the two peers agree on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamType(u32);

impl StreamType {
    /// The type of heartbeat streams, unless configured otherwise.
    pub const HEARTBEAT: Self = Self(0xFFFF_FFFF);

    /// The type of control streams, where there are any ([`ControlStreams`](crate::ControlStreams)).
    pub const CONTROL: Self = Self(0xFFFF_FFFE);

    /// The type with this value.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The value on the wire.
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
/// The type and the first bytes leave in one frame. A peer's stream is accepted once its type is
/// there; one that is slow to say it holds nothing up, and is reset after
/// [`Config::type_timeout`](crate::Config::type_timeout). Heartbeats of the peer are answered here
/// and never accepted.
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
    /// Makes the session a typed one, for all its handles. Streams that wait to be accepted give
    /// their first four bytes up as the type.
    pub fn new(session: Session) -> Self {
        session.set_typed();
        Self { session }
    }

    /// Opens a stream of this type; see [`Session::open`]. The type leaves with the first bytes
    /// written, with a flush, or with a read that has to wait.
    ///
    /// # Errors
    ///
    /// When either side goes away or the session has ended.
    pub fn open_typed(&self, stream_type: StreamType) -> OpenTyped {
        self.open_typed_at(stream_type, OpenLevel::ALL)
    }

    /// The same within the limits of a level: for `muxado-rpc`, whose calls may wait for others.
    #[doc(hidden)]
    pub fn open_typed_at(&self, stream_type: StreamType, level: OpenLevel) -> OpenTyped {
        OpenTyped { opening: Opening::new(&self.session.shared, Some(stream_type.0), level) }
    }

    /// Takes the next stream of the peer's whose type has come; `None` once the session has ended.
    ///
    /// # Cancel safety
    ///
    /// No stream is lost when the future is dropped.
    pub async fn accept_typed(&self) -> Option<TypedStream> {
        self.session.accept_with_type().await.map(TypedStream::accepted)
    }

    /// Polls for the next stream of the peer whose type has arrived. As for
    /// [`Session::poll_accept`], the last task that polled this handle is woken.
    pub fn poll_accept_typed(&self, cx: &mut Context<'_>) -> Poll<Option<TypedStream>> {
        self.session.poll_accept_with_type(cx).map(|accepted| accepted.map(TypedStream::accepted))
    }

    /// Takes the next stream of the peer's whose type has come, if there is one; see
    /// [`Session::try_accept`].
    pub fn try_accept_typed(&self) -> Option<TypedStream> {
        self.session.try_accept_with_type().map(TypedStream::accepted)
    }

    /// [`try_accept_typed`](Self::try_accept_typed), and with the stream what has come on it so far, as
    /// [`Stream::poll_read_chunk`] would give it: one locking of the session less for a message that came
    /// with its stream.
    ///
    /// ```
    /// # fn example(session: &muxado::TypedSession) {
    /// if let Some((stream, Some(first))) = session.try_accept_with_chunk() {
    ///     println!("{}: {} bytes", stream.stream_type(), first.len());
    /// }
    /// # }
    /// ```
    pub fn try_accept_with_chunk(&self) -> Option<(TypedStream, Option<Bytes>)> {
        let (stream, stream_type, chunk) = self.session.try_accept_with_chunk()?;
        Some((TypedStream::accepted((stream, stream_type)), chunk))
    }

    /// Forgets streams that are reset before the peer's FIN, unless they were accepted before: for `muxado-rpc`, which
    /// takes whole messages. Else what came on them waits to be accepted.
    #[doc(hidden)]
    pub fn accept_whole_only(&self) {
        self.session.shared.with(|core| core.proto.accept_whole_only());
    }

    /// The session underneath.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Which side this is.
    pub fn side(&self) -> Side {
        self.session.side()
    }
}

/// A typed stream being opened; see [`TypedSession::open_typed`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct OpenTyped {
    opening: Opening,
}

impl OpenTyped {
    /// Opens the stream with a message that is all this side will send on it, in one step: what
    /// [`poll_write_final`](Stream::poll_write_final) and a first
    /// [`poll_read_chunk`](Stream::poll_read_chunk) would do behind the opening.
    ///
    /// As much of `data` is taken as there is room for. If that is all of it, the stream's end follows
    /// and the task is woken when something has come back; else it is woken when there is room for more,
    /// to be given to [`poll_write_final`](Stream::poll_write_final).
    ///
    /// # Errors
    ///
    /// As the future's. Nothing of `data` is taken then.
    ///
    /// # Cancel safety
    ///
    /// Until it is ready nothing is taken, and dropping the future gives the place in the queue back.
    ///
    /// ```
    /// # use std::{future::poll_fn, pin::pin};
    /// use muxado::{StreamType, TypedSession};
    ///
    /// # async fn example(session: &TypedSession) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut opening = session.open_typed(StreamType::new(7));
    /// let mut question = &b"what?"[..];
    /// let stream = poll_fn(|cx| opening.poll_with_final(cx, &mut question)).await?;
    /// let mut stream = stream.into_inner();
    /// if !question.is_empty() {
    ///     poll_fn(|cx| stream.poll_write_final(cx, &mut question)).await?;
    /// }
    /// let answer = stream.read_chunk().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_with_final(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<TypedStream, OpenError>> {
        let stream_type = StreamType(self.opening.stream_type().unwrap_or_default());
        self.opening.poll_final(cx, data).map_ok(|stream| TypedStream { stream, stream_type })
    }
}

impl Future for OpenTyped {
    type Output = Result<TypedStream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream_type = StreamType(self.opening.stream_type().unwrap_or_default());
        self.opening.poll(cx).map_ok(|stream| TypedStream { stream, stream_type })
    }
}

/// A stream and its type. It reads and writes as the [`Stream`] inside does.
#[derive(Debug)]
pub struct TypedStream {
    stream: Stream,
    stream_type: StreamType,
}

impl TypedStream {
    /// Streams of a typed session are not accepted without their type.
    pub(crate) fn accepted((stream, stream_type): (Stream, Option<u32>)) -> Self {
        Self { stream, stream_type: StreamType(stream_type.unwrap_or_default()) }
    }

    /// What the stream is for.
    pub fn stream_type(&self) -> StreamType {
        self.stream_type
    }

    /// The stream, for what is not reading and writing.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The stream alone.
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
