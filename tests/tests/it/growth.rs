//! Windows grow where a long link is held up by them, and nowhere else.

use std::time::Duration;

use muxado::{Config, Side, Stream};
use muxado_tests::{
    DATA, EXT, Frame, Peer, SYN, WNDINC, each_side, local_id, read_exactly, remote_id, run, scripted,
};
use tokio::{io::AsyncWriteExt, time::sleep};

const WINDOW: usize = 256 * 1024;
const MIB: usize = 1024 * 1024;

/// A link on which credit takes a while to have an effect.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Time that [`credit`] waits.
const UNTIL_SILENCE: Duration = Duration::from_millis(900);

/// Sends all that the stream's window allows, lets the application read it, and gives the credit
/// that came for it.
async fn round(peer: &mut Peer, stream: &mut Stream, id: u32, allowed: usize) -> usize {
    sleep(ROUND_TRIP).await;
    for piece in vec![7; allowed].chunks(64 * 1024) {
        peer.send(Frame::data(id, piece)).await;
    }
    assert!(read_exactly(stream, allowed).await.iter().all(|byte| *byte == 7));
    credit(peer, id).await
}

async fn credit(peer: &mut Peer, id: u32) -> usize {
    let frames = peer.recv_until_silence().await;
    let of_stream = frames.iter().filter(|frame| (frame.kind, frame.id) == (WNDINC, id));
    of_stream.map(|frame| frame.number(0) as usize).sum()
}

/// The window after many rounds on one stream that is always held up by it.
async fn grown(side: Side, config: Config, flags: u8) -> usize {
    let (session, mut peer) = scripted(side, config);
    let id = remote_id(side, 0);
    peer.send(Frame::new(DATA, SYN | flags, id, "")).await;
    let mut stream = session.accept().await.unwrap();
    let mut allowed = WINDOW;
    for _ in 0..12 {
        allowed = round(&mut peer, &mut stream, id, allowed).await;
    }
    allowed
}

#[test]
fn window_of_a_stranger_grows_to_one_mib() {
    for side in [Side::Client, Side::Server] {
        assert_eq!(run(grown(side, Config::default(), 0)), MIB);
    }
}

#[test]
fn window_of_a_peer_of_this_family_grows_to_eight_mib() {
    for side in [Side::Client, Side::Server] {
        let window = run(grown(side, Config::default(), EXT));
        // Credit for the last bytes may be held back, as ever.
        assert!((8 * MIB - WINDOW / 2..=8 * MIB).contains(&window), "{window}");
    }
}

#[test]
fn window_of_a_stream_opened_here_grows_as_one_of_the_peers_does() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"go").await.unwrap();
        let id = local_id(side, 0);
        peer.expect(Frame::syn_ext(id, "go")).await;
        peer.send(Frame::new(DATA, EXT, id, "")).await;
        let mut allowed = WINDOW;
        for expected in [WINDOW, 4 * WINDOW, 16 * WINDOW, 32 * WINDOW, 32 * WINDOW] {
            allowed = round(&mut peer, &mut stream, id, allowed).await;
            // Credit for the last bytes may be held back, as ever.
            assert!((expected - WINDOW / 2..=expected).contains(&allowed), "{allowed} instead of {expected}");
        }
    });
}

#[test]
fn frame_amid_the_silence_does_not_hide_it() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        let mut sending = session.open().await.unwrap();
        sending.write_all(b"x").await.unwrap();
        peer.expect(Frame::syn_ext(local_id(side, 0), "x")).await;
        let id = remote_id(side, 0);
        peer.send(Frame::new(DATA, SYN | EXT, id, "")).await;
        let mut stream = session.accept().await.unwrap();
        let mut allowed = WINDOW;
        for expected in [WINDOW, 2 * WINDOW, 2 * WINDOW, 4 * WINDOW, 4 * WINDOW] {
            // Half-way comes credit for the other direction, as where both sides send.
            peer.send(Frame::wndinc(local_id(side, 0), 1)).await;
            sleep(UNTIL_SILENCE).await;
            for piece in vec![7; allowed].chunks(64 * 1024) {
                peer.send(Frame::data(id, piece)).await;
            }
            read_exactly(&mut stream, allowed).await;
            allowed = credit(&mut peer, id).await;
            assert_eq!(allowed, expected);
        }
    });
}

#[test]
fn growth_keeps_to_the_budget_of_the_session() {
    for side in [Side::Client, Side::Server] {
        let window = |budget| run(grown(side, Config::default().window_growth(budget), EXT));
        assert_eq!(window(0), WINDOW);
        assert_eq!(window(100_000), WINDOW + 100_000);
        assert_eq!(window(MIB), WINDOW + MIB);
    }
}

#[test]
fn budget_is_shared_and_comes_back_with_the_end_of_a_stream() {
    run(async {
        let config = Config::default().window_growth(WINDOW);
        let (session, mut peer) = scripted(Side::Server, config);
        for (id, expected) in [(3, 2 * WINDOW), (5, WINDOW), (7, 2 * WINDOW)] {
            peer.send(Frame::syn(id, "")).await;
            let mut stream = session.accept().await.unwrap();
            let mut allowed = WINDOW;
            for _ in 0..4 {
                allowed = round(&mut peer, &mut stream, id, allowed).await;
            }
            assert_eq!(allowed, expected, "stream {id}");
            if id == 5 {
                // Both end; what the first had is free again.
                peer.send_all(&[Frame::rst(3, 6), Frame::rst(5, 6)]).await;
            } else {
                tokio::spawn(async move { stream.read_chunk().await });
            }
        }
    });
}

#[test]
fn slow_reader_gets_no_larger_window() {
    run(async {
        let (session, mut peer) = scripted(Side::Server, Config::default());
        peer.send(Frame::syn(3, vec![7; WINDOW])).await;
        let mut stream = session.accept().await.unwrap();
        let mut granted = 0;
        for _ in 0..20 {
            sleep(ROUND_TRIP).await;
            // It is always behind by more than half a window.
            read_exactly(&mut stream, WINDOW / 4).await;
            let credit = credit(&mut peer, 3).await;
            granted += credit;
            if credit > 0 {
                peer.send(Frame::data(3, vec![7; credit])).await;
            }
        }
        assert!(granted <= 20 * WINDOW / 4, "{granted} bytes for {} read", 20 * WINDOW / 4);
    });
}

#[test]
fn busy_connection_is_not_held_up_by_one_window() {
    // Bytes of another stream keep arriving: it is the link that is full.
    run(async {
        let (session, mut peer) = scripted(Side::Server, Config::default());
        peer.send_all(&[Frame::syn(3, ""), Frame::syn(5, "")]).await;
        let mut stream = session.accept().await.unwrap();
        let mut other = session.accept().await.unwrap();
        let mut allowed = WINDOW;
        for _ in 0..6 {
            for piece in vec![7; allowed].chunks(16 * 1024) {
                peer.send(Frame::data(3, piece)).await;
            }
            read_exactly(&mut stream, allowed).await;
            allowed = credit(&mut peer, 3).await;
            for _ in 0..10 {
                sleep(ROUND_TRIP / 10).await;
                peer.send(Frame::data(5, "x")).await;
            }
            read_exactly(&mut other, 10).await;
        }
        assert_eq!(allowed, WINDOW);
    });
}
