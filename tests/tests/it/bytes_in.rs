//! The same bytes have the same effect however the transport cuts them up.

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use muxado::{
    Config, ErrorCode, ReadError, SessionEnd, Side,
    proto::{Outbox, Read, Session, SessionStats},
};
use muxado_tests::{DATA, EXT, FIN, Frame, Rng, SPARE, SYN, encode, hex, raw_header};

/// All that can be seen of a session after some input.
#[derive(Debug, PartialEq)]
struct Outcome {
    streams: Vec<Seen>,
    output: Bytes,
    stats: SessionStats,
    end: Option<SessionEnd>,
    left: usize,
}

/// An accepted stream: its id, type, bytes, and what followed them.
#[derive(Debug, PartialEq)]
struct Seen {
    id: Option<u32>,
    stream_type: Option<u32>,
    bytes: Vec<u8>,
    end: Result<Read<()>, ReadError>,
}

fn read(session: &mut Session, key: muxado::proto::StreamKey) -> (Vec<u8>, Result<Read<()>, ReadError>) {
    let mut bytes = Vec::new();
    loop {
        match session.read_chunk(key, usize::MAX) {
            Ok(Read::Data(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(Read::Finished) => return (bytes, Ok(Read::Finished)),
            Ok(Read::Pending) => return (bytes, Ok(Read::Pending)),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Feeds `input` in pieces of the lengths that `cut` gives, then looks at everything.
fn outcome(typed: bool, input: &[u8], mut cut: impl FnMut() -> usize) -> Outcome {
    let now = Instant::now();
    let mut session = Session::new(Side::Server, Config::default().window_size(64 * 1024));
    if typed {
        session.set_typed(now);
    }
    let (mut inbox, mut rest) = (BytesMut::new(), input);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut().clamp(1, rest.len()));
        inbox.extend_from_slice(piece);
        session.receive(&mut inbox, now);
        rest = behind;
    }
    let mut streams = Vec::new();
    while let Some((key, stream_type)) = session.accept() {
        let id = session.stream_id(key).map(|id| id.as_u32());
        let (bytes, end) = read(&mut session, key);
        streams.push(Seen { id, stream_type, bytes, end });
    }
    let mut out = Outbox::default();
    session.transmit(&mut out, now);
    let output = out.copy_to_bytes(out.remaining());
    Outcome { streams, output, stats: session.stats(), end: session.end(), left: inbox.len() }
}

fn check(typed: bool, input: &[u8]) {
    let whole = outcome(typed, input, || usize::MAX);
    assert_eq!(outcome(typed, input, || 1), whole, "byte by byte");
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let most = 1 + rng.below(40);
        assert_eq!(outcome(typed, input, || 1 + rng.below(most)), whole, "seed {seed}");
    }
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        assert_eq!(outcome(typed, input, || 1 + rng.below(input.len())), whole, "two pieces, seed {seed}");
    }
}

/// What a client of ours sends for a few streams, one of them long.
fn recorded(stream_type: Option<u32>) -> Vec<u8> {
    let mut client = Session::new(Side::Client, Config::default().window_size(64 * 1024));
    let keys: Vec<_> = (0..6).map(|_| client.open(stream_type).unwrap()).collect();
    let mut bytes = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let size = [5, 0, 40_000, 1, 300, 16_384][n];
        client.write(*key, &mut &vec![n as u8 + 1; size][..]).unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        match n {
            3 => client.reset(*key, ErrorCode::CANCELLED),
            4 => {}
            _ => client.finish(*key).unwrap(),
        }
    }
    let mut out = Outbox::default();
    while client.wants_transmit() {
        client.transmit(&mut out, Instant::now());
        bytes.extend_from_slice(&out.copy_to_bytes(out.remaining()));
    }
    client.go_away();
    client.transmit(&mut out, Instant::now());
    bytes.extend_from_slice(&out.copy_to_bytes(out.remaining()));
    bytes
}

#[test]
fn recorded_client_has_the_same_effect_in_any_pieces() {
    let bytes = recorded(None);
    let whole = outcome(false, &bytes, || usize::MAX);
    assert_eq!(whole.streams.len(), 6, "one of them reset behind a byte");
    assert_eq!(
        whole.streams.iter().map(|seen| seen.bytes.len()).sum::<usize>(),
        5 + 40_000 + 1 + 300 + 16_384
    );
    check(false, &bytes);
}

#[test]
fn recorded_typed_client_has_the_same_effect_in_any_pieces() {
    let bytes = recorded(Some(0xABCD));
    let whole = outcome(true, &bytes, || usize::MAX);
    assert!(whole.streams.iter().all(|seen| seen.stream_type == Some(0xABCD)));
    check(true, &bytes);
}

/// Everything a peer can do that is odd, and is survived.
fn odd() -> Vec<u8> {
    encode(&[
        Frame::syn(5, "five"),
        Frame::new(9, 15, 0xFFFF_FFFF, [7; 100]),
        Frame::data(77, "late"),
        Frame::data(77, "late again"),
        Frame::rst(99, 6),
        Frame::wndinc(5, 0),
        Frame::wndinc(5, 0xFFFF_FFFF),
        Frame::syn_fin(3, [0, 0, 0, 9, b'q']),
        Frame::fin(3),
        Frame::data(3, "after the end"),
        Frame::syn(7, vec![1; 64 * 1024 + 1]),
        Frame::syn(9, vec![2; 64 * 1024]),
        Frame::data(9, "over"),
        Frame::new(DATA, SYN | SPARE, 11, [0, 0]),
        Frame::new(DATA, SPARE, 11, ""),
        Frame::new(DATA, FIN | SPARE, 11, [0, 1, 2, 3]),
        Frame::syn(13, ""),
        Frame::rst(13, 0),
        Frame::syn(1, [0xFF; 8]),
        Frame::data(1, "tok"),
    ])
}

#[test]
fn odd_peer_has_the_same_effect_in_any_pieces() {
    check(false, &odd());
    check(true, &odd());
}

#[test]
fn errors_are_the_same_in_any_pieces() {
    let id_0 = Frame::syn(0, "x").encode();
    let wrong_parity = Frame::syn(4, "x").encode();
    let twice = Frame::syn(5, "x").encode();
    let lengths = [raw_header(5, 0, 0, 3), raw_header(3, 2, 0, 3), raw_header(7, 3, 0, 0)];
    let mut endings = vec![id_0, wrong_parity, twice];
    endings.extend(lengths.map(|header| header.to_vec()));
    for ending in endings {
        let bytes = [odd(), ending, b"and more".to_vec()].concat();
        assert!(outcome(false, &bytes, || usize::MAX).end.is_some());
        check(false, &bytes);
    }
    check(false, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

#[test]
fn go_away_and_what_follows_is_the_same_in_any_pieces() {
    let go_away = Frame::go_away(0, 3, &"x".repeat(5000));
    for tail in [Frame::syn(21, "fine").encode(), hex("00 00 07 00 00 00 00 03 ff"), vec![]] {
        let bytes = [odd(), go_away.encode(), tail].concat();
        check(false, &bytes);
    }
}

#[test]
fn what_payload_earns_does_not_depend_on_the_pieces() {
    // A frame with 64 bytes of payload pays for a useless one, also if it comes in two reads.
    let frames = [Frame::data(3, [1; 64]), Frame::wndinc(3, 0)];
    let (now, round) = (Instant::now(), encode(&frames));
    for piece in [round.len(), 36, 7] {
        let mut session = Session::new(Side::Server, Config::default());
        let mut inbox = BytesMut::from(&Frame::syn(3, "").encode()[..]);
        session.receive(&mut inbox, now);
        let (key, _) = session.accept().unwrap();
        for _ in 0..12_000 {
            for part in round.chunks(piece) {
                inbox.extend_from_slice(part);
                session.receive(&mut inbox, now);
            }
            while let Ok(Read::Data(_)) = session.read_chunk(key, usize::MAX) {}
            session.transmit(&mut Outbox::default(), now);
        }
        assert_eq!(session.end(), None, "in pieces of {piece} bytes");
    }
}

#[test]
fn what_is_read_after_the_end_of_a_session_gives_nothing_to_send() {
    let now = Instant::now();
    let mut session = Session::new(Side::Server, Config::default());
    let size = 256 * 1024;
    // The peer has the protocol extensions, and counts what is unread behind the end of its streams.
    let mut frame = Frame::syn_fin(3, vec![7; size]);
    frame.flags |= EXT;
    session.receive(&mut BytesMut::from(&encode(&[frame])[..]), now);
    let (key, _) = session.accept().expect("a stream came");
    let mut outbox = Outbox::default();
    session.transmit(&mut outbox, now);
    session.handle_transport_end(None, 0);
    while session.poll_event().is_some() {}
    assert_eq!(read(&mut session, key), (vec![7; size], Ok(Read::Finished)));
    assert!(!session.wants_transmit());
}
