//! Hostile callers: A1 and A19 for `muxado-rpc`, and what else a request can be made of.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use muxado_rpc::{Limits, Peer};
use muxado_tests::{DATA, FIN, Frame};

use crate::{
    arena::{Outcome, attack_target},
    attacker::Attacker,
    target::Target,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[muxado_rpc::service]
trait Work {
    async fn echo(&self, text: String) -> String;
    /// Never returns.
    async fn hang(&self);
}

/// Counts the handlers that hang, and the most there were at a time.
#[derive(Clone, Debug, Default)]
struct Worker {
    hanging: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    started: Arc<AtomicUsize>,
}

struct Hanging<'a>(&'a Worker);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Work for Worker {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn hang(&self) {
        let now = self.hanging.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.started.fetch_add(1, Ordering::SeqCst);
        let _hanging = Hanging(self);
        pending::<()>().await;
    }
}

fn attack<T: Send + 'static>(
    limits: Limits,
    worker: Worker,
    script: impl FnOnce(&mut Attacker) -> T + Send + 'static,
) -> Outcome<T> {
    let make = |tcp| {
        let peer = Peer::builder().limits(limits).serve(WorkServer::new(worker)).no_heartbeat();
        Target::peer(peer.server(tcp).expect("one service"))
    };
    attack_target(make, script)
}

fn id(n: usize) -> u32 {
    2 * n as u32 + 3
}

/// The id of the service `Work`: FNV-1a over its name (`PROTOCOL §10.1`).
fn service() -> [u8; 4] {
    let hash = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    b"Work".iter().copied().fold(0x811C_9DC5, hash).to_be_bytes()
}

fn request(n: usize, message: &[u8]) -> Frame {
    Frame::syn(id(n), [&service()[..], message].concat())
}

/// The text of the answer on a stream.
fn answer(peer: &mut Attacker, id: u32) -> String {
    let mut text = Vec::new();
    loop {
        let frame = peer.recv().expect("the session lives");
        if frame.id == id && frame.kind == DATA {
            text.extend_from_slice(&frame.payload);
            if frame.has(FIN) {
                return String::from_utf8_lossy(&text).into_owned();
            }
        }
    }
}

#[test]
fn a1_calls_that_are_reset_leave_no_handler() {
    let worker = Worker::default();
    let limits = Limits::default().max_in_flight(100);
    let outcome = attack(limits, worker.clone(), |peer| {
        peer.flood(30_000, |n| vec![request(n, b"{\"method\":\"hang\"}\n"), Frame::rst(id(n), 6)]);
    });
    // They come faster than they are accepted, which has a budget.
    outcome.broken_off(10);
    assert!(worker.most.load(Ordering::SeqCst) <= 100);
    assert_eq!(worker.hanging.load(Ordering::SeqCst), 0);
    outcome.bounded(4 * MIB);
}

#[test]
fn a1_calls_that_are_given_up_while_they_wait_are_never_started_and_take_no_place() {
    let worker = Worker::default();
    let outcome = attack(Limits::default().max_in_flight(1), worker.clone(), |peer| {
        peer.send(&[request(0, b"{\"method\":\"hang\"}\n")]);
        peer.settle();
        // Three times the backlog.
        for n in 1..3000 {
            peer.send(&[request(n, b"{\"method\":\"hang\"}\n"), Frame::rst(id(n), 6)]);
        }
        peer.send(&[Frame::rst(id(0), 6), request(9999, b"{\"method\":\"echo\",\"params\":[\"x\"]}\n")]);
        answer(peer, id(9999))
    });
    outcome.survived().bounded(4 * MIB);
    assert!(outcome.result.contains('x'), "{}", outcome.result);
    assert_eq!(worker.started.load(Ordering::SeqCst), 1);
}

#[test]
fn a1_calls_at_a_time_are_bounded_and_the_others_wait() {
    let worker = Worker::default();
    let limits = Limits::default().max_in_flight(100);
    let outcome = attack(limits, worker.clone(), |peer| {
        peer.open_all(1000, |n| request(n, b"{\"method\":\"hang\"}\n"));
        for round in 0..9 {
            peer.send(&(100 * round..100 * (round + 1)).map(|n| Frame::rst(id(n), 6)).collect::<Vec<_>>());
            peer.settle();
            peer.check_bystander();
        }
        let left = peer.settle().streams_open;
        peer.send(&(900..1000).map(|n| Frame::rst(id(n), 6)).collect::<Vec<_>>());
        peer.send(&[request(9999, b"{\"method\":\"echo\",\"params\":[\"x\"]}\n")]);
        (left, answer(peer, id(9999)))
    });
    outcome.survived().bounded(4 * MIB);
    assert_eq!(outcome.result, (100, "{\"ok\":\"x\"}\n".to_owned()));
    assert_eq!(worker.most.load(Ordering::SeqCst), 100);
    assert_eq!(worker.started.load(Ordering::SeqCst), 1000);
    assert_eq!(worker.hanging.load(Ordering::SeqCst), 0);
}

/// Sends a request in frames of 1000 bytes; gives the answer.
fn send_large(limits: Limits, message: Vec<u8>) -> Outcome<String> {
    attack(limits, Worker::default(), move |peer| {
        peer.send(&[Frame::syn(3, service())]);
        let (mut sent, mut allowed) = (0, 256 * KIB - 4);
        for piece in message.chunks(1000) {
            while sent + piece.len() > allowed {
                match peer.recv().expect("the session lives") {
                    frame if frame.kind == DATA => {
                        return String::from_utf8_lossy(&frame.payload).into_owned();
                    }
                    frame if frame.kind == muxado_tests::WNDINC => allowed += frame.number(0) as usize,
                    frame => panic!("{frame:?}"),
                }
            }
            peer.send(&[Frame::data(3, piece)]);
            sent += piece.len();
        }
        answer(peer, 3)
    })
}

/// A JSON request with metadata of many small entries, of so many bytes.
fn json_metadata(bytes: usize) -> Vec<u8> {
    let entries: Vec<_> = (0..bytes / 12).map(|n| format!("\"{n:06x}\":\"\"")).collect();
    let entries = entries.join(",");
    format!("{{\"method\":\"echo\",\"params\":[\"x\"],\"metadata\":{{{entries}}}}}\n").into_bytes()
}

#[test]
fn a19_metadata_above_the_limit_is_refused() {
    let outcome = send_large(Limits::default(), json_metadata(40 * KIB));
    outcome.survived().bounded(MIB);
    assert!(outcome.result.contains("resource_exhausted"), "{}", outcome.result);
    assert!(outcome.result.contains("Limits::max_metadata_size"), "{}", outcome.result);
}

#[test]
fn a19_metadata_costs_no_more_than_the_message_it_is_in() {
    // A message may be as large as its limit; its parts must not be worth many times that.
    const SIZE: usize = 4 * MIB;
    let limits = Limits::default().max_message_size(SIZE);
    let outcome = send_large(limits, json_metadata(SIZE - KIB));
    assert!(outcome.result.contains("Limits::max_metadata_size"), "{}", outcome.result);
    // The message in a buffer that doubled, once while it is copied, and what the session has unread.
    outcome.survived().bounded(4 * SIZE + MIB);
}

#[test]
fn a19_packed_metadata_costs_no_more_than_the_message_it_is_in() {
    const SIZE: usize = 4 * MIB;
    let entries = (SIZE - KIB) / 6;
    let mut message = b"\x93\xa4echo\x81\xa8metadata\xdf".to_vec();
    message.extend((entries as u32).to_be_bytes());
    for n in 0..entries as u32 {
        message.extend([0xA4]);
        message.extend(n.to_be_bytes().map(|byte| byte & 0x7F));
        message.push(0xA0);
    }
    message.extend(b"\x91\xa1x");
    let message = [&(message.len() as u32).to_be_bytes()[..], &message].concat();
    let outcome = send_large(Limits::default().max_message_size(SIZE), message);
    assert!(outcome.result.contains("Limits::max_metadata_size"), "{}", outcome.result);
    outcome.survived().bounded(4 * SIZE + MIB);
}

#[test]
fn endless_request_is_refused_at_the_limit() {
    for begin in [&b"{\"method\":\""[..], b"\x7a\xff\xff\xff\x92"] {
        let message = [begin, &vec![b'x'; 3 * MIB]].concat();
        let outcome = send_large(Limits::default().max_message_size(MIB), message);
        assert!(outcome.result.contains("resource_exhausted"), "{}", outcome.result);
        outcome.survived().bounded(4 * MIB + MIB);
    }
}

#[test]
fn deep_nesting_is_an_error_of_its_call() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        let params = if open.starts_with('{') { format!("{open}1{close}") } else { format!("{open}{close}") };
        let message = format!("{{\"method\":\"echo\",\"params\":{params}}}\n");
        let outcome = send_large(Limits::default(), message.into_bytes());
        assert!(outcome.result.contains("invalid_argument"), "{}", outcome.result);
        outcome.survived().bounded(8 * MIB);
    }
}
