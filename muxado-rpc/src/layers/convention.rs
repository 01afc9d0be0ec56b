//! What spans and metrics call things, as OpenTelemetry's conventions for RPC have it.

use std::fmt;

use crate::{Code, MethodInfo, Shape, support::truncate::Brief};

/// The end of a call that is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// Whether a call that ended so is an error of this side. A server has done its part if a caller asks for what is not
    /// to be had.
    pub(super) const fn blames(self, code: Code) -> bool {
        match self {
            Self::Client => true,
            Self::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

/// The name of a method as telemetry has it.
#[derive(Clone, Copy)]
pub(super) struct MethodName<'a>(pub(super) &'a MethodInfo);

impl MethodName<'_> {
    /// Whether the program knows the method. Other names are as many as callers make up.
    pub(super) fn is_recognized(self) -> bool {
        self.0.shape() != Shape::Unknown
    }
}

impl fmt::Display for MethodName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_recognized() { OriginalName(self.0).fmt(f) } else { f.write_str("_OTHER") }
    }
}

/// The name, whatever it is.
pub(super) struct OriginalName<'a>(pub(super) &'a MethodInfo);

impl fmt::Display for OriginalName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Brief(self.0.service()), Brief(self.0.name()))
    }
}
