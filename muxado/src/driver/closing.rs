//! The end of a driver: what was finished is sent, and the peer's last words are read.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::io::poll_read_buf;

use super::{Driver, Phase, TURNS, read_buffer::MIN_READ};
use crate::error::SessionError;

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Sends what was finished and the last frames, and waits for the peer's end, for `close_timeout` at most.
    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Reading goes on meanwhile: the peer may be unable to read before it has written, and gives credit.
        let peer_ended = self.poll_discard(cx);
        if self.poll_last_steps(cx, peer_ended.is_ready()).is_ready() {
            return Poll::Ready(());
        }
        // Whatever was possible has been done before the time is found to be over.
        let is_put_off = self.overdue.is_waiting() && Instant::now() >= self.close_at;
        if !is_put_off {
            ready!(self.poll_sleep(cx, self.close_at));
        }
        match self.overdue.put_off(Instant::now(), true) {
            Some(until) if self.poll_sleep(cx, until).is_pending() => Poll::Pending,
            _ => self.give_up_closing(cx),
        }
    }

    /// Ready once both sides are done.
    fn poll_last_steps(&mut self, cx: &mut Context<'_>, peer_ended: bool) -> Poll<()> {
        if self.phase == Phase::Flushing {
            let written = self.poll_write(cx);
            // Without the peer there is no credit for what is left.
            if self.phase == Phase::Flushing && self.is_draining() {
                return if peer_ended { Poll::Ready(()) } else { Poll::Pending };
            }
            ready!(written);
            self.phase = Phase::ShuttingDown;
        }
        if self.phase == Phase::ShuttingDown {
            // An error here changes nothing: the session is over, and the transport with it.
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.phase = Phase::Lingering;
        }
        if peer_ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The time is over: the go-away is sent if the transport takes it, and nothing is waited for.
    fn give_up_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_draining() {
            self.shared.with_driver(&mut self.wakes, |core| core.proto.stop_draining());
            let _ = self.poll_write(cx);
        }
        Poll::Ready(())
    }

    fn is_draining(&mut self) -> bool {
        self.shared.with_driver(&mut self.wakes, |core| core.proto.is_draining())
    }

    /// Reads on after the session's end, for the peer's go-away and its end. Ready at the latter.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            self.read_buffer.bytes.reserve(MIN_READ);
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read_buffer.bytes));
            if !matches!(read, Ok(1..)) {
                return Poll::Ready(());
            }
            let (now, read_buffer) = (Instant::now().into_std(), &mut self.read_buffer.bytes);
            self.shared.with_driver(&mut self.wakes, |core| core.proto.receive(read_buffer, now));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn start_closing(&mut self) {
        let (timeout, shared) = (self.config.close_timeout, &self.shared);
        if std::mem::take(&mut self.has_more_input) {
            // The peer's go-away may be among it.
            let (now, read_buffer) = (self.now.into_std(), &mut self.read_buffer.bytes);
            shared.with_driver(&mut self.wakes, |core| core.proto.receive(read_buffer, now));
        }
        let end = shared.with_driver(&mut self.wakes, |core| core.proto.end());
        let transport_lives = match end.map(|end| end.local) {
            Some(SessionError::PeerEof { .. } | SessionError::Transport { .. }) => false,
            // It ended with the transport's end.
            Some(SessionError::ClosedByPeer(_)) => false,
            _ => self.phase == Phase::Running,
        };
        self.phase = if transport_lives { Phase::Flushing } else { Phase::Done };
        let now = Instant::now();
        self.close_at = now.checked_add(timeout).unwrap_or(now);
        self.overdue.clear();
    }
}
