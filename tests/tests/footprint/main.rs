//! What an end of a connection holds while it does nothing, in allocated bytes: that end alone.
//!
//! The end that is counted runs on the test's own thread, the other one on another. Nothing waits for
//! real time to pass: the clock of the counted end is moved by hand.

mod arena;
mod calls;
mod streams;

/// Most bytes that an idle end of a session may hold, its driver's task, its socket and all included.
const SESSION: usize = 16 * 1024;

/// Most bytes that an idle connection of calls may hold at one end: the same, and what calls need beside their session.
const CONNECTION: usize = 6 * 1024;

/// Most bytes that a call may hold where it was made while its handler waits, its future included.
const CALL_MADE: usize = 512;

/// The same where it is served, its handler and its task included: both ends together hold at most 1.4 KiB.
const CALL_SERVED: usize = 896;

/// Calls that wait at a time, so many that lists which grow by doubling are nearly full.
const MANY_CALLS: usize = 1000;

/// Most bytes that an idle stream may hold at one end.
const STREAM: usize = 1024;
