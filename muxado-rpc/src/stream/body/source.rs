//! Items that a stream of values makes: those of a request.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use pin_project::pin_project;
use serde::Serialize;

use super::{
    BodySource, Step,
    fill::{encode, fill},
};
use crate::{
    Codec, Metadata, MethodInfo,
    message::{limits::SendLimit, response::Failure},
};

/// The values of a stream, encoded.
#[pin_project]
pub(crate) struct StreamBody<S> {
    #[pin]
    stream: S,
    method: &'static MethodInfo,
    codec: Codec,
    end: Option<Result<(), Failure>>,
}

impl<S> StreamBody<S> {
    pub(crate) const fn new(method: &'static MethodInfo, codec: Codec, stream: S) -> Self {
        Self { stream, method, codec, end: None }
    }
}

impl<S> BodySource for StreamBody<S>
where
    S: Stream<Item: Serialize> + Send,
{
    fn poll_fill(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        let this = self.project();
        let (method, codec) = (*this.method, *this.codec);
        if this.end.is_none()
            && let Poll::Ready(end) =
                fill(this.stream, cx, buf, |item, buf| encode(method, codec, limit, &item, buf))
        {
            *this.end = Some(end);
        }
        if !buf.is_empty() {
            return Poll::Ready(Step::Filled);
        }
        match this.end.take() {
            Some(end) => Poll::Ready(Step::End(end, Metadata::new())),
            None => Poll::Pending,
        }
    }
}
