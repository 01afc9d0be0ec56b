//! Where the items of a stream come from.

use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

/// Items that the channel holds: as in the examples of tonic.
const CAPACITY: usize = 128;

/// So many copies of an item, from a task by a channel: as most programs make their streams. It is what
/// the `ReceiverStream` of tokio-stream is.
pub(crate) fn channel<T>(item: T, count: u32) -> impl Stream<Item = T> + Send + 'static
where
    T: Clone + Send + Sync + 'static,
{
    let (sender, mut receiver) = mpsc::channel(CAPACITY);
    tokio::spawn(async move {
        for _ in 0..count {
            // Nobody may want the rest.
            if sender.send(item.clone()).await.is_err() {
                return;
            }
        }
    });
    stream::poll_fn(move |cx| receiver.poll_recv(cx))
}
