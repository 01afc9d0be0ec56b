//! A session becomes typed after streams have come in: what they brought is kept, and none stays behind.

use muxado::{Config, Session, Side, TypedSession};
use muxado_tests::{Frame, Peer, assert_pending, drain, each_side, remote_id, scripted, settle};

/// A session that took these frames in before it became a typed one.
async fn typed_after(side: Side, config: Config, frames: &[Frame]) -> (TypedSession, Peer) {
    let (session, mut peer): (Session, Peer) = scripted(side, config);
    peer.send_all(frames).await;
    settle().await;
    (TypedSession::new(session), peer)
}

#[test]
fn complete_stream_that_was_reset_behind_its_fin_keeps_its_bytes() {
    each_side(|side| async move {
        let id = remote_id(side, 0);
        let early = [Frame::syn_fin(id, [0, 0, 0, 5, b'a', b'l', b'l']), Frame::rst(id, 6)];
        let (session, _peer) = typed_after(side, Config::default(), &early).await;
        let mut stream = session.accept_typed().await.unwrap();
        assert_eq!(stream.stream_type().as_u32(), 5);
        assert_eq!(drain(stream.stream_mut()).await, (b"all".to_vec(), Ok(())));
    });
}

#[test]
fn stream_that_ended_before_it_had_a_type_is_reset_and_frees_its_place() {
    each_side(|side| async move {
        let (short, cut) = (remote_id(side, 0), remote_id(side, 1));
        // One that still waits for an answer, and one that does not any more.
        let early = [Frame::syn_fin(short, [0, 0, 0]), Frame::syn_fin(cut, [0]), Frame::rst(cut, 6)];
        let config = Config::default().max_untyped_streams(1);
        let (session, mut peer) = typed_after(side, config, &early).await;
        peer.expect(Frame::rst(short, 7)).await;
        assert_eq!(session.session().stats().streams_open, 0);
        assert_eq!(session.session().stats().bytes_unread, 0);
        // Neither holds the one place there is for streams without a type.
        peer.send(Frame::syn(remote_id(side, 2), [0, 0])).await;
        peer.expect_silence().await;
        assert_pending(std::pin::pin!(session.accept_typed()));
    });
}

#[test]
fn heartbeat_stream_that_was_finished_is_answered_and_finished() {
    each_side(|side| async move {
        let id = remote_id(side, 0);
        let early = [Frame::syn_fin(id, [0xFF, 0xFF, 0xFF, 0xFF, b'a', b'b', b'c', b'd'])];
        let (session, mut peer) = typed_after(side, Config::default(), &early).await;
        peer.expect(Frame::data_fin(id, "abcd")).await;
        assert_eq!(session.session().stats().streams_open, 0);
        assert_pending(std::pin::pin!(session.accept_typed()));
    });
}
