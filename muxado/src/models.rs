//! Models of the hand-over between handles and driver: the real code, each of its tasks a task of
//! `shuttle`, which chooses at every lock and every use of the transport which one goes on.
//!
//! A lost wake or a lost flush leaves nobody who could go on: shuttle calls it a deadlock. Time stands
//! still, so no timer helps anybody out. The same schedules are tried in every run;
//! `MUXADO_MODEL_RUNS` says how many of each kind.

mod rig;

use std::time::Duration;

use shuttle::future::{spawn, yield_now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::rig::{abandon, call, check, echo, pair, poll_now, poll_once, poll_twice, read_all, with};
use crate::{
    Config, ErrorCode, Heartbeat, HeartbeatConfig, HeartbeatEvent, Stream, StreamType, TypedSession,
};

#[test]
fn reader_is_woken_by_all_that_arrives() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default(), 16);
        let reading = spawn(async move {
            let mut stream = server.accept().await.unwrap();
            assert_eq!(read_all(&mut stream).await, b"one two three");
            stream.finish().unwrap();
            drop(stream);
            drop(server);
        });
        let mut stream = client.open().await.unwrap();
        for part in ["one", " two", " three"] {
            stream.write_all(part.as_bytes()).await.unwrap();
            yield_now().await;
        }
        stream.finish().unwrap();
        assert_eq!(read_all(&mut stream).await, b"");
        drop((stream, client));
        reading.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn writers_are_woken_by_room_in_the_window_and_in_the_buffers() {
    check(|| async {
        let config = Config::default().window_size(1024).stream_send_buffer(1024).session_send_buffer(0);
        let (client, server, drivers) = pair(&config, 700);
        let serving = spawn(echo(server));
        let mut callers = Vec::new();
        for len in [3000, 2000] {
            let (mut sending, mut receiving) = client.open().await.unwrap().into_split();
            callers.push(spawn(async move {
                sending.write_all(&vec![7; len]).await.unwrap();
                sending.finish().unwrap();
            }));
            callers.push(spawn(async move {
                let mut echoed = Vec::new();
                receiving.read_to_end(&mut echoed).await.unwrap();
                assert_eq!(echoed, vec![7; len]);
            }));
        }
        for caller in callers {
            caller.await.unwrap();
        }
        drop(client);
        serving.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn openers_are_woken_by_capacity_in_turn() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().max_open_streams(1), 64);
        let serving = spawn(echo(server));
        let callers =
            [0, 1, 2].map(|number| spawn(with(&client, async move |client| call(&client, number).await)));
        drop(client);
        for caller in callers {
            caller.await.unwrap();
        }
        serving.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn turn_of_an_opener_that_leaves_goes_to_the_next() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().max_open_streams(1), 64);
        let serving = spawn(echo(server));
        let mut stream = client.open().await.unwrap();
        let mut leaving = Box::pin(client.open());
        assert!(poll_once(&mut leaving).await.is_none());
        let caller = spawn(with(&client, async |client| call(&client, 1).await));
        stream.finish().unwrap();
        assert_eq!(read_all(&mut stream).await, b"");
        yield_now().await;
        drop((leaving, stream, client));
        caller.await.unwrap();
        serving.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn opener_that_comes_after_the_wake_of_another_gets_the_room_that_is_left() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().max_open_streams(2), 64);
        let streams = [client.open().await.unwrap(), client.open().await.unwrap()];
        // Both keep what they get, so neither makes room for the other.
        let openers = [(); 2].map(|()| spawn(client.open()));
        yield_now().await;
        drop(streams);
        let mut opened = Vec::new();
        for opener in openers {
            opened.push(opener.await.unwrap().unwrap());
        }
        drop((opened, client, server));
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn opener_that_is_never_polled_again_keeps_the_room_from_nobody() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().max_open_streams(1), 64);
        let serving = spawn(echo(server));
        let mut stream = client.open().await.unwrap();
        let mut sleeping = Box::pin(client.open());
        assert!(poll_once(&mut sleeping).await.is_none());
        let callers =
            [0, 1, 2].map(|number| spawn(with(&client, async move |client| call(&client, number).await)));
        stream.finish().unwrap();
        assert_eq!(read_all(&mut stream).await, b"");
        drop(stream);
        for caller in callers {
            caller.await.unwrap();
        }
        // One that comes when the others are done.
        call(&client, 3).await;
        drop((sleeping, client));
        serving.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn acceptor_that_is_never_polled_again_takes_no_stream_from_another() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default(), 64);
        let mut sleeping = Box::pin(server.accept());
        assert!(poll_once(&mut sleeping).await.is_none());
        let accepting = spawn(with(&server, async |server| {
            for _ in 0..2 {
                let mut stream = server.accept().await.unwrap();
                assert_eq!(read_all(&mut stream).await, b"x");
                stream.finish().unwrap();
            }
        }));
        for _ in 0..2 {
            let mut stream = client.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.finish().unwrap();
            assert_eq!(read_all(&mut stream).await, b"");
        }
        accepting.await.unwrap();
        drop(sleeping);
        drop((server, client));
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn writer_that_is_never_polled_again_keeps_the_sessions_buffer_from_nobody() {
    check(|| async {
        let config = Config::default().window_size(32 * 1024).session_send_buffer(16 * 1024);
        let (client, server, drivers) = pair(&config, 4096);
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = client.open().await.unwrap();
            // The last write waits for room, and is not asked again.
            while poll_once(stream.write(&[7; 8192])).await.is_some() {}
            streams.push(stream);
        }
        let reading = spawn(async move {
            let mut tasks = Vec::new();
            while let Some(mut stream) = server.accept().await {
                tasks.push(spawn(async move { while let Ok(Some(_)) = stream.read_chunk().await {} }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        let mut stream = client.open().await.unwrap();
        stream.write_all(&[1; 20_000]).await.unwrap();
        stream.finish().unwrap();
        drop((streams, stream, client));
        reading.await.unwrap();
        drivers.end().await;
    });
}

#[test]
fn waiters_that_leave_at_any_moment_are_forgotten_and_others_are_woken() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default(), 64);
        let mut tasks = Vec::new();
        for _ in 0..2 {
            tasks.push(spawn(with(&client, async |client| drop(abandon(client.closed()).await))));
            tasks.push(spawn(with(&client, async |client| {
                abandon(client.going_away()).await.unwrap_or_default();
            })));
            tasks.push(spawn(with(&client, async |client| drop(abandon(client.accept()).await))));
            tasks.push(spawn(with(&client, async |client| client.going_away().await)));
            tasks.push(spawn(with(&client, async |client| drop(client.closed().await))));
        }
        yield_now().await;
        client.close(ErrorCode::NO_ERROR, "");
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(client.shared.with(|core| core.count_waiters()), 0);
        drop((client, server));
        drivers.end().await;
    });
}

#[test]
fn every_flush_ends_once_the_transport_has_taken_what_was_written() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().window_size(1024), 300);
        let serving = spawn(echo(server));
        let mut callers = Vec::new();
        for len in [0, 100, 1500] {
            let mut stream = client.open().await.unwrap();
            callers.push(spawn(async move {
                for _ in 0..2 {
                    let (mut sent, data) = (0, vec![7; len]);
                    while sent < len {
                        sent += stream.write(&data[sent..]).await.unwrap();
                        // What comes back is taken, or both would wait for credit.
                        drop(poll_once(stream.read_chunk()).await);
                    }
                    let mut flushed = false;
                    while !flushed {
                        flushed = abandon(stream.flush()).await.is_some_and(|flush| flush.is_ok());
                        drop(poll_once(stream.read_chunk()).await);
                    }
                    stream.flush().await.unwrap();
                }
            }));
        }
        drop(client);
        for caller in callers {
            caller.await.unwrap();
        }
        serving.await.unwrap();
        drivers.end().await;
    });
}

#[test]
fn openers_are_woken_when_this_side_goes_away() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().max_open_streams(1), 64);
        let stream = client.open().await.unwrap();
        let openers =
            [(); 2].map(|()| spawn(with(&client, async |client| assert!(client.open().await.is_err()))));
        yield_now().await;
        client.go_away();
        for opener in openers {
            opener.await.unwrap();
        }
        drop((stream, client, server));
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn acceptor_that_gives_up_loses_no_stream_and_no_wake() {
    async fn serve(mut stream: Stream) {
        assert_eq!(read_all(&mut stream).await, b"x");
        stream.finish().unwrap();
    }

    check(|| async {
        let (client, server, drivers) = pair(&Config::default(), 64);
        let acceptor = with(&server, async |server| {
            while let Some(stream) = server.accept().await {
                serve(stream).await;
            }
        });
        let leaving = with(&server, async |server| {
            if let Some(Some(stream)) = abandon(server.accept()).await {
                serve(stream).await;
            }
        });
        let accepting = [spawn(acceptor), spawn(leaving)];
        drop(server);
        for _ in 0..2 {
            let mut stream = client.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.finish().unwrap();
            // Nobody else wakes whoever was not woken for this one.
            assert_eq!(read_all(&mut stream).await, b"");
        }
        drop(client);
        for acceptor in accepting {
            acceptor.await.unwrap();
        }
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

/// Who ends the session, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    ClosedByPeer,
    DriverDropped,
    PeerGone,
}

/// One task for each thing that can be waited for, on a session that ends at any moment.
async fn end_wakes_everybody(end: End) {
    let config = Config::default().window_size(1024).stream_send_buffer(1024).max_open_streams(2);
    let (client, server, drivers) = pair(&config, 512);
    let (typed, peer) = (TypedSession::new(client.clone()), TypedSession::new(server.clone()));
    let [mut reader, mut writer] = [(); 2].map(|()| poll_now(typed.open_typed(StreamType::new(1))));
    let mut heartbeat = Heartbeat::start(&typed, HeartbeatConfig::default());
    let beating = heartbeat.clone();
    let waiting = [
        spawn(async move { assert!(reader.read_u8().await.is_err()) }),
        spawn(async move { assert!(writer.write_all(&[0; 4096]).await.is_err()) }),
        spawn(with(&client, async |client| assert!(client.open().await.is_err()))),
        spawn(with(&client, async |client| assert!(client.accept().await.is_none()))),
        spawn(with(&client, async |client| drop(client.closed().await))),
        spawn(with(&client, async |client| drop(client.closed().await))),
        spawn(async move { while let HeartbeatEvent::RoundTrip(_) = heartbeat.changed().await {} }),
        spawn(async move { drop(beating.ping().await) }),
        spawn(with(&server, async |server| drop(server.closed().await))),
        spawn(async move {
            let mut accepted = Vec::new();
            while let Some(stream) = peer.accept_typed().await {
                accepted.push(stream);
            }
        }),
    ];
    match end {
        End::Close => client.close(ErrorCode::new(70), "enough"),
        End::ClosedByPeer => server.close(ErrorCode::new(71), "enough"),
        End::DriverDropped => drivers.running[0].abort(),
        End::PeerGone => drivers.running[1].abort(),
    }
    drop((client, server, typed));
    for task in waiting {
        task.await.unwrap();
    }
    drivers.end().await;
}

#[test]
fn everybody_is_woken_by_a_close() {
    check(|| end_wakes_everybody(End::Close));
}

#[test]
fn everybody_is_woken_when_the_peer_closes() {
    check(|| end_wakes_everybody(End::ClosedByPeer));
}

#[test]
fn everybody_is_woken_when_the_driver_is_dropped() {
    check(|| end_wakes_everybody(End::DriverDropped));
}

#[test]
fn everybody_is_woken_when_the_peer_is_gone() {
    check(|| end_wakes_everybody(End::PeerGone));
}

#[test]
fn shutdown_waits_for_streams_that_end_meanwhile_and_for_nobody_else() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default(), 64);
        let serving = spawn(echo(server));
        let mut stream = client.open().await.unwrap();
        let calling = spawn(async move {
            stream.write_all(b"last words").await.unwrap();
            stream.finish().unwrap();
            assert_eq!(read_all(&mut stream).await, b"last words");
        });
        assert!(client.shutdown(Duration::from_secs(60)).await);
        calling.await.unwrap();
        drop(client);
        serving.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn message_of_a_client_that_leaves_at_once_arrives() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default(), 64);
        let reading = spawn(async move {
            let mut stream = server.accept().await.unwrap();
            assert_eq!(read_all(&mut stream).await, b"farewell");
        });
        let mut stream = client.open().await.unwrap();
        drop(client);
        stream.write_all(b"farewell").await.unwrap();
        stream.finish().unwrap();
        drop(stream);
        reading.await.unwrap();
        drivers.end().await;
    });
}

#[test]
fn both_sides_may_close_while_the_transport_is_full() {
    check(|| async {
        // A go-away alone is more than it holds.
        let (client, server, drivers) = pair(&Config::default(), 10);
        let closing = spawn(async move { client.close(ErrorCode::NO_ERROR, "done") });
        server.close(ErrorCode::NO_ERROR, "done");
        drop(server);
        closing.await.unwrap();
        assert_eq!(drivers.end().await, [Some(Ok(())), Some(Ok(()))]);
    });
}

#[test]
fn handles_may_be_dropped_while_the_session_ends() {
    check(|| async {
        let (client, server, drivers) = pair(&Config::default().max_open_streams(2), 256);
        let mut tasks = vec![spawn(echo(server.clone()))];
        for _ in 0..2 {
            let (mut sending, mut receiving) = client.open().await.unwrap().into_split();
            tasks.push(spawn(async move { drop(sending.write_all(&[1; 100]).await) }));
            tasks.push(spawn(async move { drop(receiving.read_chunk().await) }));
        }
        let opener = client.clone();
        tasks.push(spawn(async move { drop(poll_twice(opener.open()).await) }));
        tasks.push(spawn(async move { drop(poll_twice(client.closed()).await) }));
        tasks.push(spawn(async move { server.close(ErrorCode::NO_ERROR, "") }));
        for task in tasks {
            task.await.unwrap();
        }
        drivers.end().await;
    });
}
