//! Typed streams and heartbeats.

use std::{sync::Arc, time::Duration};

use muxado::{Heartbeat, HeartbeatConfig, HeartbeatEvent, Side, StreamType, TypedSession};
use ngrok_muxado::{
    MuxadoSession,
    heartbeat::{Heartbeat as TheirHeartbeat, HeartbeatConfig as TheirConfig, HeartbeatCtl},
    typed::{StreamType as TheirType, Typed, TypedAccept, TypedOpenClose, TypedSession as _},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinSet,
};

use crate::peers::{ask, both_roles, connect, echo};

both_roles!(
    they_read_the_types_of_our_streams,
    we_read_the_types_of_their_streams,
    a_type_can_go_before_the_data,
    typed_streams_go_both_ways_at_once,
    our_heartbeat_is_answered,
    our_heartbeats_are_answered_every_interval,
    their_heartbeat_is_answered,
    their_heartbeats_are_answered_every_interval,
    heartbeats_of_both_sides_run_beside_streams,
);

/// The extremes, one of whose bytes all differ, and neighbours of the heartbeat's type.
const TYPES: [u32; 6] = [0, 1, 0x0102_0304, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE];

fn connect_typed(ours: Side) -> (TypedSession, Typed<MuxadoSession>) {
    let (session, theirs) = connect(ours);
    (TypedSession::new(session), Typed::new(theirs))
}

async fn they_read_the_types_of_our_streams(ours: Side) {
    let (session, mut theirs) = connect_typed(ours);
    for value in TYPES {
        let stream = session.open_typed(StreamType::new(value)).await.unwrap();
        let near = ask(stream, b"typed");
        let far = async {
            let mut stream = theirs.accept_typed().await.unwrap();
            assert_eq!(*stream.typ(), value);
            echo(&mut *stream).await;
        };
        assert_eq!(tokio::join!(near, far).0, b"typed");
    }
}

async fn we_read_the_types_of_their_streams(ours: Side) {
    let (session, mut theirs) = connect_typed(ours);
    for value in TYPES {
        let mut stream = theirs.open_typed(TheirType::clamp(value)).await.unwrap();
        let far = ask(&mut *stream, b"typed");
        let near = async {
            let stream = session.accept_typed().await.expect("their stream");
            assert_eq!(stream.stream_type(), StreamType::new(value));
            echo(stream).await;
        };
        assert_eq!(tokio::join!(far, near).0, b"typed");
    }
}

/// The first word comes from who accepted the stream.
async fn a_type_can_go_before_the_data(ours: Side) {
    let (session, mut theirs) = connect_typed(ours);
    let mut stream = session.open_typed(StreamType::new(9)).await.unwrap();
    stream.flush().await.unwrap();
    let mut accepted = theirs.accept_typed().await.unwrap();
    assert_eq!(*accepted.typ(), 9);
    accepted.write_all(b"you first").await.unwrap();
    let mut word = [0; 9];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"you first");
    let (answer, ()) = tokio::join!(ask(stream, b"thanks"), echo(&mut *accepted));
    assert_eq!(answer, b"thanks");

    let mut stream = theirs.open_typed(TheirType::clamp(10)).await.unwrap();
    let mut accepted = session.accept_typed().await.expect("their stream");
    assert_eq!(accepted.stream_type(), StreamType::new(10));
    accepted.write_all(b"you first").await.unwrap();
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"you first");
    let (answer, ()) = tokio::join!(ask(&mut *stream, b"thanks"), echo(accepted));
    assert_eq!(answer, b"thanks");
}

async fn typed_streams_go_both_ways_at_once(ours: Side) {
    let (session, theirs) = connect_typed(ours);
    let (mut opener, acceptor) = theirs.split_typed();
    tokio::spawn(serve_theirs(acceptor));
    tokio::spawn(serve_ours(session.clone()));
    let mut tasks = JoinSet::new();
    for value in (0..10).flat_map(|_| TYPES) {
        let stream = session.open_typed(StreamType::new(value)).await.unwrap();
        tasks.spawn(async move { assert_eq!(ask(stream, b"near").await, answer(value, b"near")) });
        let mut stream = opener.open_typed(TheirType::clamp(value)).await.unwrap();
        tasks.spawn(async move { assert_eq!(ask(&mut *stream, b"far").await, answer(value, b"far")) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Each stream's type comes back in front of the echo.
fn answer(value: u32, text: &[u8]) -> Vec<u8> {
    [&value.to_be_bytes()[..], text].concat()
}

async fn serve_theirs(mut acceptor: impl TypedAccept) {
    while let Ok(mut stream) = acceptor.accept_typed().await {
        tokio::spawn(async move {
            let value = *stream.typ();
            stream.write_all(&value.to_be_bytes()).await.unwrap();
            echo(&mut *stream).await;
        });
    }
}

async fn serve_ours(session: TypedSession) {
    while let Some(mut stream) = session.accept_typed().await {
        tokio::spawn(async move {
            stream.write_all(&stream.stream_type().as_u32().to_be_bytes()).await.unwrap();
            echo(stream).await;
        });
    }
}

/// Their side, wrapped so that it answers heartbeats and sends its own, with its streams echoed.
async fn start_their_heartbeat(theirs: Typed<MuxadoSession>) -> (HeartbeatCtl, mpsc::Receiver<bool>) {
    let (report, reports) = mpsc::channel(100);
    let handler = move |latency: Option<Duration>| {
        // Whoever no longer listens is not told.
        report.try_send(latency.is_some()).ok();
        async { Ok(()) }
    };
    let config = TheirConfig { handler: Some(Arc::new(handler)), ..TheirConfig::default() };
    let (session, control) = TheirHeartbeat::start(theirs, config).await.expect("their heartbeat starts");
    tokio::spawn(serve_theirs(session));
    (control, reports)
}

async fn our_heartbeat_is_answered(ours: Side) {
    let (session, theirs) = connect_typed(ours);
    let (_control, _reports) = start_their_heartbeat(theirs).await;
    let heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
    for _ in 0..5 {
        heartbeat.ping().await.expect("they answer");
    }
    assert!(heartbeat.round_trip().is_some());
}

async fn our_heartbeats_are_answered_every_interval(ours: Side) {
    let (session, theirs) = connect_typed(ours);
    let (_control, _reports) = start_their_heartbeat(theirs).await;
    let mut heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
    let started = tokio::time::Instant::now();
    for _ in 0..5 {
        assert!(matches!(heartbeat.changed().await, HeartbeatEvent::RoundTrip(_)));
    }
    assert_eq!(started.elapsed().as_secs(), 50);
    assert!(!session.session().is_closed());
}

/// Nobody accepts on our side: the session answers by itself.
async fn their_heartbeat_is_answered(ours: Side) {
    let (session, theirs) = connect_typed(ours);
    let (control, _reports) = start_their_heartbeat(theirs).await;
    for _ in 0..5 {
        control.beat().await.expect("we answer");
    }
    assert!(!session.session().is_closed());
}

async fn their_heartbeats_are_answered_every_interval(ours: Side) {
    let (session, theirs) = connect_typed(ours);
    let (_control, mut reports) = start_their_heartbeat(theirs).await;
    for _ in 0..5 {
        assert_eq!(reports.recv().await, Some(true), "each of their heartbeats came back in time");
    }
    assert!(!session.session().is_closed());
}

async fn heartbeats_of_both_sides_run_beside_streams(ours: Side) {
    let (session, theirs) = connect_typed(ours);
    let (control, _reports) = start_their_heartbeat(theirs).await;
    let heartbeat = Heartbeat::start(&session, HeartbeatConfig::default());
    let mut tasks = JoinSet::new();
    for value in TYPES {
        let stream = session.open_typed(StreamType::new(value)).await.unwrap();
        let text = vec![1; 1024 * 1024];
        // The echo comes back while it is sent: the type in front of it makes room for both ways.
        tasks.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let send = async {
                writer.write_all(&text).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut received = Vec::new();
            tokio::join!(send, async { reader.read_to_end(&mut received).await.unwrap() });
            assert!(received == answer(value, &text));
        });
    }
    while !tasks.is_empty() {
        let (near, far) = tokio::join!(heartbeat.ping(), control.beat());
        near.expect("they answer");
        far.expect("we answer");
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    assert!(tokio::time::timeout(Duration::from_secs(100), session.accept_typed()).await.is_err());
}
