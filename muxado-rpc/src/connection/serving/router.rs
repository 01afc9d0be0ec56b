//! A router: several services as one Tower service.

mod erased;

use std::{
    fmt::{self, Write},
    future::Future,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use tower_service::Service;

use self::erased::{ErasedService, ServeFuture, failed};
use super::{
    health::{Health, HealthService},
    reflection::Reflection,
};
use crate::{
    BoxError, NamedService, Request, Response, ServiceId, ServiceInfo, ServiceSchema, Status,
    stream::body::BodyStream,
    support::truncate::{self, Brief},
};

/// Several services as one Tower service, which passes each request to the service that it is for.
///
/// Peers and servers build a router from the services given to `serve`. Build one by hand to call services in the same
/// process, for instance in tests.
///
/// ```
/// use muxado_rpc::Router;
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite {
/// #     async fn hello(&self, name: String) -> String { format!("hello {name}") }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let router = Router::new().add(GreeterServer::new(Polite))?;
/// let greeter = GreeterClient::new(router);
/// assert_eq!(greeter.hello("Eve".to_owned()).await?, "hello Eve");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Router {
    routes: Arc<Routes>,
}

#[derive(Clone, Default)]
struct Routes {
    /// Ordered by id.
    list: Vec<Route>,
    /// A list of the services for the error of an unknown one. Made once, because refusing a call must cost less than
    /// serving it.
    summary: String,
    /// The descriptions of the services, in the same order.
    infos: Arc<[&'static ServiceInfo]>,
    /// There are others, of which those who use this router may not know.
    hides: bool,
    /// What the service of health says, if it is one of the services.
    health: Option<Health>,
    /// Takes the calls of services and methods that are not here.
    fallback: Option<Arc<dyn ErasedService>>,
    /// What is said of the services behind it.
    behind: Arc<[Arc<ServiceSchema>]>,
}

#[derive(Clone)]
struct Route {
    info: &'static ServiceInfo,
    service: Arc<dyn ErasedService>,
}

impl Routes {
    /// Brings what follows from the list of services up to date.
    fn note_change(&mut self) {
        self.infos = self.list.iter().map(|route| route.info).collect();
        self.summary = listed(self.infos.iter().copied());
        if let Some(route) = self.list.iter_mut().find(|route| Reflection::is_of(route.info)) {
            route.service = Arc::new(Reflection::new(&self.infos, &self.behind));
        }
        let health = self.list.iter_mut().find(|route| HealthService::is_of(route.info));
        if let (Some(route), Some(health)) = (health, &self.health) {
            route.service = Arc::new(HealthService::new(health.clone(), &self.infos));
        }
    }
}

impl Default for Router {
    fn default() -> Self {
        // Clients without services all have the same.
        static EMPTY: LazyLock<Arc<Routes>> = LazyLock::new(Arc::default);
        Self { routes: Arc::clone(&EMPTY) }
    }
}

impl Router {
    /// Creates a router without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service.
    ///
    /// # Errors
    ///
    /// Returns an error if another service has the same id, or if the id is reserved.
    #[expect(clippy::should_implement_trait, reason = "adding here has nothing of a sum")]
    pub fn add<S>(mut self, service: S) -> Result<Self, RegistrationError>
    where
        S: Service<Request, Response = Response> + NamedService + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let info = S::INFO;
        if info.id().is_reserved() {
            return Err(RegistrationError::ReservedId { service: info.name(), id: info.id() });
        }
        match self.position(info.id()) {
            Ok(at) => Err(RegistrationError::DuplicateId {
                id: info.id(),
                first: self.routes.list[at].info.name(),
                second: info.name(),
            }),
            Err(at) => {
                let route = Route { info, service: Arc::new(service) };
                let routes = Arc::make_mut(&mut self.routes);
                routes.list.insert(at, route);
                routes.note_change();
                Ok(self)
            }
        }
    }

    /// Adds the service of reflection, `muxado.Reflection`, which describes the services of this router to callers:
    /// also those that are added later, and itself. See [`ServerBuilder::reflection`](crate::ServerBuilder::reflection).
    ///
    /// # Errors
    ///
    /// Returns an error if it, or another service with its id, has been added before.
    pub fn reflection(self) -> Result<Self, RegistrationError> {
        self.add(Reflection::new(&[], &[]))
    }

    /// Adds the service of health, `muxado.Health`, which says whether the services of this router take calls: also those
    /// that are added later. See [`Health`].
    ///
    /// # Errors
    ///
    /// Returns an error if it, or another service with its id, has been added before.
    pub fn health(self, health: &Health) -> Result<Self, RegistrationError> {
        let mut router = self.add(HealthService::new(health.clone(), &Arc::default()))?;
        let routes = Arc::make_mut(&mut router.routes);
        routes.health = Some(health.clone());
        routes.note_change();
        Ok(router)
    }

    /// Returns what the service of health says, if it is one of the services.
    pub(crate) fn health_of_services(&self) -> Option<&Health> {
        self.routes.health.as_ref()
    }

    /// Sets a service for all calls of services and methods that the router does not know: a relay, a gateway, a recorder.
    /// It replaces an earlier one.
    ///
    /// It gets each request with the names, the encoded parameters, and the stream of items behind them, if there is one. A
    /// request has the name of its method, but of its service only the id, so [`MethodInfo::service`] is the text of the
    /// id for a service that is not known here; [`MethodInfo::shape`] is [`Shape::Unknown`]. A name of a method above
    /// 1 024 bytes is refused as `unimplemented`.
    ///
    /// A [`Channel`](crate::Channel) as fallback makes the router a relay, for calls of every shape: parameters, items,
    /// errors with their details, and metadata pass through as they are, in the codec of the caller, whose time limit
    /// holds and whose cancellation goes through. If the peer behind it is known not to take that codec, the call fails as
    /// `unimplemented`, not executed.
    ///
    /// ```
    /// use muxado_rpc::{Request, Response, Router, Status};
    /// use tower::service_fn;
    ///
    /// let router = Router::new().fallback(service_fn(|request: Request| async move {
    ///     if request.method().name() == "ping" {
    ///         return Response::new(request.codec(), "pong");
    ///     }
    ///     Err(Status::unimplemented(format!("{} is not here", request.method())).not_executed())
    /// }));
    /// # let _ = router;
    /// ```
    ///
    /// What the peer tells of itself ([`PeerCapabilities`](crate::PeerCapabilities)) lists the services that are here, not
    /// those behind the fallback.
    ///
    /// [`MethodInfo::service`]: crate::MethodInfo::service
    /// [`MethodInfo::shape`]: crate::MethodInfo::shape
    /// [`Shape::Unknown`]: crate::Shape::Unknown
    #[must_use]
    pub fn fallback<S>(mut self, service: S) -> Self
    where
        S: Service<Request, Response = Response> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        Arc::make_mut(&mut self.routes).fallback = Some(Arc::new(service));
        self
    }

    /// Sets what the service of [reflection](Self::reflection) says of the services behind the
    /// [fallback](Self::fallback), which are not known here otherwise. It replaces what was set earlier. Nothing is said
    /// of a service that is served here, and nothing to those who may not call the fallback.
    ///
    /// ```
    /// use muxado_rpc::{Channel, ReflectionClient, Router, Status};
    ///
    /// /// A relay that describes what the peer behind it serves.
    /// async fn relay(upstream: Channel) -> Result<Router, Box<dyn std::error::Error>> {
    ///     let services = ReflectionClient::new(upstream.clone()).describe_all().await?;
    ///     Ok(Router::new().fallback(upstream).describe_fallback(services).reflection()?)
    /// }
    /// # let _ = relay;
    /// ```
    #[must_use]
    pub fn describe_fallback(mut self, services: impl IntoIterator<Item = ServiceSchema>) -> Self {
        let routes = Arc::make_mut(&mut self.routes);
        routes.behind = services.into_iter().map(Arc::new).collect();
        routes.note_change();
        self
    }

    /// Returns the router as one that may not know of all services sees it: without the others, and without the fallback,
    /// to which the others would be unknown ones.
    pub(crate) fn view(&self, allows: impl Fn(&ServiceInfo) -> bool) -> Self {
        let list = self.routes.list.iter().filter(|route| allows(route.info)).cloned().collect();
        let mut routes = Routes { list, hides: true, ..Routes::default() };
        routes.note_change();
        Self { routes: Arc::new(routes) }
    }

    /// Returns the services, if there are others of which those who use this router may not know.
    pub(crate) fn visible(&self) -> Option<Arc<[&'static ServiceInfo]>> {
        self.routes.hides.then(|| Arc::clone(&self.routes.infos))
    }

    #[inline]
    pub(crate) fn has_fallback(&self) -> bool {
        self.routes.fallback.is_some()
    }

    /// Returns who takes a request.
    #[inline]
    fn find(&self, request: &mut Request) -> Result<&Arc<dyn ErasedService>, Status> {
        let Routes { list, fallback, .. } = &*self.routes;
        let id = request.method().service_id();
        let Ok(at) = self.position(id) else {
            return fallback.as_ref().ok_or_else(|| self.unknown_service(id));
        };
        let route = &list[at];
        if request.static_method().is_some() {
            return Ok(&route.service);
        }
        match (route.info.method(request.method().name()), fallback) {
            (Some(method), _) => {
                request.set_method(method);
                match request.body_mut() {
                    Some(body) if method.shape().streams_input() => BodyStream::expect_end(body),
                    _ => {}
                }
                Ok(&route.service)
            }
            (None, Some(fallback)) => Ok(fallback),
            // The service says that it has no such method.
            (None, None) => Ok(&route.service),
        }
    }

    /// Returns the services, ordered by id.
    pub fn services(&self) -> impl Iterator<Item = &'static ServiceInfo> {
        self.routes.list.iter().map(|route| route.info)
    }

    #[inline]
    pub(crate) fn service(&self, id: ServiceId) -> Option<&'static ServiceInfo> {
        self.position(id).ok().map(|at| self.routes.list[at].info)
    }

    /// Returns the status of a call of a service that is not served.
    pub(crate) fn unknown_service(&self, id: ServiceId) -> Status {
        let served = if self.routes.list.is_empty() { "none" } else { &*self.routes.summary };
        // In one piece of memory: a peer may ask for what is not there as often as it likes.
        let mut text = String::with_capacity(served.len() + 48);
        // Writing to a string cannot fail.
        let _ = write!(text, "no service {id} here; served: {served}");
        Status::unimplemented(text).not_executed()
    }

    #[inline]
    fn position(&self, id: ServiceId) -> Result<usize, usize> {
        self.routes.list.binary_search_by_key(&id, |route| route.info.id())
    }
}

/// Services as a text of at most [`MAX_SUMMARY`] bytes.
fn listed(services: impl ExactSizeIterator<Item = &'static ServiceInfo>) -> String {
    let named = services.map(|info| format!("{} ({})", Brief(info.name()), info.id()));
    truncate::list(named, MAX_SUMMARY)
}

/// Bytes of the list of services in an answer, which has 256 at most.
const MAX_SUMMARY: usize = 200;

impl Service<Request> for Router {
    type Response = Response;
    type Error = Status;
    type Future = RouterFuture;

    /// Always ready. Each call waits for its service in its future, so that a busy service does not hold up others.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> RouterFuture {
        let serving = match self.find(&mut request) {
            Ok(service) => service.start(request),
            Err(status) => failed(status),
        };
        RouterFuture { serving: Some(serving) }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services().map(ServiceInfo::name)).finish()
    }
}

/// A call through a [`Router`].
#[must_use = "futures do nothing unless polled"]
pub struct RouterFuture {
    /// `None` after its end. It holds whatever there is of a call, so that it is returned in two registers.
    serving: Option<ServeFuture>,
}

impl Future for RouterFuture {
    type Output = Result<Response, Status>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(serving) = &mut self.serving else {
            return Poll::Ready(Err(Status::internal("a call was polled after its end")));
        };
        let polled = serving.as_mut().poll(cx);
        if polled.is_ready() {
            self.serving = None;
        }
        polled
    }
}

impl fmt::Debug for RouterFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterFuture").finish_non_exhaustive()
    }
}

/// The error of services that cannot be served together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Two services have the same id.
    #[error(
        "services `{first}` and `{second}` have the same id {id}; give one of them another, as in \
         #[service(id = 7)]"
    )]
    DuplicateId {
        /// The id.
        id: ServiceId,
        /// The service that has it.
        first: &'static str,
        /// The service that was to be added.
        second: &'static str,
    },
    /// The id is reserved for the protocol.
    #[error("service `{service}` has the id {id}; ids from 0xffffff00 on are reserved")]
    ReservedId {
        /// The service.
        service: &'static str,
        /// Its id.
        id: ServiceId,
    },
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;
    use crate::{Codec, MethodInfo};

    /// A service that answers with its number.
    #[derive(Clone)]
    struct Number<const ID: u32>;

    impl<const ID: u32> Number<ID> {
        const METHODS: &'static [MethodInfo] = &[MethodInfo::new("Number", ID, "get", 0)];
    }

    impl<const ID: u32> NamedService for Number<ID> {
        const INFO: &'static ServiceInfo = &ServiceInfo::new("Number", ID, Self::METHODS);
    }

    impl<const ID: u32> Service<Request> for Number<ID> {
        type Response = Response;
        type Error = Status;
        type Future = Ready<Result<Response, Status>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request) -> Self::Future {
            ready(Response::new(request.codec(), &ID))
        }
    }

    async fn get(router: &Router, method: &'static MethodInfo) -> Result<u32, Status> {
        let request = Request::new(method, Codec::Json, &()).unwrap();
        let response = router.clone().call(request).await?;
        Ok(response.decode(method)?)
    }

    #[tokio::test]
    async fn each_request_reaches_its_service() {
        let router = Router::new().add(Number::<7>).unwrap().add(Number::<3>).unwrap();
        assert_eq!(get(&router, &Number::<3>::METHODS[0]).await, Ok(3));
        assert_eq!(get(&router, &Number::<7>::METHODS[0]).await, Ok(7));
        let status = get(&router, &Number::<5>::METHODS[0]).await.unwrap_err();
        assert_eq!(
            status.to_string(),
            "unimplemented: no service 0x00000005 here; served: Number (0x00000003), Number (0x00000007)"
        );
    }

    #[test]
    fn ids_that_collide_or_are_reserved_are_refused() {
        let error = Router::new().add(Number::<7>).unwrap().add(Number::<7>).unwrap_err();
        assert_eq!(
            error,
            RegistrationError::DuplicateId { id: ServiceId::new(7), first: "Number", second: "Number" }
        );
        let error = Router::new().add(Number::<0xFFFF_FFFE>).unwrap_err();
        assert!(error.to_string().contains("0xfffffffe"), "{error}");
    }
}
