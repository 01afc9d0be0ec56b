//! The request of a call, as layers and services see it.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    Body, Codec, Extensions, Limits, Metadata, MethodInfo, MethodRef, PeerId, PeerInfo, ServiceInfo, Status,
    codec::CodecError,
    message::{
        method_ref::MethodAnd,
        payload::{LargeString, Lent, Payload},
        raw_value::raw_value,
        scope::Scope,
    },
    support::{deadline, depth::Depth},
};

/// The request of a call: the method, its encoded parameters, metadata, and a time limit.
///
/// All Tower services of this crate take it, on both sides: a [`Channel`](crate::Channel) sends it, a generated server runs it.
///
/// ```
/// use muxado_rpc::Request;
///
/// fn log(request: &Request) {
///     println!("{} with {} bytes", request.method().name(), request.params().len());
/// }
/// ```
pub struct Request {
    method: MethodAnd<Small>,
    pub(crate) params: Payload,
    timeout: Option<Duration>,
    /// The items that follow: behind a pointer, because few requests have any.
    input: Option<Box<Body>>,
    extras: Option<Box<Extras>>,
    arrival: Option<Arrival>,
}

/// What is small enough to lie beside the method.
#[derive(Clone, Copy)]
struct Small {
    codec: Codec,
    inherits: bool,
    depth: Depth,
}

/// What most requests have nothing of: apart, because requests are moved from layer to layer.
#[derive(Clone, Default)]
struct Extras {
    metadata: Metadata,
    extensions: Extensions,
    /// What ends with the call, if the connection that this came by will end it.
    scope: Option<Arc<Scope>>,
}

static NO_EXTRAS: Extras = Extras { metadata: Metadata::new(), extensions: Extensions::new(), scope: None };

/// A connection, as far as the requests that came by it know it.
pub(crate) trait Connection: Any + Send + Sync {
    /// Returns which connection it is.
    fn id(&self) -> PeerId;

    /// Returns who is at the other end.
    fn peer(&self) -> &PeerInfo;

    /// Returns the limits of calls.
    fn limits(&self) -> &Limits;

    /// Returns the services that the other end may know of; `None` if it may know of all.
    fn visible(&self) -> Option<&[&'static ServiceInfo]>;

    /// Returns the schemes of the addresses that this side listens on.
    fn transports(&self) -> &[String];
}

/// Where a request came from.
#[derive(Clone)]
struct Arrival {
    /// `None` if it came by no connection.
    connection: Option<Arc<dyn Connection>>,
    deadline: Option<Instant>,
}

impl Request {
    /// Creates a request, as generated clients do.
    ///
    /// # Errors
    ///
    /// Returns `invalid_argument` if the codec cannot encode the parameters.
    #[inline]
    pub fn new<P: Serialize + ?Sized>(
        method: impl Into<MethodRef>,
        codec: Codec,
        params: &P,
    ) -> Result<Self, Status> {
        let method = method.into();
        match Payload::encode(codec, params) {
            Ok(params) => Ok(Self::from_parts(method, codec, params, Depth::current(), None)),
            Err(error) => Err(cannot_encode(&method, codec, &error)),
        }
    }

    /// The same in MessagePack, of parameters at whose end a large string was.
    #[cold]
    pub(crate) fn new_lent<P: Serialize + ?Sized>(
        method: MethodRef,
        params: &P,
        large: LargeString,
    ) -> Result<Self, Status> {
        let codec = Codec::MessagePack;
        match Payload::encode_lent(params, large) {
            Ok(params) => Ok(Self::from_parts(method, codec, params, Depth::current(), None)),
            Err(error) => Err(cannot_encode(&method, codec, &error)),
        }
    }

    // Always, as below: a request is put together where it goes, since moving it costs more than making it.
    #[inline(always)]
    pub(crate) fn received(
        method: MethodRef,
        codec: Codec,
        params: Payload,
        connection: Arc<dyn Connection>,
    ) -> Self {
        // Only who asks for the context can ask for the end of the call.
        let arrival = Arrival { connection: Some(connection), deadline: None };
        let takes_context = method.takes_context();
        let mut request = Self::from_parts(method, codec, params, Depth::ZERO, Some(arrival));
        if takes_context {
            request.extras_mut().scope = Some(Arc::default());
        }
        request
    }

    #[inline(always)]
    fn from_parts(
        method: MethodRef,
        codec: Codec,
        params: Payload,
        depth: Depth,
        arrival: Option<Arrival>,
    ) -> Self {
        let method = MethodAnd::new(method, Small { codec, inherits: true, depth });
        Self { method, params, timeout: None, input: None, extras: None, arrival }
    }

    fn extras(&self) -> &Extras {
        self.extras.as_deref().unwrap_or(&NO_EXTRAS)
    }

    fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Takes metadata and extensions out of the request.
    pub(crate) fn take_extras(&mut self) -> (Metadata, Extensions) {
        self.extras.take().map_or_else(Default::default, |extras| (extras.metadata, extras.extensions))
    }

    /// Clones the request, for layers that may send it again. `None` if the request streams items, which exist only once.
    ///
    /// Copies the parameters if they were encoded on this side.
    pub fn try_clone(&self) -> Option<Self> {
        if self.input.is_some() {
            return None;
        }
        Some(Self {
            method: self.method.clone(),
            params: self.params.clone(),
            timeout: self.timeout,
            input: None,
            extras: self.extras.clone(),
            arrival: self.arrival.clone(),
        })
    }

    /// Creates a request whose parameters are encoded already: a map by name or an array by position, in this codec.
    ///
    /// ```
    /// use muxado_rpc::{Codec, MethodInfo, Request};
    ///
    /// let method = MethodInfo::dynamic("Calculator", "add");
    /// let request = Request::from_raw(method, Codec::Json, r#"{"a":1,"b":2}"#)?;
    /// assert_eq!(request.decode_params::<serde_json::Value>()?["a"], 1);
    /// # Ok::<_, muxado_rpc::Status>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns `invalid_argument` if the bytes are not one value in that codec.
    pub fn from_raw(
        method: impl Into<MethodRef>,
        codec: Codec,
        params: impl Into<Bytes>,
    ) -> Result<Self, Status> {
        let method = method.into();
        match raw_value(codec, params.into()) {
            Ok(params) => Ok(Self::from_parts(method, codec, params, Depth::current(), None)),
            Err(error) => Err(no_value(&method, codec, &error)),
        }
    }

    /// Sets the parameters, in the codec of the request.
    ///
    /// # Errors
    ///
    /// Returns `invalid_argument` if the codec cannot encode them.
    pub fn set_params<P: Serialize + ?Sized>(&mut self, params: &P) -> Result<(), Status> {
        let codec = self.codec();
        self.params =
            Payload::encode(codec, params).map_err(|error| cannot_encode(self.method(), codec, &error))?;
        Ok(())
    }

    /// Sets the parameters, which are encoded already in the codec of the request.
    ///
    /// # Errors
    ///
    /// Returns `invalid_argument` if the bytes are not one value in that codec.
    pub fn set_raw_params(&mut self, params: impl Into<Bytes>) -> Result<(), Status> {
        let codec = self.codec();
        self.params =
            raw_value(codec, params.into()).map_err(|error| no_value(self.method(), codec, &error))?;
        Ok(())
    }

    /// Sets the stream of items that follows the parameters. It must be in the codec of the request.
    pub fn set_body(&mut self, body: Option<Body>) {
        self.set_input(body);
    }

    /// Takes the stream of items that follows the parameters.
    pub fn take_body(&mut self) -> Option<Body> {
        self.take_input().map(|body| *body)
    }

    /// Returns the stream of items that follows the parameters, if the method takes one.
    pub fn body_mut(&mut self) -> Option<&mut Body> {
        self.input.as_deref_mut()
    }

    /// The former name of [`body_mut`](Self::body_mut).
    #[deprecated(note = "renamed to `body_mut`")]
    pub fn items_mut(&mut self) -> Option<&mut Body> {
        self.body_mut()
    }

    pub(crate) fn set_input(&mut self, input: Option<Body>) {
        self.input = input.map(Box::new);
    }

    /// Takes the large string that the parameters end with, if it lies apart.
    #[inline]
    pub(crate) fn take_params_end(&mut self) -> Option<Box<Lent>> {
        self.params.take_end()
    }

    /// Takes the parameters out of a request that is sent.
    #[inline]
    pub(crate) fn take_params(&mut self) -> Payload {
        std::mem::take(&mut self.params)
    }

    pub(crate) fn take_input(&mut self) -> Option<Box<Body>> {
        self.input.take()
    }

    /// Whether the request is on the serving side: it came by a connection, or a service in the same process has
    /// taken it up.
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrival.is_some()
    }

    /// Returns whether the request came by a connection.
    #[cfg(feature = "metrics")]
    #[inline]
    pub(crate) fn came_by_connection(&self) -> bool {
        self.arrival.as_ref().is_some_and(|arrival| arrival.connection.is_some())
    }

    /// Sets the time by which the answer must be there.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        if let Some(arrival) = &mut self.arrival {
            arrival.deadline = deadline;
        }
    }

    /// Lets a request that came by no connection arrive now; returns whether it has a time limit from here on.
    pub(crate) fn arrive_in_process(&mut self) -> bool {
        if self.arrival.is_some() {
            return false;
        }
        let timeout = self.effective_timeout();
        // A deadline beyond the end of time is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if deadline.is_some() {
            self.timeout = timeout;
            self.arrival = Some(Arrival { connection: None, deadline });
        }
        deadline.is_some()
    }

    /// Sets the time limit of a request that is still to be sent; `None` for no limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Sets whether a call that a handler makes also has to end within the time limit of the call that the handler serves.
    /// Default true.
    pub fn set_inherits_deadline(&mut self, inherits: bool) {
        self.method.value_mut().inherits = inherits;
    }

    /// Returns the time limit, or what is left of the inherited one if that is less.
    pub(crate) fn effective_timeout(&self) -> Option<Duration> {
        match (self.timeout, if self.method.value().inherits { deadline::inherited() } else { None }) {
            (Some(own), Some(inherited)) => Some(own.min(inherited)),
            (own, inherited) => own.or(inherited),
        }
    }

    /// Returns the extensions: values for inner layers and the handler, which are not sent.
    pub fn extensions(&self) -> &Extensions {
        &self.extras().extensions
    }

    /// Returns a mutable reference to the extensions.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extras_mut().extensions
    }

    /// Returns the scope of the call.
    pub(crate) fn scope(&self) -> Arc<Scope> {
        self.arrival_scope().unwrap_or_default()
    }

    /// Returns the scope of the call, if the connection that the request came by will end it.
    pub(crate) fn arrival_scope(&self) -> Option<Arc<Scope>> {
        self.extras().scope.clone()
    }

    /// Returns a mutable reference to the metadata.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.extras_mut().metadata
    }

    /// Returns the method to call.
    pub fn method(&self) -> &MethodInfo {
        self.method.method()
    }

    /// Returns a reference to the method that lives on without the request.
    pub fn method_ref(&self) -> MethodRef {
        self.method.method_ref()
    }

    /// Returns the method, if it is one of a generated service.
    pub(crate) const fn static_method(&self) -> Option<&'static MethodInfo> {
        self.method.as_static()
    }

    pub(crate) fn set_method_ref(&mut self, method: MethodRef) {
        self.method.set_method(method);
    }

    /// Sets the method that a service has found by the names of the one that was given.
    pub(crate) fn set_method(&mut self, method: &'static MethodInfo) {
        self.method.set_method(method.into());
    }

    /// Returns the codec of the parameters, which is also that of the response.
    pub fn codec(&self) -> Codec {
        self.method.value().codec
    }

    /// Returns the metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.extras().metadata
    }

    /// Returns the time limit that the caller has set, if it has set one.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns when the time limit ends, on the serving side. `None` if there is no limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.arrival.as_ref()?.deadline
    }

    /// Returns who sent the request. `None` on the calling side, and for a request that came by no connection.
    pub fn peer_info(&self) -> Option<&PeerInfo> {
        Some(self.arrival.as_ref()?.connection.as_ref()?.peer())
    }

    /// Returns which connection the request came by. `None` on the calling side, and for a request that came by none.
    pub fn peer_id(&self) -> Option<PeerId> {
        Some(self.arrival.as_ref()?.connection.as_ref()?.id())
    }

    /// The former name of [`peer_info`](Self::peer_info).
    #[deprecated(note = "renamed to `peer_info`")]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.peer_info()
    }

    /// Returns how deep the call stands among those that are served for the sake of others.
    pub(crate) const fn depth(&self) -> Depth {
        self.method.value().depth
    }

    pub(crate) const fn set_depth(&mut self, depth: Depth) {
        self.method.value_mut().depth = depth;
    }

    /// Returns the depth with which the request is sent from here. One that came is passed on, one deeper.
    pub(crate) fn outgoing_depth(&self) -> Depth {
        let own = if self.arrival.is_some() { self.depth().next() } else { self.depth() };
        own.max(Depth::current())
    }

    /// Returns the connection that the request came by.
    pub(crate) fn connection(&self) -> Option<Arc<dyn Connection>> {
        self.arrival.as_ref()?.connection.clone()
    }

    /// Returns how many bytes the encoded parameters have.
    pub(crate) fn params_len(&self) -> usize {
        self.params.len()
    }

    /// Returns the encoded parameters: a map by name or an array by position.
    pub fn params(&self) -> &[u8] {
        &self.params
    }

    /// Decodes the parameters.
    ///
    /// # Errors
    ///
    /// Returns `invalid_argument`, naming the method and what is wrong.
    pub fn decode_params<P: DeserializeOwned>(&self) -> Result<P, Status> {
        let (method, codec) = (self.method(), self.codec());
        self.params.decode(codec).map_err(|error| cannot_decode(method, codec, &error))
    }

    /// Decodes parameters, which may borrow from their bytes, for the last time.
    pub(crate) fn decode_last<'de, P: Deserialize<'de>>(
        method: &MethodInfo,
        codec: Codec,
        params: &'de Payload,
    ) -> Result<P, Status> {
        params.decode_last(codec).map_err(|error| cannot_decode(method, codec, &error))
    }

    /// Returns the encoded parameters alone.
    pub(crate) fn into_params(self) -> Payload {
        self.params
    }

    /// Returns what a handler that takes nothing but parameters needs of the request.
    pub(crate) fn into_handler_params(self) -> HandlerParams {
        HandlerParams { method: self.method, params: self.params, extras: self.extras }
    }
}

/// The part of a [`Request`] that is kept for a handler which takes nothing but parameters: a waiting call holds it, and
/// no more.
pub struct HandlerParams {
    method: MethodAnd<Small>,
    params: Payload,
    /// Dropped before the handler begins. It may be the application's, so it is dropped in the handler's place.
    extras: Option<Box<Extras>>,
}

impl HandlerParams {
    /// Returns the codec of the parameters.
    pub fn codec(&self) -> Codec {
        self.method.value().codec
    }

    /// Decodes the parameters, for the last time.
    pub(crate) fn decode<'de, P: Deserialize<'de>>(&'de self) -> Result<P, Status> {
        Request::decode_last(self.method.method(), self.codec(), &self.params)
    }

    /// Returns the encoded parameters.
    pub(crate) const fn params(&self) -> &Payload {
        &self.params
    }

    /// Drops all but the parameters.
    pub(crate) fn release(&mut self) {
        self.extras = None;
    }
}

impl fmt::Debug for HandlerParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerParams").field("method", self.method.method()).finish_non_exhaustive()
    }
}

fn cannot_decode(method: &MethodInfo, codec: Codec, error: &CodecError) -> Status {
    Status::invalid_argument(format!("{method}: cannot decode the parameters as {codec}: {error}"))
}

fn cannot_encode(method: &MethodInfo, codec: Codec, error: &CodecError) -> Status {
    Status::invalid_argument(format!("{method}: cannot encode the parameters as {codec}: {error}"))
        .not_executed()
}

/// What to say of parameters that the application has encoded itself.
fn no_value(method: &MethodInfo, codec: Codec, error: &CodecError) -> Status {
    Status::invalid_argument(format!("{method}: the parameters are not one value in {codec}: {error}"))
        .not_executed()
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("codec", &self.codec())
            .field("params", &self.params)
            .field("metadata", self.metadata())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
