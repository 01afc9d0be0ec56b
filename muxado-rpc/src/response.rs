//! What a call came to, as layers and clients see it.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CallError, Code, Codec, Metadata, MethodInfo, Origin, Status, payload::Payload, text::shortened,
};

/// What a method returned: a value, or an error of the application's own.
///
/// Failures of other kinds are a [`Status`], the error of the Tower services here.
#[derive(Clone, Debug)]
pub struct Response {
    codec: Codec,
    outcome: Outcome,
    metadata: Metadata,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The method's value.
    Value(Payload),
    /// The method's error.
    Error(AppError),
}

/// An application's error: a code and a text for those who do not know its type, and its value.
#[derive(Clone, Debug)]
pub(crate) struct AppError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) value: Payload,
}

impl Response {
    /// The value that a method returned.
    ///
    /// # Errors
    ///
    /// `internal` when the codec cannot encode it.
    pub fn new<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, Status> {
        Ok(Self::from_outcome(codec, Outcome::Value(encode(codec, value)?)))
    }

    /// The error that a method returned.
    ///
    /// # Errors
    ///
    /// `internal` when the codec cannot encode it.
    pub fn from_error<E: Serialize + ?Sized>(codec: Codec, error: &E) -> Result<Self, Status> {
        let value = encode(codec, error)?;
        let message = "the method returned an error".to_owned();
        Ok(Self::from_outcome(codec, Outcome::Error(AppError { code: Code::Unknown, message, value })))
    }

    pub(crate) fn from_outcome(codec: Codec, outcome: Outcome) -> Self {
        Self { codec, outcome, metadata: Metadata::new() }
    }

    pub(crate) fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// What travels beside the value, to be changed: on the serving side before it is sent.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// What travels beside the value.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The codec of the value.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether the method returned a value, not an error.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Value(_))
    }

    /// The encoded value or error.
    pub fn payload(&self) -> &[u8] {
        match &self.outcome {
            Outcome::Value(payload) => payload,
            Outcome::Error(error) => &error.value,
        }
    }

    pub(crate) fn into_parts(self) -> (Codec, Outcome, Metadata) {
        (self.codec, self.outcome, self.metadata)
    }

    /// Decodes the value of a method that has no error of its own.
    pub(crate) fn decode<T: DeserializeOwned>(self, method: &MethodInfo) -> Result<T, CallError> {
        match &self.outcome {
            Outcome::Value(value) => Ok(decode_value(self.codec, method, value)?),
            Outcome::Error(error) => Err(undecodable_error(self.codec, method, error).into()),
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
            Outcome::Error(error) => Err(match self.codec.decode(&error.value) {
                Ok(error) => CallError::App(error),
                Err(_) => undecodable_error(self.codec, method, error).into(),
            }),
        }
    }
}

fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Payload, Status> {
    Payload::encode(codec, value)
        .map_err(|error| Status::internal(format!("cannot encode the answer as {codec}: {error}")))
}

fn decode_value<T: DeserializeOwned>(codec: Codec, method: &MethodInfo, value: &[u8]) -> Result<T, Status> {
    codec.decode(value).map_err(|error| Status::cannot_decode(format_args!("the answer of {method}"), &error))
}

/// The application's error is of a type this side does not know: its raw text must do.
fn undecodable_error(codec: Codec, method: &MethodInfo, error: &AppError) -> Status {
    let text = match codec {
        Codec::Json => String::from_utf8_lossy(&error.value).into_owned(),
        Codec::MessagePack => codec.decode::<serde_json::Value>(&error.value).map_or_else(
            |_| format!("{:?}", bytes::Bytes::copy_from_slice(&error.value)),
            |value| value.to_string(),
        ),
    };
    let text = shortened(&text, MAX_QUOTED);
    Status::internal(format!("{method} returned an error that cannot be decoded: {text}"))
        .with_origin(Origin::Peer)
        .with_raw_details(codec, bytes::Bytes::copy_from_slice(&error.value))
}

/// Bytes quoted of an error that cannot be decoded.
const MAX_QUOTED: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    static METHOD: MethodInfo = MethodInfo::new("S", 1, "m", 0);

    #[test]
    fn values_and_errors_come_back_typed_in_both_codecs() {
        for codec in [Codec::Json, Codec::MessagePack] {
            let value = Response::new(codec, &3).unwrap();
            assert_eq!(value.clone().decode::<i32>(&METHOD), Ok(3));
            assert_eq!(value.decode_result::<i32, String>(&METHOD), Ok(3));
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
            assert_eq!(status.message(), r#"S.m returned an error that cannot be decoded: ["zero",1]"#);
            assert_eq!(status.details(), Some(("zero".to_owned(), 1)));
        }
    }

    #[test]
    fn a_value_of_another_type_is_internal() {
        let status = Response::new(Codec::Json, "x").unwrap().decode::<i32>(&METHOD).unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.to_string().contains("cannot decode the answer of S.m"), "{status}");
    }
}
