//! What all handles of one connection share.

use std::fmt;

use muxado::{Session, TypedSession};

use crate::Limits;

/// One connection: its session, its limits, who is at the other end.
#[derive(Debug)]
pub(crate) struct Link {
    typed: TypedSession,
    limits: Limits,
    peer: PeerInfo,
}

impl Link {
    pub(crate) const fn new(typed: TypedSession, limits: Limits, peer: PeerInfo) -> Self {
        Self { typed, limits, peer }
    }

    pub(crate) fn typed(&self) -> &TypedSession {
        &self.typed
    }

    pub(crate) fn session(&self) -> &Session {
        self.typed.session()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn peer(&self) -> &PeerInfo {
        &self.peer
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    address: Option<String>,
}

impl PeerInfo {
    pub(crate) const fn new(address: Option<String>) -> Self {
        Self { address }
    }

    /// The peer's address, as in `tcp://127.0.0.1:41234`; `None` for a transport that has none.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }
}

/// The address, or `unknown peer`.
impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address().unwrap_or("unknown peer"))
    }
}
