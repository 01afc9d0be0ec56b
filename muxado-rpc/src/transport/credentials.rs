//! Who is at the other end of a Unix socket, as the system says.

/// The user, the group and the process at the other end of a Unix socket, as the system noted them when the connection
/// was made.
///
/// Both sides of a connection over a Unix socket find it in [`PeerInfo::extensions`](crate::PeerInfo::extensions). The
/// [identity](crate::PeerInfo::identity) of the peer is then `uid=` and the number of its user, unless a handshake
/// sets another one.
///
/// ```
/// use muxado_rpc::{CallHead, Status, UnixCredentials};
///
/// fn only_root(call: &mut CallHead<'_>) -> Result<(), Status> {
///     match call.peer().extensions().get::<UnixCredentials>() {
///         Some(peer) if peer.uid() == 0 => Ok(()),
///         _ => Err(Status::permission_denied("this is for root only")),
///     }
/// }
/// # let _ = muxado_rpc::Server::builder().authorize(only_root);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnixCredentials {
    uid: u32,
    gid: u32,
    pid: Option<i32>,
}

impl UnixCredentials {
    /// Returns the credentials of the peer of a socket, if the system knows them.
    #[cfg(unix)]
    pub(crate) fn of(socket: &tokio::net::UnixStream) -> Option<Self> {
        let found = socket.peer_cred().ok()?;
        Some(Self { uid: found.uid(), gid: found.gid(), pid: found.pid() })
    }

    /// Returns the id of the user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the id of the group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns the id of the process that connected or listened. `None` where the system does not say. The process may
    /// have ended since, and its id may be that of another one.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Returns what stands for the user as an identity.
    pub(crate) fn identity(&self) -> String {
        format!("uid={}", self.uid)
    }
}
