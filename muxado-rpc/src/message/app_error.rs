//! The code and text of an application's error, for those who do not know its type.

use std::{convert::Infallible, fmt, marker::PhantomData};

use serde::Serialize;

use crate::{Code, Status};

/// An application's error that has a [`Code`]. Can be derived.
///
/// The code is sent with the error, for layers, logs, retries and callers that do not know the error's type. The code
/// of an error without this trait is [`Code::Unknown`]. The text of `Display` is sent as well, if the error
/// implements it. Callers that know the type get the error itself, as [`CallError::App`](crate::CallError), whose
/// [`code`](crate::CallError::code) is that of the error.
///
/// An error with this trait also becomes a [`Status`], which a method that returns one passes on with `?`:
///
/// ```
/// use muxado_rpc::{AppError, CallError, Code, Status};
///
/// #[derive(Debug, AppError, serde::Serialize, serde::Deserialize)]
/// #[code(NotFound)]
/// struct NoSuchUser { id: u64 }
///
/// fn pass_on(result: Result<u32, CallError<NoSuchUser>>) -> Result<u32, Status> {
///     Ok(result?)
/// }
/// let status = pass_on(Err(CallError::App(NoSuchUser { id: 7 }))).unwrap_err();
/// assert_eq!(status.code(), Code::NotFound);
/// assert_eq!(status.details::<NoSuchUser>().map(|user| user.id), Some(7));
/// ```
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
    /// Returns the kind of failure. [`Code::Unknown`] unless implemented.
    fn code(&self) -> Code {
        Code::Unknown
    }

    /// Returns the error as a status, for those who do not know its type.
    ///
    /// Its code is that of the error. A derived implementation adds the text of `Display` and the error itself as
    /// [details](Status::details), if the error implements `Display` and `Serialize`.
    fn to_status(&self) -> Status {
        Status::new(self.code(), "")
    }
}

impl AppError for Infallible {
    fn code(&self) -> Code {
        match *self {}
    }
}

/// A status is what it is.
impl AppError for Status {
    fn code(&self) -> Code {
        Self::code(self)
    }

    fn to_status(&self) -> Status {
        self.clone()
    }
}

/// A text has no code of its own.
impl AppError for String {
    fn to_status(&self) -> Status {
        Status::unknown(self.as_str())
    }
}

impl AppError for () {}

impl<E: AppError + ?Sized> AppError for Box<E> {
    fn code(&self) -> Code {
        (**self).code()
    }

    fn to_status(&self) -> Status {
        (**self).to_status()
    }
}

/// The status of an error for which the trait is derived.
pub fn derived_status(code: Code, message: Option<String>) -> Status {
    Status::new(code, message.unwrap_or_default())
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

/// The value of an error that can be sent.
pub trait DetailsOfSome<E> {
    /// Adds it to a status.
    fn details_of(&self, error: &E, status: Status) -> Status;
}

impl<E: Serialize> DetailsOfSome<E> for Probe<E> {
    fn details_of(&self, error: &E, status: Status) -> Status {
        status.with_details(error)
    }
}

/// The value of any other error: none.
pub trait DetailsOfAny<E> {
    /// Leaves a status as it is.
    fn details_of(&self, error: &E, status: Status) -> Status;
}

impl<E> DetailsOfAny<E> for &Probe<E> {
    fn details_of(&self, _error: &E, status: Status) -> Status {
        status
    }
}
