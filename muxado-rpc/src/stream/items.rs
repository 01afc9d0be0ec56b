//! The items of a call on their way, whatever their type.

mod expiry;
mod fill;
mod half;
mod received;
mod send;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use serde::de::DeserializeOwned;

pub use self::sink::ItemSink;
pub(crate) use self::{
    expiry::{Expiry, Limit},
    half::{ReadHalf, WriteHalf},
    received::{Pumping, Received},
    send::{Sending, pump},
    sink::serve,
    source::StreamItems,
};
use crate::{
    Code, Codec, Metadata, MethodInfo, Status,
    codec::msgpack::decode_sound,
    message::{limits::SendLimit, response::Failure},
    support::{
        deadline,
        panics::{self, Panic},
    },
    wire::{
        ItemMessage, MessageReader, decode_item_message, push_message, quick_item, quick_json, quick_packed,
        received_size,
    },
};

/// The items of a streaming call, as layers pass them on: encoded, and still to come.
///
/// A layer that wants to know when the call is over, which for a streaming method is not when its
/// [`Response`](crate::Response) is there, leaves a hook with [`on_end`](Self::on_end).
///
/// ```
/// use muxado_rpc::{Response, Status};
///
/// fn watch(mut response: Response) -> Response {
///     if let Some(items) = response.items_mut() {
///         items.on_end(|end| println!("the stream ended: {end:?}"));
///     }
///     response
/// }
/// # let _ = watch;
/// ```
pub struct Items {
    // Boxed, so that requests and responses without items have no room for them.
    inner: Box<Inner>,
}

struct Inner {
    codec: Codec,
    source: Source,
    hooks: Vec<Hook>,
}

type Hook = Box<dyn FnOnce(ItemsEnd) + Send>;

/// How the items of a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemsEnd {
    /// All came.
    Complete,
    /// A failure took the place of the next one.
    Failed(Code),
    /// Nobody wanted further ones.
    Dropped,
}

enum Source {
    /// Made on this side.
    Local(Local),
    /// Made by the peer.
    Received(Received),
    /// Those of a call that is still being made.
    Opening(Opening),
    /// Nothing more to come.
    Over,
}

/// Gives items whose first arrival was taken out, and that arrival.
type Opening = Pin<Box<dyn Future<Output = (Items, Arrival)> + Send>>;

struct Local {
    items: BoxItems,
    /// Finds the messages again, for a receiver on this side.
    reader: MessageReader,
    /// The time limit, if no connection holds the call to it.
    expiry: Option<Expiry>,
}

/// Items of whatever make.
pub(crate) type BoxItems = Pin<Box<dyn PollItems>>;

/// What makes items.
pub(crate) trait PollItems: Send {
    /// Appends messages of one item each, of at most the bytes of `limit`, or says how the items ended, in
    /// which case nothing is appended. It is not polled after the end.
    fn poll_fill(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step>;
}

/// What polling for items came to.
pub(crate) enum Step {
    Filled,
    End(Result<(), Failure>, Metadata),
}

/// The next thing that a receiver of items sees.
pub(crate) enum Arrival {
    Message(Bytes),
    End(Result<(), Failure>, Metadata),
}

impl Arrival {
    /// The status that the items end with, and the trailer; else what it is.
    pub(crate) fn into_failure(self, method: &MethodInfo, codec: Codec) -> Result<(Status, Metadata), Self> {
        let understood = match self {
            Self::Message(message) if quick_item(codec, &message).is_none() => {
                match decode_item_message(method, codec, &message) {
                    Ok(ItemMessage::End(end, trailer)) => Self::End(end, trailer),
                    _ => Self::Message(message),
                }
            }
            other => other,
        };
        match understood {
            Self::End(Err(Failure::Status(status)), trailer) => Ok((status, trailer)),
            other => Err(other),
        }
    }
}

impl Items {
    /// Items made on this side.
    pub(crate) fn local(codec: Codec, items: impl PollItems + 'static) -> Self {
        let reader = MessageReader::new(u32::MAX as usize);
        let source = Source::Local(Local { items: Box::pin(items), reader, expiry: None });
        Self { inner: Box::new(Inner { codec, source, hooks: Vec::new() }) }
    }

    /// Items that the peer sends.
    pub(crate) fn received(codec: Codec, received: Received) -> Self {
        let source = Source::Received(received);
        Self { inner: Box::new(Inner { codec, source, hooks: Vec::new() }) }
    }

    /// Items that turn out with the first thing that comes. `opening` gives them, and that.
    pub(crate) fn opening(
        codec: Codec,
        opening: impl Future<Output = (Self, Arrival)> + Send + 'static,
    ) -> Self {
        let source = Source::Opening(Box::pin(opening));
        Self { inner: Box::new(Inner { codec, source, hooks: Vec::new() }) }
    }

    /// No items.
    pub(crate) fn over(codec: Codec) -> Self {
        Self { inner: Box::new(Inner { codec, source: Source::Over, hooks: Vec::new() }) }
    }

    /// Holds the making of items on this side to a time limit.
    pub(crate) fn expire(&mut self, expiry: Expiry) {
        if let Source::Local(local) = &mut self.inner.source {
            local.expiry = Some(expiry);
        }
    }

    /// Puts something around the making of items on this side.
    pub(crate) fn wrap(&mut self, wrap: impl FnOnce(BoxItems) -> BoxItems) {
        let source = &mut self.inner.source;
        *source = match std::mem::replace(source, Source::Over) {
            Source::Local(local) => Source::Local(Local { items: wrap(local.items), ..local }),
            other => other,
        };
    }

    /// Calls `hook` once there are no more items: at their end, or when they are dropped.
    pub fn on_end(&mut self, hook: impl FnOnce(ItemsEnd) + Send + 'static) {
        self.inner.hooks.push(Box::new(hook));
    }

    /// The codec of the items.
    pub fn codec(&self) -> Codec {
        self.inner.codec
    }

    /// Metadata of a peer is bounded; none is of this side.
    pub(crate) fn check_metadata(&self, method: &MethodInfo, metadata: &Metadata) -> Result<(), Status> {
        match &self.inner.source {
            Source::Received(received) => received.check_metadata(method, metadata),
            Source::Local(_) | Source::Opening(_) | Source::Over => Ok(()),
        }
    }

    /// The end that a message stated, as far as it is to be believed.
    pub(crate) fn believed(&self, end: Result<(), Failure>) -> Result<(), Failure> {
        match &self.inner.source {
            Source::Received(received) => received.believed(end),
            Source::Local(_) | Source::Opening(_) | Source::Over => end,
        }
    }

    /// The next item for a receiver on this side, if it is here and its message has nothing else in it.
    /// Otherwise, [`poll_arrival`](Self::poll_arrival) tells.
    #[inline]
    pub(crate) fn next_quick<T: DeserializeOwned>(&mut self) -> Option<T> {
        let reader = match &mut self.inner.source {
            Source::Received(received) => received.reader(),
            Source::Local(local) => &mut local.reader,
            Source::Opening(_) | Source::Over => return None,
        };
        pop_item(self.inner.codec, reader)
    }

    /// The next message for a receiver on this side.
    pub(crate) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        match &mut self.inner.source {
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(message) => Poll::Ready(Arrival::Message(message)),
                Err(status) => Poll::Ready(Arrival::End(Err(Failure::Status(status)), Metadata::new())),
            },
            Source::Local(local) => local.poll_arrival(cx),
            Source::Opening(opening) => {
                let (items, arrival) = ready!(opening.as_mut().poll(cx));
                self.take_over(items);
                Poll::Ready(arrival)
            }
            Source::Over => Poll::Ready(Arrival::End(Ok(()), Metadata::new())),
        }
    }

    /// The next messages for a peer; see [`PollItems::poll_fill`].
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        method: &MethodInfo,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        let mut step = match &mut self.inner.source {
            Source::Local(local) => ready!(local.poll_step(cx, limit, buf)),
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(message) => match pass_on(method, self.inner.codec, &message, limit, buf) {
                    Step::End(result, trailer) => Step::End(received.believed(result), trailer),
                    filled => filled,
                },
                Err(status) => Step::End(Err(Failure::Status(status)), Metadata::new()),
            },
            Source::Opening(opening) => {
                let (items, arrival) = ready!(opening.as_mut().poll(cx));
                self.take_over(items);
                match arrival {
                    Arrival::Message(message) => pass_on(method, self.inner.codec, &message, limit, buf),
                    Arrival::End(result, trailer) => Step::End(result, trailer),
                }
            }
            Source::Over => Step::End(Ok(()), Metadata::new()),
        };
        if let Step::End(result, _) = &mut step
            && let Err(panic) = self.end(result)
        {
            *result = Err(Failure::Panic(panic));
        }
        Poll::Ready(step)
    }

    /// Goes on with the items of another.
    fn take_over(&mut self, mut items: Self) {
        self.inner.source = std::mem::replace(&mut items.inner.source, Source::Over);
    }

    /// Lets go of what makes the items, and tells those who want to know. A panic of what makes them is an end, too.
    pub(crate) fn end(&mut self, result: &Result<(), Failure>) -> Result<(), Panic> {
        self.close(match result {
            Ok(()) => ItemsEnd::Complete,
            Err(failure) => ItemsEnd::Failed(failure.code()),
        })
    }

    /// Drops the source of the items when nobody wants further ones.
    pub(crate) fn abandon(&mut self) -> Result<(), Panic> {
        self.close(ItemsEnd::Dropped)
    }

    fn close(&mut self, end: ItemsEnd) -> Result<(), Panic> {
        let source = std::mem::replace(&mut self.inner.source, Source::Over);
        let dropped = panics::catch(|| drop(source));
        self.tell(if dropped.is_ok() { end } else { ItemsEnd::Failed(Code::Internal) });
        dropped
    }

    fn tell(&mut self, end: ItemsEnd) {
        for hook in self.inner.hooks.drain(..) {
            // One that panics must not keep the others from hearing of it.
            if panics::catch(|| hook(end)).is_err() {
                panics::report("a hook of Items::on_end panicked");
            }
        }
    }
}

/// The item in the next message, if it is here in one piece and there is nothing else in it.
#[inline(always)]
fn pop_item<T: DeserializeOwned>(codec: Codec, reader: &mut MessageReader) -> Option<T> {
    match codec {
        Codec::MessagePack => reader.pop_packed(|message| decode_sound(quick_packed(message)?)),
        Codec::Json => reader.pop_json(|message| codec.decode(quick_json(message)?).ok()),
    }
}

/// Appends a received message for the next receiver.
fn pass_on(method: &MethodInfo, codec: Codec, message: &Bytes, limit: SendLimit, buf: &mut Vec<u8>) -> Step {
    let size = received_size(codec, message);
    if size > limit.bytes {
        let status = too_large(method, size, limit);
        return Step::End(Err(Failure::Status(status)), Metadata::new());
    }
    if quick_item(codec, message).is_none() {
        match decode_item_message(method, codec, message) {
            Ok(ItemMessage::End(end, trailer)) => return Step::End(end, trailer),
            Ok(_) => {}
            Err(status) => return Step::End(Err(Failure::Status(status)), Metadata::new()),
        }
    }
    push_message(codec, message, buf);
    Step::Filled
}

/// What to say of an item that this side may not send.
fn too_large(method: &MethodInfo, size: usize, limit: SendLimit) -> Status {
    let (whose, limit) = (limit.whose("sending", "receiving"), limit.bytes);
    Status::resource_exhausted(format!(
        "{method}: an item of {size} bytes, over the {whose} side's limit of {limit} (Limits::max_message_size)"
    ))
}

impl Local {
    /// As [`PollItems::poll_fill`], within the time limit.
    fn poll_step(&mut self, cx: &mut Context<'_>, limit: SendLimit, buf: &mut Vec<u8>) -> Poll<Step> {
        let items = self.items.as_mut();
        let Some(expiry) = &mut self.expiry else { return items.poll_fill(cx, limit, buf) };
        let status = match expiry.passed() {
            Some(status) => status,
            None => match deadline::within(Some(expiry.at()), || items.poll_fill(cx, limit, buf)) {
                Poll::Ready(step) => {
                    expiry.note_taken(buf.len());
                    return Poll::Ready(step);
                }
                Poll::Pending => ready!(expiry.poll(cx)),
            },
        };
        Poll::Ready(Step::End(Err(Failure::Status(status)), Metadata::new()))
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            match self.reader.pop() {
                Ok(Some(message)) => return Poll::Ready(Arrival::Message(message)),
                Ok(None) => {}
                Err(_) => {
                    let status = Status::resource_exhausted("an item of 4 GiB or more");
                    return Poll::Ready(Arrival::End(Err(Failure::Status(status)), Metadata::new()));
                }
            }
            let mut buf = Vec::new();
            match ready!(self.poll_step(cx, SendLimit::LARGEST, &mut buf)) {
                Step::Filled => self.reader.push(buf.into()),
                Step::End(result, trailer) => return Poll::Ready(Arrival::End(result, trailer)),
            }
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if self.abandon().is_err() {
            panics::report("what makes items panicked when it was dropped");
        }
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.inner.source {
            Source::Local(_) => "local",
            Source::Received(_) => "received",
            Source::Opening(_) => "opening",
            Source::Over => "over",
        };
        f.debug_struct("Items").field("codec", &self.codec()).field("source", &source).finish_non_exhaustive()
    }
}
