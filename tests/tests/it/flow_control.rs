//! What we may send, and what the peer may.

use bytes::Bytes;
use muxado::{Config, ErrorCode, ReadError, WriteError};
use muxado_tests::{
    DATA, Frame, Peer, RST, WNDINC, drain, each_side, local_id, raw_header, read_exactly, remote_id,
    scripted, settle, write_final,
};
use tokio::io::AsyncWriteExt;

const WINDOW: usize = 256 * 1024;

/// Sums up the payload of one stream until nothing more comes.
async fn payload(peer: &mut Peer, id: u32) -> Vec<u8> {
    let frames = peer.recv_until_silence().await;
    let of_stream = frames.iter().filter(|frame| frame.kind == DATA && frame.id == id);
    of_stream.flat_map(|frame| frame.payload.to_vec()).collect()
}

#[test]
fn writer_stops_at_the_window_and_goes_on_with_credit() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let data: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        let mut stream = session.open().await.unwrap();
        let sending = data.clone();
        let writing = tokio::spawn(async move { write_final(&mut stream, sending).await });
        let mut got = payload(&mut peer, id).await;
        assert_eq!(got.len(), WINDOW);
        assert!(!writing.is_finished());
        for credit in [100_000, 1000, 300, 400_000] {
            let before = got.len();
            peer.send(Frame::wndinc(id, credit)).await;
            got.extend(payload(&mut peer, id).await);
            assert_eq!(got.len(), (before + credit as usize).min(data.len()));
        }
        assert_eq!(got, data);
        assert_eq!(writing.await.unwrap(), Ok(()));
    });
}

#[test]
fn writer_that_is_not_blocked_by_the_window_is_not_held_up_by_its_buffer() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().stream_send_buffer(1024));
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; WINDOW]).await.unwrap();
        assert_eq!(payload(&mut peer, local_id(side, 0)).await, vec![7; WINDOW]);
    });
}

#[test]
fn crumbs_of_credit_are_saved_up() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; WINDOW]).await.unwrap();
        stream.write_all(&[2; 2000]).await.unwrap();
        assert_eq!(payload(&mut peer, id).await.len(), WINDOW);
        for _ in 0..255 {
            peer.send(Frame::wndinc(id, 1)).await;
        }
        peer.expect_silence().await;
        peer.send(Frame::wndinc(id, 1)).await;
        peer.expect(Frame::data(id, [2; 256])).await;
        // The last bytes go out as soon as all of them fit.
        peer.send(Frame::wndinc(id, 1744)).await;
        peer.expect(Frame::data(id, [2; 1744])).await;
    });
}

#[test]
fn fin_needs_no_window() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; WINDOW]).await.unwrap();
        assert_eq!(payload(&mut peer, id).await.len(), WINDOW);
        stream.shutdown().await.unwrap();
        peer.expect(Frame::fin(id)).await;
    });
}

#[test]
fn credit_that_overflows_is_harmless() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(id, "x")).await;
        let most = vec![Frame::wndinc(id, 0x7FFF_FFFF); 600];
        for _ in 0..4 {
            peer.send_all(&most).await;
        }
        let writing = tokio::spawn(async move { write_final(&mut stream, vec![3; 1_000_000]).await });
        assert_eq!(payload(&mut peer, id).await.len(), 1_000_000);
        assert_eq!(writing.await.unwrap(), Ok(()));
        assert!(!session.is_closed());
    });
}

#[test]
fn top_bit_of_credit_is_ignored() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        let writing = tokio::spawn(async move { write_final(&mut stream, vec![3; WINDOW + 1000]).await });
        assert_eq!(payload(&mut peer, id).await.len(), WINDOW);
        peer.send(Frame::wndinc(id, 0x8000_0000 | 999)).await;
        assert_eq!(payload(&mut peer, id).await.len(), 999);
        peer.send(Frame::wndinc(id, 0x8000_0001)).await;
        assert_eq!(payload(&mut peer, id).await.len(), 1);
        assert_eq!(writing.await.unwrap(), Ok(()));
    });
}

#[test]
fn empty_credit_is_ignored() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send_all(&[Frame::syn(id, "x"), Frame::wndinc(id, 0), Frame::wndinc(id, 0x8000_0000)]).await;
        peer.send(Frame::fin(id)).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"x".to_vec(), Ok(())));
        peer.expect_silence().await;
    });
}

#[test]
fn exactly_one_window_is_legal_and_one_byte_more_is_not() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (full, over) = (remote_id(side, 0), remote_id(side, 1));
        peer.send_all(&[Frame::syn(full, vec![1; WINDOW - 10]), Frame::data(full, [2; 10])]).await;
        peer.send_all(&[Frame::syn(over, vec![1; WINDOW - 10]), Frame::data(over, [2; 11])]).await;
        peer.expect(Frame::rst(over, 3)).await;
        peer.expect_silence().await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(stream.id().map(|id| id.as_u32()), Some(full));
        assert_eq!(read_exactly(&mut stream, WINDOW).await.len(), WINDOW);
    });
}

#[test]
fn window_overrun_resets_that_stream_only() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (bad, good) = (local_id(side, 0), remote_id(side, 0));
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"q").await.unwrap();
        peer.expect(Frame::syn_ext(bad, "q")).await;
        peer.send(Frame::syn(good, "fine")).await;
        peer.send(Frame::data(bad, "first")).await;
        settle().await;
        peer.send_all(&[Frame::data(bad, vec![0; WINDOW]), Frame::data(bad, "more"), Frame::fin(bad)]).await;
        peer.expect(Frame::rst(bad, 3)).await;
        let code = ErrorCode::FLOW_CONTROL_ERROR;
        assert_eq!(drain(&mut stream).await, (b"first".to_vec(), Err(ReadError::ResetLocally(code))));
        assert_eq!(stream.write_chunk("x".into()).await, Err(WriteError::ResetLocally(code)));
        let mut other = session.accept().await.unwrap();
        assert_eq!(read_exactly(&mut other, 4).await, b"fine");
        write_final(&mut other, "still here").await.unwrap();
        peer.expect(Frame::data_fin(good, "still here")).await;
        peer.expect_silence().await;
    });
}

#[test]
fn overrun_is_judged_by_the_header_alone() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, "kept")).await;
        let mut stream = session.accept().await.unwrap();
        peer.send_bytes(&raw_header(WINDOW as u32, DATA, 0, id)).await;
        peer.expect(Frame::rst(id, 3)).await;
        let code = ErrorCode::FLOW_CONTROL_ERROR;
        assert_eq!(drain(&mut stream).await, (b"kept".to_vec(), Err(ReadError::ResetLocally(code))));
    });
}

#[test]
fn syn_longer_than_the_window_is_reset_and_nothing_is_kept() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (long, next) = (remote_id(side, 0), remote_id(side, 1));
        peer.send_all(&[Frame::syn(long, vec![1; WINDOW + 1]), Frame::data(long, "more")]).await;
        peer.send(Frame::syn(next, "next")).await;
        peer.expect(Frame::rst(long, 3)).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(stream.id().map(|id| id.as_u32()), Some(next));
        assert_eq!(read_exactly(&mut stream, 4).await, b"next");
        let stats = session.stats();
        assert_eq!((stats.streams_open, stats.bytes_unread, stats.streams_refused), (1, 0, 1));
        peer.expect_silence().await;
    });
}

#[test]
fn unread_stream_delays_no_other() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for n in 0..20 {
            peer.send(Frame::syn(remote_id(side, n), vec![n as u8; WINDOW])).await;
        }
        peer.send(Frame::syn_fin(remote_id(side, 20), "small")).await;
        let mut streams = Vec::new();
        for _ in 0..21 {
            streams.push(session.accept().await.unwrap());
        }
        assert_eq!(drain(&mut streams[20]).await, (b"small".to_vec(), Ok(())));
        for (n, stream) in streams.iter_mut().enumerate().take(20) {
            assert_eq!(read_exactly(stream, WINDOW).await, vec![n as u8; WINDOW]);
        }
    });
}

#[test]
fn larger_window_is_kept_to_by_both_directions() {
    each_side(|side| async move {
        let config = Config::default().window_size(1024 * 1024);
        let (session, mut peer) = scripted(side, config);
        peer.law.window(1024 * 1024);
        let mut stream = session.open().await.unwrap();
        let writing = tokio::spawn(async move {
            let sent = stream.write_chunk(Bytes::from(vec![1; 1024 * 1024 + 5])).await;
            (sent, stream)
        });
        let id = local_id(side, 0);
        assert_eq!(payload(&mut peer, id).await.len(), 1024 * 1024);
        peer.send(Frame::wndinc(id, 5)).await;
        assert_eq!(payload(&mut peer, id).await.len(), 5);
        let (sent, _stream) = writing.await.unwrap();
        assert_eq!(sent, Ok(()));
        peer.send(Frame::syn(remote_id(side, 0), vec![2; 1024 * 1024])).await;
        peer.send(Frame::data(remote_id(side, 0), "x")).await;
        let frames = peer.recv_until_silence().await;
        let resets: Vec<_> = frames.iter().filter(|frame| frame.kind == RST).collect();
        assert_eq!(resets, [&Frame::rst(remote_id(side, 0), 3)]);
        assert!(frames.iter().all(|frame| frame.kind != WNDINC));
    });
}

#[test]
fn largest_frame_there_is_fits_a_large_window() {
    each_side(|side| async move {
        let most = 0x00FF_FFFF;
        let (session, mut peer) = scripted(side, Config::default().window_size(1 << 24));
        peer.law.window(1 << 24);
        let id = remote_id(side, 0);
        let sending = tokio::spawn(async move {
            peer.send(Frame::syn_fin(id, vec![5; most])).await;
            peer
        });
        let mut stream = session.accept().await.unwrap();
        let (bytes, end) = drain(&mut stream).await;
        assert_eq!((bytes.len(), end), (most, Ok(())));
        write_final(&mut stream, "ok").await.unwrap();
        // What was read before the end had come gave credit.
        let frames = sending.await.unwrap().recv_until_silence().await;
        let answer: Vec<_> = frames.into_iter().filter(|frame| frame.kind != WNDINC).collect();
        assert_eq!(answer, [Frame::data_fin(id, "ok")]);
    });
}
