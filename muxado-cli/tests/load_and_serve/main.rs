//! The program itself: `muxado bench`, `muxado serve`, and `--serve` of the commands that connect.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod open_loop;
mod program;
mod serve;
mod shop;
