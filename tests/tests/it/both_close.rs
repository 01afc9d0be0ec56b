//! Both sides close at once: neither waits for the other.

use bytes::Bytes;
use muxado::{Config, ErrorCode, Session, Stream};
use muxado_tests::{DATA, Frame, GOAWAY, Pair, run, settle, write_final};
use tokio::time::Instant;

/// More than the transport holds, less than a window.
const MESSAGE: usize = 100_000;

/// The window that both sides begin with.
const WINDOW: usize = 256 * 1024;

/// A stream with a finished message, most of which is queued.
async fn message(session: &Session, len: usize) -> Stream {
    let mut stream = session.open().await.unwrap();
    write_final(&mut stream, Bytes::from(vec![7; len])).await.unwrap();
    stream
}

fn is_whole(frames: &[Frame], len: usize) -> bool {
    let sent: usize = frames.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
    sent == len && frames.last().is_some_and(|frame| frame.kind == GOAWAY)
}

#[test]
fn sides_that_close_with_more_to_send_than_the_transport_holds_read_each_other_out() {
    close_both(MESSAGE, false);
}

#[test]
fn sides_that_close_with_more_to_send_than_a_window_credit_each_other() {
    for dropped in [false, true] {
        close_both(300 * 1024, dropped);
    }
}

#[test]
fn sides_that_close_before_they_hear_of_each_others_streams_refuse_them() {
    run(async {
        let pair = Pair::new();
        let _streams = [message(&pair.client, 300 * 1024).await, message(&pair.server, 300 * 1024).await];
        let begin = Instant::now();
        pair.client.close(ErrorCode::NO_ERROR, "");
        pair.server.close(ErrorCode::NO_ERROR, "");
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
        assert_eq!(begin.elapsed().as_millis(), 0);
    });
}

fn close_both(len: usize, dropped: bool) {
    run(async {
        let pair = Pair::with(Config::default().stream_send_buffer(len), 1000);
        let mut streams = vec![message(&pair.client, len).await, message(&pair.server, len).await];
        if len > WINDOW {
            settle().await;
        }
        let begin = Instant::now();
        pair.client.close(ErrorCode::NO_ERROR, "");
        pair.server.close(ErrorCode::NO_ERROR, "");
        if dropped {
            streams.clear();
        }
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
        assert_eq!(begin.elapsed().as_millis(), 0, "one waited for the other until Config::close_timeout");
        assert!(is_whole(&pair.client_log.frames(), len), "the client's message was cut");
        assert!(is_whole(&pair.server_log.frames(), len), "the server's message was cut");
    });
}
