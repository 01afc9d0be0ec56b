//! What an end of a connection holds while it does nothing, in allocated bytes: that end alone.
//!
//! The end that is counted runs on the test's own thread, the other one on another. Nothing waits for
//! real time to pass: the clock of the counted end is moved by hand.

mod arena;
mod calls;
mod streams;

/// Most bytes that an idle end of a session may hold, its driver's task, its socket and all included.
const SESSION: usize = 16 * 1024;

/// Most bytes that an idle stream may hold at one end.
const STREAM: usize = 1024;
