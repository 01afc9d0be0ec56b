//! The names of what a sampler publishes, and the numbers behind them.

use metrics::{Label, Unit, counter, gauge};

use crate::{
    client::{
        balanced::BalancedTotals,
        reconnect::{ReconnectTotals, State},
    },
    connection::totals::Totals,
    server::ServerTotals,
};

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// All that is published: name, kind, unit, meaning. The table in `docs/observability.md` has the same.
const ALL: &[(&str, Kind, Unit, &str)] = &[
    ("muxado.connections", Kind::Gauge, Unit::Count, "Connections whose session has begun and not ended."),
    ("muxado.streams.open", Kind::Gauge, Unit::Count, "Streams of both sides that are open."),
    ("muxado.streams.stalled", Kind::Gauge, Unit::Count, "Streams that wait for credit of the peer."),
    ("muxado.streams.opened", Kind::Counter, Unit::Count, "Streams that this side has opened."),
    ("muxado.streams.accepted", Kind::Counter, Unit::Count, "Streams of the peers that were accepted."),
    ("muxado.streams.refused", Kind::Counter, Unit::Count, "Streams of the peers that were refused."),
    ("muxado.streams.resets", Kind::Counter, Unit::Count, "Resets of streams, by direction."),
    (
        "muxado.streams.stall_resets",
        Kind::Counter,
        Unit::Count,
        "Streams that were reset since nothing moved.",
    ),
    ("muxado.window.stalls", Kind::Counter, Unit::Count, "Times a stream had data to send and no window."),
    ("muxado.frames", Kind::Counter, Unit::Count, "Frames, by direction."),
    ("muxado.io", Kind::Counter, Unit::Bytes, "Bytes of sessions, by direction, without those of TLS."),
    ("muxado.round_trip", Kind::Gauge, Unit::Seconds, "Last round trip of heartbeats, over all connections."),
    ("muxado.memory.used", Kind::Gauge, Unit::Bytes, "Bytes that are held, by budget."),
    ("muxado.memory.used.max", Kind::Gauge, Unit::Bytes, "Bytes held by the connection that holds most."),
    ("muxado.memory.limit", Kind::Gauge, Unit::Bytes, "The bound of a budget."),
    ("muxado.calls", Kind::Counter, Unit::Count, "Calls that peers made and that are over, by outcome."),
    ("muxado.calls.in_flight", Kind::Gauge, Unit::Count, "Calls of peers under way."),
    ("muxado.calls.queued", Kind::Gauge, Unit::Count, "Calls of peers that wait for room."),
    ("muxado.handlers.panicked", Kind::Counter, Unit::Count, "Handlers that panicked."),
    ("muxado.handlers.detached", Kind::Gauge, Unit::Count, "Handlers that outlive their connections."),
    (
        "muxado.server.connections.refused",
        Kind::Counter,
        Unit::Count,
        "Connections closed before their session.",
    ),
    ("muxado.server.handshakes", Kind::Gauge, Unit::Count, "Connections in their handshake."),
    ("muxado.server.handshakes.failed", Kind::Counter, Unit::Count, "Connections whose handshake failed."),
    ("muxado.client.connections.made", Kind::Counter, Unit::Count, "Connections that the client has made."),
    ("muxado.client.reconnects", Kind::Counter, Unit::Count, "Connections that replaced one."),
    ("muxado.client.places", Kind::Gauge, Unit::Count, "Connections that the client keeps, by state."),
    ("muxado.client.calls.waiting", Kind::Gauge, Unit::Count, "Calls that wait for a connection."),
    ("muxado.client.calls.pending", Kind::Gauge, Unit::Count, "Calls under way to the servers of a client."),
    ("muxado.client.servers", Kind::Gauge, Unit::Count, "Servers of a client, by state."),
];

/// Tells the recorder what the metrics mean.
pub(super) fn describe() {
    metrics::with_recorder(|recorder| {
        for (name, kind, unit, meaning) in ALL {
            match kind {
                Kind::Counter => recorder.describe_counter((*name).into(), Some(*unit), (*meaning).into()),
                Kind::Gauge => recorder.describe_gauge((*name).into(), Some(*unit), (*meaning).into()),
            }
        }
    });
}

/// Publishes numbers of one that is watched.
pub(super) struct Publisher {
    labels: Vec<Label>,
}

impl Publisher {
    pub(super) fn new(role: &'static str, name: &str) -> Self {
        let labels =
            vec![Label::from_static_parts("muxado.role", role), Label::new("muxado.name", name.to_owned())];
        Self { labels }
    }

    fn with(&self, label: Option<(&'static str, &'static str)>) -> Vec<Label> {
        let mut labels = self.labels.clone();
        labels.extend(label.map(|(name, value)| Label::from_static_parts(name, value)));
        labels
    }

    fn count(&self, name: &'static str, label: Option<(&'static str, &'static str)>, total: u64) {
        counter!(name, self.with(label)).absolute(total);
    }

    #[expect(clippy::cast_precision_loss, reason = "nothing that is counted here comes near 2^52")]
    fn set(&self, name: &'static str, label: Option<(&'static str, &'static str)>, value: u64) {
        gauge!(name, self.with(label)).set(value as f64);
    }

    pub(super) fn publish_connections(&self, totals: &Totals) {
        self.set("muxado.connections", None, totals.connections);
        self.publish_sessions(totals);
        self.publish_memory(totals);
        let calls = &totals.calls;
        let outcomes = [
            ("served", calls.served),
            ("failed", calls.failed),
            ("cancelled", calls.cancelled),
            ("cut", calls.cut),
        ];
        for (outcome, total) in outcomes {
            self.count("muxado.calls", Some(("muxado.outcome", outcome)), total);
        }
        self.set("muxado.calls.in_flight", None, calls.in_flight());
        self.set("muxado.calls.queued", None, calls.waiting);
        self.count("muxado.handlers.panicked", None, calls.panicked);
        let trips = [("mean", totals.round_trips.mean()), ("max", totals.round_trips.max)];
        for (stat, trip) in trips {
            let seconds = trip.unwrap_or_default().as_secs_f64();
            gauge!("muxado.round_trip", self.with(Some(("muxado.stat", stat)))).set(seconds);
        }
    }

    fn publish_sessions(&self, totals: &Totals) {
        let stats = &totals.sessions;
        self.set("muxado.streams.open", None, stats.streams_open as u64);
        self.set("muxado.streams.stalled", None, stats.streams_stalled as u64);
        self.count("muxado.streams.opened", None, stats.streams_opened);
        self.count("muxado.streams.accepted", None, stats.streams_accepted);
        self.count("muxado.streams.refused", None, stats.streams_refused);
        self.count("muxado.streams.stall_resets", None, stats.stall_resets);
        self.count("muxado.window.stalls", None, stats.window_stalls);
        let both = [
            ("muxado.streams.resets", stats.resets_received, stats.resets_sent),
            ("muxado.frames", stats.frames_received, stats.frames_sent),
            ("muxado.io", stats.bytes_received, stats.bytes_sent),
        ];
        for (name, received, sent) in both {
            self.count(name, Some(("network.io.direction", "receive")), received);
            self.count(name, Some(("network.io.direction", "transmit")), sent);
        }
    }

    fn publish_memory(&self, totals: &Totals) {
        let budget = |name| Some(("muxado.budget", name));
        let used = [
            ("unread", totals.sessions.bytes_unread as u64),
            ("unsent", totals.sessions.bytes_unsent as u64),
            ("requests", totals.calls.request_bytes),
            ("responses", totals.calls.response_bytes),
        ];
        for (name, bytes) in used {
            self.set("muxado.memory.used", budget(name), bytes);
        }
        for (name, memory) in [("requests", totals.requests), ("responses", totals.responses)] {
            self.set("muxado.memory.used.max", budget(name), memory.max);
            self.set("muxado.memory.limit", budget(name), memory.limit);
        }
    }

    pub(super) fn publish_server(&self, totals: &ServerTotals) {
        self.publish_connections(&totals.connections);
        let stats = &totals.stats;
        self.set("muxado.handlers.detached", None, stats.detached_handlers);
        self.set("muxado.server.handshakes", None, stats.handshakes);
        self.count("muxado.server.handshakes.failed", None, stats.failed_handshakes);
        self.count("muxado.server.connections.refused", None, stats.refused_connections);
        let budget = Some(("muxado.budget", "server"));
        self.set("muxado.memory.used", budget, stats.call_bytes);
        self.set("muxado.memory.limit", budget, totals.memory_limit.unwrap_or(0));
    }

    pub(super) fn publish_reconnect(&self, totals: &ReconnectTotals) {
        self.publish_connections(&totals.connections);
        let places = totals.states.len() as u64;
        self.publish_made(totals.made, totals.made.saturating_sub(places));
        self.set("muxado.client.calls.waiting", None, totals.waiting);
        let count = |is: fn(&State) -> bool| totals.states.iter().filter(|state| is(state)).count() as u64;
        let states = [
            ("connected", count(|state| matches!(state, State::Connected { .. }))),
            ("connecting", count(|state| matches!(state, State::Connecting { .. }))),
            ("backoff", count(|state| matches!(state, State::Backoff { .. }))),
            ("closed", count(|state| matches!(state, State::Closed))),
        ];
        for (state, places) in states {
            self.set("muxado.client.places", Some(("muxado.state", state)), places);
        }
    }

    pub(super) fn publish_balanced(&self, totals: &BalancedTotals) {
        self.publish_connections(&totals.connections);
        self.publish_made(totals.made, totals.reconnects);
        self.set("muxado.client.calls.waiting", None, totals.waiting);
        self.set("muxado.client.calls.pending", None, totals.pending);
        let states = [
            ("connected", totals.connected),
            ("not_connected", totals.not_connected),
            ("ejected", totals.ejected),
        ];
        for (state, servers) in states {
            self.set("muxado.client.servers", Some(("muxado.state", state)), servers);
        }
    }

    fn publish_made(&self, made: u64, reconnects: u64) {
        self.count("muxado.client.connections.made", None, made);
        self.count("muxado.client.reconnects", None, reconnects);
    }

    /// Publishes that there is nothing any more. Counters stay as they are.
    pub(super) fn publish_gone(&self) {
        self.publish_connections(&Totals::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_metric_with_its_kind_and_unit() {
        let text = include_str!("../../../../docs/observability.md");
        let listed: Vec<&str> = text.lines().filter(|line| line.starts_with("| `muxado.")).collect();
        for (name, kind, unit, _) in ALL {
            let kind = if matches!(kind, Kind::Counter) { "counter" } else { "gauge" };
            let unit = match unit {
                Unit::Bytes => "By",
                Unit::Seconds => "s",
                _ => "1",
            };
            let begins = format!("| `{name}` | {kind} | {unit} |");
            assert!(listed.iter().any(|line| line.starts_with(&begins)), "{begins}");
        }
        assert_eq!(listed.len(), ALL.len());
    }
}
