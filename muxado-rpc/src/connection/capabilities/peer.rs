//! What a peer tells about itself.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::value::RawValue;

use super::{
    advertised::Advertised,
    line::{Drain, saturating, services},
};
use crate::{Codec, ServiceId, message::limits::PeerLimits, support::truncate::Brief};

/// What a peer tells about itself on its control stream (`PROTOCOL §10.13`): limits, codecs, services, and whether it
/// drains.
///
/// Peers of this implementation tell it about a second after the first call; see [`Peer::known_capabilities`](crate::Peer::known_capabilities).
/// It is not verified, and each part may be missing. Numbers are taken within bounds: a peer that claims to take
/// messages of 0 bytes counts as taking 1 KiB, and applies its own limit itself. Takes up to 64 KiB for each connection,
/// usually a few hundred bytes.
///
/// ```
/// # async fn example(peer: &muxado_rpc::Peer) {
/// if let Some(remote) = peer.known_capabilities() {
///     println!("messages of up to {:?} bytes", remote.max_message_size());
///     for service in remote.services() {
///         println!("{} ({}): {:?}", service.name(), service.id(), service.methods());
///     }
/// }
/// # }
/// ```
pub struct PeerCapabilities {
    advertised: Arc<Advertised>,
    drain: OnceLock<Drain>,
}

impl PeerCapabilities {
    pub(super) fn new(advertised: Advertised) -> Self {
        Self { advertised: advertised.share(), drain: OnceLock::new() }
    }

    /// Returns the size of the largest message that the peer takes, in bytes: its [`Limits::max_message_size`]. A larger
    /// message fails on this side, before a byte of it is sent.
    ///
    /// [`Limits::max_message_size`]: crate::Limits::max_message_size
    pub fn max_message_size(&self) -> Option<usize> {
        self.advertised.limits.max_message_size()
    }

    /// Returns how much metadata the peer takes in one message, in bytes: its [`Limits::max_metadata_size`]. A message
    /// with more fails on this side.
    ///
    /// [`Limits::max_metadata_size`]: crate::Limits::max_metadata_size
    pub fn max_metadata_size(&self) -> Option<usize> {
        self.advertised.limits.max_metadata_size()
    }

    /// Returns how much memory requests of this connection may take at the peer together, in bytes: its
    /// [`Limits::max_request_memory`].
    ///
    /// [`Limits::max_request_memory`]: crate::Limits::max_request_memory
    pub fn max_request_memory(&self) -> Option<usize> {
        self.advertised.limits.max_request_memory()
    }

    /// Returns how many calls of this connection the peer serves at a time: its [`Limits::max_in_flight`]. Further calls
    /// wait.
    ///
    /// [`Limits::max_in_flight`]: crate::Limits::max_in_flight
    pub fn max_in_flight(&self) -> Option<usize> {
        self.advertised.limits.max_in_flight.map(saturating)
    }

    /// Returns how long the peer waits for the first byte of a call: its [`Limits::first_byte_timeout`].
    ///
    /// [`Limits::first_byte_timeout`]: crate::Limits::first_byte_timeout
    pub fn first_byte_timeout(&self) -> Option<Duration> {
        self.advertised.limits.first_byte_timeout()
    }

    /// Returns the codecs that the peer takes, as far as they are known here. `None` if it has not told.
    pub fn codecs(&self) -> Option<&[Codec]> {
        self.advertised.codecs.as_deref()
    }

    /// Returns the services that the peer lists; see [`is_truncated`](Self::is_truncated). Each call decodes the list anew.
    ///
    /// The list is for people and for choosing between peers. The peer may serve a method that is not in it; a call
    /// shows that for certain.
    pub fn services(&self) -> Vec<ServiceCapability> {
        self.advertised.services.as_deref().map(services).unwrap_or_default()
    }

    /// Returns whether the peer serves more than [`services`](Self::services) lists, because its list did not fit into
    /// 64 KiB.
    pub fn is_truncated(&self) -> bool {
        self.advertised.truncated
    }

    /// Returns whether the peer has told that it shuts down: calls under way may finish, no new ones begin.
    ///
    /// [`Peer::is_going_away`](crate::Peer::is_going_away) says so for peers that do not tell it, too.
    pub fn is_draining(&self) -> bool {
        self.drain.get().is_some()
    }

    /// Returns how long the peer lets calls under way go on, counted from when it told. `None` if it does not drain, or
    /// has not told.
    pub fn drain_grace(&self) -> Option<Duration> {
        self.drain.get()?.grace()
    }

    pub(super) fn note_drain(&self, drain: Drain) {
        // Who says it twice meant the first.
        let _ = self.drain.set(drain);
    }

    pub(super) fn limits(&self) -> PeerLimits {
        PeerLimits {
            max_message_size: self.advertised.limits.max_message_size(),
            max_metadata_size: self.advertised.limits.max_metadata_size(),
        }
    }

    /// Returns how many bytes the peer's session holds unread, if it told that.
    pub(super) fn session_memory(&self) -> Option<usize> {
        self.advertised.limits.session_memory()
    }
}

/// Shows at most 256 bytes of the list of services, escaped.
impl fmt::Debug for PeerCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.advertised.services.as_deref().map_or("", RawValue::get);
        f.debug_struct("PeerCapabilities")
            .field("limits", &self.advertised.limits)
            .field("codecs", &self.advertised.codecs)
            .field("services", &format_args!("{}", Brief(services)))
            .field("truncated", &self.advertised.truncated)
            .field("drain", &self.drain.get())
            .finish()
    }
}

/// A service that a peer lists; see [`PeerCapabilities::services`].
///
/// ```
/// # async fn example(peer: &muxado_rpc::Peer) {
/// let serves_chat = peer.known_capabilities().is_some_and(|remote| {
///     remote.services().iter().any(|service| service.name() == "Chat")
/// });
/// # let _ = serves_chat;
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCapability {
    name: String,
    id: ServiceId,
    methods: Option<Vec<String>>,
}

impl ServiceCapability {
    pub(super) const fn new(name: String, id: ServiceId, methods: Option<Vec<String>>) -> Self {
        Self { name, id, methods }
    }

    /// Returns the name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the service on the wire.
    pub fn id(&self) -> ServiceId {
        self.id
    }

    /// Returns the names of the methods. `None` if the peer left them out.
    pub fn methods(&self) -> Option<&[String]> {
        self.methods.as_deref()
    }
}
