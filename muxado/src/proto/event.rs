//! What a session tells its driver.

use std::collections::VecDeque;

use super::store::StreamKey;

/// Something that the driver of a session passes on to whoever waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A stream has data, its end, or a reset: wake its reader.
    Readable(StreamKey),
    /// A stream has room, or a reset: wake its writer.
    Writable(StreamKey),
    /// A stream waits to be accepted.
    Acceptable,
    /// How many more streams may be opened has changed, or none can be opened any more.
    OpenCapacity,
    /// A heartbeat came back, failed, or will never come back.
    Heartbeat,
    /// The peer's control stream came, or the protocol extensions were negotiated.
    Control,
    /// The time of [`Session::poll_timeout`](super::Session::poll_timeout) came nearer outside of input and
    /// timeouts.
    Timer,
    /// All streams have ended after a go-away of this side.
    Idle,
    /// The session has ended: wake everybody.
    Ended,
}

/// Events that were not polled yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// An [`Event::OpenCapacity`] is due. It comes last, and once.
    capacity_changed: bool,
}

impl Events {
    #[inline]
    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Returns whether this event was the last one pushed, and is still there.
    pub(super) fn ends_with(&self, event: Event) -> bool {
        self.queue.back() == Some(&event)
    }

    /// Makes an [`Event::OpenCapacity`] due.
    #[inline]
    pub(super) fn note_capacity(&mut self) {
        self.capacity_changed = true;
    }

    /// Returns whether there is an event other than [`Event::OpenCapacity`].
    #[cfg(feature = "tokio")]
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns whether an [`Event::OpenCapacity`] is due.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(super) const fn has_capacity(&self) -> bool {
        self.capacity_changed
    }

    #[inline]
    pub(super) fn poll(&mut self) -> Option<Event> {
        let event = self.queue.pop_front();
        if event.is_none() && std::mem::take(&mut self.capacity_changed) {
            return Some(Event::OpenCapacity);
        }
        event
    }

    pub(super) fn shrink(&mut self) {
        self.queue.shrink_to_fit();
    }
}
