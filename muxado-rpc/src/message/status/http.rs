//! Codes as statuses of HTTP, for gateways.

use crate::Code;

impl Code {
    /// Returns the status of HTTP that stands for the code, as gateways of gRPC map theirs, from 400 to 504.
    ///
    /// ```
    /// use muxado_rpc::Code;
    ///
    /// assert_eq!(Code::NotFound.http_status(), 404);
    /// assert_eq!(Code::DeadlineExceeded.http_status(), 504);
    /// ```
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            // The client has closed the request.
            Self::Cancelled => 499,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }
}
