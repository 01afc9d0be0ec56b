//! The service of health: whether services take calls, asked once or watched (`PROTOCOL §10.15`).

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready as poll_ready},
    time::Duration,
};

use futures_core::Stream;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tower_service::Service;

use super::streamed;
use crate::{
    HealthStatus, MethodInfo, MethodSchema, NamedService, ParameterSchema, Request, Response, ServiceId,
    ServiceInfo, ServiceSchema, Shape, Status,
    message::{
        health::{CHECK, Checked, HealthParams, LIST, Listed, NAME, WATCH},
        method::MethodOptions,
        request::Connection,
    },
    support::{timer, truncate::Brief},
};

/// Whether the services of a server take calls: what [`ServerBuilder::health`](crate::ServerBuilder::health) serves.
///
/// The server as a whole, whose name is the empty text, and each service that it serves are
/// [`Serving`](HealthStatus::Serving) unless something else is [set](Self::set). Other names, such as that of a database,
/// may be set as well. [`Server::shutdown`](crate::Server::shutdown) sets all to
/// [`NotServing`](HealthStatus::NotServing) before it begins to drain.
///
/// Clones are the same.
///
/// ```
/// use muxado_rpc::{Health, HealthClient, HealthStatus, Peer, testing};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: &str) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: &str) -> String { name.to_owned() } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let health = Health::new();
/// let serving = Peer::builder().serve(GreeterServer::new(Polite)).health(&health);
/// let (near, far) = testing::pair(Peer::builder(), serving)?;
///
/// let client = HealthClient::new(near.channel());
/// assert_eq!(client.check("Greeter").await?, HealthStatus::Serving);
/// health.set("Greeter", HealthStatus::NotServing);
/// assert_eq!(client.check("Greeter").await?, HealthStatus::NotServing);
/// # drop(far);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    state: watch::Sender<State>,
    watchers: AtomicUsize,
    no_watchers: Notify,
}

/// What was set.
#[derive(Debug, Default)]
struct State {
    set: BTreeMap<String, HealthStatus>,
    is_shut_down: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Creates the health of a server whose services all take calls.
    pub fn new() -> Self {
        let (state, _) = watch::channel(State::default());
        let shared = Shared { state, watchers: AtomicUsize::new(0), no_watchers: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Sets the status of a service, or of the server as a whole if the name is empty. Those who watch it are told.
    ///
    /// After [`shut_down`](Self::shut_down) it has no effect that can be seen.
    pub fn set(&self, service: impl Into<String>, status: HealthStatus) {
        let service = service.into();
        self.shared.state.send_if_modified(|state| state.set.insert(service, status) != Some(status));
    }

    /// Takes back what was set for a service.
    pub fn clear(&self, service: &str) {
        self.shared.state.send_if_modified(|state| state.set.remove(service).is_some());
    }

    /// Returns what was set for a service. `None` if nothing was.
    pub fn get(&self, service: &str) -> Option<HealthStatus> {
        self.shared.state.borrow().set.get(service).copied()
    }

    /// Returns whether the server as a whole takes calls: it is [`Serving`](HealthStatus::Serving), and not
    /// [shut down](Self::shut_down).
    pub fn is_serving(&self) -> bool {
        let state = self.shared.state.borrow();
        !state.is_shut_down && state.set.get("").is_none_or(|status| *status == HealthStatus::Serving)
    }

    /// Sets the status of all to [`NotServing`](HealthStatus::NotServing), for good. Those who watch are told, and their
    /// streams end, so that they hold up no drain.
    ///
    /// [`Server::shutdown`](crate::Server::shutdown) calls it. Call it before [`Peer::shutdown`](crate::Peer::shutdown), which
    /// does not: others may use the same `Health`.
    pub fn shut_down(&self) {
        self.shared.state.send_if_modified(|state| !std::mem::replace(&mut state.is_shut_down, true));
    }

    /// Shuts down, and waits until those who watch were told, but no longer than this.
    pub(crate) async fn tell_all(&self, limit: Duration) {
        self.shut_down();
        if self.is_watched() {
            timer::within(limit, self.until_all_are_told()).await;
        }
    }

    async fn until_all_are_told(&self) {
        loop {
            let none = self.shared.no_watchers.notified();
            if !self.is_watched() {
                break;
            }
            none.await;
        }
        // What the last of them has returned is written in the turn of its connection.
        timer::pause(TURN).await;
    }

    fn is_watched(&self) -> bool {
        self.shared.watchers.load(Ordering::Acquire) > 0
    }
}

/// The longest turn of a connection that another task does not take over.
const TURN: Duration = Duration::from_millis(20);

/// Shows what was set.
impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.state.borrow().fmt(f)
    }
}

/// A name that is asked for.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    /// The name is that of a service that is served here, or of the server as a whole.
    is_served: bool,
    /// The caller may not know of it.
    is_hidden: bool,
}

impl Asked {
    /// Returns the status; `None` if there is no such service, as far as the caller may know.
    fn status(&self, state: &State) -> Option<HealthStatus> {
        let set = state.set.get(&self.name).copied();
        let known =
            set.or_else(|| self.is_served.then_some(HealthStatus::Serving)).filter(|_| !self.is_hidden)?;
        Some(if state.is_shut_down { HealthStatus::NotServing } else { known })
    }
}

const ID: ServiceId = ServiceId::from_name(NAME);

static METHODS: [MethodInfo; 3] =
    [method(CHECK, 0, Shape::Unary), method(WATCH, 1, Shape::ServerStreaming), method(LIST, 2, Shape::Unary)];

static INFO: ServiceInfo = ServiceInfo::new(NAME, ID.as_u32(), &METHODS).described_by(own_schema);

const fn method(name: &'static str, index: usize, shape: Shape) -> MethodInfo {
    let options = MethodOptions { shape, idempotent: true, ..MethodOptions::DEFAULT };
    MethodInfo::new(NAME, ID.as_u32(), name, index).with_options(options)
}

/// The service.
#[derive(Clone, Debug)]
pub(super) struct HealthService {
    health: Health,
    services: Arc<[&'static ServiceInfo]>,
}

impl HealthService {
    pub(super) fn new(health: Health, services: &Arc<[&'static ServiceInfo]>) -> Self {
        Self { health, services: Arc::clone(services) }
    }

    /// Returns whether this is the description of the service of health.
    pub(super) fn is_of(info: &'static ServiceInfo) -> bool {
        std::ptr::eq(info, &raw const INFO)
    }

    fn ask(&self, name: String, connection: Option<&dyn Connection>) -> Asked {
        let is_served = name.is_empty() || self.services.iter().any(|info| info.name() == name);
        let visible = connection.and_then(Connection::visible);
        let is_hidden = is_served
            && !name.is_empty()
            && visible.is_some_and(|visible| visible.iter().all(|info| info.name() != name));
        Asked { name, is_served, is_hidden }
    }

    fn check(&self, request: &Request, connection: Option<&dyn Connection>) -> Result<Response, Status> {
        let HealthParams { service } = request.decode_params().map_err(Status::not_executed)?;
        let asked = self.ask(service, connection);
        match asked.status(&self.health.shared.state.borrow()) {
            Some(status) => Response::new(request.codec(), &Checked { status }),
            None => Err(Status::not_found(format!("no service `{}` here", Brief(&asked.name)))),
        }
    }

    fn list(&self, request: &Request, connection: Option<&dyn Connection>) -> Result<Response, Status> {
        let state = self.health.shared.state.borrow();
        let served = self.services.iter().map(|info| info.name()).chain([""]);
        let names = served.chain(state.set.keys().map(String::as_str));
        let statuses = names.filter_map(|name| {
            let asked = self.ask(name.to_owned(), connection);
            let status = asked.status(&state)?;
            Some((asked.name, Checked { status }))
        });
        Response::new(request.codec(), &Listed { statuses: statuses.collect() })
    }

    fn watch(&self, request: &Request, connection: Option<&dyn Connection>) -> Result<Watching, Status> {
        let HealthParams { service } = request.decode_params().map_err(Status::not_executed)?;
        Ok(Watching::new(&self.health, self.ask(service, connection)))
    }
}

impl NamedService for HealthService {
    const INFO: &'static ServiceInfo = &INFO;
}

impl Service<Request> for HealthService {
    type Response = Response;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let connection = request.connection();
        let connection = connection.as_deref();
        match request.method().name() {
            CHECK => Box::pin(ready(self.check(&request, connection))),
            LIST => Box::pin(ready(self.list(&request, connection))),
            WATCH => {
                let (codec, watching) = (request.codec(), self.watch(&request, connection));
                Box::pin(async move {
                    let watching = watching?;
                    streamed::serve(&METHODS[1], codec, None, |sink| sink.send_all(watching)).await
                })
            }
            _ => {
                let unknown = format!("{} is not a method of this service", request.method());
                Box::pin(ready(Err(Status::unimplemented(unknown).not_executed())))
            }
        }
    }
}

/// The statuses of a service, from now on.
struct Watching {
    asked: Asked,
    last: Option<HealthStatus>,
    /// Ready when something was set; false if nothing can be any more.
    changed: Pin<Box<dyn Future<Output = (watch::Receiver<State>, bool)> + Send>>,
    is_over: bool,
    _watcher: Watcher,
}

impl Watching {
    fn new(health: &Health, asked: Asked) -> Self {
        let state = health.shared.state.subscribe();
        let watcher = Watcher::new(health);
        Self { asked, last: None, changed: Box::pin(ready((state, true))), is_over: false, _watcher: watcher }
    }
}

impl Stream for Watching {
    type Item = Checked;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Checked>> {
        while !self.is_over {
            let (mut state, can_change) = poll_ready!(self.changed.as_mut().poll(cx));
            let (status, is_shut_down) = {
                let state = state.borrow_and_update();
                (self.asked.status(&state).unwrap_or(HealthStatus::ServiceUnknown), state.is_shut_down)
            };
            self.is_over = is_shut_down || !can_change;
            self.changed = Box::pin(async move {
                let can_change = state.changed().await.is_ok();
                (state, can_change)
            });
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Checked { status }));
            }
        }
        Poll::Ready(None)
    }
}

/// Counts one who watches.
struct Watcher {
    health: Health,
}

impl Watcher {
    fn new(health: &Health) -> Self {
        health.shared.watchers.fetch_add(1, Ordering::AcqRel);
        Self { health: health.clone() }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.health.shared.watchers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.health.shared.no_watchers.notify_waiters();
        }
    }
}

/// What the service says of itself.
fn own_schema() -> ServiceSchema {
    let words = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
    let checked = json!({
        "type": "object",
        "properties": {"status": {"type": "string", "enum": words}},
        "required": ["status"],
    });
    let mut service = ServiceSchema::new(NAME, ID);
    service.description =
        Some("Says whether services take calls, in the words of grpc.health.v1.".to_owned());
    service.methods = METHODS.iter().map(MethodSchema::of_info).collect();
    let [check, watch, list] = &mut service.methods[..] else { return service };
    let name = || {
        let mut name = ParameterSchema::new("service", json!({"type": "string"}));
        name.required = false;
        name.description = Some("The name of a service; empty for the server as a whole.".to_owned());
        Some(vec![name])
    };
    check.description = Some("Returns the status of a service.".to_owned());
    (check.params, check.output) = (name(), Some(checked.clone()));
    watch.description = Some("Returns the status of a service now, and whenever it changes.".to_owned());
    (watch.params, watch.output) = (name(), Some(checked.clone()));
    list.description = Some("Returns the statuses of all services.".to_owned());
    list.params = Some(Vec::new());
    list.output = Some(json!({
        "type": "object",
        "properties": {"statuses": {"type": "object", "additionalProperties": checked}},
        "required": ["statuses"],
    }));
    service
}
