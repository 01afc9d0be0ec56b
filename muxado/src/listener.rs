//! Sessions as listeners: the streams that the peer opens are the connections of a server.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    proto::StreamId,
    session::Session,
    shared::{Core, Signal, TransportAddrs, Wait},
    stream::Stream,
};

/// A listener whose connections are the streams that the peer opens.
///
/// Servers that take any kind of connection run over it, and so over a connection that their own side may have opened,
/// from behind a NAT or a firewall. Either end of a session, or both, may listen.
///
/// | server | how |
/// |---|---|
/// | axum, with the feature `axum` | `axum::serve(listener, app)`; see below |
/// | tonic, with the feature `tonic` | `Server::builder().add_service(service).serve_with_incoming_shutdown(listener, ended)` |
/// | hyper | `while let Some(stream) = listener.accept().await { .. }`, each stream in a `hyper_util::rt::TokioIo` |
/// | any that takes `AsyncRead + AsyncWrite` | `while let Some(stream) = listener.accept().await { .. }` |
///
/// # End
///
/// The listener ends once either side goes away or the session ends, and all streams that came before are taken:
/// [`accept`](Self::accept) and the `Stream` of connections then give `None`. `axum::serve` knows no end of a listener,
/// so without `with_graceful_shutdown(listener.ended())` it waits for ever. With it, the server closes the connections
/// that rest as soon as either side calls [`Session::shutdown`], finishes the requests that run, and returns:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # async fn example(session: muxado::Session) -> std::io::Result<()> {
/// use axum::{Router, routing::get};
///
/// let app = Router::new().route("/", get(async || "hello"));
/// let listener = session.into_listener();
/// let ended = listener.ended();
/// axum::serve(listener, app).with_graceful_shutdown(ended).await
/// # }
/// ```
///
/// Dropping the listener refuses the streams that wait, if it was the last handle of its session; what was accepted runs
/// on.
///
/// # Limits
///
/// At most [`Config::accept_backlog`](crate::Config::accept_backlog) streams wait to be accepted, and at most
/// [`Config::max_streams`](crate::Config::max_streams) are open. What is above is refused, which the peer sees as a reset
/// with `ACCEPT_QUEUE_FULL` or `STREAM_REFUSED`. A connection that is not read holds up itself only.
#[derive(Debug)]
pub struct SessionListener {
    session: Session,
}

impl Session {
    /// Turns the handle into a listener whose connections are the streams that the peer opens.
    ///
    /// Other handles of the session are not affected. Streams go to whoever accepts first, so a session has one listener,
    /// as a rule, and nobody else who accepts. On a session with a [`TypedSession`](crate::TypedSession) the types of
    /// streams are taken off, and not looked at.
    pub fn into_listener(self) -> SessionListener {
        SessionListener { session: self }
    }

    /// Says what the two ends of the transport are called, for [`SessionAddr::transport`]. Only the first call counts.
    ///
    /// A session knows its transport as a pair of byte streams, so without this it has no address of it.
    ///
    /// ```
    /// # async fn example(tcp: tokio::net::TcpStream) -> std::io::Result<()> {
    /// use muxado::{Config, Session};
    ///
    /// let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
    /// let (session, driver) = Session::server(tcp, Config::default());
    /// session.set_transport_addrs(local, peer);
    /// # drop(driver);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_transport_addrs(&self, local: SocketAddr, peer: SocketAddr) {
        self.shared.transport_addrs.get_or_init(|| Box::new(TransportAddrs { local, peer }));
    }

    /// Returns the address of this side's end of the session.
    pub fn local_addr(&self) -> SessionAddr {
        let addrs = self.shared.transport_addrs.get();
        SessionAddr { transport: addrs.map(|addrs| addrs.local), stream: None }
    }

    /// Returns the address of the peer's end of the session.
    pub fn peer_addr(&self) -> SessionAddr {
        let addrs = self.shared.transport_addrs.get();
        SessionAddr { transport: addrs.map(|addrs| addrs.peer), stream: None }
    }
}

impl Stream {
    /// Returns the address of the peer's end of the stream.
    pub fn peer_addr(&self) -> SessionAddr {
        let addrs = self.inner().shared.transport_addrs.get();
        SessionAddr { transport: addrs.map(|addrs| addrs.peer), stream: self.id() }
    }
}

impl SessionListener {
    /// Takes the next connection. Returns `None` at the [end](Self#end) of the listener.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when the future is dropped.
    pub async fn accept(&mut self) -> Option<Stream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection. Returns `None` at the [end](Self#end) of the listener.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        let Session { shared, waiter, .. } = &self.session;
        shared.with(|core| match self.session.poll_accept_from(core) {
            Poll::Ready(accepted) => Poll::Ready(accepted.map(|(stream, _)| stream)),
            Poll::Pending if core.proto.refuses_opens() => Poll::Ready(None),
            Poll::Pending => {
                core.wait(Signal::Acceptable, *waiter, cx);
                core.wait(Signal::GoingAway, *waiter, cx);
                Poll::Pending
            }
        })
    }

    /// Waits for the [end](Self#end) of the listener. The future borrows nothing and does not keep the session open, so it
    /// suits `with_graceful_shutdown` of axum and `serve_with_incoming_shutdown` of tonic.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again at any time, also after the end.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let shared = std::sync::Arc::clone(&self.session.shared);
        async move {
            let has_ended =
                |core: &mut Core| match core.proto.refuses_opens() && core.proto.backlog_len() == 0 {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                };
            Wait::new(&shared, Signal::GoingAway, has_ended).await;
        }
    }

    /// Returns the address of this side's end of the session.
    pub fn local_addr(&self) -> SessionAddr {
        self.session.local_addr()
    }

    /// Returns the session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the handle that the listener was made of. Streams that wait stay to be accepted.
    pub fn into_session(self) -> Session {
        self.session.clone()
    }
}

impl Drop for SessionListener {
    fn drop(&mut self) {
        let Session { shared, waiter, .. } = &self.session;
        shared.with(|core| core.stop_waiting(Signal::GoingAway, *waiter));
    }
}

/// The connections as a stream, which never brings an error: what tonic's `serve_with_incoming` takes.
impl futures_core::Stream for SessionListener {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_accept(cx).map(|accepted| accepted.map(Ok))
    }
}

/// The address of an end of a session or of a stream.
///
/// It is what handlers learn of where a request came from: in axum by `ConnectInfo<SessionAddr>` with
/// `into_make_service_with_connect_info::<SessionAddr>()`, in tonic by `request.extensions().get::<SessionAddr>()`.
///
/// Shown, it is `127.0.0.1:4000, stream 3`; a part that is not known is left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionAddr {
    transport: Option<SocketAddr>,
    stream: Option<StreamId>,
}

impl SessionAddr {
    /// Returns the address of the transport, if [`Session::set_transport_addrs`] was called.
    pub fn transport(&self) -> Option<SocketAddr> {
        self.transport
    }

    /// Returns the number of the stream; `None` for the session itself, and for a stream that the peer has not heard of.
    pub fn stream_id(&self) -> Option<StreamId> {
        self.stream
    }
}

impl fmt::Display for SessionAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.transport, self.stream) {
            (Some(transport), Some(stream)) => write!(f, "{transport}, stream {stream}"),
            (Some(transport), None) => write!(f, "{transport}"),
            (None, Some(stream)) => write!(f, "stream {stream}"),
            (None, None) => f.write_str("a session"),
        }
    }
}

#[cfg(feature = "axum")]
mod axum_serve {
    use std::{
        future::{pending, poll_fn},
        io,
    };

    use axum::{
        extract::connect_info::Connected,
        serve::{IncomingStream, Listener},
    };

    use super::{SessionAddr, SessionListener};
    use crate::stream::Stream;

    impl Listener for SessionListener {
        type Io = Stream;
        type Addr = SessionAddr;

        async fn accept(&mut self) -> (Stream, SessionAddr) {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Some(stream) => {
                    let addr = stream.peer_addr();
                    (stream, addr)
                }
                // There is no word for the end here: `ended` tells of it.
                None => pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<SessionAddr> {
            Ok(self.session.local_addr())
        }
    }

    impl Connected<IncomingStream<'_, SessionListener>> for SessionAddr {
        fn connect_info(stream: IncomingStream<'_, SessionListener>) -> Self {
            *stream.remote_addr()
        }
    }
}

#[cfg(feature = "tonic")]
impl tonic::transport::server::Connected for Stream {
    type ConnectInfo = SessionAddr;

    fn connect_info(&self) -> SessionAddr {
        self.peer_addr()
    }
}
