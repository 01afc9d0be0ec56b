//! Sessions and streams of `muxado`.

use std::{net::TcpStream as StdStream, sync::Arc};

use muxado::{Config, Session, Side, Stream};
use muxado_tests::read_exactly;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::yield_now,
};

use crate::{
    SESSION, STREAM,
    arena::{Other, REST, connections, held_by_connection, held_by_each, rest},
};

/// What a message has if nothing else is said, in bytes.
const SMALL: usize = 32;

/// Streams at a time in a session that had many.
const MANY: usize = 500;

/// More than any buffer holds.
const BULK: usize = 2 * 1024 * 1024;

fn start(side: Side, io: TcpStream) -> Session {
    let (session, driver) = Session::new(side, io, Config::default());
    tokio::spawn(driver);
    session
}

/// Sends back what comes on each stream, as it comes, and its end.
async fn echo(session: Session) {
    while let Some(mut stream) = session.accept().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = stream.read_chunk().await {
                stream.write_chunk(chunk).await.expect("the other end reads");
            }
            stream.finish().ok();
        });
    }
}

/// Sends so many bytes over a stream of its own and has them back.
async fn exchange(session: &Session, len: usize) {
    let (mut sending, mut receiving) = session.open().await.expect("the session lives").into_split();
    let writing = tokio::spawn(async move {
        sending.write_all(&vec![7; len]).await.expect("the other end reads");
        sending.finish().expect("the session lives");
    });
    let mut left = len;
    while let Some(chunk) = receiving.read_chunk().await.expect("all of it comes back") {
        left -= chunk.len();
    }
    assert_eq!(left, 0);
    writing.await.expect("it was written");
}

/// Waits until all streams of the peer are done with.
async fn served(session: &Session, streams: u64) {
    while session.stats().streams_accepted < streams || session.stats().streams_open > 0 {
        yield_now().await;
    }
}

fn idle_opener(len: usize) -> usize {
    let near = async move |io| {
        let session = start(Side::Client, io);
        exchange(&session, len).await;
        session
    };
    held_by_connection(near, |io| tokio::spawn(echo(start(Side::Server, io))))
}

fn idle_acceptor(len: usize) -> usize {
    let near = async |io| {
        let session = start(Side::Server, io);
        tokio::spawn(echo(session.clone()));
        served(&session, 1).await;
        session
    };
    let far = move |io| {
        let session = start(Side::Client, io);
        tokio::spawn(async move {
            exchange(&session, len).await;
            session.closed().await
        })
    };
    held_by_connection(near, far)
}

#[test]
fn idle_session_holds_little_at_either_end() {
    for len in [SMALL, BULK] {
        let held = [idle_opener(len), idle_acceptor(len)];
        assert!(held.iter().all(|held| *held <= SESSION), "{held:?} bytes after {len} bytes");
    }
}

#[test]
fn session_that_had_many_streams_holds_little() {
    let near = async |io| {
        let session = start(Side::Client, io);
        let mut streams = Vec::new();
        for _ in 0..MANY {
            let mut stream = session.open().await.expect("the session lives");
            stream.write_all(&[7; SMALL]).await.expect("the session lives");
            streams.push(stream);
        }
        for mut stream in streams {
            read_exactly(&mut stream, SMALL).await;
        }
        session
    };
    let held = held_by_connection(near, |io| tokio::spawn(echo(start(Side::Server, io))));
    assert!(held <= SESSION, "{held} bytes after {MANY} streams");
}

#[test]
fn session_that_had_the_last_word_holds_little() {
    let near = async |io| {
        let session = start(Side::Client, io);
        rest(REST).await;
        let mut stream = session.open().await.expect("the session lives");
        // Small writes gather in one buffer. Nobody accepts the stream, so nothing ever comes back.
        for _ in 0..100 {
            stream.write_all(&[7; 250]).await.expect("the session lives");
        }
        (session, stream)
    };
    let held = held_by_connection(near, |io| start(Side::Server, io));
    assert!(held <= SESSION, "{held} bytes");
}

#[test]
fn fresh_session_holds_little() {
    let near = async |io| start(Side::Client, io);
    let held = held_by_connection(near, |io| start(Side::Server, io));
    assert!(held <= SESSION, "{held} bytes");
}

/// One message each way; an error once the session has ended.
async fn converse(stream: &mut Stream, len: usize) -> std::io::Result<()> {
    let (message, mut answer) = (vec![7; len], vec![0; len]);
    stream.write_all(&message).await?;
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, message);
    Ok(())
}

fn only(ends: &mut Vec<StdStream>) -> TcpStream {
    TcpStream::from_std(ends.pop().expect("one connection")).expect("a reactor")
}

fn idle_opened_stream(len: usize) -> usize {
    let (mut near, far) = connections(1);
    let other = Other::serve(far, |io| tokio::spawn(echo(start(Side::Server, io))));
    let mut session = None;
    let held = held_by_each(async |count| {
        let session: &Session = session.get_or_insert_with(|| start(Side::Client, only(&mut near)));
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = session.open().await.expect("the session lives");
            converse(&mut stream, len).await.expect("the session lives");
            streams.push(stream);
        }
        streams
    });
    drop(session);
    other.end();
    held
}

fn idle_accepted_stream(len: usize) -> usize {
    let (mut near, far) = connections(1);
    // The other end opens no more than is asked for: one more would not be idle.
    let asked = Arc::new(Semaphore::new(0));
    let orders = Arc::clone(&asked);
    let other = Other::serve(far, move |io| {
        let (session, orders) = (start(Side::Client, io), Arc::clone(&orders));
        tokio::spawn(async move {
            let mut streams = Vec::new();
            while let Ok(order) = orders.acquire().await {
                order.forget();
                let mut stream = session.open().await.expect("the session lives");
                converse(&mut stream, len).await.expect("the session lives");
                streams.push(stream);
            }
        })
    });
    let mut session = None;
    let held = held_by_each(async |count| {
        let session: &Session = session.get_or_insert_with(|| start(Side::Server, only(&mut near)));
        asked.add_permits(count);
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = session.accept().await.expect("the session lives");
            let message = read_exactly(&mut stream, len).await;
            stream.write_all(&message).await.expect("the session lives");
            streams.push(stream);
        }
        streams
    });
    drop(session);
    other.end();
    held
}

#[test]
fn idle_stream_holds_little_at_either_end() {
    for len in [SMALL, 100 * 1024] {
        let held = [idle_opened_stream(len), idle_accepted_stream(len)];
        assert!(held.iter().all(|held| *held <= STREAM), "{held:?} bytes after {len} bytes");
    }
}
