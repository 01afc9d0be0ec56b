//! The output of a driver: what is gathered for it, and how it reaches the transport.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::unconstrained,
    time::Instant,
};
use tokio_util::io::poll_write_buf;

use super::{Driver, Due, Phase, TURNS, large_blocks};
use crate::{proto::Outbox, shared::Core};

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// While several streams are busy, output waits once for what the tasks just woken will add:
    /// one write for many frames. After a piece of a large frame, too: its reader takes it while it is in
    /// the cache, and sends what follows from it, before more is read. With one small piece, or if all that
    /// was read is worked on here, now or next, there is nothing to wait for.
    pub(super) fn should_gather(&mut self, worked: Poll<()>) -> bool {
        let mut busy = self.touched > 1 || self.is_busy() || self.bulk;
        if worked.is_ready() {
            busy = false;
        } else if busy && self.touched > 0 {
            busy = self.shared.with_driver(&mut self.wakes, |core| core.proto.has_unread());
        }
        self.bulk = false;
        self.touched = 0;
        self.gathering = busy && !self.gathering && self.outbox.is_empty();
        self.gathering
    }

    /// Whether several streams were busy when something was last written.
    pub(super) const fn is_busy(&self) -> bool {
        self.last_batch > BUSY_BATCH
    }

    /// Writes until there is nothing left (ready) or the transport takes no more (pending).
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = Taken { has_more: true, flush_awaited: false };
        for _ in 0..TURNS {
            if self.outbox.is_empty() {
                taken = self.take_output();
                if self.outbox.is_empty() {
                    break;
                }
            }
            if self.poll_write_outbox(cx).is_pending() {
                // Who comes now is not among those whose times were looked at.
                self.shared.with_driver(&mut self.wakes, Core::block_driver);
                self.due = None;
                return Poll::Pending;
            }
            if !taken.has_more && !self.is_busy() {
                break;
            }
            if taken.flush_awaited {
                // However much more is to be written, whoever waits for what was is told.
                let _ = self.poll_flush(cx);
            }
        }
        self.poll_flush(cx)
    }

    /// Takes what the session has to send now, and notes when it has something to do next.
    fn take_output(&mut self) -> Taken {
        let (outbox, last) = (&mut self.outbox, self.frames_at_last_write);
        let (shared, known, flushed) = (&self.shared, self.now, !self.unflushed);
        let (frames, now, (due, reminder), taken) = shared.with_driver(&mut self.wakes, |core| {
            if flushed {
                core.note_flushed();
            }
            // Where nothing is sent the time does not matter.
            let now = (core.proto.wants_transmit() || core.reminders.are_unstarted()).then(Instant::now);
            if let Some(now) = now {
                core.start_reminders(shared.reminder_at(now.into_std()));
            }
            core.proto.transmit(outbox, now.unwrap_or(known).into_std());
            let taken =
                Taken { has_more: core.proto.wants_transmit(), flush_awaited: core.flushes.is_awaited() };
            (core.proto.frames_sent(), now, (core.proto.poll_timeout(), core.reminders.next()), taken)
        });
        if let Some(now) = now {
            (self.now, self.has_buffers) = (now, true);
        }
        self.due = Some(Due(self.earlier(due, reminder)));
        if !self.outbox.is_empty() {
            (self.last_batch, self.frames_at_last_write) = (frames - last, frames);
        }
        taken
    }

    fn poll_write_outbox(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.outbox.has_remaining() {
            let (io, outbox) = (&mut self.io, &mut self.outbox);
            let Poll::Ready(written) = poll_always(cx, |cx| poll_write_some(Pin::new(&mut *io), cx, outbox))
            else {
                self.blocked_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            };
            if self.blocked_since.take().is_some() {
                // It had been full: what it takes now is what has left it since.
                self.flushing_since = None;
            }
            match written {
                Ok(0) => {
                    self.fail(io::ErrorKind::WriteZero.into());
                    break;
                }
                Ok(n) => {
                    self.unflushed = true;
                    self.moved = self.moved.saturating_add(n);
                }
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unflushed {
            let io = &mut self.io;
            let Poll::Ready(flushed) = poll_always(cx, |cx| Pin::new(&mut *io).poll_flush(cx)) else {
                self.flushing_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            };
            self.flushing_since = None;
            match flushed {
                Ok(()) => self.unflushed = false,
                Err(error) => self.fail(error),
            }
        }
        Poll::Ready(())
    }

    fn fail(&mut self, error: io::Error) {
        tracing::debug!(%error, "writing to the transport failed");
        self.outbox = Outbox::default();
        self.shared.with_driver(&mut self.wakes, |core| core.proto.handle_transport_end(Some(error), 0));
        self.phase = Phase::Lingering;
    }
}

/// Writes some of the output. What lies in one piece, as most output does, needs no list of pieces, which the system would
/// have to copy and to check.
#[inline]
fn poll_write_some(
    io: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    outbox: &mut Outbox,
) -> Poll<io::Result<usize>> {
    if !outbox.is_one_piece() {
        large_blocks::expect();
        return poll_write_buf(io, cx, outbox);
    }
    let written = ready!(io.poll_write(cx, outbox.chunk()))?;
    outbox.advance(written);
    Poll::Ready(Ok(written))
}

/// Polls the transport even if what else runs in the task has used up the task's turn: output would wait for as long as
/// that goes on. How much is written in a turn is bounded apart.
#[inline]
fn poll_always<R>(cx: &mut Context<'_>, poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    pin!(unconstrained(poll_fn(poll))).poll(cx)
}

/// What was left when output was taken.
struct Taken {
    has_more: bool,
    /// Somebody waits for it to be flushed.
    flush_awaited: bool,
}

/// Frames in one write from which on it pays to wait for more: several streams are busy.
const BUSY_BATCH: u64 = 4;
