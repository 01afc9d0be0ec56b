//! Bodies as frames, for those who see and replace them: layers, relays, gateways.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use pin_project::pin_project;
use serde::Serialize;

use super::{BodyEvent, BodySource, BodyStream, Source, Step, StreamBody, fill::BATCH};
use crate::{
    Body, BodyFrame, CallError, Codec, Metadata, MethodInfo, MethodRef, RawError, Status,
    message::{limits::SendLimit, raw_value::raw_bytes, response::Failure},
    wire::{ItemMessage, decode_item_message, push_metadata_message, push_raw_item},
};

impl Body {
    /// Creates a body of frames. If they end without a [`BodyFrame::End`], all items came. What follows one is discarded.
    ///
    /// An item that is not one value in this codec ends the body as `internal`.
    ///
    /// ```
    /// use futures_util::stream;
    /// use muxado_rpc::{Body, BodyFrame, Codec};
    ///
    /// let body = Body::from_frames(Codec::Json, stream::iter([BodyFrame::Item("[1,2]".into())]));
    /// assert_eq!(body.codec(), Codec::Json);
    /// ```
    pub fn from_frames<S>(codec: Codec, frames: S) -> Self
    where
        S: Stream<Item = BodyFrame> + Send + 'static,
    {
        BodyStream::local(codec, FramesBody { frames, codec, end: None, is_empty: true })
    }

    /// Creates a body of values. The first error ends it.
    pub fn from_items<T, S>(codec: Codec, items: S) -> Self
    where
        T: Serialize,
        S: Stream<Item = Result<T, Status>> + Send + 'static,
    {
        BodyStream::local(codec, ResultsBody { items: StreamBody::new(&ITEMS, codec, items) })
    }

    /// Replaces the body by what `wrap` makes of its frames.
    ///
    /// This is how a layer runs code around each poll, for instance inside a span. `on_end` of the original body tells how
    /// that ended, or that it was dropped.
    ///
    /// ```
    /// use std::{pin::Pin, task::{Context, Poll}};
    ///
    /// use muxado_rpc::{Body, BodyFrame, Stream};
    /// use tracing::Span;
    ///
    /// struct InSpan(Body, Span);
    ///
    /// impl Stream for InSpan {
    ///     type Item = BodyFrame;
    ///
    ///     fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
    ///         let Self(body, span) = &mut *self;
    ///         span.in_scope(|| body.poll_frame(cx))
    ///     }
    /// }
    ///
    /// fn trace(body: &mut Body, span: Span) {
    ///     body.wrap(|body| InSpan(body, span));
    /// }
    /// # let _ = trace;
    /// ```
    pub fn wrap<S>(&mut self, wrap: impl FnOnce(Self) -> S)
    where
        S: Stream<Item = BodyFrame> + Send + 'static,
    {
        let codec = self.codec();
        let body = std::mem::replace(self, BodyStream::over(codec));
        *self = Self::from_frames(codec, wrap(body));
    }

    /// Replaces each frame by what `map` makes of it. A frame that is turned into an [end](BodyFrame::End) is the last.
    pub fn map_frames(&mut self, map: impl FnMut(BodyFrame) -> BodyFrame + Send + 'static) {
        self.wrap(|body| Mapped { body, map });
    }

    /// Calls `inspect` with each frame on its way.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    ///
    /// use muxado_rpc::{BodyFrame, Response};
    ///
    /// fn count_items(mut response: Response, items: Arc<AtomicUsize>) -> Response {
    ///     if let Some(body) = response.body_mut() {
    ///         body.inspect_frames(move |frame| {
    ///             if let BodyFrame::Item(_) = frame {
    ///                 items.fetch_add(1, Ordering::Relaxed);
    ///             }
    ///         });
    ///     }
    ///     response
    /// }
    /// # let _ = count_items;
    /// ```
    pub fn inspect_frames(&mut self, mut inspect: impl FnMut(&BodyFrame) + Send + 'static) {
        self.map_frames(move |frame| {
            inspect(&frame);
            frame
        });
    }
}

impl BodyStream {
    /// The next frame, for who takes the body apart; `None` after the end.
    pub(super) fn poll_next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        if self.is_told {
            return Poll::Ready(None);
        }
        let codec = self.codec;
        let message = match ready!(self.poll_event(cx)) {
            BodyEvent::Message(message) => self.understand(&message).map(|found| (found, message)),
            BodyEvent::End(result, trailer) => Ok((ItemMessage::End(result, trailer), Bytes::new())),
        };
        let (result, trailer) = match message {
            Ok((ItemMessage::Item(at), message)) => {
                return Poll::Ready(Some(BodyFrame::Item(message.slice(at))));
            }
            Ok((ItemMessage::Metadata(metadata), _)) => {
                return Poll::Ready(Some(BodyFrame::Metadata(metadata)));
            }
            Ok((ItemMessage::End(result, trailer), _)) => (self.believed(result), trailer),
            Err(status) => (Err(Failure::Status(status)), Metadata::new()),
        };
        self.is_told = true;
        if let Err(panic) = self.end(&result) {
            panic.resume();
        }
        let result = match result {
            Ok(()) => Ok(()),
            Err(Failure::App(error)) => Err(CallError::App(RawError::new(codec, error))),
            Err(Failure::Status(status)) => Err(CallError::Status(status)),
            Err(Failure::Panic(panic)) => panic.resume(),
        };
        Poll::Ready((!self.was_absent()).then_some(BodyFrame::End { result, trailer }))
    }

    /// What a message says, if its metadata are within bounds.
    fn understand(&self, message: &Bytes) -> Result<ItemMessage, Status> {
        let method = match &self.source {
            Source::Received(received) => received.method().clone(),
            Source::Local(_) | Source::Opening(_) | Source::Over => MethodRef::from(&ITEMS),
        };
        let found = decode_item_message(&method, self.codec, message)?;
        if let ItemMessage::Metadata(metadata) | ItemMessage::End(_, metadata) = &found {
            self.check_metadata(&method, metadata)?;
        }
        Ok(found)
    }
}

/// Stands for the method in errors of bodies that do not know theirs.
static ITEMS: MethodInfo = MethodInfo::new("a stream", 0, "items", 0);

/// Frames, as messages.
#[pin_project]
struct FramesBody<S> {
    #[pin]
    frames: S,
    codec: Codec,
    end: Option<(Result<(), Failure>, Metadata)>,
    /// There was no frame at all.
    is_empty: bool,
}

impl<S: Stream<Item = BodyFrame> + Send> BodySource for FramesBody<S> {
    fn poll_fill(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        let mut this = self.project();
        while this.end.is_none() && buf.len() < BATCH {
            let Poll::Ready(frame) = this.frames.as_mut().poll_next(cx) else { break };
            *this.is_empty &= frame.is_none();
            *this.end = match frame {
                Some(BodyFrame::Item(item)) => push(*this.codec, item, limit, buf)
                    .err()
                    .map(|status| (Err(Failure::Status(status)), Metadata::new())),
                Some(BodyFrame::Metadata(metadata)) => {
                    push_metadata_message(*this.codec, &metadata, buf);
                    None
                }
                Some(BodyFrame::End { result, trailer }) => Some((failure(*this.codec, result), trailer)),
                None => Some((Ok(()), Metadata::new())),
            };
        }
        if !buf.is_empty() {
            return Poll::Ready(Step::Filled);
        }
        match this.end.take() {
            Some((result, trailer)) => Poll::Ready(Step::End(result, trailer)),
            None => Poll::Pending,
        }
    }

    fn is_absent(&self) -> bool {
        self.is_empty
    }
}

/// Appends an item that is encoded already.
fn push(codec: Codec, item: Bytes, limit: SendLimit, buf: &mut Vec<u8>) -> Result<(), Status> {
    let item = raw_bytes(codec, item)
        .map_err(|error| Status::internal(format!("an item that is not one value in {codec}: {error}")))?;
    push_raw_item(codec, &item, limit.bytes, buf).map_err(|size| super::too_large(&ITEMS, size, limit))
}

fn failure(codec: Codec, result: Result<(), CallError<RawError>>) -> Result<(), Failure> {
    result.map_err(|error| match error {
        CallError::App(error) => error.into_encoded(codec).map_or_else(Failure::Status, Failure::App),
        CallError::Status(status) => Failure::Status(status),
    })
}

/// Values up to the first error, as messages.
#[pin_project]
struct ResultsBody<S> {
    #[pin]
    items: StreamBody<S>,
}

impl<T, S> BodySource for ResultsBody<S>
where
    T: Serialize,
    S: Stream<Item = Result<T, Status>> + Send,
{
    fn poll_fill(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        self.project().items.poll_fill_results(cx, limit, buf)
    }
}

/// The frames of a body, each replaced.
struct Mapped<F> {
    body: Body,
    map: F,
}

/// Nothing in it is ever pinned.
impl<F> Unpin for Mapped<F> {}

impl<F: FnMut(BodyFrame) -> BodyFrame> Stream for Mapped<F> {
    type Item = BodyFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        let Self { body, map } = &mut *self;
        body.poll_frame(cx).map(|frame| frame.map(map))
    }
}
