//! The runtime of generated code. Not part of the public API: it may change with any release.

#[path = "private/large.rs"]
pub mod large;
#[path = "private/probe.rs"]
pub mod probe;
#[cfg(feature = "schema")]
#[path = "private/schema.rs"]
pub mod schema;
#[path = "private/values.rs"]
pub mod values;

use serde::Deserialize;

pub use futures_core::Stream;
pub use serde;
pub use std::{boxed::Box, sync::Arc};
pub use tower_service::Service;

#[cfg(feature = "schema")]
pub use self::schema::{
    AnyErrorSchema, ErrorSchema, MethodBuilder, SchemaBuilder, describe_attributed, describe_input,
    describe_optional, describe_output, describe_parameter,
};
pub use self::{
    large::{AnyLarge, LargeProbe},
    probe::{
        AnswerProbe, AnyAnswer, AnyError, ErrorProbe, GeneratedClient, IsContext, IsResult, IsStreaming,
        SameError, generated_client, give_items, lend_context, result, same_error, stream, value,
    },
    values::{
        Answer, ErrorValue, HeldBytes, HeldStr, ItemValue, Lend, Parameter, bytes_field, bytes_some_field,
        field, lend_some, lent_field, lent_some_field,
    },
};
pub use crate::client::call::ClientCall;
pub use crate::client::core::ClientCore;
pub use crate::client::in_process::InProcessLimit;
use crate::connection::serving::streamed;
pub use crate::message::app_error::{
    CodeOfAny, CodeOfSome, Description, DetailsOfAny, DetailsOfSome, DisplayOfAny, DisplayOfSome, Probe,
    derived_status,
};
#[cfg(feature = "schema")]
pub use crate::schema::schemars;
pub use crate::{
    Body, BoxError, CallError, Channel, Codec, Context, Metadata, MethodInfo, NamedService, Payload, Request,
    Response, ServiceId, ServiceInfo, ServiceSchema, Shape, Status, Streaming,
    connection::serving::streamed::ItemSink,
    message::{
        method::MethodOptions,
        payload::{LargeString, TakeLarge},
        request::HandlerParams,
        response::Failure,
    },
};

/// A boxed future.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

/// Decodes the parameters of a request, of which nothing else is needed afterwards.
pub fn decode_params<'de, P: Deserialize<'de>>(request: &'de Request) -> Result<P, Status> {
    decode_in_place(request.method(), request.codec(), &request.params)
}

/// Decodes the parameters in their bytes, which they borrow from, and which are needed for nothing else.
pub fn decode_in_place<'de, P: Deserialize<'de>>(
    method: &MethodInfo,
    codec: Codec,
    params: &'de Payload,
) -> Result<P, Status> {
    // Generated code decodes before it runs anything.
    Request::decode_last(method, codec, params).map_err(Status::not_executed)
}

/// What a handler that takes nothing but parameters needs of a request.
pub fn handler_params(request: Request) -> HandlerParams {
    request.into_handler_params()
}

/// Decodes the parameters of such a handler.
pub fn decode_handler_params<'de, P: Deserialize<'de>>(params: &'de HandlerParams) -> Result<P, Status> {
    // Generated code decodes before it runs anything.
    params.decode().map_err(Status::not_executed)
}

/// Returns the encoded parameters of such a handler, which borrows from them.
pub fn lend_params(params: &HandlerParams) -> &Payload {
    params.params()
}

/// Drops what such a handler does not need.
pub fn release(params: &mut HandlerParams) {
    params.release();
}

/// The encoded parameters of a request, for a handler that borrows from them.
pub fn into_params(request: Request) -> Payload {
    request.into_params()
}

/// The items of a request.
pub fn take_items<T: ItemValue>(request: &mut Request) -> Result<Streaming<T>, Status> {
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
