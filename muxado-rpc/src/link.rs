//! What all handles of one connection share.

use std::{fmt, time::Duration};

use muxado::{Session, SessionError, TypedSession};

use crate::{
    Limits,
    tally::{Drained, Tally},
};

/// One connection: its session, its limits, who is at the other end.
#[derive(Debug)]
pub(crate) struct Link {
    typed: TypedSession,
    limits: Limits,
    peer: PeerInfo,
    /// The text of a panic goes to the caller.
    panic_messages: bool,
    tally: Tally,
}

impl Link {
    pub(crate) fn new(typed: TypedSession, limits: Limits, peer: PeerInfo, panic_messages: bool) -> Self {
        Self { typed, limits, peer, panic_messages, tally: Tally::default() }
    }

    /// Ends the connection in good order; see [`Peer::shutdown`](crate::Peer::shutdown).
    pub(crate) async fn drain(&self, grace: Duration) -> Drained {
        let before = self.tally.stats();
        let cut = self.session().drain(grace).await;
        let end = self.session().closed().await.local;
        let lost = !matches!(end, SessionError::Closed(_));
        Drained::between(&before, &self.tally.stats(), cut, lost)
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

    pub(crate) fn panic_messages(&self) -> bool {
        self.panic_messages
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
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
