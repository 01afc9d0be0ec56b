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

/// State of one stream in the session and in the application, in bytes.
const STREAM: usize = 4 * KIB;

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

/// Makes the session owe more than the kernel takes, and reads none of it.
fn jam(peer: &mut Attacker) {
    for n in 0..3 {
        peer.send(&[Frame::syn(id(n), vec![1; 128 * KIB])]);
    }
    peer.settle();
    peer.check_bystander();
}

/// Opens many streams and resets each, while the session cannot send; says what it holds then.
fn come_and_go(app: App, frame: fn(u32) -> Frame) -> usize {
    // No more resets of streams that have just come than a peer may send, however quick the machine is.
    const ROUNDS: usize = 24;
    const STREAMS: usize = 400;
    let outcome = attack(app, move |peer| {
        jam(peer);
        for round in 0..ROUNDS {
            let ids: Vec<_> = (0..STREAMS).map(|n| id(100 + round * STREAMS + n)).collect();
            peer.send(&ids.iter().map(|id| frame(*id)).collect::<Vec<_>>());
            peer.settle();
            // Now the application has taken each, and the session has something to send for it.
            peer.check_bystander();
            peer.send(&ids.iter().map(|id| Frame::rst(*id, 6)).collect::<Vec<_>>());
        }
        peer.settle();
        peer.check_bystander();
        peer.stats().streams_open
    });
    outcome.survived();
    assert!(outcome.result <= 3, "{} streams", outcome.result);
    outcome.held
}

#[test]
fn answers_that_are_reset_before_they_can_be_sent_leave_nothing() {
    let held = come_and_go(App::Echo, |id| Frame::syn(id, [1; 64]));
    assert!(held < 2 * MIB, "{held} bytes");
}

#[test]
fn resets_that_are_overtaken_before_they_can_be_sent_leave_nothing() {
    let held = come_and_go(App::Read, |id| Frame::syn_fin(id, [1; 64]));
    assert!(held < 2 * MIB, "{held} bytes");
}

#[test]
fn writers_that_wait_for_the_session_and_are_reset_leave_nothing() {
    let held = come_and_go(App::Answer(500 * KIB), |id| Frame::syn(id, [1; 64]));
    assert!(held < 3 * 128 * KIB + 4 * MIB, "{held} bytes");
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

/// Sends so much on each of many streams, in pieces of this size, of which the application leaves
/// `left` bytes unread; says how many are held for each stream.
fn half_read(sent: usize, piece: usize, left: usize) -> usize {
    const STREAMS: usize = 250;
    let outcome = attack(App::Leave { of: sent, left }, move |peer| {
        for n in 0..STREAMS {
            peer.send(&[Frame::syn(id(n), "")]);
            for piece in vec![1; sent].chunks(piece) {
                // What is for nobody fills the rest of the read buffer.
                peer.send(&[Frame::data(id(n), piece), Frame::new(9, 0, 0, vec![0; 48 * KIB])]);
            }
            peer.wait(|stats| stats.bytes_unread == (n + 1) * left);
        }
    });
    outcome.survived();
    outcome.held / STREAMS
}

#[test]
fn last_byte_of_a_slice_does_not_hold_the_buffer() {
    let held = half_read(16 * KIB, 16 * KIB, 1);
    assert!(held < STREAM + KIB, "{held} bytes for one");
}

#[test]
fn last_byte_of_a_copy_does_not_hold_the_rest() {
    let held = half_read(36 * KIB, 12 * KIB, 1);
    assert!(held < STREAM + KIB, "{held} bytes for one");
}

#[test]
fn part_of_a_slice_holds_no_more_than_four_times_itself() {
    let held = half_read(16 * KIB, 16 * KIB, 5 * KIB);
    assert!(held < STREAM + 4 * 5 * KIB, "{held} bytes for 5 KiB");
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
