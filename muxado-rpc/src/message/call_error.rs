//! What a generated client returns when there is no value.

use std::{convert::Infallible, error::Error, fmt};

use crate::{AppError, Code, Status, support::truncate::Brief};

/// The error of a call: the application's own error `E`, or a [`Status`].
///
/// A method that does not return a `Result` has [`CallError<Infallible>`](CallError), which is always a status.
///
/// `Display` shows at most 256 bytes of either text, escaped, because a peer sent it. [`app`](Self::app) returns
/// the application's error as a whole.
///
/// ```
/// use muxado_rpc::{CallError, Status};
///
/// fn explain(error: CallError<String>) -> String {
///     match error {
///         CallError::App(own) => format!("the method says {own}"),
///         CallError::Status(status) if !status.may_have_executed() => "try again".to_owned(),
///         CallError::Status(status) => format!("the call failed: {status}"),
///     }
/// }
/// assert_eq!(explain(CallError::App("no".to_owned())), "the method says no");
/// assert_eq!(explain(Status::not_found("x").into()), "the call failed: not_found: x");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<E = Infallible> {
    /// The method returned this error.
    App(E),
    /// The call failed in any other way.
    Status(Status),
}

impl<E> CallError<E> {
    /// Returns the status. `None` for the application's error.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::App(_) => None,
            Self::Status(status) => Some(status),
        }
    }

    /// Returns the application's error. `None` for a status.
    pub fn app(&self) -> Option<&E> {
        match self {
            Self::App(error) => Some(error),
            Self::Status(_) => None,
        }
    }

    /// Returns whether the call may have been executed. If not, trying it again is safe.
    pub fn may_have_executed(&self) -> bool {
        self.status().is_none_or(Status::may_have_executed)
    }

    /// Converts the application's error with `map`.
    pub fn map_app<F>(self, map: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::App(error) => CallError::App(map(error)),
            Self::Status(status) => CallError::Status(status),
        }
    }
}

impl<E: AppError> CallError<E> {
    /// Returns the kind of failure: that of the status, or that of the application's error, which is
    /// [`Code::Unknown`] if it has none ([`AppError`]).
    ///
    /// ```
    /// use muxado_rpc::{AppError, CallError, Code, Status};
    ///
    /// #[derive(AppError)]
    /// #[code(OutOfRange)]
    /// struct Overflow;
    ///
    /// assert_eq!(CallError::App(Overflow).code(), Code::OutOfRange);
    /// assert_eq!(CallError::<Overflow>::from(Status::aborted("x")).code(), Code::Aborted);
    /// ```
    pub fn code(&self) -> Code {
        match self {
            Self::App(error) => error.code(),
            Self::Status(status) => status.code(),
        }
    }
}

impl<E> From<Status> for CallError<E> {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Makes one status of both kinds, so that a handler that returns a [`Status`] passes the failure of a call on with `?`.
///
/// Code, details and whether the call may have been executed stay what they are, and so does the text that the peer
/// sent. A text of this side, such as that of a lost connection or of a value that cannot be decoded, is for this
/// side: [`message`](Status::message) returns it, and who gets the status over a connection sees another in its place.
impl<E: AppError> From<CallError<E>> for Status {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::App(error) => error.to_status(),
            CallError::Status(status) => status.passed_on(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => Brief(error).fmt(f),
            Self::Status(status) => status.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::App(error) => error.source(),
            Self::Status(status) => status.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    #[test]
    fn it_goes_through_the_question_mark_as_any_error() {
        fn fails() -> Result<(), Box<dyn Error + Send + Sync>> {
            Err(CallError::<Infallible>::from(Status::aborted("x")))?
        }
        assert_eq!(fails().unwrap_err().to_string(), "aborted: x");
    }

    #[test]
    fn a_status_of_a_method_is_a_status() {
        fn passes_on() -> Result<(), Status> {
            Err(CallError::<Status>::from(Status::aborted("x")))?
        }
        assert_eq!(passes_on(), Err(Status::aborted("x")));
        assert_eq!(Status::from(CallError::App(Status::aborted("x"))), Status::aborted("x"));
    }

    #[test]
    fn the_text_of_an_application_error_is_shown_escaped_and_cut() {
        let error = CallError::App("\u{1b}[31m\n\u{9b}".repeat(1000));
        let text = error.to_string();
        assert!(text.starts_with("\\u{1b}[31m\\n\\u{9b}") && text.len() <= 256, "{text}");
        assert_eq!(error.app().map(String::len), Some(8000));
        assert_eq!(CallError::App("no such \"user\"").to_string(), "no such \"user\"");
    }

    #[test]
    fn an_application_error_may_have_run() {
        let error = CallError::App("no".to_owned());
        assert_eq!((error.code(), error.may_have_executed()), (Code::Unknown, true));
        assert_eq!(error.map_app(|text| text.len()), CallError::App(2));
    }

    #[test]
    fn what_is_passed_on_keeps_all_but_the_text_of_this_side() {
        let theirs = Status::not_found("no user 7").with_details(&7).not_executed().with_origin(Origin::Peer);
        let passed = Status::from(CallError::<String>::from(theirs));
        assert_eq!((passed.code(), passed.sent_message()), (Code::NotFound, "no user 7"));
        assert_eq!((passed.details(), passed.may_have_executed()), (Some(7), false));

        for origin in [Origin::Local, Origin::Transport] {
            let ours = Status::unavailable("10.0.0.7: refused").with_origin(origin).not_executed();
            let passed = Status::from(CallError::<Infallible>::from(ours));
            assert_eq!((passed.code(), passed.may_have_executed()), (Code::Unavailable, false));
            assert_eq!(passed.message(), "10.0.0.7: refused");
            assert!(!passed.sent_message().contains("10.0.0.7"), "{}", passed.sent_message());
            assert!(!serde_json::to_string(&passed).unwrap().contains("10.0.0.7"));
        }
    }
}
