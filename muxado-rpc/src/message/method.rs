//! What is known about a service and its methods before any call: names, ids, order.

use std::{fmt, time::Duration};

use tower_layer::Layer;

use crate::message::layered::Layered;

/// The number that stands for a service on the wire: the type of each of its streams.
///
/// ```
/// use muxado_rpc::ServiceId;
///
/// const CALCULATOR: ServiceId = ServiceId::from_name("Calculator");
/// assert_eq!(CALCULATOR, ServiceId::from_name("Calculator"));
/// assert_eq!(ServiceId::new(7).to_string(), "0x00000007");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u32);

impl ServiceId {
    /// The id with this number. Numbers from 0xFFFF_FF00 on are reserved: a service with one of
    /// them cannot be registered.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The id of a service that only has a name: FNV-1a (32 bit) of its UTF-8 bytes. Never a
    /// reserved one: of a result from 0xFFFF_FF00 on the top bit is cleared.
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

    /// The number on the wire.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Whether the number belongs to the protocol itself (heartbeat and the like).
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

/// One method of a service. Generated; layers read it from [`Request::method`].
///
/// [`Request::method`]: crate::Request::method
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MethodInfo {
    service: &'static str,
    service_id: ServiceId,
    name: &'static str,
    index: usize,
    options: MethodOptions,
}

/// What the signature and the attributes of a method say about its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodOptions {
    /// Which sides stream.
    pub shape: Shape,
    /// Whether running it twice is as good as once.
    pub idempotent: bool,
    /// Whether its handler runs to the end whatever becomes of the caller.
    pub no_cancel: bool,
    /// Whether its handler asks for the [`Context`](crate::Context).
    pub takes_context: bool,
    /// The time limit of calls that set none.
    pub timeout: Option<Duration>,
}

impl MethodOptions {
    /// A unary method without any attribute.
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
/// ```
/// use muxado_rpc::Shape;
///
/// assert!(Shape::Bidirectional.streams_input() && Shape::Bidirectional.streams_output());
/// assert!(!Shape::Unary.streams_input());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One request, one answer.
    Unary,
    /// One request, any number of items and an end.
    ServerStreaming,
    /// A request, any number of items and an end, one answer.
    ClientStreaming,
    /// Items both ways.
    Bidirectional,
}

impl Shape {
    /// Whether the caller sends items.
    pub const fn streams_input(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::Bidirectional)
    }

    /// Whether the method returns items.
    pub const fn streams_output(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::Bidirectional)
    }
}

impl MethodInfo {
    pub(crate) const fn new(service: &'static str, id: u32, name: &'static str, index: usize) -> Self {
        Self { service, service_id: ServiceId::new(id), name, index, options: MethodOptions::DEFAULT }
    }

    pub(crate) const fn with_options(mut self, options: MethodOptions) -> Self {
        self.options = options;
        self
    }

    /// The name of the service, as in `calc.Calculator`.
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// The id of the service on the wire.
    pub const fn service_id(&self) -> ServiceId {
        self.service_id
    }

    /// The name of the method on the wire.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The method's place in [`ServiceInfo::methods`].
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Which sides of its calls stream items.
    pub const fn shape(&self) -> Shape {
        self.options.shape
    }

    /// Whether a call may be executed twice without harm: `#[method(idempotent)]`. Layers that try
    /// again may do so even when the call may have been executed.
    pub const fn is_idempotent(&self) -> bool {
        self.options.idempotent
    }

    /// Whether its handler runs to the end even if the caller goes: `#[method(no_cancel)]`.
    pub const fn is_no_cancel(&self) -> bool {
        self.options.no_cancel
    }

    /// The time limit of calls that set none: `#[method(timeout_ms = 500)]`.
    pub const fn default_timeout(&self) -> Option<Duration> {
        self.options.timeout
    }

    pub(crate) const fn takes_context(&self) -> bool {
        self.options.takes_context
    }
}

impl fmt::Display for MethodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.name)
    }
}

impl fmt::Debug for MethodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodInfo({self})")
    }
}

/// A service: its name, its id, its methods. Generated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceInfo {
    name: &'static str,
    id: ServiceId,
    methods: &'static [MethodInfo],
}

impl ServiceInfo {
    pub(crate) const fn new(name: &'static str, id: u32, methods: &'static [MethodInfo]) -> Self {
        Self { name, id: ServiceId::new(id), methods }
    }

    /// The name of the service: of the trait, unless the attribute gave another.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The id of the service on the wire.
    pub const fn id(&self) -> ServiceId {
        self.id
    }

    /// The methods in the order of the trait.
    pub const fn methods(&self) -> &'static [MethodInfo] {
        self.methods
    }

    /// The method with this name on the wire.
    pub fn method(&self, name: &str) -> Option<&'static MethodInfo> {
        self.method_named(name.as_bytes())
    }

    /// The same, for a name of which nobody knows that it is text.
    pub(crate) fn method_named(&self, name: &[u8]) -> Option<&'static MethodInfo> {
        self.methods.iter().find(|method| method.name.as_bytes() == name)
    }
}

/// A service that knows which one it is, so that a [`Router`] can find it. Generated for every
/// server type.
///
/// [`Router`]: crate::Router
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service of `#[muxado_rpc::service]`",
    label = "no generated server, e.g. `CalculatorServer::new(..)`",
    note = "to put a Tower layer around one service use `NamedService::layered`, which keeps its identity"
)]
pub trait NamedService {
    /// The service's name, id and methods.
    const INFO: &'static ServiceInfo;

    /// Puts a Tower layer around this one service, which keeps its name and id.
    ///
    /// Of several, the one added last sees a request first. A layer for all services of a peer goes
    /// to `layer` of [`PeerBuilder`](crate::PeerBuilder) and [`ServerBuilder`](crate::ServerBuilder).
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
    fn layered<L>(self, layer: L) -> Layered<L::Service, Self>
    where
        Self: Sized,
        L: Layer<Self>,
    {
        Layered::new(layer.layer(self))
    }
}

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
    fn methods_are_found_by_name() {
        static METHODS: [MethodInfo; 2] = [MethodInfo::new("S", 1, "a", 0), MethodInfo::new("S", 1, "b", 1)];
        static INFO: ServiceInfo = ServiceInfo::new("S", 1, &METHODS);
        assert_eq!(INFO.method("b").map(MethodInfo::index), Some(1));
        assert_eq!(INFO.method("c"), None);
        assert_eq!(METHODS[1].to_string(), "S.b");
    }
}
