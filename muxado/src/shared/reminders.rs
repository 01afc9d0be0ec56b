//! Times at which those who wait for a stream are woken, whatever has become of it.

use std::{
    num::NonZeroU64,
    task::Waker,
    time::{Duration, Instant},
};

use super::{Core, Shared, Wakes};
use crate::proto::StreamKey;

/// A time in half the room of an [`Instant`]: nanoseconds since the session began, and one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reminder(NonZeroU64);

/// When the next task of a stream is to be woken. The times themselves are kept beside the wakers of each stream.
#[derive(Debug, Default)]
pub(crate) struct Reminders {
    /// No stream has an earlier time. Mostly none has this one any more: a wake for nothing now and then costs less than to
    /// look for the next time with each stream that ends.
    next: Option<Reminder>,
    news: News,
}

/// What is to be done after the unlock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum News {
    #[default]
    Nothing,
    /// The next time has come nearer: the driver is to be told.
    Nearer,
    /// Some times have passed.
    Passed(Reminder),
}

impl Reminders {
    /// Returns when [`Core::remind`] is to be called at the latest.
    pub(crate) const fn next(&self) -> Option<Reminder> {
        self.next
    }

    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.news != News::Nothing
    }
}

impl Shared {
    /// Returns the reminder for a time. One before the session wakes at once, one in hundreds of years never.
    #[inline]
    pub(crate) fn reminder_at(&self, at: Instant) -> Reminder {
        let since = at.saturating_duration_since(self.began);
        let nanos = since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into());
        Reminder(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Returns the time of an reminder.
    #[inline]
    pub(crate) fn time_of(&self, reminder: Reminder) -> Instant {
        // It is made of such a time.
        self.began.checked_add(Duration::from_nanos(reminder.0.get() - 1)).unwrap_or(self.began)
    }
}

impl Core {
    /// Has the tasks that wait for a stream woken at a time, once. A later call replaces the time.
    #[inline]
    pub(crate) fn set_reminder(&mut self, key: StreamKey, at: Reminder) {
        self.wakers_mut(key).reminder = Some(at);
        if self.reminders.next.is_none_or(|next| at < next) {
            self.reminders.next = Some(at);
            if self.reminders.news == News::Nothing {
                self.reminders.news = News::Nearer;
            }
        }
    }

    /// Wakes those whose time has passed, after the unlock.
    pub(crate) fn remind(&mut self, now: Reminder) {
        if self.reminders.next.is_some_and(|next| next <= now) {
            self.reminders.news = News::Passed(now);
        }
    }

    /// Collects the wakers of those whose time has passed, or that of the driver if there is a nearer time.
    pub(super) fn collect_reminders(&mut self, wakes: &mut Wakes) {
        match std::mem::take(&mut self.reminders.news) {
            News::Nothing => {}
            News::Nearer => self.wake_driver(wakes),
            News::Passed(now) => {
                let mut next = None;
                for wakers in &mut self.streams {
                    if wakers.reminder.is_some_and(|at| at <= now) {
                        wakers.reminder = None;
                        let woken: [Option<Waker>; 2] = [wakers.read.take(), wakers.write.take()];
                        woken.into_iter().flatten().for_each(|waker| wakes.push(waker));
                    }
                    next = [next, wakers.reminder].into_iter().flatten().min();
                }
                self.reminders.next = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        task::{Context, Poll},
        time::Duration,
    };

    use tokio::{
        io::duplex,
        time::{Instant, sleep, timeout},
    };

    use crate::{Config, Session, Stream, rpc::StreamExt};

    const SECOND: Duration = Duration::from_secs(1);

    fn pair() -> (Session, Session) {
        let (near, far) = duplex(64 * 1024);
        let (near, driver) = Session::client(near, Config::default().max_unacknowledged_opens(200));
        tokio::spawn(driver);
        let (far, driver) = Session::server(far, Config::default());
        tokio::spawn(driver);
        (near, far)
    }

    /// Waits on a stream until the task was polled so often; the reminder is set by the first poll.
    async fn until_polled(mut stream: Stream, at: Option<Instant>, most: u32) -> u32 {
        let mut polls = 0;
        let wait = poll_fn(|cx: &mut Context<'_>| {
            polls += 1;
            let at = at.filter(|_| polls == 1).map(Instant::into_std);
            let is_over = stream.poll_reset_until(cx, at).is_ready() || polls == most;
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        });
        // Who is never woken again is counted all the same.
        let _ = timeout(1000 * SECOND, wait).await;
        polls
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_once_at_the_time() {
        let (near, _far) = pair();
        let start = Instant::now();
        let stream = near.open().await.unwrap();
        assert_eq!(until_polled(stream, Some(start + 3 * SECOND), 2).await, 2);
        assert_eq!(start.elapsed(), 3 * SECOND);
        let stream = near.open().await.unwrap();
        let at = Some(Instant::now() + SECOND);
        // The reminder, and then nothing but the end of the patience of the test.
        assert_eq!(until_polled(stream, at, 9).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_that_sleeps_for_a_later_time_hears_of_an_earlier_one() {
        let (near, _far) = pair();
        let start = Instant::now();
        let later = tokio::spawn(until_polled(near.open().await.unwrap(), Some(start + 90 * SECOND), 2));
        sleep(SECOND).await;
        assert_eq!(until_polled(near.open().await.unwrap(), Some(start + 5 * SECOND), 2).await, 2);
        assert_eq!(start.elapsed(), 5 * SECOND);
        assert_eq!(later.await.unwrap(), 2);
        assert_eq!(start.elapsed(), 90 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reminder_goes_with_its_stream() {
        let (near, _far) = pair();
        let first = near.open().await.unwrap();
        assert_eq!(until_polled(first, Some(Instant::now() + SECOND), 1).await, 1);
        // In the place of the first.
        let second = near.open().await.unwrap();
        assert_eq!(until_polled(second, None, 9).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_many_is_woken_at_its_time() {
        let (near, _far) = pair();
        let start = Instant::now();
        let mut waiting = Vec::new();
        for index in 0..200_u32 {
            let (stream, after) = (near.open().await.unwrap(), (index * 7919 % 200 + 1) * SECOND / 8);
            waiting.push(tokio::spawn(async move {
                let polls = until_polled(stream, Some(start + after), 2).await;
                (polls, start.elapsed() == after)
            }));
        }
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), (2, true));
        }
    }
}
