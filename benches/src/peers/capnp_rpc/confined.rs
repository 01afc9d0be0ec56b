//! Threads for what cannot leave its thread, as everything of capnp-rpc cannot.

use std::thread;

use send_wrapper::SendWrapper;
use tokio::{
    runtime::{Builder, Handle, RuntimeFlavor},
    sync::OnceCell,
};
use tokio_util::task::AbortOnDropHandle;

use crate::Result;

/// The thread of all clients, where they need one.
static CLIENTS: OnceCell<Handle> = OnceCell::const_new();

/// Where the connections of an end live.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// On the thread that runs everything else of this end.
    Here,
    /// On a thread of its own: the runtime of this end has several.
    Apart(Handle),
}

impl Home {
    /// Of a server.
    pub(super) fn of_server() -> Result<Self> {
        if is_here() { Ok(Self::Here) } else { Ok(Self::Apart(start()?)) }
    }

    /// Of clients.
    pub(super) async fn of_clients() -> Result<Self> {
        if is_here() {
            return Ok(Self::Here);
        }
        let handle = CLIENTS.get_or_try_init(async || start()).await?;
        Ok(Self::Apart(handle.clone()))
    }

    /// Makes a future there and runs it. It ends when it is dropped here.
    pub(super) async fn run<T, F>(&self, make: impl FnOnce() -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        match self {
            Self::Here => SendWrapper::new(make()).await,
            Self::Apart(handle) => {
                let task = handle.spawn(async move { SendWrapper::new(make()).await });
                AbortOnDropHandle::new(task).await?
            }
        }
    }

    /// Drops a value of that thread there.
    pub(super) fn drop<T: Send + 'static>(&self, value: T) {
        if let Self::Apart(handle) = self {
            handle.spawn(async move { drop(value) });
        }
    }
}

/// Whether the runtime has one thread, which nothing leaves.
fn is_here() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread
}

/// Starts a thread that runs until the process ends.
fn start() -> Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Ok(handle)
}
