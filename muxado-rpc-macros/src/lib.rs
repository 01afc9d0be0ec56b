//! The `#[service]` attribute of `muxado-rpc`.
//!
//! Use it as `muxado_rpc::service`: what it generates needs that crate.
//!
//! The way through this one: `attr` and `model` turn syntax into a model of the service, `validate` holds the rules
//! and collects every broken one, `expand` turns the model into code and cannot fail.

mod app_error;
mod attr;
mod expand;
mod model;
#[cfg(test)]
mod tests;
mod types;
mod validate;

use proc_macro::TokenStream;

/// Turns a trait into a service: a server that answers calls with an implementation, and a client that makes them.
///
/// ```text
/// #[muxado_rpc::service]
/// pub trait Calculator {
///     /// Adds two numbers.
///     async fn add(&self, a: i64, b: i64) -> i64;
///     async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
///     async fn whoami(&self, cx: &Context) -> String;
/// }
/// ```
///
/// generates, next to the trait and with its visibility:
///
/// * the trait itself, as `Calculator: Send + Sync + 'static`, whose futures are `Send`. It is implemented with
///   plain `async fn`s of the same signatures.
/// * `CalculatorServer<T>`: a `tower::Service` over an implementation `T`, made by `new(T)` or `from_arc(Arc<T>)`.
/// * `CalculatorClient<C = Channel>`: one `async fn` per method over any `tower::Service` of requests, made by
///   `new(channel)` or `From`, adjusted by `with_codec`, `with_timeout`, `with_default_timeout`, `without_inherited_deadline` and `with_metadata`.
///   A method of the trait
///   with one of those names takes its place.
///
/// # Methods
///
/// A method is an `async fn` with `&self`. Parameters and answers are sent by value, so they own what they hold:
/// `Serialize` and `DeserializeOwned`. A parameter of type `&Context` is not sent: the server fills it in.
///
/// A method streams by its signature. One parameter may be a `Streaming<T>`: its items follow the request, and the
/// client takes any `Stream<Item = T> + Send + 'static` in its place. A method that returns `impl Stream<Item = T>`,
/// `impl Stream<Item = Result<T, E>>` or `Result<impl Stream<Item = T>, E>` sends its items as they come; the client
/// gets a `Streaming<T>` or `Streaming<T, E>` once the request is sent. The stream may borrow from `&self` and from
/// `&Context`; the first error ends it.
///
/// A method that returns `T` becomes `Result<T, CallError>` in the client, one that returns a type named `Result`
/// becomes `Result<T, CallError<E>>`. A default body is kept: it is what an implementation without the method does.
///
/// Doc comments, `cfg`, `deprecated`, `must_use` and lint levels of a method apply to the client's method too.
///
/// # Options
///
/// | option | default | meaning |
/// |---|---|---|
/// | `#[service(name = "calc.Calculator")]` | the trait's name | name of the service on the wire |
/// | `#[service(id = 7)]` | a hash of the name | id of the service on the wire, below `0xFFFF_FF00` |
/// | `#[service(crate = "path")]` | `::muxado_rpc` | where the runtime crate is, if it was renamed |
/// | `#[method(name = "plus")]` on a method | the method's name | name of the method on the wire |
/// | `#[method(idempotent)]` | not | running it twice is as good as once: it may be tried again |
/// | `#[method(no_cancel)]` | not | its handler runs to the end even if the caller goes; of those whose connection has ended, `Limits::max_detached_handlers` |
/// | `#[method(timeout_ms = 500)]` | none | time limit of its calls, unless the caller sets another |
/// | `#[serde(..)]` on a parameter | | attribute of a field for serde, such as `default` or `with` |
///
/// # Errors
///
/// Everything that is wrong with a trait is reported at once, each at its own place.
#[proc_macro_attribute]
pub fn service(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::service(args.into(), item.into()).into()
}

/// Gives an application's error a code for each of its kinds.
///
/// `#[code(NotFound)]` on a variant of an enum, or on a struct, names a variant of `muxado_rpc::Code`; without one it
/// is `Unknown`. `#[app_error(crate = "path")]` says where the runtime crate is, if it was renamed.
#[proc_macro_derive(AppError, attributes(code, app_error))]
pub fn app_error(input: TokenStream) -> TokenStream {
    app_error::derive(input.into()).into()
}
