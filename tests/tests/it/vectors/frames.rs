//! §14.1 to §14.3: frames, by their fields, by what they do, and as our sessions write them.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use muxado::{
    Config, ErrorCode, HeartbeatConfig, ReadError, Side,
    proto::{Finish, FrameHeader, Outbox, Read, Session, StreamKey},
};
use muxado_tests::{DATA, EXT, FIN, Frame, GOAWAY, RST, SYN, WNDINC, decode, encode};

use super::{vector, vectors};

/// What the document says of each vector.
fn stated(name: &str) -> Vec<Frame> {
    let data = |flags, id, payload: &str| Frame::new(DATA, flags, id, payload);
    match name {
        "data-syn" => vec![data(SYN, 3, "hello")],
        "data-syn-ext1" => vec![data(SYN | EXT, 3, "hello")],
        "data" => vec![data(0, 3, "world")],
        "data-fin" => vec![data(FIN, 3, "bye")],
        "fin" => vec![data(FIN, 3, "")],
        "syn-then-fin" => vec![data(SYN, 2, ""), data(FIN, 2, "")],
        "data-largest-id" => vec![data(SYN, 2_147_483_647, "x")],
        "rst-cancelled" => vec![Frame::new(RST, 0, 3, [0, 0, 0, 6])],
        "rst-unknown-code" => vec![Frame::new(RST, 0, 4, [0xFF; 4])],
        "wndinc" => vec![Frame::new(WNDINC, 0, 3, 131_072_u32.to_be_bytes())],
        "wndinc-top-bit" => vec![Frame::new(WNDINC, 0, 3, [0x80, 0, 0, 1])],
        "unknown-type" => vec![Frame::new(0xE, 0, 0, "???")],
        "goaway" => vec![Frame::new(GOAWAY, 0, 0, [0; 8])],
        "goaway-text" => vec![Frame::go_away(5, 1, "bad frame")],
        "goaway-drain-client" => vec![Frame::go_away(4, 0, ""), data(FIN, 0x7FFF_FFFF, "")],
        "goaway-drain-server" => vec![Frame::go_away(5, 0, ""), data(FIN, 0x7FFF_FFFE, "")],
        "typed-open" => vec![data(SYN, 3, "\0\0\0\x07hi")],
        "heartbeat" => vec![Frame::new(DATA, SYN, 3, [0xFF, 0xFF, 0xFF, 0xFF, 0x9E, 0x37, 0x79, 0xB9])],
        "heartbeat-echo" => vec![Frame::new(DATA, 0, 3, [0x9E, 0x37, 0x79, 0xB9])],
        "probe" => vec![Frame::new(DATA, 0, 0x4000_0003, [0; 64])],
        "probe-answer" => vec![Frame::new(RST, 0, 0x4000_0003, [0, 0, 0, 4])],
        _ => panic!("nothing here knows of vector {name}"),
    }
}

fn frame_vectors() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    ["14.1", "14.2", "14.3"].into_iter().flat_map(vectors)
}

#[test]
fn vectors_have_the_stated_fields() {
    for (name, bytes) in frame_vectors() {
        assert_eq!(decode(&bytes), stated(name), "{name}");
        assert_eq!(encode(&stated(name)), bytes, "{name}");
    }
}

#[test]
fn headers_of_vectors_decode_and_encode() {
    for (name, bytes) in frame_vectors() {
        let mut rest = &bytes[..];
        for frame in stated(name) {
            let header = FrameHeader::decode(*rest.first_chunk().expect("a header"));
            let fields = (header.frame_type.as_u8(), header.flags.as_u8(), header.length, header.stream_id);
            assert_eq!(fields, (frame.kind, frame.flags, frame.payload.len() as u32, frame.id), "{name}");
            assert_eq!(header.encode(), frame.header(), "{name}");
            rest.advance(8 + frame.payload.len());
        }
        assert!(rest.is_empty(), "{name}");
    }
}

/// A core that is given bytes and asked for its own.
struct Core(Session, Instant);

impl Core {
    fn new(side: Side) -> Self {
        Self(Session::new(side, Config::default().extensions(false)), Instant::now())
    }

    fn typed(side: Side) -> Self {
        let mut core = Self::new(side);
        core.0.set_typed(core.1);
        core
    }

    /// Takes a vector in, in pieces of `step` bytes.
    fn take(&mut self, bytes: &[u8], step: usize) {
        let mut inbox = BytesMut::new();
        for piece in bytes.chunks(step) {
            inbox.extend_from_slice(piece);
            self.0.receive(&mut inbox, self.1);
        }
        assert!(inbox.is_empty() && !self.0.has_ended());
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut out = Outbox::default();
        self.0.transmit(&mut out, self.1);
        out.copy_to_bytes(out.remaining()).to_vec()
    }

    fn accept(&mut self) -> StreamKey {
        self.0.accept().expect("a stream waits").0
    }

    fn read(&mut self, key: StreamKey) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(Read::Data(chunk)) = self.0.read_chunk(key, usize::MAX) {
            all.extend_from_slice(&chunk);
        }
        all
    }
}

#[test]
fn vectors_of_streams_do_what_they_say() {
    for step in [1, 5, 1000] {
        for open in ["data-syn", "data-syn-ext1"] {
            let mut core = Core::new(Side::Server);
            for part in [open, "data", "wndinc", "unknown-type", "wndinc-top-bit", "data-fin", "fin"] {
                core.take(&vector(part), step);
            }
            let key = core.accept();
            assert_eq!(core.read(key), b"helloworldbye");
            assert_eq!(core.0.read_chunk(key, 1), Ok(Read::Finished));
            core.take(&vector("rst-cancelled"), step);
            assert_eq!(core.0.failure(key), Some(ReadError::Reset(ErrorCode::CANCELLED)));
        }
        let mut core = Core::new(Side::Server);
        core.take(&vector("data-largest-id"), step);
        let key = core.accept();
        assert_eq!(core.0.stream_id(key).map(|id| id.as_u32()), Some(0x7FFF_FFFF));
        assert_eq!(core.read(key), b"x");
        let mut core = Core::new(Side::Client);
        core.take(&vector("syn-then-fin"), step);
        let key = core.accept();
        assert_eq!(core.0.read_chunk(key, 1), Ok(Read::Finished));
        core.take(&Frame::syn(4, "").encode(), step);
        let key = core.accept();
        core.take(&vector("rst-unknown-code"), step);
        assert_eq!(core.0.failure(key), Some(ReadError::Reset(ErrorCode::new(u32::MAX))));
    }
}

#[test]
fn vectors_of_the_end_do_what_they_say() {
    let ends = [
        ("goaway", 0, 0, ""),
        ("goaway-text", 5, 1, "bad frame"),
        ("goaway-drain-client", 4, 0, ""),
        ("goaway-drain-server", 5, 0, ""),
    ];
    for (name, last, code, text) in ends {
        for step in [1, 1000] {
            let side = if name == "goaway-drain-client" { Side::Server } else { Side::Client };
            let mut core = Core::new(side);
            core.take(&vector(name), step);
            assert!(core.0.refuses_opens(), "{name}");
            core.0.handle_transport_end(None, 0);
            let remote = core.0.end().and_then(|end| end.remote).expect("a go-away came");
            assert_eq!(
                (remote.last_stream_id, remote.code.as_u32(), &remote.debug[..]),
                (last, code, text.as_bytes())
            );
        }
    }
}

#[test]
fn streams_are_written_as_the_vectors_say() {
    for (family, open) in [(false, "data-syn"), (true, "data-syn-ext1")] {
        let mut core = Core::new(Side::Client);
        core.0 = Session::new(Side::Client, Config::default().extensions(family));
        let key = core.0.open(None).expect("it lives");
        core.0.write(key, &mut &b"hello"[..]).expect("it lives");
        assert_eq!(core.sent(), vector(open));
        core.0.write(key, &mut &b"world"[..]).expect("it lives");
        assert_eq!(core.sent(), vector("data"));
        core.0.write_with(key, &mut &b"bye"[..], Finish::Yes).expect("it lives");
        assert_eq!(core.sent(), vector("data-fin"));
    }
}

#[test]
fn ends_of_streams_and_credit_are_written_as_the_vectors_say() {
    let mut core = Core::new(Side::Client);
    let key = core.0.open(None).expect("it lives");
    core.0.write(key, &mut &b"hello"[..]).expect("it lives");
    core.sent();
    core.0.finish(key).expect("it lives");
    assert_eq!(core.sent(), vector("fin"));
    core.0.reset(key, ErrorCode::CANCELLED);
    assert_eq!(core.sent(), vector("rst-cancelled"));

    let mut core = Core::new(Side::Server);
    let key = core.0.open(None).expect("it lives");
    core.0.finish(key).expect("it lives");
    assert_eq!(core.sent(), vector("syn-then-fin"));
    let key = core.0.open(None).expect("it lives");
    core.0.write(key, &mut &b"x"[..]).expect("it lives");
    core.sent();
    core.0.reset(key, ErrorCode::new(u32::MAX));
    assert_eq!(core.sent(), vector("rst-unknown-code"));

    let mut core = Core::new(Side::Server);
    core.take(&Frame::syn(3, vec![1; 131_072]).encode(), 1000);
    let key = core.accept();
    assert_eq!(core.read(key).len(), 131_072);
    assert_eq!(core.sent(), vector("wndinc"));
}

#[test]
fn ends_are_written_as_the_vectors_say() {
    let seen = |side, id| {
        let mut core = Core::new(side);
        if id > 0 {
            core.take(&Frame::syn(id, "").encode(), 100);
        }
        core
    };
    let mut core = seen(Side::Client, 0);
    core.0.close(ErrorCode::NO_ERROR, "".into());
    assert_eq!(core.sent(), vector("goaway"));
    let mut core = seen(Side::Server, 5);
    core.0.close(ErrorCode::PROTOCOL_ERROR, "bad frame".into());
    assert_eq!(core.sent(), vector("goaway-text"));
    for (side, id, name) in
        [(Side::Client, 4, "goaway-drain-client"), (Side::Server, 5, "goaway-drain-server")]
    {
        let mut core = seen(side, id);
        core.0.go_away();
        assert_eq!(core.sent(), vector(name));
    }
}

#[test]
fn typed_streams_and_heartbeats_are_as_the_vectors_say() {
    let mut client = Core::typed(Side::Client);
    let key = client.0.open(Some(7)).expect("it lives");
    client.0.write(key, &mut &b"hi"[..]).expect("it lives");
    assert_eq!(client.sent(), vector("typed-open"));

    let mut server = Core::typed(Side::Server);
    server.take(&vector("typed-open"), 1);
    let (key, stream_type) = server.0.accept().expect("a stream waits");
    assert_eq!((stream_type, server.read(key)), (Some(7), b"hi".to_vec()));

    let mut client = Core::typed(Side::Client);
    client.0.start_heartbeat(HeartbeatConfig::default(), client.1);
    client.1 += Duration::from_secs(10);
    client.0.handle_timeout(client.1);
    assert_eq!(client.sent(), vector("heartbeat"));
    let mut server = Core::typed(Side::Server);
    server.take(&vector("heartbeat"), 3);
    assert_eq!(server.sent(), vector("heartbeat-echo"));
    client.1 += Duration::from_millis(30);
    client.take(&vector("heartbeat-echo"), 1);
    assert_eq!(client.0.stats().round_trip, Some(Duration::from_millis(30)));
}

#[test]
fn probes_are_as_the_vectors_say() {
    let mut client = Core::new(Side::Client);
    client.0.start_probes(HeartbeatConfig::default(), client.1);
    client.1 += Duration::from_secs(10);
    client.0.handle_timeout(client.1);
    assert_eq!(client.sent(), vector("probe"));
    let mut server = Core::new(Side::Server);
    server.take(&vector("probe"), 3);
    assert_eq!(server.sent(), vector("probe-answer"));
    client.1 += Duration::from_millis(30);
    client.take(&vector("probe-answer"), 1);
    assert_eq!(client.0.stats().round_trip, Some(Duration::from_millis(30)));
}
