//! The one reader of messages: of requests, responses and the items of bodies.

use std::{
    borrow::BorrowMut,
    fmt::Display,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::half::ReadChunks;
use crate::{
    Codec, Status,
    codec::apart::Apart,
    support::budget::{CallMemory, Purpose, Reservation},
    wire::{MessageDecoder, MessageError, whole_message},
};

/// Reads messages from the chunks of a stream.
///
/// `D` is where its decoder is: the calling side, where thousands of calls may wait, has it behind a pointer.
#[derive(Debug)]
pub(crate) struct MessageReader<D = MessageDecoder> {
    /// Made for the first message that does not come in one piece: most calls need none.
    decoder: Option<D>,
    /// Known from the first byte on.
    codec: Option<Codec>,
    /// The stream has ended.
    is_over: bool,
}

/// What a message may take while it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    /// Bytes of one message.
    pub(crate) max_message_size: usize,
    /// Where the room of what is buffered is counted, and as what.
    pub(crate) memory: Option<(&'a Arc<CallMemory>, Purpose)>,
    /// A large string of the first message is gathered apart from it, and [taken](MessageReader::take_apart).
    pub(crate) gathers: bool,
}

/// Why there is no further message.
#[derive(Debug)]
pub(crate) enum NoMessage<E> {
    /// What came is none that may be taken.
    Unreadable(MessageError),
    /// Nothing more comes.
    Broken(E),
}

impl<D> Default for MessageReader<D> {
    fn default() -> Self {
        Self { decoder: None, codec: None, is_over: false }
    }
}

impl<D> MessageReader<D> {
    /// Returns a reader of which nothing has come yet, with a decoder that is there for other reasons.
    pub(crate) const fn with_decoder(decoder: D) -> Self {
        Self { decoder: Some(decoder), codec: None, is_over: false }
    }

    /// Returns where the decoder is, if it is there.
    pub(crate) const fn place(&mut self) -> Option<&mut D> {
        self.decoder.as_mut()
    }
}

impl<D: Into<MessageDecoder>> MessageReader<D> {
    /// Returns the reader with its decoder inside.
    pub(crate) fn unboxed(self) -> MessageReader {
        let Self { decoder, codec, is_over } = self;
        MessageReader { decoder: decoder.map(Into::into), codec, is_over }
    }
}

impl<D: From<MessageDecoder> + BorrowMut<MessageDecoder>> MessageReader<D> {
    /// Puts the next message into `message`, which costs no moves on the way. The one in front of the end of the stream
    /// needs no line feed in JSON; after it, [`is_over`](Self::is_over). There is none after an error.
    #[inline]
    pub(crate) fn poll_message<C: ReadChunks>(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut C,
        bounds: Bounds<'_>,
        message: &mut Option<Bytes>,
    ) -> Poll<Result<(), NoMessage<C::Error>>> {
        // Most streams have one message each way, which comes in one piece.
        if self.codec.is_none() {
            if let Err(error) = ready!(chunks.poll_chunk(cx, message)) {
                return Poll::Ready(Err(NoMessage::Broken(error)));
            }
            if let Some(chunk) = message {
                self.codec = whole_message(chunk, bounds.max_message_size);
                if self.codec.is_some() {
                    return Poll::Ready(Ok(()));
                }
            }
            match message.take() {
                Some(chunk) => self.push_part(chunk, bounds),
                None => return Poll::Ready(self.finish(message).map_err(NoMessage::Unreadable)),
            }
        }
        self.poll_parts(cx, chunks, bounds, message)
    }

    fn poll_parts<C: ReadChunks>(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut C,
        bounds: Bounds<'_>,
        message: &mut Option<Bytes>,
    ) -> Poll<Result<(), NoMessage<C::Error>>> {
        loop {
            *message = match self.pop() {
                Ok(message) => message,
                Err(error) => return Poll::Ready(Err(NoMessage::Unreadable(error))),
            };
            if message.is_some() {
                return Poll::Ready(Ok(()));
            }
            let mut chunk = None;
            let Poll::Ready(read) = chunks.poll_chunk(cx, &mut chunk) else {
                if self.decoder.as_ref().is_some_and(|decoder| decoder.borrow().is_midway()) {
                    chunks.await_rest();
                }
                let error = ready!(self.poll_evicted(cx));
                return Poll::Ready(Err(NoMessage::Unreadable(error)));
            };
            if let Err(error) = read {
                return Poll::Ready(Err(NoMessage::Broken(error)));
            }
            match chunk {
                Some(chunk) => *message = self.push(chunk, bounds),
                None => return Poll::Ready(self.finish(message).map_err(NoMessage::Unreadable)),
            }
            if message.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Returns the next message of what has been read.
    pub(crate) fn pop(&mut self) -> Result<Option<Bytes>, MessageError> {
        self.decoder.as_mut().map_or(Ok(None), |decoder| decoder.borrow_mut().pop())
    }

    /// Takes in a chunk, of which nothing is left to be popped. Returns it if it is the first, and one message.
    pub(crate) fn push(&mut self, mut chunk: Bytes, bounds: Bounds<'_>) -> Option<Bytes> {
        if self.codec.is_none() {
            self.codec = whole_message(&mut chunk, bounds.max_message_size);
            if self.codec.is_some() {
                return Some(chunk);
            }
        }
        self.push_part(chunk, bounds);
        None
    }

    fn push_part(&mut self, chunk: Bytes, bounds: Bounds<'_>) {
        self.codec = self.codec.or_else(|| chunk.first().map(|first| Codec::of_first_byte(*first)));
        let codec = self.codec;
        let decoder = self.decoder.get_or_insert_with(|| {
            let decoder = MessageDecoder::new(bounds.max_message_size).in_codec(codec);
            let decoder = if bounds.gathers { decoder.gathering() } else { decoder };
            D::from(match bounds.memory {
                Some((memory, purpose)) => decoder.counted(memory, purpose),
                None => decoder,
            })
        });
        decoder.borrow_mut().push(chunk);
    }

    /// Ready if the beginning of a message has to go, while the rest of it is waited for.
    fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<MessageError> {
        let Some(decoder) = &mut self.decoder else { return Poll::Pending };
        decoder.borrow_mut().poll_evicted(cx)
    }

    fn finish(&mut self, message: &mut Option<Bytes>) -> Result<(), MessageError> {
        self.is_over = true;
        let decoder = self.decoder.as_mut().ok_or(MessageError::Missing)?;
        *message = Some(decoder.borrow_mut().finish()?);
        Ok(())
    }

    /// Returns what holds the bytes that were read and not yet taken, for those who take messages where they lie.
    #[inline]
    pub(crate) fn decoder(&mut self) -> Option<&mut MessageDecoder> {
        self.decoder.as_mut().map(BorrowMut::borrow_mut)
    }

    /// Takes the large string that lies apart from the message that was read last.
    #[inline]
    pub(crate) fn take_apart(&mut self) -> Option<Apart> {
        self.decoder.as_mut()?.borrow_mut().take_apart()
    }

    /// Returns the codec, once the first byte is there.
    pub(crate) const fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Whether anything has come.
    pub(crate) const fn has_begun(&self) -> bool {
        self.codec.is_some()
    }

    /// Whether the stream has ended.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a message was taken where it lay.
    pub(crate) fn has_taken(&self) -> bool {
        self.decoder.as_ref().is_some_and(|decoder| decoder.borrow().has_taken())
    }

    /// Returns the room of the last message, if it was buffered. Without this it is given back with the next one.
    pub(crate) fn take_reserved(&mut self) -> Option<Reservation> {
        self.decoder.as_mut()?.borrow_mut().take_reserved()
    }
}

/// The status of a message that is over a limit of the side that reads it; `None` if its error is another one.
/// `of` names the method or service, `what` the message, as in "an item".
pub(crate) fn over_limit(
    error: &MessageError,
    of: impl Display,
    what: &str,
    side: &str,
    limit: usize,
) -> Option<Status> {
    match error {
        MessageError::TooLarge { size } => {
            let size = size.map_or_else(|| "too many".to_owned(), |size| size.to_string());
            Some(Status::resource_exhausted(format!(
                "{of}: {what} of {size} bytes, over the {side} side's limit of {limit} (Limits::max_message_size)"
            )))
        }
        MessageError::NoRoom(exhausted) => {
            Some(Status::resource_exhausted(format!("{of}: {what} has {exhausted}")))
        }
        MessageError::CutShort | MessageError::Missing => None,
    }
}
