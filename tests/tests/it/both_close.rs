//! Both sides close at once: neither waits for the other.

use bytes::Bytes;
use muxado::{Config, ErrorCode, Session, Stream};
use muxado_tests::{Frame, GOAWAY, Pair, run, write_final};
use tokio::time::Instant;

/// More than the transport holds, less than a window.
const MESSAGE: usize = 100_000;

/// A stream with a finished message, most of which is queued.
async fn message(session: &Session) -> Stream {
    let mut stream = session.open().await.unwrap();
    write_final(&mut stream, Bytes::from(vec![7; MESSAGE])).await.unwrap();
    stream
}

fn is_whole(frames: &[Frame]) -> bool {
    let sent: usize =
        frames.iter().filter(|frame| frame.kind != GOAWAY).map(|frame| frame.payload.len()).sum();
    sent == MESSAGE && frames.last().is_some_and(|frame| frame.kind == GOAWAY)
}

#[test]
fn sides_that_close_with_more_to_send_than_the_transport_holds_read_each_other_out() {
    run(async {
        let pair = Pair::with(Config::default().stream_send_buffer(MESSAGE), 1000);
        let _streams = [message(&pair.client).await, message(&pair.server).await];
        let begin = Instant::now();
        pair.client.close(ErrorCode::NO_ERROR, "");
        pair.server.close(ErrorCode::NO_ERROR, "");
        assert_eq!(pair.client_driver.await.unwrap(), Ok(()));
        assert_eq!(pair.server_driver.await.unwrap(), Ok(()));
        assert_eq!(begin.elapsed().as_millis(), 0, "one waited for the other until Config::close_timeout");
        assert!(is_whole(&pair.client_log.frames()), "the client's message was cut");
        assert!(is_whole(&pair.server_log.frames()), "the server's message was cut");
    });
}
