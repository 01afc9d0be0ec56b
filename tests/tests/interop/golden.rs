//! What the Go original sends, and what we make of it.
//!
//! The bytes were recorded from two peers of inconshreveable/muxado (commit fc182d9) on a loopback
//! socket. Each test plays one of the two; where the protocol leaves no choice our bytes are the same.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use muxado::{
    Config, ErrorCode, GoAway, HeartbeatConfig, HeartbeatEvent, ReadError, SessionError, Side, WriteError,
    proto::{Finish, Outbox, Read, Session, StreamKey},
};

/// Either side of a stream that the client opens: `Write("hello")`, `CloseWrite()`; the server
/// reads to the end, answers "hello, too" and calls `CloseWrite()`; the client reads to the end;
/// both call `Close()`.
mod asked_by_client {
    pub(super) const HELLO: &str = "00000512 00000003 68656c6c6f";
    pub(super) const CLOSE_WRITE: &str = "00000011 00000003";
    pub(super) const READ_BY_SERVER: &str = "00000420 00000003 00000005";
    pub(super) const ANSWER: &str = "00000a10 00000003 68656c6c6f2c20746f6f 00000011 00000003";
    pub(super) const READ_BY_CLIENT: &str = "00000420 00000003 0000000a";
    pub(super) const CLOSE: &str = "00000011 00000003";
}

/// The same with the roles exchanged: the server opens and asks.
mod asked_by_server {
    pub(super) const HELLO: &str = "00000512 00000002 68656c6c6f";
    pub(super) const CLOSE_WRITE: &str = "00000011 00000002";
    pub(super) const READ_BY_CLIENT: &str = "00000420 00000002 00000005";
    pub(super) const ANSWER: &str = "00000a10 00000002 68656c6c6f2c20746f6f 00000011 00000002";
    pub(super) const READ_BY_SERVER: &str = "00000420 00000002 0000000a";
    pub(super) const CLOSE: &str = "00000011 00000002";
}

/// `Close()` of a session: the client's after `asked_by_client`, what a server says to that, and
/// the server's after `asked_by_server`.
mod end {
    pub(super) const CLIENT_CLOSES: &str = "00001030 00000000 00000000 00000000 6e6f206572726f72";
    pub(super) const SERVER_SEES_IT: &str =
        "00002130 00000000 00000003 0000000f 7265616420454f462066726f6d2072656d6f74652070656572";
    pub(super) const SERVER_CLOSES: &str = "00001030 00000000 00000001 00000000 6e6f206572726f72";
}

/// A typed stream of the client's: the type 0x01020304, "request", `CloseWrite()`; the server
/// accepts, reads, writes "answer" and calls `Close()`; the client reads and calls `Close()`.
mod typed {
    pub(super) const OPEN: &str = "00000412 00000003 01020304";
    pub(super) const REQUEST: &str = "00000710 00000003 72657175657374 00000011 00000003";
    pub(super) const ACCEPTED: &str = "00000420 00000003 00000004";
    pub(super) const ANSWER: &str =
        "00000420 00000003 00000007 00000610 00000003 616e73776572 00000011 00000003";
    pub(super) const READ_AND_CLOSE: &str = "00000420 00000003 00000006 00000011 00000003";
}

/// Heartbeats of the client: its stream, two tokens, what the server sends for each.
mod heartbeat {
    pub(super) const OPEN: &str = "00000412 00000003 ffffffff";
    pub(super) const ACCEPTED: &str = "00000420 00000003 00000004";
    pub(super) const BEATS: [&str; 2] =
        ["00000410 00000003 16a952fa", "00000420 00000003 00000004 00000410 00000003 4ee31931"];
    pub(super) const ECHOES: [&str; 2] = [
        "00000420 00000003 00000004 00000410 00000003 16a952fa",
        "00000420 00000003 00000004 00000410 00000003 4ee31931",
    ];
    pub(super) const TOKENS: [&str; 2] = ["16a952fa", "4ee31931"];
}

/// A stream that the client closes for both directions while the server still writes, and one on
/// which `CloseWrite()` comes first.
mod closed {
    pub(super) const HELLO_AND_CLOSE: &str = "00000512 00000003 68656c6c6f 00000011 00000003";
    pub(super) const SERVER_WRITES: &str = "00000810 00000003 746f6f206c617465";
    pub(super) const RESET: &str = "00000400 00000003 00000004";
    pub(super) const CLOSE_WRITE_FIRST: &str = "00000013 00000005";
}

/// One of the two peers, played by our session.
struct Peer {
    session: Session,
    now: Instant,
}

impl Peer {
    fn new(side: Side) -> Self {
        // Without our mark on opening frames, so that they can be compared.
        let session = Session::new(side, Config::default().extensions(false));
        Self { session, now: Instant::now() }
    }

    fn typed(side: Side) -> Self {
        let mut peer = Self::new(side);
        peer.session.set_typed(peer.now);
        peer
    }

    /// Takes these bytes in, one by one: a frame may arrive in any pieces.
    fn feed(&mut self, bytes: &str) {
        let mut inbox = BytesMut::new();
        for byte in unhex(bytes) {
            inbox.extend_from_slice(&[byte]);
            self.session.receive(&mut inbox, self.now);
        }
        assert!(inbox.is_empty(), "whole frames are taken whole");
    }

    #[track_caller]
    fn check_sent(&mut self, expected: &str) {
        assert_eq!(hex(&self.sent()), hex(&unhex(expected)));
    }

    fn sent(&mut self) -> Bytes {
        let mut outbox = Outbox::default();
        self.session.transmit(&mut outbox, self.now);
        outbox.copy_to_bytes(outbox.remaining())
    }

    fn write(&mut self, key: StreamKey, mut text: &[u8]) {
        let length = text.len();
        assert_eq!(self.session.write(key, &mut text), Ok(length));
    }

    #[track_caller]
    fn check_read(&mut self, key: StreamKey, expected: &[u8]) {
        let mut read = Vec::new();
        while read.len() < expected.len() {
            match self.session.read_chunk(key, usize::MAX) {
                Ok(Read::Data(chunk)) => read.extend_from_slice(&chunk),
                other => panic!("{other:?} after {} bytes", read.len()),
            }
        }
        assert_eq!(read, expected);
    }

    #[track_caller]
    fn check_finished(&mut self, key: StreamKey) {
        assert_eq!(self.session.read_chunk(key, usize::MAX), Ok(Read::Finished));
    }

    /// The transport ends after a go-away: that is the end that both sides wished.
    #[track_caller]
    fn check_closed_by_peer(&mut self, code: ErrorCode, last_stream_id: u32, text: &'static [u8]) {
        assert_eq!(self.session.open(None).err(), Some(going_away(code, last_stream_id, text)));
        self.session.handle_transport_end(None, 0);
        let reason =
            SessionError::ClosedByPeer(GoAway { code, last_stream_id, debug: Bytes::from_static(text) });
        assert_eq!(self.session.end().map(|end| end.local), Some(reason));
        self.check_sent("");
    }
}

fn going_away(code: ErrorCode, last_stream_id: u32, text: &'static [u8]) -> muxado::OpenError {
    muxado::OpenError::PeerGoingAway(GoAway { code, last_stream_id, debug: Bytes::from_static(text) })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn client_asks_and_closes() {
    let mut server = Peer::new(Side::Server);
    server.feed(asked_by_client::HELLO);
    let (key, stream_type) = server.session.accept().expect("a stream");
    assert_eq!((server.session.stream_id(key).map(|id| id.as_u32()), stream_type), (Some(3), None));
    server.check_read(key, b"hello");
    assert_eq!(server.session.read_chunk(key, usize::MAX), Ok(Read::Pending));
    server.feed(asked_by_client::CLOSE_WRITE);
    server.check_finished(key);

    server.write(key, b"hello, too");
    server.session.finish(key).unwrap();
    server.check_sent(asked_by_client::ANSWER);
    server.feed(asked_by_client::READ_BY_CLIENT);
    server.feed(asked_by_client::CLOSE);
    assert!(server.session.is_over(key));
    server.session.release(key);
    server.check_sent("");

    server.feed(end::CLIENT_CLOSES);
    server.check_closed_by_peer(ErrorCode::NO_ERROR, 0, b"no error");
}

#[test]
fn server_answers_and_sees_the_close() {
    let mut client = Peer::new(Side::Client);
    let key = client.session.open(None).unwrap();
    client.write(key, b"hello");
    client.check_sent(asked_by_client::HELLO);
    client.session.finish(key).unwrap();
    client.check_sent(asked_by_client::CLOSE_WRITE);

    client.feed(asked_by_client::READ_BY_SERVER);
    client.feed(asked_by_client::ANSWER);
    client.check_read(key, b"hello, too");
    client.check_finished(key);
    client.feed(asked_by_client::CLOSE);
    client.session.release(key);
    client.check_sent("");

    let mut closing = Peer::new(Side::Client);
    closing.session.close(ErrorCode::NO_ERROR, Bytes::from_static(b"no error"));
    closing.check_sent(end::CLIENT_CLOSES);
    client.feed(end::SERVER_SEES_IT);
    client.check_closed_by_peer(ErrorCode::PEER_EOF, 3, b"read EOF from remote peer");
}

#[test]
fn server_asks_and_closes() {
    let mut client = Peer::new(Side::Client);
    client.feed(asked_by_server::HELLO);
    client.feed(asked_by_server::CLOSE_WRITE);
    let (key, _) = client.session.accept().expect("a stream");
    client.check_read(key, b"hello");
    client.check_finished(key);
    client.write(key, b"hello, too");
    client.session.finish(key).unwrap();
    client.check_sent(asked_by_server::ANSWER);
    client.feed(asked_by_server::READ_BY_SERVER);
    client.feed(asked_by_server::CLOSE);
    client.session.release(key);
    client.check_sent("");
    client.feed(end::SERVER_CLOSES);
    client.check_closed_by_peer(ErrorCode::NO_ERROR, 1, b"no error");
}

#[test]
fn client_answers() {
    let mut server = Peer::new(Side::Server);
    let key = server.session.open(None).unwrap();
    server.write(key, b"hello");
    server.check_sent(asked_by_server::HELLO);
    server.session.finish(key).unwrap();
    server.check_sent(asked_by_server::CLOSE_WRITE);
    server.feed(asked_by_server::READ_BY_CLIENT);
    server.feed(asked_by_server::ANSWER);
    server.check_read(key, b"hello, too");
    server.check_finished(key);
    server.feed(asked_by_server::CLOSE);
    assert!(server.session.is_over(key));
    server.check_sent("");
}

#[test]
fn client_opens_a_typed_stream() {
    let mut server = Peer::typed(Side::Server);
    server.feed(typed::OPEN);
    server.feed(typed::REQUEST);
    let (key, stream_type) = server.session.accept().expect("a stream");
    assert_eq!(stream_type, Some(0x0102_0304));
    server.check_read(key, b"request");
    server.check_finished(key);
    server.session.write_with(key, &mut &b"answer"[..], Finish::Yes).unwrap();
    // Theirs ends in a frame of its own, ours with the last bytes.
    server.check_sent("00000611 00000003 616e73776572");
    server.feed(typed::READ_AND_CLOSE);
    server.session.release(key);
    server.check_sent("");
    assert_eq!(server.session.stats().streams_open, 0);
}

#[test]
fn server_accepts_a_typed_stream() {
    let mut client = Peer::typed(Side::Client);
    let key = client.session.open(Some(0x0102_0304)).unwrap();
    client.session.announce(key);
    client.check_sent(typed::OPEN);
    let unacknowledged = client.session.open_capacity();
    client.feed(typed::ACCEPTED);
    assert_eq!(client.session.open_capacity(), unacknowledged + 1, "it was taken");
    client.write(key, b"request");
    client.session.finish(key).unwrap();
    client.check_sent(typed::REQUEST);
    client.feed(typed::ANSWER);
    client.check_read(key, b"answer");
    client.check_finished(key);
    client.session.release(key);
    client.check_sent("");
}

#[test]
fn client_sends_heartbeats() {
    let mut server = Peer::typed(Side::Server);
    server.feed(heartbeat::OPEN);
    server.check_sent("");
    for (beat, token) in heartbeat::BEATS.into_iter().zip(heartbeat::TOKENS) {
        server.feed(beat);
        server.check_sent(&format!("00000410 00000003 {token}"));
    }
    assert!(server.session.accept().is_none(), "heartbeats are nobody's streams");
}

#[test]
fn server_answers_heartbeats() {
    let mut client = Peer::typed(Side::Client);
    client.session.start_heartbeat(HeartbeatConfig::default(), client.now);
    // The first leaves in one frame with the type.
    let headers = ["00000812 00000003 ffffffff", "00000410 00000003"];
    for (number, header) in (1..).zip(headers) {
        client.session.ping(client.now);
        let beat = hex(&client.sent());
        let token = beat.strip_prefix(&hex(&unhex(header))).expect("a token behind its header");
        if number == 1 {
            client.feed(heartbeat::ACCEPTED);
        }
        // The recorded answer, with our token in place of the recorded one.
        let recorded = heartbeat::TOKENS[number as usize - 1];
        client.feed(&heartbeat::ECHOES[number as usize - 1].replace(recorded, token));
        let event = HeartbeatEvent::RoundTrip(Duration::ZERO);
        assert_eq!(client.session.heartbeat_event(), (number, Some(event)));
    }
}

#[test]
fn client_closes_a_stream_that_the_server_writes_to() {
    let mut server = Peer::new(Side::Server);
    server.feed(closed::HELLO_AND_CLOSE);
    let (key, _) = server.session.accept().expect("a stream");
    server.write(key, b"too late");
    server.check_sent(closed::SERVER_WRITES);
    server.feed(closed::RESET);
    assert_eq!(server.session.failure(key), Some(ReadError::Reset(ErrorCode::STREAM_CLOSED)));
    let error = server.session.write(key, &mut &b"more"[..]);
    assert_eq!(error, Err(WriteError::Reset(ErrorCode::STREAM_CLOSED)));
    // What came before the end is whole.
    server.check_read(key, b"hello");
    server.check_finished(key);
    server.session.release(key);
    server.check_sent("");
}

#[test]
fn client_closes_before_it_writes() {
    let mut server = Peer::new(Side::Server);
    server.feed(closed::CLOSE_WRITE_FIRST);
    let (key, _) = server.session.accept().expect("a stream");
    server.check_finished(key);
    server.write(key, b"hello");
    server.session.finish(key).unwrap();
    server.check_sent("00000510 00000005 68656c6c6f 00000011 00000005");
}
