//! The names of the workloads.

use std::{error::Error, fmt, str::FromStr, time::Duration};

use super::{MIB, PAYLOAD_CALLS, SMALL, Windows, Workload};

/// More than anybody can do.
const MOST_PER_SECOND: usize = 10_000_000;

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unary { size: SMALL, in_flight } => write!(f, "unary-{in_flight}"),
            Self::Unary { size, in_flight } => write!(f, "unary-{}-{in_flight}", Size(size)),
            Self::Unlimited { in_flight } => write!(f, "unlimited-{in_flight}"),
            Self::UnaryJson { size: SMALL, in_flight } => write!(f, "unary-json-{in_flight}"),
            Self::UnaryJson { size, in_flight } => write!(f, "unary-json-{}-{in_flight}", Size(size)),
            Self::TlsUnary { size: SMALL, in_flight } => write!(f, "tls-unary-{in_flight}"),
            Self::TlsUnary { size, in_flight } => write!(f, "tls-unary-{}-{in_flight}", Size(size)),
            Self::MetricsUnary { in_flight } => write!(f, "metrics-unary-{in_flight}"),
            Self::OtelUnary { in_flight } => write!(f, "otel-unary-{in_flight}"),
            Self::Streams { in_flight } => write!(f, "streams-{in_flight}"),
            Self::Echo { size, streams } => write!(f, "echo-{}-{streams}", Size(size)),
            Self::Mixed => f.write_str("mixed"),
            Self::Payload { size } => write!(f, "payload-{}", Size(size)),
            Self::Both { in_flight } => write!(f, "both-{in_flight}"),
            Self::Cancel { in_flight } => write!(f, "cancel-{in_flight}"),
            Self::Hop { in_flight } => write!(f, "hop-{in_flight}"),
            Self::Sleep { in_flight } => write!(f, "sleep-{in_flight}"),
            Self::Clone { in_flight } => write!(f, "clone-{in_flight}"),
            Self::Spawn { in_flight } => write!(f, "spawn-{in_flight}"),
            Self::Borrowed { in_flight } => write!(f, "borrowed-{in_flight}"),
            Self::Open { per_second } => write!(f, "open-{}", PerSecond(per_second)),
            Self::Fleet { connections, calls } => write!(f, "fleet-{connections}x{calls}"),
            Self::Overload => f.write_str("overload"),
            Self::Items => f.write_str("items"),
            Self::ItemsChannel => f.write_str("items-channel"),
            Self::BidiItems => f.write_str("bidi-items"),
            Self::Connect => f.write_str("connect"),
            Self::IdleStream => f.write_str("idle-stream"),
            Self::IdleSession => f.write_str("idle-session"),
            Self::TlsIdleSession => f.write_str("tls-idle-session"),
            Self::IdleCall => f.write_str("idle-call"),
            Self::IdleBeside { streams } => write!(f, "idle-beside-{streams}"),
            Self::Conns { connections } => write!(f, "conns-{connections}"),
            Self::Link { round_trip, windows: Windows::Default } => {
                write!(f, "link-{}ms", round_trip.as_millis())
            }
            Self::Link { round_trip, windows: Windows::Wide } => {
                write!(f, "link-{}ms-wide", round_trip.as_millis())
            }
        }
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, UnknownWorkload> {
        let unknown = || UnknownWorkload(name.to_owned());
        let count = |text: &str| text.parse().ok().filter(|&n| n > 0).ok_or_else(unknown);
        let size = |text: &str| text.parse().map(|Size(size)| size).map_err(|()| unknown());
        let millis = |text: &str| -> Result<Duration, UnknownWorkload> {
            let millis = text.strip_suffix("ms").and_then(|millis| millis.parse().ok());
            millis.map(Duration::from_millis).ok_or_else(unknown)
        };
        let parts: Vec<&str> = name.split('-').collect();
        Ok(match parts[..] {
            ["unary", n] => Self::Unary { size: SMALL, in_flight: count(n)? },
            ["unary", "json", n] => Self::UnaryJson { size: SMALL, in_flight: count(n)? },
            ["unary", "json", bytes, n] => Self::UnaryJson { size: size(bytes)?, in_flight: count(n)? },
            ["unary", bytes, n] => Self::Unary { size: size(bytes)?, in_flight: count(n)? },
            ["unlimited", n] => Self::Unlimited { in_flight: count(n)? },
            ["tls", "bulk"] => Self::TlsUnary { size: MIB, in_flight: PAYLOAD_CALLS },
            ["tls", "unary", n] => Self::TlsUnary { size: SMALL, in_flight: count(n)? },
            ["tls", "unary", bytes, n] => Self::TlsUnary { size: size(bytes)?, in_flight: count(n)? },
            ["metrics", "unary", n] => Self::MetricsUnary { in_flight: count(n)? },
            ["otel", "unary", n] => Self::OtelUnary { in_flight: count(n)? },
            ["streams", n] => Self::Streams { in_flight: count(n)? },
            ["echo", bytes, n] => Self::Echo { size: size(bytes)?, streams: count(n)? },
            ["mixed"] => Self::Mixed,
            ["payload", bytes] => Self::Payload { size: size(bytes)? },
            ["both", n] => Self::Both { in_flight: count(n)? },
            ["cancel", n] => Self::Cancel { in_flight: count(n)? },
            ["hop", n] => Self::Hop { in_flight: count(n)? },
            ["sleep", n] => Self::Sleep { in_flight: count(n)? },
            ["clone", n] => Self::Clone { in_flight: count(n)? },
            ["spawn", n] => Self::Spawn { in_flight: count(n)? },
            ["borrowed", n] => Self::Borrowed { in_flight: count(n)? },
            ["open", rate] => {
                let PerSecond(per_second) = rate.parse().map_err(|()| unknown())?;
                Self::Open { per_second }
            }
            ["fleet", size] => {
                let (connections, calls) = size.split_once('x').ok_or_else(unknown)?;
                Self::Fleet { connections: count(connections)?, calls: count(calls)? }
            }
            ["overload"] => Self::Overload,
            ["items"] => Self::Items,
            ["items", "channel"] => Self::ItemsChannel,
            ["bidi", "items"] => Self::BidiItems,
            ["connect"] => Self::Connect,
            ["idle", "stream"] => Self::IdleStream,
            ["idle", "session"] => Self::IdleSession,
            ["tls", "idle", "session"] => Self::TlsIdleSession,
            ["idle", "call"] => Self::IdleCall,
            ["idle", "beside", n] => Self::IdleBeside { streams: count(n)? },
            ["conns", n] => Self::Conns { connections: count(n)? },
            ["link", time] => Self::Link { round_trip: millis(time)?, windows: Windows::Default },
            ["link", time, "wide"] => Self::Link { round_trip: millis(time)?, windows: Windows::Wide },
            _ => return Err(unknown()),
        })
    }
}

/// A number of bytes as the names have it: `64k`, `1m`.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(MIB) => write!(f, "{}m", bytes / MIB),
            bytes if bytes.is_multiple_of(1024) => write!(f, "{}k", bytes / 1024),
            bytes => write!(f, "{bytes}"),
        }
    }
}

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'k') => (&text[..text.len() - 1], 1024),
            Some(b'm') => (&text[..text.len() - 1], MIB),
            _ => (text, 1),
        };
        let size = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(unit));
        size.filter(|&size| size > 0).map(Self).ok_or(())
    }
}

/// Calls in a second as the names have it: `50k` are 50 000.
struct PerSecond(usize);

impl fmt::Display for PerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate.is_multiple_of(1000) => write!(f, "{}k", rate / 1000),
            rate => write!(f, "{rate}"),
        }
    }
}

impl FromStr for PerSecond {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (digits, unit) = text.strip_suffix('k').map_or((text, 1), |digits| (digits, 1000));
        let rate = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(unit));
        rate.filter(|rate| (1..=MOST_PER_SECOND).contains(rate)).map(Self).ok_or(())
    }
}

/// A name that is none of a workload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownWorkload(String);

impl fmt::Display for UnknownWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown workload '{}', the standard ones are {}", self.0, Workload::STANDARD)
    }
}

impl Error for UnknownWorkload {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in Workload::all().chain(["unary-json-64k-4", "unary-100-2", "open-1500", "fleet-1x1"]) {
            assert_eq!(name.parse::<Workload>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        let parsed = "echo-32m-1".parse();
        assert_eq!(parsed, Ok(Workload::Echo { size: 32 * 1024 * 1024, streams: 1 }));
    }

    #[test]
    fn bulk_over_tls_is_calls_of_a_mebibyte() {
        assert_eq!("tls-bulk".parse::<Workload>(), "tls-unary-1m-4".parse());
    }

    #[test]
    fn rates_are_powers_of_ten() {
        assert_eq!("open-50k".parse(), Ok(Workload::Open { per_second: 50_000 }));
    }

    #[test]
    fn other_names_are_refused() {
        for name in
            ["open", "open-0", "open-k", "open-11000k", "fleet-5", "fleet-0x1", "fleet-5x", "overload-2"]
        {
            assert!(name.parse::<Workload>().is_err(), "{name}");
        }
        for name in ["", "unary", "unary-0", "unary-x", "echo-m-1", "mixed-1", "idle", "streams-64-"] {
            assert!(name.parse::<Workload>().is_err(), "{name}");
        }
    }
}
