//! What the peer says about itself.

use std::{fmt, sync::OnceLock, time::Duration};

use serde_json::value::RawValue;

use super::line::{AdvertisedLimits, Drain, saturating, services};
use crate::{Codec, ServiceId, message::limits::PeerLimits, support::truncate::Brief};

/// What a peer said about itself on its control stream (`PROTOCOL §10.13`): its limits, codecs and
/// services, and whether it drains.
///
/// All of it is the peer's word, and each part may be missing. Numbers are taken within bounds: a peer that says
/// it takes messages of 0 bytes is taken to take 1 KiB, and applies its own limit itself (`PROTOCOL §10.13`). It is known from about a second after
/// the first call on, between peers of this family; see [`Peer::remote`](crate::Peer::remote). Takes
/// up to 64 KiB a connection, a few hundred bytes as a rule.
///
/// ```
/// # async fn example(peer: &muxado_rpc::Peer) {
/// if let Some(remote) = peer.remote() {
///     println!("messages of up to {:?} bytes", remote.max_message_size());
///     for service in remote.services() {
///         println!("{} ({}): {:?}", service.name(), service.id(), service.methods());
///     }
/// }
/// # }
/// ```
pub struct PeerCapabilities {
    limits: AdvertisedLimits,
    codecs: Option<Vec<Codec>>,
    /// As it came, so that it takes no more room than the peer sent.
    services: Option<Box<RawValue>>,
    truncated: bool,
    drain: OnceLock<Drain>,
}

impl PeerCapabilities {
    pub(super) const fn new(
        limits: AdvertisedLimits,
        codecs: Option<Vec<Codec>>,
        services: Option<Box<RawValue>>,
        truncated: bool,
    ) -> Self {
        Self { limits, codecs, services, truncated, drain: OnceLock::new() }
    }

    /// Bytes of the largest message that the peer takes ([`Limits::max_message_size`] there). A
    /// larger request, answer or item of this side fails here, before a byte of it is sent.
    ///
    /// [`Limits::max_message_size`]: crate::Limits::max_message_size
    pub fn max_message_size(&self) -> Option<usize> {
        self.limits.max_message_size()
    }

    /// Bytes of the metadata of one message that the peer takes ([`Limits::max_metadata_size`]
    /// there). A message with more fails here.
    ///
    /// [`Limits::max_metadata_size`]: crate::Limits::max_metadata_size
    pub fn max_metadata_size(&self) -> Option<usize> {
        self.limits.max_metadata_size()
    }

    /// Bytes that our requests on this connection may take at the peer, all together
    /// ([`Limits::max_request_memory`] there).
    ///
    /// [`Limits::max_request_memory`]: crate::Limits::max_request_memory
    pub fn max_request_memory(&self) -> Option<usize> {
        self.limits.max_request_memory()
    }

    /// Calls of ours that the peer serves at a time on this connection ([`Limits::max_in_flight`]
    /// there). Further ones wait.
    ///
    /// [`Limits::max_in_flight`]: crate::Limits::max_in_flight
    pub fn max_in_flight(&self) -> Option<usize> {
        self.limits.max_in_flight.map(saturating)
    }

    /// How long the peer waits for the first byte of a call ([`Limits::first_byte_timeout`] there).
    ///
    /// [`Limits::first_byte_timeout`]: crate::Limits::first_byte_timeout
    pub fn first_byte_timeout(&self) -> Option<Duration> {
        self.limits.first_byte_timeout()
    }

    /// The codecs that the peer takes, without those that are not known here; `None` if it did not
    /// say.
    pub fn codecs(&self) -> Option<&[Codec]> {
        self.codecs.as_deref()
    }

    /// The services that the peer serves, as it listed them; see [`is_truncated`](Self::is_truncated).
    /// The list is made anew by each call.
    ///
    /// It is for people and for choosing between peers. A method that is not in it may have been added
    /// since; calling it says whether it is there.
    pub fn services(&self) -> Vec<ServiceCapability> {
        self.services.as_deref().map(services).unwrap_or_default()
    }

    /// Whether the peer serves more than [`services`](Self::services) says: what it says in one line
    /// is limited to 64 KiB.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Whether the peer said that it shuts down: calls under way may finish, no new ones begin. The
    /// go-away beside it is what counts ([`Peer::is_going_away`](crate::Peer::is_going_away)); a peer
    /// that ends at once says no more than that.
    pub fn is_draining(&self) -> bool {
        self.drain.get().is_some()
    }

    /// How long the peer lets calls under way go on, counted from when it said so; `None` if it does
    /// not drain, or did not say.
    pub fn drain_grace(&self) -> Option<Duration> {
        self.drain.get()?.grace()
    }

    pub(super) fn note_drain(&self, drain: Drain) {
        // Who says it twice meant the first.
        let _ = self.drain.set(drain);
    }

    pub(super) fn limits(&self) -> PeerLimits {
        PeerLimits {
            max_message_size: self.limits.max_message_size(),
            max_metadata_size: self.limits.max_metadata_size(),
        }
    }
}

/// Of the list of services at most 256 bytes are shown, escaped.
impl fmt::Debug for PeerCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.services.as_deref().map_or("", RawValue::get);
        f.debug_struct("PeerCapabilities")
            .field("limits", &self.limits)
            .field("codecs", &self.codecs)
            .field("services", &format_args!("{}", Brief(services)))
            .field("truncated", &self.truncated)
            .field("drain", &self.drain.get())
            .finish()
    }
}

/// A service that a peer says it serves; see [`PeerCapabilities::services`].
///
/// ```
/// # async fn example(peer: &muxado_rpc::Peer) {
/// let serves_chat = peer.remote().is_some_and(|remote| {
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, by which it is called.
    pub fn id(&self) -> ServiceId {
        self.id
    }

    /// The names of its methods; `None` if they were left out.
    pub fn methods(&self) -> Option<&[String]> {
        self.methods.as_deref()
    }
}
