//! What is known of a stream of the peer before it is accepted.
//!
//! An application may have to know what a stream brings before it decides when to take it. Until then the stream
//! stays in the backlog: what comes on it stays within its window and the session's memory, the peer gets no sign that it
//! was taken, and it leaves by itself when it is reset.

use std::time::Instant;

use super::{recv::RecvHalf, stream::Stream};

/// A stream in the backlog, and what has come on it.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Its type, on a typed session.
    pub stream_type: Option<u32>,
    /// When its first frame was read.
    pub came_at: Option<Instant>,
    /// Whether its end has come.
    pub is_finished: bool,
    /// Whether the backlog was full when it came. On a session that [takes whole messages](super::Session::accept_whole_only)
    /// the backlog has a quarter more room than [`Config::accept_backlog`](crate::Config::accept_backlog), at least 8
    /// streams, for those that others wait for; it is for whoever looks at the stream to refuse what is none of them.
    pub is_over_backlog: bool,
    recv: &'a RecvHalf,
}

impl<'a> Waiting<'a> {
    #[inline]
    pub(super) fn new(stream_type: Option<u32>, came_at: Option<Instant>, stream: &'a Stream) -> Self {
        Self {
            stream_type,
            came_at,
            is_finished: stream.recv.is_finished(),
            is_over_backlog: stream.is_over_backlog(),
            recv: &stream.recv,
        }
    }

    /// Returns the first bytes, as far as they lie in one piece; empty if none came.
    pub fn front(&self) -> &'a [u8] {
        self.recv.front()
    }

    /// Copies the first bytes into `dst`, as many as came and fit, and returns how many.
    pub fn copy_front(&self, dst: &mut [u8]) -> usize {
        self.recv.copy_front(dst)
    }
}
