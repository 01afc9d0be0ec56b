//! The `#[service]` attribute of `muxado-rpc`.
//!
//! Use it as `muxado_rpc::service`, because the generated code needs that crate.
//!
//! For maintainers: `attr` and `model` turn syntax into a model of the service, `validate` checks it against the rules
//! and collects all errors, `expand` turns the model into code and cannot fail.

mod app_error;
mod attr;
mod conditional;
mod expand;
mod lenient;
mod model;
#[cfg(test)]
mod tests;
mod types;
mod validate;

use proc_macro::TokenStream;

/// Turns a trait into a service: generates a server, which runs an implementation, and a client.
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
/// The attribute generates, next to the trait and with its visibility:
///
/// * the trait itself, as `Calculator: Send + Sync + 'static`, whose futures are `Send`. It is implemented with
///   plain `async fn`s of the same signatures.
/// * `CalculatorServer<T>`: a `tower::Service` over an implementation `T`. `new(T)` and `from_arc(Arc<T>)` create it.
/// * `CalculatorClient<C = Channel>`: one function per method, over any `tower::Service` of requests. It returns a
///   `ClientCall`, a `'static` future with options such as `timeout` and `metadata`. `new(channel)`
///   and `From` create the client; `with_codec`, `with_timeout`, `with_default_timeout`, `without_inherited_deadline` and
///   `with_metadata` configure it. A method of the trait with one of these names replaces it.
///
/// # Methods
///
/// A method is an `async fn` with `&self`. Parameters and return values are `Serialize` and `DeserializeOwned`. A
/// parameter may be a reference, `&str`, `&[T]` or `&T`, also in an `Option`: the client encodes what it is lent, and the
/// server lends what it has decoded. A parameter of type `&Context` is not sent; the server supplies it.
///
/// The signature of a method says whether it streams. One parameter may be a `Streaming<T>`, whose items follow the
/// request; the client takes any `Stream<Item = T> + Send + 'static` in its place. A method that returns `impl Stream<Item = T>`,
/// `impl Stream<Item = Result<T, E>>`, `Result<impl Stream<Item = T>, E>` or `Result<impl Stream<Item = Result<T, E>>, E>`
/// sends its items as they come; the client gets a `Streaming<T>` or `Streaming<T, E>` once the request is sent. The stream
/// may borrow from `&self` and from the parameters; the first error ends it.
///
/// A method that returns `T` becomes `Result<T, CallError>` in the client, one that returns a type named `Result`
/// becomes `Result<T, CallError<E>>`. A default body is used by implementations without the method.
///
/// Doc comments, `cfg`, `deprecated`, `must_use` and lint levels of a method apply to the client's method too. Doc comments
/// of parameters become a list in those of the method. Any attribute may stand in a `cfg_attr`.
///
/// The page `muxado_rpc::guide::signatures` has all of it, with examples, and what to write where the compiler complains.
///
/// # Options
///
/// | option | default | meaning |
/// |---|---|---|
/// | `#[service(name = "calc.Calculator")]` | the trait's name | name of the service on the wire |
/// | `#[service(id = 7)]` | a hash of the name | id of the service on the wire, below `0xFFFF_FF00` |
/// | `#[service(client = Name, server = Name)]` | the trait's name with `Client`, `Server` | names of the generated types |
/// | `#[service(schema)]` | off | JSON Schemas of the service, with the feature `schema`: `CalculatorServer::schema()` returns them |
/// | `#[service(crate = "path")]` | `::muxado_rpc` | path of the crate `muxado_rpc`, if it was renamed |
/// | `#[method(name = "plus")]` on a method | the method's name | name of the method on the wire |
/// | `#[method(idempotent)]` | off | a call may be executed twice without harm, so it may be tried again |
/// | `#[method(no_cancel)]` | off | the handler runs to its end even if the call is cancelled; after its connection has ended, if `Limits::max_detached_handlers` lets it |
/// | `#[method(timeout_ms = 500)]` | none | time limit of the method's calls, unless the caller sets another |
/// | `#[schemars(..)]` on a parameter | none | what its schema is, with `schema`: `#[schemars(with = "String")]` for a type without one |
/// | `#[serde(..)]` on a parameter | none | a serde attribute for the parameter's field, such as `default` or `with` |
///
/// # Errors
///
/// All errors of a trait are reported at once, each at its own place, and leave the other methods usable.
#[proc_macro_attribute]
pub fn service(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::service(args.into(), item.into()).into()
}

/// Derives `muxado_rpc::AppError`, which gives each kind of an application's error a code, and makes a `Status` of it, with
/// the text of `Display` and the error as details where it implements `Display` and `Serialize`.
///
/// `#[code(NotFound)]` on a variant of an enum, or on a struct, names a variant of `muxado_rpc::Code`. The default is
/// `Unknown`. `#[app_error(crate = "path")]` is the path of the crate `muxado_rpc`, if it was renamed.
#[proc_macro_derive(AppError, attributes(code, app_error))]
pub fn app_error(input: TokenStream) -> TokenStream {
    app_error::derive(input.into()).into()
}
