//! A stream, or one half of it: calls without a body have no need to split theirs.

use std::task::{Context, Poll};

use bytes::Bytes;
use muxado::{
    ErrorCode, ReadError, RecvStream, SendStream, Stream, WriteError,
    rpc::{RecvStreamExt, SendStreamExt, Source, StreamExt},
};

/// Where messages are read.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    /// A stream on which all is sent; `None` once its end has come.
    Whole(Option<Stream>),
    Half(RecvStream),
}

/// Where messages are written.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Whole(Stream),
    Half(SendStream),
}

/// Where the bytes of messages come from.
pub(crate) trait ReadChunks {
    /// Why there are no further ones.
    type Error;

    /// Puts the next bytes into `chunk`, which is empty; at the end nothing.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Option<Bytes>,
    ) -> Poll<Result<(), Self::Error>>;

    /// Notes that the rest of a message is waited for: the session resets the stream if it does not come
    /// ([`muxado::Config::stall_timeout`]).
    fn await_rest(&self);
}

impl ReadChunks for ReadHalf {
    type Error = ReadError;

    /// Nothing is asked of a whole stream after its end.
    #[inline]
    fn poll_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Option<Bytes>) -> Poll<Result<(), ReadError>> {
        match self {
            Self::Whole(stream) => Stream::poll_read_last(stream, cx, usize::MAX, chunk),
            Self::Half(half) => half.poll_read_chunk(cx, usize::MAX).map_ok(|read| *chunk = read),
        }
    }

    fn await_rest(&self) {
        match self {
            Self::Whole(stream) => stream.iter().for_each(Stream::await_rest),
            Self::Half(half) => half.await_rest(),
        }
    }
}

impl ReadHalf {
    /// Returns the stream, if it is all here and has not ended.
    pub(crate) const fn whole(&self) -> Option<&Stream> {
        match self {
            Self::Whole(stream) => stream.as_ref(),
            Self::Half(_) => None,
        }
    }

    /// Whether the peer cannot have heard of the stream.
    pub(crate) fn is_unheard_of(&self) -> bool {
        match self {
            Self::Whole(stream) => stream.as_ref().is_some_and(|stream| stream.id().is_none()),
            Self::Half(half) => half.id().is_none(),
        }
    }

    /// Ends both directions, if they have not ended.
    pub(crate) fn cancel(&mut self) {
        match self {
            Self::Whole(Some(stream)) => stream.reset(ErrorCode::CANCELLED),
            Self::Whole(None) => {}
            Self::Half(half) => half.reset(ErrorCode::CANCELLED),
        }
    }
}

impl WriteHalf {
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<(), WriteError>> {
        match self {
            Self::Whole(stream) => stream.poll_write_chunk(cx, data),
            Self::Half(half) => half.poll_write_chunk(cx, data),
        }
    }

    /// Writes the last bytes, and the end of the stream behind them.
    pub(crate) fn poll_write_final(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut impl Source,
    ) -> Poll<Result<(), WriteError>> {
        match self {
            Self::Whole(stream) => stream.poll_write_final(cx, data),
            Self::Half(half) => half.poll_write_final(cx, data),
        }
    }

    /// Ends both directions.
    pub(crate) fn reset(&mut self, code: ErrorCode) {
        match self {
            Self::Whole(stream) => stream.reset(code),
            Self::Half(half) => half.reset(code),
        }
    }

    /// Writes the last bytes of a whole stream and lets go of it. It stays if there is no room for all of them, or if
    /// it is a half: the rest is for [`poll_write_final`](Self::poll_write_final).
    #[inline]
    pub(crate) fn finish_with(slot: &mut Option<Self>, data: &mut impl Source) -> Result<(), WriteError> {
        let mut stream = match slot.take() {
            Some(Self::Whole(stream)) => Some(stream),
            other => {
                *slot = other;
                return Ok(());
            }
        };
        let result = Stream::finish_with(&mut stream, data);
        if let Some(stream) = stream {
            *slot = Some(Self::Whole(stream));
        }
        result
    }

    /// Ready once the stream has failed: reset by either side, or with its session. At the time of `reminder` the task is
    /// woken in any case.
    #[inline]
    pub(crate) fn poll_reset(
        &mut self,
        cx: &mut Context<'_>,
        reminder: Option<std::time::Instant>,
    ) -> Poll<ReadError> {
        match self {
            Self::Whole(stream) => stream.poll_reset_until(cx, reminder),
            Self::Half(half) => half.poll_reset_until(cx, reminder),
        }
    }
}
