//! Credit: when it goes back, how much of it, and that nobody waits for it in vain.

use std::{future::poll_fn, task::Poll};

use muxado::Config;
use muxado_tests::{
    Frame, Pair, WNDINC, drain, each_side, local_id, read_exactly, remote_id, run, scripted, settle,
    write_final,
};
use tokio::io::AsyncWriteExt;

const WINDOW: usize = 256 * 1024;

/// The payload of the largest frame.
const THRESHOLD: usize = 64 * 1024 - 256;

#[test]
fn credit_is_returned_for_the_largest_frame_in_one_frame() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        for _ in 0..WINDOW / THRESHOLD {
            read_exactly(&mut stream, THRESHOLD - 1).await;
            peer.expect_silence().await;
            read_exactly(&mut stream, 1).await;
            peer.expect(Frame::wndinc(id, THRESHOLD as u32)).await;
        }
    });
}

#[test]
fn credit_of_several_reads_is_coalesced() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        settle().await;
        // All of it is read before the driver has a turn.
        read_exactly(&mut stream, WINDOW).await;
        peer.expect(Frame::wndinc(id, WINDOW as u32)).await;
        peer.expect_silence().await;
    });
}

#[test]
fn credit_counts_exactly_what_was_read() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().window_growth(0));
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        let mut granted = WINDOW;
        for round in 0..20 {
            let before = granted;
            read_exactly(&mut stream, 100_000 + round).await;
            let frames = peer.recv_until_silence().await;
            granted += frames.iter().map(|frame| frame.number(0) as usize).sum::<usize>();
            assert!(frames.iter().all(|frame| (frame.kind, frame.id) == (WNDINC, id)));
            peer.send(Frame::data(id, vec![2; granted - before])).await;
        }
        let read: usize = (0..20).map(|round| 100_000 + round).sum();
        assert!(granted - WINDOW <= read, "more was granted than read");
        assert!(WINDOW + read - granted < THRESHOLD, "held back: {}", WINDOW + read - granted);
    });
}

#[test]
fn small_window_returns_credit_at_its_half() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().window_size(1024));
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, [1; 1024])).await;
        let mut stream = session.accept().await.unwrap();
        read_exactly(&mut stream, 511).await;
        peer.expect_silence().await;
        read_exactly(&mut stream, 1).await;
        peer.expect(Frame::wndinc(id, 512)).await;
    });
}

#[test]
fn large_window_still_returns_credit_at_128_kib() {
    // ngrok's crate discards what is above its own 256 KiB: a larger threshold would stall it.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().window_size(4 << 20));
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, vec![1; THRESHOLD])).await;
        let mut stream = session.accept().await.unwrap();
        read_exactly(&mut stream, THRESHOLD).await;
        peer.expect(Frame::wndinc(id, THRESHOLD as u32)).await;
    });
}

#[test]
fn no_credit_after_the_peers_fin() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn_fin(id, vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await.0.len(), WINDOW);
        peer.expect_silence().await;
    });
}

#[test]
fn no_credit_after_a_reset_of_either_side() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (theirs, ours) = (remote_id(side, 0), remote_id(side, 1));
        peer.send(Frame::syn(theirs, vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        peer.send(Frame::rst(theirs, 6)).await;
        settle().await;
        assert_eq!(drain(&mut stream).await.0.len(), WINDOW);
        peer.expect_silence().await;
        peer.send(Frame::syn(ours, vec![1; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        settle().await;
        read_exactly(&mut stream, THRESHOLD).await;
        stream.reset(muxado::ErrorCode::CANCELLED);
        peer.expect(Frame::rst(ours, 6)).await;
        peer.expect_silence().await;
    });
}

#[test]
fn dropped_receiving_half_throws_away_and_returns_credit() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::syn(id, vec![1; 200_000])).await;
        settle().await;
        let (mut sender, receiver) = session.accept().await.unwrap().into_split();
        drop(receiver);
        peer.expect(Frame::wndinc(id, 200_000)).await;
        peer.send(Frame::data(id, vec![1; THRESHOLD])).await;
        peer.expect(Frame::wndinc(id, THRESHOLD as u32)).await;
        assert_eq!(session.stats().bytes_unread, 0);
        sender.write_all(b"still sending").await.unwrap();
        peer.expect(Frame::data(id, "still sending")).await;
    });
}

#[test]
fn stream_that_is_finished_and_dropped_lets_a_peer_that_writes_first_go_on() {
    // The peer fills its window before it reads. Our side has finished with bytes still queued and
    // drops the stream: without credit, or a reset, neither side would ever move.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = local_id(side, 0);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&vec![1; WINDOW]).await.unwrap();
        stream.write_all(&[2; 1000]).await.unwrap();
        peer.recv_until_silence().await;
        peer.send(Frame::data(id, vec![3; WINDOW])).await;
        settle().await;
        stream.finish().unwrap();
        drop(stream);
        let frames = peer.recv_until_silence().await;
        let moves = |frame: &Frame| *frame == Frame::rst(id, 6) || frame.kind == WNDINC;
        assert!(frames.iter().any(moves), "the peer waits for ever: {frames:?}");
    });
}

#[test]
fn every_pipe_capacity_carries_many_windows_both_ways() {
    // Write blocks read, read blocks write: with one byte of room any such knot is tied at once.
    for pipe in [1, 7, 64, 1 << 16] {
        run(async move {
            let total = if pipe < 64 { 20_000 } else { 3 * WINDOW };
            let pair = Pair::with(Config::default().window_size(4096), pipe);
            let echo = tokio::spawn(async move {
                while let Some(stream) = pair.server.accept().await {
                    tokio::spawn(async move {
                        let (mut sender, mut receiver) = stream.into_split();
                        tokio::io::copy(&mut receiver, &mut sender).await.unwrap();
                        sender.finish().unwrap();
                    });
                }
            });
            let mut clients = Vec::new();
            for n in 0..3_u8 {
                let (mut sender, mut receiver) = pair.client.open().await.unwrap().into_split();
                clients.push(tokio::spawn(async move {
                    let writing = async {
                        sender.write_all(&vec![n; total]).await.unwrap();
                        sender.finish().unwrap();
                    };
                    let mut back = Vec::new();
                    let reading = tokio::io::AsyncReadExt::read_to_end(&mut receiver, &mut back);
                    let ((), read) = tokio::join!(writing, reading);
                    read.unwrap();
                    assert!(back == vec![n; total], "{} bytes came back", back.len());
                }));
            }
            for client in clients {
                client.await.unwrap();
            }
            drop(pair.client);
            echo.await.unwrap();
        });
    }
}

#[test]
fn session_reads_on_while_the_peer_does_not() {
    // Nothing that we owe the peer may stop us from reading.
    each_side(|side| async move {
        let (session, mut peer, _driver) =
            muxado_tests::scripted_with_driver(side, Config::default(), 512 * 1024);
        let mut ours = session.open().await.unwrap();
        let stuck = tokio::spawn(async move { ours.write_all(&vec![0; 4 * WINDOW]).await });
        for n in 0..40 {
            let id = remote_id(side, n);
            peer.send(Frame::syn_fin(id, vec![n as u8; 100_000])).await;
            let mut stream = session.accept().await.unwrap();
            assert_eq!(drain(&mut stream).await, (vec![n as u8; 100_000], Ok(())));
            write_final(&mut stream, vec![0; 10_000]).await.unwrap();
        }
        assert!(!stuck.is_finished());
    });
}

#[test]
fn stalled_streams_leave_the_send_buffer_to_others() {
    // Sixteen streams without window fill the whole session buffer; a seventeenth has window.
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stalled = Vec::new();
        for _ in 0..16 {
            let mut stream = session.open().await.unwrap();
            stream.write_all(&vec![0; WINDOW + 64 * 1024]).await.unwrap();
            stalled.push(stream);
        }
        peer.recv_until_silence().await;
        assert_eq!(session.stats().bytes_unsent, 1024 * 1024);
        let mut free = session.open().await.unwrap();
        let writing = tokio::spawn(async move { free.write_all(&[1; 100_000]).await.map(|()| free) });
        let frames = peer.recv_until_silence().await;
        let sent: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!((sent, writing.is_finished()), (100_000, true));
    });
}

#[test]
fn writer_without_window_or_buffer_goes_on_with_credit() {
    // Others hold all that may be buffered beyond windows; this one's window is just used up.
    each_side(|side| async move {
        // The transport holds it all: the peer reads late.
        let (session, mut peer, _driver) =
            muxado_tests::scripted_with_driver(side, Config::default(), 8 * 1024 * 1024);
        let mut stalled = Vec::new();
        for _ in 0..16 {
            let mut stream = session.open().await.unwrap();
            stream.write_all(&vec![0; WINDOW + 64 * 1024]).await.unwrap();
            stalled.push(stream);
        }
        peer.recv_until_silence().await;
        let mut stream = session.open().await.unwrap();
        stream.write_all(&vec![1; WINDOW]).await.unwrap();
        peer.recv_until_silence().await;
        let id = stream.id().unwrap().as_u32();
        let writing = tokio::spawn(async move { write_final(&mut stream, vec![2; 50_000]).await });
        peer.expect_silence().await;
        peer.send(Frame::wndinc(id, 60_000)).await;
        let sent: usize = peer.recv_until_silence().await.iter().map(|frame| frame.payload.len()).sum();
        // The stream is dropped half-open once it is finished, which takes a reset of four bytes.
        assert_eq!(sent, 50_000 + 4);
        assert_eq!(writing.await.unwrap(), Ok(()));
    });
}

#[test]
fn crumbs_of_windows_do_not_take_the_send_buffer_from_others() {
    each_side(|side| async move {
        const STREAMS: u32 = 50;
        // All but so little of their windows is used that no frame is sent for the rest.
        const CRUMB: usize = 255;
        let config = Config::default().window_size(32 * 1024).session_send_buffer(16 * 1024);
        let (session, mut peer) = scripted(side, config);
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = session.open().await.unwrap();
            let full = vec![7; 32 * 1024 - CRUMB];
            let (written, _) = tokio::join!(stream.write_all(&full), peer.recv_until_silence());
            written.unwrap();
            streams.push(stream);
        }
        for stream in &mut streams {
            let mut rest = &[7; CRUMB + 45][..];
            let _ = poll_fn(|cx| Poll::Ready(stream.poll_write_chunk(cx, &mut rest))).await;
        }
        peer.expect_silence().await;
        let mut stream = session.open().await.unwrap();
        let (written, received) = tokio::join!(stream.write_all(&[8; 30_000]), peer.recv_until_silence());
        written.unwrap();
        let received: usize = received.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(received, 30_000);
        // Whose window has crumbs goes on with credit.
        peer.send(Frame::wndinc(local_id(side, 0), 10_000)).await;
        let rest = peer.recv().await.unwrap();
        assert_eq!(rest.id, local_id(side, 0));
    });
}
