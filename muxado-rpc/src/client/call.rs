//! The future of a client's call.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{
    BoxError, CallError, Channel, Metadata, MethodInfo, Request, Response, Status,
    message::status::from_box_error,
};

/// A call that a generated client makes: what its methods return.
///
/// The parameters are encoded when the method is called, so the future borrows nothing: it is `'static`, and can be
/// spawned. **Nothing is sent before the first poll**, and until then [`timeout`](Self::timeout),
/// [`metadata`](Self::metadata) and the other methods set options of this one call. Parameters that cannot be encoded
/// are the error of the call, [`Code::InvalidArgument`](crate::Code::InvalidArgument), not executed.
///
/// The output is `Result<T, CallError<E>>`. For a method that streams its response `T` is a
/// [`Streaming`](crate::Streaming), and the future is ready once the request is sent.
///
/// ```
/// use std::time::Duration;
///
/// use tokio::task::JoinSet;
///
/// #[muxado_rpc::service]
/// pub trait Store {
///     async fn get(&self, key: &str) -> Option<String>;
/// }
/// # struct Empty;
/// # impl Store for Empty { async fn get(&self, _: &str) -> Option<String> { None } }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = StoreClient::new(StoreServer::new(Empty));
/// let value = store.get("key").timeout(Duration::from_secs(1)).metadata("tenant", "blue").await?;
/// # assert_eq!(value, None);
///
/// // A call is a task of its own, if it is to run at the same time as others.
/// let mut calls: JoinSet<_> = ["a", "b", "c"].into_iter().map(|key| store.get(key)).collect();
/// while let Some(value) = calls.join_next().await {
///     assert_eq!(value??, None);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Time limits of handlers
///
/// A call that a handler makes inherits what is left of the handler's time limit where it is polled. In a task of its
/// own it does if the task is one of [`Context::spawn`](crate::Context::spawn).
///
/// # Cancel safety
///
/// Dropping the future cancels the call: the peer drops the handler. If it was never polled, the peer never hears of it.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ClientCall<T, E = Infallible, C: Service<Request> = Channel> {
    method: &'static MethodInfo,
    decode: Decode<T, E>,
    #[pin]
    state: State<C, C::Future>,
}

/// What a method of a client makes of a response.
pub(crate) type Decode<T, E> = fn(&'static MethodInfo, Result<Response, Status>) -> Result<T, CallError<E>>;

#[pin_project(project = StateProj)]
enum State<C, F> {
    /// The parameters cannot be encoded.
    Failed(Option<Status>),
    /// The channel is not known to be ready.
    Waiting {
        channel: C,
        request: Option<Request>,
    },
    Running(#[pin] F),
}

impl<T, E, C: Service<Request>> ClientCall<T, E, C> {
    /// A call of this request, if its parameters could be encoded.
    pub(super) fn new(
        method: &'static MethodInfo,
        decode: Decode<T, E>,
        channel: C,
        request: Result<Request, Status>,
    ) -> Self {
        let state = match request {
            Ok(request) => State::Waiting { channel, request: Some(request) },
            Err(status) => State::Failed(Some(status)),
        };
        Self { method, decode, state }
    }

    /// Returns the method that is called.
    pub fn method(&self) -> &'static MethodInfo {
        self.method
    }

    /// Sets how long the call may take, whatever its method and its client say.
    ///
    /// The limit counts from the first poll, or from when the connection's task next runs if something else holds its
    /// thread, and covers the items of a stream as well. A limit that the call inherits still holds if it ends earlier. A
    /// call that is under way keeps its limit.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with_request(|request| request.set_timeout(Some(timeout)))
    }

    /// Lets the call take longer than what is left of the call that the calling handler serves.
    pub fn without_inherited_deadline(self) -> Self {
        self.with_request(|request| request.set_inherits_deadline(false))
    }

    /// Adds an entry to the metadata that is sent with the call. An entry of the client with the same name is replaced.
    ///
    /// A call that is under way has sent its metadata.
    pub fn metadata(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_request(|request| {
            request.metadata_mut().insert(name, value);
        })
    }

    /// Returns a future of the response as a whole: its metadata, and what this future would return.
    ///
    /// ```
    /// use muxado_rpc::Context;
    ///
    /// #[muxado_rpc::service]
    /// pub trait Store {
    ///     async fn get(&self, cx: &Context, key: &str) -> u32;
    /// }
    ///
    /// struct Versioned;
    /// impl Store for Versioned {
    ///     async fn get(&self, cx: &Context, key: &str) -> u32 {
    ///         cx.insert_metadata("version", "7");
    ///         key.len() as u32
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = StoreClient::new(StoreServer::new(Versioned));
    /// let response = store.get("key").with_response().await;
    /// assert_eq!(response.metadata().get("version"), Some("7"));
    /// assert_eq!(response.into_result()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_response(self) -> ResponseCall<T, E, C> {
        ResponseCall { call: self }
    }

    fn with_request(mut self, change: impl FnOnce(&mut Request)) -> Self {
        if let State::Waiting { request: Some(request), .. } = &mut self.state {
            change(request);
        }
        self
    }
}

impl<T, E, C> ClientCall<T, E, C>
where
    C: Service<Request, Response = Response>,
    C::Error: Into<BoxError>,
{
    fn poll_response(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response, Status>> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Running(future) => return future.poll(cx).map_err(to_status),
                StateProj::Waiting { channel, request } => match ready!(channel.poll_ready(cx)) {
                    Ok(()) => {
                        let Some(request) = request.take() else { return Poll::Ready(Err(polled_again())) };
                        let future = channel.call(request);
                        state.set(State::Running(future));
                    }
                    Err(error) => return Poll::Ready(Err(to_status(error).not_executed())),
                },
                StateProj::Failed(status) => {
                    return Poll::Ready(Err(status.take().unwrap_or_else(polled_again)));
                }
            }
        }
    }
}

impl<T, E, C> Future for ClientCall<T, E, C>
where
    C: Service<Request, Response = Response>,
    C::Error: Into<BoxError>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.as_mut().poll_response(cx));
        Poll::Ready((self.decode)(self.method, result))
    }
}

impl<T, E, C: Service<Request>> fmt::Debug for ClientCall<T, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCall").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A [`ClientCall`] whose output is the response as a whole.
///
/// It comes from [`ClientCall::with_response`], whose example shows it. What is said there of sending and of dropping
/// a call holds here as well.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseCall<T, E = Infallible, C: Service<Request> = Channel> {
    #[pin]
    call: ClientCall<T, E, C>,
}

impl<T, E, C> Future for ResponseCall<T, E, C>
where
    C: Service<Request, Response = Response>,
    C::Error: Into<BoxError>,
{
    type Output = CallResponse<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut call = self.project().call;
        let result = ready!(call.as_mut().poll_response(cx));
        let metadata = result.as_ref().map(|response| response.metadata().clone()).unwrap_or_default();
        Poll::Ready(CallResponse { result: (call.decode)(call.method, result), metadata })
    }
}

impl<T, E, C: Service<Request>> fmt::Debug for ResponseCall<T, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCall").field("method", &self.call.method).finish_non_exhaustive()
    }
}

/// The response of a call: what the method returned, and the metadata that came with it.
///
/// A value and an application's error come with metadata; a [`Status`] has none. The metadata of a stream of items
/// comes with its items: [`Streaming::metadata`](crate::Streaming::metadata) returns it.
///
/// It comes from [`ClientCall::with_response`], whose example shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it may hold an error"]
pub struct CallResponse<T, E = Infallible> {
    result: Result<T, CallError<E>>,
    metadata: Metadata,
}

impl<T, E> CallResponse<T, E> {
    pub(super) const fn new(result: Result<T, CallError<E>>, metadata: Metadata) -> Self {
        Self { result, metadata }
    }

    /// Returns the metadata that came with the value or the error.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns a reference to the value or the error.
    ///
    /// # Errors
    ///
    /// Returns the error of the call.
    pub fn result(&self) -> Result<&T, &CallError<E>> {
        self.result.as_ref()
    }

    /// Returns the value or the error.
    ///
    /// # Errors
    ///
    /// Returns the error of the call.
    pub fn into_result(self) -> Result<T, CallError<E>> {
        self.result
    }

    /// Returns the value or the error, and the metadata.
    pub fn into_parts(self) -> (Result<T, CallError<E>>, Metadata) {
        (self.result, self.metadata)
    }
}

fn to_status(error: impl Into<BoxError>) -> Status {
    from_box_error(error.into())
}

fn polled_again() -> Status {
    Status::internal("a call was polled after its end")
}
