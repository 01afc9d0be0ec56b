//! Credit for what was read of streams, as far as it concerns the session's memory (`PROTOCOL §5.6`).
//!
//! The peer counts what is unread on all streams together. So it is told of what was read behind the end of a stream,
//! too, and soon enough: what was read and not credited yet must never fill the memory by itself.

use super::{frame::StreamId, peer_memory::FREE, session::Session, store::StreamKey, stream::Stream};

/// Credit that is not that of an open stream.
#[derive(Debug, Default)]
pub(super) struct LateCredit {
    /// Bytes that were read of streams that have ended, for which any of these streams can stand.
    pending: u64,
    carrier: Option<StreamId>,
    /// Much is unread: credit goes back sooner.
    pressed: bool,
}

/// Least credit that is worth a frame, however many streams there are, in bytes.
pub(super) const LEAST_CREDIT: u32 = 4 * 1024;

/// The same while much is unread: then the peer may have no more than [`FREE`] under way on a stream.
const PRESSED_CREDIT: u32 = 8 * 1024;

/// Credit for streams that have ended which is worth a frame, in bytes, and as a part of the session's memory.
const LATE: (usize, usize) = (4 * 1024 * 1024, 16);

impl LateCredit {
    /// Counts what was read of a stream which the peer has no more, to credit it by a frame for that id.
    pub(super) fn add(&mut self, id: Option<StreamId>, consumed: u32) {
        if consumed > 0 {
            self.pending += u64::from(consumed);
            self.carrier = id;
        }
    }
}

impl Session {
    /// Returns after how many consumed bytes of a stream credit goes back. What waits for that on all streams is at most
    /// an eighth of the session's memory.
    pub(super) fn credit_threshold(&mut self) -> u32 {
        let (streams, memory) = (self.streams_in_use(), self.config.session_receive_memory);
        let usual = self.config.credit_threshold(streams == 1);
        if self.late_credit.pressed {
            self.late_credit.pressed = self.recv.bytes_unread() > memory / 8;
            return usual.min(PRESSED_CREDIT);
        }
        if streams * usual as usize <= memory / 8 {
            return usual;
        }
        let share = u32::try_from(memory / 8 / streams.max(1)).unwrap_or(u32::MAX);
        usual.min(share.max(LEAST_CREDIT))
    }

    /// Returns after how many consumed bytes credit goes back behind the end of a stream, which does not wait for it.
    fn late_threshold(&mut self) -> u32 {
        let usual = self.credit_threshold();
        if self.late_credit.pressed {
            return usual;
        }
        let share = self.config.session_receive_memory / 8 / self.streams_in_use().max(1);
        usual.max(self.config.window_size.min(u32::try_from(share).unwrap_or(u32::MAX)))
    }

    /// Gives credit sooner, because much is unread: the peer may soon have to wait with all but the first bytes of each
    /// stream.
    pub(super) fn press_credit(&mut self) {
        if std::mem::replace(&mut self.late_credit.pressed, true) {
            return;
        }
        let is_due = |stream: &Stream| {
            stream.recv.window().consumed() >= PRESSED_CREDIT
                && !stream.recv.is_cut()
                && !stream.send.is_in_pending_control()
        };
        let keys: Vec<_> =
            self.store.iter().filter(|(_, stream)| is_due(stream)).map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.credit_now(key));
    }

    /// Credits what was read of a stream, however little.
    pub(super) fn credit_now(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.recv.window_mut().ask_for_credit();
            self.queue_control(key);
        }
    }

    /// Credits from here on only what the peer counts: it has finished the stream.
    pub(super) fn begin_late_credit(&mut self, key: StreamKey) {
        let (initial, is_counted) = (self.config.window_size, self.extensions_negotiated());
        let Some(stream) = self.store.get_mut(key) else { return };
        let is_counted = is_counted && stream.recv.received().exceeds(FREE);
        let window = stream.recv.window_mut();
        let counted = if is_counted { initial.saturating_sub(window.left()) } else { 0 };
        window.finish(counted);
    }

    /// Counts what was read behind the end of a stream.
    pub(super) fn consumed_late(&mut self, key: StreamKey, n: usize) {
        let Some(stream) = self.store.get_mut(key) else { return };
        let (id, is_done) = (stream.id(), stream.send.is_done());
        let window = stream.recv.window_mut();
        let Some(consumed) = window.consume_late(n) else { return };
        if is_done {
            self.late_credit.add(id, window.take_consumed());
        } else if consumed >= LEAST_CREDIT && consumed >= self.late_threshold() {
            // The peer still has the stream, and counts for it.
            self.credit_now(key);
        }
    }

    /// Returns whether the credit for streams that have ended is worth a frame.
    #[inline]
    pub(super) fn has_late_credit(&self) -> bool {
        let (most, part) = LATE;
        let worth = (self.config.session_receive_memory / part).min(most);
        self.late_credit.pending >= worth as u64 && self.late_credit.carrier.is_some() && !self.has_ended()
    }

    /// Takes the credit for streams that have ended, if it is worth a frame, and the id that it is sent for.
    pub(super) fn take_late_credit(&mut self) -> Option<(StreamId, u32)> {
        if !self.has_late_credit() {
            return None;
        }
        // An id that is in use again cannot stand for others.
        let id = self.late_credit.carrier.take().filter(|id| !self.store.is_id_taken(*id))?;
        let credit = self.late_credit.pending.min(StreamId::MAX.into()) as u32;
        self.late_credit.pending -= u64::from(credit);
        Some((id, credit))
    }
}
