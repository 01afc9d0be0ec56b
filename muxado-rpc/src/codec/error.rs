//! The error of a value that cannot be encoded or decoded.

use std::{
    cell::Cell,
    error::Error,
    fmt::{self, Display},
};

use serde::{
    de::{self, Expected, Unexpected},
    ser,
};

use super::bounded::{Failure, Step};
use crate::support::truncate::{Brief, MAX_SHOWN, brief};

/// Why a value could not be encoded or decoded, in at most [`MAX_SHOWN`] bytes, whatever it quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
// As large as a pointer: it is part of every value's result on its way out.
pub(crate) struct CodecError(Box<Cause>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    text: Box<str>,
    /// The text says where in the message.
    is_located: bool,
    /// In which part of the value it was, from the outside: `user.tags[3]`. `None` if it does not matter.
    path: Option<String>,
}

impl CodecError {
    #[cold]
    pub(crate) fn new(cause: impl Display) -> Self {
        Self::of(cause, false)
    }

    fn of(cause: impl Display, is_located: bool) -> Self {
        Self(Box::new(Cause { text: brief(cause, MAX_SHOWN).into(), is_located, path: Some(String::new()) }))
    }

    /// Of a value that is a field, or is in a variant, of this name.
    #[cold]
    #[inline(never)]
    pub(crate) fn inside_field(self, name: &str) -> Self {
        self.inside(Step::Name(name))
    }

    /// Of a value that is an element.
    #[cold]
    #[inline(never)]
    pub(crate) fn inside_element(self, index: usize) -> Self {
        self.inside(Step::Index(index))
    }
}

impl Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause { text, path: Some(path), .. } if !path.is_empty() => {
                Brief(format_args!("`{path}`: {text}")).fmt(f)
            }
            Cause { text, .. } => f.write_str(text),
        }
    }
}

impl Error for CodecError {}

impl Failure for CodecError {
    const IS_SHOWN: bool = true;

    type Place = Cell<Option<Box<str>>>;

    fn of_codec(cause: &dyn Display) -> Self {
        Self::of(cause, true)
    }

    fn at(mut self, location: &str) -> Self {
        let Cause { text, is_located, .. } = &mut *self.0;
        if !*is_located && !location.is_empty() {
            *is_located = true;
            *text = format!("{text}{location}").into();
        }
        self
    }

    fn inside(mut self, step: Step<'_>) -> Self {
        let Some(path) = &mut self.0.path else { return self };
        let between = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        let longer = match step {
            Step::Name(name) => format!("{}{between}{path}", Name(name)),
            Step::Index(index) => format!("[{index}]{between}{path}"),
        };
        *path = brief(longer, MAX_NAME);
        self
    }

    fn of_whole(mut self) -> Self {
        self.0.path = None;
        self
    }
}

/// The error of a first attempt, which is made again if what is wrong is to be told.
#[derive(Debug)]
pub(crate) struct Unsound;

impl Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no sound value")
    }
}

impl Error for Unsound {}

impl de::Error for Unsound {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

impl Failure for Unsound {
    const IS_SHOWN: bool = false;

    type Place = ();

    fn of_codec(_: &dyn Display) -> Self {
        Self
    }

    fn at(self, _: &str) -> Self {
        self
    }

    fn inside(self, _: Step<'_>) -> Self {
        self
    }

    fn of_whole(self) -> Self {
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

/// Bytes of a name, a string or a path that are quoted.
pub(crate) const MAX_NAME: usize = 80;

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
