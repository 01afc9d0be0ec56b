//! The harness itself: the law finds what it is there to find.

use std::panic::catch_unwind;

use muxado::Side;
use muxado_tests::{DATA, FIN, Frame, Law, RST, SYN, WNDINC};

/// What the peer sent, then what a server said, the last frame of which breaks the law.
fn finds(peer: &[Frame], said: &[Frame], words: &str) {
    let mut law = Law::new(Side::Server);
    law.typed();
    peer.iter().for_each(|frame| law.peer_sends(frame));
    let (last, before) = said.split_last().unwrap();
    before.iter().for_each(|frame| law.check(frame));
    let found = catch_unwind(move || law.check(last)).expect_err(words);
    let message = found.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(message.contains(words), "{message:?} does not say {words:?}");
}

#[test]
fn law_finds_what_must_never_be_sent() {
    let open = Frame::syn(2, "type");
    let theirs = [Frame::syn(3, "type")];
    finds(&[], &[Frame::new(4, 0, 0, "")], "unknown type");
    finds(&[], &[Frame::new(DATA, SYN | 4, 2, "type")], "unassigned flag");
    finds(&[], &[Frame::syn_fin(2, "type")], "SYN and FIN in one frame");
    finds(&[], &[Frame::syn(2, "typ")], "a SYN without a type");
    finds(&[], &[Frame::syn(3, "type")], "an id of the peer's");
    finds(&[], &[Frame::syn(4, "type"), Frame::syn(2, "type")], "ids must rise");
    finds(&[], &[Frame::data(2, "x")], "before the SYN");
    finds(&[], &[Frame::rst(2, 6)], "before the SYN");
    finds(&[], &[Frame::wndinc(3, 6)], "before the SYN");
    finds(&theirs, &[Frame::wndinc(3, 0)], "empty credit");
    finds(&theirs, &[Frame::rst(3, 0)], "without a code");
    finds(&theirs, &[Frame::new(RST, FIN, 3, [0, 0, 0, 6])], "flags on what is not DATA");
    finds(&theirs, &[Frame::new(WNDINC, SYN, 3, [0, 0, 0, 6])], "flags on what is not DATA");
    finds(&theirs, &[Frame::rst(3, 6), Frame::rst(3, 4)], "a second reset of one id");
    finds(&theirs, &[Frame::rst(3, 6), Frame::data(3, "x")], "data behind a reset");
    finds(&theirs, &[Frame::rst(3, 6), Frame::wndinc(3, 1)], "credit behind a reset");
    finds(&[], &[open.clone(), Frame::fin(2), Frame::data(2, "x")], "data behind the FIN");
    finds(&[], &[open.clone(), Frame::data(2, "")], "useless");
    finds(&[], &[open.clone(), Frame::data(2, vec![0; 70_000])], "a frame that holds others up");
    let window = vec![Frame::data(2, vec![0; 64 * 1024 - 256]); 5];
    finds(&[], &[&[open][..], &window].concat(), "above the window");
    finds(&[], &[Frame::go_away(0, 0, ""), Frame::syn(2, "type")], "followed by the pad");
    finds(&[], &[Frame::go_away(0, 0, ""), Frame::fin(0x7FFF_FFFF)], "followed by the pad");
}

#[test]
fn law_allows_what_is_legal() {
    let mut law = Law::new(Side::Client);
    law.peer_sends(&Frame::syn(2, "x"));
    let legal = [
        Frame::syn_ext(3, "a"),
        Frame::data(3, vec![0; 64 * 1024 - 256 + 512 + 4]),
        Frame::fin(3),
        Frame::wndinc(3, 1),
        Frame::data_fin(2, ""),
        Frame::rst(2, 6),
        Frame::rst(99, 4),
        Frame::rst(100, 4),
        Frame::syn_ext(9, ""),
        Frame::go_away(2, 0, ""),
        Frame::fin(0x7FFF_FFFF),
        Frame::go_away(2, 0, "bye"),
    ];
    legal.iter().for_each(|frame| law.check(frame));
}

#[test]
fn law_allows_syn_and_fin_together_once_the_peer_has_proved_the_extension() {
    let mut law = Law::new(Side::Client);
    law.peer_sends(&Frame::syn_ext(2, "x"));
    law.check(&Frame::syn_fin(3, "question"));
}
