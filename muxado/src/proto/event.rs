//! What the driver of a session learns from it.

use super::stream::StreamKey;

/// Something that the driver of a session has to tell somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A stream has data, its end, or a reset: wake its reader.
    Readable(StreamKey),
    /// A stream has room, or a reset: wake its writer.
    Writable(StreamKey),
    /// A stream waits to be accepted.
    Acceptable,
    /// So many more streams may be opened.
    OpenCapacity,
    /// A heartbeat came back, failed, or will never come.
    Heartbeat,
    /// The peer's control stream came, or the first sign that the peer is of this family.
    Control,
    /// The time of [`Session::poll_timeout`](super::Session::poll_timeout) came nearer outside of input
    /// and timeouts.
    Timer,
    /// All streams have ended; whoever waits for that may go on.
    Idle,
    /// The session has ended: wake everybody.
    Ended,
}
