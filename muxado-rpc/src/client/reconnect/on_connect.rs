//! What is to be done with each new connection before calls go over it.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use crate::{
    Peer,
    support::{
        panics::{self, CatchUnwind},
        timer,
        truncate::brief,
    },
};

/// A step of the application's with each new connection.
#[derive(Clone)]
pub(super) struct OnConnect {
    /// `None` while it is dropped.
    hook: Option<Arc<Hook>>,
}

type Hook = dyn Fn(Peer) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

impl OnConnect {
    pub(super) fn new<F, Fut, E>(hook: F) -> Self
    where
        F: Fn(Peer) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let hook = move |peer| -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
            let running = hook(peer);
            Box::pin(async move { running.await.map_err(|error| brief(&error, MAX_TEXT)) })
        };
        Self { hook: Some(Arc::new(hook)) }
    }

    /// Runs the hook for a connection.
    ///
    /// # Errors
    ///
    /// Returns why the connection is of no use: what the hook says, or that it takes too long, has panicked, or that the
    /// connection ends meanwhile.
    pub(super) async fn run(&self, peer: &Peer, limit: Duration) -> io::Result<()> {
        let lent = Peer::lent(Arc::clone(peer.shared()));
        let Some(hook) = &self.hook else { return Ok(()) };
        let running = CatchUnwind::new(None, async { hook(lent).await });
        let running = async {
            // What the hook says of its end is more than that the connection ends.
            tokio::select! {
                biased;
                ran = running => ran.unwrap_or_else(|_| Err("it panicked".to_owned())),
                () = peer.going_away() => Err("the peer goes away meanwhile, or the connection has ended".to_owned()),
            }
        };
        match timer::within(limit, running).await {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(io::Error::other(format!("on_connect failed: {why}"))),
            None => {
                let problem =
                    format!("on_connect is not done within {limit:?} (ReconnectBuilder::on_connect_timeout)");
                Err(io::Error::new(io::ErrorKind::TimedOut, problem))
            }
        }
    }
}

impl Drop for OnConnect {
    /// What the hook holds is the application's, and may panic when it is dropped.
    fn drop(&mut self) {
        panics::discard(self.hook.take());
    }
}

impl fmt::Debug for OnConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnConnect")
    }
}

/// Bytes that are kept of what a hook says.
const MAX_TEXT: usize = 220;
