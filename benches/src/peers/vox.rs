//! vox: calls over TCP, with channels for items.

use std::{net::SocketAddr, pin::pin, time::Duration};

use futures_util::StreamExt;
use tokio::time;
use vox::{ConnectionSettings, Metadata, Parity, Rx, SelfRef, Tx, transport::tcp::StreamLink};

use crate::{
    Result,
    hop::Hop,
    message::Message,
    peer::{Doorplate, Layer, Peer},
    source, waiting,
    workload::Workload,
};

/// Items of a channel that nobody has read. The default of 16 has each wait for the reader.
const CREDIT: u32 = 1024;

#[vox::service]
pub trait Echo {
    async fn echo(&self, text: String) -> String;
    async fn hop(&self, text: String) -> String;
    async fn sleep(&self, text: String) -> String;
    async fn never(&self, slot: u32) -> bool;
    async fn items(&self, text: String, count: u32, items: Tx<String>) -> bool;
    async fn items_channel(&self, text: String, count: u32, items: Tx<String>) -> bool;
    async fn bidi_items(&self, items: Rx<String>, back: Tx<String>) -> bool;
}

#[derive(Clone)]
struct Echoing {
    hop: Hop,
    limit: Option<Duration>,
}

impl Echo for Echoing {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn hop(&self, text: String) -> String {
        // The client sees that nothing comes back.
        within(self.limit, self.hop.ask(text)).await.unwrap_or_default()
    }

    async fn sleep(&self, text: String) -> String {
        within(self.limit, self.hop.nap(text)).await.unwrap_or_default()
    }

    async fn never(&self, slot: u32) -> bool {
        waiting::forever(slot).await
    }

    async fn items(&self, text: String, count: u32, items: Tx<String>) -> bool {
        for _ in 0..count {
            if items.send(text.clone()).await.is_err() {
                return false;
            }
        }
        end(&items).await
    }

    async fn items_channel(&self, text: String, count: u32, items: Tx<String>) -> bool {
        let mut source = pin!(source::channel(text, count));
        while let Some(item) = source.next().await {
            if items.send(item).await.is_err() {
                return false;
            }
        }
        end(&items).await
    }

    async fn bidi_items(&self, mut items: Rx<String>, back: Tx<String>) -> bool {
        while let Ok(Some(item)) = items.recv().await {
            if back.send(owned(item)).await.is_err() {
                return false;
            }
        }
        end(&back).await
    }
}

/// Ends a channel. With its call alone it would end in an error.
async fn end(items: &Tx<String>) -> bool {
    items.close(Metadata::default()).await.is_ok()
}

/// Waits for a future within the workload's limit.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T> {
    match limit {
        Some(limit) => Ok(time::timeout(limit, future).await?),
        None => Ok(future.await),
    }
}

/// Takes an item out of the message that it came in.
fn owned(item: SelfRef<String>) -> String {
    let mut taken = String::new();
    item.map(|text| taken = text);
    taken
}

/// A lane, which is one service of a connection; the time limit of calls, which its clients do not have.
#[derive(Clone)]
pub(crate) struct Vox(EchoClient, Option<Duration>);

impl Peer for Vox {
    const NAME: &'static str = "vox";
    const PACKAGE: &'static str = "vox";
    const LAYER: Layer = Layer::Calls;

    fn runs(workload: Workload) -> bool {
        // Its clients cannot cancel: a handler runs on when nobody waits for it any more.
        let cancels = matches!(workload, Workload::Cancel { .. });
        (super::runs_calls(workload) && !cancels)
            || super::runs_items_of_streams(workload)
            || super::runs_waiting_calls(workload)
            || super::runs_calls_in_time(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let echoing = Echoing { hop: Hop::start(workload), limit: workload.time_limit() };
        let dispatcher = EchoDispatcher::new(echoing);
        // As `vox::serve` does it, which leaves Nagle's algorithm on.
        let connection = move |stream| {
            let acceptor = vox::acceptor_on(StreamLink::tcp(stream)).on_lane(dispatcher.clone());
            async move {
                acceptor.establish_connection().await?.closed().await;
                Ok(())
            }
        };
        doorplate.serve(connection).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let connection = vox::connect(format!("tcp://{server}")).establish().await?;
        let settings = ConnectionSettings {
            parity: Parity::Odd,
            max_concurrent_requests: u32::try_from(workload.room())?,
            initial_channel_credit: CREDIT,
        };
        Ok(Self(connection.open_lane_with_settings(settings).await?, workload.time_limit()))
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        message.check(&within(self.1, self.0.echo(message.text().to_owned())).await??)
    }

    async fn hop(&mut self, message: &Message) -> Result<()> {
        message.check(&within(self.1, self.0.hop(message.text().to_owned())).await??)
    }

    async fn sleep(&mut self, message: &Message) -> Result<()> {
        message.check(&within(self.1, self.0.sleep(message.text().to_owned())).await??)
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        let (sender, items) = vox::channel();
        let call = self.0.items(message.text().to_owned(), count, sender);
        let (done, received) = futures_util::join!(call, check(items, message, count));
        done?;
        received
    }

    async fn items_channel(&mut self, message: &Message, count: u32) -> Result<()> {
        let (sender, items) = vox::channel();
        let call = self.0.items_channel(message.text().to_owned(), count, sender);
        let (done, received) = futures_util::join!(call, check(items, message, count));
        done?;
        received
    }

    async fn bidi_items(&mut self, message: &Message, count: u32) -> Result<()> {
        let (sender, items) = vox::channel();
        let (back, returned) = vox::channel();
        let sent = async move {
            for _ in 0..count {
                sender.send(message.text().to_owned()).await?;
            }
            Ok::<_, vox::TxError>(())
        };
        let call = self.0.bidi_items(items, back);
        let (done, sent, received) = futures_util::join!(call, sent, check(returned, message, count));
        done?;
        sent?;
        received
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.0.never(slot).await?;
        Ok(())
    }
}

async fn check(mut items: Rx<String>, message: &Message, count: u32) -> Result<()> {
    let mut copies = message.copies(count);
    while let Some(item) = items.recv().await? {
        copies.take(&owned(item))?;
    }
    copies.end()
}
