//! The error of a value that cannot be encoded or decoded.

use std::fmt::{self, Display};

use serde::{
    de::{self, Expected, Unexpected},
    ser,
};

use super::bounded::Failure;
use crate::support::truncate::{MAX_SHOWN, brief};

/// Why a value could not be encoded or decoded, in at most [`MAX_SHOWN`] bytes, whatever it quotes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.text)]
// As large as a pointer: it is part of every value's result on its way out.
pub(crate) struct CodecError(Box<Cause>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    text: Box<str>,
    /// The text says where in the message.
    is_located: bool,
}

impl CodecError {
    #[cold]
    pub(crate) fn new(cause: impl Display) -> Self {
        Self::of(cause, false)
    }

    fn of(cause: impl Display, is_located: bool) -> Self {
        Self(Box::new(Cause { text: brief(cause, MAX_SHOWN).into(), is_located }))
    }
}

impl Failure for CodecError {
    fn of_codec(cause: &dyn Display) -> Self {
        Self::of(cause, true)
    }

    fn at(mut self, location: &str) -> Self {
        let Cause { text, is_located } = &mut *self.0;
        if !*is_located && !location.is_empty() {
            *is_located = true;
            *text = format!("{text}{location}").into();
        }
        self
    }
}

impl ser::Error for CodecError {
    #[cold]
    fn custom<T: Display>(cause: T) -> Self {
        Self::new(cause)
    }
}

/// As serde has them, but what they quote is cut by itself, so that what was expected is said, too.
impl de::Error for CodecError {
    #[cold]
    fn custom<T: Display>(cause: T) -> Self {
        Self::new(cause)
    }

    #[cold]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!("invalid type: {}, expected {expected}", Found(found)))
    }

    #[cold]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!("invalid value: {}, expected {expected}", Found(found)))
    }

    #[cold]
    fn unknown_variant(name: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format_args!("unknown variant `{}`, {}", Name(name), OneOf(expected, "variants")))
    }

    #[cold]
    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format_args!("unknown field `{}`, {}", Name(name), OneOf(expected, "fields")))
    }
}

/// Bytes of a name or a string that are quoted.
const MAX_NAME: usize = 80;

/// A name that a peer chose.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&brief(self.0, MAX_NAME))
    }
}

struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "string \"{}\"", Name(text)),
            Unexpected::Other(what) => write!(f, "{}", Name(what)),
            ref other => other.fmt(f),
        }
    }
}

struct OneOf(&'static [&'static str], &'static str);

impl Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(names, kind) = *self;
        match names {
            [] => write!(f, "there are no {kind}"),
            [name] => write!(f, "expected `{name}`"),
            [first, second] => write!(f, "expected `{first}` or `{second}`"),
            [first, rest @ ..] => {
                write!(f, "expected one of `{first}`")?;
                rest.iter().try_for_each(|name| write!(f, ", `{name}`"))
            }
        }
    }
}
