//! Making the session owe answers and not reading them: A2, A3, A4.

use muxado::{Config, Side};
use muxado_tests::{Frame, GOAWAY, HEADER};

use crate::{
    app::App,
    arena::{attack, attack_with},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A code of a GOAWAY.
const ENHANCE_YOUR_CALM: u32 = 10;

/// Most answers that may wait: 64 KiB of them.
const REPLIES: usize = 64 * KIB / 12;

/// Bytes that the kernel takes for a peer that does not read; both buffers and what it adds.
const KERNEL: usize = 256 * KIB;

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

#[test]
fn a2_refusals_that_are_not_read_end_the_session() {
    let config = Config::default().max_streams(10);
    let outcome = attack_with(Side::Server, config, App::Hold, |peer| {
        peer.flood(200_000, |n| vec![Frame::syn(id(n), "x")])
    });
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(MIB);
    let answers = outcome.stats.streams_refused as usize;
    assert!(answers <= 3 * REPLIES + KERNEL / 12, "{answers} refusals");
}

#[test]
fn a2_resets_for_late_data_that_are_not_read_end_the_session() {
    let outcome = attack(App::Hold, |peer| {
        // Each pays for itself by the payload it brings.
        peer.flood(100_000, |n| vec![Frame::data(id(n), [1; 64])])
    });
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(MIB);
}

#[test]
fn a2_overruns_that_are_not_read_end_the_session() {
    let config = Config::default().window_size(1024);
    let outcome = attack_with(Side::Server, config, App::Hold, |peer| {
        peer.flood(50_000, |n| vec![Frame::syn(id(n), [1; 1025])])
    });
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(MIB);
}

#[test]
fn a2_resets_owed_to_open_streams_are_no_more_than_the_streams() {
    // The session is made to reset each stream; the resets stay unsent, and the streams count.
    let config = Config::default().max_streams(100).window_size(1024);
    let outcome = attack_with(Side::Server, config, App::Ignore, |peer| {
        peer.flood(50_000, |n| vec![Frame::syn(id(n), ""), Frame::data(id(n), [1; 1025])])
    });
    outcome.broken_off(ENHANCE_YOUR_CALM).bounded(MIB);
}

#[test]
fn a2_one_id_gets_one_reset() {
    let outcome = attack(App::Hold, |peer| {
        peer.flood(5000, |n| vec![Frame::data(id(n % 10), [1; 64])]);
        peer.stats().resets_sent
    });
    outcome.survived().bounded(512 * KIB);
    assert_eq!(outcome.result, 10);
}

#[test]
fn a3_heartbeats_that_are_not_read_cost_four_bytes() {
    const BEATS: u32 = 200_000;
    let outcome = attack(App::IgnoreTyped, |peer| {
        let id = peer.id(0);
        peer.send(&[Frame::syn(id, u32::MAX.to_be_bytes())]);
        peer.flood(BEATS as usize, |n| vec![Frame::data(id, (n as u32).to_be_bytes())]);
        let (mut echoes, mut last) = (0, 0);
        while last != BEATS - 1 {
            let frame = peer.recv().expect("the session lives");
            if frame.kind == muxado_tests::DATA && !frame.payload.is_empty() {
                assert_eq!(frame.payload.len(), 4, "{frame:?}");
                (echoes, last) = (echoes + 1, frame.number(0));
            }
        }
        echoes
    });
    outcome.survived().bounded(512 * KIB);
    assert!(outcome.result < 2 * KERNEL / (HEADER + 4), "{} echoes", outcome.result);
}

#[test]
fn a3_heartbeat_streams_count_as_streams() {
    let config = Config::default().max_streams(50);
    let outcome = attack_with(Side::Server, config, App::IgnoreTyped, |peer| {
        for n in 0..2000 {
            peer.send(&[Frame::syn(id(n), [0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4])]);
        }
        peer.settle().streams_open
    });
    outcome.survived().bounded(512 * KIB);
    assert_eq!(outcome.result, 50);
}

#[test]
fn a3_go_aways_are_taken_once() {
    let outcome = attack(App::Hold, |peer| {
        peer.send(&[Frame::syn(3, "x")]);
        peer.flood(5000, |n| vec![Frame::go_away(0, n as u32, &"t".repeat(5000))]);
        peer.stats().streams_open
    });
    outcome.survived().bounded(512 * KIB);
    assert_eq!(outcome.result, 1);
}

#[test]
fn a4_peer_that_does_not_read_is_read_to_the_last_byte() {
    // Echoes fill every buffer of ours; what comes is taken in all the same, as the windows allow.
    let outcome = attack(App::Echo, |peer| {
        for n in 0..60 {
            peer.send(&[Frame::syn(id(n), "")]);
        }
        peer.flood(60 * 8, |n| vec![Frame::data(id(n % 60), vec![1; 32 * KIB])]);
        peer.stats()
    });
    outcome.survived().bounded(40 * MIB);
    assert!(outcome.result.bytes_received as usize > 60 * 8 * 32 * KIB);
}

#[test]
fn a4_peer_that_reads_only_after_everything_was_sent_gets_every_answer() {
    let outcome = attack(App::Echo, |peer| {
        for n in 0..2000 {
            peer.send(&[Frame::syn(id(n), [n as u8; 1000]), Frame::fin(id(n))]);
        }
        let (mut echoed, mut ended) = (0, 0);
        while ended < 2000 {
            let frame = peer.recv().expect("the session lives");
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
            echoed += if frame.kind == muxado_tests::DATA { frame.payload.len() } else { 0 };
            ended += usize::from(frame.kind == muxado_tests::DATA && frame.has(muxado_tests::FIN));
        }
        echoed
    });
    outcome.survived();
    assert_eq!(outcome.result, 2000 * 1000);
}
