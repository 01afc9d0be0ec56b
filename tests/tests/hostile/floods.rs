//! Many small frames that do no work: A1, A5, A7, A22.

use muxado_tests::{DATA, FIN, Frame, RST, SYN};

use crate::{
    app::App,
    arena::{Outcome, attack},
    attacker::Attacker,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A code of a GOAWAY.
const ENHANCE_YOUR_CALM: u32 = 10;

/// Opens a stream, and floods with one frame for it; says after how many the session was gone.
fn flood_of(app: App, count: usize, frame: fn(id: u32) -> Frame) -> Outcome<usize> {
    attack(app, move |peer| {
        let id = peer.id(0);
        peer.send(&[Frame::syn(id, "x")]);
        peer.flood(count, |_| vec![frame(id)])
    })
}

#[test]
fn a1_streams_that_are_reset_before_they_are_accepted_have_a_budget() {
    let outcome = attack(App::Ignore, |peer| {
        let id = |n| 2 * n as u32 + 3;
        peer.flood(100_000, |n| vec![Frame::syn(id(n), "x"), Frame::rst(id(n), 6)])
    });
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(MIB);
}

#[test]
fn a1_streams_that_are_reset_behind_their_acceptance_leave_nothing() {
    // The handler of each is started, and is gone before the next is looked at.
    let outcome = attack(App::Read, |peer| {
        let id = |n| 2 * n as u32 + 3;
        for n in 0..20 {
            let round: Vec<_> = (n * 400..(n + 1) * 400).collect();
            peer.send(&round.iter().map(|n| Frame::syn(id(*n), [1; 64])).collect::<Vec<_>>());
            peer.settle();
            peer.send(&round.iter().map(|n| Frame::rst(id(*n), 6)).collect::<Vec<_>>());
            peer.settle();
            peer.check_bystander();
        }
        peer.wait(|stats| stats.streams_open == 0)
    });
    outcome.survived().bounded(MIB);
    assert_eq!(outcome.result.streams_accepted, 8_000);
    // What stays is room for as many streams at once as there were, however many came in all.
    assert!(outcome.held < MIB, "{} bytes held behind it", outcome.held);
}

#[test]
fn a5_empty_data_frames_have_a_budget() {
    let outcome = flood_of(App::Hold, 50_000, |id| Frame::data(id, ""));
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(512 * KIB);
}

#[test]
fn a5_one_byte_frames_cost_no_more_than_twice_their_bytes() {
    const FRAMES: usize = 250_000;
    let outcome = flood_of(App::Hold, FRAMES, |id| Frame::data(id, "y"));
    outcome.survived().bounded(2 * FRAMES + 512 * KIB);
    assert_eq!(outcome.stats.bytes_unread, FRAMES + 1);
}

#[test]
fn a5_one_byte_frames_on_many_streams_cost_no_more_than_their_streams() {
    const STREAMS: usize = 1000;
    let outcome = attack(App::Hold, |peer: &mut Attacker| {
        let id = |n| 2 * n as u32 + 3;
        peer.flood(STREAMS, |n| vec![Frame::syn(id(n), "x")]);
        peer.flood(100 * STREAMS, |n| vec![Frame::data(id(n % STREAMS), "y")])
    });
    outcome.survived().bounded(STREAMS * 4 * KIB + MIB);
    assert_eq!(outcome.stats.bytes_unread, 101 * STREAMS);
}

#[test]
fn a7_credit_never_overflows() {
    for credit in [0x7FFF_FFFF, 0xFFFF_FFFF] {
        let outcome = attack(App::Multiply(1000), move |peer| {
            peer.send(&[Frame::syn(3, "")]);
            peer.flood(9_000, |_| vec![Frame::wndinc(3, credit)]);
            peer.send(&[Frame::data(3, "x")]);
            peer.recv().expect("the session lives").payload.len()
        });
        outcome.survived().bounded(512 * KIB);
        assert_eq!(outcome.result, 1000);
    }
}

#[test]
fn a22_frames_that_do_nothing_have_a_budget() {
    type Kind = (&'static str, fn(u32) -> Frame);
    let kinds: [Kind; 11] = [
        ("credit of 0", |id| Frame::wndinc(id, 0)),
        ("a FIN of a stream that never was", |id| Frame::fin(id + 2)),
        ("data of a stream that never was", |id| Frame::data(id + 2, "x")),
        ("a reset of a stream that never was", |id| Frame::rst(id + 2, 6)),
        ("credit for a stream that never was", |id| Frame::wndinc(id + 2, 1)),
        ("an unknown type", |_| Frame::new(9, 0, 0, "?")),
        ("a second FIN of a live stream", |id| Frame::fin(id)),
        ("data behind the FIN of a live stream", |id| Frame::data_fin(id, "x")),
        ("credit for a live stream to which nothing was sent", |id| Frame::wndinc(id, 1)),
        ("a second go-away", |_| Frame::go_away(0, 0, "")),
        ("a second go-away with a text", |_| Frame::go_away(0, 0, &"x".repeat(512))),
    ];
    for (name, frame) in kinds {
        let outcome = flood_of(App::Hold, 100_000, frame);
        outcome.broken_off(ENHANCE_YOUR_CALM).bounded(512 * KIB);
        assert!(outcome.stats.frames_received < 11_000, "{name}: {:?}", outcome.stats);
    }
}

#[test]
fn a22_all_flags_and_types_at_once_are_bounded() {
    let outcome = attack(App::Hold, |peer| {
        let id = peer.id(0);
        peer.send(&[Frame::syn(id, "x")]);
        peer.flood(100_000, |n| match n % 4 {
            0 => vec![Frame::new(DATA, n as u8 & 0x0C, id, "")],
            1 => vec![Frame::new(RST, 0x0F, id + 2 * (n as u32 % 999 + 1), 6_u32.to_be_bytes())],
            2 => vec![Frame::new((n % 12) as u8 + 4, SYN | FIN, n as u32, "")],
            _ => vec![Frame::wndinc(id, 0)],
        })
    });
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(512 * KIB);
}
