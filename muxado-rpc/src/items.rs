//! The items of a call on their way, whatever their type.

mod fill;
mod half;
mod received;
mod send;
mod sink;
mod source;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use serde::de::DeserializeOwned;

pub use self::sink::ItemSink;
pub(crate) use self::{
    half::{ReadHalf, WriteHalf},
    received::{Limit, Pumping, Received},
    send::{Sending, pump},
    sink::serve,
    source::StreamItems,
};
use crate::{
    Code, Codec, Metadata, MethodInfo, Status,
    response::Failure,
    wire::{ItemMessage, MessageReader, decode_item_message, push_message, quick_item, received_size},
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
    /// Nothing more to come.
    Over,
}

struct Local {
    items: Pin<Box<dyn PollItems>>,
    /// Finds the messages again, for a receiver on this side.
    reader: MessageReader,
}

/// What makes items.
pub(crate) trait PollItems: Send {
    /// Appends messages of one item each, of at most `limit` bytes, or says how the items ended, in
    /// which case nothing is appended. It is not polled after the end.
    fn poll_fill(self: Pin<&mut Self>, cx: &mut Context<'_>, limit: usize, buf: &mut Vec<u8>) -> Poll<Step>;
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

impl Items {
    /// Items made on this side.
    pub(crate) fn local(codec: Codec, items: impl PollItems + 'static) -> Self {
        let reader = MessageReader::new(u32::MAX as usize);
        let source = Source::Local(Local { items: Box::pin(items), reader });
        Self { inner: Box::new(Inner { codec, source, hooks: Vec::new() }) }
    }

    /// Items that the peer sends.
    pub(crate) fn received(codec: Codec, received: Received) -> Self {
        let source = Source::Received(received);
        Self { inner: Box::new(Inner { codec, source, hooks: Vec::new() }) }
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
            Source::Local(_) | Source::Over => Ok(()),
        }
    }

    /// The next item for a receiver on this side, if it is here and its message has nothing else in it.
    /// Otherwise, [`poll_arrival`](Self::poll_arrival) tells.
    pub(crate) fn next_quick<T: DeserializeOwned>(&mut self) -> Option<T> {
        let Inner { codec, source, .. } = &mut *self.inner;
        let reader = match source {
            Source::Received(received) => received.reader_mut(),
            Source::Local(local) => &mut local.reader,
            Source::Over => return None,
        };
        reader.pop_with(|message| codec.decode(quick_item(*codec, message)?).ok())
    }

    /// The next message for a receiver on this side.
    pub(crate) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        match &mut self.inner.source {
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(message) => Poll::Ready(Arrival::Message(message)),
                Err(status) => Poll::Ready(Arrival::End(Err(Failure::Status(status)), Metadata::new())),
            },
            Source::Local(local) => local.poll_arrival(cx),
            Source::Over => Poll::Ready(Arrival::End(Ok(()), Metadata::new())),
        }
    }

    /// The next messages for a peer; see [`PollItems::poll_fill`].
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        method: &MethodInfo,
        limit: usize,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        let step = match &mut self.inner.source {
            Source::Local(local) => ready!(local.items.as_mut().poll_fill(cx, limit, buf)),
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(message) => pass_on(method, self.inner.codec, &message, limit, buf),
                Err(status) => Step::End(Err(Failure::Status(status)), Metadata::new()),
            },
            Source::Over => Step::End(Ok(()), Metadata::new()),
        };
        if let Step::End(result, _) = &step {
            self.end(result);
        }
        Poll::Ready(step)
    }

    /// Lets go of what makes the items, and tells those who want to know.
    pub(crate) fn end(&mut self, result: &Result<(), Failure>) {
        self.inner.source = Source::Over;
        self.tell(match result {
            Ok(()) => ItemsEnd::Complete,
            Err(failure) => ItemsEnd::Failed(failure.code()),
        });
    }

    fn tell(&mut self, end: ItemsEnd) {
        for hook in self.inner.hooks.drain(..) {
            hook(end);
        }
    }
}

/// Appends a received message for the next receiver.
fn pass_on(method: &MethodInfo, codec: Codec, message: &Bytes, limit: usize, buf: &mut Vec<u8>) -> Step {
    let size = received_size(codec, message);
    if size > limit {
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

/// What to say of an item above the limit of the side that sends it.
fn too_large(method: &MethodInfo, size: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "{method}: an item of {size} bytes, over the sending side's limit of {limit} (Limits::max_message_size)"
    ))
}

impl Local {
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
            match ready!(self.items.as_mut().poll_fill(cx, u32::MAX as usize, &mut buf)) {
                Step::Filled => self.reader.push(buf.into()),
                Step::End(result, trailer) => return Poll::Ready(Arrival::End(result, trailer)),
            }
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.tell(ItemsEnd::Dropped);
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.inner.source {
            Source::Local(_) => "local",
            Source::Received(_) => "received",
            Source::Over => "over",
        };
        f.debug_struct("Items").field("codec", &self.codec()).field("source", &source).finish_non_exhaustive()
    }
}
