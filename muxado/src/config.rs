//! The settings of a session: each a limit or a size, with its unit, default and cost.

use std::{sync::Arc, time::Duration};

use crate::proto::FRAME;

/// Settings of one session.
///
/// The defaults suit both the Go original and ngrok's crate as peers. Every setter takes and gives
/// the value, so they chain:
///
/// ```
/// use muxado::Config;
///
/// let config = Config::default().max_streams(64).accept_backlog(16);
/// assert_eq!(config.window_size_bytes(), 256 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) window_size: u32,
    pub(crate) max_streams: usize,
    pub(crate) accept_backlog: usize,
    pub(crate) max_open_streams: usize,
    pub(crate) max_unacknowledged_opens: usize,
    pub(crate) max_untyped_streams: usize,
    pub(crate) type_timeout: Duration,
    pub(crate) stream_send_buffer: usize,
    pub(crate) session_send_buffer: usize,
    pub(crate) session_receive_memory: usize,
    pub(crate) window_growth: usize,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) frame_log: Option<Arc<str>>,
    pub(crate) family_extension: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_size: 256 * 1024,
            max_streams: 4096,
            accept_backlog: 1024,
            max_open_streams: 65_536,
            max_unacknowledged_opens: 64,
            max_untyped_streams: 64,
            type_timeout: Duration::from_secs(10),
            stream_send_buffer: 128 * 1024,
            session_send_buffer: 1024 * 1024,
            session_receive_memory: 64 * 1024 * 1024,
            window_growth: 16 * 1024 * 1024,
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
            idle_timeout: Some(Duration::from_secs(3600)),
            frame_log: None,
            family_extension: true,
        }
    }
}

impl Config {
    /// Bytes that either side may send on a stream before the other has given credit.
    ///
    /// The protocol has no way to tell the peer: **both sides must be set alike**. Default 256 KiB,
    /// which is what the other implementations use; 1 KiB to 16 MiB, other values are clamped.
    /// Costs up to this much receive memory a stream, within [`session_receive_memory`].
    ///
    /// [`session_receive_memory`]: Self::session_receive_memory
    #[must_use]
    pub fn window_size(mut self, bytes: u32) -> Self {
        self.window_size = bytes.clamp(1024, 16 * 1024 * 1024);
        self
    }

    /// Streams that the peer may have open at once. Default 4096.
    ///
    /// One more is refused with `STREAM_REFUSED`; nothing of it is kept.
    #[must_use]
    pub fn max_streams(mut self, streams: usize) -> Self {
        self.max_streams = streams;
        self
    }

    /// Streams of the peer that may wait to be accepted. Default 1024.
    ///
    /// One more is refused with `ACCEPT_QUEUE_FULL`; nothing of it is kept.
    #[must_use]
    pub fn accept_backlog(mut self, streams: usize) -> Self {
        self.accept_backlog = streams;
        self
    }

    /// Streams that this side may have open at once, without that of its heartbeats; `open` waits at the limit.
    /// Default 65 536.
    ///
    /// A peer that is not known to be of this family gets at most 256, because ngrok's crate ends
    /// the session at 512, streams that have just ended included.
    ///
    /// Of `muxado-rpc`'s calls, those that are made for their own sake use three quarters of it and of
    /// [`max_unacknowledged_opens`](Self::max_unacknowledged_opens): the rest is for calls made while such are
    /// served. Of less than 32, each depth of these may use one stream more than the one before, 8 beyond the limit.
    #[must_use]
    pub fn max_open_streams(mut self, streams: usize) -> Self {
        self.max_open_streams = streams.max(1);
        self
    }

    /// Streams that this side may have opened without a sign from the peer that it took them;
    /// `open` waits at the limit. Default 64, at least 1.
    ///
    /// The Go original resets streams beyond 128 waiting ones, ngrok's crate stops reading at 64. A
    /// peer known to be of this family gets 1024.
    #[must_use]
    pub fn max_unacknowledged_opens(mut self, streams: usize) -> Self {
        self.max_unacknowledged_opens = streams.max(1);
        self
    }

    /// On a typed session: streams of the peer whose four type bytes have not all arrived.
    /// Default 64. One more is refused with `ACCEPT_QUEUE_FULL`.
    #[must_use]
    pub fn max_untyped_streams(mut self, streams: usize) -> Self {
        self.max_untyped_streams = streams;
        self
    }

    /// On a typed session: how long a stream may take to send its type. Default 10 s.
    /// After that it is reset with `CANCELLED`.
    #[must_use]
    pub fn type_timeout(mut self, timeout: Duration) -> Self {
        self.type_timeout = timeout;
        self
    }

    /// Bytes a stream may have accepted from its writer without having sent them; at the limit
    /// writes wait. Default 128 KiB, so that a message of 64 KiB fits with its envelope; at least 1 KiB.
    #[must_use]
    pub fn stream_send_buffer(mut self, bytes: usize) -> Self {
        self.stream_send_buffer = bytes.max(1024);
        self
    }

    /// The same, summed over all streams of the session. Default 1 MiB, at least 16 KiB.
    #[must_use]
    pub fn session_send_buffer(mut self, bytes: usize) -> Self {
        self.session_send_buffer = bytes.max(16 * 1024);
        self
    }

    /// Bytes that the session may hold unread. Default 64 MiB, at least one window.
    ///
    /// Beyond it, the stream with the most unread bytes is reset with `ENHANCE_YOUR_CALM`; the
    /// session goes on reading.
    #[must_use]
    pub fn session_receive_memory(mut self, bytes: usize) -> Self {
        self.session_receive_memory = bytes;
        self
    }

    /// Bytes by which the windows of all streams together may grow beyond [`window_size`]; 0 keeps
    /// them as they are. Default 16 MiB.
    ///
    /// A stream's window grows when it is what holds a fast sender up over a long link: to 8 MiB at
    /// most, to 1 MiB for a peer that is not known to be of this family. That of a session's only stream
    /// grows to what arrives in 1 ms, at most 1 MiB (`PROTOCOL §5.4`). Nothing has to be told to the peer.
    /// What arrives counts as any unread byte.
    ///
    /// [`window_size`]: Self::window_size
    #[must_use]
    pub fn window_growth(mut self, bytes: usize) -> Self {
        self.window_growth = bytes;
        self
    }

    /// How long the transport may take no byte of what waits for it, before the session ends with
    /// [`SessionError::WriteTimeout`](crate::SessionError::WriteTimeout). Default 30 s.
    ///
    /// A slow peer is no stalled one: each byte taken starts the time anew. A transport that buffers, as one with TLS
    /// or compression, must also end a flush in this time, unless it is seen to take more when it has been full.
    ///
    /// As every limit of a session, it is judged after what is possible was done. A process that was stopped for longer,
    /// or a machine that slept, has one second more.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Logs every frame as a `tracing` event of level info and target `muxado::frame`, as
    /// `NAME READ DATA 3 5 SYN|FIN`: direction, type, stream, length, flags. Default off.
    ///
    /// For one run of a program, the environment variable `MUXADO_FRAME_LOG` does the same; its
    /// value is the name.
    #[must_use]
    pub fn frame_log(mut self, name: impl Into<Arc<str>>) -> Self {
        self.frame_log = Some(name.into());
        self
    }

    /// How long closing may take to send what was finished, as fast as the peer gives credit for it, and to see the
    /// peer's end. Default 2 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How long a session without open streams may go on without a frame in either direction, before
    /// it is closed with `NO_ERROR` and ends with
    /// [`SessionError::IdleTimeout`](crate::SessionError::IdleTimeout). Default one hour, at least
    /// 1 ms; `None` never closes it.
    ///
    /// It bounds what a peer can hold that says nothing: a connection, a task and some memory. The
    /// streams of heartbeats are no use of a session, but their frames count: a peer with heartbeats
    /// is never closed as long as it answers or beats.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        self
    }

    /// Whether to mark opening frames with a spare flag by which peers of this family know each
    /// other (`PROTOCOL §12`). Default on; the other implementations ignore the flag.
    #[must_use]
    pub fn family_extension(mut self, on: bool) -> Self {
        self.family_extension = on;
        self
    }

    /// The [`window_size`](Self::window_size) in force, in bytes.
    pub fn window_size_bytes(&self) -> u32 {
        self.window_size
    }

    /// Consumed bytes after which credit goes back: two of the largest frames. A lone stream's goes back for every
    /// one, so that the peer goes on while we write. Never above 128 KiB: ngrok's crate clamps its credit at 256 KiB,
    /// so a larger threshold could stop it for ever (`PROTOCOL §5`).
    pub(crate) fn credit_threshold(&self, lone: bool) -> u32 {
        (self.window_size / 2).min(if lone { 1 } else { 2 } * FRAME as u32)
    }
}
