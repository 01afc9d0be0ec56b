//! Who waits until what was written has gone to the transport.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll},
};

use super::{Core, Direction, Wakes};
use crate::{error::WriteError, proto::StreamKey};

/// Streams that are being flushed.
///
/// Positions count the bytes of the session's output since its start. What a stream has written is with the transport
/// once all output up to some position is.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// Up to here the transport has taken and flushed the output.
    flushed: u64,
    /// Where each stream's flush ends, by [`StreamKey::index`].
    ends: BTreeMap<usize, (StreamKey, u64)>,
    /// Those who wait, by rising positions.
    waiting: VecDeque<(u64, StreamKey)>,
}

impl Flushes {
    /// Returns whether somebody waits who need not wait any longer.
    pub(super) fn is_due(&self) -> bool {
        self.waiting.front().is_some_and(|(end, _)| *end <= self.flushed)
    }

    /// Returns whether somebody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the next of those who need not wait any longer.
    fn pop_due(&mut self) -> Option<StreamKey> {
        if !self.is_due() {
            return None;
        }
        self.waiting.pop_front().map(|(_, key)| key)
    }

    fn end_of(&self, key: StreamKey) -> Option<u64> {
        self.ends.get(&key.index()).filter(|(of, _)| *of == key).map(|(_, end)| *end)
    }

    /// Forgets the flush of a stream, because it has something new to be flushed, or is gone.
    pub(super) fn forget(&mut self, key: StreamKey) {
        if !self.ends.is_empty() {
            self.ends.remove(&key.index());
        }
    }
}

impl Core {
    /// Polls for the transport to have everything that was written to the stream, or what announces the stream if nothing
    /// was written.
    pub(crate) fn poll_flush(&mut self, key: StreamKey, cx: &Context<'_>) -> Poll<Result<(), WriteError>> {
        let known = self.flushes.end_of(key);
        if known.is_some_and(|end| end <= self.flushes.flushed) {
            self.flushes.forget(key);
            return Poll::Ready(Ok(()));
        }
        if self.proto.poll_sent(key)? {
            let end = known.unwrap_or_else(|| self.proto.position());
            if end <= self.flushes.flushed {
                return Poll::Ready(Ok(()));
            }
            if known.is_none() {
                self.flushes.ends.insert(key.index(), (key, end));
                // One that is flushed again and again meanwhile needs no second place.
                if self.flushes.waiting.back() != Some(&(end, key)) {
                    self.flushes.waiting.push_back((end, key));
                }
            }
        }
        self.register_stream(key, Direction::Write, cx);
        Poll::Pending
    }

    /// Notes that the transport has taken all output so far, and flushed it.
    pub(crate) fn note_flushed(&mut self) {
        self.flushes.flushed = self.proto.stats().bytes_sent;
    }

    pub(super) fn wake_flushed(&mut self, wakes: &mut Wakes) {
        while let Some(key) = self.flushes.pop_due() {
            self.wake_stream(key, Direction::Write, wakes);
        }
    }
}
