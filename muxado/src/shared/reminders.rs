//! Times at which those who wait for a stream are woken, whatever has become of it.

use std::{
    num::NonZeroU64,
    task::Waker,
    time::{Duration, Instant},
};

use super::{Core, DriverState, Shared, Wakes};
use crate::proto::StreamKey;

/// A time in half the room of an [`Instant`]: nanoseconds since the session began, and one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Reminder(NonZeroU64);

impl Reminder {
    const fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanos(after)))
    }
}

/// When the tasks that wait for a stream are woken, whatever has become of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum When {
    #[default]
    Never,
    At(Reminder),
    /// So long after the driver's next turn, which looks at the clock for all streams that were opened before.
    After(Duration),
}

/// When the next task of a stream is to be woken. The times themselves are kept beside the wakers of each stream.
#[derive(Debug, Default)]
pub(crate) struct Reminders {
    /// No stream has an earlier time. Mostly none has this one any more: a wake for nothing now and then costs less than to
    /// look for the next time with each stream that ends.
    next: Option<Reminder>,
    news: News,
    /// Streams whose time counts from the driver's next turn, among them some that have been given up: no more than may be
    /// opened between two turns.
    unstarted: Vec<StreamKey>,
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

    /// Returns whether the time of some streams counts from now on: [`Core::start_reminders`] is to be called.
    #[inline]
    pub(crate) const fn are_unstarted(&self) -> bool {
        !self.unstarted.is_empty()
    }

    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.news != News::Nothing
    }

    pub(super) fn shrink(&mut self) {
        self.unstarted.shrink_to_fit();
    }
}

impl Shared {
    /// Returns the reminder for a time. One before the session wakes at once, one in hundreds of years never.
    #[inline]
    pub(crate) fn reminder_at(&self, at: Instant) -> Reminder {
        Reminder(NonZeroU64::MIN).plus(at.saturating_duration_since(self.began))
    }

    /// Returns the reminder for this moment.
    pub(crate) fn reminder_now(&self) -> Reminder {
        self.reminder_at(tokio::time::Instant::now().into_std())
    }

    /// Returns the time of a reminder.
    #[inline]
    pub(crate) fn time_of(&self, reminder: Reminder) -> Instant {
        // It is made of such a time.
        self.began.checked_add(Duration::from_nanos(reminder.0.get() - 1)).unwrap_or(self.began)
    }

    /// Returns when the tasks that wait for a stream are woken, `now` if they were.
    pub(crate) fn reminder_due(&self, key: StreamKey, now: Instant) -> Instant {
        match self.with(|core| core.reminder_of(key)) {
            When::Never => now,
            When::At(at) => self.time_of(at),
            When::After(after) => self.time_of(self.reminder_at(now).plus(after)),
        }
    }
}

/// The whole of a time in nanoseconds, or as much of it as there is room for: 584 years.
const fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos() as u64)
}

impl Core {
    /// Has the tasks that wait for a stream woken at a time, once. A later call replaces the time.
    #[inline]
    pub(crate) fn set_reminder(&mut self, key: StreamKey, at: Reminder) {
        self.wakers_mut(key).reminder = When::At(at);
        if self.reminders.next.is_none_or(|next| at < next) {
            self.reminders.next = Some(at);
            if self.reminders.news == News::Nothing {
                self.reminders.news = News::Nearer;
            }
        }
    }

    /// Has the tasks that wait for a stream woken once, so long after the driver's next turn: what opens it is always to be
    /// sent. Where that may be far away the time counts from `now`.
    #[inline]
    pub(crate) fn remind_after(&mut self, key: StreamKey, after: Duration, now: impl FnOnce() -> Reminder) {
        if self.driver_state == DriverState::Blocked {
            return self.set_reminder(key, now().plus(after));
        }
        self.wakers_mut(key).reminder = When::After(after);
        self.reminders.unstarted.push(key);
    }

    /// Has the times that wait for this turn of the driver count from `now`.
    #[inline]
    pub(crate) fn start_reminders(&mut self, now: Reminder) {
        let mut next = self.reminders.next;
        for key in self.reminders.unstarted.drain(..) {
            if let Some(wakers) = self.streams.get_mut(key.index())
                && let When::After(after) = wakers.reminder
            {
                let at = now.plus(after);
                wakers.reminder = When::At(at);
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        self.reminders.next = next;
    }

    fn reminder_of(&self, key: StreamKey) -> When {
        self.streams.get(key.index()).map_or(When::Never, |wakers| wakers.reminder)
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
                    let When::At(at) = wakers.reminder else { continue };
                    if at <= now {
                        wakers.reminder = When::Never;
                        let woken: [Option<Waker>; 2] = [wakers.read.take(), wakers.write.take()];
                        woken.into_iter().flatten().for_each(|waker| wakes.push(waker));
                    } else {
                        next = Some(next.map_or(at, |next: Reminder| next.min(at)));
                    }
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

    use crate::{
        Config, Session, Stream, StreamType, TypedSession,
        rpc::{OpenTypedExt, StreamExt},
    };

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

    /// Opens a stream with a message, and has its task woken so long after.
    fn open_for(session: &TypedSession, cx: &mut Context<'_>, mut message: &[u8], after: Duration) -> Stream {
        let mut stream = None;
        let opened = session.open_typed(StreamType::new(1)).poll_with_final(
            cx,
            &mut message,
            Some(after),
            &mut stream,
        );
        assert!(matches!(opened, Poll::Ready(Ok(()))));
        stream.unwrap()
    }

    /// Waits until the task is woken that opens streams and then waits.
    async fn until_woken<R>(mut open: impl FnMut(&mut Context<'_>) -> R) -> R {
        let mut opened = None;
        poll_fn(|cx| match opened.take() {
            None => {
                opened = Some(open(cx));
                Poll::Pending
            }
            Some(opened) => Poll::Ready(opened),
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_after_the_opening_counts_from_the_next_turn_of_the_driver() {
        let (near, _far) = pair();
        let (near, start) = (TypedSession::new(near), Instant::now());
        let mut stream = None;
        poll_fn(|cx| {
            stream = Some(open_for(&near, cx, b"hello", 5 * SECOND));
            Poll::Ready(())
        })
        .await;
        let stream = stream.unwrap();
        let wakes_at = |now: Instant| Instant::from_std(stream.wakes_at(now.into_std()));
        assert_eq!(wakes_at(start), start + 5 * SECOND);
        // The task has had the thread for as long as that.
        tokio::time::advance(2 * SECOND).await;
        let turn = Instant::now();
        for _ in 0..3 {
            assert_eq!(wakes_at(Instant::now()), turn + 5 * SECOND);
            sleep(SECOND).await;
        }
        sleep(5 * SECOND).await;
        assert_eq!(wakes_at(Instant::now()), Instant::now(), "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_those_opened_in_one_turn_is_woken_after_its_time() {
        let (near, _far) = pair();
        let (near, start) = (TypedSession::new(near), Instant::now());
        let mut waiting = Vec::new();
        for index in 0..200_u32 {
            let (near, after) = (near.clone(), (index * 7919 % 200 + 1) * SECOND / 8);
            waiting.push(tokio::spawn(async move {
                let _stream = until_woken(|cx| open_for(&near, cx, b"", after)).await;
                start.elapsed() == after
            }));
        }
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_given_up_at_once_are_as_few_as_may_be_open() {
        let (near, _far) = pair();
        let near = TypedSession::new(near);
        poll_fn(|cx| {
            let mut opened = 0;
            while near.session().shared.with(|core| core.proto.may_open()) {
                drop(open_for(&near, cx, b"", SECOND));
                opened += 1;
            }
            let kept = near.session().shared.with(|core| core.reminders.unstarted.len());
            assert_eq!((opened, kept), (200, 200));
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_takes_the_place_of_another_has_its_own_time() {
        let (near, _far) = pair();
        let (near, start) = (TypedSession::new(near), Instant::now());
        let _stream = until_woken(|cx| {
            drop(open_for(&near, cx, b"", SECOND));
            open_for(&near, cx, b"", 5 * SECOND)
        })
        .await;
        assert_eq!(start.elapsed(), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_credit_the_driver_starts_the_time_all_the_same() {
        let (near, far) = duplex(1 << 20);
        let config = Config::default().session_send_buffer(64 * 1024).stall_timeout(None);
        let (session, driver) = Session::client(near, config);
        tokio::spawn(driver);
        // Nobody reads.
        let (_far, driver) = Session::server(far, Config::default().stall_timeout(None));
        tokio::spawn(driver);
        let near = TypedSession::new(session);
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(until_woken(|cx| open_for(&near, cx, &[7; 1 << 20], SECOND)).await);
            sleep(SECOND).await;
            let (start, mut last) = (Instant::now(), None);
            let wait = poll_fn(|cx| {
                let Some(stream) = &mut last else {
                    last = Some(open_for(&near, cx, b"late", 2 * SECOND));
                    assert!(near.session().shared.with(|core| core.proto.wants_transmit()));
                    return Poll::Pending;
                };
                let is_over = stream.poll_reset_until(cx, None).is_ready() || start.elapsed() >= 2 * SECOND;
                if is_over { Poll::Ready(()) } else { Poll::Pending }
            });
            let _ = timeout(1000 * SECOND, wait).await;
            assert_eq!(start.elapsed(), 2 * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_transport_takes_nothing_the_time_counts_from_the_opening() {
        let (near, _far) = duplex(16);
        let (session, driver) = Session::client(near, Config::default().write_timeout(90 * SECOND));
        tokio::spawn(driver);
        let near = TypedSession::new(session);
        let first = until_woken(|cx| open_for(&near, cx, &[7; 100], 5 * SECOND)).await;
        let start = Instant::now();
        let _second = until_woken(|cx| open_for(&near, cx, b"", 2 * SECOND)).await;
        assert_eq!(start.elapsed(), 2 * SECOND);
        drop(first);
    }
}
