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
    error::{WebSocketError, of_library},
    message::{WebSocketFrame, WebSocketMessage},
};
use crate::BoxError;

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
    E: Into<BoxError>,
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
    E: Into<BoxError>,
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
    E: Into<BoxError>,
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

fn of_write(error: impl Into<BoxError>) -> io::Error {
    // What ended without a close message is over for a writer, too.
    of_library(error.into()).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// Bytes of a message that is sent. It is a batch of a session's output.
const MAX_SENT: usize = 64 * 1024;

/// Messages without bytes that are read in a row before other tasks have a turn.
const MESSAGES_PER_POLL: usize = 64;
