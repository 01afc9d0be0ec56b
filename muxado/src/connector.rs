//! Sessions as connectors: a client of HTTP opens a stream where it would open a connection.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tower_service::Service;

use crate::{
    error::OpenError,
    session::{Open, Session},
    stream::Stream,
};

/// A connector for the clients of hyper-util and tonic, whose connections are streams of a session.
///
/// It takes any target, such as a `Uri`, and looks at nothing in it: where the requests go is decided by the peer, whose
/// server sees host and path as in any request. The connector is a handle of its session, and keeps it open.
///
/// ```
/// # async fn example(session: muxado::Session, body: String) -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
///
/// let client: Client<_, String> = Client::builder(TokioExecutor::new()).build(session.connector());
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
///
/// A tonic channel: `Endpoint::from_static("http://agent").connect_with_connector(session.connector())`, with
/// `connect_with_connector_lazy` where the channel is to try again after a failure.
///
/// # Waiting and failing
///
/// Opening costs no round trip. It waits while as many streams are open as [`Session::open`] allows, and fails with
/// [`OpenError`] once the session has ended or either side goes away. A connection that the peer refuses, because nobody
/// accepts or its limits are reached, fails where it is used, with a
/// [`Reset`](crate::ReadError::Reset) among the sources of the client's error.
///
/// # Cancel safety
///
/// Dropping the future of a connection gives up its place among those who wait, and nothing else.
#[derive(Clone, Debug)]
pub struct SessionConnector {
    session: Session,
}

impl Session {
    /// Returns a connector for clients of HTTP, whose connections are streams of this session.
    ///
    /// Needs the feature `hyper`.
    pub fn connector(&self) -> SessionConnector {
        SessionConnector { session: self.clone() }
    }
}

impl<Target> Service<Target> for SessionConnector {
    type Response = TokioIo<Stream>;
    type Error = OpenError;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), OpenError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _target: Target) -> Connecting {
        Connecting { open: self.session.open() }
    }
}

/// The future of a connection that a [`SessionConnector`] makes.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Connecting {
    open: Open,
}

impl Future for Connecting {
    type Output = Result<TokioIo<Stream>, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.open).poll(cx).map_ok(TokioIo::new)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.peer_addr())
    }
}
