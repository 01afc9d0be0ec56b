//! What is under way on all streams together holds to the peer's session memory.

use std::time::Duration;

use bytes::Bytes;
use muxado::{
    Config, ControlStreams, ReadError, Session, Side, Stream, StreamType, TypedSession,
    rpc::ControlStreamsExt,
};
use muxado_tests::{EXT, Frame, RST, SYN, WNDINC, each_side, remote_id, run, scripted, settle, write_final};
use tokio::{
    io::{AsyncReadExt, duplex},
    time::{Instant, sleep},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const WINDOW: usize = 256 * KIB;

/// Two sessions over a pipe of a megabyte that know each other to be of this family.
async fn pair(config: Config) -> (Session, Session) {
    let (near, far) = duplex(MIB);
    let (client, driver) = Session::new(Side::Client, near, config.clone());
    tokio::spawn(driver);
    let (server, driver) = Session::new(Side::Server, far, config);
    tokio::spawn(driver);
    let (mut there, mut here) = exchange_streams(&client, &server).await;
    there.finish().unwrap();
    let mut byte = [0];
    here.read_exact(&mut byte).await.unwrap();
    assert_eq!(here.read(&mut byte).await.unwrap(), 0);
    write_final(&mut here, "known").await.unwrap();
    there.read_to_string(&mut String::new()).await.unwrap();
    (client, server)
}

/// A stream of the first that the second has accepted.
async fn exchange_streams(opener: &Session, acceptor: &Session) -> (Stream, Stream) {
    let mut opened = opener.open().await.unwrap();
    opened.write_chunk("x".into()).await.unwrap();
    (opened, acceptor.accept().await.unwrap())
}

/// So many streams on each of which so many bytes and an end are written; the ends that are to read them.
async fn writing(
    (opener, acceptor): (&Session, &Session),
    opener_writes: bool,
    streams: usize,
    len: usize,
) -> Vec<Stream> {
    let (mut readers, data) = (Vec::new(), Bytes::from(vec![7; len]));
    for _ in 0..streams {
        let (opened, mut accepted) = exchange_streams(opener, acceptor).await;
        let mut byte = [0];
        accepted.read_exact(&mut byte).await.unwrap();
        let (mut writer, mut reader) = if opener_writes { (opened, accepted) } else { (accepted, opened) };
        reader.finish().unwrap();
        let data = data.clone();
        tokio::spawn(async move {
            write_final(&mut writer, data).await.expect("nobody resets the stream");
            writer.read_to_end(&mut Vec::new()).await.unwrap();
        });
        readers.push(reader);
    }
    readers
}

/// How long a small call takes beside all that.
async fn small_call(opener: &Session, acceptor: &Session) -> Duration {
    let begin = Instant::now();
    let (mut opened, mut accepted) = exchange_streams(opener, acceptor).await;
    opened.finish().unwrap();
    let mut byte = [0];
    accepted.read_exact(&mut byte).await.unwrap();
    assert_eq!(accepted.read(&mut byte).await.unwrap(), 0);
    write_final(&mut accepted, "answer").await.unwrap();
    let mut answer = String::new();
    opened.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
    begin.elapsed()
}

async fn next_chunk(stream: &mut Stream) -> Result<Option<Bytes>, ReadError> {
    std::future::poll_fn(|cx| stream.poll_read_chunk(cx, 64 * KIB)).await
}

/// Streams that nobody reads for a while, then slowly and all in turn.
async fn unread_streams(opener_writes: bool, len: usize) {
    const STREAMS: usize = 400;
    let (client, server) = pair(Config::default()).await;
    let mut readers = writing((&client, &server), opener_writes, STREAMS, len).await;
    let receiver = if opener_writes { &server } else { &client };
    sleep(Duration::from_secs(30)).await;
    let unread = receiver.stats().bytes_unread;
    assert!((24 * MIB..=64 * MIB).contains(&unread), "{unread} bytes are unread");
    assert!(small_call(&client, &server).await < Duration::from_millis(5));
    let mut left = vec![len; STREAMS];
    while left.iter().any(|left| *left > 0) {
        for (reader, left) in readers.iter_mut().zip(&mut left).filter(|(_, left)| **left > 0) {
            *left -= next_chunk(reader).await.unwrap().expect("there is more").len();
        }
        sleep(Duration::from_millis(1)).await;
        assert!(receiver.stats().bytes_unread <= 64 * MIB);
    }
    for reader in &mut readers {
        assert_eq!(next_chunk(reader).await, Ok(None));
    }
    assert!(small_call(&client, &server).await < Duration::from_millis(5));
    settle().await;
    assert_eq!((client.stats().resets_sent, server.stats().resets_sent), (0, 0));
}

#[test]
fn four_hundred_streams_of_a_server_with_a_slow_reader_are_not_reset() {
    run(unread_streams(false, MIB));
}

#[test]
fn four_hundred_uploads_to_a_slow_reader_are_not_reset() {
    run(unread_streams(true, MIB));
}

#[test]
fn four_hundred_messages_that_each_fit_a_window_are_not_reset() {
    for opener_writes in [false, true] {
        run(unread_streams(opener_writes, 200 * KIB));
    }
}

#[test]
fn stream_that_is_read_goes_on_beside_others_that_fill_the_memory() {
    run(async {
        let config = Config::default().stall_timeout(None);
        let (client, server) = pair(config).await;
        let unread = writing((&client, &server), true, 400, MIB).await;
        settle().await;
        for len in [MIB, 10 * MIB] {
            let begin = Instant::now();
            let mut read = writing((&client, &server), true, 1, len).await.remove(0);
            let mut got = 0;
            while let Some(chunk) = next_chunk(&mut read).await.unwrap() {
                got += chunk.len();
            }
            assert_eq!(got, len);
            assert!(begin.elapsed() < Duration::from_millis(5), "{:?}", begin.elapsed());
        }
        assert_eq!(client.stats().resets_sent + server.stats().resets_sent, 0);
        drop(unread);
    });
}

#[test]
fn large_messages_one_after_the_other_never_wait_for_memory() {
    // All that ends with its message comes back: else a hundred megabytes would be too many.
    run(async {
        let (client, server) = pair(Config::default()).await;
        let begin = Instant::now();
        for n in 0..1500 {
            let mut read = writing((&client, &server), n % 2 == 0, 1, 100 * KIB).await.remove(0);
            let mut got = 0;
            while let Some(chunk) = next_chunk(&mut read).await.unwrap() {
                got += chunk.len();
            }
            assert_eq!(got, 100 * KIB);
        }
        assert!(begin.elapsed() < Duration::from_millis(5), "{:?}", begin.elapsed());
    });
}

#[test]
fn credit_behind_the_end_of_streams_is_given_for_many_at_once_and_to_peers_of_this_family_only() {
    for flags in [0, EXT] {
        each_side(|side| async move {
            let (session, mut peer) = scripted(side, Config::default());
            for n in 0..64 {
                let id = remote_id(side, n);
                peer.send(Frame::new(muxado_tests::DATA, SYN | flags, id, vec![7; 64 * KIB])).await;
                peer.send(Frame::fin(id)).await;
                let mut stream = session.accept().await.unwrap();
                stream.finish().unwrap();
                stream.read_to_end(&mut Vec::new()).await.unwrap();
            }
            let frames = peer.recv_until_silence().await;
            let credit: Vec<_> = frames.iter().filter(|frame| frame.kind == WNDINC).collect();
            if flags == EXT {
                assert_eq!((credit.len(), credit[0].number(0) as usize), (1, 4 * MIB));
            } else {
                assert_eq!(credit.len(), 0);
            }
        });
    }
}

#[test]
fn peer_of_another_family_loses_the_stream_with_most_unread_bytes() {
    each_side(|side| async move {
        let (session, mut peer) = scripted(side, Config::default());
        for n in 0..257 {
            peer.send(Frame::syn(remote_id(side, n), vec![7; WINDOW])).await;
        }
        let frames = peer.recv_until_silence().await;
        assert_eq!(frames.iter().filter(|frame| frame.kind == RST && frame.number(0) == 10).count(), 1);
        assert_eq!(session.stats().bytes_unread, 64 * MIB);
    });
}

#[test]
fn memory_that_the_peer_told_is_held_to() {
    run(async {
        let config = Config::default().session_receive_memory(2 * MIB);
        for is_told in [true, false] {
            let (client, server) = pair(config.clone()).await;
            if is_told {
                let typed = TypedSession::new(client.clone());
                let control = ControlStreams::start(&typed, StreamType::CONTROL);
                assert_eq!(control.session_memory(), Some(2 * MIB));
                control.set_peer_memory(2 * MIB);
            }
            let mut streams = Vec::new();
            for _ in 0..50 {
                let (mut opened, accepted) = exchange_streams(&client, &server).await;
                streams.push(accepted);
                tokio::spawn(async move { write_final(&mut opened, vec![7; WINDOW]).await });
            }
            settle().await;
            sleep(Duration::from_secs(1)).await;
            assert_eq!(server.stats().resets_sent == 0, is_told, "{:?}", server.stats());
        }
    });
}
