//! What a peer may cost: frames that are of no use to anybody (`PROTOCOL §11`).

use super::error::ProtocolError;

/// Useless frames that a peer may still send.
///
/// It begins with [`BUDGET`](Self::BUDGET), and payload and streams that end in good order add to it.
#[derive(Debug)]
pub(super) struct AbuseBudget {
    left: u32,
    /// Bytes of payload that have not added anything yet.
    unrewarded: u32,
    /// Frames of credit, and resets for streams that are closed, that came.
    control_frames: u64,
}

impl AbuseBudget {
    /// Useless frames that a peer may send before it has done anything useful, and the most that it may have left.
    const BUDGET: u32 = 10_000;

    /// Bytes of payload that allow for one useless frame.
    const BYTES_PER_FRAME: u32 = 64;

    /// Useless frames for which a stream allows: what the other implementations send late for one, of their own
    /// accord or because a reset was still on its way to them.
    const PER_STREAM: u32 = 8;

    pub(super) const fn new() -> Self {
        Self { left: Self::BUDGET, unrewarded: 0, control_frames: 0 }
    }

    /// Adds to the budget for payload that came.
    pub(super) fn reward_payload(&mut self, length: u32) {
        let bytes = self.unrewarded + length;
        self.add(bytes / Self::BYTES_PER_FRAME);
        self.unrewarded = bytes % Self::BYTES_PER_FRAME;
    }

    /// Adds to the budget for a stream that ended in good order.
    pub(super) fn reward_stream(&mut self) {
        self.add(Self::PER_STREAM);
    }

    fn add(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(Self::BUDGET);
    }

    /// Charges a useless frame; `what` names its kind in the plural.
    pub(super) fn charge(&mut self, what: &'static str) -> Result<(), ProtocolError> {
        self.left = self.left.checked_sub(1).ok_or(ProtocolError::Excessive(what))?;
        Ok(())
    }

    /// Charges a frame of credit, or a reset for a stream that is closed.
    ///
    /// Both other implementations send credit for every read and a reset for every late frame, so an honest peer
    /// never sends more of them than it was sent bytes.
    pub(super) fn charge_control(
        &mut self,
        what: &'static str,
        bytes_sent: u64,
    ) -> Result<(), ProtocolError> {
        self.control_frames += 1;
        if self.control_frames > bytes_sent + u64::from(Self::BUDGET) {
            return Err(ProtocolError::Excessive(what));
        }
        Ok(())
    }
}
