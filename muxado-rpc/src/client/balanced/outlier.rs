//! Servers that are connected and fail: when one is ejected, for how long, and when it is taken back.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{BodyEnd, Code, Origin, Status};

/// When a [`Balanced`](super::Balanced) client stops calling a server that is connected but fails.
///
/// A server is ejected when this many calls in a row have failed over it. A failure is `unavailable`, from the server
/// or a proxy in front of it, or a time limit that passed after the call was sent. Any other response shows that the
/// server works, the application's own errors included. What is lost with a connection does not count, nor does what a
/// server refuses while it shuts down: such a server has no connection for calls anyway.
///
/// An ejected server gets no calls as long as there is another one. It comes back when its time is over, or with a new
/// connection, since a server that was restarted is another one. Each further ejection lasts one
/// [`ejection_time`](Self::ejection_time) longer; each `ejection_time` without one makes the next one shorter again.
///
/// ```
/// use std::time::Duration;
///
/// use muxado_rpc::balanced::{Balanced, OutlierDetection};
///
/// let patient = OutlierDetection::default().consecutive_failures(20).ejection_time(Duration::from_secs(3));
/// let builder = Balanced::builder().outlier_detection(patient);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    failures: u32,
    time: Duration,
    max_time: Duration,
    max_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        let (time, max_time) = (Duration::from_secs(10), Duration::from_secs(300));
        Self { failures: 5, time, max_time, max_percent: 50 }
    }
}

impl OutlierDetection {
    /// Sets how many failures in a row eject a server. Default 5, at least 1.
    #[must_use]
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.failures = failures.max(1);
        self
    }

    /// Sets how long the first ejection lasts, and how much longer each further one. Default 10 s.
    #[must_use]
    pub fn ejection_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Sets the longest time of an ejection. Default 300 s.
    #[must_use]
    pub fn max_ejection_time(mut self, time: Duration) -> Self {
        self.max_time = time;
        self
    }

    /// Sets the share of the servers that may be ejected at a time, in percent, rounded down. Default 50; with three
    /// servers that is one. Clamped to 0..=100.
    #[must_use]
    pub fn max_ejected_percent(mut self, percent: u32) -> Self {
        self.max_percent = percent.min(100);
        self
    }

    /// Whether one more of so many servers may be ejected.
    pub(super) fn may_eject(&self, ejected: usize, servers: usize) -> bool {
        let percent = usize::try_from(self.max_percent).unwrap_or(100);
        (ejected + 1).saturating_mul(100) <= servers.saturating_mul(percent)
    }

    fn time_of(&self, ejections: u32) -> Duration {
        self.time.saturating_mul(ejections).min(self.max_time).min(LONGEST)
    }
}

/// A time that every clock can tell.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a call has shown of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Works,
    Fails,
    /// Nothing.
    Unknown,
}

impl Verdict {
    /// What the failure of a call says, other than the method's own error.
    pub(super) fn of(status: &Status) -> Self {
        match (status.code(), status.origin()) {
            (Code::Unavailable, Origin::Peer | Origin::Transport) => Self::Fails,
            // What was not sent is no fault of the server's.
            (Code::DeadlineExceeded, _) if status.may_have_executed() => Self::Fails,
            (_, Origin::Peer) => Self::Works,
            _ => Self::Unknown,
        }
    }

    /// What the end of a stream says.
    pub(super) const fn of_end(end: BodyEnd) -> Self {
        match end {
            BodyEnd::Complete => Self::Works,
            BodyEnd::Failed(Code::Unavailable | Code::DeadlineExceeded) => Self::Fails,
            BodyEnd::Failed(_) | BodyEnd::Dropped => Self::Unknown,
        }
    }
}

/// What is known of how one server does.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// In a row.
    failures: AtomicU32,
    is_ejected: AtomicBool,
    ejections: Mutex<Ejections>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ejections {
    /// How often, less the times that were without.
    count: u32,
    /// The end of the ejection, or of the last one.
    until: Option<Instant>,
}

impl Health {
    /// Notes a call. Returns whether the server is to be ejected, if that may be.
    pub(super) fn note(&self, verdict: Verdict, limits: &OutlierDetection) -> bool {
        match verdict {
            Verdict::Unknown => false,
            Verdict::Works => {
                // Most calls find it so, and write nothing that other threads read.
                if self.failures.load(Ordering::Relaxed) > 0 {
                    self.failures.store(0, Ordering::Relaxed);
                }
                false
            }
            Verdict::Fails => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                failures >= limits.failures && !self.is_ejected()
            }
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.is_ejected.load(Ordering::Relaxed)
    }

    /// Returns when the ejection ends.
    pub(super) fn ejected_until(&self) -> Option<Instant> {
        if self.is_ejected() { self.lock().until } else { None }
    }

    /// Ejects the server. Returns for how long. It is to be [announced](Self::announce).
    pub(super) fn eject(&self, limits: &OutlierDetection) -> Duration {
        let now = Instant::now();
        let mut ejections = self.lock();
        let quiet = ejections.until.map_or(Duration::ZERO, |until| now.saturating_duration_since(until));
        let forgiven = quiet.as_millis() / limits.time.as_millis().max(1);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        ejections.count = ejections.count.saturating_sub(forgiven).saturating_add(1);
        let time = limits.time_of(ejections.count);
        ejections.until = now.checked_add(time);
        drop(ejections);
        self.is_ejected.store(true, Ordering::Relaxed);
        time
    }

    /// Wakes who waits for an ejection.
    pub(super) fn announce(&self) {
        self.changed.notify_one();
    }

    /// Takes the server back.
    pub(super) fn readmit(&self) {
        let mut ejections = self.lock();
        let now = Instant::now();
        ejections.until = Some(ejections.until.map_or(now, |until| until.min(now)));
        drop(ejections);
        self.failures.store(0, Ordering::Relaxed);
        self.is_ejected.store(false, Ordering::Relaxed);
    }

    /// Counts anew: the server may not be ejected now.
    pub(super) fn count_anew(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Waits until the server was ejected.
    pub(super) async fn ejected(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Ejections> {
        // Nothing that panics runs under the lock.
        self.ejections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_share_of_the_servers_may_be_ejected() {
        let half = OutlierDetection::default();
        let most = |limits: OutlierDetection, servers| {
            (0..servers).take_while(|ejected| limits.may_eject(*ejected, servers)).count()
        };
        assert_eq!([0, 1, 2, 3, 4, 7].map(|servers| most(half, servers)), [0, 0, 1, 1, 2, 3]);
        assert_eq!(most(half.max_ejected_percent(0), 7), 0);
        assert_eq!(most(half.max_ejected_percent(1000), 7), 7);
    }

    #[test]
    fn failures_count_in_a_row() {
        let (health, limits) = (Health::default(), OutlierDetection::default().consecutive_failures(3));
        let noted = [
            Verdict::Fails,
            Verdict::Fails,
            Verdict::Works,
            Verdict::Fails,
            Verdict::Unknown,
            Verdict::Fails,
            Verdict::Fails,
        ];
        let ejects = noted.map(|verdict| health.note(verdict, &limits));
        assert_eq!(ejects, [false, false, false, false, false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn ejections_grow_and_are_forgiven() {
        let (health, limits) =
            (Health::default(), OutlierDetection::default().max_ejection_time(35 * SECOND));
        let mut times = Vec::new();
        for _ in 0..5 {
            let time = health.eject(&limits);
            times.push(time.as_secs());
            sleep(time).await;
            health.readmit();
        }
        assert_eq!(times, [10, 20, 30, 35, 35]);
        advance(25 * SECOND).await;
        // Two less, and this one.
        assert_eq!(health.eject(&limits), 35 * SECOND);
        health.readmit();
        advance(1000 * SECOND).await;
        assert_eq!(health.eject(&limits), 10 * SECOND);
    }

    #[test]
    fn what_a_failure_says_of_its_server() {
        let of_peer = |status: Status| status.with_origin(Origin::Peer);
        for (status, verdict) in [
            (of_peer(Status::unavailable("")), Verdict::Fails),
            (of_peer(Status::unavailable("")).not_executed(), Verdict::Fails),
            (Status::unavailable("").with_origin(Origin::Transport), Verdict::Fails),
            (Status::unavailable(""), Verdict::Unknown),
            (Status::deadline_exceeded(""), Verdict::Fails),
            (Status::deadline_exceeded("").not_executed(), Verdict::Unknown),
            (of_peer(Status::internal("")), Verdict::Works),
            (of_peer(Status::resource_exhausted("")), Verdict::Works),
            (Status::invalid_argument(""), Verdict::Unknown),
        ] {
            assert_eq!(Verdict::of(&status), verdict, "{status:?}");
        }
    }
}
