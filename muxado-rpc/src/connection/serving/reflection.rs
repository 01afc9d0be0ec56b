//! The service of reflection: says what is served on this side, to those who may see it (`PROTOCOL §10.14`).

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_core::Stream;
use serde::Serialize;
use serde_json::json;
use tower_service::Service;

use super::streamed;
use crate::{
    MethodInfo, MethodSchema, NamedService, ParameterSchema, Request, Response, ServiceId, ServiceInfo,
    ServiceSchema, Shape, Status,
    message::{
        method::MethodOptions,
        reflection::{DESCRIBE, DescribeParams, NAME, PEER, Part, PeerDescription, SERVICES, ServiceSummary},
        request::Connection,
    },
    support::truncate::{self, Brief},
};

const ID: ServiceId = ServiceId::from_name(NAME);

static METHODS: [MethodInfo; 3] = [
    method(PEER, 0, Shape::Unary),
    method(SERVICES, 1, Shape::ServerStreaming),
    method(DESCRIBE, 2, Shape::ServerStreaming),
];

static INFO: ServiceInfo = ServiceInfo::new(NAME, ID.as_u32(), &METHODS).described_by(own_schema);

const fn method(name: &'static str, index: usize, shape: Shape) -> MethodInfo {
    let options = MethodOptions { shape, idempotent: true, ..MethodOptions::DEFAULT };
    MethodInfo::new(NAME, ID.as_u32(), name, index).with_options(options)
}

/// The service. It knows those of its router; which of them a caller may see, the connection of the call says.
#[derive(Clone)]
pub(super) struct Reflection {
    /// Ordered by name.
    services: Arc<[Reflected]>,
}

/// A service, and its description in parts once somebody has asked for it.
struct Reflected {
    about: About,
    parts: OnceLock<Arc<[Part]>>,
}

/// What is known of a service.
enum About {
    /// It is served here.
    Served(&'static ServiceInfo),
    /// It is behind the fallback.
    Behind(Arc<ServiceSchema>),
}

impl Reflected {
    fn new(about: About) -> Self {
        Self { about, parts: OnceLock::new() }
    }

    fn name(&self) -> &str {
        match &self.about {
            About::Served(info) => info.name(),
            About::Behind(schema) => &schema.name,
        }
    }

    fn id(&self) -> ServiceId {
        match &self.about {
            About::Served(info) => info.id(),
            About::Behind(schema) => schema.id,
        }
    }

    fn summary(&self) -> ServiceSummary {
        match &self.about {
            About::Served(info) => ServiceSummary::of(info),
            About::Behind(schema) => ServiceSummary::of_schema(schema),
        }
    }

    fn schema(&self) -> ServiceSchema {
        match &self.about {
            About::Served(info) => info.schema(),
            About::Behind(schema) => ServiceSchema::clone(schema),
        }
    }
}

impl Reflection {
    /// The service that describes those that are served here, and those behind the fallback.
    pub(super) fn new(served: &[&'static ServiceInfo], behind: &[Arc<ServiceSchema>]) -> Self {
        let is_served = |id| served.iter().any(|info| info.id() == id);
        let behind = behind.iter().filter(|schema| !is_served(schema.id));
        let behind = behind.map(|schema| Reflected::new(About::Behind(Arc::clone(schema))));
        let served = served.iter().map(|info| Reflected::new(About::Served(info)));
        let mut services: Vec<_> = served.chain(behind).collect();
        services.sort_by(|one, other| one.name().cmp(other.name()));
        Self { services: services.into() }
    }

    /// Returns whether this is the description of the service of reflection.
    pub(super) fn is_of(info: &'static ServiceInfo) -> bool {
        std::ptr::eq(info, &raw const INFO)
    }

    fn peer(request: &Request, connection: Option<&dyn Connection>) -> Result<Response, Status> {
        let transports = connection.map_or(&[][..], Connection::transports);
        let peer = PeerDescription::of_this_side(connection.map(Connection::limits), transports);
        Response::new(request.codec(), &peer)
    }

    /// Returns the services that the caller may see.
    fn visible<'a>(
        &'a self,
        connection: Option<&'a dyn Connection>,
    ) -> impl Iterator<Item = &'a Reflected> + Clone {
        let visible = connection.and_then(Connection::visible);
        self.services.iter().filter(move |service| {
            visible.is_none_or(|visible| visible.iter().any(|info| info.id() == service.id()))
        })
    }

    fn list(&self, connection: Option<&dyn Connection>) -> Items {
        let list: Vec<_> = self.visible(connection).map(Reflected::summary).collect();
        Items::Services(list.into_iter())
    }

    fn describe(&self, request: &Request, connection: Option<&dyn Connection>) -> Result<Items, Status> {
        let DescribeParams { service: name } = request.decode_params().map_err(Status::not_executed)?;
        let Some(service) = self.visible(connection).find(|service| service.name() == name) else {
            let names: Vec<_> = self.visible(connection).map(Reflected::name).collect();
            let served = truncate::list(names.iter(), MAX_NAMES);
            return Err(Status::not_found(format!("no service `{}` here; served: {served}", Brief(&name))));
        };
        let parts = service.parts.get_or_init(|| Part::all_of(service.schema()).into());
        Ok(Items::Parts(Arc::clone(parts), 0))
    }
}

/// Bytes of the names of services in an error.
const MAX_NAMES: usize = 200;

impl NamedService for Reflection {
    const INFO: &'static ServiceInfo = &INFO;
}

impl Service<Request> for Reflection {
    type Response = Response;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let connection = request.connection();
        let connection = connection.as_deref();
        let items = match request.method().name() {
            PEER => return Box::pin(ready(Self::peer(&request, connection))),
            SERVICES => Ok((&METHODS[1], self.list(connection))),
            DESCRIBE => self.describe(&request, connection).map(|items| (&METHODS[2], items)),
            _ => {
                let unknown = format!("{} is not a method of this service", request.method());
                Err(Status::unimplemented(unknown).not_executed())
            }
        };
        let codec = request.codec();
        Box::pin(async move {
            let (method, items) = items?;
            streamed::serve(method, codec, None, |sink| sink.send_all(items)).await
        })
    }
}

impl fmt::Debug for Reflection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services.iter().map(Reflected::name)).finish()
    }
}

/// The items of a response.
enum Items {
    Services(std::vec::IntoIter<ServiceSummary>),
    Parts(Arc<[Part]>, usize),
}

/// One of them.
#[derive(Serialize)]
#[serde(untagged)]
enum Item {
    Service(ServiceSummary),
    Part(Box<Part>),
}

impl Stream for Items {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Item>> {
        Poll::Ready(match &mut *self {
            Self::Services(list) => list.next().map(Item::Service),
            Self::Parts(parts, next) => {
                let part = parts.get(*next).cloned();
                *next += 1;
                part.map(|part| Item::Part(Box::new(part)))
            }
        })
    }
}

/// What the service says of itself: written by hand, so that it has schemas without the feature.
fn own_schema() -> ServiceSchema {
    let (text, number, flag) =
        (json!({"type": "string"}), json!({"type": "integer", "minimum": 0}), json!({"type": "boolean"}));
    let texts = json!({"type": "array", "items": text});
    let limits = ["max_message_size", "max_metadata_size", "max_request_memory", "max_in_flight"]
        .into_iter()
        .chain(["first_byte_timeout_ms"])
        .map(|name| (name.to_owned(), number.clone()));
    let limits = json!({"type": "object", "properties": serde_json::Map::from_iter(limits)});
    let mut service = ServiceSchema::new(NAME, ID);
    service.description = Some("Says what is served here, as far as the caller may see it.".to_owned());
    service.methods = METHODS.iter().map(MethodSchema::of_info).collect();
    let [peer, services, describe] = &mut service.methods[..] else { return service };
    peer.description = Some("Says with which versions, codecs and limits this side serves.".to_owned());
    peer.params = Some(Vec::new());
    peer.output = Some(json!({
        "type": "object",
        "properties": {
            "version": number, "implementation": text, "codecs": texts, "limits": limits, "transports": texts,
        },
        "required": ["version", "implementation", "codecs", "limits", "transports"],
    }));
    services.description = Some("Lists the services, in the order of their names.".to_owned());
    services.params = Some(Vec::new());
    services.output = Some(json!({
        "type": "object",
        "properties": {"name": text, "id": number, "methods": number, "has_schema": flag},
        "required": ["name", "id", "methods", "has_schema"],
    }));
    describe.description = Some(
        "Describes a service in parts: first the service itself, then each method, then each definition that their \
         schemas refer to. Parts of other kinds are to be ignored."
            .to_owned(),
    );
    describe.params = Some(vec![ParameterSchema::new("service", text.clone())]);
    let definition = json!({
        "type": "object",
        "properties": {"name": text, "schema": {"type": ["object", "boolean"]}},
        "required": ["name", "schema"],
    });
    describe.output = Some(json!({
        "type": "object",
        "properties": {
            "service": {"type": "object", "required": ["version", "name", "id"]},
            "method": {"type": "object", "required": ["name", "shape"]},
            "definition": definition,
        },
    }));
    service
}
