//! Scripted hostile peers on real sockets: what they can make a session hold, send and do.
//!
//! Rows A1 to A22 are those of the catalogue of known attacks on multiplexers. Every bound that is
//! asserted is one that SECURITY.md or PROTOCOL.md publishes, and is checked by counting: allocated
//! bytes, frames, streams. During each attack another connection of the process gets its answers.

mod app;
mod arena;
mod attacker;
mod calls;
mod control;
mod floods;
mod formula;
mod handshakes;
mod malformed;
mod memory;
mod quotes;
mod replies;
mod soak;
mod stalls;
mod streams;
mod target;
