//! Nobody's queue stands in front of somebody else for long.

use bytes::{Buf, BytesMut};
use muxado::{
    Config, Side,
    proto::{Outbox, Session},
};
use muxado_tests::{
    DATA, Frame, WNDINC, decode, each_side, local_id, read_exactly, remote_id, scripted_with_driver, settle,
};
use tokio::io::AsyncWriteExt;

const KIB: usize = 1024;

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

#[test]
fn busy_streams_take_turns_of_16_kib() {
    for side in [Side::Client, Side::Server] {
        let mut session = Session::new(side, Config::default());
        for n in 0..3 {
            let key = session.open(None).unwrap();
            assert_eq!(session.write(key, &mut &vec![n; 48 * KIB][..]).unwrap(), 48 * KIB);
        }
        let [a, b, c] = [0, 1, 2].map(|n| local_id(side, n));
        let turn = 16 * KIB;
        let expected = [a, b, c, a, b, c, a, b, c].map(|id| (id, turn));
        assert_eq!(order(&mut session), expected);
    }
}

#[test]
fn lone_stream_uses_frames_of_64_kib() {
    let mut session = Session::new(Side::Client, Config::default());
    let key = session.open(None).unwrap();
    assert_eq!(session.write(key, &mut &vec![0; 100 * KIB][..]).unwrap(), 100 * KIB);
    assert_eq!(order(&mut session), [(3, 64 * KIB), (3, 36 * KIB)]);
}

#[test]
fn batch_is_bounded() {
    let mut session = Session::new(Side::Client, Config::default());
    for _ in 0..16 {
        let key = session.open(None).unwrap();
        session.write(key, &mut &vec![0; 64 * KIB][..]).unwrap();
    }
    let mut batches = 0;
    while session.wants_transmit() {
        let bytes: usize = batch(&mut session).iter().map(|frame| frame.payload.len()).sum();
        assert!(bytes < 128 * KIB, "{bytes} bytes that a small call would wait for");
        batches += 1;
    }
    assert_eq!(batches, 16);
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
