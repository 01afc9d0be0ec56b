//! The timer of a driver.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// A timer that may be set for an earlier time than is asked for: most of what is due next moves away again before its
/// time, and to set the timer costs more than to find out then that it is too early.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Who is woken when it goes off; `None` once it has.
    waker: Option<Waker>,
}

impl Alarm {
    /// Ready at `deadline`.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if let (Some(sleep), Some(waker)) = (&self.sleep, &self.waker)
            && sleep.deadline() <= deadline
            && waker.will_wake(cx.waker())
            && !sleep.is_elapsed()
        {
            return Poll::Pending;
        }
        self.poll_anew(cx, deadline)
    }

    /// The time for which the timer is set, if it is.
    #[inline]
    pub(super) fn set_for(&self) -> Option<Instant> {
        self.sleep.as_ref().map(|sleep| sleep.deadline())
    }

    fn poll_anew(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        self.waker = None;
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // It is not asked for by each poll: that it is not ready must mean that it wakes the task.
        if Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
            if Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_away_is_kept_and_one_that_comes_closer_too() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        for (asked, then) in [(10, 20), (20, 30), (15, 12), (12, 12)] {
            let pending =
                poll_fn(|cx| Poll::Ready(alarm.poll(cx, start + asked * SECOND).is_pending())).await;
            assert!(pending);
            let pending = poll_fn(|cx| Poll::Ready(alarm.poll(cx, start + then * SECOND).is_pending())).await;
            assert!(pending);
        }
        poll_fn(|cx| alarm.poll(cx, start + 12 * SECOND)).await;
        assert_eq!(Instant::now() - start, 12 * SECOND);
        poll_fn(|cx| alarm.poll(cx, start + 13 * SECOND)).await;
        assert_eq!(Instant::now() - start, 13 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_that_polls_last_is_woken() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        let first = poll_fn(|cx| Poll::Ready(alarm.poll(cx, start + SECOND))).await;
        assert!(first.is_pending());
        let other = tokio::spawn(async move { poll_fn(|cx| alarm.poll(cx, start + SECOND)).await });
        other.await.unwrap();
        assert_eq!(Instant::now() - start, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_up_its_turn_is_woken_all_the_same() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        let mut polls = 0;
        poll_fn(|cx| {
            // What has been asked for by a task that must give way is never ready.
            while polls == 0 && std::pin::pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
            polls += 1;
            alarm.poll(cx, start + SECOND)
        })
        .await;
        assert_eq!(Instant::now() - start, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_went_off_between_two_polls_is_ready() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        let first = poll_fn(|cx| Poll::Ready(alarm.poll(cx, start + SECOND))).await;
        assert!(first.is_pending());
        advance(2 * SECOND).await;
        let second = poll_fn(|cx| Poll::Ready(alarm.poll(cx, start + SECOND))).await;
        assert!(second.is_ready());
    }
}
