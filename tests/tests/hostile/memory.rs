//! Tricks by which little that counts holds much that does not.

use muxado::{Config, Side};
use muxado_tests::Frame;

use crate::{
    app::App,
    arena::{attack, attack_with},
    attacker::Attacker,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const WINDOW: usize = 256 * KIB;

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

/// Makes the session owe more than the kernel takes, and reads none of it.
fn jam(peer: &mut Attacker, first: usize) {
    for n in first..first + 8 {
        peer.send(&[Frame::syn(id(n), vec![1; 128 * KIB])]);
    }
    peer.settle();
    peer.check_bystander();
}

#[test]
fn streams_that_come_and_go_while_nothing_is_read_leave_nothing() {
    const ROUNDS: usize = 500;
    const STREAMS: usize = 400;
    let outcome = attack(App::Echo, |peer| {
        jam(peer, 0);
        for round in 0..ROUNDS {
            let ids: Vec<_> = (0..STREAMS).map(|n| id(100 + round * STREAMS + n)).collect();
            // Each is echoed, which cannot be sent, before the peer resets it.
            peer.send(&ids.iter().map(|id| Frame::syn(*id, [1; 64])).collect::<Vec<_>>());
            peer.settle();
            peer.check_bystander();
            peer.send(&ids.iter().map(|id| Frame::rst(*id, 6)).collect::<Vec<_>>());
        }
        peer.settle();
        peer.check_bystander();
        peer.stats().streams_open
    });
    outcome.survived();
    assert!(outcome.result < 500, "{} streams", outcome.result);
    let bound = 8 * 128 * KIB + 3 * MIB;
    assert!(outcome.held < bound, "{} bytes held behind {} streams", outcome.held, ROUNDS * STREAMS);
}

#[test]
fn credit_without_reading_makes_no_room_for_more_unsent_bytes() {
    const STREAMS: usize = 200;
    const BUDGET: usize = 64 * KIB;
    let config = Config::default().window_size(1024).session_send_buffer(BUDGET);
    let outcome = attack_with(Side::Server, config, App::Multiply(1024), |peer| {
        // Each stream has used up its window.
        for n in 0..STREAMS {
            peer.send(&[Frame::syn(id(n), "x")]);
            let mut left = 1024;
            while left > 0 {
                left -= peer.recv().expect("the session lives").payload.len();
            }
        }
        // From here on nothing is read.
        peer.send(&[Frame::syn(id(999), [1; 1000]), Frame::wndinc(id(999), 1 << 20)]);
        peer.settle();
        peer.check_bystander();
        let mut most = 0;
        for n in 0..STREAMS {
            peer.send(&[Frame::data(id(n), [1; 64])]);
            peer.settle();
            peer.check_bystander();
            most = most.max(peer.stats().bytes_unsent);
            peer.send(&[Frame::wndinc(id(n), 64 * KIB as u32)]);
        }
        most
    });
    outcome.survived();
    assert!(outcome.result <= 2 * BUDGET, "{} bytes unsent, {} allowed", outcome.result, 2 * BUDGET);
}

#[test]
fn last_byte_of_a_slice_does_not_hold_the_buffer() {
    const STREAMS: usize = 500;
    let outcome = attack(App::LeaveOne(16 * KIB), |peer| {
        peer.flood(STREAMS, |n| {
            vec![Frame::syn(id(n), vec![1; 16 * KIB]), Frame::new(9, 0, 0, vec![0; 48 * KIB])]
        });
        peer.wait(|stats| stats.bytes_unread == STREAMS)
    });
    outcome.survived();
    assert!(outcome.held < STREAMS * 4 * KIB + MIB, "{} bytes held for {STREAMS}", outcome.held);
}

#[test]
fn last_byte_of_an_answer_does_not_hold_the_rest() {
    const STREAMS: usize = 300;
    let outcome = attack(App::Answer(WINDOW + 1), |peer| {
        for n in 0..STREAMS {
            peer.send(&[Frame::syn(id(n), "x")]);
            let mut left = WINDOW;
            while left > 0 {
                left -= peer.recv().expect("the session lives").payload.len();
            }
        }
        peer.stats().bytes_unsent
    });
    outcome.survived();
    assert_eq!(outcome.result, STREAMS);
    assert!(outcome.held < STREAMS * 4 * KIB + MIB, "{} bytes held for {STREAMS}", outcome.held);
}
