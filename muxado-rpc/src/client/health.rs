//! Asks a peer whether its services take calls.

use std::{collections::BTreeMap, fmt};

use tower_service::Service;

use crate::{
    BoxError, CallError, Channel, HealthStatus, MethodInfo, RawCall, RawError, Request, Response, Shape,
    Status, Streaming,
    message::health::{CHECK, Checked, HealthParams, LIST, Listed, NAME, WATCH},
};

/// A client of the service of health: asks the other side whether its services take calls.
///
/// The other side has [`ServerBuilder::health`](crate::ServerBuilder::health), or
/// [`PeerBuilder::health`](crate::PeerBuilder::health); else the calls fail with
/// [`Code::Unimplemented`](crate::Code::Unimplemented). See [`Health`](crate::Health) for an example.
#[derive(Clone)]
pub struct HealthClient<C = Channel> {
    channel: C,
}

impl HealthClient<()> {
    /// The name of the service, for [`Access::only`](crate::Access::only) and the like.
    pub const SERVICE: &'static str = NAME;
}

impl<C> HealthClient<C>
where
    C: Service<Request, Response = Response> + Clone,
    C::Error: Into<BoxError>,
{
    /// Makes calls over `channel`.
    pub const fn new(channel: C) -> Self {
        Self { channel }
    }

    /// Returns the status of a service, or of the server as a whole if the name is empty.
    ///
    /// # Errors
    ///
    /// Returns `not_found` if there is no such service, or this side may not know of it.
    pub async fn check(&self, service: &str) -> Result<HealthStatus, Status> {
        let checked: Checked =
            self.call(CHECK, Shape::Unary).params(&params(service)).call().await.map_err(to_status)?;
        Ok(checked.status)
    }

    /// Watches a service, or the server as a whole if the name is empty: returns its status now, and whenever it changes.
    /// A service that is not there is [`ServiceUnknown`](HealthStatus::ServiceUnknown) until it is.
    ///
    /// # Errors
    ///
    /// Returns why the call could not be made.
    pub async fn watch(&self, service: &str) -> Result<HealthWatch, Status> {
        let call = self.call(WATCH, Shape::ServerStreaming).params(&params(service));
        Ok(HealthWatch { items: call.items().await.map_err(to_status)? })
    }

    /// Returns the statuses of all services that this side may know of, and of the server as a whole, by their names.
    ///
    /// # Errors
    ///
    /// Returns why there is no list.
    pub async fn list(&self) -> Result<BTreeMap<String, HealthStatus>, Status> {
        let listed: Listed = self.call(LIST, Shape::Unary).call().await.map_err(to_status)?;
        Ok(listed.statuses.into_iter().map(|(name, checked)| (name, checked.status)).collect())
    }

    fn call(&self, method: &'static str, shape: Shape) -> RawCall<C> {
        let method = MethodInfo::dynamic(NAME, method).with_shape(shape).with_idempotent(true);
        RawCall::new(self.channel.clone(), method)
    }
}

fn params(service: &str) -> HealthParams {
    HealthParams { service: service.to_owned() }
}

/// The service has no errors of its own.
fn to_status(error: CallError<RawError>) -> Status {
    error.into()
}

/// The statuses of a service that is watched: what [`HealthClient::watch`] returns. Dropping it ends the call.
///
/// ```
/// # async fn example(channel: muxado_rpc::Channel) -> Result<(), muxado_rpc::Status> {
/// let mut watch = muxado_rpc::HealthClient::new(channel).watch("Greeter").await?;
/// while let Some(status) = watch.next().await? {
///     println!("{status}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct HealthWatch {
    items: Streaming<Checked, RawError>,
}

impl HealthWatch {
    /// Returns the next status. `None` when the server has shut down its [`Health`](crate::Health): the last status was
    /// [`NotServing`](HealthStatus::NotServing).
    ///
    /// # Errors
    ///
    /// Returns why no further status can be known: `unavailable` if the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no status is lost.
    pub async fn next(&mut self) -> Result<Option<HealthStatus>, Status> {
        let checked = self.items.try_next().await.map_err(to_status)?;
        Ok(checked.map(|checked| checked.status))
    }
}

impl fmt::Debug for HealthWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthWatch").finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for HealthClient<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthClient").finish_non_exhaustive()
    }
}
