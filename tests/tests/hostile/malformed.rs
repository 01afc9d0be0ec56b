//! Frames that must not be, and bytes that are none: A15, A16, A17.

use muxado::{Config, SessionError, Side};
use muxado_tests::{DATA, Frame, GOAWAY, HEADER, RST, Rng, WNDINC, raw_header};

use crate::{
    app::App,
    arena::{SLACK, attack, attack_with},
    attacker::Attacker,
};

const KIB: usize = 1024;

/// A code of a GOAWAY.
const PROTOCOL_ERROR: u32 = 1;
/// A code of a GOAWAY.
const FRAME_SIZE_ERROR: u32 = 8;

/// Sends these frames behind a good stream: the session says why it goes, and goes.
fn fatal(side: Side, code: u32, frames: impl FnOnce(&Attacker) -> Vec<u8> + Send + 'static) {
    let outcome = attack_with(side, Config::default(), App::Echo, move |peer| {
        peer.send(&[Frame::syn(peer.id(0), "x")]);
        let bytes = frames(peer);
        peer.send_bytes(&bytes);
        peer.expect_closing(code);
    });
    outcome.broken_off(code).bounded(256 * KIB);
}

#[test]
fn a15_ids_that_cannot_be_end_the_session() {
    for side in [Side::Client, Side::Server] {
        fatal(side, PROTOCOL_ERROR, |peer| Frame::syn(peer.id(0), "again").encode());
        fatal(side, PROTOCOL_ERROR, |peer| Frame::syn(peer.id(0) + 1, "ours").encode());
        for id in [0, 0x8000_0000, 0x8000_0003, u32::MAX] {
            fatal(side, PROTOCOL_ERROR, move |_| Frame::syn(id, "x").encode());
            fatal(side, PROTOCOL_ERROR, move |_| Frame::data(id, "x").encode());
            fatal(side, PROTOCOL_ERROR, move |_| Frame::rst(id, 6).encode());
            fatal(side, PROTOCOL_ERROR, move |_| Frame::wndinc(id, 6).encode());
        }
    }
}

#[test]
fn a16_lengths_that_cannot_be_end_the_session() {
    for (kind, id) in [(RST, 3), (WNDINC, 3), (GOAWAY, 0)] {
        let wrong = [0, 3, 5, 7].into_iter().chain([0x10_0000, 0xFF_FFFF]);
        for length in wrong.filter(|length| kind != GOAWAY || *length < 8) {
            fatal(Side::Server, FRAME_SIZE_ERROR, move |_| raw_header(length, kind, 0, id).to_vec());
        }
    }
}

#[test]
fn a16_garbage_behind_a_go_away_is_the_end_it_announced() {
    let garbage: [&[u8]; 4] =
        [b"\0\0\0\0\0\0\0\0", b"text where a header should be", &[0xFF; 64], b"\0\0\x05\0"];
    for bytes in garbage {
        let outcome = attack(App::Echo, move |peer| {
            peer.send(&[Frame::go_away(0, 7, "tired")]);
            peer.send_bytes(bytes);
            peer.cut();
            peer.wait(|_| false);
        });
        outcome.bounded(256 * KIB);
        let end = outcome.end.expect("it has ended").local;
        assert!(matches!(&end, SessionError::ClosedByPeer(go_away) if go_away.code.as_u32() == 7), "{end}");
    }
}

/// A frame of any kind for one of a few ids, at times with a length that is a lie.
fn any_frame(rng: &mut Rng, side: Side) -> Vec<u8> {
    let id = match rng.below(20) {
        0 => rng.next_u64() as u32,
        1 => u32::from(side == Side::Client) + 2,
        _ => 2 * rng.below(8) as u32 + if side == Side::Client { 2 } else { 3 },
    };
    let kind = if rng.one_in(12) { rng.below(16) as u8 } else { [DATA, DATA, RST, WNDINC][rng.below(4)] };
    let flags = if rng.one_in(3) { rng.below(16) as u8 } else { [0, 1, 2][rng.below(3)] };
    let length = match kind {
        RST | WNDINC if !rng.one_in(200) => 4,
        _ => {
            let most = [2, 40, 5000][rng.below(3)];
            rng.below(most)
        }
    };
    let mut bytes = raw_header(length as u32, kind, flags, id).to_vec();
    bytes.extend((0..length).map(|_| rng.next_u64() as u8));
    if rng.one_in(2000) {
        bytes.truncate(rng.below(bytes.len()) + 1);
    }
    bytes
}

#[test]
fn a17_no_frames_whatever_make_it_panic() {
    for seed in 0..40 {
        let side = [Side::Client, Side::Server][seed as usize % 2];
        let app = [App::Echo, App::Hold, App::Reset, App::IgnoreTyped][seed as usize % 4].clone();
        let outcome = attack_with(side, Config::default(), app, move |peer| {
            let mut rng = Rng::new(seed);
            (0..5000).take_while(|_| peer.send_bytes(&any_frame(&mut rng, side))).count()
        });
        assert!(outcome.peak < 32 * KIB * KIB, "seed {seed}: {} bytes held", outcome.peak);
        assert!(outcome.left < SLACK, "seed {seed}: {} bytes stayed", outcome.left);
    }
}

#[test]
fn a17_no_bytes_whatever_make_it_panic() {
    for seed in 0..60 {
        let outcome = attack(App::Echo, move |peer| {
            let mut rng = Rng::new(1000 + seed);
            let len = rng.below(4 * KIB) + HEADER;
            let bytes: Vec<_> = (0..len).map(|_| rng.next_u64() as u8).collect();
            peer.send_bytes(&bytes);
            peer.cut();
            peer.wait(|_| false);
        });
        assert!(outcome.end.is_some(), "seed {seed}");
        assert!(outcome.peak < 512 * KIB, "seed {seed}: {} bytes held", outcome.peak);
    }
}
