//! What one peer lets the other make it hold or wait for.

mod send;

use std::time::Duration;

pub(crate) use self::send::{PeerLimits, SendLimit, SendLimits};
use crate::message::{metadata::MAX_METADATA, payload::LENGTH_PREFIX};

/// Limits of a peer. All are on by default; an error over one names it.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::Limits;
///
/// let limits = Limits::default().max_message_size(64 * 1024).max_in_flight(32);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) max_message_size: usize,
    pub(crate) max_metadata_size: usize,
    pub(crate) max_request_memory: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) max_streaming_calls: usize,
    pub(crate) queue_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: 16 * 1024 * 1024,
            max_metadata_size: 16 * 1024,
            max_request_memory: 256 * 1024 * 1024,
            max_in_flight: 1024,
            max_streaming_calls: 1024,
            queue_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(10),
            max_connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Bytes of one message, sent or received. Default 16 MiB; 1 KiB to 1 GiB, others are clamped.
    ///
    /// A larger request fails at the caller, nothing is sent; so does one over the other side's limit,
    /// once that is known ([`Peer::remote`](crate::Peer::remote)). A larger one that arrives is answered
    /// with `resource_exhausted` before more than this is buffered. Costs up to this much memory for
    /// each call that this side makes, and for those that it serves together
    /// [`max_request_memory`](Self::max_request_memory).
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes.clamp(MIN_MESSAGE, MAX_MESSAGE);
        self
    }

    /// Bytes that the requests of the peer may take on one connection, all together. Default 256 MiB;
    /// at least one message of [`max_message_size`](Self::max_message_size) with the 4 bytes of its
    /// length, less is raised to that.
    ///
    /// Counted is the room of each buffer that a request or an item is gathered in: from its second
    /// piece on it is at most 4 times what has come. The room of a request is counted until its handler
    /// is gone, that of an item until the next one is asked for. What comes in one piece is not
    /// gathered, and not counted: it is part of
    /// [`muxado::Config::session_receive_memory`]. A call that does not fit is answered with
    /// `resource_exhausted` at once, others go on.
    ///
    /// Costs up to this much memory a connection; what handlers make of their parameters is theirs.
    #[must_use]
    pub fn max_request_memory(mut self, bytes: usize) -> Self {
        self.max_request_memory = bytes;
        self
    }

    /// What is in effect of that, whatever was set first.
    pub(crate) fn request_memory(&self) -> usize {
        self.max_request_memory.max(self.max_message_size + LENGTH_PREFIX)
    }

    /// Bytes of all names and values in the metadata of one message, sent or received.
    /// Default 16 KiB, at most 256 KiB; more is clamped. Received metadata of over 16 384 entries is
    /// over every limit.
    #[must_use]
    pub fn max_metadata_size(mut self, bytes: usize) -> Self {
        self.max_metadata_size = bytes.min(MAX_METADATA);
        self
    }

    /// Calls of the peer that are served at a time on one connection, without those that stream items, which
    /// [`max_streaming_calls`](Self::max_streaming_calls) bounds. Default 1024, at least 1.
    ///
    /// Further calls wait in the session's backlog ([`muxado::Config::accept_backlog`]), for
    /// [`queue_timeout`](Self::queue_timeout) at most; beyond it they are refused as not executed. A call
    /// counts until its handler is gone and its answer is sent. As long as the queue moves, the oldest call is
    /// begun first; once that one has waited for half of its time, the newest ones are, so that those that are
    /// begun can still be answered in time.
    ///
    /// A call that the peer makes while it serves one of this side's says so (its depth is 1, that of one made
    /// while serving that one 2, and so on up to 8), and does not count here: each depth has a room of its own,
    /// of an eighth of this limit and at least one call, so that calls never wait for those that wait for them.
    /// Depth 8, which those deeper still belong to, refuses instead of waiting. So all together there are at
    /// most `limit + 8 × max(1, limit / 8)` calls, whatever the peer says.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
        self
    }

    /// Calls of the peer that stream items, in either direction, and are served at a time on one connection.
    /// Default 1024, at least 1.
    ///
    /// Such calls may last as long as somebody listens, so they do not count in
    /// [`max_in_flight`](Self::max_in_flight). Otherwise they are treated as those: further ones wait, and
    /// each depth has a room of its own.
    #[must_use]
    pub fn max_streaming_calls(mut self, calls: usize) -> Self {
        self.max_streaming_calls = calls.max(1);
        self
    }

    /// How long a call may wait before it begins, or its own time limit if that is less. Default 10 s; with zero
    /// no call waits.
    ///
    /// It holds for calls of the peer that wait for room among those that are served
    /// ([`max_in_flight`](Self::max_in_flight), [`max_streaming_calls`](Self::max_streaming_calls)), and for
    /// calls of this side that wait for a stream ([`muxado::Config::max_open_streams`],
    /// [`muxado::Config::max_unacknowledged_opens`]), each on its own. After that the call fails with
    /// `resource_exhausted`, was not executed, and the error names the limit and whose it is; it fails with
    /// `deadline_exceeded` if its own time limit is over first.
    #[must_use]
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.queue_timeout = timeout;
        self
    }

    /// How long a stream of the peer may take from the service id to the first byte of its request.
    /// Default 10 s. After that it is reset, and its place among those in flight is free.
    #[must_use]
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.first_byte_timeout = timeout;
        self
    }

    /// Connections of a [`Server`](crate::Server) at a time. Default 10 000, at least 1. Further ones
    /// wait in the listener's backlog.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }
    /// How long the [`Handshake`](crate::Handshake) of a connection may take. Default 10 s. After that
    /// the connection is closed; until then it is one of
    /// [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }
}

/// Bounds of [`Limits::max_message_size`]: what any message needs, and what no message should.
pub(crate) const MIN_MESSAGE: usize = 1024;
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024 * 1024;
