//! A response that waits for its caller to read: its memory is counted, and may have to be given up.

use std::task::{Context, Poll, ready};

use bytes::Buf;
use muxado::ErrorCode;

use crate::{
    Codec, Status,
    connection::{metrics::CallGuard, shared::ConnectionShared},
    message::payload::OutboundMessage,
    stream::half::WriteHalf,
    support::budget::{Exhausted, Purpose, Reservation},
    wire::encode_response,
};

/// The last message of a response, which its stream has not taken yet.
#[derive(Debug)]
pub(super) struct WaitingResponse {
    message: OutboundMessage,
    /// The bytes it had before the first of them was sent: its buffer stays whole until the last is.
    whole: usize,
    codec: Codec,
    /// It is a status.
    is_status: bool,
    held: Reservation,
}

impl WaitingResponse {
    /// Returns a response of `whole` bytes, of which `message` are not sent yet.
    pub(super) fn new(
        shared: &ConnectionShared,
        message: OutboundMessage,
        whole: usize,
        codec: Codec,
        is_status: bool,
    ) -> Self {
        let held = Reservation::of(shared.memory(), Purpose::Response);
        Self { message, whole, codec, is_status, held }
    }

    /// Returns the end of a response whose other items are sent.
    pub(super) fn end_of_items(
        shared: &ConnectionShared,
        message: Vec<u8>,
        codec: Codec,
        is_status: bool,
    ) -> Self {
        // Whatever was sent, it is not all that there was to send.
        let whole = message.len() + 1;
        Self::new(shared, OutboundMessage::new(message), whole, codec, is_status)
    }

    /// Ready once the response is sent, or will not be: its caller has gone, or there is no room for it.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut WriteHalf,
        guard: &mut CallGuard,
    ) -> Poll<()> {
        loop {
            guard.answer(self.is_status);
            let written = out.poll_write_final(cx, &mut self.message);
            if let Poll::Ready(Ok(())) = written {
                return Poll::Ready(());
            }
            guard.take_back();
            if written.is_ready() {
                // A caller that has gone needs no response.
                return Poll::Ready(());
            }
            let exhausted = ready!(self.held.poll_hold(cx, self.whole));
            note_thrown_away(guard.shared(), exhausted);
            if self.message.remaining() < self.whole {
                give_up(out, guard);
                return Poll::Ready(());
            }
            // Nothing of it is sent: a status says so in its place.
            let status = Status::resource_exhausted(format!("the response has {exhausted}"));
            self.message = encode_response(self.codec, Err(status), guard.shared().send_limits());
            self.whole = self.message.remaining();
            self.is_status = true;
            self.held = Reservation::default();
        }
    }
}

/// Ends a call of whose response a part is sent.
pub(super) fn give_up(out: &mut WriteHalf, guard: &mut CallGuard) {
    out.reset(ErrorCode::ENHANCE_YOUR_CALM);
    guard.answer(true);
}

/// Says in the log that a response is not sent.
pub(super) fn note_thrown_away(shared: &ConnectionShared, exhausted: Exhausted) {
    if let Some(line) = shared.log().admit() {
        let (peer, suppressed) = (shared.peer(), line.suppressed);
        tracing::warn!(%peer, suppressed, "a response that waited for its caller has {exhausted}");
    }
}
