//! Our crate and ngrok's `muxado` 0.5.4 over one connection, and the bytes of the Go original.
//!
//! Every scenario runs in both roles. But for TCP the clock is virtual: it stands still while anything can
//! happen and jumps to the limit when nothing can, so a stalled connection fails at once.

mod closing;
mod golden;
mod keepalive;
mod peers;
mod streams;
mod tcp;
mod typed;
