//! A stream, or one half of it: calls without a stream of items have no need to split theirs.

use std::task::{Context, Poll};

use bytes::Bytes;
use muxado::{ErrorCode, ReadError, RecvStream, SendStream, Stream, WriteError, rpc::Source};

/// Where messages are read.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    Whole(Stream),
    Half(RecvStream),
}

/// Where messages are written.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    Whole(Stream),
    Half(SendStream),
}

impl ReadHalf {
    pub(crate) fn poll_read_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        match self {
            Self::Whole(stream) => stream.poll_read_chunk(cx, usize::MAX),
            Self::Half(half) => half.poll_read_chunk(cx, usize::MAX),
        }
    }

    /// Whether the peer cannot have heard of the stream.
    pub(crate) fn is_unheard_of(&self) -> bool {
        match self {
            Self::Whole(stream) => stream.id().is_none(),
            Self::Half(half) => half.id().is_none(),
        }
    }

    /// Ends both directions, if they have not ended.
    pub(crate) fn cancel(&mut self) {
        match self {
            Self::Whole(stream) => stream.reset(ErrorCode::CANCELLED),
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

    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ReadError> {
        match self {
            Self::Whole(stream) => stream.poll_reset(cx),
            Self::Half(half) => half.poll_reset(cx),
        }
    }
}
