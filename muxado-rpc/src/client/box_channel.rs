//! A channel of any stack of layers, behind one type.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{BoxError, Request, Response, Status, message::status::from_box_error};

/// A channel of any Tower stack: `Clone`, `Send` and `Sync`, and of one type, whatever is inside.
///
/// A program that puts layers around a channel need not name `Retry<RetryPolicy, Timeout<Buffer<..>>>` where it keeps the
/// client: `GreeterClient<BoxChannel>` will do. A call costs two more allocations than over the stack itself.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::{BoxChannel, Peer, layers::RetryPolicy};
/// use tower::{ServiceBuilder, retry::RetryLayer, timeout::TimeoutLayer};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// struct App {
///     greeter: GreeterClient<BoxChannel>,
/// }
///
/// fn app(peer: &Peer) -> App {
///     let stack = ServiceBuilder::new()
///         .layer(RetryLayer::new(RetryPolicy::new(3)))
///         .layer(TimeoutLayer::new(Duration::from_secs(1)))
///         .service(peer.channel());
///     App { greeter: GreeterClient::new(BoxChannel::new(stack)) }
/// }
///
/// # async fn example(app: App) {
/// let greeter = app.greeter.clone();
/// tokio::spawn(async move { greeter.hello("Eve".to_owned()).await });
/// # }
/// # let _ = app;
/// ```
pub struct BoxChannel {
    channel: Box<dyn CloneChannel>,
}

type Call = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

/// A stack whose type is forgotten.
trait CloneChannel: Send + Sync {
    fn clone_channel(&self) -> Box<dyn CloneChannel>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>>;

    fn call(&mut self, request: Request) -> Call;
}

/// A stack. Its errors become statuses.
struct Stack<S>(S);

impl<S> CloneChannel for Stack<S>
where
    S: Service<Request, Response = Response> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    fn clone_channel(&self) -> Box<dyn CloneChannel> {
        Box::new(Self(self.0.clone()))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx).map_err(|error| from_box_error(error.into()))
    }

    fn call(&mut self, request: Request) -> Call {
        let call = self.0.call(request);
        Box::pin(async move { call.await.map_err(|error| from_box_error(error.into())) })
    }
}

impl BoxChannel {
    /// Puts a stack behind the one type.
    ///
    /// A stack that cannot be cloned goes into Tower's `Buffer` first, `Balance` for instance.
    pub fn new<S>(stack: S) -> Self
    where
        S: Service<Request, Response = Response> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        Self { channel: Box::new(Stack(stack)) }
    }

    /// Returns a layer that does so, for the top of a `ServiceBuilder`.
    ///
    /// ```
    /// use muxado_rpc::{BoxChannel, Channel, layers::TraceLayer};
    /// use tower::ServiceBuilder;
    ///
    /// fn traced(channel: Channel) -> BoxChannel {
    ///     ServiceBuilder::new().layer(BoxChannel::layer()).layer(TraceLayer::client()).service(channel)
    /// }
    /// # let _ = traced;
    /// ```
    pub const fn layer() -> BoxChannelLayer {
        BoxChannelLayer { _private: () }
    }
}

impl Clone for BoxChannel {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone_channel() }
    }
}

impl Service<Request> for BoxChannel {
    type Response = Response;
    type Error = Status;
    type Future = BoxCall;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> BoxCall {
        BoxCall { call: self.channel.call(request) }
    }
}

impl fmt::Debug for BoxChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxChannel").finish_non_exhaustive()
    }
}

/// A call over a [`BoxChannel`]. Dropping it drops the call of the stack inside.
#[must_use = "futures do nothing unless polled"]
pub struct BoxCall {
    call: Call,
}

impl Future for BoxCall {
    type Output = Result<Response, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.as_mut().poll(cx)
    }
}

impl fmt::Debug for BoxCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxCall").finish_non_exhaustive()
    }
}

/// Makes a [`BoxChannel`] of what is inside; see [`BoxChannel::layer`].
#[derive(Clone, Copy, Debug)]
pub struct BoxChannelLayer {
    _private: (),
}

impl<S> tower_layer::Layer<S> for BoxChannelLayer
where
    S: Service<Request, Response = Response> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Service = BoxChannel;

    fn layer(&self, stack: S) -> BoxChannel {
        BoxChannel::new(stack)
    }
}
