//! The calls, as the client makes them and checks their answers.

use std::{cell::Cell, rc::Rc};

use capnp::Error;

use super::{
    echo_capnp::{echo, sink},
    service::send_copies,
};
use crate::{Result, message::Message};

pub(super) async fn echo(client: &echo::Client, message: &Message) -> Result<()> {
    let mut request = client.echo_request();
    request.get().set_text(message.text());
    let answer = request.send().promise.await?;
    message.check(answer.get()?.get_text()?.to_str()?)
}

pub(super) async fn never(client: &echo::Client, slot: &u32) -> Result<()> {
    let mut request = client.never_request();
    request.get().set_slot(*slot);
    request.send().promise.await?;
    Ok(())
}

/// So many copies of a message.
#[derive(Clone)]
pub(super) struct Items {
    pub(super) message: Message,
    pub(super) count: u32,
}

pub(super) async fn items(client: &echo::Client, items: &Items) -> Result<()> {
    ask(client, items, false).await
}

pub(super) async fn items_channel(client: &echo::Client, items: &Items) -> Result<()> {
    ask(client, items, true).await
}

async fn ask(client: &echo::Client, items: &Items, out_of_task: bool) -> Result<()> {
    let received = Received::new(items);
    let mut request = client.items_request();
    let mut params = request.get();
    params.set_text(items.message.text());
    params.set_count(items.count);
    params.set_out_of_task(out_of_task);
    params.set_sink(capnp_rpc::new_client_from_rc(Rc::clone(&received)));
    request.send().promise.await?;
    received.end(items.count)
}

pub(super) async fn bidi_items(client: &echo::Client, items: &Items) -> Result<()> {
    let received = Received::new(items);
    let mut request = client.bidi_items_request();
    request.get().set_back(capnp_rpc::new_client_from_rc(Rc::clone(&received)));
    // Calls of what the answer will hold need not wait for it.
    let call = request.send();
    send_copies(&call.pipeline.get_there(), items.message.text(), items.count).await?;
    received.end(items.count)
}

/// Where items arrive.
struct Received {
    message: Message,
    count: Cell<u32>,
}

impl Received {
    fn new(items: &Items) -> Rc<Self> {
        Rc::new(Self { message: items.message.clone(), count: Cell::new(0) })
    }

    /// Whether all have come.
    fn end(&self, expected: u32) -> Result<()> {
        match self.count.get() {
            count if count == expected => Ok(()),
            count => Err(format!("{count} items came instead of {expected}").into()),
        }
    }
}

impl sink::Server for Received {
    async fn item(self: Rc<Self>, params: sink::ItemParams) -> Result<(), Error> {
        let checked = self.message.check(params.get()?.get_text()?.to_str()?);
        checked.map_err(|error| Error::failed(error.to_string()))?;
        self.count.set(self.count.get() + 1);
        Ok(())
    }

    async fn end(self: Rc<Self>, _: sink::EndParams, _: sink::EndResults) -> Result<(), Error> {
        Ok(())
    }
}
