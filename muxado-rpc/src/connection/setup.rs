//! The settings that peers and servers share.

use std::sync::{Arc, LazyLock};

use muxado::{Config, HeartbeatConfig};
use tower_service::Service;

use crate::{
    BoxError, Health, Inline, Limits, NamedService, RegistrationError, Request, Response, Router,
    ServiceSchema,
    connection::{
        bounds::{Bounds, DEFAULT_MAX_MEMORY},
        serving::authorize::Authorize,
    },
    support::log_limit::SharedLogs,
};

/// A Tower service that calls can run through: the [`Router`] of a peer or server inside its layers.
///
/// An alias of the bounds; it is implemented for every service that meets them.
#[diagnostic::on_unimplemented(
    message = "the layers around the services do not make a `Service<Request, Response = Response>`",
    note = "it must also be `Clone + Send + 'static`, with a future that is `Send` and an error \
            that is `Into<BoxError>`"
)]
pub trait CallService:
    Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
}

impl<S> CallService for S
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
}

/// The settings of a builder. The first registration error is kept for when it can be returned.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    router: Result<Router, RegistrationError>,
    limits: Arc<Limits>,
    config: Arc<Config>,
    pub(crate) heartbeat: Option<HeartbeatConfig>,
    pub(crate) panic_messages: bool,
    pub(crate) inline: Inline,
    pub(crate) logs: Arc<SharedLogs>,
    /// Bytes that all connections of a server may hold together.
    pub(crate) max_memory: usize,
    pub(crate) authorize: Option<Authorize>,
    pub(crate) bounds: Bounds,
    /// The schemes of the addresses that a server listens on.
    pub(crate) transports: Arc<[String]>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            router: Ok(Router::new()),
            limits: Arc::clone(&DEFAULT_LIMITS),
            config: Arc::clone(&DEFAULT_CONFIG),
            heartbeat: Some(HeartbeatConfig::default()),
            panic_messages: false,
            inline: Inline::default(),
            logs: Arc::default(),
            max_memory: DEFAULT_MAX_MEMORY,
            authorize: None,
            bounds: Bounds::new(None, DEFAULT_LIMITS.max_detached_handlers),
            transports: Arc::default(),
        }
    }

    pub(crate) const fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = shared(limits, &DEFAULT_LIMITS);
    }

    pub(crate) const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) fn set_config(&mut self, config: Config) {
        self.config = shared(config, &DEFAULT_CONFIG);
    }

    pub(crate) fn serve<S>(&mut self, service: S)
    where
        S: CallService + NamedService + Sync,
    {
        self.router = self.router.clone().and_then(|router| router.add(service));
    }

    pub(crate) fn health(&mut self, health: &Health) {
        self.router = self.router.clone().and_then(|router| router.health(health));
    }

    pub(crate) fn reflection(&mut self) {
        self.router = self.router.clone().and_then(Router::reflection);
    }

    pub(crate) fn fallback<S: CallService + Sync>(&mut self, service: S) {
        self.router = self.router.clone().map(|router| router.fallback(service));
    }

    pub(crate) fn describe_fallback(&mut self, services: impl IntoIterator<Item = ServiceSchema>) {
        self.router = self.router.clone().map(|router| router.describe_fallback(services));
    }

    /// Gives the connections that are made from now on what they share: clones of a builder make peers and servers
    /// that have nothing to do with each other.
    pub(crate) fn begin_anew(&mut self, is_server: bool) {
        self.logs = Arc::default();
        let max_memory = is_server.then_some(self.max_memory);
        self.bounds = Bounds::new(max_memory, self.limits.max_detached_handlers);
    }

    pub(crate) fn router(&self) -> Result<Router, RegistrationError> {
        self.router.clone()
    }
}

/// The defaults, which most connections have: one copy is enough.
static DEFAULT_LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(Arc::default);
static DEFAULT_CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);

/// Returns settings as connections share them.
fn shared<T: PartialEq>(settings: T, default: &Arc<T>) -> Arc<T> {
    if settings == **default { Arc::clone(default) } else { Arc::new(settings) }
}
