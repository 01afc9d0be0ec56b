//! Where server and client run: the runtimes of the two modes.

use std::{
    io::Write,
    net::SocketAddr,
    process,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use crate::{
    Result, load,
    peer::{Doorplate, Peer},
    sample::Sample,
    slice::{Mode, Slice},
};

/// Within this the server must listen.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Measures one peer in this process. Whatever the peer does, it ends: a watchdog ends the process.
pub(crate) fn measure<P: Peer>(slice: Slice) -> Result<Sample> {
    watch(slice.limit());
    match slice.mode {
        Mode::Ct => separate::<P>(slice),
        Mode::Mt => together::<P>(slice),
    }
}

fn separate<P: Peer>(slice: Slice) -> Result<Sample> {
    let (doorplate, address) = Doorplate::new();
    let server = current_thread()?;
    thread::spawn(move || server.block_on(serve::<P>(slice, doorplate)));
    let address = read(&address)?;
    current_thread()?.block_on(load::run::<P>(slice, address))
}

fn together<P: Peer>(slice: Slice) -> Result<Sample> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (doorplate, address) = Doorplate::new();
    runtime.spawn(serve::<P>(slice, doorplate));
    let address = read(&address)?;
    // In a task, so that the client runs on the workers and not on a third thread.
    let client = runtime.spawn(load::run::<P>(slice, address));
    runtime.block_on(client)?
}

fn current_thread() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Serves, and says so if that fails: the client notices only that nobody answers.
async fn serve<P: Peer>(slice: Slice, doorplate: Doorplate) {
    if let Err(error) = P::serve(slice.workload, doorplate).await {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "the server failed: {error}");
    }
}

fn read(address: &mpsc::Receiver<SocketAddr>) -> Result<SocketAddr> {
    address.recv_timeout(START_LIMIT).map_err(|error| match error {
        RecvTimeoutError::Timeout => "the server does not listen in time".into(),
        RecvTimeoutError::Disconnected => "the server does not listen".into(),
    })
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
