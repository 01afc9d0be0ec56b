//! Descriptions of services and methods: names, ids, options.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tower_layer::Layer;

use crate::{
    message::{
        layered::Layered,
        service_schema::{Describe, ServiceSchema},
    },
    support::truncate::brief,
};

/// The id of a service on the wire: the type of each stream that carries one of its calls.
///
/// ```
/// use muxado_rpc::ServiceId;
///
/// const CALCULATOR: ServiceId = ServiceId::from_name("Calculator");
/// assert_eq!(CALCULATOR, ServiceId::from_name("Calculator"));
/// assert_eq!(ServiceId::new(7).to_string(), "0x00000007");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceId(u32);

impl ServiceId {
    /// Creates an id from its number.
    ///
    /// Numbers from 0xFFFF_FF00 on are reserved; a service with such an id cannot be registered.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Returns the id of a service that declares none: the 32-bit FNV-1a hash of its name in UTF-8.
    ///
    /// A hash from 0xFFFF_FF00 on, which would be reserved, has its top bit cleared.
    pub const fn from_name(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut hash = FNV_OFFSET;
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u32).wrapping_mul(FNV_PRIME);
            at += 1;
        }
        if hash >= FIRST_RESERVED {
            hash &= 0x7FFF_FFFF;
        }
        Self(hash)
    }

    /// Returns the number on the wire.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Returns whether the id is reserved for the protocol itself, such as that of heartbeats.
    pub const fn is_reserved(self) -> bool {
        self.0 >= FIRST_RESERVED
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceId({self})")
    }
}

/// The description of a method. Generated code creates one for each method; [`Request::method`] returns it to layers.
///
/// A method that is known only at run time is described by [`dynamic`](Self::dynamic). A call needs the names only; the
/// rest is what the caller knows of the method.
///
/// ```
/// use muxado_rpc::{MethodInfo, ServiceId, Shape};
///
/// let method = MethodInfo::dynamic("calc.Calculator", "add");
/// assert_eq!(method.service_id(), ServiceId::from_name("calc.Calculator"));
/// assert_eq!(method.shape(), Shape::Unknown);
/// ```
///
/// [`Request::method`]: crate::Request::method
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MethodInfo {
    service: Cow<'static, str>,
    service_id: ServiceId,
    name: Cow<'static, str>,
    index: usize,
    options: MethodOptions,
}

/// The options that the signature and the attributes of a method declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodOptions {
    /// Which sides stream.
    pub shape: Shape,
    /// Whether a call may be executed twice without harm.
    pub idempotent: bool,
    /// Whether the handler runs to its end even if the call is cancelled.
    pub no_cancel: bool,
    /// Whether the handler takes the [`Context`](crate::Context).
    pub takes_context: bool,
    /// The time limit of calls that set none.
    pub timeout: Option<Duration>,
}

impl MethodOptions {
    /// The options of a unary method without attributes.
    pub const DEFAULT: Self = Self {
        shape: Shape::Unary,
        idempotent: false,
        no_cancel: false,
        takes_context: false,
        timeout: None,
    };
}

/// Which sides of a call stream items.
///
/// The shape is no part of a request: both sides know it from the method. Where it is [`Unknown`](Self::Unknown), what is
/// sent tells.
///
/// Its form in documents is its name in small letters: `unary`, `server_streaming`, `client_streaming`, `bidirectional`,
/// `unknown`.
///
/// ```
/// use muxado_rpc::Shape;
///
/// assert!(Shape::Bidirectional.streams_input() && Shape::Bidirectional.streams_output());
/// assert!(!Shape::Unary.streams_input());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One request and one response.
    Unary,
    /// One request, then a stream of items as the response.
    ServerStreaming,
    /// A request with a stream of items, then one response.
    ClientStreaming,
    /// A stream of items each way.
    Bidirectional,
    /// Not known on this side: that of a call which a [fallback](crate::Router::fallback) takes, or of a method
    /// [known only at run time](MethodInfo::dynamic).
    #[serde(other)]
    Unknown,
}

impl Shape {
    /// Returns whether the caller sends a stream of items. False if the shape is unknown.
    pub const fn streams_input(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::Bidirectional)
    }

    /// Returns whether the method returns a stream of items. False if the shape is unknown.
    pub const fn streams_output(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::Bidirectional)
    }
}

/// Shows the name that documents have for it, such as `server_streaming`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary",
            Self::ServerStreaming => "server_streaming",
            Self::ClientStreaming => "client_streaming",
            Self::Bidirectional => "bidirectional",
            Self::Unknown => "unknown",
        })
    }
}

impl MethodInfo {
    pub(crate) const fn new(service: &'static str, id: u32, name: &'static str, index: usize) -> Self {
        let (service, name) = (Cow::Borrowed(service), Cow::Borrowed(name));
        Self { service, service_id: ServiceId::new(id), name, index, options: MethodOptions::DEFAULT }
    }

    /// Describes a method that is known only at run time, of [unknown shape](Shape::Unknown). The id of the service is the
    /// one that follows from its name.
    pub fn dynamic(service: impl Into<Cow<'static, str>>, name: impl Into<Cow<'static, str>>) -> Self {
        let (service, name) = (service.into(), name.into());
        let service_id = ServiceId::from_name(&service);
        let options = MethodOptions { shape: Shape::Unknown, ..MethodOptions::DEFAULT };
        Self { service, service_id, name, index: usize::MAX, options }
    }

    /// Describes a method of a service that is not served here, of which a peer sends the id only, or of one that is.
    pub(crate) fn of_unknown(service: Option<&ServiceInfo>, id: ServiceId, name: &str) -> Self {
        let service = service.map_or_else(|| id.to_string().into(), |known| Cow::Borrowed(known.name));
        Self::dynamic(service, name.to_owned()).with_service_id(id)
    }

    /// Sets the id of the service, for one that declares its own: `#[service(id = 7)]`.
    #[must_use]
    pub fn with_service_id(mut self, id: ServiceId) -> Self {
        self.service_id = id;
        self
    }

    /// Sets which sides of its calls stream items.
    #[must_use]
    pub fn with_shape(mut self, shape: Shape) -> Self {
        self.options.shape = shape;
        self
    }

    /// Sets whether a call may be executed twice without harm; see [`is_idempotent`](Self::is_idempotent).
    #[must_use]
    pub fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.options.idempotent = idempotent;
        self
    }

    pub(crate) const fn with_options(mut self, options: MethodOptions) -> Self {
        self.options = options;
        self
    }

    /// Returns the name of the service, such as `calc.Calculator`. A request names its service by the id only: for a
    /// service that is not known here, this is the text of the id, such as `0x57219b6d`.
    pub const fn service(&self) -> &str {
        match &self.service {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => name.as_str(),
        }
    }

    /// Returns the id of the service on the wire.
    pub const fn service_id(&self) -> ServiceId {
        self.service_id
    }

    /// Returns the name of the method on the wire.
    pub const fn name(&self) -> &str {
        match &self.name {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => name.as_str(),
        }
    }

    /// Returns the index of the method in [`ServiceInfo::methods`]; `usize::MAX` for one known only at run time.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Returns which sides of its calls stream items.
    pub const fn shape(&self) -> Shape {
        self.options.shape
    }

    /// Returns whether a call may be executed twice without harm: `#[method(idempotent)]`. Such a call may be tried
    /// again even if it may have been executed.
    pub const fn is_idempotent(&self) -> bool {
        self.options.idempotent
    }

    /// Returns whether the handler runs to its end even if the call is cancelled: `#[method(no_cancel)]`.
    pub const fn is_no_cancel(&self) -> bool {
        self.options.no_cancel
    }

    /// Returns the time limit of calls that set none: `#[method(timeout_ms = 500)]`.
    pub const fn default_timeout(&self) -> Option<Duration> {
        self.options.timeout
    }

    pub(crate) const fn takes_context(&self) -> bool {
        self.options.takes_context
    }
}

/// Shows the names of service and method. Those that a peer chose are cut off at 80 bytes each, and escaped.
impl fmt::Display for MethodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Cow::Borrowed(service), Cow::Borrowed(name)) = (&self.service, &self.name) {
            return write!(f, "{service}.{name}");
        }
        write!(f, "{}.{}", brief(&*self.service, MAX_SHOWN_NAME), brief(&*self.name, MAX_SHOWN_NAME))
    }
}

impl fmt::Debug for MethodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodInfo({self})")
    }
}

/// The description of a service. Generated code creates one for each service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceInfo {
    name: &'static str,
    id: ServiceId,
    methods: &'static [MethodInfo],
    describe: Describe,
}

impl ServiceInfo {
    pub(crate) const fn new(name: &'static str, id: u32, methods: &'static [MethodInfo]) -> Self {
        Self { name, id: ServiceId::new(id), methods, describe: Describe(None) }
    }

    /// Sets what describes the service in full. Generated code calls it.
    #[doc(hidden)]
    #[must_use]
    pub const fn described_by(mut self, describe: fn() -> ServiceSchema) -> Self {
        self.describe = Describe(Some(describe));
        self
    }

    /// Returns the description of the service, made anew at each call. Schemas and doc comments are in it if the trait has
    /// `#[service(schema)]`, else names, shapes and options.
    pub fn schema(&self) -> ServiceSchema {
        self.describe.0.map_or_else(|| ServiceSchema::of_info(self), |describe| describe())
    }

    /// Returns whether [`schema`](Self::schema) has schemas: the trait has `#[service(schema)]`.
    pub const fn has_schema(&self) -> bool {
        self.describe.0.is_some()
    }

    /// Returns the name of the service: that of the trait, unless the attribute gives another.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the id of the service on the wire.
    pub const fn id(&self) -> ServiceId {
        self.id
    }

    /// Returns the methods, in the order of the trait.
    pub const fn methods(&self) -> &'static [MethodInfo] {
        self.methods
    }

    /// Returns the method with this name on the wire.
    pub fn method(&self, name: &str) -> Option<&'static MethodInfo> {
        self.method_named(name.as_bytes())
    }

    /// Returns the method with this name, which may not be UTF-8.
    pub(crate) fn method_named(&self, name: &[u8]) -> Option<&'static MethodInfo> {
        self.methods.iter().find(|method| method.name.as_bytes() == name)
    }
}

/// A service with a description, by which a [`Router`] finds it. Implemented by every generated server.
///
/// [`Router`]: crate::Router
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service of `#[muxado_rpc::service]`",
    label = "not a generated server, such as `CalculatorServer::new(..)`",
    note = "to put a Tower layer around one service use `NamedService::layered`, which keeps its identity"
)]
pub trait NamedService {
    /// The description of the service.
    const INFO: &'static ServiceInfo;

    /// Puts a Tower layer around this one service, which keeps its name and id.
    ///
    /// Layers run in the order in which they were added: the first added sees a request first. A layer for all
    /// services of a peer goes to `layer` of [`PeerBuilder`](crate::PeerBuilder::layer) or
    /// [`ServerBuilder`](crate::ServerBuilder::layer).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use muxado_rpc::{NamedService, Router};
    /// use tower::timeout::TimeoutLayer;
    ///
    /// # #[muxado_rpc::service]
    /// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
    /// # struct Polite;
    /// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
    /// let impatient = GreeterServer::new(Polite).layered(TimeoutLayer::new(Duration::from_secs(1)));
    /// let router = Router::new().add(impatient)?;
    /// # Ok::<_, muxado_rpc::RegistrationError>(())
    /// ```
    fn layered<L>(self, layer: L) -> Layered<Self, L>
    where
        Self: Clone,
        L: Layer<Self>,
    {
        Layered::new(self, layer)
    }
}

/// Bytes shown of a name that is known only at run time.
const MAX_SHOWN_NAME: usize = 80;

/// From here on ids belong to the protocol: heartbeat is 0xFFFF_FFFF.
const FIRST_RESERVED: u32 = 0xFFFF_FF00;
const FNV_OFFSET: u32 = 0x811C_9DC5;
const FNV_PRIME: u32 = 0x0100_0193;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_names_are_fnv1a() {
        for (name, id) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(ServiceId::from_name(name), ServiceId::new(id), "{name:?}");
        }
    }

    #[test]
    fn ids_of_names_are_never_reserved() {
        // The FNV-1a of this name is 0xffffff60.
        assert_eq!(ServiceId::from_name("s42250407"), ServiceId::new(0x7FFF_FF60));
        assert!(ServiceId::new(0xFFFF_FF00).is_reserved());
    }

    #[test]
    fn names_of_run_time_are_shown_escaped_and_cut() {
        let method = MethodInfo::dynamic("S", format!("a\n{}", "x".repeat(1000)));
        let shown = method.to_string();
        assert!(shown.starts_with("S.a\\nxxx") && shown.len() < 100, "{shown}");
        assert_eq!(format!("{method:?}"), format!("MethodInfo({shown})"));
        let unknown = MethodInfo::of_unknown(None, ServiceId::new(7), "m");
        assert_eq!(
            (unknown.to_string(), unknown.service_id()),
            ("0x00000007.m".to_owned(), ServiceId::new(7))
        );
    }

    #[test]
    fn methods_are_found_by_name() {
        static METHODS: [MethodInfo; 2] = [MethodInfo::new("S", 1, "a", 0), MethodInfo::new("S", 1, "b", 1)];
        static INFO: ServiceInfo = ServiceInfo::new("S", 1, &METHODS);
        assert_eq!(INFO.method("b").map(MethodInfo::index), Some(1));
        assert_eq!(INFO.method("c"), None);
        assert_eq!(METHODS[1].to_string(), "S.b");
    }
}
