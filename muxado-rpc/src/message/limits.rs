//! What one peer lets the other make it hold or wait for.

mod send;

use std::time::Duration;

pub(crate) use self::send::{SendLimit, SendLimits};
use crate::{message::metadata::MAX_METADATA, support::budget::MemoryLimits, wire::LENGTH_PREFIX};

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
    pub(crate) max_response_memory: usize,
    pub(crate) max_detached_handlers: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: 16 * 1024 * 1024,
            max_metadata_size: 16 * 1024,
            max_request_memory: 256 * 1024 * 1024,
            max_response_memory: 256 * 1024 * 1024,
            max_detached_handlers: 1024,
            max_in_flight: 1024,
            first_byte_timeout: Duration::from_secs(10),
            max_connections: 10_000,
            max_connections_per_address: 1_000,
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
        self.max_request_memory.max(self.largest_message())
    }

    /// Bytes of responses that may wait for their callers on one connection, all together. Default 256 MiB; at
    /// least one message of [`max_message_size`](Self::max_message_size) with the 4 bytes of its length, less is
    /// raised to that.
    ///
    /// A response is counted when the stream does not take it at once, because its caller does not read or the
    /// network is slow, until it is out. The items of a stream are counted by what is encoded of them and waits. A
    /// response that is sent at once is not counted, nor is one of less than 1 KiB.
    ///
    /// Where there is no room, the call whose response has held most bytes for longest fails with
    /// `resource_exhausted`; if a part of its response is out already its stream is reset, which its caller sees
    /// as the same. A line in the log says so. From then on, until half of what waited is out, further calls of
    /// the connection are refused with `resource_exhausted` as not executed.
    ///
    /// What waits now is in [`CallStats::response_bytes`](crate::CallStats::response_bytes).
    #[must_use]
    pub fn max_response_memory(mut self, bytes: usize) -> Self {
        self.max_response_memory = bytes;
        self
    }

    fn largest_message(&self) -> usize {
        self.max_message_size + LENGTH_PREFIX
    }

    /// What the calls of one connection may hold.
    pub(crate) fn memory(&self) -> MemoryLimits {
        let (requests, largest) = (self.request_memory(), self.largest_message());
        MemoryLimits {
            requests,
            unauthorised: (requests / 4).max(largest),
            responses: self.max_response_memory.max(largest),
        }
    }

    /// Handlers of methods with `#[method(no_cancel)]` that may run on after their connection has ended: those of
    /// all connections of a [`Server`](crate::Server) or a [`Reconnect`](crate::Reconnect) together, or those of
    /// one [`Peer`](crate::Peer). Default 1024; 0 means that none runs on.
    ///
    /// As long as there are so many, further calls of such methods are refused with `resource_exhausted` as not
    /// executed. Of handlers that run when their connection ends, those over the limit are dropped, and the log
    /// says so: without a bound, a peer that calls and disconnects, again and again, could have any number run.
    /// A method that must not be dropped even then spawns a task of its own, and bounds the number of those.
    #[must_use]
    pub fn max_detached_handlers(mut self, handlers: usize) -> Self {
        self.max_detached_handlers = handlers;
        self
    }

    /// Bytes of all names and values in the metadata of one message, sent or received.
    /// Default 16 KiB, at most 256 KiB; more is clamped. Received metadata of over 16 384 entries is
    /// over every limit.
    #[must_use]
    pub fn max_metadata_size(mut self, bytes: usize) -> Self {
        self.max_metadata_size = bytes.min(MAX_METADATA);
        self
    }

    /// Calls of the peer that are served at a time on one connection. Default 1024, at least 1.
    ///
    /// Further calls wait in the session's backlog ([`muxado::Config::accept_backlog`]); beyond it
    /// they are refused as not executed. A call counts until its handler is gone and its answer is
    /// sent.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
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

    /// Connections of a [`Server`](crate::Server) at a time that come from one address. Default 1000, a tenth of
    /// [`max_connections`](Self::max_connections); at least 1, `usize::MAX` is no limit. Further ones are closed at
    /// once: the log says so, and [`ServerStats::refused_connections`](crate::ServerStats::refused_connections)
    /// counts them.
    ///
    /// An address is one of IPv4, or the 64 bits of one of IPv6 that name a network: its owner has all the others.
    /// Behind a proxy, all connections come from the proxy's address: there the limit is to be set to that of all
    /// connections, and the proxy's own takes its place. Connections of Unix sockets have no address, and no such
    /// limit.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = connections.max(1);
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
