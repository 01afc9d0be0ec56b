//! A conversation whose transport is cut after each of its bytes.

use muxado::{Config, ReadError, Session, SessionError, Side};
use muxado_tests::{
    Frame, Recorder, drain, encode, local_id, remote_id, run, scripted, scripted_with_driver, settle,
    write_final,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// Three messages in pieces, their frames interleaved.
fn conversation(id: impl Fn(u32) -> u32, syn: bool) -> Vec<Frame> {
    let open = |n, payload: &str| if syn { Frame::syn(id(n), payload) } else { Frame::data(id(n), payload) };
    vec![
        open(0, "first "),
        open(1, ""),
        Frame::data(id(0), "message"),
        Frame::data(id(1), "second"),
        Frame::fin(id(0)),
        open(2, "third"),
        Frame::data_fin(id(1), " message"),
        Frame::wndinc(id(2), 1000),
        Frame::data_fin(id(2), "!"),
    ]
}

/// What a stream has to give after the first `cut` bytes of the conversation.
#[derive(Debug, PartialEq)]
struct Expected {
    opened: bool,
    bytes: Vec<u8>,
    complete: bool,
}

fn expected(frames: &[Frame], id: u32, cut: usize) -> Expected {
    let mut expected = Expected { opened: false, bytes: Vec::new(), complete: false };
    let mut at = 0;
    for frame in frames {
        let (body, end) = (at + 8, at + 8 + frame.payload.len());
        at = end;
        if frame.id != id || frame.kind != muxado_tests::DATA || cut < body {
            continue;
        }
        expected.opened = true;
        expected.bytes.extend_from_slice(&frame.payload[..frame.payload.len().min(cut - body)]);
        expected.complete |= frame.has(muxado_tests::FIN) && cut >= end;
    }
    expected
}

fn is_boundary(frames: &[Frame], cut: usize) -> bool {
    (0..=frames.len()).any(|n| encode(&frames[..n]).len() == cut)
}

fn check(frames: &[Frame], id: u32, cut: usize, (bytes, end): (Vec<u8>, Result<(), ReadError>)) {
    let expected = expected(frames, id, cut);
    assert_eq!(bytes, expected.bytes, "stream {id} cut at {cut}");
    let lost = SessionError::PeerEof { mid_frame: !is_boundary(frames, cut) };
    let end_expected = if expected.complete { Ok(()) } else { Err(ReadError::SessionClosed(lost)) };
    assert_eq!(end, end_expected, "stream {id} cut at {cut}");
}

#[test]
fn acceptor_reads_what_came_and_an_error_unless_it_was_all() {
    for side in [Side::Client, Side::Server] {
        let frames = conversation(|n| remote_id(side, n), true);
        let bytes = encode(&frames);
        for cut in 0..=bytes.len() {
            run(async {
                let (session, mut peer) = scripted(side, Config::default());
                let accepting = {
                    let session = session.clone();
                    tokio::spawn(async move {
                        let mut reading = Vec::new();
                        while let Some(mut stream) = session.accept().await {
                            let id = stream.id().unwrap().as_u32();
                            reading.push(tokio::spawn(async move { (id, drain(&mut stream).await) }));
                        }
                        reading
                    })
                };
                peer.send_bytes(&bytes[..cut]).await;
                settle().await;
                peer.finish().await;
                session.closed().await;
                let reading = accepting.await.unwrap();
                let opened = (0..3).filter(|n| expected(&frames, remote_id(side, *n), cut).opened).count();
                assert_eq!(reading.len(), opened, "cut at {cut}");
                for stream in reading {
                    let (id, result) = stream.await.unwrap();
                    check(&frames, id, cut, result);
                }
            });
        }
    }
}

#[test]
fn opener_reads_what_came_and_an_error_unless_it_was_all() {
    for side in [Side::Client, Side::Server] {
        let frames = conversation(|n| local_id(side, n), false);
        let bytes = encode(&frames);
        for cut in 0..=bytes.len() {
            run(async {
                let (session, mut peer) = scripted(side, Config::default());
                let mut reading = Vec::new();
                for _ in 0..3 {
                    let mut stream = session.open().await.unwrap();
                    write_final(&mut stream, "request").await.unwrap();
                    reading.push(tokio::spawn(async move { drain(&mut stream).await }));
                }
                peer.recv_until_silence().await;
                peer.send_bytes(&bytes[..cut]).await;
                peer.finish().await;
                for (n, stream) in reading.into_iter().enumerate() {
                    check(&frames, local_id(side, n as u32), cut, stream.await.unwrap());
                }
            });
        }
    }
}

/// Everything that a program can wait for; each must come to an end once the transport has.
async fn wait_for_everything(session: Session) -> usize {
    let mut waiting = Vec::new();
    let opener = session.clone();
    waiting.push(tokio::spawn(async move {
        let mut stream = opener.open().await.unwrap();
        write_final(&mut stream, vec![1; 400]).await.ok();
        let (_, end) = drain(&mut stream).await;
        assert!(end.is_err(), "nobody answered");
    }));
    let opener = session.clone();
    waiting.push(tokio::spawn(async move {
        let mut stream = opener.open().await.unwrap();
        stream.write_all(&vec![2; 5000]).await.unwrap_err();
    }));
    let opener = session.clone();
    waiting.push(tokio::spawn(async move {
        settle().await;
        opener.open().await.unwrap_err();
    }));
    let other = session.clone();
    waiting.push(tokio::spawn(async move { while other.accept().await.is_some() {} }));
    waiting.push(tokio::spawn(async move {
        session.closed().await;
    }));
    let count = waiting.len();
    for waiter in waiting {
        waiter.await.unwrap();
    }
    count
}

#[test]
fn everything_resolves_wherever_our_output_is_cut() {
    let config = || Config::default().window_size(1024).max_open_streams(2).stream_send_buffer(1024);
    for cut in 0..=1500 {
        run(async {
            let (near, mut far) = duplex(64);
            let (near, _log) = Recorder::new(near);
            let (session, driver) = Session::client(near, config());
            let driver = tokio::spawn(driver);
            let cutting = tokio::spawn(async move {
                let mut read = vec![0; cut];
                // Less comes if the windows allow no more.
                tokio::time::timeout(std::time::Duration::from_secs(5), far.read_exact(&mut read)).await.ok();
            });
            assert_eq!(wait_for_everything(session).await, 5);
            cutting.await.unwrap();
            assert!(driver.await.unwrap().is_err(), "cut at {cut}");
        });
    }
}

#[test]
fn everything_resolves_when_the_driver_is_dropped() {
    run(async {
        let config = Config::default().window_size(1024).max_open_streams(2).stream_send_buffer(1024);
        let (session, _peer, driver) = scripted_with_driver(Side::Client, config, 64);
        let waiting = tokio::spawn(wait_for_everything(session));
        settle().await;
        settle().await;
        driver.abort();
        assert_eq!(waiting.await.unwrap(), 5);
    });
}
