//! The code and text of an application's error, for those who do not know its type.

use std::{fmt, marker::PhantomData};

use crate::Code;

/// An application's error that has a [`Code`]. Can be derived.
///
/// The code is sent with the error, for layers, logs, retries and callers that do not know the error's type. The code
/// of an error without this trait is [`Code::Unknown`]. The text of `Display` is sent as well, if the error
/// implements it. Callers that know the type get the error itself, as [`CallError::App`](crate::CallError).
///
/// ```
/// use muxado_rpc::{AppError, Code};
///
/// #[derive(Debug, AppError, serde::Serialize, serde::Deserialize)]
/// enum DivideError {
///     #[code(InvalidArgument)]
///     ByZero,
///     #[code(OutOfRange)]
///     Overflow { dividend: f64 },
/// }
///
/// assert_eq!(DivideError::ByZero.code(), Code::InvalidArgument);
/// assert_eq!(DivideError::Overflow { dividend: 1e308 }.code(), Code::OutOfRange);
/// ```
pub trait AppError {
    /// Returns the kind of failure.
    fn code(&self) -> Code;
}

/// What generated code finds out about an error.
#[derive(Debug)]
pub struct Description {
    /// By [`AppError`], if the error has it.
    pub code: Code,
    /// By `Display`, if the error has it.
    pub message: Option<String>,
}

/// Asks whether `E` has a trait. Method calls find the implementation for `Probe` before that for
/// `&Probe`, so the latter stands for all other types.
#[derive(Debug)]
pub struct Probe<E>(PhantomData<fn(E)>);

impl<E> Probe<E> {
    /// For the type of this error.
    pub const fn of(_error: &E) -> Self {
        Self(PhantomData)
    }
}

/// The code of an error that has one.
pub trait CodeOfSome<E> {
    /// The code.
    fn code_of(&self, error: &E) -> Code;
}

impl<E: AppError> CodeOfSome<E> for Probe<E> {
    fn code_of(&self, error: &E) -> Code {
        error.code()
    }
}

/// The code of any other error.
pub trait CodeOfAny<E> {
    /// The code.
    fn code_of(&self, error: &E) -> Code;
}

impl<E> CodeOfAny<E> for &Probe<E> {
    fn code_of(&self, _error: &E) -> Code {
        Code::Unknown
    }
}

/// The text of an error that has one.
pub trait DisplayOfSome<E> {
    /// The text.
    fn display_of(&self, error: &E) -> Option<String>;
}

impl<E: fmt::Display> DisplayOfSome<E> for Probe<E> {
    fn display_of(&self, error: &E) -> Option<String> {
        Some(error.to_string())
    }
}

/// The text of any other error: none.
pub trait DisplayOfAny<E> {
    /// The text.
    fn display_of(&self, error: &E) -> Option<String>;
}

impl<E> DisplayOfAny<E> for &Probe<E> {
    fn display_of(&self, _error: &E) -> Option<String> {
        None
    }
}
