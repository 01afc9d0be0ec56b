//! What a connection may know of a server, decided before anything of it is told.

use std::{fmt, sync::Arc};

use crate::{PeerInfo, Router, ServiceInfo, support::panics};

/// What a connection may see and call: the answer of [`ServerBuilder::access`](crate::ServerBuilder::access).
///
/// ```
/// use muxado_rpc::{Access, Server};
///
/// let builder = Server::builder().access(|peer| match peer.identity() {
///     Some(id) if id.starts_with("spiffe://acme/admin/") => Access::all(),
///     Some(id) if id.starts_with("spiffe://acme/agent/") => Access::only(|service| service.name() == "Hub"),
///     _ => Access::refuse(),
/// });
/// # let _ = builder;
/// ```
pub struct Access {
    kind: Kind,
}

enum Kind {
    All,
    Only(Box<dyn Fn(&ServiceInfo) -> bool + Send>),
    Refuse,
}

impl Access {
    /// The connection may call all services, and the fallback.
    pub fn all() -> Self {
        Self { kind: Kind::All }
    }

    /// The connection may call the services that `allows` returns `true` for. The others, and the fallback, are to it as
    /// if they were not there: its calls of them fail as those of a service that does not exist, and what the server
    /// tells of itself does not name them. The function runs once for each service.
    ///
    /// With `Access::only(|_| false)` the server can call the peer, which can call nothing.
    pub fn only(allows: impl Fn(&ServiceInfo) -> bool + Send + 'static) -> Self {
        Self { kind: Kind::Only(Box::new(allows)) }
    }

    /// The connection is closed before its session begins: the peer learns nothing at all. It counts as refused.
    pub fn refuse() -> Self {
        Self { kind: Kind::Refuse }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::All => "Access::all",
            Kind::Only(_) => "Access::only",
            Kind::Refuse => "Access::refuse",
        })
    }
}

/// Decides on connections by who is at the other end.
#[derive(Clone)]
pub(super) struct AccessHook {
    decide: Arc<dyn Fn(&PeerInfo) -> Access + Send + Sync>,
}

impl AccessHook {
    pub(super) fn new(decide: impl Fn(&PeerInfo) -> Access + Send + Sync + 'static) -> Self {
        Self { decide: Arc::new(decide) }
    }

    /// Returns what a connection sees of the services; `None` if it is refused, as it is by a panic.
    pub(super) fn view(&self, peer: &PeerInfo, router: &Router) -> Option<Router> {
        let view = panics::catch(|| match (self.decide)(peer).kind {
            Kind::All => Some(router.clone()),
            Kind::Only(allows) => Some(router.view(|service| allows(service))),
            Kind::Refuse => None,
        });
        view.unwrap_or_else(|_| {
            panics::report("the hook of access panicked");
            None
        })
    }
}

impl fmt::Debug for AccessHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessHook")
    }
}
