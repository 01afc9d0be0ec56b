//! A stream of items, as applications see it.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::body::{BodyEvent, BodyStream};
use crate::{
    Body, CallError, Codec, Metadata, MethodInfo, MethodRef, RawError, Response, Status,
    codec::shared_bytes,
    message::response::{EncodedError, Failure, undecodable_error},
    wire::{ItemMessage, decode_item_message, quick_item, single_response},
};

/// A stream of items of type `T` from the other side: an argument of a method, or the response that a client gets.
///
/// It is a [`Stream`] of `Result<T, CallError<E>>`. It ends with `None` after all items, or with an `Err` as its last
/// item. An end that was not announced (a lost connection, a reset, a panic) is an `Err`, never `None`.
///
/// The time limit of a call covers its streams: it holds until the last item is taken. After the limit only a few
/// kilobytes of items that were received before are still returned.
///
/// Items are read when they are asked for. A stream that is not read holds up its sender once the window is full
/// ([`muxado::Config::window_size`]), and nothing else. Dropping the stream of a response cancels the call, and the
/// peer drops the handler. Dropping an argument discards the items that still come.
///
/// ```
/// use muxado_rpc::{Status, Streaming};
///
/// #[muxado_rpc::service]
/// pub trait Adder {
///     async fn sum(&self, numbers: Streaming<i64>) -> Result<i64, Status>;
/// }
///
/// struct Plain;
/// impl Adder for Plain {
///     async fn sum(&self, mut numbers: Streaming<i64>) -> Result<i64, Status> {
///         let mut sum = 0;
///         while let Some(number) = numbers.try_next().await? {
///             sum += number;
///         }
///         Ok(sum)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let adder = AdderClient::new(AdderServer::new(Plain));
/// assert_eq!(adder.sum(futures_util::stream::iter(1..=4)).await?, 10);
/// # Ok(())
/// # }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Streaming<T, E = Infallible> {
    method: MethodRef,
    /// `None` once it is over.
    body: Option<Box<BodyStream>>,
    next_quick: NextQuick<T>,
    decode_item: DecodeItem<T>,
    decode_error: DecodeError<E>,
    metadata: Metadata,
    trailer: Metadata,
}

type NextQuick<T> = fn(&mut BodyStream) -> Option<T>;
type DecodeItem<T> = fn(Codec, &MethodInfo, &Bytes) -> Result<Decoded<T>, Status>;
type DecodeError<E> = fn(Codec, &MethodInfo, EncodedError) -> CallError<E>;

/// A message, understood.
enum Decoded<T> {
    Item(T),
    Other(ItemMessage),
}

impl<T: DeserializeOwned> Streaming<T> {
    /// Returns the items of a response of a method without errors of its own.
    ///
    /// # Errors
    ///
    /// What the response says instead.
    pub(crate) fn of_response(
        method: impl Into<MethodRef>,
        mut response: Response,
    ) -> Result<Self, CallError> {
        let method = method.into();
        match response.take_body() {
            Some((body, metadata)) => Ok(Self::new(method, body, metadata)),
            // It failed before the first item.
            None => {
                let error = response.decode::<IgnoredAny>(&method).err();
                Err(error.unwrap_or_else(|| single_response(&method).into()))
            }
        }
    }

    /// Items of a method without errors of its own.
    fn new(method: MethodRef, body: Body, metadata: Metadata) -> Self {
        Self::infallible(method, body, metadata, decode::<T>)
    }

    /// Items of an argument: one that cannot be decoded is the caller's fault.
    pub(crate) fn argument(method: MethodRef, body: Body) -> Self {
        Self::infallible(method, body, Metadata::new(), |codec, method, message| {
            decode(codec, method, message).map_err(|status| Status::invalid_argument(status.message()))
        })
    }

    fn infallible(method: MethodRef, body: Body, metadata: Metadata, decode_item: DecodeItem<T>) -> Self {
        let decode_error = |codec, method: &MethodInfo, error: EncodedError| {
            undecodable_error(codec, method, &error, None).into()
        };
        Self { decode_item, ..Self::with(method, body, metadata, decode_error) }
    }
}

impl<T: DeserializeOwned, E: DeserializeOwned> Streaming<T, E> {
    /// Returns the items of a response of a method with an error type of its own.
    ///
    /// # Errors
    ///
    /// What the response says instead.
    pub(crate) fn of_fallible_response(
        method: impl Into<MethodRef>,
        mut response: Response,
    ) -> Result<Self, CallError<E>> {
        let method = method.into();
        match response.take_body() {
            Some((body, metadata)) => Ok(Self::fallible(method, body, metadata)),
            None => {
                let error = response.decode_result::<IgnoredAny, E>(&method).err();
                Err(error.unwrap_or_else(|| single_response(&method).into()))
            }
        }
    }

    /// Items of a method with an error type of its own.
    fn fallible(method: MethodRef, body: Body, metadata: Metadata) -> Self {
        Self::with(method, body, metadata, |codec, method, error| error.decode(codec, method))
    }
}

impl<T: DeserializeOwned> Streaming<T, RawError> {
    /// Returns the items of a response of a method whose error type is not known.
    ///
    /// # Errors
    ///
    /// What the response says instead.
    pub(crate) fn of_raw_response(
        method: MethodRef,
        mut response: Response,
    ) -> Result<Self, CallError<RawError>> {
        match response.take_body() {
            Some((body, metadata)) => Ok(Self::with(method, body, metadata, |codec, _, error| {
                CallError::App(RawError::new(codec, error))
            })),
            None => Err(response.into_bytes().err().unwrap_or_else(|| single_response(&method).into())),
        }
    }
}

impl<T: DeserializeOwned, E> Streaming<T, E> {
    fn with(method: MethodRef, body: Body, metadata: Metadata, decode_error: DecodeError<E>) -> Self {
        Self {
            method,
            body: Some(BodyStream::of(body)),
            next_quick: BodyStream::next_quick::<T>,
            decode_item: decode::<T>,
            decode_error,
            metadata,
            trailer: Metadata::new(),
        }
    }
}

impl<T, E> Streaming<T, E> {
    /// Returns the next item, or `None` after the last.
    ///
    /// # Errors
    ///
    /// Returns why the stream has ended early. No item follows.
    ///
    /// # Cancel safety
    ///
    /// No item is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, CallError<E>>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Returns the next item, or `None` after the last, in a form for the `?` operator.
    ///
    /// # Errors
    ///
    /// Returns why the stream has ended early. No item follows.
    ///
    /// # Cancel safety
    ///
    /// No item is lost if the future is dropped.
    pub fn try_next(&mut self) -> impl Future<Output = Result<Option<T>, CallError<E>>> {
        poll_fn(|cx| match self.next_quick() {
            Some(item) => Poll::Ready(Ok(Some(item))),
            None => self.poll_event(cx).map(Option::transpose),
        })
    }

    /// Returns the method that the stream belongs to.
    pub fn method(&self) -> &MethodInfo {
        &self.method
    }

    /// Returns the metadata that the sender put before its items. Empty before the first item has come.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the metadata that the sender put behind its items. Empty before the end.
    pub fn trailer(&self) -> &Metadata {
        &self.trailer
    }

    #[inline]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError<E>>>> {
        match self.next_quick() {
            Some(item) => Poll::Ready(Some(Ok(item))),
            None => self.poll_event(cx),
        }
    }

    /// The next item, if it is here and nothing else has to be done for it.
    #[inline]
    fn next_quick(&mut self) -> Option<T> {
        (self.next_quick)(self.body.as_mut()?)
    }

    #[inline(never)]
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, CallError<E>>>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let codec = body.codec();
            let decoded = match ready!(body.poll_event(cx)) {
                BodyEvent::Message(message) => (self.decode_item)(codec, &self.method, &message),
                BodyEvent::End(result, trailer) => Ok(Decoded::Other(ItemMessage::End(result, trailer))),
            };
            let checked = decoded.and_then(|decoded| {
                if let Decoded::Other(ItemMessage::Metadata(metadata) | ItemMessage::End(_, metadata)) =
                    &decoded
                {
                    body.check_metadata(&self.method, metadata)?;
                }
                Ok(decoded)
            });
            let result = match checked {
                Ok(Decoded::Item(item)) => return Poll::Ready(Some(Ok(item))),
                Ok(Decoded::Other(ItemMessage::End(result, trailer))) => {
                    self.trailer = trailer;
                    body.believed(result)
                }
                Ok(Decoded::Other(ItemMessage::Metadata(metadata))) => {
                    self.metadata = metadata;
                    continue;
                }
                Ok(Decoded::Other(ItemMessage::Item(_))) => continue,
                Err(status) => Err(Failure::Status(status)),
            };
            let ended = body.end(&result);
            self.body = None;
            if let Err(panic) = ended {
                // Of a service in this process: its panics are the caller's.
                panic.resume();
            }
            return Poll::Ready(result.err().map(|failure| {
                Err(match failure {
                    Failure::App(error) => (self.decode_error)(codec, &self.method, error),
                    Failure::Status(status) => status.into(),
                    Failure::Panic(_) => panicked(&self.method).into(),
                })
            }));
        }
    }
}

/// Decodes a message. The quick way fails for what has more in it than an item.
fn decode<T: DeserializeOwned>(
    codec: Codec,
    method: &MethodInfo,
    message: &Bytes,
) -> Result<Decoded<T>, Status> {
    if let Some(item) = quick_item(codec, message)
        && let Ok(item) = shared_bytes::decoding(message, || codec.decode(item))
    {
        return Ok(Decoded::Item(item));
    }
    match decode_item_message(method, codec, message)? {
        ItemMessage::Item(at) => shared_bytes::decoding(message, || codec.decode(&message[at]))
            .map(Decoded::Item)
            .map_err(|error| Status::cannot_decode(format_args!("an item of {method}"), codec, &error)),
        other => Ok(Decoded::Other(other)),
    }
}

fn panicked(method: &MethodInfo) -> Status {
    Status::internal(format!("{method}: the handler panicked"))
}

impl<T, E> Stream for Streaming<T, E> {
    type Item = Result<T, CallError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl<T, E> fmt::Debug for Streaming<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("method", &self.method)
            .field("over", &self.body.is_none())
            .finish_non_exhaustive()
    }
}
