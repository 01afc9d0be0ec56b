//! What is said on a control stream, as lines of JSON (`PROTOCOL §10.13`). No I/O, no clock.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    advertised::Advertised,
    peer::{PeerCapabilities, ServiceCapability},
};
use crate::{
    Codec, Limits, Router, ServiceId, ServiceInfo,
    codec::{CodecError, json},
    message::{
        limits::{MAX_MESSAGE, MIN_MESSAGE},
        metadata::MAX_METADATA,
    },
};

/// Bytes of a line, without its line feed.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// What a line says. Of what is not known here, it says nothing.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) hello: Option<PeerCapabilities>,
    pub(super) drain: Option<Drain>,
}

/// The peer begins no further calls, and wants none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drain {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grace_ms: Option<u64>,
}

impl Drain {
    pub(super) fn grace(self) -> Option<Duration> {
        self.grace_ms.map(|ms| Duration::from_millis(ms.min(LONGEST_MS)))
    }
}

/// Limits that one peer tells the other. Each may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AdvertisedLimits {
    max_message_size: Option<u64>,
    max_metadata_size: Option<u64>,
    max_request_memory: Option<u64>,
    pub(super) max_in_flight: Option<u64>,
    first_byte_timeout_ms: Option<u64>,
    /// Left out if it is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_memory: Option<u64>,
}

impl AdvertisedLimits {
    fn of(limits: &Limits, session_memory: Option<usize>) -> Self {
        let timeout = u64::try_from(limits.first_byte_timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            max_message_size: Some(limits.max_message_size as u64),
            max_metadata_size: Some(limits.max_metadata_size as u64),
            max_request_memory: Some(limits.request_memory() as u64),
            max_in_flight: Some(limits.max_in_flight as u64),
            first_byte_timeout_ms: Some(timeout),
            session_memory: session_memory.map(|bytes| bytes as u64),
        }
    }

    /// What is taken of limits that a peer tells: none is so low that no call could be made, or so high that
    /// who calculates with it must expect an overflow. The peer still applies its own.
    fn bounded(self) -> Self {
        let bytes =
            |told: Option<u64>, least: usize, most: u64| told.map(|told| told.clamp(least as u64, most));
        Self {
            max_message_size: bytes(self.max_message_size, MIN_MESSAGE, MAX_MESSAGE as u64),
            max_metadata_size: bytes(self.max_metadata_size, MIN_METADATA, MAX_METADATA as u64),
            max_request_memory: bytes(self.max_request_memory, MIN_MESSAGE, MOST_MEMORY),
            max_in_flight: self.max_in_flight.map(|calls| calls.clamp(1, u64::from(u32::MAX))),
            first_byte_timeout_ms: self.first_byte_timeout_ms.map(|ms| ms.clamp(1, LONGEST_MS)),
            session_memory: bytes(self.session_memory, MIN_SESSION_MEMORY, MOST_MEMORY),
        }
    }

    pub(crate) fn max_message_size(&self) -> Option<usize> {
        self.max_message_size.map(saturating)
    }

    pub(crate) fn max_metadata_size(&self) -> Option<usize> {
        self.max_metadata_size.map(saturating)
    }

    pub(super) fn max_request_memory(&self) -> Option<usize> {
        self.max_request_memory.map(saturating)
    }

    pub(super) fn session_memory(&self) -> Option<usize> {
        self.session_memory.map(saturating)
    }

    pub(super) fn first_byte_timeout(&self) -> Option<Duration> {
        self.first_byte_timeout_ms.map(Duration::from_millis)
    }
}

/// Bytes of metadata that every peer is taken to take: the trace context of a call, say.
const MIN_METADATA: usize = 80;

/// Bytes that every peer is taken to hold unread.
const MIN_SESSION_MEMORY: usize = 64 * 1024;

/// Bytes of all requests together, 1 TiB.
const MOST_MEMORY: u64 = 1 << 40;

/// A year: what is added to the present time must not overflow.
const LONGEST_MS: u64 = 365 * 24 * 60 * 60 * 1000;

pub(super) fn saturating(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The line that a side begins with, its line feed included.
pub(super) fn hello(limits: &Limits, session_memory: Option<usize>, router: &Router) -> Vec<u8> {
    let services: Vec<_> = router.services().collect();
    let mut told = AdvertisedHello {
        limits: AdvertisedLimits::of(limits, session_memory),
        codecs: [Codec::Json, Codec::MessagePack].map(|codec| codec.to_string()),
        services: Vec::new(),
        truncated: true,
    };
    // Behind each entry there is a comma or the end of the list.
    let mut room = MAX_LINE.saturating_sub(size_of_json(&AdvertisedLine::Hello(&told)) + 1);
    for service in &services {
        let size = size_of_json(&Entry::of(service)) + 1;
        if size > room {
            break;
        }
        room -= size;
        told.services.push(Entry::of(service));
    }
    told.truncated = told.services.len() < services.len();
    for (entry, service) in told.services.iter_mut().zip(services) {
        let whole = Entry::of(service).with_methods(service);
        let more = size_of_json(&whole) - size_of_json(entry);
        if more <= room {
            room -= more;
            *entry = whole;
        } else {
            told.truncated = true;
        }
    }
    line(&AdvertisedLine::Hello(&told))
}

/// The line that a side ends with when it drains, its line feed included.
pub(super) fn drain(grace: Duration) -> Vec<u8> {
    // A grace without an end is none that can be told.
    let grace_ms = u64::try_from(grace.as_millis()).ok();
    line(&AdvertisedLine::Drain(Drain { grace_ms }))
}

fn line(told: &AdvertisedLine<'_>) -> Vec<u8> {
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    line
}

fn size_of_json(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum AdvertisedLine<'a> {
    Hello(&'a AdvertisedHello),
    Drain(Drain),
}

#[derive(Serialize)]
struct AdvertisedHello {
    limits: AdvertisedLimits,
    codecs: [String; 2],
    services: Vec<Entry<'static, Vec<&'static str>>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A service in the list; `M` is what becomes of the names of its methods.
#[derive(Serialize, Deserialize)]
struct Entry<'a, M> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    methods: Option<M>,
}

impl Entry<'static, Vec<&'static str>> {
    fn of(service: &'static ServiceInfo) -> Self {
        Self { name: service.name().into(), id: service.id().as_u32(), methods: None }
    }

    fn with_methods(mut self, service: &'static ServiceInfo) -> Self {
        self.methods = Some(service.methods().iter().map(|method| method.name()).collect());
        self
    }
}

/// Reads a line.
pub(super) fn read(line: &[u8]) -> Result<Line, CodecError> {
    let ReadLine { hello, drain } = json::parse(line)?;
    let hello = hello.map(ReadHello::check).transpose()?;
    Ok(Line { hello, drain })
}

#[derive(Deserialize)]
struct ReadLine<'a> {
    #[serde(borrow, default)]
    hello: Option<ReadHello<'a>>,
    #[serde(default)]
    drain: Option<Drain>,
}

#[derive(Deserialize)]
struct ReadHello<'a> {
    #[serde(default)]
    limits: AdvertisedLimits,
    #[serde(default)]
    codecs: Option<KnownCodecs>,
    #[serde(borrow, default)]
    services: Option<&'a RawValue>,
    #[serde(default)]
    truncated: bool,
}

impl ReadHello<'_> {
    /// The services are kept as text, which is no larger than the line, and are read when somebody
    /// asks for them.
    fn check(self) -> Result<PeerCapabilities, CodecError> {
        if let Some(services) = self.services {
            json::parse::<Each<Entry<'_, Each<Cow<'_, str>>>>>(services.get().as_bytes())?;
        }
        let codecs = self.codecs.map(|known| known.0);
        let services = self.services.map(RawValue::to_owned);
        let (limits, truncated) = (self.limits.bounded(), self.truncated);
        Ok(PeerCapabilities::new(Advertised { limits, codecs, services, truncated }))
    }
}

/// The services in a text that was checked.
pub(super) fn services(text: &RawValue) -> Vec<ServiceCapability> {
    let entries: Vec<Entry<'_, Vec<String>>> = json::parse(text.get().as_bytes()).unwrap_or_default();
    let service = |Entry { name, id, methods }: Entry<'_, _>| {
        ServiceCapability::new(name.into_owned(), ServiceId::new(id), methods)
    };
    entries.into_iter().map(service).collect()
}

/// A list each of whose elements is a `T`, and is not kept.
struct Each<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<T>()?.is_some() {}
        Ok(self)
    }
}

/// Those codecs of a list that are known here.
struct KnownCodecs(Vec<Codec>);

impl<'de> Deserialize<'de> for KnownCodecs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self(Vec::new()))
    }
}

impl<'de> Visitor<'de> for KnownCodecs {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of codecs")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        while let Some(name) = list.next_element::<Cow<'de, str>>()? {
            if let Ok(codec) = name.parse()
                && !self.0.contains(&codec)
            {
                self.0.push(codec);
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Ready, ready},
        task::{Context, Poll},
    };

    use tower_service::Service;

    use super::*;
    use crate::{MethodInfo, NamedService, Request, Response, Status};

    /// Names so long that few of them fit into a line.
    const LONG: &str = match std::str::from_utf8(&[b'n'; 12_000]) {
        Ok(name) => name,
        Err(_) => "",
    };
    const METHODS: &[MethodInfo] = &[const { MethodInfo::new("S", 1, LONG, 0) }; 3];

    /// A service with a name or with names of methods of that length.
    #[derive(Clone)]
    struct Long<const ID: u32>;

    impl<const ID: u32> NamedService for Long<ID> {
        const INFO: &'static ServiceInfo =
            if ID < 100 { &ServiceInfo::new("S", ID, METHODS) } else { &ServiceInfo::new(LONG, ID, &[]) };
    }

    impl<const ID: u32> Service<Request> for Long<ID> {
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

    /// What a peer with these services says, read back.
    fn told(router: &Router) -> (usize, PeerCapabilities) {
        let line = hello(&Limits::default(), None, router);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        (line.len() - 1, read(&line).unwrap().hello.unwrap())
    }

    #[test]
    fn a_hello_says_everything_if_it_fits() {
        let router = Router::new().add(Long::<1>).unwrap().add(Long::<100>).unwrap();
        let (_, remote) = told(&router);
        let services = remote.services();
        assert_eq!(
            services.iter().map(|service| service.methods().unwrap().len()).collect::<Vec<_>>(),
            [3, 0]
        );
        assert!(!remote.is_truncated());
    }

    #[test]
    fn methods_are_left_out_before_services() {
        let router = Router::new().add(Long::<1>).unwrap().add(Long::<2>).unwrap().add(Long::<100>).unwrap();
        let (size, remote) = told(&router);
        let methods = |service: &ServiceCapability| service.methods().map(<[_]>::len);
        assert_eq!(remote.services().iter().map(methods).collect::<Vec<_>>(), [Some(3), None, Some(0)]);
        assert!(remote.is_truncated() && size <= MAX_LINE);
    }

    #[test]
    fn services_that_do_not_fit_are_left_out() {
        let router = Router::new().add(Long::<100>).unwrap().add(Long::<101>).unwrap();
        let router = router.add(Long::<102>).unwrap().add(Long::<103>).unwrap().add(Long::<104>).unwrap();
        let router = router.add(Long::<105>).unwrap();
        let (size, remote) = told(&router);
        assert_eq!(remote.services().len(), 5);
        assert!(remote.is_truncated() && size <= MAX_LINE);
    }

    #[test]
    fn numbers_of_a_peer_are_taken_within_bounds() {
        let told = |number: &str| {
            let keys = "max_message_size max_metadata_size max_request_memory max_in_flight first_byte_timeout_ms session_memory";
            let limits: Vec<_> = keys.split(' ').map(|key| format!("\"{key}\":{number}")).collect();
            let drain = format!("\"drain\":{{\"grace_ms\":{number}}}");
            let line = format!("{{\"hello\":{{\"limits\":{{{}}}}},{drain}}}", limits.join(","));
            let Line { hello, drain } = read(line.as_bytes()).unwrap();
            (hello.unwrap(), drain.unwrap().grace().unwrap())
        };
        let (least, grace) = told("0");
        assert_eq!((least.max_message_size(), least.max_metadata_size()), (Some(1024), Some(80)));
        assert_eq!((least.max_request_memory(), least.max_in_flight()), (Some(1024), Some(1)));
        assert_eq!(least.session_memory(), Some(64 * 1024));
        assert_eq!((least.first_byte_timeout(), grace), (Some(Duration::from_millis(1)), Duration::ZERO));
        let (most, grace) = told(&u64::MAX.to_string());
        assert_eq!((most.max_message_size(), most.max_metadata_size()), (Some(1 << 30), Some(1 << 18)));
        assert_eq!(most.max_request_memory(), Some(saturating(1 << 40)));
        assert_eq!(most.max_in_flight(), Some(u32::MAX as usize));
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert_eq!((most.first_byte_timeout(), grace), (Some(year), year));
        let (sane, _) = told("5000");
        assert_eq!((sane.max_message_size(), sane.max_metadata_size()), (Some(5000), Some(5000)));
    }

    #[test]
    fn what_a_peer_says_of_itself_is_shown_escaped_and_cut() {
        let names = "\u{9b}31m\u{202e}".repeat(100);
        let line = format!("{{\"hello\":{{\"services\":[{{\"name\":\"{names}\",\"id\":1}}]}}}}");
        let hello = read(line.as_bytes()).unwrap().hello.unwrap();
        let shown = format!("{hello:?}");
        assert!(shown.contains("\\u{9b}31m\\u{202e}") && shown.len() < 600, "{shown}");
        assert!(!shown.contains(['\u{9b}', '\u{202e}']), "{shown}");
        assert_eq!(hello.services()[0].name(), names);
    }

    #[test]
    fn lines_that_say_nothing_known_are_no_errors() {
        for text in ["{}", "{\"hello\":null}", "{\"x\":{}}", "[]", " { } "] {
            let line = read(text.as_bytes()).unwrap();
            assert!(line.hello.is_none() && line.drain.is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for text in [
            &b""[..],
            b"7",
            b"null",
            b"\xff",
            b"{\"hello\":7}",
            b"{\"drain\":{\"grace_ms\":\"x\"}}",
            b"{} {}",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
