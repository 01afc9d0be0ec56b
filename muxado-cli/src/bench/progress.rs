//! How far a measurement is, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, interval};

use super::{load::Load, recorder::Recorder, text::rate};

/// A bar on standard error, if that is a terminal; gone once it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { bar: ProgressBar::no_length() }
    }

    /// Says that the load warms up.
    pub(crate) fn warm_up(&self) {
        self.bar.set_style(ProgressStyle::with_template("{spinner} warming up").unwrap_or_else(|_| plain()));
        self.bar.enable_steady_tick(TICK);
    }

    /// Shows how far a measurement is. Never returns.
    pub(crate) async fn follow(&self, load: Load, recorder: &Recorder) {
        let begin = Instant::now();
        let template = "{wide_bar} {percent:>3} % {msg}";
        let template =
            if load.duration.is_none() && load.calls.is_none() { "{spinner} {msg}" } else { template };
        self.bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| plain()));
        self.bar.set_length(PARTS);
        let (mut interval, mut last) = (interval(TICK), (begin, 0));
        loop {
            let now = interval.tick().await;
            let calls = recorder.calls();
            let of_time = load.duration.map_or(0.0, |all| (now - begin).as_secs_f64() / all.as_secs_f64());
            let of_calls = load.calls.map_or(0.0, |all| calls as f64 / all as f64);
            self.bar.set_position((of_time.max(of_calls).min(1.0) * PARTS as f64) as u64);
            if now - last.0 >= Duration::from_secs(1) {
                let per_second = (calls - last.1) as f64 / (now - last.0).as_secs_f64();
                self.bar.set_message(format!("{} calls, {}", calls, rate(per_second)));
                last = (now, calls);
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn plain() -> ProgressStyle {
    ProgressStyle::default_bar()
}

/// Between two pictures.
const TICK: Duration = Duration::from_millis(200);

/// The length of the bar.
const PARTS: u64 = 1000;
