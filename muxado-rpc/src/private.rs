//! The runtime of generated code. Not part of the public API: it may change with any release.

use serde::de::DeserializeOwned;

pub use futures_core::Stream;
pub use serde;
pub use std::{boxed::Box, sync::Arc};
pub use tower_service::Service;

pub use crate::client::core::{ClientCall, ClientCore};
pub use crate::client::in_process::InProcessLimit;
use crate::connection::serving::streamed;
pub use crate::message::app_error::{CodeOfAny, CodeOfSome, Description, DisplayOfAny, DisplayOfSome, Probe};
pub use crate::{
    Body, BoxError, CallError, Channel, Codec, Context, Metadata, MethodInfo, NamedService, Request,
    Response, ServiceId, ServiceInfo, Shape, Status, Streaming,
    connection::serving::streamed::ItemSink,
    message::{method::MethodOptions, response::Failure},
};

/// A boxed future.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The value and error types of a `Result`, also behind a type alias.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named `Result` but is not `core::result::Result`",
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

/// The time limit of a request that came by no connection, which [`hold`] is to hold it to.
pub fn time_limit(request: &mut Request) -> Option<InProcessLimit> {
    InProcessLimit::begin(request)
}

/// Holds a call to a time limit, if it has one.
pub fn hold(
    limit: Option<InProcessLimit>,
    call: BoxFuture<'static, Result<Response, Status>>,
) -> BoxFuture<'static, Result<Response, Status>> {
    match limit {
        Some(limit) => limit.hold(call),
        None => call,
    }
}

/// Decodes the parameters of a request.
pub fn decode_params<P: DeserializeOwned>(request: &Request) -> Result<P, Status> {
    // Generated code decodes before it runs anything.
    request.decode_params().map_err(Status::not_executed)
}

/// The answer of a method that has no error of its own.
pub fn respond<T: serde::Serialize>(codec: Codec, value: &T) -> Result<Response, Status> {
    Response::new(codec, value)
}

/// The answer of a method that returns a `Result`. A [`Status`] is none of the application's own
/// errors: it goes as what it is, so that callers of any kind see its code.
pub fn respond_result<T, E>(
    codec: Codec,
    result: Result<T, E>,
    describe: fn(&E) -> Description,
) -> Result<Response, Status>
where
    T: serde::Serialize,
    E: serde::Serialize + 'static,
{
    match result {
        Ok(value) => Response::new(codec, &value),
        Err(error) => match failure(codec, error, describe) {
            Failure::App(error) => Ok(Response::of_app_error(codec, error)),
            Failure::Status(status) => Err(status),
            Failure::Panic(panic) => panic.resume(),
        },
    }
}

/// The items of a request.
pub fn take_items<T: DeserializeOwned>(request: &mut Request) -> Result<Streaming<T>, Status> {
    let method = request.method_ref();
    let items = request
        .take_input()
        .ok_or_else(|| Status::invalid_argument(format!("{method}: the request has no stream of items")))
        .map_err(Status::not_executed)?;
    Ok(Streaming::argument(method, *items))
}

/// Runs a handler that returns a stream.
pub async fn serve_items<F, H>(
    method: &'static MethodInfo,
    codec: Codec,
    context: Option<Context>,
    handler: F,
) -> Result<Response, Status>
where
    F: FnOnce(ItemSink) -> H,
    H: Future<Output = Result<(), Failure>> + Send + 'static,
{
    streamed::serve(method, codec, context, handler).await
}

/// Adds to an answer what its handler put into the context for it.
pub fn with_metadata(context: &Context, mut answer: Result<Response, Status>) -> Result<Response, Status> {
    if let Ok(response) = &mut answer {
        context.add_metadata_to(response);
    }
    answer
}

/// A failure by the method's own error. A [`Status`] is none; see [`respond_result`].
pub fn failure<E>(codec: Codec, error: E, describe: fn(&E) -> Description) -> Failure
where
    E: serde::Serialize + 'static,
{
    Failure::of_error(codec, &error, describe)
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
