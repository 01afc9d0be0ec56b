//! Where server and client run: the runtimes of the two modes.

use std::{io::Write, process, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time,
};

use crate::{
    Result, both, link, load,
    peer::{Doorplate, Peer},
    sample::Sample,
    slice::{Mode, Slice},
    workload::Workload,
};

/// Within this the server must listen.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Measures one peer in this process. Whatever the peer does, it ends: a watchdog ends the process.
pub(crate) fn measure<P: Peer>(slice: Slice) -> Result<Sample> {
    watch(slice.limit());
    if let Workload::Link { round_trip, .. } = slice.workload {
        return link::measure::<P>(slice.workload, round_trip);
    }
    if let Workload::Both { .. } = slice.workload {
        let (near, far) = both::ends::<P>(slice);
        return run(slice.mode, far.run(), near.run());
    }
    let (doorplate, address, _) = Doorplate::new();
    let client = async move {
        let address = time::timeout(START_LIMIT, address).await;
        load::run::<P>(slice, address.map_err(|_| "the server does not listen in time")??).await
    };
    run(slice.mode, serve::<P>(slice, doorplate), client)
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
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.spawn(server);
    // In a task, so that the client runs on the workers and not on a third thread.
    let client = runtime.spawn(client);
    runtime.block_on(client)?
}

fn current_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Serves, and says so if that fails: the client notices only that nobody answers.
pub(crate) async fn serve<P: Peer>(slice: Slice, doorplate: Doorplate<P>) {
    if let Err(error) = P::serve(slice.workload, doorplate).await {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "the server failed: {error}");
    }
}

/// Ends the process when a measurement hangs, be it in a loop that never yields.
fn watch(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        // As above.
        let _ = writeln!(std::io::stderr(), "it hangs: not ended after {} s", limit.as_secs());
        process::exit(1);
    });
}
