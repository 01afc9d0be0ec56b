//! How the end of a session on either side reaches the other.

use std::time::Duration;

use muxado::{ErrorCode, SessionError, Side, WriteError};
use ngrok_muxado::{Accept, Error as TheirError, MuxadoSession, OpenClose};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peers::{ask, both_roles, connect, echo};

both_roles!(
    our_close_ends_theirs,
    our_shutdown_ends_theirs_after_the_last_answer,
    dropping_ours_ends_theirs,
    their_close_ends_ours_with_its_reason,
    their_close_fails_our_streams,
    dropping_theirs_ends_ours,
    what_they_finished_is_read_after_their_end,
);

/// An open stream of ours that they have accepted and whose first bytes each side has.
async fn talk(
    session: &muxado::Session,
    theirs: &mut MuxadoSession,
) -> (muxado::Stream, ngrok_muxado::Stream) {
    let mut near = session.open().await.unwrap();
    near.write_all(b"ping").await.unwrap();
    let mut far = theirs.accept().await.expect("our stream");
    let mut word = [0; 4];
    far.read_exact(&mut word).await.unwrap();
    far.write_all(b"pong").await.unwrap();
    near.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"pong");
    (near, far)
}

async fn our_close_ends_theirs(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let (_near, mut far) = talk(&session, &mut theirs).await;
    session.close(ErrorCode::ENHANCE_YOUR_CALM, "that is enough");
    assert!(theirs.accept().await.is_none());
    // They show the end of the session as the end of each stream.
    assert_eq!(far.read(&mut [0; 4]).await.unwrap_or(0), 0);
    drop((theirs, far));
    assert_eq!(session.closed().await.local, SessionError::Closed(ErrorCode::ENHANCE_YOUR_CALM));
}

/// They cannot go on after a go-away, so the last answer has to be there before it is said.
async fn our_shutdown_ends_theirs_after_the_last_answer(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let stream = session.open().await.unwrap();
    let near = ask(stream, b"the last one");
    let far = async { echo(theirs.accept().await.expect("our stream")).await };
    assert_eq!(tokio::join!(near, far).0, b"the last one");
    let (idle, next) = tokio::join!(session.shutdown(Duration::from_secs(5)), theirs.accept());
    assert!(idle, "no stream is left");
    assert!(next.is_none());
}

async fn dropping_ours_ends_theirs(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let (mut near, mut far) = talk(&session, &mut theirs).await;
    near.write_all(b"bye").await.unwrap();
    near.finish().unwrap();
    drop(near);
    drop(session);
    let mut word = Vec::new();
    far.read_to_end(&mut word).await.unwrap();
    assert_eq!(word, b"bye");
    assert!(theirs.accept().await.is_none());
}

async fn their_close_ends_ours_with_its_reason(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let (_near, far) = talk(&session, &mut theirs).await;
    theirs.close(TheirError::EnhanceYourCalm, "this is the text of their go-away".into()).await.unwrap();
    // The frame's length leaves out eight bytes, so how much of the text is the text is not said.
    drop(far);
    tokio::task::yield_now().await;
    let next = tokio::time::timeout(Duration::from_secs(1), session.accept()).await;
    drop(theirs);
    if let Ok(next) = next {
        assert!(next.is_none());
    }
    let end = session.closed().await;
    assert_eq!(end.local.code(), ErrorCode::ENHANCE_YOUR_CALM);
    let SessionError::ClosedByPeer(go_away) = end.local else { panic!("{end}") };
    assert!(go_away.debug.starts_with(b"this is the text of the"), "{go_away}");
}

async fn their_close_fails_our_streams(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let (mut near, far) = talk(&session, &mut theirs).await;
    theirs.close(TheirError::Internal, "this is the text of their go-away".into()).await.unwrap();
    let read = tokio::spawn(async move {
        let error = near.read_chunk().await.expect_err("the stream was not finished");
        (error, near.write_chunk((&b"late"[..]).into()).await)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop((theirs, far));
    let (error, late) = read.await.unwrap();
    assert!(matches!(error, muxado::ReadError::SessionClosed(_)), "{error}");
    assert!(matches!(late, Err(WriteError::SessionClosed(_))), "{late:?}");
    assert!(session.open().await.is_err());
    assert!(session.accept().await.is_none());
}

/// ngrok's agents go without a word, in the middle of whatever their streams do.
async fn dropping_theirs_ends_ours(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let (mut near, far) = talk(&session, &mut theirs).await;
    drop(theirs);
    assert_eq!(session.closed().await.local, SessionError::PeerEof { mid_frame: false });
    assert!(near.read_chunk().await.is_err(), "a torn stream is no finished stream");
    assert!(session.accept().await.is_none());
    drop(far);
}

async fn what_they_finished_is_read_after_their_end(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let (mut near, mut far) = talk(&session, &mut theirs).await;
    far.write_all(b"the last word").await.unwrap();
    far.shutdown().await.unwrap();
    // Dropping their session loses what is still queued: the end has to be here before.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop((theirs, far));
    session.closed().await;
    let mut word = Vec::new();
    near.read_to_end(&mut word).await.unwrap();
    assert_eq!(word, b"the last word");
}
