//! An application's error whose type is not known here.

use std::{error::Error, fmt};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AppError, Code, Codec, Origin, Status,
    message::response::{EncodedError, NO_MESSAGE},
    support::truncate::Brief,
};

/// The error that a method returned, as it came: its code, its text, and its value, which is still encoded.
///
/// Calls whose types are known only at run time fail with [`CallError<RawError>`](crate::CallError), and so do
/// [frames](crate::BodyFrame) of a stream.
///
/// ```
/// use muxado_rpc::{RawError, Status};
///
/// #[derive(serde::Deserialize)]
/// struct NoFunds {
///     missing: u64,
/// }
///
/// fn explain(error: RawError) -> String {
///     match error.decode::<NoFunds>() {
///         Ok(NoFunds { missing }) => format!("{missing} are missing"),
///         Err(_) => Status::from(error).to_string(),
///     }
/// }
/// # let _ = explain;
/// ```
#[derive(Clone)]
pub struct RawError {
    codec: Codec,
    error: EncodedError,
}

impl RawError {
    pub(crate) const fn new(codec: Codec, error: EncodedError) -> Self {
        Self { codec, error }
    }

    /// Creates the error that a method returns, from its value: in a relay, a gateway, or a server of methods that are known
    /// only at run time. Callers who do not know its type see the code and the text, which may be empty.
    ///
    /// ```
    /// use muxado_rpc::{Code, Codec, RawError, Response};
    ///
    /// let error = RawError::encode(Codec::Json, Code::FailedPrecondition, "no funds", &["missing", "17"])?;
    /// assert_eq!(error.to_string(), "failed_precondition: no funds");
    /// let response = Response::from_raw_error(error);
    /// assert!(!response.is_ok());
    /// # Ok::<_, muxado_rpc::Status>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns `internal` if the codec cannot encode the value.
    pub fn encode<E: Serialize + ?Sized>(
        codec: Codec,
        code: Code,
        message: impl Into<String>,
        value: &E,
    ) -> Result<Self, Status> {
        let message = Some(message.into()).filter(|message| !message.is_empty());
        Ok(Self { codec, error: EncodedError::encode(codec, value, code, message)? })
    }

    /// Returns the kind of failure, which the error's [`AppError`] gives it.
    pub fn code(&self) -> Code {
        self.error.code
    }

    /// Returns the text that came with the error, unescaped. Empty if the error has none.
    pub fn message(&self) -> &str {
        if self.error.message == NO_MESSAGE { "" } else { &self.error.message }
    }

    /// Returns the codec of the value.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Returns the encoded value of the error.
    pub fn payload(&self) -> &[u8] {
        &self.error.value
    }

    /// Decodes the value of the error.
    ///
    /// # Errors
    ///
    /// Returns `internal` if it is no value of this type.
    pub fn decode<E: DeserializeOwned>(&self) -> Result<E, Status> {
        self.codec
            .decode(&self.error.value)
            .map_err(|error| Status::cannot_decode("the error of a method", self.codec, &error))
    }

    pub(crate) fn into_parts(self) -> (Codec, EncodedError) {
        (self.codec, self.error)
    }

    /// Returns the error for who sends it on, if it is in this codec; else a status.
    pub(crate) fn into_encoded(self, codec: Codec) -> Result<EncodedError, Status> {
        if self.codec == codec { Ok(self.error) } else { Err(self.into()) }
    }
}

/// A status with the code, the text and, as details, the value of the error.
impl From<RawError> for Status {
    fn from(error: RawError) -> Self {
        let RawError { codec, error: EncodedError { code, message, value } } = error;
        Self::new(code, message).with_origin(Origin::Peer).with_raw_details(codec, value.into_bytes())
    }
}

impl AppError for RawError {
    fn code(&self) -> Code {
        self.error.code
    }

    fn to_status(&self) -> Status {
        self.clone().into()
    }
}

/// Shows the code, and at most 256 bytes of the text, escaped.
impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            "" => write!(f, "{}", self.code()),
            message => write!(f, "{}: {}", self.code(), Brief(message)),
        }
    }
}

impl fmt::Debug for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.error.value.len();
        write!(f, "RawError({self}, {bytes} bytes of {})", self.codec)
    }
}

impl Error for RawError {}

/// Two errors are equal if their codes, texts and encoded values are.
impl PartialEq for RawError {
    fn eq(&self, other: &Self) -> bool {
        let parts = |error: &Self| (error.codec, error.error.code);
        parts(self) == parts(other)
            && self.error.message == other.error.message
            && self.payload() == other.payload()
    }
}

impl Eq for RawError {}

/// The error of a type, undecoded, as a [`Bytes`] that others may share.
impl From<RawError> for Bytes {
    fn from(error: RawError) -> Self {
        error.error.value.into_bytes()
    }
}
