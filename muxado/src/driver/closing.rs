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

use super::{Driver, Phase, TURNS, inbox::MIN_READ};
use crate::error::SessionError;

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Sends the last frames and waits for the peer's end, for `close_timeout` at most.
    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        // Reading goes on meanwhile: the peer may be unable to read before it has written.
        let peer_ended = self.poll_discard(cx);
        if self.phase == Phase::Flushing {
            ready!(self.poll_write(cx));
            self.phase = Phase::ShuttingDown;
        }
        if self.phase == Phase::ShuttingDown {
            // An error here changes nothing: the session is over, and the transport with it.
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.phase = Phase::Lingering;
        }
        peer_ended
    }

    /// Reads on after the session's end, for the peer's go-away and its end. Ready at the latter.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            self.inbox.bytes.reserve(MIN_READ);
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.inbox.bytes));
            if !matches!(read, Ok(1..)) {
                return Poll::Ready(());
            }
            let (now, inbox) = (Instant::now().into_std(), &mut self.inbox.bytes);
            self.shared.with_driver(&mut self.wakes, |core| core.proto.receive(inbox, now));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn start_closing(&mut self) {
        let (timeout, shared) = (self.close_timeout, &self.shared);
        if std::mem::take(&mut self.undigested) {
            // The peer's go-away may be among it.
            let (now, inbox) = (self.now.into_std(), &mut self.inbox.bytes);
            shared.with_driver(&mut self.wakes, |core| core.proto.receive(inbox, now));
        }
        let end = shared.with_driver(&mut self.wakes, |core| core.proto.end());
        let transport_lives = match end.map(|end| end.local) {
            Some(SessionError::PeerEof { .. } | SessionError::Transport { .. }) => false,
            // It ended with the transport's end.
            Some(SessionError::ClosedByPeer(_)) => false,
            _ => self.phase == Phase::Running,
        };
        self.phase = if transport_lives { Phase::Flushing } else { Phase::Done };
        self.timer = Some(Box::pin(tokio::time::sleep(timeout)));
    }
}
