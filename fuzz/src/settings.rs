//! The settings of a session under test, small enough that every limit is met.

use std::time::Duration;

use arbitrary::Unstructured;
use muxado::{Config, Side};

/// The type of control streams, where there are any: the one that a peer's streams have in `operations`.
pub(crate) const CONTROL: u32 = 0x0909_0909;

/// A [`Config`] whose numbers can be read, and what else a session starts with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) side: Side,
    pub(crate) typed: bool,
    pub(crate) window: u32,
    pub(crate) max_streams: usize,
    pub(crate) accept_backlog: usize,
    pub(crate) max_untyped_streams: usize,
    pub(crate) max_open_streams: usize,
    pub(crate) max_unacknowledged_opens: usize,
    pub(crate) stream_send_buffer: usize,
    pub(crate) session_send_buffer: usize,
    pub(crate) session_receive_memory: usize,
    pub(crate) window_growth: usize,
    pub(crate) family: bool,
    /// Control streams are set apart, as far as the session is typed.
    pub(crate) control: bool,
}

impl Settings {
    /// Settings that the next bytes choose; with none left, the first of each.
    pub(crate) fn take(input: &mut Unstructured<'_>) -> Self {
        let window = choose(input, [1024, 4096, 65_536, 256 * 1024]);
        let memory = choose(input, [1, 4, 1024]) * window as usize;
        let mut settings = Self {
            side: choose(input, [Side::Server, Side::Client]),
            typed: choose(input, [false, true]),
            window,
            max_streams: choose(input, [4096, 3, 20]),
            accept_backlog: choose(input, [1024, 2, 10]),
            max_untyped_streams: choose(input, [64, 1, 5]),
            max_open_streams: choose(input, [65_536, 1, 12]),
            max_unacknowledged_opens: choose(input, [64, 1, 5]),
            stream_send_buffer: choose(input, [64 * 1024, 1024, 8192]),
            session_send_buffer: choose(input, [1024 * 1024, 16 * 1024]),
            session_receive_memory: memory,
            window_growth: choose(input, [16 * 1024 * 1024, 0, 3000]),
            family: choose(input, [true, false]),
            control: false,
        };
        // A choice of its own would change what inputs mean that once found something.
        settings.control = settings.max_untyped_streams == 5;
        settings
    }

    pub(crate) fn config(&self) -> Config {
        Config::default()
            .window_size(self.window)
            .max_streams(self.max_streams)
            .accept_backlog(self.accept_backlog)
            .max_untyped_streams(self.max_untyped_streams)
            .max_open_streams(self.max_open_streams)
            .max_unacknowledged_opens(self.max_unacknowledged_opens)
            .stream_send_buffer(self.stream_send_buffer)
            .session_send_buffer(self.session_send_buffer)
            .session_receive_memory(self.session_receive_memory)
            .window_growth(self.window_growth)
            .extensions(self.family)
            .idle_timeout(self.idle_timeout())
    }

    /// Of some sessions so short that an input may get there. It takes no choice of its own, either.
    fn idle_timeout(&self) -> Option<Duration> {
        (self.max_streams == 3).then_some(Duration::from_secs(20))
    }

    /// Bytes that may be written and not yet be in frames: what windows have room for and what they
    /// have none for are limited apart.
    pub(crate) fn most_unsent(&self) -> usize {
        2 * self.session_send_buffer
    }
}

/// One of these.
pub(crate) fn choose<T: Copy, const N: usize>(input: &mut Unstructured<'_>, of: [T; N]) -> T {
    of[input.int_in_range(0..=N - 1).unwrap_or(0)]
}
