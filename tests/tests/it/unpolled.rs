//! Futures that were polled once and are not polled again: they hold nobody up.

use std::{future::Future, pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use muxado::{Config, Session, Stream, StreamType};
use muxado_tests::{Pair, assert_pending, drain, run, settle};
use tokio::{io::AsyncWriteExt, time::timeout};

/// Ends when the test hangs. Time is virtual.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), future).await.expect("nothing is in the way")
}

/// Answers every stream with what came on it.
fn serve(session: Session) {
    tokio::spawn(async move {
        while let Some(mut stream) = session.accept().await {
            tokio::spawn(async move {
                let (said, _) = drain(&mut stream).await;
                stream.write_all(&said).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
}

async fn ask(session: &Session) {
    let mut stream = session.open().await.unwrap();
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(drain(&mut stream).await, (b"question".to_vec(), Ok(())));
}

/// A future that is polled once and kept.
fn once<F: Future>(future: F) -> Pin<Box<F>>
where
    F::Output: std::fmt::Debug,
{
    let mut future = Box::pin(future);
    assert_pending(future.as_mut());
    future
}

#[test]
fn opener_that_is_not_polled_keeps_no_room_from_those_who_come_later() {
    run(async {
        let pair = Pair::with(Config::default().max_open_streams(4), 64 * 1024);
        serve(pair.server.clone());
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(pair.client.open().await.unwrap());
        }
        let sleeping = [once(pair.client.open()), once(pair.client.open())];
        for stream in &mut streams {
            stream.shutdown().await.unwrap();
            assert_eq!(drain(stream).await, (vec![], Ok(())));
        }
        for _ in 0..10 {
            soon(ask(&pair.client)).await;
        }
        drop(sleeping);
    });
}

#[test]
fn openers_behind_one_that_is_not_polled_are_woken_by_the_same_room() {
    run(async {
        // Room for one at a time, which the sleeping one is called for first.
        let pair = Pair::with(Config::default().max_open_streams(1), 64 * 1024);
        serve(pair.server.clone());
        let stream = pair.client.open().await.unwrap();
        let _sleeping: Vec<_> = (0..20).map(|_| once(pair.client.open())).collect();
        let waiting = [0, 1, 2].map(|_| {
            let client = pair.client.clone();
            tokio::spawn(async move { ask(&client).await })
        });
        settle().await;
        drop(stream);
        for task in waiting {
            soon(task).await.unwrap();
        }
    });
}

#[test]
fn stream_of_openers_that_waits_for_another_call_in_its_body_gets_to_its_end() {
    for (limit, calls, at_once) in [(64, 65, 65), (64, 100, 100), (64, 1000, 1000), (1, 50, 7), (2, 300, 300)]
    {
        run(async {
            let pair = Pair::with(Config::default().max_open_streams(limit), 64 * 1024);
            serve(pair.server.clone());
            let client = &pair.client;
            let mut answers = stream::iter(0..calls).map(|_| ask(client)).buffer_unordered(at_once);
            let mut answered = 0;
            while soon(answers.next()).await.is_some() {
                soon(ask(client)).await;
                answered += 1;
            }
            assert_eq!(answered, calls);
        });
    }
}

#[test]
fn opener_that_waits_is_not_overtaken_for_ever_by_one_that_opens_again_and_again() {
    run(async {
        let pair = Pair::with(Config::default().max_open_streams(1), 64 * 1024);
        serve(pair.server.clone());
        let client = pair.client.clone();
        let busy = tokio::spawn(async move {
            loop {
                ask(&client).await;
            }
        });
        // As long as one of the tasks can go on time stands still: who is starved here is so for ever.
        tokio::task::yield_now().await;
        for _ in 0..10 {
            ask(&pair.client).await;
        }
        busy.abort();
    });
}

#[test]
fn acceptor_that_is_not_polled_takes_no_stream_from_another() {
    run(async {
        let pair = Pair::new();
        let _sleeping = [once(pair.server.accept()), once(pair.server.accept())];
        for _ in 0..3 {
            let mut stream = pair.client.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            assert!(soon(pair.server.accept()).await.is_some());
        }
    });
}

#[test]
fn typed_acceptor_that_is_not_polled_takes_no_stream_from_another() {
    run(async {
        let pair = Pair::new();
        let (client, server) = pair.typed();
        let _sleeping = [once(server.accept_typed()), once(server.accept_typed())];
        for _ in 0..3 {
            let mut stream = client.open_typed(StreamType::new(7)).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            assert!(soon(server.accept_typed()).await.is_some());
        }
    });
}

async fn open_and_fill(session: &Session, bytes: usize) -> (Stream, usize) {
    let mut stream = session.open().await.unwrap();
    let (data, mut written) = (vec![7; bytes], 0);
    while written < bytes {
        match stream.write(&data[written..]).now_or_never() {
            Some(n) => written += n.unwrap(),
            None => break,
        }
    }
    (stream, written)
}

#[test]
fn writer_that_is_not_polled_keeps_no_room_in_the_sessions_buffer_from_another() {
    run(async {
        let config = Config::default().session_send_buffer(16 * 1024).stream_send_buffer(64 * 1024);
        let pair = Pair::with(config, 1024);
        // The first takes what there is; the second waits for room, is woken and never comes.
        let (first, _) = open_and_fill(&pair.client, 1024 * 1024).await;
        let (second, _) = open_and_fill(&pair.client, 1024 * 1024).await;
        let reading = pair.server.clone();
        tokio::spawn(async move {
            while let Some(mut stream) = reading.accept().await {
                tokio::spawn(async move { drain(&mut stream).await });
            }
        });
        settle().await;
        for _ in 0..3 {
            let mut third = pair.client.open().await.unwrap();
            soon(third.write_all(&[3; 100_000])).await.unwrap();
            third.shutdown().await.unwrap();
        }
        drop((first, second));
    });
}
