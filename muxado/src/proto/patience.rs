//! What a peer may cost: answers that it does not read, and frames of no use (`PROTOCOL §11`).

use super::{
    frame::{ProtocolError, StreamId},
    session::{PATIENCE, Session},
};
use crate::error::ErrorCode;

/// Most replies to unknown streams that may wait to be sent: 64 KiB of frames.
const MAX_REPLIES: usize = 64 * 1024 / 12;

/// Bytes of payload that allow for one useless frame.
const BYTES_PER_PATIENCE: u32 = 64;

impl Session {
    pub(super) fn reply(&mut self, id: StreamId, code: ErrorCode) -> Result<(), ProtocolError> {
        if self.replies.len() >= MAX_REPLIES {
            return Err(ProtocolError::Excessive("over 64 KiB of answers that it does not read"));
        }
        self.replies.push_back((id.as_u32(), code));
        Ok(())
    }

    /// Every so many bytes of payload allow for one useless frame.
    pub(super) fn earn_patience(&mut self, length: u32) {
        let bytes = self.unrewarded + length;
        self.patience = self.patience.saturating_add(bytes / BYTES_PER_PATIENCE).min(PATIENCE);
        self.unrewarded = bytes % BYTES_PER_PATIENCE;
    }

    /// Counts a frame of credit, or a reset for a stream that is closed. Both other implementations send credit for
    /// every read and a reset for every late frame, so an honest peer never sends more of them than we have sent
    /// bytes.
    pub(super) fn note_control(&mut self, what: &'static str) -> Result<(), ProtocolError> {
        self.control_received += 1;
        if self.control_received > self.stats.bytes_sent + u64::from(PATIENCE) {
            return Err(ProtocolError::Excessive(what));
        }
        Ok(())
    }

    pub(super) fn lose_patience(&mut self, what: &'static str) -> Result<(), ProtocolError> {
        self.patience = self.patience.checked_sub(1).ok_or(ProtocolError::Excessive(what))?;
        Ok(())
    }
}
