//! Counts of calls, by what became of them.

use std::{
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::connection::shared::ConnectionShared;

/// Counts of the calls that a peer or server was asked to serve, since its start, and the memory that they hold now.
///
/// Calls that this side makes are counted at the side that serves them.
///
/// ```
/// # async fn example(server: &muxado_rpc::Server) {
/// let stats = server.call_stats();
/// println!("{} calls, {} of them now, {} panics", stats.started, stats.in_flight(), stats.panicked);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallStats {
    /// Calls that were accepted. A call that waits for [`Limits::max_in_flight`](crate::Limits::max_in_flight) is not
    /// counted yet.
    pub started: u64,
    /// Calls answered with the value or the error that the method returned: the last byte of it has been handed to the
    /// session. A call whose response waits for its caller is under way.
    pub served: u64,
    /// Calls answered with a [`Status`](crate::Status), for instance of a layer, for a time limit, an invalid request or want of room.
    /// Also calls whose response was dropped because of
    /// [`Limits::max_response_memory`](crate::Limits::max_response_memory) or
    /// [`ServerBuilder::max_memory`](crate::ServerBuilder::max_memory).
    pub failed: u64,
    /// Calls that the caller ended before the response, or without a request.
    pub cancelled: u64,
    /// Calls that ended with their connection, before the response.
    pub cut: u64,
    /// Handlers that panicked. Their calls also count as failed.
    pub panicked: u64,
    /// Bytes held now for requests, as
    /// [`Limits::max_request_memory`](crate::Limits::max_request_memory) counts them.
    pub request_bytes: u64,
    /// Bytes held now of responses that wait for their callers, as
    /// [`Limits::max_response_memory`](crate::Limits::max_response_memory) counts them.
    pub response_bytes: u64,
    /// Calls that wait now for [`Limits::max_in_flight`](crate::Limits::max_in_flight) and its like. They are not begun.
    /// Some may have been cancelled meanwhile.
    pub waiting: u64,
}

impl CallStats {
    /// Returns the number of calls under way.
    pub fn in_flight(&self) -> u64 {
        self.started.saturating_sub(self.answered() + self.cancelled + self.cut)
    }

    /// Returns the number of calls that were answered, in any way.
    pub fn answered(&self) -> u64 {
        self.served + self.failed
    }
}

impl AddAssign for CallStats {
    fn add_assign(&mut self, other: Self) {
        self.started += other.started;
        self.served += other.served;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.cut += other.cut;
        self.panicked += other.panicked;
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
        self.waiting += other.waiting;
    }
}

/// What became of the calls that were under way when a shutdown began. [`Server::shutdown`](crate::Server::shutdown)
/// and its like return it. [`Server::shutdown`](crate::Server::shutdown)
/// and its like return it.
///
/// ```
/// use std::time::Duration;
///
/// # async fn example(server: &muxado_rpc::Server) {
/// let drained = server.shutdown(Duration::from_secs(5)).await;
/// if !drained.is_clean() {
///     println!("{} calls finished, {} had to be cut", drained.finished, drained.cut);
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Calls of the other side that were answered during the shutdown.
    pub finished: u64,
    /// Calls of either side that were cut, because they did not finish within the grace or the connection was lost.
    ///
    /// Calls that still waited for [`Limits::max_in_flight`](crate::Limits::max_in_flight) are not counted. They are
    /// refused as not executed, and their callers may try again.
    pub cut: u64,
}

impl Drained {
    /// Returns whether no call was cut.
    pub fn is_clean(&self) -> bool {
        self.cut == 0
    }

    /// What became of calls between these two counts. `cut` streams, of either side, were open at the
    /// end; of a connection that was `lost` none is, and its calls are those that were not answered.
    pub(crate) fn between(before: &CallStats, after: &CallStats, cut: usize, lost: bool) -> Self {
        let unanswered = after.cut.saturating_sub(before.cut) + after.in_flight();
        Self {
            finished: after.answered().saturating_sub(before.answered()),
            cut: if lost { unanswered } else { cut as u64 },
        }
    }
}

impl AddAssign for Drained {
    fn add_assign(&mut self, other: Self) {
        self.finished += other.finished;
        self.cut += other.cut;
    }
}

/// The counters of one connection.
#[derive(Debug, Default)]
pub(crate) struct CallMetrics {
    started: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    cut: AtomicU64,
    panicked: AtomicU64,
    waiting: AtomicU64,
}

impl CallMetrics {
    pub(crate) fn stats(&self) -> CallStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallStats {
            served: read(&self.served),
            failed: read(&self.failed),
            cancelled: read(&self.cancelled),
            cut: read(&self.cut),
            panicked: read(&self.panicked),
            started: read(&self.started),
            request_bytes: 0,
            response_bytes: 0,
            waiting: 0,
        }
    }

    /// Returns how many calls are not begun.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn set_waiting(&self, calls: usize) {
        self.waiting.store(calls as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_panic(&self) {
        count(&self.panicked);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One call, counted when it begins and when it ends.
#[derive(Debug)]
pub(crate) struct CallGuard {
    shared: Arc<ConnectionShared>,
    answer: Option<Answered>,
}

/// As what an answer was counted.
#[derive(Clone, Copy, Debug)]
enum Answered {
    Served,
    Failed,
}

impl CallGuard {
    pub(crate) fn begin(shared: Arc<ConnectionShared>) -> Self {
        count(&shared.metrics().started);
        Self { shared, answer: None }
    }

    /// One more call on the same connection, after one that was answered.
    pub(crate) fn begin_again(&mut self) {
        count(&self.shared.metrics().started);
        self.answer = None;
    }

    pub(crate) const fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    pub(crate) fn shared(&self) -> &Arc<ConnectionShared> {
        &self.shared
    }

    /// The answer is about to be sent: what the method returned, or a status. It is counted before, because with
    /// its last byte the connection may be over; if that byte has to wait, the count is [taken
    /// back](Self::take_back).
    pub(crate) fn answer(&mut self, is_status: bool) {
        let answer = if is_status { Answered::Failed } else { Answered::Served };
        count(self.counter(answer));
        self.answer = Some(answer);
    }

    /// The answer is not out: it could not be sent, or waits for its caller.
    pub(crate) fn take_back(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.counter(answer).fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn counter(&self, answer: Answered) -> &AtomicU64 {
        let metrics = self.shared.metrics();
        match answer {
            Answered::Served => &metrics.served,
            Answered::Failed => &metrics.failed,
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if self.answer.is_none() {
            let metrics = self.shared.metrics();
            count(if self.shared.session().is_closed() { &metrics.cut } else { &metrics.cancelled });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_under_way_are_those_that_began_and_did_not_end() {
        let mut stats =
            CallStats { started: 10, served: 1, failed: 2, cancelled: 3, cut: 1, ..CallStats::default() };
        assert_eq!((stats.in_flight(), stats.answered()), (3, 3));
        stats += stats;
        assert_eq!((stats.in_flight(), stats.answered()), (6, 6));
    }

    #[test]
    fn a_drain_is_what_changed_meanwhile() {
        let before = CallStats { started: 5, served: 2, cut: 1, ..CallStats::default() };
        let after = CallStats { started: 6, served: 3, failed: 1, cut: 1, ..CallStats::default() };
        assert_eq!(Drained::between(&before, &after, 3, false), Drained { finished: 2, cut: 3 });
        assert_eq!(Drained::between(&before, &after, 0, true), Drained { finished: 2, cut: 1 });
        assert!(Drained::between(&before, &after, 0, false).is_clean());
    }
}
