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
    received::{ForwardTask, Received},
    send::{BodyWriter, forward},
    sink::serve,
    source::StreamBody,
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

/// The stream of a call's items as layers see it: encoded, and still to come.
///
/// A streaming call is not over when its [`Response`](crate::Response) is there. A layer learns of its end with
/// [`on_end`](Self::on_end).
///
/// ```
/// use muxado_rpc::{Response, Status};
///
/// fn watch(mut response: Response) -> Response {
///     if let Some(body) = response.body_mut() {
///         body.on_end(|end| println!("the stream ended: {end:?}"));
///     }
///     response
/// }
/// # let _ = watch;
/// ```
pub struct Body {
    // Boxed, so that requests and responses without items have no room for them.
    inner: Box<Inner>,
}

struct Inner {
    codec: Codec,
    source: Source,
    hooks: Vec<Hook>,
}

type Hook = Box<dyn FnOnce(BodyEnd) + Send>;

/// How a [`Body`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyEnd {
    /// All items came.
    Complete,
    /// It ended with an error of this code.
    Failed(Code),
    /// It was dropped before its end.
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
type Opening = Pin<Box<dyn Future<Output = (Body, BodyEvent)> + Send>>;

struct Local {
    items: BoxBodySource,
    /// Finds the messages again, for a receiver on this side.
    reader: MessageReader,
    /// The time limit, if no connection holds the call to it.
    expiry: Option<Expiry>,
}

/// Items of whatever make.
pub(crate) type BoxBodySource = Pin<Box<dyn BodySource>>;

/// What makes items.
pub(crate) trait BodySource: Send {
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
pub(crate) enum BodyEvent {
    Message(Bytes),
    End(Result<(), Failure>, Metadata),
}

impl BodyEvent {
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

impl Body {
    /// Items made on this side.
    pub(crate) fn local(codec: Codec, items: impl BodySource + 'static) -> Self {
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
        opening: impl Future<Output = (Self, BodyEvent)> + Send + 'static,
    ) -> Self {
        let source = Source::Opening(Box::pin(opening));
        Self { inner: Box::new(Inner { codec, source, hooks: Vec::new() }) }
    }

    /// No items.
    pub(crate) fn over(codec: Codec) -> Self {
        Self { inner: Box::new(Inner { codec, source: Source::Over, hooks: Vec::new() }) }
    }

    /// Holds the items to a time limit, unless they are held to an earlier one. Those of a call that is still being
    /// made are held to the limit of that call.
    pub(crate) fn expire(&mut self, expiry: Expiry) {
        let held = match &mut self.inner.source {
            Source::Local(local) => &mut local.expiry,
            Source::Received(received) => received.expiry_mut(),
            Source::Opening(_) | Source::Over => return,
        };
        if held.as_ref().is_none_or(|held| expiry.at() < held.at()) {
            *held = Some(expiry);
        }
    }

    /// Puts something around the making of items on this side.
    pub(crate) fn wrap(&mut self, wrap: impl FnOnce(BoxBodySource) -> BoxBodySource) {
        let source = &mut self.inner.source;
        *source = match std::mem::replace(source, Source::Over) {
            Source::Local(local) => Source::Local(Local { items: wrap(local.items), ..local }),
            other => other,
        };
    }

    /// Calls `hook` when the stream has ended or is dropped.
    pub fn on_end(&mut self, hook: impl FnOnce(BodyEnd) + Send + 'static) {
        self.inner.hooks.push(Box::new(hook));
    }

    /// Returns the codec of the items.
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
    /// Otherwise, [`poll_event`](Self::poll_event) tells.
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
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<BodyEvent> {
        match &mut self.inner.source {
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(message) => Poll::Ready(BodyEvent::Message(message)),
                Err(status) => Poll::Ready(BodyEvent::End(Err(Failure::Status(status)), Metadata::new())),
            },
            Source::Local(local) => local.poll_event(cx),
            Source::Opening(opening) => {
                let (items, arrival) = ready!(opening.as_mut().poll(cx));
                self.take_over(items);
                Poll::Ready(arrival)
            }
            Source::Over => Poll::Ready(BodyEvent::End(Ok(()), Metadata::new())),
        }
    }

    /// The next messages for a peer; see [`BodySource::poll_fill`].
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
                    BodyEvent::Message(message) => pass_on(method, self.inner.codec, &message, limit, buf),
                    BodyEvent::End(result, trailer) => Step::End(result, trailer),
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
            Ok(()) => BodyEnd::Complete,
            Err(failure) => BodyEnd::Failed(failure.code()),
        })
    }

    /// Drops the source of the items when nobody wants further ones.
    pub(crate) fn abandon(&mut self) -> Result<(), Panic> {
        self.close(BodyEnd::Dropped)
    }

    fn close(&mut self, end: BodyEnd) -> Result<(), Panic> {
        let source = std::mem::replace(&mut self.inner.source, Source::Over);
        let dropped = panics::catch(|| drop(source));
        self.tell(if dropped.is_ok() { end } else { BodyEnd::Failed(Code::Internal) });
        dropped
    }

    fn tell(&mut self, end: BodyEnd) {
        for hook in self.inner.hooks.drain(..) {
            // One that panics must not keep the others from hearing of it.
            if panics::catch(|| hook(end)).is_err() {
                panics::report("a hook of Body::on_end panicked");
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
    /// As [`BodySource::poll_fill`], within the time limit.
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

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<BodyEvent> {
        loop {
            match self.reader.pop() {
                Ok(Some(message)) => return Poll::Ready(BodyEvent::Message(message)),
                Ok(None) => {}
                Err(_) => {
                    let status = Status::resource_exhausted("an item of 4 GiB or more");
                    return Poll::Ready(BodyEvent::End(Err(Failure::Status(status)), Metadata::new()));
                }
            }
            let mut buf = Vec::new();
            match ready!(self.poll_step(cx, SendLimit::LARGEST, &mut buf)) {
                Step::Filled => self.reader.push(buf.into()),
                Step::End(result, trailer) => return Poll::Ready(BodyEvent::End(result, trailer)),
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.abandon().is_err() {
            panics::report("what makes items panicked when it was dropped");
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.inner.source {
            Source::Local(_) => "local",
            Source::Received(_) => "received",
            Source::Opening(_) => "opening",
            Source::Over => "over",
        };
        f.debug_struct("Body").field("codec", &self.codec()).field("source", &source).finish_non_exhaustive()
    }
}
