//! `muxado ping`: round trips of a connection.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::call::shown;
use crate::{
    connect::{ConnectArgs, duration},
    exit::{Failure, interrupted},
    output::Output,
};

const HELP: &str = "\
A round trip is that of a heartbeat, which the connection of the other side answers, whatever its handlers do.

Exit status: 0 if all were answered; 3 if no connection could be made; 78 if the connection was lost.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How many round trips [default: until Ctrl-C]
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The time between two, as in 200ms, 1s; 0 for one after the other
    #[arg(short, long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    interval: Duration,
    /// Write the summary only
    #[arg(short, long)]
    quiet: bool,
    /// Write JSON: an object for each, and one for the summary
    #[arg(long)]
    json: bool,
}

impl PingArgs {
    /// Ctrl-C ends it with its summary.
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let mut times = Vec::new();
        let signal = interrupted();
        let outcome = tokio::select! {
            outcome = self.pings(&mut times, output) => outcome,
            signal = signal => if times.is_empty() { Err(Failure::signal(signal)) } else { Ok(()) },
        };
        if !times.is_empty() {
            self.summary(&times, output)?;
        }
        outcome
    }

    async fn pings(&self, times: &mut Vec<Duration>, output: &Output) -> Result<(), Failure> {
        let begun = Instant::now();
        let peer = self.connect.connect(output).await?;
        if !self.quiet && !self.json {
            let connected = shown(begun.elapsed());
            output.line(&format!("connected to {} in {connected}", peer.peer_info()))?;
        }
        let mut interval = tokio::time::interval(self.interval.max(Duration::from_micros(1)));
        loop {
            if !self.interval.is_zero() {
                interval.tick().await;
            }
            let time = peer.ping().await.map_err(|error| Failure::lost(error.to_string()))?;
            times.push(time);
            let number = times.len();
            if self.json && !self.quiet {
                output.line(&json!({"ping": number, "us": micros(time)}).to_string())?;
            } else if !self.quiet {
                output.line(&format!("{number}: {}", shown(time)))?;
            }
            if self.count.is_some_and(|count| times.len() as u64 >= count) {
                return Ok(());
            }
        }
    }

    fn summary(&self, times: &[Duration], output: &Output) -> Result<(), Failure> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let total: Duration = sorted.iter().sum();
        let mean = total / u32::try_from(sorted.len()).unwrap_or(u32::MAX);
        let (min, median, p99, max) = (at(0.0), at(0.5), at(0.99), at(1.0));
        if self.json {
            let summary = json!({
                "count": sorted.len(), "min_us": micros(min), "mean_us": micros(mean), "median_us": micros(median),
                "p99_us": micros(p99), "max_us": micros(max),
            });
            return output.line(&summary.to_string());
        }
        let named = [("min", min), ("mean", mean), ("median", median), ("p99", p99), ("max", max)];
        let named = named.map(|(name, time)| format!("{name} {}", shown(time)));
        output.line(&format!("{} round trips: {}", sorted.len(), named.join(", ")))
    }
}

fn micros(time: Duration) -> f64 {
    // Tenths, as a number that is not longer than that.
    (time.as_secs_f64() * 1e7).round() / 10.0
}
