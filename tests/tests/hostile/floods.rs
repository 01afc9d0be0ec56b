//! Many small frames that do no work.

use muxado_tests::Frame;

use crate::{app::App, arena::attack};

const MIB: usize = 1024 * 1024;

/// A1: streams that are reset before anybody accepts them cost from a budget.
#[test]
fn a1_rapid_reset_before_accept_ends_the_session() {
    let outcome = attack(App::Ignore, |peer| {
        peer.flood(50_000, |n| vec![Frame::syn(peer_id(n), "x"), Frame::rst(peer_id(n), 6)])
    });
    outcome.broken_off(10).bounded(MIB);
}

fn peer_id(n: usize) -> u32 {
    2 * n as u32 + 3
}
