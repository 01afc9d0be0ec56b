//! What a server has of connections, and what they hold.

/// What a [`Server`](crate::Server) has of connections, and what it holds for all of them together.
///
/// ```
/// # async fn example(server: &muxado_rpc::Server) {
/// let stats = server.stats();
/// println!("{} connections hold {} bytes for calls", stats.connections, stats.call_bytes);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections whose session has begun and not ended.
    pub connections: u64,
    /// Connections that were closed before their session, since the server's start: those over
    /// [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address), and those that
    /// [`ServerBuilder::access`](crate::ServerBuilder::access) refused.
    pub refused_connections: u64,
    /// Connections that are in their handshake, or before the end of the header of a proxy; see
    /// [`Limits::max_handshakes`](crate::Limits::max_handshakes).
    pub handshakes: u64,
    /// Connections whose handshake has failed, took too long or gave way to another one, since the server's start: that of TLS, or that of
    /// [`ServerBuilder::handshake`](crate::ServerBuilder::handshake).
    pub failed_handshakes: u64,
    /// Bytes held now for requests and for responses that wait for their callers, of all connections, as
    /// [`ServerBuilder::max_memory`](crate::ServerBuilder::max_memory) counts them.
    pub call_bytes: u64,
    /// Handlers that run now although their connection has ended: see
    /// [`Limits::max_detached_handlers`](crate::Limits::max_detached_handlers).
    pub detached_handlers: u64,
}
