//! What generated code finds out about types by themselves, since it knows no more of them than their names.
//!
//! Functions of an impl for one type are found before those of a trait, so the impl stands for that type and the trait
//! for all others. The latter's functions bound the type, so that the compiler says what is asked of it.

use std::{convert::Infallible, marker::PhantomData};

use futures_core::Stream;

use super::values::{Answer, ErrorValue, ItemValue};
use crate::{
    CallError, Codec, Context, MethodInfo, Response, Status, Streaming,
    client::call::Decode,
    connection::serving::streamed::ItemSink,
    message::{app_error::Description, payload::LargeString, response::Failure},
};

/// The value and error types of a `Result`, also behind a type alias.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named `Result` but is not `core::result::Result`",
    label = "a method that can fail returns a `core::result::Result`, or an alias of it",
    note = "give another type another name, as in `use path::Result as Outcome`, and it is sent as the value it is"
)]
pub trait IsResult {
    /// The value.
    type Ok;
    /// The error.
    type Err;

    /// The result as what it is.
    fn into_result(self) -> Result<Self::Ok, Self::Err>;
}

impl<T, E> IsResult for Result<T, E> {
    type Ok = T;
    type Err = E;

    fn into_result(self) -> Self {
        self
    }
}

/// Passes a result on, as one that may have another name.
pub fn result<R: IsResult>(result: R) -> Result<R::Ok, R::Err> {
    result.into_result()
}

/// The context of the call.
#[diagnostic::on_unimplemented(
    message = "this `Context` is not `muxado_rpc::Context`",
    label = "a parameter `&Context` is the context of the call, which is not sent",
    note = "import the other type under another name, as in `use path::Context as Settings`, and a reference to it is sent"
)]
pub trait IsContext {
    /// The context as what it is.
    fn of(context: &Context) -> &Self;
}

impl IsContext for Context {
    fn of(context: &Context) -> &Self {
        context
    }
}

/// Passes the context on.
pub fn lend_context<T: IsContext>(context: &Context) -> &T {
    T::of(context)
}

/// The items that follow a request.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named `Streaming` but is not `muxado_rpc::Streaming`",
    label = "a parameter `Streaming<T>` is a stream of items that follow the request",
    note = "import the other type under another name, as in `use path::Streaming as Mode`, and it is sent as the value it is"
)]
pub trait IsStreaming<T> {
    /// The items as what they are.
    fn of(items: Streaming<T>) -> Self;
}

impl<T> IsStreaming<T> for Streaming<T> {
    fn of(items: Self) -> Self {
        items
    }
}

/// Passes the items on.
pub fn give_items<T, S: IsStreaming<T>>(items: Streaming<T>) -> S {
    S::of(items)
}

/// The error type of both a method and its items.
#[diagnostic::on_unimplemented(
    message = "the items fail with `{T}`, the method itself with `{Self}`",
    label = "a stream has one error type",
    note = "use one error type in both places of `Result<impl Stream<Item = Result<T, E>>, E>`"
)]
pub trait SameError<T> {}

impl<T> SameError<T> for T {}

/// Checks that both are the same.
pub const fn same_error<E: SameError<I>, I>() {}

/// A type that is returned as a value.
#[derive(Debug)]
pub struct AnswerProbe<T>(PhantomData<T>);

/// A `Result` with another name.
#[derive(Debug)]
pub struct Renamed<T, E>(PhantomData<(T, E)>);

/// That it has its own name.
#[diagnostic::on_unimplemented(
    message = "a `Result` is returned under another name",
    label = "an alias of `core::result::Result`",
    note = "name the alias `Result`, as in `io::Result<T>`, or write `Result<T, E>`, so that the error is that of the method"
)]
pub trait NamedResult {}

impl<T, E> AnswerProbe<Result<T, E>> {
    /// Refuses it.
    pub const fn check()
    where
        Renamed<T, E>: NamedResult,
    {
    }
}

/// Any other type.
pub trait AnyAnswer {
    /// Accepts it.
    fn check() {}
}

impl<T> AnyAnswer for AnswerProbe<T> {}

/// An error type.
#[derive(Debug)]
pub struct ErrorProbe<E>(PhantomData<E>);

/// Makes the response of a result.
pub type Respond<T, E> = fn(Codec, Result<T, E>, Describe<E>, Take<T>) -> Result<Response, Status>;

/// Takes the large string that a value is.
pub type Take<T> = fn(&mut T) -> Option<LargeString>;

/// Makes the end of a stream of an error.
pub type Fail<E> = fn(Codec, E, Describe<E>) -> Failure;

/// Says what is known of an error.
pub type Describe<E> = fn(&E) -> Description;

/// What is done with the responses of a method that returns a value, at both ends.
#[derive(Debug)]
pub struct Unary<T, E> {
    /// What the client makes of a response.
    pub decode: Decode<T, E>,
    /// What the server makes of a result.
    pub respond: Respond<T, E>,
}

/// What is done with the responses of a method that returns a stream, at both ends.
#[derive(Debug)]
pub struct Streams<T, E> {
    /// What the client makes of a response.
    pub decode: Decode<Streaming<T, E>, E>,
    /// What the server makes of an error before the first item.
    pub fail: Fail<E>,
}

/// What becomes of an error that cannot be.
impl ErrorProbe<Infallible> {
    /// For a value.
    pub const fn unary<T: Answer>() -> Unary<T, Infallible> {
        Unary {
            decode: decode_value,
            respond: |codec, Ok(mut value), _, take| Response::of_value(codec, &mut value, take),
        }
    }

    /// For a stream.
    pub const fn streams<T: ItemValue>() -> Streams<T, Infallible> {
        Streams { decode: decode_stream, fail: |_, never, _| match never {} }
    }

    /// How the server sends items.
    pub async fn send<S, T: ItemValue>(
        sink: ItemSink,
        stream: S,
        _describe: fn(&Infallible) -> Description,
    ) -> Result<(), Failure>
    where
        S: Stream<Item = Result<T, Infallible>> + Send,
    {
        sink.send_unfailing(stream).await
    }
}

/// What becomes of any other error.
pub trait AnyError<E> {
    /// For a value.
    fn unary<T: Answer>() -> Unary<T, E>
    where
        E: ErrorValue,
    {
        Unary { decode: |method, result| result?.decode_result(method), respond: respond_result }
    }

    /// For a stream.
    fn streams<T: ItemValue>() -> Streams<T, E>
    where
        E: ErrorValue,
    {
        Streams {
            decode: |method, result| Streaming::of_fallible_response(method, result?),
            fail: |codec, error, describe| Failure::of_error(codec, &error, describe),
        }
    }

    /// How the server sends items.
    fn send<S, T: ItemValue>(
        sink: ItemSink,
        stream: S,
        describe: fn(&E) -> Description,
    ) -> impl Future<Output = Result<(), Failure>> + Send
    where
        E: ErrorValue,
        S: Stream<Item = Result<T, E>> + Send,
    {
        sink.send_results(stream, describe)
    }
}

impl<E> AnyError<E> for ErrorProbe<E> {}

/// The response of a method that returns a `Result`. A [`Status`] is none of the application's own errors: it goes as
/// what it is, so that callers of any kind see its code.
fn respond_result<T: Answer, E: ErrorValue>(
    codec: Codec,
    result: Result<T, E>,
    describe: fn(&E) -> Description,
    take: Take<T>,
) -> Result<Response, Status> {
    match result {
        Ok(mut value) => Response::of_value(codec, &mut value, take),
        Err(error) => match Failure::of_error(codec, &error, describe) {
            Failure::App(error) => Ok(Response::of_app_error(codec, error)),
            Failure::Status(status) => Err(status),
            Failure::Panic(panic) => panic.resume(),
        },
    }
}

/// What is done with the responses of a method without errors of its own, at both ends.
#[derive(Debug)]
pub struct Value<T> {
    /// What the client makes of a response.
    pub decode: Decode<T, Infallible>,
    /// What the server makes of a value.
    pub respond: fn(Codec, &mut T, Take<T>) -> Result<Response, Status>,
}

/// For a value.
pub const fn value<T: Answer>() -> Value<T> {
    Value { decode: decode_value, respond: Response::of_value }
}

/// How the client decodes a stream of a method without errors of its own.
pub const fn stream<T: ItemValue>() -> Decode<Streaming<T>, Infallible> {
    decode_stream
}

fn decode_value<T: Answer>(
    method: &'static MethodInfo,
    result: Result<Response, Status>,
) -> Result<T, CallError> {
    result?.decode(method)
}

fn decode_stream<T: ItemValue>(
    method: &'static MethodInfo,
    result: Result<Response, Status>,
) -> Result<Streaming<T>, CallError> {
    Streaming::of_response(method, result?)
}

/// The client that `#[service]` generates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the client that `#[service]` generates, but has its name",
    label = "a client of the same name is generated here",
    note = "give the generated type another name, as in `#[service(client = ChatCalls)]`; `server = ..` does it for the other"
)]
pub trait GeneratedClient {}

/// Checks that it is.
pub const fn generated_client<T: GeneratedClient>() {}
