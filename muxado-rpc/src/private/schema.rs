//! What the function of `#[service(schema)]` describes a service with.

use std::{convert::Infallible, marker::PhantomData};

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::Lend;
use crate::Status;

pub use crate::schema::generate::{MethodBuilder, SchemaBuilder};

/// A type that has a schema.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no JSON Schema, which `#[muxado_rpc::service(schema)]` needs",
    label = "not `JsonSchema`",
    note = "derive `schemars::JsonSchema` for it, beside `Serialize` and `Deserialize`, or turn on the feature of schemars \
            for its crate, such as `uuid1` or `chrono04`",
    note = "where a parameter is of a type that cannot have one, say what it looks like: `#[schemars(with = \"String\")]` \
            before the parameter"
)]
pub trait Described: JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: JsonSchema + ?Sized> Described for T {}

/// Adds a parameter of this type, or one that is lent as a reference to it.
pub fn describe_parameter<T>(method: &mut MethodBuilder<'_>, name: &str, docs: &[&str])
where
    T: Described + Lend + ?Sized,
{
    method.add_parameter::<T>(name, docs, !may_be_missing::<T::Held<'static>>());
}

/// Adds a parameter `Option<&T>`.
pub fn describe_optional<T>(method: &mut MethodBuilder<'_>, name: &str, docs: &[&str])
where
    T: Described + ?Sized + 'static,
{
    method.add_parameter::<Option<&'static T>>(name, docs, false);
}

/// Adds the parameters that a structure has as fields: one, as a rule, and more or none with some attributes.
pub fn describe_attributed<S: JsonSchema>(method: &mut MethodBuilder<'_>, docs: &[&str]) {
    method.add_fields::<S>(docs);
}

/// Sets the type of the items that the caller sends.
pub fn describe_input<T: Described>(method: &mut MethodBuilder<'_>) {
    method.set_input::<T>();
}

/// Sets the type of what the method returns, or of the items of a stream that it returns.
pub fn describe_output<T: Described>(method: &mut MethodBuilder<'_>) {
    method.set_output::<T>();
}

/// The error type of a method. Functions for one type are found before those for any.
#[derive(Debug)]
pub struct ErrorSchema<E>(PhantomData<E>);

impl ErrorSchema<Status> {
    /// A status is none of the method's own errors.
    pub const fn describe(_: &mut MethodBuilder<'_>) {}
}

impl ErrorSchema<Infallible> {
    /// It cannot be.
    pub const fn describe(_: &mut MethodBuilder<'_>) {}
}

/// Any other error type.
pub trait AnyErrorSchema<E> {
    /// Sets the type of the error.
    fn describe(method: &mut MethodBuilder<'_>)
    where
        E: Described,
    {
        method.set_error::<E>();
    }
}

impl<E> AnyErrorSchema<E> for ErrorSchema<E> {}

/// Whether a parameter of this type may be left out: serde decides it when it decodes.
fn may_be_missing<T: Deserialize<'static>>() -> bool {
    #[derive(Deserialize)]
    struct Only<T> {
        #[expect(dead_code, reason = "whether it is there is all that counts")]
        value: T,
    }
    serde_json::from_str::<Only<T>>("{}").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_fills_in_may_be_left_out() {
        assert!(may_be_missing::<Option<u8>>() && may_be_missing::<Option<&str>>());
        assert!(!may_be_missing::<u8>() && !may_be_missing::<serde_json::Value>() && !may_be_missing::<()>());
    }
}
