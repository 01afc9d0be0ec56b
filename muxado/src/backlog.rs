//! Streams of the peer that are looked at before they are accepted: for `muxado-rpc`, which decides by what they
//! bring when it takes them.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{
    proto::{Read, StreamKey, Waiting},
    session::Session,
    shared::Core,
    stream::Stream,
    typed::{TypedSession, TypedStream},
};

/// A stream that was looked at and waits in the backlog. It may leave by itself: when it is reset, or refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitingKey(StreamKey);

/// The next stream of the peer.
#[derive(Debug)]
pub enum Next {
    /// It was accepted.
    Accepted(Accepted),
    /// It stays in the backlog.
    Left(WaitingKey),
}

/// A stream that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The stream.
    pub stream: TypedStream,
    /// What had come on it, as [`Stream::poll_read_chunk`] would give it.
    pub first: Option<Bytes>,
    /// When its first frame was read.
    pub came_at: Option<Instant>,
}

/// The streams that wait in the backlog.
#[derive(Clone, Copy, Debug)]
pub struct Backlog<'a>(&'a Core);

impl Backlog<'_> {
    /// Returns what has come on a stream; `None` if it does not wait any more.
    pub fn get(&self, key: WaitingKey) -> Option<Waiting<'_>> {
        self.0.proto.waiting(key.0)
    }
}

impl TypedSession {
    /// Takes the next stream of the peer that this did not return before, if `take` says so of it; else the stream stays in the backlog. It is for what shares a task with the driver, as
    /// [`try_accept_typed`](Self::try_accept_typed) is. `take` runs while the session is locked.
    pub fn accept_next(&self, take: impl FnOnce(&Waiting<'_>) -> bool) -> Option<Next> {
        let (key, taken) = self.session().shared.with(|core| {
            let key = core.proto.look_at_next()?;
            let waiting = core.proto.waiting(key)?;
            let takes = take(&waiting);
            Some((key, takes.then(|| accept(core, key)).flatten()))
        })?;
        Some(match taken {
            Some(parts) => Next::Accepted(self.accepted(key, parts)),
            None => Next::Left(WaitingKey(key)),
        })
    }

    /// Takes a stream that was left in the backlog; `None` if it is not there any more.
    pub fn accept_waiting(&self, key: WaitingKey) -> Option<Accepted> {
        let parts = self.session().shared.with(|core| accept(core, key.0))?;
        Some(self.accepted(key.0, parts))
    }

    /// Looks at the streams that wait, in one locking of the session.
    pub fn with_backlog<R>(&self, look: impl FnOnce(Backlog<'_>) -> R) -> R {
        self.session().shared.with(|core| look(Backlog(core)))
    }

    fn accepted(&self, key: StreamKey, (stream_type, first, came_at): Parts) -> Accepted {
        let Session { shared, .. } = self.session();
        let stream = TypedStream::accepted((Stream::new(Arc::clone(shared), key), stream_type));
        Accepted { stream, first, came_at }
    }
}

type Parts = (Option<u32>, Option<Bytes>, Option<Instant>);

/// Takes a stream out of the backlog, with its first chunk.
fn accept(core: &mut Core, key: StreamKey) -> Option<Parts> {
    let Waiting { stream_type, came_at, .. } = core.proto.waiting(key)?;
    if !core.proto.accept_waiting(key) {
        return None;
    }
    let first = match core.proto.read_chunk(key, usize::MAX) {
        Ok(Read::Data(chunk)) => Some(chunk),
        // The stream says so again when it is read.
        Ok(Read::Finished | Read::Pending) | Err(_) => None,
    };
    Some((stream_type, first, came_at))
}
