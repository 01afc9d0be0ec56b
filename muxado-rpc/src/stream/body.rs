//! The items of a body on their way, whatever their type: made here, or sent by the peer.

mod fill;
mod frames;
mod received;
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

pub(crate) use self::{
    fill::{encode, fill},
    received::ReceivedBody,
    source::StreamBody,
};
use super::deadline::Deadline;
use crate::{
    Body, BodyEnd, BodyFrame, Code, Codec, Metadata, MethodInfo, MethodRef, Status,
    codec::{json::parse_sound, msgpack::decode_sound},
    message::{
        body::{BodyEngine, Hook},
        limits::SendLimit,
        response::Failure,
    },
    support::{
        deadline,
        exclusive::Exclusive,
        panics::{self, Panic},
    },
    wire::{
        ItemMessage, MessageDecoder, decode_item_message, push_message, quick_item, quick_json, quick_packed,
        received_size,
    },
};

/// What is in every [`Body`]: where its items come from, and who wants to know of its end.
pub(crate) struct BodyStream {
    codec: Codec,
    source: Source,
    hooks: Exclusive<Vec<Hook>>,
    /// The end was returned as a frame.
    is_told: bool,
    /// It ended, and there was none.
    was_absent: bool,
}

enum Source {
    /// Made on this side.
    Local(Local),
    /// Made by the peer.
    Received(ReceivedBody),
    /// Those of a call that is still being made.
    Opening(Exclusive<Opening>),
    /// Nothing more to come.
    Over,
}

/// Gives items whose first arrival was taken out, and that arrival.
type Opening = Pin<Box<dyn Future<Output = (Box<BodyStream>, BodyEvent)> + Send>>;

struct Local {
    items: Exclusive<BoxBodySource>,
    /// Finds the messages again, for a receiver on this side.
    decoder: MessageDecoder,
    /// The time limit, if no connection holds the call to it.
    limit: Option<Limit>,
}

/// The time limit of a body that is made on this side, and the method that it is of.
struct Limit {
    method: MethodRef,
    deadline: Deadline,
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

    /// Whether it ended, and there was no body at all: that of a call whose shape is not known.
    fn is_absent(&self) -> bool {
        false
    }
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

impl BodyStream {
    /// A body whose items are made on this side.
    pub(crate) fn local(codec: Codec, items: impl BodySource + 'static) -> Body {
        let decoder = MessageDecoder::new(u32::MAX as usize);
        Self::with(
            codec,
            Source::Local(Local { items: Exclusive::new(Box::pin(items)), decoder, limit: None }),
        )
    }

    /// A body that the peer sends.
    pub(crate) fn received(codec: Codec, received: ReceivedBody) -> Body {
        Self::with(codec, Source::Received(received))
    }

    /// A body that turns out with the first thing that comes. `opening` gives it, and that.
    pub(crate) fn opening(
        codec: Codec,
        opening: impl Future<Output = (Box<Self>, BodyEvent)> + Send + 'static,
    ) -> Body {
        Self::with(codec, Source::Opening(Exclusive::new(Box::pin(opening))))
    }

    /// An empty body.
    pub(crate) fn over(codec: Codec) -> Body {
        Self::with(codec, Source::Over)
    }

    fn with(codec: Codec, source: Source) -> Body {
        Body::new(Self {
            codec,
            source,
            hooks: Exclusive::new(Vec::new()),
            is_told: false,
            was_absent: false,
        })
    }

    /// Returns what is in a body.
    pub(crate) fn of(body: Body) -> Box<Self> {
        body.into_engine()
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Holds the items to a time limit, unless they are held to an earlier one. Those of a call that is still being
    /// made are held to the limit of that call.
    pub(crate) fn hold_to(body: &mut Body, method: MethodRef, deadline: Deadline) {
        match &mut body.engine_mut::<Self>().source {
            Source::Local(local) => {
                if local.limit.as_ref().is_none_or(|held| deadline.limit().at() < held.deadline.limit().at())
                {
                    local.limit = Some(Limit { method, deadline });
                }
            }
            Source::Received(received) => received.hold_to(deadline),
            Source::Opening(_) | Source::Over => {}
        }
    }

    /// Lets go of what makes the items of a body that nobody reads.
    pub(crate) fn end_of(body: &mut Body, result: &Result<(), Failure>) -> Result<(), Panic> {
        body.engine_mut::<Self>().end(result)
    }

    /// Makes an end without a message an error, since the method turned out to take a body.
    pub(crate) fn expect_end(body: &mut Body) {
        if let Source::Received(received) = &mut body.engine_mut::<Self>().source {
            received.expect_end();
        }
    }

    /// Whether it has ended, and there was no body at all.
    pub(crate) const fn was_absent(&self) -> bool {
        self.was_absent
    }

    /// Puts something around the making of items on this side.
    pub(crate) fn wrap(body: &mut Body, wrap: impl FnOnce(BoxBodySource) -> BoxBodySource) {
        let source = &mut body.engine_mut::<Self>().source;
        *source = match std::mem::replace(source, Source::Over) {
            Source::Local(local) => {
                let items = Exclusive::new(wrap(local.items.into_inner()));
                Source::Local(Local { items, ..local })
            }
            other => other,
        };
    }

    /// Metadata of a peer is bounded; none is of this side.
    pub(crate) fn check_metadata(&self, method: &MethodInfo, metadata: &Metadata) -> Result<(), Status> {
        match &self.source {
            Source::Received(received) => received.check_metadata(method, metadata),
            Source::Local(_) | Source::Opening(_) | Source::Over => Ok(()),
        }
    }

    /// The end that a message stated, as far as it is to be believed.
    pub(crate) fn believed(&self, end: Result<(), Failure>) -> Result<(), Failure> {
        match &self.source {
            Source::Received(received) => received.believed(end),
            Source::Local(_) | Source::Opening(_) | Source::Over => end,
        }
    }

    /// The next item for a receiver on this side, if it is here and its message has nothing else in it.
    /// Otherwise, [`poll_event`](Self::poll_event) tells.
    #[inline]
    pub(crate) fn next_quick<T: DeserializeOwned>(&mut self) -> Option<T> {
        let decoder = match &mut self.source {
            Source::Received(received) => received.decoder()?,
            Source::Local(local) => &mut local.decoder,
            Source::Opening(_) | Source::Over => return None,
        };
        pop_item(self.codec, decoder)
    }

    /// The next message for a receiver on this side.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<BodyEvent> {
        match &mut self.source {
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(Some(message)) => Poll::Ready(BodyEvent::Message(message)),
                Ok(None) => Poll::Ready(BodyEvent::End(Ok(()), Metadata::new())),
                Err(status) => Poll::Ready(BodyEvent::End(Err(Failure::Status(status)), Metadata::new())),
            },
            Source::Local(local) => local.poll_event(cx),
            Source::Opening(opening) => {
                let (items, arrival) = ready!(opening.get_mut().as_mut().poll(cx));
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
        let mut step = match &mut self.source {
            Source::Local(local) => ready!(local.poll_step(cx, limit, buf)),
            Source::Received(received) => match ready!(received.poll_message(cx)) {
                Ok(None) => Step::End(Ok(()), Metadata::new()),
                Ok(Some(message)) => match pass_on(method, self.codec, &message, limit, buf) {
                    Step::End(result, trailer) => Step::End(received.believed(result), trailer),
                    filled => filled,
                },
                Err(status) => Step::End(Err(Failure::Status(status)), Metadata::new()),
            },
            Source::Opening(opening) => {
                let (items, arrival) = ready!(opening.get_mut().as_mut().poll(cx));
                self.take_over(items);
                match arrival {
                    BodyEvent::Message(message) => pass_on(method, self.codec, &message, limit, buf),
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
    fn take_over(&mut self, mut items: Box<Self>) {
        self.source = std::mem::replace(&mut items.source, Source::Over);
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
        self.was_absent |= match &mut self.source {
            Source::Received(received) => received.is_absent(),
            Source::Local(local) => local.items.get_mut().is_absent(),
            Source::Opening(_) | Source::Over => false,
        };
        let source = std::mem::replace(&mut self.source, Source::Over);
        let dropped = panics::catch(|| drop(source));
        self.tell(if dropped.is_ok() { end } else { BodyEnd::Failed(Code::Internal) });
        dropped
    }

    fn tell(&mut self, end: BodyEnd) {
        for hook in self.hooks.get_mut().drain(..) {
            // One that panics must not keep the others from hearing of it.
            if panics::catch(|| hook(end)).is_err() {
                panics::report("a hook of Body::on_end panicked");
            }
        }
    }
}

/// The item in the next message, if it is here in one piece and there is nothing else in it.
#[inline(always)]
fn pop_item<T: DeserializeOwned>(codec: Codec, decoder: &mut MessageDecoder) -> Option<T> {
    match codec {
        Codec::MessagePack => decoder.pop_packed(|message| decode_sound(quick_packed(message)?)),
        Codec::Json => decoder.pop_json(|message| parse_sound(quick_json(message)?)),
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
        let items = self.items.get_mut().as_mut();
        let Some(Limit { method, deadline }) = &mut self.limit else {
            return items.poll_fill(cx, limit, buf);
        };
        let at = deadline.limit().at();
        if !deadline.has_run_out() {
            if let Poll::Ready(step) = deadline::within(Some(at), || items.poll_fill(cx, limit, buf)) {
                deadline.note_taken(buf.len());
                return Poll::Ready(step);
            }
            ready!(deadline.poll_exceeded(cx));
        }
        let status = deadline.limit().status(method, NOT_OVER);
        Poll::Ready(Step::End(Err(Failure::Status(status)), Metadata::new()))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<BodyEvent> {
        loop {
            match self.decoder.pop() {
                Ok(Some(message)) => return Poll::Ready(BodyEvent::Message(message)),
                Ok(None) => {}
                Err(_) => {
                    let status = Status::resource_exhausted("an item of 4 GiB or more");
                    return Poll::Ready(BodyEvent::End(Err(Failure::Status(status)), Metadata::new()));
                }
            }
            let mut buf = Vec::new();
            match ready!(self.poll_step(cx, SendLimit::LARGEST, &mut buf)) {
                Step::Filled => self.decoder.push(buf.into()),
                Step::End(result, trailer) => return Poll::Ready(BodyEvent::End(result, trailer)),
            }
        }
    }
}

impl BodyEngine for BodyStream {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn on_end(&mut self, hook: Hook) {
        self.hooks.get_mut().push(hook);
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        self.poll_next_frame(cx)
    }

    fn kind(&self) -> &'static str {
        match &self.source {
            Source::Local(_) => "local",
            Source::Received(_) => "received",
            Source::Opening(_) => "opening",
            Source::Over => "over",
        }
    }
}

impl Drop for BodyStream {
    fn drop(&mut self) {
        if self.abandon().is_err() {
            panics::report("what makes items panicked when it was dropped");
        }
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (codec, source) = (self.codec, self.kind());
        f.debug_struct("BodyStream").field("codec", &codec).field("source", &source).finish_non_exhaustive()
    }
}

/// What is said of a body that is not over in time.
const NOT_OVER: &str = "the items did not end within the time limit";
