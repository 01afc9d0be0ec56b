//! Streams without end, and what is in them: A6, A8, A9, A11, A12, A13, A14.

use muxado::{Config, Side};
use muxado_tests::{DATA, Frame, GOAWAY, RST, SYN, raw_header};

use crate::{
    app::App,
    arena::{Outcome, attack, attack_with},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const WINDOW: usize = 256 * KIB;

/// State of one stream, in bytes; with its entries in maps and lists.
const STREAM: usize = 2 * KIB;

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

#[test]
fn a6_small_frames_do_not_pin_the_buffers_they_came_in() {
    // A byte for another stream in each read, and 60 KiB for nobody.
    const STREAMS: usize = 500;
    let outcome = attack(App::Hold, |peer| {
        peer.flood(STREAMS, |n| vec![Frame::syn(id(n), ""), Frame::data(id(n), "y")]);
        peer.flood(STREAMS, |n| vec![Frame::data(id(n), "y"), Frame::new(9, 0, 0, vec![0; 60 * KIB])])
    });
    outcome.survived().bounded(STREAMS * STREAM + MIB);
}

#[test]
fn a6_large_frames_pin_at_most_four_times_their_bytes() {
    const STREAMS: usize = 200;
    let outcome = attack(App::Hold, |peer| {
        peer.flood(STREAMS, |n| {
            vec![Frame::syn(id(n), vec![1; 16 * KIB]), Frame::new(9, 0, 0, vec![0; 48 * KIB])]
        })
    });
    outcome.survived().bounded(STREAMS * (4 * 16 * KIB + STREAM) + MIB);
    assert_eq!(outcome.stats.bytes_unread, STREAMS * 16 * KIB);
}

#[test]
fn a8_first_frames_above_the_window_are_refused_from_their_header() {
    let outcome = attack(App::Hold, |peer| {
        let mut resets = Vec::new();
        for n in 0..4 {
            peer.send_bytes(&raw_header(0xFF_FFFF, DATA, SYN, id(n)));
            // Before its payload: the reset is there already, and no state.
            let frame = peer.recv().expect("the session lives");
            resets.push((frame.kind, frame.id, frame.number(0)));
            assert_eq!(peer.stats().streams_open, 0);
            for _ in 0..16 {
                peer.send_bytes(&vec![0xA5; (0xFF_FFFF / 16) as usize]);
            }
            peer.send_bytes(&[0xA5; 0xFF_FFFF % 16]);
        }
        // Behind it all, the session still knows where frames begin.
        peer.send(&[Frame::syn(99, "x")]);
        (resets, peer.settle().streams_open)
    });
    outcome.survived().bounded(512 * KIB);
    assert_eq!(outcome.result, ((0..4).map(|n| (RST, id(n), 3)).collect(), 1));
}

#[test]
fn a9_nothing_is_allocated_for_a_length() {
    for (kind, flags) in [(DATA, SYN), (DATA, 0), (GOAWAY, 0), (9, 0)] {
        let outcome = attack(App::Hold, move |peer| {
            let id = if kind == DATA { 3 } else { 0 };
            peer.send_bytes(&raw_header(0xFF_FFFF, kind, flags, id));
            peer.send_bytes(&[1; 100]);
            peer.settle();
        });
        outcome.survived().bounded(128 * KIB);
    }
}

#[test]
fn a9_of_a_long_text_four_kib_are_kept() {
    let outcome = attack(App::Hold, |peer| {
        let text = "t".repeat(8 * MIB);
        for piece in Frame::go_away(0, 7, &text).encode().chunks(1000) {
            peer.send_bytes(piece);
        }
        peer.settle();
        peer.cut();
        peer.wait(|_| false);
    });
    outcome.bounded(512 * KIB);
    let remote = outcome.end.and_then(|end| end.remote).expect("a go-away came");
    assert_eq!((remote.code.as_u32(), remote.debug.len()), (7, 4096));
}

/// Opens streams without end, and reads the refusals.
fn stream_flood(config: Config, app: App, first: &'static [u8]) -> Outcome<u64> {
    attack_with(Side::Server, config, app, move |peer| {
        let (mut opened, mut refused) = (0, 0);
        for _ in 0..200 {
            let round: Vec<_> = (0..500).map(|n| Frame::syn(id(opened + n), first)).collect();
            peer.send(&round);
            opened += 500;
            let stats = peer.settle();
            while refused < stats.streams_refused {
                let frame = peer.recv().expect("the session lives");
                assert!(frame.kind == RST && [5, 9].contains(&frame.number(0)), "{frame:?}");
                refused += 1;
            }
        }
        peer.check_bystander();
        refused
    })
}

#[test]
fn a11_streams_that_nobody_accepts_end_at_the_backlog() {
    let outcome = stream_flood(Config::default(), App::Ignore, b"");
    outcome.survived().bounded(1024 * STREAM + MIB);
    assert_eq!((outcome.stats.streams_open, outcome.result), (1024, 100_000 - 1024));
}

#[test]
fn a11_streams_end_at_their_limit() {
    let outcome = stream_flood(Config::default(), App::Hold, b"x");
    // The application's task for each stream is counted here, too.
    outcome.survived().bounded(4096 * 2 * STREAM + MIB);
    assert_eq!((outcome.stats.streams_open, outcome.result), (4096, 100_000 - 4096));
}

#[test]
fn a12_unread_bytes_end_at_their_limit_and_reading_goes_on() {
    let outcome = attack(App::Hold, |peer| {
        for n in 0..512 {
            peer.send(&[Frame::syn(id(n), vec![1; WINDOW])]);
        }
        peer.settle()
    });
    outcome.survived().bounded(96 * MIB);
    assert_eq!(outcome.stats.bytes_unread, 64 * MIB);
    assert_eq!(outcome.stats.streams_open, 256);
}

#[test]
fn a13_streams_without_a_type_end_at_64() {
    for part in [&b""[..], b"\0", b"\0\0\0"] {
        let outcome = stream_flood(Config::default(), App::IgnoreTyped, part);
        outcome.survived().bounded(64 * STREAM + 512 * KIB);
        assert_eq!((outcome.stats.streams_open, outcome.result), (64, 100_000 - 64), "{part:?}");
    }
}

#[test]
fn a13_types_that_come_late_do_not_keep_others_waiting() {
    let outcome = attack(App::IgnoreTyped, |peer| {
        for n in 0..63 {
            peer.send(&[Frame::syn(id(n), "\0\0")]);
        }
        for n in 100..200 {
            peer.send(&[Frame::syn(id(n), "\0\0\0\x07hello")]);
        }
        peer.settle()
    });
    outcome.survived().bounded(MIB);
    assert_eq!((outcome.result.streams_open, outcome.result.streams_refused), (163, 0));
}

#[test]
fn a14_ids_that_would_collide_are_as_good_as_others() {
    // Equal low bits, equal high bits, descending: what an identity or a fixed hash cannot spread.
    let patterns: [fn(u32) -> u32; 3] = [|n| (n << 18) | 3, |n| 0x7FFF_FFFF - 2 * n, |n| (n << 12) | 1];
    for pattern in patterns {
        let outcome = attack(App::Hold, move |peer| {
            let id = |n: usize| pattern(n as u32 % 4096 + 1);
            peer.open_all(4096, |n| Frame::syn(id(n), ""));
            peer.flood(100_000, |n| vec![Frame::data(id(n * 31), "x")])
        });
        outcome.survived();
        assert_eq!((outcome.stats.streams_open, outcome.stats.bytes_unread), (4096, 100_000));
    }
}
