//! The failure of a call, other than the application's own error.

mod code;
mod from;
mod http;

use std::{error::Error, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

pub use self::code::Code;
pub(crate) use self::from::{from_box_error, from_open_error, from_read_error};
use crate::{
    codec::{Codec, CodecError},
    support::truncate::{Brief, Escaped, truncate},
};

/// The reason why a call failed: a code, a text for people, and optional details for programs.
///
/// A method may return a status as its error, as in `Result<User, Status>`. The caller gets it as
/// [`CallError::Status`](crate::CallError::Status), details included.
///
/// A status also says who failed ([`origin`](Self::origin)), and whether the call may have been executed
/// ([`may_have_executed`](Self::may_have_executed)), which decides whether a retry is safe.
///
/// ```
/// use muxado_rpc::{Code, Status};
///
/// let status = Status::not_found("no user 7");
/// assert_eq!(status.code(), Code::NotFound);
/// assert_eq!(status.to_string(), "not_found: no user 7");
/// ```
///
/// [`message`](Self::message) returns the text unescaped; at most 4 096 bytes of a peer's text are kept. `Display` and
/// `Debug` escape control characters and show at most 256 bytes of a text that came from a peer ([`Origin::Peer`]).
#[derive(Clone)]
pub struct Status {
    // Boxed so that a `Result` with it stays as small as its value.
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    details: Option<Details>,
    origin: Origin,
    executed: Executed,
    /// It is that of a call which was made on this side, and its text is for this side only.
    private: bool,
}

/// An encoded value.
#[derive(Clone)]
enum Details {
    /// In both codecs, since it is not known in which the call is.
    Own {
        json: Encoded,
        packed: Encoded,
    },
    Received {
        codec: Codec,
        bytes: Bytes,
    },
}

type Encoded = Result<Bytes, CodecError>;

/// Who caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The peer: its handler, one of its layers, or its RPC runtime.
    Peer,
    /// This side: a layer, a limit, a time limit, or a value that cannot be encoded or decoded.
    Local,
    /// The connection between the two.
    Transport,
}

/// Whether a failed call was executed by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Executed {
    /// The call was surely not executed. Trying it again is safe.
    No,
    /// The call may have been executed, wholly or in part.
    Maybe,
}

impl Status {
    /// Creates a status with a code and a text. Its origin is [`Origin::Local`]; for the other side of a connection it
    /// is [`Origin::Peer`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let inner = Inner {
            code,
            message: message.into(),
            details: None,
            origin: Origin::Local,
            executed: Executed::Maybe,
            private: false,
        };
        Self { inner: Box::new(inner) }
    }

    /// Adds a value that programs read with [`details`](Self::details), in either codec.
    ///
    /// A value that the codec of the call cannot carry is left out there, such as a NaN in JSON.
    ///
    /// ```
    /// use std::{collections::BTreeMap, net::IpAddr};
    /// use muxado_rpc::Status;
    ///
    /// let tries = BTreeMap::from([(1, IpAddr::from([10, 0, 0, 1])), (2, IpAddr::from([10, 0, 0, 2]))]);
    /// let status = Status::unavailable("no replica answers").with_details(&tries);
    /// assert_eq!(status.details(), Some(tries));
    /// ```
    #[must_use]
    pub fn with_details<T: Serialize>(mut self, details: &T) -> Self {
        let encoded = |codec: Codec| {
            let mut buf = Vec::new();
            codec.encode_into(details, &mut buf).map(|()| buf.into())
        };
        self.inner.details =
            Some(Details::Own { json: encoded(Codec::Json), packed: encoded(Codec::MessagePack) });
        self
    }

    pub(crate) fn with_raw_details(mut self, codec: Codec, bytes: Bytes) -> Self {
        self.inner.details = Some(Details::Received { codec, bytes });
        self
    }

    pub(crate) fn with_origin(mut self, origin: Origin) -> Self {
        self.inner.origin = origin;
        self
    }

    /// Marks the call as surely not executed, so that the caller knows that a retry is safe.
    ///
    /// Layers use it when they refuse a call before its handler runs. It has no effect on a status that a method
    /// returns, because the method did run.
    ///
    /// ```
    /// use muxado_rpc::Status;
    ///
    /// let refused = Status::resource_exhausted("too many calls today").not_executed();
    /// assert!(!refused.may_have_executed());
    /// ```
    #[must_use]
    pub fn not_executed(mut self) -> Self {
        self.inner.executed = Executed::No;
        self
    }

    /// Marks the call as possibly executed, whatever the peer says: it was tried before, or answered in part.
    pub(crate) fn maybe_executed(mut self) -> Self {
        self.inner.executed = Executed::Maybe;
        self
    }

    /// Marks the status as that of a call, whose text goes no further if it arose on this side.
    pub(crate) fn passed_on(mut self) -> Self {
        self.inner.private = self.inner.origin != Origin::Peer;
        self
    }

    /// The text as it is sent.
    pub(crate) fn sent_message(&self) -> &str {
        if self.inner.private { PASSED_ON } else { self.message() }
    }

    /// Returns the kind of failure.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// Returns the text for people, unescaped. It may be empty; at most 4 096 bytes of a peer's text are kept.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Returns the details. `None` if there are none or they do not decode as `T`.
    pub fn details<T: DeserializeOwned>(&self) -> Option<T> {
        let (codec, bytes) = match self.inner.details.as_ref()? {
            Details::Own { packed: Ok(bytes), .. } => (Codec::MessagePack, bytes),
            Details::Own { json, .. } => (Codec::Json, json.as_ref().ok()?),
            Details::Received { codec, bytes } => (*codec, bytes),
        };
        codec.decode(bytes).ok()
    }

    /// The details in this codec, for the wire. Details that have no form in it are left out.
    pub(crate) fn raw_details(&self, codec: Codec) -> Option<Bytes> {
        let encoded = match (self.inner.details.as_ref()?, codec) {
            (Details::Own { json, .. }, Codec::Json) => json.clone(),
            (Details::Own { packed, .. }, Codec::MessagePack) => packed.clone(),
            (Details::Received { codec: received, bytes }, _) => received.transcode(bytes, codec),
        };
        encoded.inspect_err(|error| tracing::debug!(%codec, %error, "details of a status are left out")).ok()
    }

    /// Returns who caused the failure.
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// Returns whether the peer may have executed the call.
    pub fn executed(&self) -> Executed {
        self.inner.executed
    }

    /// Returns whether the call may have been executed. If not, trying it again is safe: it was not sent, or the peer
    /// refused it and said so (`PROTOCOL §10.8`, `§10.10`).
    ///
    /// A peer of this implementation says so of an unknown service or method, a request that it cannot decode or that
    /// exceeds a limit, a time limit that passes before the method begins, and a call that an
    /// [`AuthLayer`](crate::layers::AuthLayer), a load shedding layer or a service that is not ready refuses. Other
    /// implementations may leave it open.
    pub fn may_have_executed(&self) -> bool {
        self.inner.executed != Executed::No
    }

    /// The text for people, as far as it is shown.
    fn shown_message(&self) -> std::borrow::Cow<'_, str> {
        match self.inner.origin {
            Origin::Peer => Brief(self.message()).to_string().into(),
            _ => self.message().into(),
        }
    }

    pub(crate) fn cannot_decode(what: impl fmt::Display, codec: Codec, cause: &CodecError) -> Self {
        Self::internal(format!("cannot decode {what} as {codec}: {cause}"))
    }
}

macro_rules! constructors {
    ($($name:ident $code:ident $doc:literal)*) => {
        impl Status {
            $(
                #[doc = $doc]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new(Code::$code, message)
                }
            )*
        }
    };
}

constructors! {
    cancelled Cancelled "Creates a status with [`Code::Cancelled`]."
    unknown Unknown "Creates a status with [`Code::Unknown`]."
    invalid_argument InvalidArgument "Creates a status with [`Code::InvalidArgument`]."
    deadline_exceeded DeadlineExceeded "Creates a status with [`Code::DeadlineExceeded`]."
    not_found NotFound "Creates a status with [`Code::NotFound`]."
    already_exists AlreadyExists "Creates a status with [`Code::AlreadyExists`]."
    permission_denied PermissionDenied "Creates a status with [`Code::PermissionDenied`]."
    resource_exhausted ResourceExhausted "Creates a status with [`Code::ResourceExhausted`]."
    failed_precondition FailedPrecondition "Creates a status with [`Code::FailedPrecondition`]."
    aborted Aborted "Creates a status with [`Code::Aborted`]."
    out_of_range OutOfRange "Creates a status with [`Code::OutOfRange`]."
    unimplemented Unimplemented "Creates a status with [`Code::Unimplemented`]."
    internal Internal "Creates a status with [`Code::Internal`]."
    unavailable Unavailable "Creates a status with [`Code::Unavailable`]."
    data_loss DataLoss "Creates a status with [`Code::DataLoss`]."
    unauthenticated Unauthenticated "Creates a status with [`Code::Unauthenticated`]."
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { code, message, origin, .. } = &*self.inner;
        match (&**message, origin) {
            ("", _) => write!(f, "{code}"),
            (text, Origin::Peer) => write!(f, "{code}: {}", Brief(text)),
            (text, _) => write!(f, "{code}: {}", Escaped(text)),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("code", &self.inner.code)
            .field("message", &self.shown_message())
            .field("origin", &self.inner.origin)
            .field("executed", &self.inner.executed)
            .finish_non_exhaustive()
    }
}

impl Error for Status {}

/// Two statuses are equal if their code and text are: what a peer sees of them.
impl PartialEq for Status {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code() && self.message() == other.message()
    }
}

impl Eq for Status {}

/// What is sent instead of a text that is for this side only.
const PASSED_ON: &str = "a call that the method made has failed";

/// Bytes of the text of an error that are sent, and that are kept of what a peer sends.
pub(crate) const MAX_STATUS_MESSAGE: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Text<'a> {
    code: Code,
    #[serde(borrow, default)]
    message: std::borrow::Cow<'a, str>,
}

/// As a map of code and text, so that it can be a part of other values.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text { code: self.code(), message: self.sent_message().into() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let message = truncate(&text.message, MAX_STATUS_MESSAGE);
        Ok(Self::new(text.code, message).with_origin(Origin::Peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_with_a_status_is_no_larger_than_a_pointer() {
        assert_eq!(size_of::<Result<(), Status>>(), size_of::<usize>());
    }

    #[test]
    fn details_keep_their_type_in_either_codec() {
        let status = Status::aborted("try later").with_details(&vec![1, 2]);
        assert_eq!(status.details::<Vec<i32>>(), Some(vec![1, 2]));
        assert_eq!(status.details::<String>(), None);
        let json = status.raw_details(Codec::Json).unwrap();
        assert_eq!(&json[..], b"[1,2]");
        let received = Status::aborted("").with_raw_details(Codec::Json, json);
        assert_eq!(received.details::<Vec<i32>>(), Some(vec![1, 2]));
    }

    #[test]
    fn details_of_any_type_reach_a_caller_in_either_codec() {
        use std::{collections::BTreeMap, net::IpAddr};

        type Any = (BTreeMap<i32, Vec<u8>>, IpAddr, i128, Option<u8>);
        let value: Any =
            (BTreeMap::from([(-7, vec![0, 255])]), IpAddr::from([127, 0, 0, 1]), i128::MIN, None);
        let status = Status::aborted("").with_details(&value);
        let json = status.raw_details(Codec::Json).unwrap();
        let number = i128::MIN;
        assert_eq!(json, format!("[{{\"-7\":\"AP8=\"}},\"127.0.0.1\",{number},null]").as_bytes());
        for (codec, other) in [(Codec::Json, Codec::MessagePack), (Codec::MessagePack, Codec::Json)] {
            let received = Status::aborted("").with_raw_details(codec, status.raw_details(codec).unwrap());
            assert_eq!(received.details::<Any>().as_ref(), Some(&value), "{codec}");
            // It may be passed on in the other one.
            let passed = received.raw_details(other).unwrap();
            let received = Status::aborted("").with_raw_details(other, passed);
            assert!(received.details::<serde::de::IgnoredAny>().is_some(), "{codec}");
        }
    }

    #[test]
    fn details_are_left_out_where_they_have_no_form() {
        let status = Status::aborted("").with_details(&f64::NAN);
        assert_eq!(status.raw_details(Codec::Json), None);
        assert!(status.raw_details(Codec::MessagePack).is_some());
        assert!(status.details::<f64>().is_some_and(f64::is_nan));
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_escaped() {
        let status = Status::aborted("a\u{1b}[2J\nb\u{202e}");
        assert_eq!(status.message(), "a\u{1b}[2J\nb\u{202e}");
        for status in [status.clone(), status.with_origin(Origin::Peer)] {
            assert_eq!(status.to_string(), "aborted: a\\u{1b}[2J\\nb\\u{202e}");
            let debug = format!("{status:?}");
            assert!(!debug.contains(['\u{1b}', '\n', '\u{202e}']), "{debug}");
        }
    }

    #[test]
    fn of_a_text_from_a_peer_the_beginning_is_shown() {
        let status = Status::aborted("x".repeat(4000));
        assert_eq!(status.to_string().len(), "aborted: ".len() + 4000);
        let status = status.with_origin(Origin::Peer);
        assert_eq!(status.to_string().len(), "aborted: ".len() + 256);
        assert!(format!("{status:?}").len() < 400);
        assert_eq!(status.message().len(), 4000);
        let json = serde_json::json!({"code": "aborted", "message": "ü".repeat(4000)}).to_string();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap().message().len(), 4096);
    }

    #[test]
    fn a_status_can_be_part_of_a_value() {
        let status = Status::not_found("no user 7");
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(text, r#"{"code":"not_found","message":"no user 7"}"#);
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }
}
