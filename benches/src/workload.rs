//! The workloads, and what follows from each.

mod name;

use std::time::Duration;

use crate::hop;

/// Size of a message unless the name of the workload says another.
const SMALL: usize = 32;
const MIB: usize = 1024 * 1024;

/// What every peer has room for, of calls, streams and connections.
const ROOM: usize = 4096;

/// Bytes of a wide window.
pub(crate) const WIDE: u32 = 16 * 1024 * 1024;

/// Calls at a time where payloads of several sizes are compared.
const PAYLOAD_CALLS: usize = 4;

/// Exchanges at a time beside what is idle.
const BESIDE_IDLE: usize = 64;

/// What a handler sleeps that does.
const NAP: Duration = Duration::from_millis(1);

/// Where there are too many calls: how many times as many as the handlers can do, how many of those run at a time, how
/// long each sleeps, and within what time a call must be answered.
const OVERLOAD: usize = 10;
const OVERLOAD_HANDLERS: usize = 16;
const OVERLOAD_NAP: Duration = Duration::from_millis(10);
const NAPS_A_SECOND: usize = 100;
const OVERLOAD_LIMIT: Duration = Duration::from_millis(50);

/// Files that are open beside connections.
pub(crate) const OTHER_FILES: usize = 256;

/// What is done over one connection, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Calls that echo a string, in a binary codec.
    Unary { size: usize, in_flight: usize },
    /// Calls that echo a string, without a time limit.
    Unlimited { in_flight: usize },
    /// Calls that echo a string, in JSON.
    UnaryJson { size: usize, in_flight: usize },
    /// Calls that echo a string, a few at a time; how the costs depend on its size.
    Payload { size: usize },
    /// Calls that echo a string, over TLS.
    TlsUnary { size: usize, in_flight: usize },
    /// Calls that echo a string, recorded as metrics on both sides.
    MetricsUnary { in_flight: usize },
    /// Calls that echo a string, inside layers for spans on both sides that join OpenTelemetry. Nobody subscribes.
    OtelUnary { in_flight: usize },
    /// Calls that echo a string, each in a task of its own with a clone of the client.
    Clone { in_flight: usize },
    /// Calls that echo a string, each in a task of its own, which takes the client and gives it back.
    Spawn { in_flight: usize },
    /// Calls that echo a string which is lent to them.
    Borrowed { in_flight: usize },
    /// Calls that echo a string, made at a steady rate whether earlier ones are answered or not.
    Open { per_second: usize },
    /// Calls that echo a string over many connections, so many at a time over each.
    Fleet { connections: usize, calls: usize },
    /// Ten times as many calls as the handlers can do, with a short time limit.
    Overload,
    /// Calls from both ends of a connection, so many from each.
    Both { in_flight: usize },
    /// Calls that are dropped as soon as their handler runs.
    Cancel { in_flight: usize },
    /// Calls that echo a string by way of another task, for which the handler waits.
    Hop { in_flight: usize },
    /// Calls that echo a string after their handler has slept for a millisecond.
    Sleep { in_flight: usize },
    /// Items of 32 bytes from the server, in streams of some length, one after the other.
    Items,
    /// As `Items`, but produced by a separate task and passed on through a channel.
    ItemsChannel,
    /// Items of 32 bytes there and back, the same way.
    BidiItems,
    /// A new connection, one exchange, and away with it.
    Connect,
    /// Open a stream, send 32 bytes, have them echoed, close.
    Streams { in_flight: usize },
    /// Open a stream, have a large message echoed, close.
    Echo { size: usize, streams: usize },
    /// Small exchanges, one at a time, while other streams or calls of the connection echo 1 MiB.
    Mixed,
    /// Bulk one way over a simulated link.
    Link { round_trip: Duration, windows: Windows },
    /// Small exchanges beside idle streams, or idle calls, of the same connection.
    IdleBeside { streams: usize },
    /// Small exchanges beside idle connections.
    Conns { connections: usize },
    /// Memory of a stream that is open and does nothing.
    IdleStream,
    /// Memory of a connection that is open and does nothing.
    IdleSession,
    /// Memory of a connection with TLS that is open and does nothing.
    TlsIdleSession,
    /// Memory of a call that waits in its handler.
    IdleCall,
}

/// How wide the windows are over a long link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Windows {
    /// As they are unless somebody sets them.
    Default,
    /// [`WIDE`], where a peer can be told.
    Wide,
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
    /// Bytes moved in a simulated time, in MB/s one way; more is better.
    Simulated,
    /// The time of half of the exchanges; less is better.
    Time,
    /// Resident bytes; less is better.
    Memory,
}

impl Workload {
    /// All that run when none is asked for.
    pub(crate) const STANDARD: &'static str = "unary-1 unary-16 unary-64 unary-256 unary-1024 \
        unary-64k-16 unary-json-1 unary-json-64 unary-json-256 payload-32 payload-1k payload-32k \
        payload-1m payload-16m tls-unary-64 tls-unary-1m-4 hop-64 hop-256 sleep-1024 clone-64 \
        items items-channel bidi-items both-64 cancel-64 connect streams-1 streams-64 streams-256 \
        echo-1m-1 echo-1m-8 echo-32m-1 mixed link-100ms link-100ms-wide idle-beside-10 \
        idle-beside-1000 conns-1 conns-100 idle-stream idle-session idle-call";

    /// What runs beside the standard ones when there is no hurry.
    pub(crate) const LONG: &'static str = "idle-beside-100000 conns-10000 tls-idle-session unlimited-64 spawn-64 borrowed-64 \
        metrics-unary-64 otel-unary-64 open-50k open-100k open-200k \
        fleet-50x20 fleet-500x2 fleet-5000x1 overload";

    /// The names of all that run when none is asked for and there is no hurry.
    pub(crate) fn all() -> impl Iterator<Item = &'static str> {
        Self::STANDARD.split_whitespace().chain(Self::LONG.split_whitespace())
    }

    /// Bytes of a message.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Unary { size, .. }
            | Self::UnaryJson { size, .. }
            | Self::TlsUnary { size, .. }
            | Self::Payload { size }
            | Self::Echo { size, .. } => size,
            // As the contract of the benchmark has it: 64 bytes beside the bulk.
            Self::Mixed => 2 * SMALL,
            _ => SMALL,
        }
    }

    /// Bytes of the largest message that goes over the connection.
    pub(crate) fn largest(self) -> usize {
        if self == Self::Mixed { MIB } else { self.size() }
    }

    /// Exchanges at a time of one end, those of the bulk beside them not counted.
    pub(crate) fn in_flight(self) -> usize {
        match self {
            Self::Unary { in_flight, .. }
            | Self::Unlimited { in_flight }
            | Self::Spawn { in_flight }
            | Self::UnaryJson { in_flight, .. }
            | Self::TlsUnary { in_flight, .. }
            | Self::MetricsUnary { in_flight }
            | Self::OtelUnary { in_flight }
            | Self::Both { in_flight }
            | Self::Cancel { in_flight }
            | Self::Hop { in_flight }
            | Self::Sleep { in_flight }
            | Self::Clone { in_flight }
            | Self::Borrowed { in_flight }
            | Self::Streams { in_flight }
            | Self::Echo { streams: in_flight, .. } => in_flight,
            Self::IdleBeside { .. } | Self::Conns { .. } => BESIDE_IDLE,
            Self::Fleet { connections, calls } => connections.saturating_mul(calls),
            Self::Payload { .. } => PAYLOAD_CALLS,
            _ => 1,
        }
    }

    /// Calls, streams or connections for which the peers need room at a time.
    pub(crate) fn room(self) -> usize {
        match self {
            Self::IdleBeside { streams: idle } | Self::Conns { connections: idle } => ROOM + idle,
            _ => ROOM.max(2 * self.in_flight()),
        }
    }

    /// Calls that arrive in a second, where they do not wait for each other.
    pub(crate) fn arrivals(self) -> usize {
        match self {
            Self::Open { per_second } => per_second,
            Self::Overload => OVERLOAD * OVERLOAD_HANDLERS * NAPS_A_SECOND,
            _ => 0,
        }
    }

    /// Handlers that a connection may have at a time, if the server is to be told.
    pub(crate) fn handlers(self) -> Option<usize> {
        (self == Self::Overload).then_some(OVERLOAD_HANDLERS)
    }

    /// How long a handler sleeps that does.
    pub(crate) fn nap(self) -> Duration {
        if self == Self::Overload { OVERLOAD_NAP } else { NAP }
    }

    /// The time limit of each call, at the caller and at the server. tarpc has one of [`hop::LIMIT`] everywhere.
    pub(crate) fn time_limit(self) -> Option<Duration> {
        match self {
            Self::Overload => Some(OVERLOAD_LIMIT),
            // What a limit costs is the difference; calls that are idle, and those that stream.
            Self::Unlimited { .. }
            | Self::IdleBeside { .. }
            | Self::IdleCall
            | Self::Items
            | Self::ItemsChannel
            | Self::BidiItems => None,
            _ => Some(hop::LIMIT),
        }
    }

    /// The workload whose rounds this one takes turns with, so that ours in one can be compared with ours in the
    /// other; itself if it stands alone.
    pub(crate) fn beside(self) -> Self {
        match self {
            Self::Unlimited { in_flight }
            | Self::Clone { in_flight }
            | Self::Spawn { in_flight }
            | Self::Borrowed { in_flight }
            | Self::MetricsUnary { in_flight }
            | Self::OtelUnary { in_flight } => Self::Unary { size: SMALL, in_flight },
            _ => self,
        }
    }

    /// Whether ours alone runs it, as there is nothing like it elsewhere, or to show what something costs.
    pub(crate) fn is_ours_alone(self) -> bool {
        matches!(
            self,
            Self::Unlimited { .. }
                | Self::Spawn { .. }
                | Self::Borrowed { .. }
                | Self::MetricsUnary { .. }
                | Self::OtelUnary { .. }
        )
    }

    /// Whether bytes are what it moves, beside the calls that it makes.
    pub(crate) fn is_bulk(self) -> bool {
        match self {
            Self::Payload { .. } => true,
            Self::Unary { size, .. } | Self::UnaryJson { size, .. } | Self::TlsUnary { size, .. } => {
                size > SMALL
            }
            _ => false,
        }
    }

    /// Files that a process must be able to open, where that may be more than it can; both ends of a connection are
    /// two, where they are in one process.
    pub(crate) fn files(self) -> usize {
        match self {
            Self::Fleet { connections, .. } => OTHER_FILES + connections,
            Self::Conns { connections } => OTHER_FILES + 2 * connections,
            _ => 0,
        }
    }

    /// What setting it up takes, roughly, of the slower peers.
    pub(crate) fn set_up(self) -> Duration {
        match self {
            Self::IdleBeside { streams } => Duration::from_micros(40) * u32_of(streams),
            Self::Conns { connections } | Self::Fleet { connections, .. } => {
                Duration::from_micros(400) * u32_of(connections)
            }
            // Those that are still to be answered.
            Self::Open { .. } | Self::Overload => Duration::from_millis(500),
            Self::Link { .. } => Duration::from_secs(1),
            _ => Duration::ZERO,
        }
    }

    /// Whether the connection has TLS.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::TlsUnary { .. } | Self::TlsIdleSession)
    }

    /// How its numbers are to be read.
    pub(crate) fn measure(self) -> Measure {
        match self {
            Self::Unary { .. }
            | Self::Unlimited { .. }
            | Self::Spawn { .. }
            | Self::UnaryJson { .. }
            | Self::TlsUnary { .. }
            | Self::MetricsUnary { .. }
            | Self::OtelUnary { .. }
            | Self::Payload { .. }
            | Self::Both { .. }
            | Self::Cancel { .. }
            | Self::Hop { .. }
            | Self::Sleep { .. }
            | Self::Clone { .. }
            | Self::Borrowed { .. }
            | Self::Fleet { .. }
            | Self::Overload
            | Self::IdleBeside { .. }
            | Self::Conns { .. } => Measure::Rate("calls/s"),
            Self::Items | Self::ItemsChannel | Self::BidiItems => Measure::Rate("items/s"),
            Self::Streams { .. } => Measure::Rate("streams/s"),
            Self::Echo { .. } => Measure::Throughput,
            Self::Mixed | Self::Open { .. } => Measure::Tail,
            Self::Connect => Measure::Time,
            Self::Link { .. } => Measure::Simulated,
            Self::IdleStream | Self::IdleSession | Self::TlsIdleSession | Self::IdleCall => Measure::Memory,
        }
    }
}

impl Measure {
    /// The unit of the rate.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Rate(unit) => unit,
            Self::Throughput | Self::Simulated => "MB/s",
            Self::Tail => "calls/s",
            Self::Time => "us",
            Self::Memory => "bytes",
        }
    }
}

fn u32_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_many_calls_arrive_as_the_handlers_can_do() {
        let handlers = Workload::Overload.handlers().unwrap() as f64;
        let possible = handlers / Workload::Overload.nap().as_secs_f64();
        assert_eq!(Workload::Overload.arrivals() as f64, 10.0 * possible);
    }

    #[test]
    fn only_a_short_time_limit_is_shorter_than_that_of_tarpc() {
        for name in Workload::all() {
            let limit = name.parse::<Workload>().unwrap().time_limit();
            let short = limit.is_some_and(|limit| limit < hop::LIMIT);
            assert_eq!(short, name == "overload", "{name}");
        }
    }

    #[test]
    fn what_is_compared_has_the_same_time_limit() {
        for name in Workload::all().filter(|name| !name.starts_with("unlimited")) {
            let workload: Workload = name.parse().unwrap();
            assert_eq!(workload.time_limit(), workload.beside().time_limit(), "{name}");
        }
        assert_eq!("unlimited-64".parse::<Workload>().unwrap().time_limit(), None);
    }

    #[test]
    fn each_connection_is_a_file_in_each_process_that_has_an_end() {
        let fleet = Workload::Fleet { connections: 500, calls: 2 };
        let conns = Workload::Conns { connections: 500 };
        assert_eq!((fleet.in_flight(), fleet.files(), conns.files()), (1000, 756, 1256));
        assert_eq!(Workload::Mixed.files(), 0);
    }
}
