//! Asks a peer what it serves.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use crate::{
    BoxError, CallError, Channel, MethodInfo, PeerDescription, RawCall, RawError, Request, Response,
    ServiceSchema, ServiceSummary, Shape, Status, Streaming,
    message::reflection::{DESCRIBE, DescribeParams, NAME, PEER, Part, SERVICES},
};

/// A client of the service of reflection: asks the other side which services it serves, with which methods, and what
/// they take and return.
///
/// The other side has [`ServerBuilder::reflection`](crate::ServerBuilder::reflection), or
/// [`PeerBuilder::reflection`](crate::PeerBuilder::reflection); else the calls fail with
/// [`Code::Unimplemented`](crate::Code::Unimplemented). It tells what the caller may see.
///
/// ```
/// use muxado_rpc::{Peer, ReflectionClient, testing};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: &str) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: &str) -> String { name.to_owned() } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let serving = Peer::builder().serve(GreeterServer::new(Polite)).reflection();
/// let (near, far) = testing::pair(Peer::builder(), serving)?;
/// let reflection = ReflectionClient::new(near.channel());
/// for service in reflection.services().await? {
///     for method in reflection.describe(&service.name).await?.methods {
///         println!("{}/{}: {}", service.name, method.name, method.shape);
///     }
/// }
/// # drop(far);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReflectionClient<C = Channel> {
    channel: C,
}

impl ReflectionClient<()> {
    /// The name of the service, for [`Access::only`](crate::Access::only) and the like.
    pub const SERVICE: &'static str = NAME;
}

impl<C> ReflectionClient<C>
where
    C: Service<Request, Response = Response> + Clone,
    C::Error: Into<BoxError>,
{
    /// Makes calls over `channel`.
    pub const fn new(channel: C) -> Self {
        Self { channel }
    }

    /// Returns what the other side says of itself: versions, codecs, limits, transports.
    ///
    /// # Errors
    ///
    /// Returns why there is no answer: `unimplemented` if the other side has no reflection.
    pub async fn peer(&self) -> Result<PeerDescription, Status> {
        self.call(PEER, Shape::Unary).call().await.map_err(to_status)
    }

    /// Returns the services of the other side that this side may see, in the order of their names. The service of
    /// reflection itself is one of them.
    ///
    /// # Errors
    ///
    /// Returns why there is no list; `resource_exhausted` if there are more than 65 536 services.
    pub async fn services(&self) -> Result<Vec<ServiceSummary>, Status> {
        let mut items = self.items(SERVICES, &()).await?;
        let mut services = Vec::new();
        while let Some(service) = items.try_next().await.map_err(to_status)? {
            if services.len() == MAX_SERVICES {
                return Err(too_much(format_args!("lists more than {MAX_SERVICES} services")));
            }
            services.push(service);
        }
        Ok(services)
    }

    /// Returns the description of a service of the other side.
    ///
    /// # Errors
    ///
    /// Returns `not_found` if there is no such service, or this side may not see it,
    /// `resource_exhausted` if it takes more than 64 MiB.
    pub async fn describe(&self, service: &str) -> Result<ServiceSchema, Status> {
        let params = DescribeParams { service: service.to_owned() };
        let mut parts = self.items::<Part>(DESCRIBE, &params).await?;
        let (mut schema, mut size) = (None, 0);
        while let Some(part) = parts.try_next().await.map_err(to_status)? {
            size += part.size();
            if size > MAX_DESCRIPTION {
                return Err(too_much(format_args!(
                    "describes a service with more than {MAX_DESCRIPTION} bytes"
                )));
            }
            if !part.add_to(&mut schema) {
                return Err(Status::internal("the description of a service does not begin with the service"));
            }
        }
        schema.ok_or_else(|| Status::internal("the description of a service is empty"))
    }

    /// Returns the descriptions of all services of the other side that this side may see, in the order of their names.
    ///
    /// # Errors
    ///
    /// Returns why there are none, as [`services`](Self::services) and [`describe`](Self::describe) do.
    pub async fn describe_all(&self) -> Result<Vec<ServiceSchema>, Status> {
        let mut schemas = Vec::new();
        for service in self.services().await? {
            schemas.push(self.describe(&service.name).await?);
        }
        Ok(schemas)
    }

    fn call(&self, method: &'static str, shape: Shape) -> RawCall<C> {
        let method = MethodInfo::dynamic(NAME, method).with_shape(shape).with_idempotent(true);
        RawCall::new(self.channel.clone(), method)
    }

    async fn items<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &impl Serialize,
    ) -> Result<Streaming<T, RawError>, Status> {
        self.call(method, Shape::ServerStreaming).params(params).items().await.map_err(to_status)
    }
}

/// The service has no errors of its own.
fn to_status(error: CallError<RawError>) -> Status {
    error.into()
}

fn too_much(what: fmt::Arguments<'_>) -> Status {
    Status::resource_exhausted(format!("the peer {what}, a limit of the client of reflection"))
}

impl<C> fmt::Debug for ReflectionClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReflectionClient").finish_non_exhaustive()
    }
}

/// Services of a list that are taken.
const MAX_SERVICES: usize = 65_536;

/// Bytes of a description that are taken.
const MAX_DESCRIPTION: usize = 64 * 1024 * 1024;
