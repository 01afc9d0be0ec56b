//! Loads in virtual time, on servers that are made up.

use muxado_rpc::Code;
use tokio::time::sleep;

use super::*;
use crate::bench::{arrivals::Arrivals, recorder::Totals};

/// A server that takes 1 ms for a call, but for a time in which it does nothing.
#[derive(Clone, Copy)]
struct Stalling {
    begin: Instant,
    stall: (Duration, Duration),
}

impl Caller for Stalling {
    async fn call(&mut self) -> Result<Moved, Failed> {
        let (from, until) = (self.begin + self.stall.0, self.begin + self.stall.1);
        let now = Instant::now();
        if (from..until).contains(&now) {
            sleep_until(until).await;
        }
        sleep(ms(1)).await;
        Ok(Moved::default())
    }

    fn is_closed(&self) -> bool {
        false
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs a load to its end in virtual time.
async fn run<C: Caller>(load: Load, callers: Vec<C>) -> (Phase, Totals) {
    let running = load.start_without_thread(callers);
    let state = Arc::clone(&running.state);
    tokio::spawn(async move {
        while let Some(next) = state.add_due(Instant::now()) {
            sleep_until(next).await;
        }
    });
    let phase = running.finish(pending()).await;
    let totals = phase.recorder.snapshot();
    (phase, totals)
}

fn rate(per_second: f64) -> Option<Rate> {
    Some(Rate { per_second, arrivals: Arrivals::Constant })
}

fn seconds(seconds: u64, rate: Option<Rate>) -> Load {
    Load { rate, duration: Some(Duration::from_secs(seconds)), calls: None }
}

/// A server that stalls for a second of ten.
fn stalling() -> Stalling {
    Stalling { begin: Instant::now(), stall: (ms(4_000), ms(5_000)) }
}

/// Milliseconds of a quantile.
fn quantile(totals: &Totals, quantile: f64) -> u64 {
    totals.latency.value_at_quantile(quantile) / 1_000_000
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_one_slow_call_of_a_closed_loop_and_all_that_were_due_in_an_open_one() {
    let (_, closed) = run(seconds(10, None), vec![stalling()]).await;
    let (_, open) = run(seconds(10, rate(100.0)), vec![stalling()]).await;
    // Nine thousand calls, of which one has waited.
    assert!((8_900..=9_100).contains(&closed.calls), "{closed:?}");
    assert_eq!(quantile(&closed, 0.99), 1);
    assert_eq!(quantile(&closed, 1.0), 1_001);
    // A tenth of the calls was due while the server stalled.
    assert_eq!((open.calls, open.not_begun), (1_000, 0));
    assert!(quantile(&open, 0.99) >= 890, "{}", quantile(&open, 0.99));
    assert!(quantile(&open, 0.95) >= 400, "{}", quantile(&open, 0.95));
    for quantile_of in [0.5, 0.9, 0.95, 0.99, 0.999] {
        assert!(quantile(&open, quantile_of) >= quantile(&closed, quantile_of), "{quantile_of}");
    }
}

#[tokio::test(start_paused = true)]
async fn how_many_callers_there_are_does_not_hide_a_stall() {
    let (_, one) = run(seconds(10, rate(100.0)), vec![stalling()]).await;
    let (_, many) = run(seconds(10, rate(100.0)), vec![stalling(); 200]).await;
    assert_eq!((one.calls, many.calls), (1_000, 1_000));
    // With one caller those behind wait for it, too.
    assert!(quantile(&many, 0.99) >= 890);
    assert!(quantile(&one, 0.99) >= quantile(&many, 0.99));
    // They begin late where all callers are busy.
    assert!(one.lateness.max() > 980_000_000);
    assert!(many.lateness.max() < 10_000_000, "{}", many.lateness.max());
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_cannot_be_held_shows_in_latencies_and_in_what_has_not_begun() {
    // Two callers and 1 ms for each call: 2000 a second.
    let (phase, totals) = run(seconds(1, rate(4_000.0)), vec![stalling(), stalling()]).await;
    assert_eq!(phase.ended, Ended::Time);
    assert!((1_990..=2_002).contains(&totals.calls), "{totals:?}");
    assert_eq!(totals.calls + totals.not_begun, 4_000);
    assert_eq!(totals.latency.len(), 4_000);
    assert!((450..=500).contains(&quantile(&totals, 0.99)), "{}", quantile(&totals, 0.99));
}

#[tokio::test(start_paused = true)]
async fn a_number_of_calls_is_made_exactly_in_both_loops() {
    for rate in [None, rate(100.0)] {
        let load = Load { rate, duration: None, calls: Some(37) };
        let (phase, totals) = run(load, vec![stalling(); 8]).await;
        assert_eq!((phase.ended, totals.calls, totals.calls_in_time), (Ended::Calls, 37, 37));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_end_of_the_time_are_waited_for_and_given_up_after_a_grace() {
    let short = Stalling { begin: Instant::now(), stall: (ms(900), ms(2_000)) };
    let (phase, totals) = run(seconds(1, None), vec![short]).await;
    assert_eq!((phase.elapsed, totals.unfinished), (ms(1_000), 0));
    assert_eq!(totals.calls - totals.calls_in_time, 1);

    let endless = Stalling { begin: Instant::now(), stall: (ms(0), ms(60_000)) };
    let (_, totals) = run(seconds(1, None), vec![endless]).await;
    assert_eq!((totals.calls, totals.unfinished), (0, 1));
    assert_eq!(quantile(&totals, 1.0) / 10, 600);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_keeps_what_there_is() {
    let running = seconds(60, None).start_without_thread(vec![stalling()]);
    let phase = running.finish(sleep(ms(100))).await;
    let totals = phase.recorder.snapshot();
    assert_eq!((phase.ended, phase.elapsed, totals.unfinished), (Ended::Interrupted, ms(100), 1));
    assert!((98..=100).contains(&totals.calls), "{totals:?}");
}

/// A connection that ends after some calls.
struct Ending(u32);

impl Caller for Ending {
    async fn call(&mut self) -> Result<Moved, Failed> {
        sleep(ms(1)).await;
        self.0 = self.0.saturating_sub(1);
        if self.0 > 0 {
            return Ok(Moved::default());
        }
        Err(Failed { code: Code::Unavailable, message: "gone".to_owned(), moved: Moved::default() })
    }

    fn is_closed(&self) -> bool {
        self.0 == 0
    }
}

#[tokio::test(start_paused = true)]
async fn a_measurement_ends_with_the_last_connection() {
    for rate in [None, rate(1_000.0)] {
        let (phase, totals) = run(seconds(60, rate), vec![Ending(5), Ending(10)]).await;
        assert_eq!((phase.ended, totals.calls, totals.failed()), (Ended::Disconnected, 15, 2));
        assert!(phase.elapsed < ms(100), "{phase:?}");
    }
}
