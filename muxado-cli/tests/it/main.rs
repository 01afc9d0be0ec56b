//! The program `muxado` as it is run: its output and its exit status, against servers that it has never seen.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calling;
mod certs;
mod describing;
mod failing;
mod health;
mod interrupted;
mod readme;
mod schemas;
mod services;
mod terminal;
mod transports;
mod world;

/// The server of the session in the README: the very source of the example.
#[expect(dead_code, unreachable_pub, clippy::print_stdout, reason = "the example is a program of its own")]
#[path = "../../../examples/examples/parcels.rs"]
mod parcels;
