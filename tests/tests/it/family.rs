//! What two peers of this family show, and do for, each other (`PROTOCOL §12`).

use std::time::Duration;

use muxado::{Config, Session, Side, Stream};
use muxado_tests::{
    DATA, EXT, FIN, Frame, Pair, Peer, SYN, drain, each_side, local_id, remote_id, run, scripted, settle,
    write_final,
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

#[test]
fn syn_has_no_extra_flag_when_the_extension_is_off() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().extensions(false));
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn(local_id(side, 0), "x")).await;
        peer.send(Frame::syn_ext(remote_id(side, 0), "y")).await;
        session.accept().await.unwrap().write_all(b"z").await.unwrap();
        peer.expect(Frame::data(remote_id(side, 0), "z")).await;
    });
}

#[test]
fn answer_shows_the_extension_flag_once_to_a_peer_that_showed_it() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let (with, without) = (remote_id(side, 1), remote_id(side, 0));
        peer.send(Frame::syn(without, "a")).await;
        let mut stream = session.accept().await.unwrap();
        stream.write_all(b"1").await.unwrap();
        peer.expect(Frame::data(without, "1")).await;

        peer.send(Frame::syn_ext(with, "b")).await;
        let mut stream = session.accept().await.unwrap();
        stream.write_all(b"2").await.unwrap();
        peer.expect(Frame::new(DATA, EXT, with, "2")).await;
        write_final(&mut stream, "3").await.unwrap();
        peer.expect(Frame::data_fin(with, "3")).await;
    });
}

#[test]
fn extension_flag_with_syn_and_fin_changes_nothing_else() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let id = remote_id(side, 0);
        peer.send(Frame::new(DATA, SYN | FIN | EXT, id, "q")).await;
        let mut stream = session.accept().await.unwrap();
        assert_eq!(drain(&mut stream).await, (b"q".to_vec(), Ok(())));
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::new(DATA, FIN | EXT, id, "a")).await;
    });
}

#[test]
fn message_and_its_end_open_a_stream_in_one_frame_once_the_peer_showed_the_flag() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "a")).await;
        peer.expect(Frame::fin(local_id(side, 0))).await;
        peer.send(Frame::new(DATA, FIN | EXT, local_id(side, 0), "b")).await;
        assert_eq!(drain(&mut stream).await, (b"b".to_vec(), Ok(())));
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "c").await.unwrap();
        peer.expect(Frame::new(DATA, SYN | FIN | EXT, local_id(side, 1), "c")).await;
        peer.send(Frame::data_fin(local_id(side, 1), "d")).await;
        assert_eq!(drain(&mut stream).await, (b"d".to_vec(), Ok(())));
    });
}

#[test]
fn extension_that_is_off_keeps_the_end_apart_whatever_the_peer_shows() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default().extensions(false));
        peer.send(Frame::syn_ext(remote_id(side, 0), "x")).await;
        settle().await;
        let mut stream = session.open().await.unwrap();
        write_final(&mut stream, "a").await.unwrap();
        peer.expect(Frame::syn(local_id(side, 0), "a")).await;
        peer.expect(Frame::fin(local_id(side, 0))).await;
    });
}

#[test]
fn peer_of_this_family_gets_more_streams() {
    run(async {
        let pair = Pair::new();
        let mut first = pair.client.open().await.unwrap();
        write_final(&mut first, "q").await.unwrap();
        let mut accepted = pair.server.accept().await.unwrap();
        write_final(&mut accepted, "a").await.unwrap();
        drain(&mut first).await.1.unwrap();
        let mut streams = Vec::new();
        for _ in 0..600 {
            let mut stream = pair.client.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            streams.push(stream);
        }
        settle().await;
        assert_eq!(pair.server.stats().streams_open, 600);
    });
}

/// The peer opens so many streams, all of them showing the flag or not.
async fn burst(side: Side, peer: &mut Peer, count: u32, flags: u8) {
    for n in 0..count {
        peer.send(Frame::new(DATA, SYN | flags, remote_id(side, n), "q")).await;
    }
    settle().await;
}

async fn accept_all(session: &Session, count: u32) -> Vec<Stream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(session.accept().await.unwrap());
    }
    streams
}

#[test]
fn accepted_streams_that_are_slow_to_answer_are_acknowledged() {
    // However long after their arrival they are accepted.
    for wait in [Duration::ZERO, Duration::from_secs(3)] {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            burst(side, &mut peer, 20, EXT).await;
            sleep(wait).await;
            let streams = accept_all(&session, 20).await;
            let begin = Instant::now();
            for n in 0..20 {
                peer.expect(Frame::new(DATA, EXT, remote_id(side, n), "")).await;
            }
            assert!(begin.elapsed() <= Duration::from_millis(10), "{:?}", begin.elapsed());
            peer.expect_silence().await;
            drop(streams);
        });
    }
}

#[test]
fn peer_that_may_wait_to_open_more_is_shown_the_extensions_at_once() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        burst(side, &mut peer, 48, EXT).await;
        let begin = Instant::now();
        let streams = accept_all(&session, 48).await;
        peer.expect(Frame::new(DATA, EXT, remote_id(side, 0), "")).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        // There is no hurry with the others, nor with those that follow.
        peer.expect(Frame::new(DATA, EXT, remote_id(side, 1), "")).await;
        assert!(begin.elapsed() > Duration::ZERO);
        for n in 2..48 {
            peer.expect(Frame::new(DATA, EXT, remote_id(side, n), "")).await;
        }
        for n in 48..96 {
            peer.send(Frame::syn_ext(remote_id(side, n), "q")).await;
        }
        let begin = Instant::now();
        let more = accept_all(&session, 48).await;
        peer.expect(Frame::new(DATA, EXT, remote_id(side, 48), "")).await;
        assert_eq!(begin.elapsed().as_millis(), 5);
        drop((streams, more));
    });
}

#[test]
fn few_or_answered_streams_need_no_acknowledgement() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        burst(side, &mut peer, 15, EXT).await;
        let mut streams = accept_all(&session, 15).await;
        peer.expect_silence().await;
        for (n, stream) in streams.iter_mut().enumerate() {
            stream.write_all(b"a").await.unwrap();
            peer.expect(Frame::new(DATA, EXT, remote_id(side, n as u32), "a")).await;
        }
        peer.expect_silence().await;
    });
}

#[test]
fn stranger_is_sent_no_acknowledgement() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        burst(side, &mut peer, 64, 0).await;
        let _streams = accept_all(&session, 64).await;
        peer.expect_silence().await;
    });
}

#[test]
fn acknowledgement_lets_the_opener_go_on() {
    each_side(|side| async move {
        let config = Config::default().max_unacknowledged_opens(1);
        let (session, mut peer) = scripted(side, config);
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"q").await.unwrap();
        let opener = session.clone();
        let opening = tokio::spawn(async move { opener.open().await.map(drop) });
        settle().await;
        assert!(!opening.is_finished());
        peer.expect(Frame::syn_ext(local_id(side, 0), "q")).await;
        peer.send(Frame::new(DATA, EXT, local_id(side, 0), "")).await;
        assert_eq!(opening.await.unwrap(), Ok(()));
    });
}
