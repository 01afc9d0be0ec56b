//! The kinds of failure, those of gRPC.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $word:literal)*) => {
        /// The kind of a failure: gRPC's, by name.
        ///
        /// On the wire it is the word in snake case. A word that is not known is read as
        /// [`Unknown`](Self::Unknown).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        // An answer without a code means this (PROTOCOL §10.8).
        impl Default for Code {
            fn default() -> Self {
                Self::Unknown
            }
        }

        impl Code {
            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The code of a word on the wire.
            pub(crate) fn from_wire(word: &str) -> Self {
                match word {
                    $($word => Self::$name,)*
                    _ => Self::Unknown,
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// The call was cancelled, usually by the caller.
    Cancelled "cancelled"
    /// A failure that says no more, or an application's own error.
    Unknown "unknown"
    /// The request can never succeed as it is.
    InvalidArgument "invalid_argument"
    /// The time limit passed.
    DeadlineExceeded "deadline_exceeded"
    /// What was asked for is not there.
    NotFound "not_found"
    /// What was to be made is there already.
    AlreadyExists "already_exists"
    /// The caller is known and may not.
    PermissionDenied "permission_denied"
    /// A limit was reached: of a size, a rate, a quota.
    ResourceExhausted "resource_exhausted"
    /// The state of the system does not allow it now.
    FailedPrecondition "failed_precondition"
    /// A conflict with another call; the whole of it may be tried again.
    Aborted "aborted"
    /// A position beyond the end.
    OutOfRange "out_of_range"
    /// The service or method is not served there.
    Unimplemented "unimplemented"
    /// A bug: a panic, an answer that is none.
    Internal "internal"
    /// The peer cannot be reached now; trying again may help.
    Unavailable "unavailable"
    /// Data is lost or damaged.
    DataLoss "data_loss"
    /// The caller is not known.
    Unauthenticated "unauthenticated"
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = std::convert::Infallible;

    /// Never fails: a word that is not known is [`Code::Unknown`].
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_wire(word))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from_wire(&word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_the_wire() {
        assert_eq!(Code::ALL.len(), 16);
        for code in Code::ALL {
            assert_eq!(Code::from_wire(code.as_str()), *code);
        }
    }

    #[test]
    fn a_word_of_the_future_is_unknown() {
        assert_eq!(Code::from_wire("out_of_luck"), Code::Unknown);
    }
}
