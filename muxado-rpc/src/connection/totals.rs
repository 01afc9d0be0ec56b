//! What several connections have sent, received and hold together.

use std::time::Duration;

use muxado::SessionStats;

use crate::{CallStats, connection::shared::ConnectionShared};

/// Sums over connections, past ones included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Connections that are there now.
    pub(crate) connections: u64,
    /// The counters of all, and what those hold that are there now.
    pub(crate) sessions: SessionStats,
    pub(crate) calls: CallStats,
    pub(crate) round_trips: RoundTrips,
    pub(crate) requests: Memory,
    pub(crate) responses: Memory,
}

/// The last round trip of each connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrips {
    count: u32,
    sum: Duration,
    /// The longest.
    pub(crate) max: Option<Duration>,
}

impl RoundTrips {
    fn add(&mut self, one: Option<Duration>) {
        if let Some(one) = one {
            self.count += 1;
            self.sum += one;
            self.max = self.max.max(Some(one));
        }
    }

    /// Returns the mean; `None` if none is known.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }
}

/// Bytes for which each connection has a bound of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// What the connection holds that holds most.
    pub(crate) max: u64,
    /// The bound of one connection.
    pub(crate) limit: u64,
}

impl Memory {
    fn add(&mut self, used: u64, limit: usize) {
        self.max = self.max.max(used);
        self.limit = self.limit.max(limit as u64);
    }

    fn join(&mut self, other: Self) {
        self.max = self.max.max(other.max);
        self.limit = self.limit.max(other.limit);
    }
}

impl Totals {
    /// Adds a connection, but not its calls.
    pub(crate) fn add(&mut self, connection: &ConnectionShared) {
        let stats = connection.session().stats();
        if connection.session().is_closed() {
            return self.add_ended(&stats);
        }
        self.connections += 1;
        self.add_counters(&stats);
        let sum = &mut self.sessions;
        sum.streams_open += stats.streams_open;
        sum.bytes_unread += stats.bytes_unread;
        sum.bytes_unsent += stats.bytes_unsent;
        sum.bytes_stalled += stats.bytes_stalled;
        sum.streams_stalled += stats.streams_stalled;
        self.round_trips.add(stats.round_trip);
        let (memory, limits) = (connection.memory(), connection.limits());
        self.requests.add(memory.request_bytes() as u64, limits.max_request_memory);
        self.responses.add(memory.response_bytes() as u64, limits.max_response_memory);
    }

    /// Adds the counters of a connection that has ended.
    pub(crate) fn add_ended(&mut self, stats: &SessionStats) {
        self.add_counters(stats);
    }

    /// Adds the sums over other connections.
    pub(crate) fn join(&mut self, other: &Self) {
        self.connections += other.connections;
        self.add_counters(&other.sessions);
        let (sum, more) = (&mut self.sessions, &other.sessions);
        sum.streams_open += more.streams_open;
        sum.bytes_unread += more.bytes_unread;
        sum.bytes_unsent += more.bytes_unsent;
        sum.bytes_stalled += more.bytes_stalled;
        sum.streams_stalled += more.streams_stalled;
        self.calls += other.calls;
        self.round_trips.count += other.round_trips.count;
        self.round_trips.sum += other.round_trips.sum;
        self.round_trips.max = self.round_trips.max.max(other.round_trips.max);
        self.requests.join(other.requests);
        self.responses.join(other.responses);
    }

    /// Keeps the counters alone.
    pub(crate) fn forget_present(&mut self) {
        let mut kept = Self::default();
        kept.add_counters(&self.sessions);
        let CallStats { served, failed, cancelled, cut, panicked, .. } = self.calls;
        // What became of the calls that were under way is not known: they are not counted.
        let started = served + failed + cancelled + cut;
        kept.calls = CallStats { started, served, failed, cancelled, cut, panicked, ..CallStats::default() };
        *self = kept;
    }

    fn add_counters(&mut self, more: &SessionStats) {
        let sum = &mut self.sessions;
        sum.frames_sent += more.frames_sent;
        sum.frames_received += more.frames_received;
        sum.bytes_sent += more.bytes_sent;
        sum.bytes_received += more.bytes_received;
        sum.streams_opened += more.streams_opened;
        sum.streams_accepted += more.streams_accepted;
        sum.streams_refused += more.streams_refused;
        sum.resets_sent += more.resets_sent;
        sum.resets_received += more.resets_received;
        sum.window_stalls += more.window_stalls;
        sum.stall_resets += more.stall_resets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_connections_that_know_theirs() {
        let mut trips = RoundTrips::default();
        assert_eq!((trips.mean(), trips.max), (None, None));
        let ms = Duration::from_millis;
        [Some(ms(10)), None, Some(ms(30))].into_iter().for_each(|one| trips.add(one));
        assert_eq!((trips.mean(), trips.max), (Some(ms(20)), Some(ms(30))));
    }
}
