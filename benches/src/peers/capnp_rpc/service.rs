//! What the server does.

use std::rc::Rc;

use capnp::Error;
use futures_util::StreamExt;

use super::echo_capnp::{echo, sink};
use crate::{source, waiting};

pub(super) struct Echoing;

impl echo::Server for Echoing {
    async fn echo(
        self: Rc<Self>,
        params: echo::EchoParams,
        mut results: echo::EchoResults,
    ) -> Result<(), Error> {
        results.get().set_text(params.get()?.get_text()?);
        Ok(())
    }

    async fn never(self: Rc<Self>, params: echo::NeverParams, _: echo::NeverResults) -> Result<(), Error> {
        waiting::forever(params.get()?.get_slot()).await
    }

    async fn items(self: Rc<Self>, params: echo::ItemsParams, _: echo::ItemsResults) -> Result<(), Error> {
        let params = params.get()?;
        let (text, count, sink) = (params.get_text()?.to_str()?, params.get_count(), params.get_sink()?);
        if !params.get_out_of_task() {
            return send_copies(&sink, text, count).await;
        }
        let mut items = source::channel(text.to_owned(), count);
        while let Some(item) = items.next().await {
            send(&sink, &item).await?;
        }
        end(&sink).await
    }

    async fn bidi_items(
        self: Rc<Self>,
        params: echo::BidiItemsParams,
        mut results: echo::BidiItemsResults,
    ) -> Result<(), Error> {
        let back = params.get()?.get_back()?;
        results.get().set_there(capnp_rpc::new_client(Echo { back }));
        Ok(())
    }
}

/// Gives back each item as it comes.
struct Echo {
    back: sink::Client,
}

impl sink::Server for Echo {
    async fn item(self: Rc<Self>, params: sink::ItemParams) -> Result<(), Error> {
        let mut request = self.back.item_request();
        request.get().set_text(params.get()?.get_text()?);
        request.send().await
    }

    async fn end(self: Rc<Self>, _: sink::EndParams, _: sink::EndResults) -> Result<(), Error> {
        end(&self.back).await
    }
}

/// Sends so many copies, and waits until all have been had.
pub(super) async fn send_copies(sink: &sink::Client, text: &str, count: u32) -> Result<(), Error> {
    for _ in 0..count {
        send(sink, text).await?;
    }
    end(sink).await
}

/// Waits only for room in the window of the stream.
async fn send(sink: &sink::Client, text: &str) -> Result<(), Error> {
    let mut request = sink.item_request();
    request.get().set_text(text);
    request.send().await
}

async fn end(sink: &sink::Client) -> Result<(), Error> {
    sink.end_request().send().promise.await?;
    Ok(())
}
