//! What all generated clients have in common.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use pin_project::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use crate::{
    Body, BoxError, CallError, Codec, Metadata, MethodInfo, Request, Response, Status, Streaming,
    message::status::from_box_error,
    stream::body::{BodyStream, StreamBody},
};

/// The part of a client that is the same for all services.
#[derive(Clone, Debug)]
pub struct ClientCore<C> {
    channel: C,
    codec: Codec,
    timeout: Option<Duration>,
    default_timeout: Option<Duration>,
    inherits: bool,
    metadata: Metadata,
}

impl<C> ClientCore<C>
where
    C: Service<Request, Response = Response> + Clone,
    C::Error: Into<BoxError>,
{
    /// Calls over this channel, in the default codec, without a time limit.
    pub const fn new(channel: C) -> Self {
        Self {
            channel,
            codec: Codec::MessagePack,
            timeout: None,
            default_timeout: None,
            inherits: true,
            metadata: Metadata::new(),
        }
    }

    /// Encodes in this codec.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Gives each call this time limit.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives this time limit to each call of a method that has none of its own.
    #[must_use]
    pub fn with_default_timeout(mut self, timeout: Duration) -> Self {
        self.default_timeout = Some(timeout);
        self
    }

    /// Lets calls out of a handler take longer than the call that the handler serves.
    #[must_use]
    pub fn without_inherited_deadline(mut self) -> Self {
        self.inherits = false;
        self
    }

    /// Sends this metadata with each call.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Calls a method that has no error of its own. The parameters are gone once they are encoded,
    /// before the call is under way, as they are in the other calls.
    pub fn call<P, T>(
        &self,
        method: &'static MethodInfo,
        params: P,
        input: Option<Body>,
    ) -> ClientCall<C, Value<T>>
    where
        P: Serialize,
        T: DeserializeOwned,
    {
        self.start(method, &params, input)
    }

    /// Calls a method that returns a `Result`.
    pub fn call_fallible<P, T, E>(
        &self,
        method: &'static MethodInfo,
        params: P,
        input: Option<Body>,
    ) -> ClientCall<C, Fallible<T, E>>
    where
        P: Serialize,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        self.start(method, &params, input)
    }

    /// Calls a method that returns a stream, and has no error of its own.
    pub fn stream<P, T>(
        &self,
        method: &'static MethodInfo,
        params: P,
        input: Option<Body>,
    ) -> ClientCall<C, Streams<T>>
    where
        P: Serialize,
        T: DeserializeOwned,
    {
        self.start(method, &params, input)
    }

    /// Calls a method that returns a stream, which may end with an error of its own.
    pub fn stream_fallible<P, T, E>(
        &self,
        method: &'static MethodInfo,
        params: P,
        input: Option<Body>,
    ) -> ClientCall<C, FallibleStreams<T, E>>
    where
        P: Serialize,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        self.start(method, &params, input)
    }

    /// The values of a stream, as the items of a request.
    pub fn items<T, S>(&self, method: &'static MethodInfo, stream: S) -> Option<Body>
    where
        T: Serialize,
        S: Stream<Item = T> + Send + 'static,
    {
        Some(BodyStream::local(self.codec, StreamBody::new(method, self.codec, stream)))
    }

    fn start<P: Serialize, A>(
        &self,
        method: &'static MethodInfo,
        params: &P,
        input: Option<Body>,
    ) -> ClientCall<C, A> {
        let state = match Request::new(method, self.codec, params) {
            Ok(mut request) => {
                self.set_up(&mut request, input);
                State::Waiting { channel: self.channel.clone(), request: Some(request) }
            }
            Err(status) => State::Failed(Some(status)),
        };
        ClientCall { method, state, answer: PhantomData }
    }

    /// Sets what does not depend on the types of a call, so that a client's methods stay small.
    fn set_up(&self, request: &mut Request, input: Option<Body>) {
        request.set_input(input);
        let timeout = self.timeout.or_else(|| request.method().default_timeout());
        request.set_timeout(timeout.or(self.default_timeout));
        request.set_inherits_deadline(self.inherits);
        if !self.metadata.is_empty() {
            request.metadata_mut().clone_from(&self.metadata);
        }
    }
}

/// A call of a generated client. Small, because thousands of them wait at a time.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ClientCall<C: Service<Request>, A> {
    method: &'static MethodInfo,
    #[pin]
    state: State<C, C::Future>,
    answer: PhantomData<fn() -> A>,
}

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

impl<C, A> Future for ClientCall<C, A>
where
    C: Service<Request, Response = Response>,
    C::Error: Into<BoxError>,
    A: CallOutput,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let mut this = self.project();
        let result = loop {
            match this.state.as_mut().project() {
                StateProj::Running(future) => break ready!(future.poll(cx)).map_err(to_status),
                StateProj::Waiting { channel, request } => match ready!(channel.poll_ready(cx)) {
                    Ok(()) => {
                        let Some(request) = request.take() else { break Err(polled_again()) };
                        let future = channel.call(request);
                        this.state.set(State::Running(future));
                    }
                    Err(error) => break Err(to_status(error).not_executed()),
                },
                StateProj::Failed(status) => break Err(status.take().unwrap_or_else(polled_again)),
            }
        };
        Poll::Ready(A::of(this.method, result))
    }
}

impl<C: Service<Request>, A> fmt::Debug for ClientCall<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCall").field("method", &self.method).finish_non_exhaustive()
    }
}

fn to_status(error: impl Into<BoxError>) -> Status {
    from_box_error(error.into())
}

fn polled_again() -> Status {
    Status::internal("a call was polled after its end")
}

/// What a method of a client makes of a response.
pub trait CallOutput {
    /// What the method returns.
    type Output;

    /// Decodes it.
    fn of(method: &'static MethodInfo, result: Result<Response, Status>) -> Self::Output;
}

/// A value.
#[derive(Debug)]
pub struct Value<T>(PhantomData<fn() -> T>);

/// A value or an error of the method's own.
#[derive(Debug)]
pub struct Fallible<T, E>(PhantomData<fn() -> (T, E)>);

/// Items.
#[derive(Debug)]
pub struct Streams<T>(PhantomData<fn() -> T>);

/// Items up to an error of the method's own.
#[derive(Debug)]
pub struct FallibleStreams<T, E>(PhantomData<fn() -> (T, E)>);

impl<T: DeserializeOwned> CallOutput for Value<T> {
    type Output = Result<T, CallError>;

    fn of(method: &'static MethodInfo, result: Result<Response, Status>) -> Self::Output {
        result?.decode(method)
    }
}

impl<T: DeserializeOwned, E: DeserializeOwned> CallOutput for Fallible<T, E> {
    type Output = Result<T, CallError<E>>;

    fn of(method: &'static MethodInfo, result: Result<Response, Status>) -> Self::Output {
        result?.decode_result(method)
    }
}

impl<T: DeserializeOwned> CallOutput for Streams<T> {
    type Output = Result<Streaming<T>, CallError>;

    fn of(method: &'static MethodInfo, result: Result<Response, Status>) -> Self::Output {
        Streaming::of_response(method, result?)
    }
}

impl<T: DeserializeOwned, E: DeserializeOwned> CallOutput for FallibleStreams<T, E> {
    type Output = Result<Streaming<T, E>, CallError<E>>;

    fn of(method: &'static MethodInfo, result: Result<Response, Status>) -> Self::Output {
        Streaming::of_fallible_response(method, result?)
    }
}
