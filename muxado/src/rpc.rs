//! Operations that exist for `muxado-rpc` alone.
//!
//! They are no part of the public interface and may change in any release. Most of them do two steps under one locking
//! of the session: for a message that opens or ends its stream that is a good part of what it costs.

#[cfg(feature = "tokio")]
pub use self::handles::{OpenTypedExt, StreamExt, TypedSessionExt};
pub use crate::{
    log_limit::{LogLimit, LogLine},
    proto::Source,
};

#[cfg(feature = "tokio")]
mod handles {
    use std::{
        sync::Arc,
        task::{Context, Poll},
    };

    use bytes::Bytes;

    use crate::{
        error::{OpenError, ReadError, WriteError},
        proto::{Finish, Read, Source},
        stream::Stream,
        typed::{OpenTyped, TypedSession, TypedStream},
    };

    /// What `muxado-rpc` does with a [`TypedSession`] beside its public methods.
    pub trait TypedSessionExt {
        /// Drops streams that are reset, unless they were accepted before: for a session that takes whole messages, and
        /// answers them. Otherwise what came on them waits to be accepted.
        fn accept_whole_only(&self);

        /// Takes the next stream of the peer whose type has arrived, if there is one, and with it what has come on it so
        /// far, as [`Stream::poll_read_chunk`] would return it.
        ///
        /// ```
        /// # fn example(session: &muxado::TypedSession) {
        /// use muxado::rpc::TypedSessionExt;
        ///
        /// if let Some((stream, Some(first))) = session.try_accept_with_chunk() {
        ///     println!("{}: {} bytes", stream.stream_type(), first.len());
        /// }
        /// # }
        /// ```
        fn try_accept_with_chunk(&self) -> Option<(TypedStream, Option<Bytes>)>;
    }

    /// What `muxado-rpc` does with an [`OpenTyped`] beside awaiting it.
    pub trait OpenTypedExt {
        /// Opens the stream with a message that is all this side will send on it.
        ///
        /// It does in one step what [`Stream::poll_write_final`] and a first [`Stream::poll_read_chunk`] would do behind
        /// the opening. As much of `data` is taken as there is room for. If that is all of it, the stream's end follows
        /// and the task is woken when something has come back; otherwise it is woken when there is room for more, to be
        /// passed to [`Stream::poll_write_final`].
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
        /// let stream = poll_fn(|cx| opening.poll_with_final(cx, &mut question)).await?;
        /// let mut stream = stream.into_inner();
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
        ) -> Poll<Result<TypedStream, OpenError>>;
    }

    /// What `muxado-rpc` does with a [`Stream`] beside its public methods.
    pub trait StreamExt: Sized {
        /// Polls for the next bytes as [`Stream::poll_read_chunk`] does, and drops the stream if it has ended with them.
        ///
        /// A stream that has ended in both directions behind the bytes returned is taken out of `stream`. Where there is
        /// no stream the result is `Ok(None)`.
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
        /// while let Some(chunk) = poll_fn(|cx| Stream::poll_read_last(&mut stream, cx, usize::MAX)).await? {
        ///     println!("{} bytes", chunk.len());
        /// }
        /// # Ok(())
        /// # }
        /// ```
        fn poll_read_last(
            stream: &mut Option<Self>,
            cx: &mut Context<'_>,
            max: usize,
        ) -> Poll<Result<Option<Bytes>, ReadError>>;

        /// Sends `data` with the FIN behind it, and drops the stream. It comes back if there was no room for all of
        /// `data`; the rest is to be passed to [`Stream::poll_write_final`].
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
        /// let mut response = &b"42"[..];
        /// if let Some(mut stream) = stream.finish_with(&mut response)? {
        ///     poll_fn(|cx| stream.poll_write_final(cx, &mut response)).await?;
        /// }
        /// # Ok(())
        /// # }
        /// ```
        fn finish_with(self, data: &mut impl Source) -> Result<Option<Self>, WriteError>;
    }

    impl TypedSessionExt for TypedSession {
        fn accept_whole_only(&self) {
            self.session().shared.with(|core| core.proto.accept_whole_only());
        }

        fn try_accept_with_chunk(&self) -> Option<(TypedStream, Option<Bytes>)> {
            let shared = &self.session().shared;
            let (key, stream_type, chunk) = shared.with(|core| {
                let (key, stream_type) = core.proto.accept()?;
                let chunk = match core.proto.read_chunk(key, usize::MAX) {
                    Ok(Read::Data(chunk)) => Some(chunk),
                    // The stream says so again when it is read.
                    Ok(Read::Finished | Read::Pending) | Err(_) => None,
                };
                Some((key, stream_type, chunk))
            })?;
            let stream = Stream::new(Arc::clone(shared), key);
            Some((TypedStream::accepted((stream, stream_type)), chunk))
        }
    }

    impl OpenTypedExt for OpenTyped {
        fn poll_with_final(
            &mut self,
            cx: &mut Context<'_>,
            data: &mut impl Source,
        ) -> Poll<Result<TypedStream, OpenError>> {
            self.poll_final(cx, data)
        }
    }

    impl StreamExt for Stream {
        fn poll_read_last(
            stream: &mut Option<Self>,
            cx: &mut Context<'_>,
            max: usize,
        ) -> Poll<Result<Option<Bytes>, ReadError>> {
            let Some(this) = stream else { return Poll::Ready(Ok(None)) };
            let inner = this.inner();
            let (result, released) = inner.shared.with_release(inner.key, |core| {
                let result = core.poll_read_chunk(inner.key, cx, max);
                let is_over = matches!(result, Poll::Ready(Ok(_))) && core.proto.is_read_out(inner.key);
                (result, is_over)
            });
            if released && let Some(stream) = stream.take() {
                stream.drop_released();
            }
            result
        }

        fn finish_with(self, data: &mut impl Source) -> Result<Option<Self>, WriteError> {
            let inner = self.inner();
            let (result, released) = inner.shared.with_release(inner.key, |core| {
                let result = core.proto.write_with(inner.key, data, Finish::Yes);
                (result, !data.has_remaining())
            });
            if released {
                self.drop_released();
                return result.map(|_| None);
            }
            result.map(|_| Some(self))
        }
    }
}
