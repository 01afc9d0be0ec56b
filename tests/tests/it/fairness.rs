//! Nobody's queue stands in front of somebody else for long.

use bytes::{Buf, BytesMut};
use muxado::{
    Config, ErrorCode, Side,
    proto::{Outbox, Session},
};
use muxado_tests::{
    DATA, EXT, FIN, Frame, HEADER, SYN, WNDINC, decode, each_side, local_id, read_exactly, remote_id,
    scripted_with_driver, settle,
};
use tokio::io::AsyncWriteExt;

const KIB: usize = 1024;

const WINDOW: usize = 256 * KIB;

/// Most payload of one frame.
const FRAME: usize = 64 * KIB - 256;

/// What TCP sends at most in one segment over a loopback interface, with IPv6.
const SEGMENT: usize = 65_463;

/// The next batch of output, as frames.
fn batch(session: &mut Session) -> Vec<Frame> {
    let mut out = Outbox::default();
    session.transmit(&mut out, std::time::Instant::now());
    decode(&out.copy_to_bytes(out.remaining()))
}

/// Stream id and payload length of every frame until nothing is left.
fn order(session: &mut Session) -> Vec<(u32, usize)> {
    let mut order = Vec::new();
    while session.wants_transmit() {
        order.extend(batch(session).iter().map(|frame| (frame.id, frame.payload.len())));
    }
    order
}

fn receive(session: &mut Session, frame: &Frame) {
    session.receive(&mut BytesMut::from(&frame.encode()[..]), std::time::Instant::now());
}

/// A session whose peer is one of this family, or has not shown it.
fn session(side: Side, family: bool) -> Session {
    let mut session = Session::new(side, Config::default());
    if family {
        receive(&mut session, &Frame::new(DATA, EXT | SYN | FIN, remote_id(side, 0), ""));
        let (key, _) = session.accept().unwrap();
        session.reset(key, ErrorCode::NO_ERROR);
        batch(&mut session);
    }
    session
}

/// Opens streams that want to send so much each.
fn bulk(session: &mut Session, streams: usize, len: usize) {
    for n in 0..streams {
        let key = session.open(None).unwrap();
        assert_eq!(session.write(key, &mut &vec![n as u8; len][..]).unwrap(), len);
    }
}

#[test]
fn busy_streams_take_turns() {
    // A stranger takes in a frame whole, before its reader gets anything of it.
    for (family, turn) in [(true, FRAME), (false, (64 * KIB - 256) / 4 - 8)] {
        for side in [Side::Client, Side::Server] {
            let mut session = session(side, family);
            bulk(&mut session, 3, 2 * turn);
            let [a, b, c] = [0, 1, 2].map(|n| local_id(side, n));
            assert_eq!(order(&mut session), [a, b, c, a, b, c].map(|id| (id, turn)), "family: {family}");
        }
    }
}

#[test]
fn lone_stream_uses_large_frames() {
    for family in [true, false] {
        let mut session = session(Side::Client, family);
        bulk(&mut session, 1, 100 * KIB);
        assert_eq!(order(&mut session), [(3, FRAME), (3, 100 * KIB - FRAME)]);
    }
}

#[test]
fn batch_fits_a_segment_of_a_loopback() {
    for family in [true, false] {
        for (streams, len) in [(1, 128 * KIB), (16, 64 * KIB), (8, 20_000), (3, 33_000)] {
            let mut session = session(Side::Client, family);
            // Frames that no turn is needed for are part of it.
            let small = session.open(None).unwrap();
            session.write(small, &mut &[7; 500][..]).unwrap();
            bulk(&mut session, streams, len / 2);
            let (mut batches, mut sent) = (0, 0);
            while session.wants_transmit() {
                let mut out = Outbox::default();
                session.transmit(&mut out, std::time::Instant::now());
                assert!(out.len() <= SEGMENT, "{} bytes with {streams} streams", out.len());
                (batches, sent) = (batches + 1, sent + out.len());
            }
            // None is less than half full on the average.
            assert!(batches <= 2 * sent / SEGMENT + 1, "{batches} of {sent} bytes");
        }
    }
}

#[test]
fn message_that_does_not_fit_into_the_rest_of_a_batch_begins_the_next_one() {
    let mut session = session(Side::Client, true);
    bulk(&mut session, 3, 36_000);
    for id in [3, 5, 7] {
        let frames: Vec<_> =
            batch(&mut session).iter().map(|frame| (frame.id, frame.payload.len())).collect();
        assert_eq!(frames, [(id, 36_000)]);
    }
}

#[test]
fn message_that_does_not_fit_is_cut_where_half_of_a_batch_is_free() {
    let mut session = session(Side::Client, true);
    bulk(&mut session, 1, 20_000);
    bulk(&mut session, 1, FRAME);
    let rest = FRAME + 128 - (HEADER + 20_000) - HEADER;
    assert_eq!(order(&mut session), [(3, 20_000), (5, rest), (5, FRAME - rest)]);
}

#[test]
fn small_writes_without_end_leave_turns_to_bulk() {
    for len in [500, 1000] {
        let mut session = session(Side::Client, true);
        bulk(&mut session, 1, 100_000);
        let small: Vec<_> = (0..64).map(|_| session.open(None).unwrap()).collect();
        let mut sent = 0;
        for _ in 0..20 {
            for &key in &small {
                assert_eq!(session.write(key, &mut &vec![7; len][..]).unwrap(), len);
            }
            let lens = batch(&mut session).into_iter().map(|frame| frame.payload.len());
            sent += lens.filter(|sent| *sent > len).sum::<usize>();
        }
        assert_eq!(sent, 100_000, "beside writes of {len} bytes");
    }
}

#[test]
fn what_a_writer_is_left_with_is_whole_frames() {
    let mut session = session(Side::Client, true);
    let key = session.open(None).unwrap();
    let data = vec![0; 1024 * KIB];
    let mut left = &data[..];
    let mut sizes = Vec::new();
    while sizes.is_empty() || session.wants_transmit() {
        assert_eq!(session.write(key, &mut left).unwrap() % FRAME, 0);
        sizes.extend(batch(&mut session).iter().map(|frame| frame.payload.len()));
    }
    assert_eq!(sizes, [FRAME, FRAME, FRAME, FRAME, WINDOW - 4 * FRAME]);
}

#[test]
fn control_frames_and_small_writes_go_before_queued_data() {
    let mut session = Session::new(Side::Server, Config::default());
    receive(&mut session, &Frame::syn(3, vec![1; 128 * KIB]));
    let (accepted, _) = session.accept().unwrap();
    for _ in 0..8 {
        let key = session.open(None).unwrap();
        session.write(key, &mut &vec![0; 64 * KIB][..]).unwrap();
    }
    batch(&mut session);
    let muxado::proto::Read::Data(chunk) = session.read_chunk(accepted, usize::MAX).unwrap() else {
        panic!()
    };
    assert_eq!(chunk.len(), 128 * KIB);
    receive(&mut session, &Frame::data(99, "late"));
    session.write(accepted, &mut &b"small"[..]).unwrap();
    let next = batch(&mut session);
    let bulk = next.iter().position(|frame| frame.kind == DATA && frame.payload.len() > 5).unwrap();
    let first = &next[..bulk];
    assert!(first.contains(&Frame::data(3, "small")), "{first:?}");
    assert!(first.contains(&Frame::wndinc(3, 128 * KIB as u32)), "{first:?}");
    assert!(first.contains(&Frame::rst(99, 4)), "{first:?}");
}

#[test]
fn heartbeats_go_before_queued_data() {
    let now = std::time::Instant::now();
    let mut session = Session::new(Side::Server, Config::default());
    session.set_typed(now);
    receive(&mut session, &Frame::syn(3, [0xFF; 4]));
    for _ in 0..8 {
        let key = session.open(Some(1)).unwrap();
        session.write(key, &mut &vec![0; 60 * KIB][..]).unwrap();
    }
    batch(&mut session);
    receive(&mut session, &Frame::data(3, "ping"));
    assert_eq!(batch(&mut session)[0], Frame::data(3, "ping"));
}

#[test]
fn small_call_overtakes_bulk_that_is_queued() {
    each_side(|side| async move {
        let pipe = KIB;
        let config = Config::default().window_size(4 * 1024 * KIB as u32);
        let (session, mut peer, _driver) = scripted_with_driver(side, config, pipe);
        peer.law.window(4 * 1024 * KIB as u32);
        for _ in 0..4 {
            let mut bulk = session.open().await.unwrap();
            tokio::spawn(async move { bulk.write_all(&vec![0; 2 * 1024 * KIB]).await });
        }
        settle().await;
        for _ in 0..20 {
            peer.recv().await.unwrap();
        }
        let mut small = session.open().await.unwrap();
        small.write_all(b"small").await.unwrap();
        let id = small.id().unwrap().as_u32();
        let mut before = 0;
        loop {
            let frame = peer.recv().await.unwrap();
            if frame.id == id {
                break;
            }
            before += frame.payload.len();
        }
        assert!(before <= 2 * 64 * KIB + pipe, "{before} bytes of bulk came first");
    });
}

#[test]
fn bulk_streams_progress_alike() {
    each_side(|side| async move {
        let config = Config::default().window_size(4 * 1024 * KIB as u32);
        let (session, mut peer, _driver) = scripted_with_driver(side, config, 64 * KIB);
        peer.law.window(4 * 1024 * KIB as u32);
        for _ in 0..8 {
            let mut bulk = session.open().await.unwrap();
            tokio::spawn(async move { bulk.write_all(&vec![0; 4 * 1024 * KIB]).await });
        }
        let mut sent = [0; 8];
        while sent.iter().sum::<usize>() < 16 * 1024 * KIB {
            let frame = peer.recv().await.unwrap();
            sent[((frame.id - local_id(side, 0)) / 2) as usize] += frame.payload.len();
        }
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        assert!(most - least <= 128 * KIB, "{sent:?}");
    });
}

#[test]
fn credit_is_not_delayed_by_bulk_the_other_way() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 512 * KIB);
        let id = remote_id(side, 0);
        for _ in 0..8 {
            let mut bulk = session.open().await.unwrap();
            tokio::spawn(async move { bulk.write_all(&vec![0; 256 * KIB]).await });
        }
        peer.send(Frame::syn(id, vec![1; 256 * KIB])).await;
        let mut stream = session.accept().await.unwrap();
        settle().await;
        read_exactly(&mut stream, 256 * KIB).await;
        let mut before = 0;
        loop {
            let frame = peer.recv().await.unwrap();
            if frame.kind == WNDINC {
                break;
            }
            before += frame.payload.len();
        }
        assert!(before <= 512 * KIB + 2 * 64 * KIB, "{before} bytes came first");
    });
}
