//! A WebSocket as a transport.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    error::{LibraryError, WebSocketError, of_library},
    message::{WebSocketFrame, WebSocketMessage},
};

/// A WebSocket of any library as a transport: what is written goes out in binary messages, and the bytes of binary
/// messages that come in are read, wherever they are cut.
///
/// The library's socket is a `Stream` of results of messages, and a `Sink` of messages: tokio-tungstenite's
/// `WebSocketStream` with the feature `ws`, axum's `WebSocket` with the feature `axum`, any other that is mapped to
/// [`WebSocketFrame`]. Addresses of `ws://` and `wss://` need none of this.
///
/// ```
/// use muxado_rpc::{Peer, WebSocketIo};
/// # async fn serve<S>(socket: S, services: muxado_rpc::PeerBuilder) -> Result<(), muxado_rpc::RegistrationError>
/// # where
/// #     S: futures_core::Stream<Item = std::io::Result<muxado_rpc::WebSocketFrame>>
/// #         + futures_util::Sink<muxado_rpc::WebSocketFrame, Error = std::io::Error>
/// #         + Send + Unpin + 'static,
/// # {
/// let peer: Peer = services.server(WebSocketIo::new(socket))?;
/// peer.closed().await;
/// # Ok(())
/// # }
/// ```
///
/// * **Writing.** Each write is one message, of 64 KiB at most, given to the library as soon as it takes one. A flush
///   flushes the library, so nothing is held back behind one. Shutting down sends a close message.
/// * **Reading.** A close message is the end of what is read, and so is the end of the connection. One with a code that
///   says what went wrong is an error, and so is a text message, which is answered with a close message of code 1003.
///   Pings are answered while something reads.
/// * **Limits.** How much a peer can make this side hold is the library's setting: the sizes of a message, of a frame, and of
///   the write buffer, which answers to pings fill while the peer reads nothing. Addresses of `ws://` take messages and
///   frames of 1 MiB at most.
pub struct WebSocketIo<S> {
    socket: S,
    /// What is left of the last message.
    unread: Bytes,
    /// Answers to pings may lie in the buffer of the library, in which a message may then find no room.
    has_pinged: bool,
    has_ended: bool,
}

impl<S> WebSocketIo<S> {
    /// Wraps a socket after its upgrade.
    pub fn new(socket: S) -> Self {
        Self { socket, unread: Bytes::new(), has_pinged: false, has_ended: false }
    }

    /// Returns the socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }
}

impl<S, M, E> WebSocketIo<S>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: WebSocketMessage,
    E: Into<LibraryError>,
{
    /// Reads the next message that has bytes, or the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..MESSAGES_PER_POLL {
            let frame = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => message.into_frame(),
                Some(Err(error)) => return Poll::Ready(self.fail(cx, error)),
                None => WebSocketFrame::Close(None),
            };
            match frame {
                WebSocketFrame::Binary(data) if data.is_empty() => {}
                WebSocketFrame::Binary(data) => {
                    self.unread = data;
                    return Poll::Ready(Ok(()));
                }
                WebSocketFrame::Ping => self.has_pinged = true,
                WebSocketFrame::Pong => {}
                WebSocketFrame::Text => {
                    self.say_close(cx, &WebSocketError::Text);
                    return Poll::Ready(Err(WebSocketError::Text.into()));
                }
                WebSocketFrame::Close(reason) => {
                    self.has_ended = true;
                    // Libraries answer a close message while they are read from. The other side closes the connection
                    // then, which is not waited for.
                    let _ = Pin::new(&mut self.socket).poll_next(cx);
                    return Poll::Ready(judge(reason));
                }
            }
        }
        // Messages without bytes are not to keep other tasks waiting.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn fail(&mut self, cx: &mut Context<'_>, error: E) -> io::Result<()> {
        self.has_ended = true;
        match of_library(error.into()) {
            // Without a close message. A session knows its own end from a cut, which is an error on its streams.
            None => Ok(()),
            Some(error) => {
                if let Some(named) = WebSocketError::of(&error) {
                    self.say_close(cx, named);
                }
                Err(error)
            }
        }
    }

    /// Tells the peer what is wrong, if the socket takes that now: the connection ends anyway.
    fn say_close(&mut self, cx: &mut Context<'_>, error: &WebSocketError) {
        self.has_ended = true;
        let (code, reason) = error.close_code();
        let mut socket = Pin::new(&mut self.socket);
        if let Poll::Ready(Ok(())) = socket.as_mut().poll_ready(cx)
            && socket.as_mut().start_send(M::close(code, reason)).is_ok()
        {
            let _ = socket.poll_flush(cx);
        }
    }

    /// Waits until the socket takes a message.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_pinged {
            ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(of_write)?;
            self.has_pinged = false;
        }
        Pin::new(&mut self.socket).poll_ready(cx).map_err(of_write)
    }

    fn send(&mut self, data: Bytes) -> Poll<io::Result<usize>> {
        let len = data.len();
        let sent = Pin::new(&mut self.socket).start_send(M::binary(data));
        Poll::Ready(sent.map(|()| len).map_err(of_write))
    }
}

impl<S, M, E> AsyncRead for WebSocketIo<S>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: WebSocketMessage,
    E: Into<LibraryError>,
{
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.is_empty() && !this.has_ended && buf.remaining() > 0 {
            ready!(this.poll_message(cx))?;
        }
        let len = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..len]);
        this.unread.advance(len);
        if this.unread.is_empty() {
            // Not even an empty slice keeps the buffer of the library alive.
            this.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, M, E> AsyncWrite for WebSocketIo<S>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: WebSocketMessage,
    E: Into<LibraryError>,
{
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_room(cx))?;
        this.send(Bytes::copy_from_slice(&buf[..buf.len().min(MAX_SENT)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(MAX_SENT);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_room(cx))?;
        let mut data = BytesMut::with_capacity(len);
        for buf in bufs {
            let room = len - data.len();
            data.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        this.send(data.freeze())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_flush(cx)).map_err(of_write)?;
        this.has_pinged = false;
        Poll::Ready(Ok(()))
    }

    /// Sends a close message: behind it nothing can be added to what was sent.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(cx).map_err(of_write)
    }
}

impl<S> fmt::Debug for WebSocketIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketIo").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

/// The end of what is read, or the error that a close message names.
fn judge(reason: Option<(u16, String)>) -> io::Result<()> {
    match reason {
        // Done, going away, no code.
        None | Some((1000 | 1001 | 1005, _)) => Ok(()),
        Some((code, reason)) => Err(WebSocketError::Closed { code, reason }.into()),
    }
}

fn of_write(error: impl Into<LibraryError>) -> io::Error {
    // What ended without a close message is over for a writer, too.
    of_library(error.into()).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// Bytes of a message that is sent. It is a batch of a session's output.
const MAX_SENT: usize = 64 * 1024;

/// Messages without bytes that are read in a row before other tasks have a turn.
const MESSAGES_PER_POLL: usize = 64;

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A socket that does as it is told, and notes what is asked of it.
    #[derive(Default)]
    struct Fake {
        /// What comes in; then nothing more, for now.
        incoming: VecDeque<Option<WebSocketFrame>>,
        takes_no_message: bool,
        asked: Vec<String>,
    }

    impl Stream for Fake {
        type Item = io::Result<WebSocketFrame>;

        fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            match self.incoming.pop_front() {
                Some(next) => Poll::Ready(next.map(Ok)),
                None => Poll::Pending,
            }
        }
    }

    impl Sink<WebSocketFrame> for Fake {
        type Error = io::Error;

        fn poll_ready(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.takes_no_message { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn start_send(mut self: Pin<&mut Self>, frame: WebSocketFrame) -> io::Result<()> {
            let asked = match frame {
                WebSocketFrame::Binary(data) => data.len().to_string(),
                other => format!("{other:?}"),
            };
            self.asked.push(asked);
            Ok(())
        }

        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.asked.push("flush".to_owned());
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.asked.push("close".to_owned());
            Poll::Ready(Ok(()))
        }
    }

    fn receiving(frames: impl IntoIterator<Item = WebSocketFrame>) -> WebSocketIo<Fake> {
        let incoming = frames.into_iter().map(Some).collect();
        WebSocketIo::new(Fake { incoming, ..Fake::default() })
    }

    fn binary(data: &'static [u8]) -> WebSocketFrame {
        WebSocketFrame::Binary(Bytes::from_static(data))
    }

    #[tokio::test]
    async fn a_write_is_one_message_of_a_bounded_size_and_waits_until_the_library_takes_one() {
        let mut io = receiving([]);
        let mut cx = Context::from_waker(Waker::noop());
        io.socket.takes_no_message = true;
        assert!(Pin::new(&mut io).poll_write(&mut cx, b"abc").is_pending());
        assert!(io.socket.asked.is_empty());
        io.socket.takes_no_message = false;
        let large = vec![0; 50_000];
        let bufs = [io::IoSlice::new(b"abc"), io::IoSlice::new(&large), io::IoSlice::new(&large)];
        assert_eq!(io.write_vectored(&bufs).await.unwrap(), 65_536);
        assert_eq!(io.write(&vec![0; 100_000]).await.unwrap(), 65_536);
        assert_eq!((io.write(b"").await.unwrap(), io.write(b"abc").await.unwrap()), (0, 3));
        io.flush().await.unwrap();
        io.shutdown().await.unwrap();
        assert_eq!(io.get_ref().asked, ["65536", "65536", "3", "flush", "close"]);
    }

    #[tokio::test]
    async fn behind_a_ping_the_library_is_flushed_before_it_gets_a_message() {
        let mut io = receiving([WebSocketFrame::Ping, binary(b"abc")]);
        assert_eq!(io.read_u8().await.unwrap(), b'a');
        io.write_all(b"x").await.unwrap();
        io.write_all(b"y").await.unwrap();
        assert_eq!(io.get_ref().asked, ["flush", "1", "1"]);
    }

    #[tokio::test]
    async fn messages_are_read_wherever_they_are_cut_until_the_first_that_ends_it() {
        let close = WebSocketFrame::Close(Some((1001, String::new())));
        let mut io = receiving([
            binary(b"ab"),
            binary(b""),
            WebSocketFrame::Pong,
            binary(b"cde"),
            close,
            binary(b"x"),
        ]);
        let mut read = Vec::new();
        io.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"abcde");
        // One more poll has the library answer; nothing is read behind it.
        assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
        let mut io = receiving([binary(b"ab"), WebSocketFrame::Text, binary(b"x")]);
        let error = io.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(WebSocketError::of(&error), Some(&WebSocketError::Text));
        assert_eq!(io.get_ref().asked, ["Close(Some((1003, \"binary messages only\")))", "flush"]);
        assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
    }

    #[test]
    fn messages_without_bytes_give_other_tasks_a_turn() {
        let mut io = receiving(std::iter::repeat_n(WebSocketFrame::Ping, 200).chain([binary(b"a")]));
        let mut cx = Context::from_waker(Waker::noop());
        let mut space = [0; 8];
        for left in [137, 73, 9] {
            let mut buf = ReadBuf::new(&mut space);
            assert!(Pin::new(&mut io).poll_read(&mut cx, &mut buf).is_pending());
            assert_eq!(io.socket.incoming.len(), left);
        }
        let mut buf = ReadBuf::new(&mut space);
        assert!(Pin::new(&mut io).poll_read(&mut cx, &mut buf).is_ready());
        assert_eq!(buf.filled(), b"a");
    }
}
