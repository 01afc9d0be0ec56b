//! Limits on what a peer may make this side hold or wait for.

mod send;

use std::time::Duration;

pub(crate) use self::send::{PeerLimits, SendLimit, SendLimits};
use crate::{
    message::{metadata::MAX_METADATA, payload::LENGTH_PREFIX},
    support::budget::MemoryLimits,
};

/// Limits on messages, calls and connections. All are on by default, and the errors they cause name them.
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
    pub(crate) max_streaming_calls: usize,
    pub(crate) queue_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) max_handshakes: usize,
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
            max_streaming_calls: 1024,
            queue_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(10),
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            max_handshakes: 1_000,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Sets the size of the largest message, sent or received, in bytes. Default 16 MiB; clamped to 1 KiB..=1 GiB.
    ///
    /// A larger request fails at the caller before anything is sent, and so does a request over the peer's limit, once
    /// that is known ([`Peer::known_capabilities`](crate::Peer::known_capabilities)). A larger request that arrives is refused with
    /// `resource_exhausted` before more than this is buffered. Each call that this side makes takes up to this much
    /// memory; all calls that it serves take up to [`max_request_memory`](Self::max_request_memory) together.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes.clamp(MIN_MESSAGE, MAX_MESSAGE);
        self
    }

    /// Sets how much memory the peer's requests may take on one connection together, in bytes. Default 256 MiB; raised
    /// to one message of [`max_message_size`](Self::max_message_size) and the 4 bytes of its length.
    ///
    /// A request or item that arrives in several pieces is gathered in a buffer, whose capacity is counted: at most 4
    /// times the bytes received. A request counts until its handler is gone, an item until the next one is asked for.
    /// A message that arrives in one piece is not gathered and does not count; it is part of
    /// [`muxado::Config::session_receive_memory`]. A call that does not fit is refused at once with
    /// `resource_exhausted`; others go on.
    ///
    /// What handlers make of their parameters does not count.
    #[must_use]
    pub fn max_request_memory(mut self, bytes: usize) -> Self {
        self.max_request_memory = bytes;
        self
    }

    /// Returns the limit on the memory of requests that is in effect, in whichever order the limits were set.
    pub(crate) fn request_memory(&self) -> usize {
        self.max_request_memory.max(self.largest_message())
    }

    /// Sets how many bytes of responses may wait for their callers on one connection, all together. Default 256 MiB;
    /// raised to one message of [`max_message_size`](Self::max_message_size) with the 4 bytes of its length.
    ///
    /// A response is counted from when its stream does not take all of it, because the caller does not read or the
    /// network is slow, until its last byte is sent. Of a stream of items, the encoded items that wait are counted. A
    /// response that is sent at once is not counted, nor is one of less than 1 KiB.
    ///
    /// Over the limit, the call whose response has held most bytes for longest fails with `resource_exhausted`. If a
    /// part of its response is sent already, its stream is reset, which its caller sees as the same status. A line in
    /// the log says so. Then, until half of the waiting bytes are sent, further calls of the connection are refused
    /// with `resource_exhausted`, as not executed.
    ///
    /// [`CallStats::response_bytes`](crate::CallStats::response_bytes) tells how many bytes wait now.
    #[must_use]
    pub fn max_response_memory(mut self, bytes: usize) -> Self {
        self.max_response_memory = bytes;
        self
    }

    fn largest_message(&self) -> usize {
        self.max_message_size + LENGTH_PREFIX
    }

    /// Returns what the calls of one connection may hold.
    pub(crate) fn memory(&self) -> MemoryLimits {
        let (requests, largest) = (self.request_memory(), self.largest_message());
        MemoryLimits {
            requests,
            unauthorised: (requests / 4).max(largest),
            responses: self.max_response_memory.max(largest),
        }
    }

    /// Sets how many handlers of methods with `#[method(no_cancel)]` may run on after their connection has ended: those
    /// of all connections of a [`Server`](crate::Server) or a [`Reconnect`](crate::Reconnect) together, or of one
    /// [`Peer`](crate::Peer). Default 1024; with 0 none runs on, and no call of such a method is served.
    ///
    /// While there are this many, further calls of such methods are refused with `resource_exhausted`, as not executed.
    /// Of the handlers that run when their connection ends, those over the limit are dropped, with a line in the log.
    /// Without a limit, a peer that calls, disconnects and connects again could have any number of handlers running.
    /// A method that must not be dropped even then spawns a task of its own and limits the number of such tasks.
    #[must_use]
    pub fn max_detached_handlers(mut self, handlers: usize) -> Self {
        self.max_detached_handlers = handlers;
        self
    }

    /// Sets the size of the metadata of one message, sent or received: the bytes of all names and values. Default
    /// 16 KiB; clamped to 256 KiB. Received metadata with more than 16 384 entries exceeds every limit.
    #[must_use]
    pub fn max_metadata_size(mut self, bytes: usize) -> Self {
        self.max_metadata_size = bytes.min(MAX_METADATA);
        self
    }

    /// Sets how many calls of the peer are served at a time on one connection, not counting those that stream items, which
    /// [`max_streaming_calls`](Self::max_streaming_calls) bounds. Default 1024, at least 1.
    ///
    /// Further calls wait in the session's backlog ([`muxado::Config::accept_backlog`]), for at most
    /// [`queue_timeout`](Self::queue_timeout); calls beyond the backlog are refused as not executed. A call counts until
    /// its handler is gone and its response is sent. As long as the queue moves, the oldest call begins first. Once that
    /// one has waited for half of its time, the newest calls begin first, so that those that begin can still be answered in
    /// time.
    ///
    /// A call that the peer makes while it serves a call of this side has a depth of 1, one made while serving that one a
    /// depth of 2, and so on up to 8. Such calls do not count here: each depth has a room of its own, of an eighth of this
    /// limit and at least one call, so that calls never wait for those that wait for them. Calls of depth 8 and
    /// deeper are refused instead of waiting. In total there are at most `limit + 8 × max(1, limit / 8)` calls, whatever
    /// depth the peer tells.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
        self
    }

    /// Sets how many calls of the peer that stream items, in either direction, are served at a time on one connection.
    /// Default 1024, at least 1.
    ///
    /// Such calls may last as long as somebody listens, so they do not count in
    /// [`max_in_flight`](Self::max_in_flight). Otherwise they are treated like those: further ones wait, and each depth has
    /// a room of its own.
    #[must_use]
    pub fn max_streaming_calls(mut self, calls: usize) -> Self {
        self.max_streaming_calls = calls.max(1);
        self
    }

    /// Sets how long a call may wait before it begins; its own time limit counts if that is less. Default 10 s; with zero
    /// no call waits.
    ///
    /// It applies to calls of the peer that wait for room among those that are served
    /// ([`max_in_flight`](Self::max_in_flight), [`max_streaming_calls`](Self::max_streaming_calls)), and to calls of this
    /// side that wait for a stream ([`muxado::Config::max_open_streams`],
    /// [`muxado::Config::max_unacknowledged_opens`]), separately. After that the call fails with `resource_exhausted`,
    /// was not executed, and the error names the limit and whose it is; it fails with `deadline_exceeded` if its own time
    /// limit passes first.
    #[must_use]
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.queue_timeout = timeout;
        self
    }

    /// Sets how long a call of the peer may take from its service id to the first byte of its request. Default 10 s.
    /// After that the call is reset and no longer counts as in flight.
    #[must_use]
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.first_byte_timeout = timeout;
        self
    }

    /// Sets how many connections a [`Server`](crate::Server) has at a time. Default 10 000, at least 1. Further
    /// connections wait in the listener's backlog.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Sets how many connections of a [`Server`](crate::Server) may come from one address at a time. Default 1000, a
    /// tenth of [`max_connections`](Self::max_connections); at least 1, `usize::MAX` turns the limit off.
    ///
    /// Further connections are closed at once, with a line in the log;
    /// [`ServerStats::refused_connections`](crate::ServerStats::refused_connections) counts them. An IPv4 address counts
    /// by itself, an IPv6 address by its first 64 bits, since a host may use any address of its network. Connections of
    /// Unix sockets have no address and no such limit.
    ///
    /// Behind a proxy all connections come from the address of the proxy: set the limit to
    /// [`max_connections`](Self::max_connections) there, and have the proxy limit its clients.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = connections.max(1);
        self
    }

    /// Sets how many connections of a [`Server`](crate::Server) may be in their handshake at a time: that of TLS, that of
    /// [`ServerBuilder::handshake`](crate::ServerBuilder::handshake), or the header of a proxy. Default 1000, at least 1.
    ///
    /// Then a new connection takes the place of another one, which is closed and counts as a
    /// [failed handshake](crate::ServerStats::failed_handshakes): the oldest from the address with most of them, at once,
    /// if that has more than a quarter, as in [`max_connections_per_address`](Self::max_connections_per_address); else the
    /// oldest of all, once that has taken a quarter of [`handshake_timeout`](Self::handshake_timeout). Until then new
    /// connections wait in the listener's backlog. So peers that begin handshakes and do not go on with them keep nobody
    /// out for long, and many clients that come at once do not push each other out.
    /// [`ServerStats::handshakes`](crate::ServerStats::handshakes) tells how many there are.
    #[must_use]
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes.max(1);
        self
    }

    /// Sets how long all that comes before the session of a connection may take: the header of a proxy, the handshake of
    /// TLS and the [`Handshake`](crate::Handshake) of the application together. Default 10 s. After that the connection
    /// is closed. Until then it counts as one of [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }
}

/// Bounds of [`Limits::max_message_size`]: what any message needs, and what no message should.
pub(crate) const MIN_MESSAGE: usize = 1024;
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024 * 1024;
