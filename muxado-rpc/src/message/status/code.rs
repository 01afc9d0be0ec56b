//! The kinds of failure. They are those of gRPC.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $word:literal)*) => {
        /// The kind of a failure, by gRPC's names.
        ///
        /// On the wire a code is its name in snake case. An unknown name is read as [`Unknown`](Self::Unknown).
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
            /// Returns the name on the wire.
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
    /// Any other failure, or an application's own error without a code.
    Unknown "unknown"
    /// The request is not valid, in whatever state the system is.
    InvalidArgument "invalid_argument"
    /// The time limit passed.
    DeadlineExceeded "deadline_exceeded"
    /// What was asked for does not exist.
    NotFound "not_found"
    /// What was to be created exists already.
    AlreadyExists "already_exists"
    /// The caller is known and has no permission.
    PermissionDenied "permission_denied"
    /// A limit was reached: of a size, a rate, a quota.
    ResourceExhausted "resource_exhausted"
    /// The system is not in a state that allows the call.
    FailedPrecondition "failed_precondition"
    /// The call conflicts with another one. The caller may repeat the whole operation.
    Aborted "aborted"
    /// A position or value is out of range.
    OutOfRange "out_of_range"
    /// The peer does not serve the service or method.
    Unimplemented "unimplemented"
    /// A bug, such as a panic or a response that is not valid.
    Internal "internal"
    /// The peer cannot be reached now; trying again may help.
    Unavailable "unavailable"
    /// Data was lost or damaged.
    DataLoss "data_loss"
    /// The caller is not authenticated.
    Unauthenticated "unauthenticated"
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = std::convert::Infallible;

    /// Never fails: an unknown name is [`Code::Unknown`].
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
