//! What calls and streams cost, as exact counts: allocations, frames, bytes, reads, writes, wakes, and sizes
//! of futures.
//!
//! Each bound is today's number. A change that makes one larger fails here, and has to be worth it; one that
//! makes it smaller lowers the bound. All of it runs on one thread, in virtual time, over a transport in
//! memory that allocates nothing, so the numbers are the same in each run and on each machine.

mod bulk;
mod calls;
mod recorded;
mod refusals;
mod rig;
mod service;
mod sizes;
mod streams;
mod traffic;
mod wire;

use std::fmt::Display;

/// Fails if more was measured than the bound.
#[track_caller]
fn at_most(what: impl Display, measured: u64, bound: u64) {
    assert!(measured <= bound, "{what}: {measured} measured, the bound is {bound}");
}
