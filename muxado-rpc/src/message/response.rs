//! The response of a call, as layers and clients see it.

use std::any::Any;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Body, CallError, Code, Codec, Metadata, MethodInfo, Origin, RawError, Status,
    codec::CodecError,
    message::{
        app_error::Description,
        payload::{LargeString, Payload},
        raw_value::raw_value,
    },
    support::{
        panics::Panic,
        truncate::{Brief, MAX_SHOWN, brief},
    },
};

/// The response of a call: a value, a stream of items still to come, or the application's own error.
///
/// Any other failure is a [`Status`], the error type of this crate's Tower services.
#[derive(Debug)]
pub struct Response {
    codec: Codec,
    outcome: Outcome,
    metadata: Metadata,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// The method's value.
    Value(Payload),
    /// The method's error.
    Error(EncodedError),
    /// The method's items, which are still to come.
    Body(Body),
}

/// Why there is no value, or no further item.
#[derive(Debug)]
pub enum Failure {
    /// The method's own error.
    App(EncodedError),
    /// Any other.
    Status(Status),
    /// The handler panicked with this.
    Panic(Panic),
}

impl Failure {
    /// The failure that an error of a method is. A [`Status`] is none of the application's own errors: it goes as
    /// what it is, so that callers of any kind see its code.
    pub(crate) fn of_error<E>(codec: Codec, error: &E, describe: fn(&E) -> Description) -> Self
    where
        E: Serialize + 'static,
    {
        match (error as &dyn Any).downcast_ref::<Status>() {
            // That of another call which was refused says nothing of this one.
            Some(status) => Self::Status(status.clone().maybe_executed()),
            None => {
                let Description { code, message } = describe(error);
                EncodedError::encode(codec, error, code, message).map_or_else(Self::Status, Self::App)
            }
        }
    }

    /// The code that it shows.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::App(error) => error.code,
            Self::Status(status) => status.code(),
            Self::Panic(_) => Code::Internal,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// An application's error: a code and a text for those who do not know its type, and its value.
#[derive(Clone, Debug)]
pub struct EncodedError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) value: Payload,
}

impl Response {
    /// Creates a response with a value that a method returned.
    ///
    /// # Errors
    ///
    /// Returns `internal` if the codec cannot encode it.
    pub fn new<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, Status> {
        Ok(Self::from_outcome(codec, Outcome::Value(encode(codec, value)?)))
    }

    /// Creates a response with a value, of which a large string at the end is not copied: `take` takes it.
    #[inline]
    pub(crate) fn of_value<T: Serialize>(
        codec: Codec,
        value: &mut T,
        take: fn(&mut T) -> Option<LargeString>,
    ) -> Result<Self, Status> {
        if codec == Codec::MessagePack
            && let Some(large) = take(value)
        {
            return Self::of_lent(value, large);
        }
        Self::new(codec, value)
    }

    #[cold]
    fn of_lent<T: Serialize>(value: &T, large: LargeString) -> Result<Self, Status> {
        let codec = Codec::MessagePack;
        let value = Payload::encode_lent(value, large).map_err(|error| cannot_encode(codec, &error))?;
        Ok(Self::from_outcome(codec, Outcome::Value(value)))
    }

    /// Creates a response with an error that a method returned.
    ///
    /// # Errors
    ///
    /// Returns `internal` if the codec cannot encode it.
    pub fn from_error<E: Serialize + ?Sized>(codec: Codec, error: &E) -> Result<Self, Status> {
        Ok(Self::of_app_error(codec, EncodedError::encode(codec, error, Code::Unknown, None)?))
    }

    /// Creates a response with an error that a method returned, of a type that is not known here. It is in the codec of
    /// the error.
    ///
    /// ```
    /// use muxado_rpc::{RawError, Response};
    ///
    /// /// Passes on what another method has returned.
    /// fn relay(error: RawError) -> Response {
    ///     Response::from_raw_error(error)
    /// }
    /// # let _ = relay;
    /// ```
    pub fn from_raw_error(error: RawError) -> Self {
        let (codec, error) = error.into_parts();
        Self::of_app_error(codec, error)
    }

    #[inline]
    pub(crate) fn from_outcome(codec: Codec, outcome: Outcome) -> Self {
        Self { codec, outcome, metadata: Metadata::new() }
    }

    pub(crate) fn of_app_error(codec: Codec, error: EncodedError) -> Self {
        Self::from_outcome(codec, Outcome::Error(error))
    }

    pub(crate) fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Returns a mutable reference to the metadata. On the serving side changes are sent.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Returns the metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Sets the value, in the codec of the response. It takes the place of a value, an error or a stream.
    ///
    /// # Errors
    ///
    /// Returns `internal` if the codec cannot encode it.
    pub fn set_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Status> {
        self.outcome = Outcome::Value(encode(self.codec, value)?);
        Ok(())
    }

    /// Sets the value, which is encoded already in the codec of the response.
    ///
    /// # Errors
    ///
    /// Returns `internal` if the bytes are not one value in that codec.
    pub fn set_raw_value(&mut self, value: impl Into<Bytes>) -> Result<(), Status> {
        let value = raw_value(self.codec, value.into())
            .map_err(|error| Status::internal(format!("not an answer in {}: {error}", self.codec)))?;
        self.outcome = Outcome::Value(value);
        Ok(())
    }

    /// Creates a response with a stream of items.
    ///
    /// ```
    /// use futures_util::stream;
    /// use muxado_rpc::{Body, Codec, Response, Status};
    ///
    /// let items = stream::iter([1, 2, 3]).map(Ok::<_, Status>);
    /// let mut response = Response::from_body(Body::from_items(Codec::Json, items));
    /// assert!(response.body_mut().is_some());
    /// # use futures_util::StreamExt;
    /// ```
    pub fn from_body(body: Body) -> Self {
        Self::from_outcome(body.codec(), Outcome::Body(body))
    }

    /// Returns the value, decoded.
    ///
    /// # Errors
    ///
    /// Returns the error that the method returned, and `internal` if the value is of another type or the response is a
    /// stream.
    ///
    /// ```
    /// use muxado_rpc::{Codec, Response};
    ///
    /// let response = Response::new(Codec::Json, &[1, 2])?;
    /// assert_eq!(response.into_value::<Vec<i32>>()?, [1, 2]);
    /// # Ok::<_, muxado_rpc::CallError<muxado_rpc::RawError>>(())
    /// ```
    pub fn into_value<T: DeserializeOwned>(self) -> Result<T, CallError<RawError>> {
        let codec = self.codec;
        let value = self.into_bytes()?;
        let decoded = codec.decode(&value);
        Ok(decoded.map_err(|error| Status::cannot_decode("the answer", codec, &error))?)
    }

    /// Returns the encoded value.
    ///
    /// # Errors
    ///
    /// Returns the error that the method returned, and `internal` if the response is a stream.
    pub fn into_bytes(self) -> Result<Bytes, CallError<RawError>> {
        match self.outcome {
            Outcome::Value(value) => Ok(value.into_bytes()),
            Outcome::Error(error) => Err(CallError::App(RawError::new(self.codec, error))),
            Outcome::Body(_) => Err(Status::internal("items came where one answer was expected").into()),
        }
    }

    /// Returns the stream of items, if the method returns one; else the response as it was.
    ///
    /// Metadata that came over a connection are [frames](crate::BodyFrame::Metadata) of the body. Those that a service in
    /// this process or a layer has put in front are in [`metadata`](Self::metadata), and gone with the response.
    ///
    /// # Errors
    ///
    /// Returns the response if it has no body.
    pub fn into_body(mut self) -> Result<Body, Self> {
        match self.take_body() {
            Some((body, _)) => Ok(body),
            None => Err(self),
        }
    }

    /// Returns the codec of the value.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Returns whether the method returned a value or a stream, not an error.
    pub fn is_ok(&self) -> bool {
        !matches!(self.outcome, Outcome::Error(_))
    }

    /// Returns the code of the error that the method returned, if it returned one.
    pub(crate) fn error_code(&self) -> Option<Code> {
        match &self.outcome {
            Outcome::Error(error) => Some(error.code),
            Outcome::Value(_) | Outcome::Body(_) => None,
        }
    }

    /// Returns the encoded value or error. Empty if the method returns a stream.
    pub fn payload(&self) -> &[u8] {
        match &self.outcome {
            Outcome::Value(payload) => payload,
            Outcome::Error(error) => &error.value,
            Outcome::Body(_) => &[],
        }
    }

    /// Returns the stream of items, if the method returns one.
    pub fn body_mut(&mut self) -> Option<&mut Body> {
        match &mut self.outcome {
            Outcome::Body(body) => Some(body),
            _ => None,
        }
    }

    /// The former name of [`body_mut`](Self::body_mut).
    #[deprecated(note = "renamed to `body_mut`")]
    pub fn items_mut(&mut self) -> Option<&mut Body> {
        self.body_mut()
    }

    /// Takes the body of a streaming method, and the metadata that goes in front of its items.
    #[inline]
    pub(crate) fn take_body(&mut self) -> Option<(Body, Metadata)> {
        if !matches!(self.outcome, Outcome::Body(_)) {
            return None;
        }
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Value(Bytes::new().into()));
        let Outcome::Body(body) = outcome else { return None };
        Some((body, std::mem::take(&mut self.metadata)))
    }

    /// Takes the value, if there is nothing else and it is in this codec.
    #[inline]
    pub(crate) fn take_value(&mut self, codec: Codec) -> Option<Payload> {
        match &mut self.outcome {
            Outcome::Value(payload) if self.codec == codec && self.metadata.is_empty() => {
                Some(std::mem::take(payload))
            }
            _ => None,
        }
    }

    pub(crate) fn into_parts(self) -> (Codec, Outcome, Metadata) {
        (self.codec, self.outcome, self.metadata)
    }

    /// Decodes the value of a method that has no error of its own.
    #[inline]
    pub(crate) fn decode<T: DeserializeOwned>(self, method: &MethodInfo) -> Result<T, CallError> {
        match &self.outcome {
            Outcome::Value(value) => Ok(decode_value(self.codec, method, value)?),
            Outcome::Error(error) => Err(undecodable_error(self.codec, method, error, None).into()),
            Outcome::Body(_) => Err(body_unasked(method).into()),
        }
    }

    /// Decodes the value or the error of a method that has both.
    pub(crate) fn decode_result<T, E>(self, method: &MethodInfo) -> Result<T, CallError<E>>
    where
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        match &self.outcome {
            Outcome::Value(value) => Ok(decode_value(self.codec, method, value)?),
            Outcome::Error(error) => Err(error.decode(self.codec, method)),
            Outcome::Body(_) => Err(body_unasked(method).into()),
        }
    }
}

impl EncodedError {
    /// The error in its own type, or a status that shows its text.
    #[inline]
    pub(crate) fn decode<E: DeserializeOwned>(&self, codec: Codec, method: &MethodInfo) -> CallError<E> {
        match self.value.decode(codec) {
            Ok(error) => CallError::App(error),
            Err(cause) => undecodable_error(codec, method, self, Some(&cause)).into(),
        }
    }

    /// Encodes an error that a method returned.
    pub(crate) fn encode<E: Serialize + ?Sized>(
        codec: Codec,
        error: &E,
        code: Code,
        message: Option<String>,
    ) -> Result<Self, Status> {
        let value = encode(codec, error)?;
        let message = message.unwrap_or_else(|| NO_MESSAGE.to_owned());
        Ok(Self { code, message, value })
    }
}

fn body_unasked(method: &MethodInfo) -> Status {
    Status::internal(format!("{method}: items came where one answer was expected"))
}

fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Payload, Status> {
    Payload::encode(codec, value).map_err(|error| cannot_encode(codec, &error))
}

fn cannot_encode(codec: Codec, error: &CodecError) -> Status {
    Status::internal(format!("cannot encode the answer as {codec}: {error}"))
}

fn decode_value<T: DeserializeOwned>(
    codec: Codec,
    method: &MethodInfo,
    value: &Payload,
) -> Result<T, Status> {
    value
        .decode_last(codec)
        .map_err(|error| Status::cannot_decode(format_args!("the answer of {method}"), codec, &error))
}

/// The application's error is of a type this side does not know: its raw text must do.
pub(crate) fn undecodable_error(
    codec: Codec,
    method: &MethodInfo,
    error: &EncodedError,
    cause: Option<&CodecError>,
) -> Status {
    let text = text_of(codec, &error.value);
    let said = match &*error.message {
        "" | NO_MESSAGE => text,
        message => format!("{} ({text})", Brief(message)),
    };
    let why = cause.map_or_else(String::new, |cause| format!("; as {codec}: {cause}"));
    // Its code is known even if its type is not.
    let code = if error.code == Code::Unknown { Code::Internal } else { error.code };
    Status::new(code, format!("{method} returned an error that cannot be decoded: {said}{why}"))
        .with_origin(Origin::Peer)
        .with_raw_details(codec, Bytes::copy_from_slice(&error.value))
}

/// A value of any type as a short text.
fn text_of(codec: Codec, value: &[u8]) -> String {
    match codec {
        Codec::Json => {
            // What is cut off here would not be shown. It may end inside a character.
            let beginning = &value[..value.len().min(2 * MAX_SHOWN)];
            brief(String::from_utf8_lossy(beginning), MAX_SHOWN)
        }
        Codec::MessagePack if value.len() > MAX_UNPACKED => format!("a value of {} bytes", value.len()),
        Codec::MessagePack => match codec.decode::<serde_json::Value>(value) {
            Ok(value) => brief(value, MAX_SHOWN),
            Err(_) => brief(format_args!("{:?}", Bytes::copy_from_slice(value)), MAX_SHOWN),
        },
    }
}

/// Bytes of a value that is unpacked to be shown. It takes many times as much memory.
const MAX_UNPACKED: usize = 4 * MAX_SHOWN;

/// The message of an error that has none.
pub(crate) const NO_MESSAGE: &str = "the method returned an error";

#[cfg(test)]
mod tests {
    use super::*;

    static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);

    #[test]
    fn values_and_errors_come_back_typed_in_both_codecs() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let value = || Response::new(codec, &3).unwrap();
            assert_eq!(value().decode::<i32>(&METHOD), Ok(3));
            assert_eq!(value().decode_result::<i32, String>(&METHOD), Ok(3));
            let error = Response::from_error(codec, "zero").unwrap();
            assert!(!error.is_ok());
            assert_eq!(error.decode_result::<i32, String>(&METHOD), Err(CallError::App("zero".to_owned())));
        }
    }

    #[test]
    fn an_error_of_an_unknown_type_says_its_text() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let error = Response::from_error(codec, &("zero", 1)).unwrap();
            let Err(CallError::Status(status)) = error.decode_result::<i32, bool>(&METHOD) else {
                panic!("not a status");
            };
            assert_eq!(status.code(), Code::Internal);
            let said = format!(
                r#"S.m returned an error that cannot be decoded: ["zero",1]; as {codec}: invalid type: "#
            );
            assert!(status.message().starts_with(&said), "{status}");
            assert_eq!(status.details(), Some(("zero".to_owned(), 1)));
        }
    }

    #[test]
    fn an_error_of_an_unknown_type_shows_its_code_and_message() {
        let message = Some("not yours".to_owned());
        let error = EncodedError::encode(Codec::Json, &7, Code::PermissionDenied, message).unwrap();
        let status = undecodable_error(Codec::Json, &METHOD, &error, None);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), "S.m returned an error that cannot be decoded: not yours (7)");
    }

    #[test]
    fn a_value_of_another_type_is_internal() {
        let status = Response::new(Codec::Json, "x").unwrap().decode::<i32>(&METHOD).unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.to_string().contains("cannot decode the answer of S.m"), "{status}");
    }
}
