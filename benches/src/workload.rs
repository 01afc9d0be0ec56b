//! The workloads by their names.

use std::{error::Error, fmt, str::FromStr};

/// Size of a message unless the name of the workload says another.
const SMALL: usize = 32;
const MIB: usize = 1024 * 1024;

/// What is done over one connection, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Calls that echo a string, in a binary codec.
    Unary { size: usize, in_flight: usize },
    /// Calls that echo a string, in JSON.
    UnaryJson { size: usize, in_flight: usize },
    /// Open a stream, send 32 bytes, have them echoed, close.
    Streams { in_flight: usize },
    /// Open a stream, have a large message echoed, close.
    Echo { size: usize, streams: usize },
    /// Small exchanges, one at a time, while other streams or calls of the connection echo 1 MiB.
    Mixed,
    /// Calls that are dropped right after they began.
    Cancel,
    /// Memory of a stream that is open and does nothing.
    IdleStream,
    /// Memory of a connection that is open and does nothing.
    IdleSession,
}

/// How the numbers of a workload are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Exchanges in a time; more is better.
    Rate(&'static str),
    /// Bytes moved in a time, in MB/s each way; more is better.
    Throughput,
    /// The slowest exchanges; less is better.
    Tail,
    /// Resident bytes; less is better.
    Memory,
}

impl Workload {
    /// All that run when none is asked for.
    pub(crate) const STANDARD: &'static str = "unary-1 unary-16 unary-64 unary-256 unary-1024 \
        unary-64k-16 unary-json-1 unary-json-64 unary-json-256 streams-1 streams-64 streams-256 \
        echo-1m-1 echo-1m-8 echo-32m-1 mixed cancel idle-stream idle-session";

    /// Bytes of a message.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Unary { size, .. } | Self::UnaryJson { size, .. } | Self::Echo { size, .. } => size,
            // As the contract of the benchmark has it: 64 bytes beside the bulk.
            Self::Mixed => 2 * SMALL,
            Self::Streams { .. } | Self::Cancel | Self::IdleStream | Self::IdleSession => SMALL,
        }
    }

    /// Bytes of the largest message that goes over the connection.
    pub(crate) fn largest(self) -> usize {
        if self == Self::Mixed { MIB } else { self.size() }
    }

    /// Exchanges at a time, those of the bulk beside them not counted.
    pub(crate) fn in_flight(self) -> usize {
        match self {
            Self::Unary { in_flight, .. }
            | Self::UnaryJson { in_flight, .. }
            | Self::Streams { in_flight }
            | Self::Echo { streams: in_flight, .. } => in_flight,
            Self::Mixed | Self::Cancel | Self::IdleStream | Self::IdleSession => 1,
        }
    }

    /// How its numbers are to be read.
    pub(crate) fn measure(self) -> Measure {
        match self {
            Self::Unary { .. } | Self::UnaryJson { .. } | Self::Cancel => Measure::Rate("calls/s"),
            Self::Streams { .. } => Measure::Rate("streams/s"),
            Self::Echo { .. } => Measure::Throughput,
            Self::Mixed => Measure::Tail,
            Self::IdleStream | Self::IdleSession => Measure::Memory,
        }
    }
}

impl Measure {
    /// The unit of the rate.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Rate(unit) => unit,
            Self::Throughput => "MB/s",
            Self::Tail => "calls/s",
            Self::Memory => "bytes",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unary { size: SMALL, in_flight } => write!(f, "unary-{in_flight}"),
            Self::Unary { size, in_flight } => write!(f, "unary-{}-{in_flight}", Size(size)),
            Self::UnaryJson { size: SMALL, in_flight } => write!(f, "unary-json-{in_flight}"),
            Self::UnaryJson { size, in_flight } => write!(f, "unary-json-{}-{in_flight}", Size(size)),
            Self::Streams { in_flight } => write!(f, "streams-{in_flight}"),
            Self::Echo { size, streams } => write!(f, "echo-{}-{streams}", Size(size)),
            Self::Mixed => f.write_str("mixed"),
            Self::Cancel => f.write_str("cancel"),
            Self::IdleStream => f.write_str("idle-stream"),
            Self::IdleSession => f.write_str("idle-session"),
        }
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, UnknownWorkload> {
        let unknown = || UnknownWorkload(name.to_owned());
        let count = |text: &str| text.parse().ok().filter(|&n| n > 0).ok_or_else(unknown);
        let size = |text: &str| text.parse().map(|Size(size)| size).map_err(|()| unknown());
        let parts: Vec<&str> = name.split('-').collect();
        Ok(match parts[..] {
            ["unary", n] => Self::Unary { size: SMALL, in_flight: count(n)? },
            ["unary", "json", n] => Self::UnaryJson { size: SMALL, in_flight: count(n)? },
            ["unary", "json", bytes, n] => Self::UnaryJson { size: size(bytes)?, in_flight: count(n)? },
            ["unary", bytes, n] => Self::Unary { size: size(bytes)?, in_flight: count(n)? },
            ["streams", n] => Self::Streams { in_flight: count(n)? },
            ["echo", bytes, n] => Self::Echo { size: size(bytes)?, streams: count(n)? },
            ["mixed"] => Self::Mixed,
            ["cancel"] => Self::Cancel,
            ["idle", "stream"] => Self::IdleStream,
            ["idle", "session"] => Self::IdleSession,
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
        for name in Workload::STANDARD.split_whitespace().chain(["unary-json-64k-4", "unary-100-2"]) {
            assert_eq!(name.parse::<Workload>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        let parsed = "echo-32m-1".parse();
        assert_eq!(parsed, Ok(Workload::Echo { size: 32 * 1024 * 1024, streams: 1 }));
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "unary", "unary-0", "unary-x", "echo-m-1", "mixed-1", "idle", "streams-64-"] {
            assert!(name.parse::<Workload>().is_err(), "{name}");
        }
    }
}
