//! The settings of a session: limits and sizes, each with its unit, default and cost.

use std::{sync::Arc, time::Duration};

use crate::proto::FRAME;

/// Settings of a session.
///
/// The defaults suit both the Go original and ngrok's crate as peers. Setters take and return the value, so they can be
/// chained:
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
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) frame_log: Option<Arc<str>>,
    pub(crate) extensions: bool,
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
            stall_timeout: Some(Duration::from_secs(60)),
            close_timeout: Duration::from_secs(2),
            idle_timeout: Some(Duration::from_secs(3600)),
            frame_log: None,
            extensions: true,
        }
    }
}

impl Config {
    /// Sets how many bytes either side may send on a stream before the other has given credit.
    ///
    /// Default 256 KiB, which is what the other implementations use; values are clamped to 1 KiB to 16 MiB. The protocol
    /// has no way to tell the peer: **both sides must be set alike**. Each stream costs up to this much receive memory,
    /// within [`session_receive_memory`].
    ///
    /// [`session_receive_memory`]: Self::session_receive_memory
    #[must_use]
    pub fn window_size(mut self, bytes: u32) -> Self {
        self.window_size = bytes.clamp(1024, 16 * 1024 * 1024);
        self
    }

    /// Sets how many streams the peer may have open at once. Default 4096.
    ///
    /// Further ones are refused with `STREAM_REFUSED`; nothing of them is kept.
    #[must_use]
    pub fn max_streams(mut self, streams: usize) -> Self {
        self.max_streams = streams;
        self
    }

    /// Sets how many streams of the peer may wait to be accepted. Default 1024.
    ///
    /// Further ones are refused with `ACCEPT_QUEUE_FULL`; nothing of them is kept. `muxado-rpc` keeps up to a quarter
    /// more, at least 8, of calls that are made while others are served.
    #[must_use]
    pub fn accept_backlog(mut self, streams: usize) -> Self {
        self.accept_backlog = streams;
        self
    }

    /// Sets how many streams this side may have open at once, that of its heartbeats not included. Default 65 536, at
    /// least 1. At the limit `open` waits.
    ///
    /// Before the protocol extensions are negotiated it is at most 256, because ngrok's crate ends the session at 512,
    /// streams that have just ended included.
    ///
    /// Of `muxado-rpc`'s calls, those that are made for their own sake use three quarters of it: the rest is for calls
    /// made while such are served. Of less than 32, each depth of these may use one stream more than the one before, 8
    /// beyond the limit.
    #[must_use]
    pub fn max_open_streams(mut self, streams: usize) -> Self {
        self.max_open_streams = streams.max(1);
        self
    }

    /// Sets how many streams this side may have opened without a sign from the peer that it accepted them. Default 64, at
    /// least 1. At the limit `open` waits.
    ///
    /// The Go original resets streams beyond 128 waiting ones, and ngrok's crate stops reading at 64. Once the protocol
    /// extensions are negotiated it is at least 1024, and calls of `muxado-rpc` that are made while others are served may
    /// use up to a quarter more. Without the extensions calls made for their own sake use three quarters of it.
    #[must_use]
    pub fn max_unacknowledged_opens(mut self, streams: usize) -> Self {
        self.max_unacknowledged_opens = streams.max(1);
        self
    }

    /// Sets how many streams of the peer may wait for the rest of their type, on a typed session. Default 64.
    ///
    /// Further ones are refused with `ACCEPT_QUEUE_FULL`.
    #[must_use]
    pub fn max_untyped_streams(mut self, streams: usize) -> Self {
        self.max_untyped_streams = streams;
        self
    }

    /// Sets how long a stream of the peer may take to send its type, on a typed session. Default 10 s.
    ///
    /// After that it is reset with `CANCELLED`.
    #[must_use]
    pub fn type_timeout(mut self, timeout: Duration) -> Self {
        self.type_timeout = timeout;
        self
    }

    /// Sets how many bytes a stream may have accepted from its writer without having sent them. At the limit writes wait.
    ///
    /// Default 128 KiB, so that a message of 64 KiB fits with its envelope; at least 1 KiB.
    #[must_use]
    pub fn stream_send_buffer(mut self, bytes: usize) -> Self {
        self.stream_send_buffer = bytes.max(1024);
        self
    }

    /// Sets how many bytes all streams of the session together may have accepted from their writers without having sent
    /// them. At the limit writes wait.
    ///
    /// Default 1 MiB, at least 16 KiB.
    #[must_use]
    pub fn session_send_buffer(mut self, bytes: usize) -> Self {
        self.session_send_buffer = bytes.max(16 * 1024);
        self
    }

    /// Sets how many received bytes the session may hold unread. Default 64 MiB, at least one window.
    ///
    /// A peer with the protocol extensions keeps to it, so that no stream is lost (`PROTOCOL §5.6`): it takes it for
    /// 64 MiB, unless `muxado-rpc` advertises another size. Beyond it, the stream with the most unread bytes is reset with
    /// `ENHANCE_YOUR_CALM`; the session goes on reading.
    #[must_use]
    pub fn session_receive_memory(mut self, bytes: usize) -> Self {
        self.session_receive_memory = bytes;
        self
    }

    /// Sets by how many bytes the windows of all streams together may grow beyond [`window_size`]. Default 16 MiB; 0 keeps
    /// them as they are.
    ///
    /// The window of a stream grows when it is what holds up a fast sender over a long link: to 8 MiB at most, to 1 MiB
    /// for a peer without the protocol extensions. That of a session's only stream grows to what arrives in 1 ms, at most
    /// 1 MiB (`PROTOCOL §5.4`). The peer need not be told. What arrives counts as unread bytes as usual.
    ///
    /// [`window_size`]: Self::window_size
    #[must_use]
    pub fn window_growth(mut self, bytes: usize) -> Self {
        self.window_growth = bytes;
        self
    }

    /// Sets how long the transport may take no byte of what waits for it, before the session ends with
    /// [`SessionError::WriteTimeout`](crate::SessionError::WriteTimeout). Default 30 s.
    ///
    /// A slow peer is not a stalled one: each byte taken starts the time anew. A transport that buffers, such as one with
    /// TLS or compression, must also complete a flush in this time, unless it is seen to take more after it was full.
    ///
    /// Like every time limit of a session, it takes effect after what is possible was done. If the process was stopped for
    /// longer, or the machine slept, there is one second more.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets how long a stream that waits for the peer may stand still before it is reset with
    /// [`WRITE_TIMEOUT`](crate::ErrorCode::WRITE_TIMEOUT). Default 60 s, clamped to 1 s to 24 h; `None` never resets one.
    ///
    /// A stream waits for the peer while the peer gives no credit for what was written to it, and, in calls of
    /// `muxado-rpc`, while the rest of a message is missing that the peer has begun. Less than 1 KiB in this time counts
    /// as nothing. Any other stream may rest for as long as its session lives. The time is kept coarsely: a stream is
    /// reset within one and a quarter of it. If an application stops reading a stream for that long, and its peer has more
    /// to send than the window holds, the stream is lost.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        self.stall_timeout = timeout.map(|timeout| timeout.clamp(*bounds.start(), *bounds.end()));
        self
    }

    /// Logs every frame as a `tracing` event of level info and target `muxado::frame`. Default off.
    ///
    /// A line is `NAME READ DATA 3 5 SYN|FIN`: name, direction, type, stream, length, flags. For one run of a program, the
    /// environment variable `MUXADO_FRAME_LOG` does the same; its value is the name.
    #[must_use]
    pub fn frame_log(mut self, name: impl Into<Arc<str>>) -> Self {
        self.frame_log = Some(name.into());
        self
    }

    /// Sets how long closing may take. Default 2 s.
    ///
    /// In this time what was finished is sent, as fast as the peer gives credit for it, and the peer's end is awaited.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets how long a session without open streams may go on without a frame in either direction, before it is closed
    /// with `NO_ERROR` and ends with [`SessionError::IdleTimeout`](crate::SessionError::IdleTimeout). Default one hour, at
    /// least 1 ms; `None` never closes it.
    ///
    /// It bounds what a silent peer can hold: a connection, a task and some memory. The streams of heartbeats do not count
    /// as open, but their frames count: a session is never closed as long as heartbeats are sent or answered.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout.map(|timeout| timeout.max(Duration::from_millis(1)));
        self
    }

    /// Sets whether to use the protocol extensions, and to show it by a spare flag on opening frames (`PROTOCOL §12`).
    /// Default on; the other implementations ignore the flag.
    #[must_use]
    pub fn extensions(mut self, on: bool) -> Self {
        self.extensions = on;
        self
    }

    /// Sets whether to use the protocol extensions.
    #[deprecated(note = "it is called `extensions` now")]
    #[must_use]
    pub fn family_extension(self, on: bool) -> Self {
        self.extensions(on)
    }

    /// Returns the [`window_size`](Self::window_size) in force, in bytes.
    pub fn window_size_bytes(&self) -> u32 {
        self.window_size
    }

    /// Returns after how many consumed bytes credit goes back: two of the largest frames, or one for a lone stream, so
    /// that the peer goes on while we write. Never above 128 KiB: ngrok's crate clamps its credit at 256 KiB, so a larger
    /// threshold could stop it for ever (`PROTOCOL §5`).
    pub(crate) fn credit_threshold(&self, lone: bool) -> u32 {
        (self.window_size / 2).min(if lone { 1 } else { 2 } * FRAME as u32)
    }
}
