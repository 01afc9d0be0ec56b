//! `muxado bench`: measures how fast a method is served.

mod arrivals;
mod bins;
mod caller;
mod load;
mod prepare;
mod progress;
mod recorder;
mod report;
mod summary;
mod text;

use std::{num::NonZeroUsize, thread, time::Duration};

use clap::Args;
use muxado_rpc::{Channel, Peer};
use tokio::runtime;

use self::{
    arrivals::{Arrivals, Rate},
    caller::{MethodCaller, Prepared},
    load::{Ended, Load, Phase},
    progress::Progress,
    report::ReportFile,
    summary::{Setup, Summary},
};
use crate::{
    connect::{ConnectArgs, duration},
    exit::{Failure, interrupted},
    input::Data,
    output::Output,
    request::{CALL, RequestArgs},
};

const EXAMPLES: &str = "\
Examples:
  muxado bench tcp://127.0.0.1:7000 Post/send -d '{\"parcel\":{\"to\":\"Oslo\",\"grams\":500}}'
  muxado bench tcp://127.0.0.1:7000 Post/send -d @parcel.json -c 4 --in-flight 256 --duration 1m
  muxado bench tls://api.example.org:443 Post/send -d @parcel.json --rate 2000 --arrivals poisson
  muxado bench unix:///run/app.sock Post/follow -d '[7]' --calls 1000 --json | jq .latency_us.p99

Without --rate a call begins when another has ended, so that a server that stalls
is asked less. With --rate calls are due at their times whatever the server does,
and the latency of each counts from when it was due: no stall is left out, also
if all in flight are busy. What was due and had not begun at the end counts with
the time that it had waited.

Latencies are those of all calls, of failed ones as well. Calls that are under
way at the end have 5 s to end. Of a stream, all items of -d are sent, and all
that come are read. Ctrl-C ends the measurement and shows what there is.

Exit status: 0, also if calls failed; 64+n if all of them failed, with the first
status, and 78 if all connections ended early; 2 wrong parameters; 3 no
connection; 130 Ctrl-C.";

const LOAD: &str = "Load";
const REPORT: &str = "Report";

/// Measures how fast a method is served.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The method, as SERVICE/METHOD
    #[arg(value_name = "SERVICE/METHOD")]
    method: String,
    /// The parameters, if all values of -d are items of a stream; needed for methods with a stream and other parameters
    /// of which the server says no schemas
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true, help_heading = CALL)]
    params: Option<Data>,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// Write the figures as JSON
    #[arg(long, help_heading = REPORT)]
    json: bool,
    /// Draw the measurement into a file, by its name a page (.html) or a picture (.svg)
    #[arg(long, value_name = "FILE", value_parser = ReportFile::parse, help_heading = REPORT)]
    report: Option<ReportFile>,
}

/// How much is called, and how long.
#[derive(Debug, Args)]
struct LoadArgs {
    /// Connections that calls are spread over
    #[arg(short, long, value_name = "N", default_value = "1", help_heading = LOAD)]
    connections: NonZeroUsize,
    /// Calls that may be under way at a time, on all connections together [default: 64, with --rate 1024]
    #[arg(short, long, value_name = "N", help_heading = LOAD)]
    in_flight: Option<NonZeroUsize>,
    /// Calls a second, on all connections together, whatever the server does
    #[arg(short, long, value_name = "N", value_parser = rate, help_heading = LOAD)]
    rate: Option<f64>,
    /// How the calls of a rate follow each other
    #[arg(long, value_enum, default_value_t, requires = "rate", help_heading = LOAD)]
    arrivals: Arrivals,
    /// How long to measure, as in 500ms, 10s, 1m [default: 10s, unless there is --calls]
    #[arg(short = 't', long, value_name = "TIME", value_parser = positive, help_heading = LOAD)]
    duration: Option<Duration>,
    /// End after so many calls
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = LOAD)]
    calls: Option<u64>,
    /// How long to call before the measurement
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s", help_heading = LOAD)]
    warm_up: Duration,
    /// Threads that call [default: one for each connection, at most one for each processor]
    #[arg(long, value_name = "N", help_heading = LOAD)]
    threads: Option<NonZeroUsize>,
}

impl LoadArgs {
    fn threads(&self) -> usize {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.map_or_else(|| self.connections.get().min(processors), NonZeroUsize::get)
    }

    fn in_flight(&self) -> usize {
        let default = if self.rate.is_some() { 1024 } else { 64 };
        // Each connection has one.
        self.in_flight.map_or(default, NonZeroUsize::get).max(self.connections.get())
    }

    fn rate(&self) -> Option<Rate> {
        self.rate.map(|per_second| Rate { per_second, arrivals: self.arrivals })
    }

    fn measured(&self) -> Load {
        let default = self.calls.is_none().then_some(DURATION);
        Load { rate: self.rate(), duration: self.duration.or(default), calls: self.calls }
    }

    fn warm_up(&self) -> Load {
        Load { rate: self.rate(), duration: Some(self.warm_up), calls: None }
    }
}

const DURATION: Duration = Duration::from_secs(10);

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        _ => Err("not a number of calls a second from 0.001 to 1000000".to_owned()),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a measurement takes some time".to_owned()),
        time => Ok(time),
    }
}

impl BenchArgs {
    /// Returns what the measurement runs on. Calls of one connection are fastest on the thread of that.
    pub(crate) fn runtime(&self) -> runtime::Builder {
        match self.load.threads() {
            1 => runtime::Builder::new_current_thread(),
            threads => {
                let mut builder = runtime::Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            }
        }
    }

    /// Runs the measurement. It minds signals by itself.
    pub(crate) async fn run(self, output: &Output) -> Result<(), Failure> {
        let prepared = tokio::select! {
            biased;
            signal = interrupted() => return Err(Failure::signal(signal)),
            prepared = self.prepare(output) => prepared?,
        };
        self.measure(prepared, output).await
    }

    /// Connects, and encodes the call.
    async fn prepare(&self, output: &Output) -> Result<(Vec<Peer>, Prepared), Failure> {
        if let Some(report) = &self.report {
            report.create()?;
        }
        let mut peers = vec![self.connect.connect(output).await?];
        let prepared = prepare::prepare(
            &self.request,
            &self.connect.address,
            &peers[0],
            &self.method,
            self.params.as_ref(),
            output,
        )
        .await?;
        while peers.len() < self.load.connections.get() {
            peers.push(self.connect.connect(output).await?);
        }
        Ok((peers, prepared))
    }

    async fn measure(self, (peers, prepared): (Vec<Peer>, Prepared), output: &Output) -> Result<(), Failure> {
        let channels: Vec<_> = peers.iter().map(Peer::channel).collect();
        let mut signal = None;
        let progress = Progress::new();
        let mut phase = None;
        if !self.load.warm_up.is_zero() {
            progress.warm_up();
            let warm_up =
                self.run_phase(self.load.warm_up(), &channels, &prepared, &mut signal, None).await?;
            // What there is to show then.
            phase = (warm_up.ended != Ended::Time).then_some(warm_up);
        }
        let phase = match phase {
            Some(phase) => phase,
            None => {
                let load = self.load.measured();
                self.run_phase(load, &channels, &prepared, &mut signal, Some(&progress)).await?
            }
        };
        drop(progress);
        let summary = Summary::new(self.setup(&prepared), &phase);
        self.show(&summary, output)?;
        match signal {
            Some(signal) => Err(Failure::signal(signal)),
            None => self.outcome(&summary, &phase),
        }
    }

    /// Runs a load to its end, or to the first signal.
    async fn run_phase(
        &self,
        load: Load,
        channels: &[Channel],
        prepared: &Prepared,
        signal: &mut Option<u8>,
        progress: Option<&Progress>,
    ) -> Result<Phase, Failure> {
        let callers = channels.iter().cycle().take(self.load.in_flight());
        let callers: Result<Vec<MethodCaller>, _> =
            callers.map(|channel| prepared.caller(channel.clone())).collect();
        let running = load
            .start(callers?)
            .map_err(|error| Failure::other(format!("cannot start a thread: {error}")))?;
        let recorder = std::sync::Arc::clone(running.recorder());
        let finished = running.finish(async { *signal = Some(interrupted().await) });
        match progress {
            Some(progress) => tokio::select! {
                phase = finished => Ok(phase),
                () = progress.follow(load, &recorder) => Err(Failure::other("a progress bar has ended by itself")),
            },
            None => Ok(finished.await),
        }
    }

    fn setup(&self, prepared: &Prepared) -> Setup {
        Setup {
            address: self.connect.address.clone(),
            method: format!("{}/{}", prepared.method.service(), prepared.method.name()),
            shape: prepared.method.shape().to_string(),
            codec: prepared.codec.to_string(),
            connections: self.load.connections.get(),
            in_flight: self.load.in_flight(),
            threads: self.load.threads(),
            warm_up: self.load.warm_up,
            rate: self.load.rate(),
        }
    }

    fn show(&self, summary: &Summary, output: &Output) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string(summary).map_err(|error| Failure::other(error.to_string()))?;
            output.json(&json)?;
        } else {
            output.line(&text::text(summary))?;
        }
        if let Some(report) = &self.report {
            report.write(summary)?;
            output.aside(&format!("the report is in {}", report.path().display()));
        }
        Ok(())
    }

    /// All calls may have failed, which no figures make good.
    fn outcome(&self, summary: &Summary, phase: &Phase) -> Result<(), Failure> {
        if phase.ended == Ended::Disconnected {
            return Err(Failure::lost("all connections have ended, and the measurement with them"));
        }
        let totals = phase.recorder.snapshot();
        let most = totals.failures.values().max_by_key(|failures| failures.count);
        match most {
            Some(failures) if summary.failed == summary.calls => {
                let status = muxado_rpc::Status::new(failures.code, &*failures.first);
                Err(Failure::from(status).hint("all calls have failed"))
            }
            _ => Ok(()),
        }
    }
}
