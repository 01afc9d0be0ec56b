//! Several attempts of which the first that succeeds counts, each begun a moment after the one before (RFC 8305).

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::support::timer;

/// How long an attempt is alone before the next one begins: the "Connection Attempt Delay" of RFC 8305 §5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The attempts, by what each is made for.
struct Race<I, F> {
    running: Vec<(I, Pin<Box<F>>)>,
    failed: Vec<(I, io::Error)>,
}

/// Begins an attempt for each item: the first at once, each further one when the one before has failed, or 250 ms
/// after it. Returns the result of the first that succeeds; the others are dropped.
///
/// # Errors
///
/// Returns why each failed, in the order in which they did. At the deadline the attempts that are left have failed
/// with [`no_answer`].
pub(super) async fn race<I, T, F>(
    items: Vec<I>,
    deadline: Option<Instant>,
    mut attempt: impl FnMut(&I) -> F,
) -> Result<T, Vec<(I, io::Error)>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = items.into_iter();
    let mut race = Race { running: Vec::new(), failed: Vec::new() };
    loop {
        if let Some(item) = waiting.next() {
            let attempt = Box::pin(attempt(&item));
            race.running.push((item, attempt));
        }
        let next = (waiting.len() > 0).then(|| Instant::now() + ATTEMPT_DELAY);
        let until = [next, deadline].into_iter().flatten().min();
        match timer::before(until, poll_fn(|cx| race.poll(cx))).await {
            Some(Some(output)) => return Ok(output),
            Some(None) if race.running.is_empty() && waiting.len() == 0 => return Err(race.failed),
            Some(None) => {}
            None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                let rest = race.running.into_iter().map(|(item, _)| (item, no_answer()));
                race.failed.extend(rest);
                return Err(race.failed);
            }
            None => {}
        }
    }
}

/// The failure of an attempt that came to nothing in time.
pub(super) fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer")
}

impl<I, T, F: Future<Output = io::Result<T>>> Race<I, F> {
    /// Ready with the output of an attempt that has succeeded, or without one when an attempt has failed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut has_failed = self.running.is_empty();
        let mut at = 0;
        while let Some((_, attempt)) = self.running.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(output)) => return Poll::Ready(Some(output)),
                Poll::Ready(Err(error)) => {
                    let (item, _) = self.running.remove(at);
                    self.failed.push((item, error));
                    has_failed = true;
                }
            }
        }
        if has_failed { Poll::Ready(None) } else { Poll::Pending }
    }
}
