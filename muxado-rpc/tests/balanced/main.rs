//! Clients of many servers: which one gets a call, and what becomes of calls while servers come and go.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the modules are those of one program")]

mod choice;
mod down;
mod ejection;
mod ends;
mod fleet;
mod hedging;
mod retries;
mod sets;
