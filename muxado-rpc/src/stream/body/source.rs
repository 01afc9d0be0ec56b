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
    Codec, Metadata, MethodInfo, MethodRef, Status,
    message::{limits::SendLimit, response::Failure},
};

/// The values of a stream, encoded.
#[pin_project]
pub(crate) struct StreamBody<S> {
    #[pin]
    stream: S,
    method: MethodRef,
    codec: Codec,
    end: Option<Result<(), Failure>>,
}

impl<S> StreamBody<S> {
    pub(crate) fn new(method: impl Into<MethodRef>, codec: Codec, stream: S) -> Self {
        Self { stream, method: method.into(), codec, end: None }
    }
}

impl<S: Stream> StreamBody<S> {
    fn poll_fill_with(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        push: impl Fn(&MethodInfo, Codec, &S::Item, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Poll<Step> {
        let this = self.project();
        let (method, codec) = (&**this.method, *this.codec);
        if this.end.is_none()
            && let Poll::Ready(end) = fill(this.stream, cx, buf, |item, buf| push(method, codec, item, buf))
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

impl<T: Serialize, S: Stream<Item = Result<T, Status>>> StreamBody<S> {
    /// As [`BodySource::poll_fill`], of values up to the first error.
    pub(super) fn poll_fill_results(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        self.poll_fill_with(cx, buf, |method, codec, item, buf| match item {
            Ok(item) => encode(method, codec, limit, item, buf),
            Err(status) => Err(Failure::Status(status.clone())),
        })
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
        self.poll_fill_with(cx, buf, |method, codec, item, buf| encode(method, codec, limit, item, buf))
    }
}
