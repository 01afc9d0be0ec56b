//! Flushing: the peer is told of the stream, and what was written has gone to the transport.

use muxado::{Config, ErrorCode, Session, Side, StreamType};
use muxado_tests::{
    Frame, Pair, assert_pending, drain, each_side, local_id, remote_id, run, scripted, scripted_typed,
    scripted_with_driver, settle,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};

/// The window that both sides begin with.
const WINDOW: usize = 256 * 1024;

#[test]
fn flush_tells_the_peer_of_a_stream_to_which_nothing_was_written() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.flush().await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "")).await;
        stream.flush().await.unwrap();
        let (mut sending, _receiving) = session.open().await.unwrap().into_split();
        sending.flush().await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 1), "")).await;
        sending.write_all(b"x").await.unwrap();
        peer.expect(Frame::data(local_id(side, 1), "x")).await;
        peer.expect_silence().await;
    });
}

#[test]
fn flush_of_a_typed_stream_sends_its_type_once() {
    each_side(|side| async move {
        let (session, mut peer) = scripted_typed(side, Config::default());
        let mut stream = session.open_typed(StreamType::new(7)).await.unwrap();
        stream.flush().await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), [0, 0, 0, 7])).await;
        stream.flush().await.unwrap();
        peer.expect_silence().await;
    });
}

#[test]
fn read_that_waits_tells_the_peer_of_the_stream() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (mut stream, id) = (session.open().await.unwrap(), local_id(side, 0));
        let greeted = tokio::spawn(async move {
            let mut greeting = [0; 7];
            stream.read_exact(&mut greeting).await.unwrap();
            (greeting, stream)
        });
        peer.expect(Frame::syn_ext(id, "")).await;
        peer.send(Frame::data(id, "220 hi\n")).await;
        let (greeting, _first) = greeted.await.unwrap();
        assert_eq!(&greeting, b"220 hi\n");
        // By chunks, by halves and with a type alike.
        let mut stream = session.open().await.unwrap();
        let mut reading = Box::pin(stream.read_chunk());
        assert_pending(reading.as_mut());
        peer.expect(Frame::syn_ext(local_id(side, 1), "")).await;
        let (_sending, mut receiving) = session.open().await.unwrap().into_split();
        let mut reading = Box::pin(receiving.read_chunk());
        assert_pending(reading.as_mut());
        peer.expect(Frame::syn_ext(local_id(side, 2), "")).await;
    });
}

#[test]
fn write_before_the_driver_runs_takes_the_place_of_an_announcement() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        assert_pending(Box::pin(stream.read_chunk()).as_mut());
        stream.write_all(b"first").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "first")).await;
        peer.expect_silence().await;
    });
}

#[test]
fn tunnel_carries_a_protocol_in_which_the_server_speaks_first() {
    run(async {
        let pair = Pair::new();
        let server = pair.server.clone();
        tokio::spawn(async move {
            let mut stream = server.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-server\r\n").await.unwrap();
            let mut said = [0; 8];
            stream.read_exact(&mut said).await.unwrap();
            stream.write_all(&said).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let (mut user, mut port) = duplex(1024);
        let mut stream = pair.client.open().await.unwrap();
        tokio::spawn(async move { copy_bidirectional(&mut port, &mut stream).await });
        let mut greeting = [0; 16];
        user.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"SSH-2.0-server\r\n");
        user.write_all(b"question").await.unwrap();
        let mut answer = [0; 8];
        user.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"question");
    });
}

#[test]
fn flush_waits_until_the_transport_has_taken_what_was_written() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 1000);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; 100_000]).await.unwrap();
        let mut flush = Box::pin(stream.flush());
        let mut seen = 0;
        while seen < 99_000 {
            settle().await;
            assert_pending(flush.as_mut());
            seen += peer.recv_bytes(1000).await.len();
        }
        let rest = tokio::spawn(async move {
            while seen < 100_000 {
                seen += peer.recv_bytes(1000).await.len();
            }
            peer
        });
        flush.await.unwrap();
        rest.await.unwrap();
    });
}

#[test]
fn flush_waits_for_credit_for_what_was_written() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.write_all(&vec![7; WINDOW + 1000]).await.unwrap();
        let mut flush = Box::pin(stream.flush());
        assert_pending(flush.as_mut());
        let sent: usize = peer.recv_until_silence().await.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(sent, WINDOW);
        assert_pending(flush.as_mut());
        peer.send(Frame::wndinc(local_id(side, 0), 999)).await;
        settle().await;
        assert_pending(flush.as_mut());
        peer.send(Frame::wndinc(local_id(side, 0), 1)).await;
        flush.await.unwrap();
    });
}

#[test]
fn flush_does_not_wait_for_what_others_write_later() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 64);
        let (mut first, mut second) = (session.open().await.unwrap(), session.open().await.unwrap());
        first.write_all(&[1; 100]).await.unwrap();
        let mut flush = Box::pin(first.flush());
        assert_pending(flush.as_mut());
        settle().await;
        let busy = tokio::spawn(async move {
            loop {
                second.write_all(&[2; 1000]).await.unwrap();
            }
        });
        let reading = tokio::spawn(async move {
            loop {
                peer.recv_bytes(10).await;
                tokio::task::yield_now().await;
            }
        });
        flush.await.unwrap();
        busy.abort();
        reading.abort();
    });
}

#[test]
fn flush_after_another_write_waits_for_that_too() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 64);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; 50]).await.unwrap();
        assert_pending(Box::pin(stream.flush()).as_mut());
        stream.write_all(&[2; 50]).await.unwrap();
        settle().await;
        let mut flush = Box::pin(stream.flush());
        assert_pending(flush.as_mut());
        peer.expect(Frame::syn_ext(local_id(side, 0), [1; 50])).await;
        peer.expect(Frame::data(local_id(side, 0), [2; 50])).await;
        flush.await.unwrap();
    });
}

#[test]
fn flush_covers_the_end_of_the_stream() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"all").await.unwrap();
        stream.shutdown().await.unwrap();
        stream.flush().await.unwrap();
        let id = local_id(side, 0);
        peer.expect_all([Frame::syn_ext(id, "all"), Frame::fin(id)]).await;
        stream.flush().await.unwrap();
    });
}

#[test]
fn flush_behind_the_end_of_the_stream_does_not_take_an_earlier_one_for_its_own() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 64);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[1; 50]).await.unwrap();
        // It is waited for, and given up.
        assert_pending(Box::pin(stream.flush()).as_mut());
        let (mut other, id) = (session.open().await.unwrap(), local_id(side, 0));
        other.write_all(&[2; 1000]).await.unwrap();
        peer.expect(Frame::syn_ext(id, [1; 50])).await;
        settle().await;
        stream.shutdown().await.unwrap();
        let mut flush = Box::pin(stream.flush());
        assert_pending(flush.as_mut());
        peer.expect(Frame::syn_ext(local_id(side, 1), [2; 1000])).await;
        peer.expect(Frame::fin(id)).await;
        flush.await.unwrap();
    });
}

#[test]
fn flush_fails_with_the_stream_and_with_the_session() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let fill = async |session: &Session| {
            let mut stream = session.open().await.unwrap();
            stream.write_all(&vec![7; WINDOW + 1]).await.unwrap();
            stream
        };
        let (mut first, mut second) = (fill(&session).await, fill(&session).await);
        let mut flush = Box::pin(first.flush());
        assert_pending(flush.as_mut());
        settle().await;
        peer.send(Frame::rst(local_id(side, 0), 6)).await;
        assert!(flush.await.unwrap_err().to_string().contains("cancelled"));
        let mut flush = Box::pin(second.flush());
        assert_pending(flush.as_mut());
        session.close(ErrorCode::NO_ERROR, "");
        assert!(flush.await.unwrap_err().to_string().contains("closed by this side"));
    });
}

#[test]
fn flush_of_an_accepted_stream_has_nothing_to_tell() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        peer.send(Frame::syn(remote_id(side, 0), "x")).await;
        let mut stream = session.accept().await.unwrap();
        stream.flush().await.unwrap();
        peer.expect_silence().await;
    });
}

#[test]
fn stream_that_is_dropped_behind_a_flush_has_been_heard_of() {
    for _ in 0..2 {
        run(async {
            let pair = Pair::new();
            let mut stream = pair.client.open().await.unwrap();
            stream.write_all(b"heard").await.unwrap();
            stream.flush().await.unwrap();
            let sent = pair.client_log.frames();
            assert_eq!(sent, [Frame::syn_ext(local_id(Side::Client, 0), "heard")]);
            drop(stream);
            let mut accepted = pair.server.accept().await.unwrap();
            assert_eq!(drain(&mut accepted).await.0, b"heard");
        });
    }
}

#[test]
fn every_one_of_several_flushes_is_told_when_it_is_over() {
    each_side(|side| async move {
        let (session, mut peer, _driver) = scripted_with_driver(side, Config::default(), 16);
        let mut flushing = Vec::new();
        for n in 0..5 {
            let mut stream = session.open().await.unwrap();
            flushing.push(tokio::spawn(async move {
                stream.write_all(&vec![n; 100 * usize::from(n) + 1]).await.unwrap();
                stream.flush().await.unwrap();
                stream
            }));
        }
        let reading = tokio::spawn(async move {
            loop {
                peer.recv_bytes(5).await;
            }
        });
        let mut streams = Vec::new();
        for task in flushing {
            streams.push(task.await.unwrap());
        }
        reading.abort();
    });
}
