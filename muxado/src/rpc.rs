//! Operations that exist for `muxado-rpc` alone.
//!
//! They are no part of the public interface and may change in any release. Most of them do two steps under one locking
//! of the session: for a message that opens or ends its stream that is a good part of what it costs.

#[cfg(feature = "tokio")]
pub use self::{
    backlog::{Accepted, Backlog, NextStream, WaitingKey},
    handles::{
        ControlStreamsExt, OpenTypedExt, RecvStreamExt, SendStreamExt, StreamExt, TypedSessionExt,
        session_with,
    },
};
#[cfg(feature = "tokio")]
pub use crate::driver::Turn;
pub use crate::{
    log_limit::{LogLimit, LogLine},
    proto::{OpenLevel, Source, Waiting},
};

#[cfg(feature = "tokio")]
mod handles {
    use std::{
        sync::Arc,
        task::{Context, Poll},
        time::{Duration, Instant},
    };

    use bytes::Bytes;
    use tokio::io::{AsyncRead, AsyncWrite};

    use crate::{
        Config, Driver, Session, Side,
        control::ControlStreams,
        error::{OpenError, ReadError, WriteError},
        proto::{Finish, OpenLevel, Source, Waiting},
        shared::OpenWait,
        split::{RecvStream, SendStream},
        stream::Stream,
        typed::{OpenTyped, StreamType, TypedSession},
    };

    use super::backlog::{self, Accepted, Backlog, NextStream, WaitingKey};

    /// Returns a session as [`Session::new`] does, with a configuration that other sessions may have, too: it is not copied
    /// for each of them.
    pub fn session_with<T: AsyncRead + AsyncWrite + Unpin>(
        side: Side,
        io: T,
        config: Arc<Config>,
    ) -> (Session, Driver<T>) {
        Session::with_shared_config(side, io, config)
    }

    /// What `muxado-rpc` does with a [`TypedSession`] beside its public methods.
    pub trait TypedSessionExt {
        /// Drops streams that are reset, unless they were accepted before: for a session that takes whole messages, and
        /// answers them. Otherwise what came on them waits to be accepted.
        fn accept_whole_only(&self);

        /// Opens a stream as [`TypedSession::open_typed`] does, within the share of the limits that a level has.
        ///
        /// `time` is how long the opener has for all that it does. Once the oldest of those who wait has waited for half
        /// of its time, the newest go first.
        fn open_typed_at(
            &self,
            stream_type: StreamType,
            level: OpenLevel,
            time: Option<Duration>,
        ) -> OpenTyped;

        /// Takes the next stream of the peer that this did not return before, if `take` returns true for it; otherwise
        /// the stream stays in the backlog.
        ///
        /// It is for what shares a task with the driver, as [`TypedSession::try_accept_typed`] is. `take` runs while the
        /// session is locked.
        fn accept_next(&self, take: impl FnOnce(&Waiting<'_>) -> bool) -> Option<NextStream>;

        /// Takes the next stream of the peer, whatever it brings, as [`accept_next`](Self::accept_next) does.
        fn accept_any(&self) -> Option<Accepted>;

        /// Takes a stream that was left in the backlog. Returns `None` if it is not there any more.
        fn accept_waiting(&self, key: WaitingKey) -> Option<Accepted>;

        /// Refuses a stream that was left in the backlog, and came when that was full.
        fn refuse_waiting(&self, key: WaitingKey);

        /// Looks at the streams that wait, in one locking of the session.
        fn with_backlog<R>(&self, look: impl FnOnce(Backlog<'_>) -> R) -> R;
    }

    /// What `muxado-rpc` does with an [`OpenTyped`] beside awaiting it.
    pub trait OpenTypedExt {
        /// Opens the stream with a message that is all this side will send on it, and puts it into `stream`.
        ///
        /// It does in one step what [`Stream::poll_write_final`] and a first [`Stream::poll_read_chunk`] would do behind
        /// the opening. As much of `data` is taken as there is room for. If that is all of it, the stream's end follows
        /// and the task is woken when something has come back; otherwise it is woken when there is room for more, to be
        /// passed to [`Stream::poll_write_final`].
        ///
        /// The driver wakes it in any case when the time `after` is over, as at the time of
        /// [`poll_reset_until`](StreamExt::poll_reset_until). It counts from the driver's next turn, in which the message
        /// leaves: that way one look at the clock is enough for all that is opened between two turns. Where the transport
        /// takes nothing, so that the next turn may be far away, it counts from now.
        ///
        /// # Errors
        ///
        /// When either side goes away or the session has ended. Nothing of `data` is taken then.
        ///
        /// # Cancel safety
        ///
        /// Until it is ready nothing is taken, and dropping the future gives up its place in the queue.
        ///
        /// ```
        /// # use std::future::poll_fn;
        /// use muxado::{StreamType, TypedSession, rpc::OpenTypedExt};
        ///
        /// # async fn example(session: &TypedSession) -> Result<(), Box<dyn std::error::Error>> {
        /// let mut opening = session.open_typed(StreamType::new(7));
        /// let mut question = &b"what?"[..];
        /// let mut opened = None;
        /// poll_fn(|cx| opening.poll_with_final(cx, &mut question, None, &mut opened)).await?;
        /// let mut stream = opened.expect("it is open");
        /// if !question.is_empty() {
        ///     poll_fn(|cx| stream.poll_write_final(cx, &mut question)).await?;
        /// }
        /// let response = stream.read_chunk().await?;
        /// # Ok(())
        /// # }
        /// ```
        fn poll_with_final(
            &mut self,
            cx: &mut Context<'_>,
            data: &mut impl Source,
            after: Option<Duration>,
            stream: &mut Option<Stream>,
        ) -> Poll<Result<(), OpenError>>;
    }

    /// What `muxado-rpc` does with a [`Stream`] beside its public methods.
    pub trait StreamExt: Sized {
        /// Polls for the next bytes as [`Stream::poll_read_chunk`] does, and puts them into `chunk`.
        ///
        /// # Errors
        ///
        /// When the stream was reset or the session ended before the FIN.
        fn poll_take_chunk(
            &mut self,
            cx: &mut Context<'_>,
            max: usize,
            chunk: &mut Option<Bytes>,
        ) -> Poll<Result<(), ReadError>>;

        /// Polls for the next bytes as [`Stream::poll_read_chunk`] does, puts them into `chunk`, and drops the stream if
        /// it has ended with them.
        ///
        /// A stream that has ended in both directions behind the bytes is taken out of `stream`. Where there is no stream
        /// there are no bytes.
        ///
        /// # Errors
        ///
        /// When the stream was reset or the session ended before the FIN.
        ///
        /// ```
        /// # use std::future::poll_fn;
        /// # use muxado::{ReadError, Stream, rpc::StreamExt};
        /// # async fn example(stream: Stream) -> Result<(), ReadError> {
        /// let mut stream = Some(stream);
        /// let mut chunk = None;
        /// poll_fn(|cx| Stream::poll_read_last(&mut stream, cx, usize::MAX, &mut chunk)).await?;
        /// while let Some(bytes) = chunk.take() {
        ///     println!("{} bytes", bytes.len());
        ///     poll_fn(|cx| Stream::poll_read_last(&mut stream, cx, usize::MAX, &mut chunk)).await?;
        /// }
        /// # Ok(())
        /// # }
        /// ```
        fn poll_read_last(
            stream: &mut Option<Self>,
            cx: &mut Context<'_>,
            max: usize,
            chunk: &mut Option<Bytes>,
        ) -> Poll<Result<(), ReadError>>;

        /// Sends `data` with the FIN behind it, and drops the stream. It stays if there was no room for all of `data`; the
        /// rest is to be passed to [`Stream::poll_write_final`].
        ///
        /// What the peer still sends is thrown away; if it has not finished by the time of the FIN the stream is reset
        /// behind it, as on any drop.
        ///
        /// # Errors
        ///
        /// When the stream was finished or reset, or the session ended; the stream is dropped.
        ///
        /// ```
        /// # use std::future::poll_fn;
        /// # use muxado::{Stream, WriteError, rpc::StreamExt};
        /// # async fn example(stream: Stream) -> Result<(), WriteError> {
        /// let (mut stream, mut response) = (Some(stream), &b"42"[..]);
        /// Stream::finish_with(&mut stream, &mut response)?;
        /// if let Some(mut stream) = stream {
        ///     poll_fn(|cx| stream.poll_write_final(cx, &mut response)).await?;
        /// }
        /// # Ok(())
        /// # }
        /// ```
        fn finish_with(stream: &mut Option<Self>, data: &mut impl Source) -> Result<(), WriteError>;

        /// Polls for the failure of the stream as [`Stream::poll_reset`] does. At the time `at` the driver wakes the tasks
        /// that wait for the stream in any case: a time limit needs no timer then.
        ///
        /// One stream has one such time. It holds until it is replaced, or the stream is dropped, and wakes once.
        fn poll_reset_until(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<ReadError>;

        /// Returns when the driver wakes the tasks that wait for the stream in any case, as it looks at the time `now`: that
        /// is `now` if it has done so, or was not asked to.
        fn wakes_at(&self, now: Instant) -> Instant;

        /// Tells the session that the rest of a message is missing: if it does not come for
        /// [`Config::stall_timeout`](crate::Config::stall_timeout) the stream is reset.
        ///
        /// It is to be called again whenever a read has to wait in the middle of a message.
        fn await_rest(&self);
    }

    /// What `muxado-rpc` does with a [`SendStream`] beside its public methods.
    pub trait SendStreamExt {
        /// Polls for the failure of the stream, until a time; see [`StreamExt::poll_reset_until`].
        fn poll_reset_until(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<ReadError>;
    }

    /// What `muxado-rpc` does with a [`RecvStream`] beside its public methods.
    pub trait RecvStreamExt {
        /// Tells the session that the rest of a message is missing; see [`StreamExt::await_rest`].
        fn await_rest(&self);
    }

    /// What `muxado-rpc` does with [`ControlStreams`] beside their public methods.
    pub trait ControlStreamsExt {
        /// Returns how many bytes this side may hold unread, if the peer has to be told because it is not the default.
        fn session_memory(&self) -> Option<usize>;

        /// Sets how many bytes the peer may hold unread.
        fn set_peer_memory(&self, bytes: usize);

        /// Returns whether this side has the protocol extensions, and shows it.
        fn shows_extensions(&self) -> bool;
    }

    impl RecvStreamExt for RecvStream {
        fn await_rest(&self) {
            self.inner().await_rest();
        }
    }

    impl SendStreamExt for SendStream {
        fn poll_reset_until(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<ReadError> {
            self.inner().poll_reset_until(cx, at)
        }
    }

    impl ControlStreamsExt for ControlStreams {
        fn session_memory(&self) -> Option<usize> {
            self.shared().with(|core| core.proto.advertised_memory())
        }

        fn set_peer_memory(&self, bytes: usize) {
            self.shared().with(|core| core.proto.set_peer_memory(bytes));
        }

        fn shows_extensions(&self) -> bool {
            self.shared().with(|core| core.proto.shows_extensions())
        }
    }

    impl TypedSessionExt for TypedSession {
        fn accept_whole_only(&self) {
            self.session().shared.with(|core| core.proto.accept_whole_only());
        }

        fn open_typed_at(
            &self,
            stream_type: StreamType,
            level: OpenLevel,
            time: Option<Duration>,
        ) -> OpenTyped {
            self.open_waiting(stream_type, OpenWait::new(level, time))
        }

        fn accept_next(&self, take: impl FnOnce(&Waiting<'_>) -> bool) -> Option<NextStream> {
            backlog::accept_next(self, take)
        }

        #[inline]
        fn accept_any(&self) -> Option<Accepted> {
            backlog::accept_any(self)
        }

        fn accept_waiting(&self, key: WaitingKey) -> Option<Accepted> {
            backlog::accept_waiting(self, key)
        }

        fn refuse_waiting(&self, key: WaitingKey) {
            backlog::refuse_waiting(self, key);
        }

        fn with_backlog<R>(&self, look: impl FnOnce(Backlog<'_>) -> R) -> R {
            backlog::with_backlog(self, look)
        }
    }

    impl OpenTypedExt for OpenTyped {
        fn poll_with_final(
            &mut self,
            cx: &mut Context<'_>,
            data: &mut impl Source,
            after: Option<Duration>,
            stream: &mut Option<Stream>,
        ) -> Poll<Result<(), OpenError>> {
            self.poll_final(cx, data, after, stream)
        }
    }

    impl StreamExt for Stream {
        fn poll_take_chunk(
            &mut self,
            cx: &mut Context<'_>,
            max: usize,
            chunk: &mut Option<Bytes>,
        ) -> Poll<Result<(), ReadError>> {
            let inner = self.inner();
            inner.shared.with(|core| core.poll_take_chunk(inner.key, cx, max, chunk))
        }

        fn poll_read_last(
            stream: &mut Option<Self>,
            cx: &mut Context<'_>,
            max: usize,
            chunk: &mut Option<Bytes>,
        ) -> Poll<Result<(), ReadError>> {
            let Some(this) = stream else { return Poll::Ready(Ok(())) };
            let inner = this.inner();
            let mut result = Poll::Pending;
            let ((), released) = inner.shared.with_release(inner.key, |core| {
                result = core.poll_take_chunk(inner.key, cx, max, chunk);
                let is_over = matches!(result, Poll::Ready(Ok(()))) && core.proto.is_read_out(inner.key);
                ((), is_over)
            });
            if released && let Some(stream) = stream.take() {
                stream.drop_released();
            }
            result
        }

        fn finish_with(stream: &mut Option<Self>, data: &mut impl Source) -> Result<(), WriteError> {
            let Some(this) = stream else { return Ok(()) };
            let inner = this.inner();
            let mut failed = None;
            let ((), released) = inner.shared.with_release(inner.key, |core| {
                failed = core.proto.write_with(inner.key, data, Finish::Yes).err();
                ((), !data.has_remaining())
            });
            if released && let Some(stream) = stream.take() {
                stream.drop_released();
            }
            match failed {
                None => Ok(()),
                Some(error) => {
                    *stream = None;
                    Err(error)
                }
            }
        }

        #[inline]
        fn poll_reset_until(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<ReadError> {
            self.inner().poll_reset_until(cx, at)
        }

        fn wakes_at(&self, now: Instant) -> Instant {
            let inner = self.inner();
            inner.shared.reminder_due(inner.key, now)
        }

        fn await_rest(&self) {
            self.inner().await_rest();
        }
    }
}

#[cfg(feature = "tokio")]
mod backlog {
    use std::{sync::Arc, time::Instant};

    use bytes::Bytes;

    use crate::{
        proto::{Read, StreamKey, Waiting},
        shared::Core,
        stream::Stream,
        typed::{TypedSession, TypedStream},
    };

    /// A stream that was looked at and waits in the backlog. It may leave by itself: when it is reset, or refused.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct WaitingKey(StreamKey);

    /// The next stream of the peer.
    #[derive(Debug)]
    pub enum NextStream {
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

    #[inline]
    pub(super) fn accept_next(
        session: &TypedSession,
        take: impl FnOnce(&Waiting<'_>) -> bool,
    ) -> Option<NextStream> {
        let (key, taken) = session.session().shared.with(|core| {
            let key = core.proto.look_at_next()?;
            let takes = take(&core.proto.waiting(key)?);
            Some((key, takes.then(|| accept(core, key)).flatten()))
        })?;
        Some(match taken {
            Some(parts) => NextStream::Accepted(accepted(session, key, parts)),
            None => NextStream::Left(WaitingKey(key)),
        })
    }

    #[inline]
    pub(super) fn accept_any(session: &TypedSession) -> Option<Accepted> {
        let mut first = None;
        let (key, stream_type, came_at) =
            session.session().shared.with(|core| core.proto.accept_with_chunk(&mut first))?;
        Some(accepted(session, key, (stream_type, first, came_at)))
    }

    pub(super) fn accept_waiting(session: &TypedSession, key: WaitingKey) -> Option<Accepted> {
        let parts = session.session().shared.with(|core| accept(core, key.0))?;
        Some(accepted(session, key.0, parts))
    }

    pub(super) fn refuse_waiting(session: &TypedSession, key: WaitingKey) {
        session.session().shared.with(|core| core.proto.refuse_waiting(key.0));
    }

    pub(super) fn with_backlog<R>(session: &TypedSession, look: impl FnOnce(Backlog<'_>) -> R) -> R {
        session.session().shared.with(|core| look(Backlog(core)))
    }

    type Parts = (Option<u32>, Option<Bytes>, Option<Instant>);

    #[inline]
    fn accepted(session: &TypedSession, key: StreamKey, (stream_type, first, came_at): Parts) -> Accepted {
        let stream = Stream::new(Arc::clone(&session.session().shared), key);
        Accepted { stream: TypedStream::accepted((stream, stream_type)), first, came_at }
    }

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
}
