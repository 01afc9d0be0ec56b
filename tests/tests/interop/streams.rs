//! Untyped streams: opening, half-closing, windows, many at once.

use std::{sync::Arc, time::Duration};

use muxado::{Session, Side};
use ngrok_muxado::{Accept, MuxadoSession, OpenClose, Session as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    sync::Barrier,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::peers::{WINDOW, ask, both_roles, connect, connect_over, exchange, serve_ours, serve_theirs};

both_roles!(
    our_stream_is_echoed,
    their_stream_is_echoed,
    they_answer_after_our_end,
    we_answer_after_their_end,
    an_end_without_data_is_seen,
    they_go_on_after_our_end_is_answered,
    many_windows_flow_both_ways_on_our_stream,
    many_windows_flow_both_ways_on_their_stream,
    many_windows_flow_on_several_streams,
    a_slow_reader_of_theirs_holds_us_back,
    a_slow_reader_of_ours_holds_them_back,
    hundred_streams_of_ours_at_once,
    hundred_streams_of_theirs_at_once,
    hundred_streams_each_way_at_once,
    two_hundred_opens_wait_for_their_backlog,
    two_hundred_streams_are_open_at_once,
    six_hundred_opens_stay_within_their_limit,
    a_pipe_of_one_byte_is_enough,
);

async fn our_stream_is_echoed(ours: Side) {
    let (session, theirs) = connect(ours);
    tokio::spawn(serve_theirs(theirs));
    assert_eq!(ask(session.open().await.unwrap(), b"hello").await, b"hello");
    assert_eq!(session.stats().streams_open, 0);
}

async fn their_stream_is_echoed(ours: Side) {
    let (session, mut theirs) = connect(ours);
    tokio::spawn(serve_ours(session.clone()));
    assert_eq!(ask(theirs.open().await.unwrap(), b"hello").await, b"hello");
}

async fn they_answer_after_our_end(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut stream = session.open().await.unwrap();
    stream.write_all(b"what is it?").await.unwrap();
    stream.shutdown().await.unwrap();

    answer_after_end(theirs.accept().await.expect("our stream")).await;
    check_answer(stream).await;
    assert_eq!(session.stats().streams_open, 0);
}

async fn we_answer_after_their_end(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut stream = theirs.open().await.unwrap();
    stream.write_all(b"what is it?").await.unwrap();
    stream.shutdown().await.unwrap();

    answer_after_end(session.accept().await.expect("their stream")).await;
    check_answer(stream).await;
    assert_eq!(session.stats().streams_open, 0);
}

/// Reads to the end and only then answers, in two parts.
async fn answer_after_end<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut question = Vec::new();
    stream.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"what is it?");
    stream.write_all(b"it is ").await.unwrap();
    stream.write_all(b"half closed").await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn check_answer<S: AsyncRead + Unpin>(mut stream: S) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"it is half closed");
}

/// Their end alone would not open the stream: an empty write has to go before it.
async fn an_end_without_data_is_seen(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut stream = theirs.open().await.unwrap();
    assert_eq!(stream.write(b"").await.unwrap(), 0);
    stream.shutdown().await.unwrap();
    let mut accepted = session.accept().await.expect("their stream");
    assert_eq!(accepted.read(&mut [0; 8]).await.unwrap(), 0);
    accepted.write_all(b"empty").await.unwrap();
    accepted.finish().unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"empty");

    let mut stream = session.open().await.unwrap();
    stream.finish().unwrap();
    let mut accepted = theirs.accept().await.expect("our stream");
    assert_eq!(accepted.read(&mut [0; 8]).await.unwrap(), 0);
    accepted.write_all(b"empty").await.unwrap();
    accepted.shutdown().await.unwrap();
    assert_eq!(stream.read_chunk().await.unwrap().as_deref(), Some(&b"empty"[..]));
    assert_eq!(stream.read_chunk().await.unwrap(), None);
}

/// After our end was seen and answered, several windows still come back.
async fn they_go_on_after_our_end_is_answered(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut stream = session.open().await.unwrap();
    stream.write_all(b"all of it").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut accepted = theirs.accept().await.expect("our stream");
    let send = async {
        let mut question = Vec::new();
        accepted.read_to_end(&mut question).await.unwrap();
        for part in 0..40 {
            accepted.write_all(&[part; WINDOW / 8]).await.unwrap();
        }
        accepted.shutdown().await.unwrap();
    };
    let receive = async {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 40 * WINDOW / 8);
        assert!(answer.chunks(WINDOW / 8).zip(0..).all(|(chunk, part)| chunk.iter().all(|b| *b == part)));
    };
    tokio::join!(send, receive);
}

async fn many_windows_flow_both_ways_on_our_stream(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let stream = session.open().await.unwrap();
    let near = exchange(stream, 3 * 1024 * 1024 + 17, 1, 2);
    let far =
        async { exchange(theirs.accept().await.expect("our stream"), 3 * 1024 * 1024 + 17, 2, 1).await };
    tokio::join!(near, far);
}

async fn many_windows_flow_both_ways_on_their_stream(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let stream = theirs.open().await.unwrap();
    let far = exchange(stream, 3 * 1024 * 1024 + 17, 3, 4);
    let near =
        async { exchange(session.accept().await.expect("their stream"), 3 * 1024 * 1024 + 17, 4, 3).await };
    tokio::join!(near, far);
}

async fn many_windows_flow_on_several_streams(ours: Side) {
    const LENGTH: usize = 2 * 1024 * 1024;
    let (session, mut theirs) = connect(ours);
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        tasks.spawn(exchange(session.open().await.unwrap(), LENGTH, 5, 6));
        tasks.spawn(exchange(theirs.open().await.unwrap(), LENGTH, 7, 8));
    }
    for _ in 0..4 {
        tasks.spawn(exchange(session.accept().await.expect("their stream"), LENGTH, 8, 7));
        tasks.spawn(exchange(theirs.accept().await.expect("our stream"), LENGTH, 6, 5));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn a_slow_reader_of_theirs_holds_us_back(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut stream = session.open().await.unwrap();
    let writer = tokio::spawn(async move {
        for part in 0..64 {
            stream.write_all(&[part; WINDOW / 16]).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        stream
    });
    let mut accepted = theirs.accept().await.expect("our stream");
    sleep(Duration::from_secs(1)).await;
    let sent = session.stats().bytes_sent;
    assert!(sent <= WINDOW as u64 + 1024, "{sent} bytes of a window were sent");

    let mut received = Vec::new();
    accepted.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 4 * WINDOW);
    drop(writer.await.unwrap());
}

async fn a_slow_reader_of_ours_holds_them_back(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut stream = theirs.open().await.unwrap();
    let writer = tokio::spawn(async move {
        for part in 0..64 {
            stream.write_all(&[part; WINDOW / 16]).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        stream
    });
    let mut accepted = session.accept().await.expect("their stream");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(session.stats().bytes_unread, WINDOW);

    let mut received = Vec::new();
    accepted.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 4 * WINDOW);
    drop(writer.await.unwrap());
}

async fn hundred_streams_of_ours_at_once(ours: Side) {
    let (session, theirs) = connect(ours);
    tokio::spawn(serve_theirs(theirs));
    let barrier = Arc::new(Barrier::new(100));
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let (session, barrier) = (session.clone(), Arc::clone(&barrier));
        tasks.spawn(async move { meet(session.open().await.unwrap(), n, &barrier).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!((session.stats().streams_opened, session.stats().streams_open), (100, 0));
}

async fn hundred_streams_of_theirs_at_once(ours: Side) {
    let (session, mut theirs) = connect(ours);
    tokio::spawn(serve_ours(session.clone()));
    let barrier = Arc::new(Barrier::new(100));
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let (stream, barrier) = (theirs.open().await.unwrap(), Arc::clone(&barrier));
        tasks.spawn(async move { meet(stream, n, &barrier).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(session.stats().streams_accepted, 100);
}

async fn hundred_streams_each_way_at_once(ours: Side) {
    let (session, theirs) = connect(ours);
    let (mut theirs, acceptor) = theirs.split();
    tokio::spawn(serve_theirs(acceptor));
    tokio::spawn(serve_ours(session.clone()));
    let barrier = Arc::new(Barrier::new(200));
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        let (stream, near) = (theirs.open().await.unwrap(), Arc::clone(&barrier));
        tasks.spawn(async move { meet(stream, n, &near).await });
        let (session, far) = (session.clone(), Arc::clone(&barrier));
        tasks.spawn(async move { meet(session.open().await.unwrap(), n, &far).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// One echo, a wait until every stream has had its own, then another echo and the end.
async fn meet<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, n: u32, barrier: &Barrier) {
    let first = format!("stream {n} is here");
    stream.write_all(first.as_bytes()).await.unwrap();
    let mut echoed = vec![0; first.len()];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(echoed, first.as_bytes());
    barrier.wait().await;
    let second = vec![n as u8; 3000];
    assert_eq!(ask(stream, &second).await, second);
}

/// They accept nothing at first: we must not send more opens than their queue takes.
async fn two_hundred_opens_wait_for_their_backlog(ours: Side) {
    let (session, theirs) = connect(ours);
    let mut tasks = ask_often(&session, 200);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(session.stats().streams_opened, 64);

    tokio::spawn(serve_theirs(theirs));
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!((session.stats().streams_opened, session.stats().streams_open), (200, 0));
}

/// They read what each stream says and answer none before all 200 are there.
async fn two_hundred_streams_are_open_at_once(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut tasks = ask_often(&session, 200);
    let mut held = Vec::new();
    while held.len() < 200 {
        let mut stream = theirs.accept().await.expect("our streams");
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        held.push((stream, text));
    }
    assert_eq!(session.stats().streams_open, 200);
    for (mut stream, text) in held {
        stream.write_all(&text).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_alive(&session, theirs).await;
}

/// Their session dies of its 512th stream, and counts those whose end it has sent but not cleared.
async fn six_hundred_opens_stay_within_their_limit(ours: Side) {
    let (session, mut theirs) = connect(ours);
    let mut tasks = ask_often(&session, 600);
    let mut held = Vec::new();
    while let Ok(accepted) = timeout(Duration::from_secs(1), theirs.accept()).await {
        let mut stream = accepted.expect("their session lives");
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        held.push((stream, text));
    }
    assert_eq!(session.stats().streams_open, held.len());
    for (mut stream, text) in held {
        stream.write_all(&text).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    let serving = tokio::spawn(serve_theirs(theirs));
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(ask(session.open().await.unwrap(), b"still there").await, b"still there");
    assert!(!serving.is_finished());
}

/// So many streams at once, each with an answer of its own.
fn ask_often(session: &Session, count: u32) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let (session, text) = (session.clone(), n.to_be_bytes());
        tasks.spawn(async move { assert_eq!(ask(session.open().await.unwrap(), &text).await, text) });
    }
    tasks
}

async fn assert_alive(session: &Session, theirs: MuxadoSession) {
    tokio::spawn(serve_theirs(theirs));
    assert_eq!(ask(session.open().await.unwrap(), b"still there").await, b"still there");
}

/// Every frame of either side is cut into single bytes.
async fn a_pipe_of_one_byte_is_enough(ours: Side) {
    let (session, theirs) = connect_over(ours, muxado::Config::default(), duplex(1));
    let (mut theirs, acceptor) = theirs.split();
    tokio::spawn(serve_theirs(acceptor));
    tokio::spawn(serve_ours(session.clone()));
    let text = [42; 3000];
    let (near, far) = tokio::join!(async { ask(session.open().await.unwrap(), &text).await }, async {
        ask(theirs.open().await.unwrap(), &text).await
    },);
    assert_eq!((near.as_slice(), far.as_slice()), (&text[..], &text[..]));
}
