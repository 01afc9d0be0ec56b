//! Credit for what was read of streams, as far as it concerns the session's memory (`PROTOCOL §5.6`).
//!
//! The peer counts what is unread on all streams together. So it is told of what was read behind the end of a stream,
//! too, and soon enough: what was read and not credited yet must never fill the memory by itself.

use super::{
    frame::{FrameHeader, FrameType, StreamId},
    peer_memory::FREE,
    session::Session,
    stream::{RecvState, SendState, StreamKey},
};

/// What is owed for streams that have ended.
#[derive(Debug, Default)]
pub(super) struct LateCredit {
    /// Bytes, for which any of these streams can stand.
    owed: u64,
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

impl Session {
    /// Consumed bytes of a stream after which credit goes back. What waits for that on all streams is at most an
    /// eighth of the session's memory.
    pub(super) fn credit_threshold(&mut self) -> u32 {
        let (streams, memory) = (self.streams_in_use(), self.config.session_receive_memory);
        let usual = self.config.credit_threshold(streams == 1);
        if self.late_credit.pressed {
            self.late_credit.pressed = self.bytes_unread > memory / 8;
            return usual.min(PRESSED_CREDIT);
        }
        if streams * usual as usize <= memory / 8 {
            return usual;
        }
        let share = u32::try_from(memory / 8 / streams.max(1)).unwrap_or(u32::MAX);
        usual.min(share.max(LEAST_CREDIT))
    }

    /// The same behind the end of a stream: nobody waits for it to go on.
    fn late_threshold(&mut self) -> u32 {
        let usual = self.credit_threshold();
        if self.late_credit.pressed {
            return usual;
        }
        let share = self.config.session_receive_memory / 8 / self.streams_in_use().max(1);
        usual.max(self.config.window_size.min(u32::try_from(share).unwrap_or(u32::MAX)))
    }

    /// Much is unread: the peer may soon have to wait with all but the first bytes of each stream, for which it needs
    /// credit sooner.
    pub(super) fn press_credit(&mut self) {
        if std::mem::replace(&mut self.late_credit.pressed, true) {
            return;
        }
        let owes = |stream: &super::stream::Stream| {
            stream.consumed >= PRESSED_CREDIT && stream.recv != RecvState::Reset && !stream.control
        };
        let keys: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, stream)| owes(stream))
            .map(|(index, stream)| StreamKey { index: index as u32, serial: stream.serial })
            .collect();
        keys.into_iter().for_each(|key| self.credit_now(key));
    }

    /// The peer has finished a stream: from here on only what it counts is credited.
    pub(super) fn begin_late_credit(&mut self, key: StreamKey) {
        let (window, is_counted) = (self.config.window_size, self.peer_is_family());
        let Some(stream) = self.stream_mut(key) else { return };
        let counted =
            if is_counted && stream.received > FREE { window.saturating_sub(stream.recv_window) } else { 0 };
        stream.consumed = stream.consumed.min(counted);
        stream.late = counted - stream.consumed;
        if let Some(growth) = &mut stream.growth {
            growth.extra = 0;
        }
    }

    /// Counts what was read behind the end of a stream.
    pub(super) fn consumed_late(&mut self, key: StreamKey, n: usize) {
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.late > 0) else { return };
        let n = stream.late.min(u32::try_from(n).unwrap_or(u32::MAX));
        stream.late -= n;
        stream.consumed += n;
        let consumed = stream.consumed;
        if stream.send == SendState::Done {
            self.owe_late_credit(key);
        } else if consumed >= LEAST_CREDIT && consumed >= self.late_threshold() {
            // The peer still has the stream, and counts for it.
            self.credit_now(key);
        }
    }

    /// The peer has no stream any more to which what was read could be credited.
    pub(super) fn owe_late_credit(&mut self, key: StreamKey) {
        let Some(stream) = self.stream_mut(key).filter(|stream| stream.recv != RecvState::Open) else {
            return;
        };
        let consumed = std::mem::take(&mut stream.consumed);
        let id = stream.id;
        if consumed > 0 {
            self.late_credit.owed += u64::from(consumed);
            self.late_credit.carrier = id;
        }
    }

    /// A stream goes, and what is unread of it.
    pub(super) fn forget_unread(&mut self, key: StreamKey) {
        if let Some(stream) = self.stream_mut(key).filter(|stream| stream.recv != RecvState::Open) {
            stream.consumed += std::mem::take(&mut stream.late);
            self.owe_late_credit(key);
        }
    }

    /// Whether the credit for streams that have ended is worth a frame.
    pub(super) fn owes_late_credit(&self) -> bool {
        let (most, part) = LATE;
        let worth = (self.config.session_receive_memory / part).min(most);
        self.late_credit.owed >= worth as u64 && self.late_credit.carrier.is_some() && self.end.is_none()
    }

    pub(super) fn put_late_credit(&mut self) {
        if !self.owes_late_credit() {
            return;
        }
        // An id that is in use again cannot stand for others.
        let Some(id) = self.late_credit.carrier.take().filter(|id| self.key_of(*id).is_none()) else {
            return;
        };
        let credit = self.late_credit.owed.min(StreamId::MAX.into()) as u32;
        self.late_credit.owed -= u64::from(credit);
        self.put_header(FrameHeader {
            length: 4,
            frame_type: FrameType::WNDINC,
            flags: super::frame::Flags::NONE,
            stream_id: id.as_u32(),
        });
        self.out.put_u32(credit);
    }
}
