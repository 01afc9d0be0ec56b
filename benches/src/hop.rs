//! Handlers that wait: for another task, or for a timer.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time,
};

/// The time limit of calls whose handlers wait: what tarpc gives every call unless it is told otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What a handler sleeps.
const NAP: Duration = Duration::from_millis(1);

/// A task that gives each text back to the handler that waits for it. It ends with the last handle.
#[derive(Clone)]
pub(crate) struct Hop(mpsc::UnboundedSender<(String, oneshot::Sender<String>)>);

impl Hop {
    /// Starts the task on the current runtime.
    pub(crate) fn start() -> Self {
        let (sender, mut asked) = mpsc::unbounded_channel::<(String, oneshot::Sender<String>)>();
        tokio::spawn(async move {
            while let Some((text, answer)) = asked.recv().await {
                // The handler may have been dropped.
                let _ = answer.send(text);
            }
        });
        Self(sender)
    }

    /// Has the task give the text back, and waits for it once.
    pub(crate) async fn ask(&self, text: String) -> String {
        let (sender, answer) = oneshot::channel();
        // The client sees that nothing comes back.
        let _ = self.0.send((text, sender));
        answer.await.unwrap_or_default()
    }
}

/// Gives the text back after a while.
pub(crate) async fn nap(text: String) -> String {
    time::sleep(NAP).await;
    text
}
