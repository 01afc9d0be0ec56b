//! Why a value could not be encoded or decoded.

use std::fmt::{self, Display};

use serde::{
    de::{self, Expected, Unexpected},
    ser,
};

use super::bounded::Failure;
use crate::text::{MAX_SHOWN, brief};

/// Why a value could not be encoded or decoded, in at most [`MAX_SHOWN`] bytes, whatever it quotes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct CodecError {
    text: Box<str>,
    /// The text says where in the message.
    is_located: bool,
}

impl CodecError {
    #[cold]
    pub(crate) fn new(cause: impl Display) -> Self {
        Self { text: brief(cause, MAX_SHOWN).into(), is_located: false }
    }
}

impl Failure for CodecError {
    fn of_codec(cause: &dyn Display) -> Self {
        Self { is_located: true, ..Self::new(cause) }
    }

    fn at(mut self, location: &str) -> Self {
        if !self.is_located && !location.is_empty() {
            self.is_located = true;
            self.text = format!("{}{location}", self.text).into();
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
