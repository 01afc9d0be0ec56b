//! What generated code uses. Not part of the public API: it may change with any release.

use std::{any::Any, future::poll_fn, time::Duration};

use serde::de::DeserializeOwned;

pub use serde;
pub use std::{boxed::Box, sync::Arc};
pub use tower_service::Service;

pub use crate::{
    BoxError, CallError, Channel, Codec, Context, Metadata, MethodInfo, NamedService, Request, Response,
    ServiceId, ServiceInfo, Shape, Status, method::MethodOptions,
};

/// A future behind a pointer.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes the two types of a `Result` apart, also behind a type alias.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named `Result` but is no `core::result::Result`",
    label = "a method that can fail returns a `core::result::Result`, or an alias of it",
    note = "give another type another name, so that it is sent as the value it is"
)]
pub trait IsResult {
    /// The value.
    type Ok;
    /// The error.
    type Err;
}

impl<T, E> IsResult for Result<T, E> {
    type Ok = T;
    type Err = E;
}

/// The part of a client that is the same for all services.
#[derive(Clone, Debug)]
pub struct Caller<C> {
    channel: C,
    codec: Codec,
    timeout: Option<Duration>,
    metadata: Metadata,
}

impl<C> Caller<C>
where
    C: Service<Request, Response = Response> + Clone,
    C::Error: Into<BoxError>,
{
    /// Calls over this channel, in the default codec, without a time limit.
    pub const fn new(channel: C) -> Self {
        Self { channel, codec: Codec::MessagePack, timeout: None, metadata: Metadata::new() }
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

    /// Sends this metadata with each call.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Calls a method that has no error of its own.
    pub async fn call<P, T>(&self, method: &'static MethodInfo, params: &P) -> Result<T, CallError>
    where
        P: serde::Serialize,
        T: DeserializeOwned,
    {
        self.exchange(Request::new(method, self.codec, params)).await?.decode(method)
    }

    /// Calls a method that returns a `Result`.
    pub async fn call_fallible<P, T, E>(
        &self,
        method: &'static MethodInfo,
        params: &P,
    ) -> Result<T, CallError<E>>
    where
        P: serde::Serialize,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        self.exchange(Request::new(method, self.codec, params)).await?.decode_result(method)
    }

    /// The same for all types, so that a client's methods stay small.
    async fn exchange(&self, request: Result<Request, Status>) -> Result<Response, Status> {
        let mut request = request?;
        request.set_timeout(self.timeout);
        request.metadata_mut().clone_from(&self.metadata);
        let mut channel = self.channel.clone();
        poll_fn(|cx| channel.poll_ready(cx)).await.map_err(to_status)?;
        channel.call(request).await.map_err(to_status)
    }
}

fn to_status(error: impl Into<BoxError>) -> Status {
    crate::status::from_box_error(error.into())
}

/// Decodes the parameters of a request.
pub fn decode_params<P: DeserializeOwned>(request: &Request) -> Result<P, Status> {
    request.decode_params()
}

/// The answer of a method that has no error of its own.
pub fn respond<T: serde::Serialize>(codec: Codec, value: &T) -> Result<Response, Status> {
    Response::new(codec, value)
}

/// The answer of a method that returns a `Result`. A [`Status`] is none of the application's own
/// errors: it goes as what it is, so that callers of any kind see its code.
pub fn respond_result<T, E>(codec: Codec, result: Result<T, E>) -> Result<Response, Status>
where
    T: serde::Serialize,
    E: serde::Serialize,
    E: 'static,
{
    match result {
        Ok(value) => Response::new(codec, &value),
        Err(error) => match (&error as &dyn Any).downcast_ref::<Status>() {
            Some(status) => Err(status.clone()),
            None => Response::from_error(codec, &error),
        },
    }
}

/// The context of the call that a request asks for.
pub fn context(request: &mut Request) -> Context {
    Context::of(request)
}

/// Describes a method.
pub const fn method_info(
    service: &'static str,
    id: u32,
    name: &'static str,
    index: usize,
    options: MethodOptions,
) -> MethodInfo {
    MethodInfo::new(service, id, name, index).with_options(options)
}

/// Describes a service.
pub const fn service_info(name: &'static str, id: u32, methods: &'static [MethodInfo]) -> ServiceInfo {
    ServiceInfo::new(name, id, methods)
}

/// What a server says to a request for a method that is not its.
pub fn unknown_method(request: &Request) -> Status {
    Status::unimplemented(format!("{} is not a method of this service", request.method())).not_executed()
}
