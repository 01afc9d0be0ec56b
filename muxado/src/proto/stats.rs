//! Counters of a session.

use std::time::Duration;

/// Counters of a session, and what it holds now. All counts are since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Frames put into the output.
    pub frames_sent: u64,
    /// Frame headers read.
    pub frames_received: u64,
    /// Bytes put into the output, headers included.
    pub bytes_sent: u64,
    /// Bytes read, headers included.
    pub bytes_received: u64,
    /// Streams opened by this side that reached the wire.
    pub streams_opened: u64,
    /// Streams of the peer that were taken into the backlog.
    pub streams_accepted: u64,
    /// Streams of the peer that were refused.
    pub streams_refused: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Resets received.
    pub resets_received: u64,
    /// Times a stream had data to send and no window.
    pub window_stalls: u64,
    /// Streams of both sides that are open now, without control streams.
    pub streams_open: usize,
    /// Received bytes that nobody has read yet.
    pub bytes_unread: usize,
    /// Written bytes that are not in frames yet.
    pub bytes_unsent: usize,
    /// Of these, those for which the peer gives no credit.
    pub bytes_stalled: usize,
    /// Streams that wait for credit, or for the rest of a message. They are counted every now and then: some may have
    /// gone on.
    pub streams_stalled: usize,
    /// Streams that were reset because of [`Config::stall_timeout`](crate::Config::stall_timeout).
    pub stall_resets: u64,
    /// The round trip of the last heartbeat.
    pub round_trip: Option<Duration>,
}
