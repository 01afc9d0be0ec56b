//! From a stream of values to messages.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use serde::Serialize;

use super::too_large;
use crate::{
    Codec, MethodInfo, Status,
    message::{limits::SendLimit, response::Failure},
    wire::{ItemError, push_item},
};

/// Appends what `stream` has now, about [`BATCH`] bytes of it at most. Ready at its end, or when an
/// item is a failure or cannot be encoded. Items are encoded where the stream has put them: moving what was just written
/// costs as much as encoding it.
pub(crate) fn fill<S: Stream>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    buf: &mut Vec<u8>,
    mut encode: impl FnMut(&S::Item, &mut Vec<u8>) -> Result<(), Failure>,
) -> Poll<Result<(), Failure>> {
    let mut len = buf.len();
    while len < BATCH {
        match &stream.as_mut().poll_next(cx) {
            Poll::Ready(Some(item)) => encode(item, buf)?,
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
        }
        let item = buf.len() - std::mem::replace(&mut len, buf.len());
        if buf.capacity() - len < item && len < BATCH {
            // Room for those that are certain to come, if they are like this one, until the batch is full.
            let certain = item.saturating_mul(stream.size_hint().0);
            buf.reserve(certain.max(GROWTH * len).min(BATCH - len + item));
        }
    }
    Poll::Pending
}

/// Appends one item.
#[inline]
pub(crate) fn encode<T: Serialize>(
    method: &MethodInfo,
    codec: Codec,
    limit: SendLimit,
    item: &T,
    buf: &mut Vec<u8>,
) -> Result<(), Failure> {
    push_item(codec, item, limit.bytes, buf).map_err(|error| {
        Failure::Status(match error {
            ItemError::TooLarge { size } => too_large(method, size, limit),
            ItemError::Codec(error) => {
                Status::internal(format!("{method}: cannot encode an item as {codec}: {error}"))
            }
        })
    })
}

/// A buffer for items of which nobody says how many there are grows by this many times its bytes.
const GROWTH: usize = 3;

/// Items are gathered up to about this many bytes, if they are there.
pub(super) const BATCH: usize = 16 * 1024;
