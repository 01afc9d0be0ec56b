//! Handlers that wait: for another task, or for a timer.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use crate::workload::Workload;

/// The time limit of calls that have one, unless their workload says otherwise: what tarpc gives every call.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What handlers wait for: a task that gives each text back, and ends with the last handle; or a timer.
#[derive(Clone)]
pub(crate) struct Hop {
    asked: mpsc::UnboundedSender<(String, oneshot::Sender<String>)>,
    nap: Duration,
}

impl Hop {
    /// Starts the task on the current runtime.
    pub(crate) fn start(workload: Workload) -> Self {
        let (sender, mut asked) = mpsc::unbounded_channel::<(String, oneshot::Sender<String>)>();
        tokio::spawn(async move {
            while let Some((text, answer)) = asked.recv().await {
                // The handler may have been dropped.
                let _ = answer.send(text);
            }
        });
        Self { asked: sender, nap: workload.nap() }
    }

    /// Has the task give the text back, and waits for it once.
    pub(crate) async fn ask(&self, text: String) -> String {
        let (sender, answer) = oneshot::channel();
        // The client sees that nothing comes back.
        let _ = self.asked.send((text, sender));
        answer.await.unwrap_or_default()
    }

    /// Gives the text back after the workload's while.
    pub(crate) async fn nap(&self, text: String) -> String {
        time::sleep(self.nap).await;
        text
    }
}
