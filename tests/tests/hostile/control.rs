//! Control streams of `muxado-rpc` in hostile hands: they cost little, and end alone.

use muxado_rpc::{Peer, PeerCapabilities};
use muxado_tests::{Frame, RST, WNDINC};

use crate::{
    arena::{Outcome, attack_target},
    attacker::Attacker,
    target::Target,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const CONTROL: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFE];

#[muxado_rpc::service]
trait Work {
    async fn work(&self);
}

struct Worker;

impl Work for Worker {
    async fn work(&self) {}
}

fn attack<T: Send + 'static>(script: impl FnOnce(&mut Attacker) -> T + Send + 'static) -> Outcome<T> {
    let make = |tcp| {
        let peer = Peer::builder().serve(WorkServer::new(Worker)).no_heartbeat();
        Target::peer(peer.server(tcp).expect("one service"))
    };
    attack_target(make, script)
}

/// Says this on a control stream; the code with which it is reset.
fn reset_after(said: Vec<u8>) -> Outcome<u32> {
    attack(move |peer| {
        peer.send(&[Frame::syn(3, CONTROL)]);
        say(peer, &said);
        code_of(peer, 3)
    })
}

fn say(peer: &mut Attacker, said: &[u8]) {
    for piece in said.chunks(8 * KIB) {
        peer.send(&[Frame::data(3, piece)]);
    }
}

/// The code with which a stream is reset.
fn code_of(peer: &mut Attacker, id: u32) -> u32 {
    loop {
        let frame = peer.recv().expect("the session lives");
        if frame.kind == RST && frame.id == id {
            return frame.number(0);
        }
    }
}

#[test]
fn endless_line_is_cut_off() {
    let outcome = reset_after(vec![b' '; 250 * KIB]);
    outcome.survived().bounded(MIB);
    assert_eq!(outcome.result, 10);
}

#[test]
fn endless_lines_are_cut_off() {
    let line = [vec![b' '; 60 * KIB], b"{}\n".to_vec()].concat();
    // Within the window at first, then within the credit for what was read.
    let outcome = attack(move |peer| {
        peer.send(&[Frame::syn(3, CONTROL)]);
        (0..4).for_each(|_| say(peer, &line));
        while peer.recv().expect("the session lives").kind != WNDINC {}
        say(peer, &line);
        code_of(peer, 3)
    });
    outcome.survived().bounded(MIB);
    assert_eq!(outcome.result, 10);
}

/// A hello of 64 KiB whose parts would be worth many times that, if each were kept.
fn crammed(begin: &str, part: &str, end: &str) -> Vec<u8> {
    let parts = (64 * KIB - begin.len() - end.len()) / part.len();
    let parts = part.repeat(parts);
    format!("{begin}{}{end}", &parts[..parts.len() - 1]).into_bytes()
}

#[test]
fn crammed_hello_costs_no_more_than_its_line() {
    for (begin, part, end) in [
        ("{\"hello\":{\"services\":[{\"name\":\"S\",\"id\":1,\"methods\":[", "\"\",", "]}]}}"),
        ("{\"hello\":{\"services\":[", "{\"name\":\"\",\"id\":1},", "]}}"),
        ("{\"hello\":{\"codecs\":[", "\"\",", "]}}"),
        ("{\"x\":[", "[],", "]}"),
    ] {
        let line = [crammed(begin, part, end), b"\n!\n".to_vec()].concat();
        let outcome = reset_after(line);
        // What is no line comes behind it, so the line itself was taken.
        assert_eq!(outcome.result, 1, "{begin}");
        outcome.survived().bounded(512 * KIB);
    }
}

#[test]
fn deep_nesting_is_no_line() {
    let outcome = reset_after([b"{\"hello\":".to_vec(), vec![b'['; 60 * KIB], b"\n".to_vec()].concat());
    outcome.survived().bounded(MIB);
    assert_eq!(outcome.result, 1);
}

#[test]
fn further_control_streams_are_refused_and_leave_nothing() {
    let outcome = attack(|peer| {
        for round in 0..30 {
            let id = |n| 2 * (100 * round + n) + 3;
            let syn = |n| Frame::syn(id(n), [CONTROL, b"{\"hello\":{}}\n"].concat());
            peer.send(&(0..100).map(syn).collect::<Vec<_>>());
            // The first one of all is taken.
            for n in u32::from(round == 0)..100 {
                assert_eq!(code_of(peer, id(n)), 5);
            }
        }
        peer.check_bystander();
        peer.settle().streams_open
    });
    outcome.survived().bounded(MIB);
    assert_eq!(outcome.result, 0);
    assert!(size_of::<PeerCapabilities>() <= 256);
}
