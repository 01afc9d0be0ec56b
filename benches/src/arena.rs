//! Where server and client run: the runtimes of the two modes.

use std::{io::Write, process, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time,
};

use crate::{
    Result, both, fleet, link, load,
    peer::{Doorplate, Peer},
    sample::Sample,
    slice::{Mode, Slice},
    workload::Workload,
};

/// Within this the server must listen.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Measures one peer in this process.
pub(crate) fn measure<P: Peer>(slice: Slice) -> Result<Sample> {
    match slice.workload {
        Workload::Link { round_trip, .. } => return link::measure::<P>(slice.workload, round_trip),
        Workload::Fleet { .. } => return fleet::measure::<P>(slice),
        Workload::Both { .. } => {
            let (near, far) = both::ends::<P>(slice);
            return run(slice.mode, far.run(), near.run());
        }
        _ => {}
    }
    let (doorplate, address, _) = Doorplate::new();
    let client = async move {
        let address = time::timeout(START_LIMIT, address).await;
        load::run::<P>(slice, address.map_err(|_| "the server does not listen in time")??).await
    };
    run(slice.mode, serve::<P>(slice.workload, doorplate), client)
}

fn run(
    mode: Mode,
    server: impl Future<Output = ()> + Send + 'static,
    client: impl Future<Output = Result<Sample>> + Send + 'static,
) -> Result<Sample> {
    if mode == Mode::Ct {
        let runtime = current_thread()?;
        thread::spawn(move || runtime.block_on(server));
        return current_thread()?.block_on(client);
    }
    let runtime = two_workers()?;
    runtime.spawn(server);
    // In a task, so that the client runs on the workers and not on a third thread.
    let client = runtime.spawn(client);
    runtime.block_on(client)?
}

/// A runtime with two workers.
pub(crate) fn two_workers() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn current_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Serves, and says so if that fails: the client notices only that nobody answers.
pub(crate) async fn serve<P: Peer>(workload: Workload, doorplate: Doorplate<P>) {
    if let Err(error) = P::serve(workload, doorplate).await {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "the server failed: {error}");
    }
}

/// Ends the process when a measurement hangs, be it in a loop that never yields.
pub(crate) fn watch(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        // As above.
        let _ = writeln!(std::io::stderr(), "it hangs: not ended after {} s", limit.as_secs());
        process::exit(1);
    });
}

#[cfg(test)]
mod tests {
    use crate::{
        peers,
        slice::{Mode, Slice},
        workload::Workload,
    };

    /// Measures everybody who runs the workload, for a moment.
    fn measure_all(name: &str, mode: Mode) {
        let workload: Workload = name.parse().unwrap();
        let slice = Slice { workload, mode, time: std::time::Duration::from_millis(60) };
        for entry in peers::ALL.iter().filter(|entry| (entry.runs)(workload)) {
            let sample =
                (entry.measure)(slice).unwrap_or_else(|error| panic!("{name} {}: {error}", entry.name));
            assert!(sample.rate > 0.0, "{name} {}", entry.name);
            let is_open = matches!(workload, Workload::Open { .. } | Workload::Overload);
            assert_eq!(sample.answered_percent.is_some(), is_open, "{name} {}", entry.name);
        }
    }

    #[test]
    fn every_peer_measures_calls_of_clones_and_of_what_is_lent() {
        measure_all("clone-4", Mode::Mt);
        measure_all("spawn-4", Mode::Mt);
        measure_all("unlimited-4", Mode::Ct);
        measure_all("borrowed-4", Mode::Ct);
    }

    #[test]
    fn every_peer_measures_calls_that_wait_for_nobody() {
        measure_all("open-1k", Mode::Ct);
        measure_all("open-1k", Mode::Mt);
    }

    #[test]
    fn every_peer_answers_some_calls_of_too_many() {
        measure_all("overload", Mode::Mt);
    }

    #[test]
    fn every_peer_streams_items() {
        measure_all("items", Mode::Ct);
        measure_all("items-channel", Mode::Mt);
        measure_all("bidi-items", Mode::Mt);
    }

    #[test]
    fn every_peer_measures_calls_that_wait_and_that_are_dropped() {
        measure_all("hop-4", Mode::Mt);
        measure_all("sleep-4", Mode::Ct);
        measure_all("cancel-4", Mode::Mt);
    }

    #[test]
    fn every_peer_with_streams_opens_them() {
        measure_all("streams-4", Mode::Mt);
    }
}
