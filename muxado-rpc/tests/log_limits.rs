//! What a peer can make this side write into the log: a few lines, and a count of the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{cell::RefCell, io, sync::Once, time::Duration};

use bytes::Bytes;
use muxado::{Config, Session};
use muxado_rpc::{Peer, Reconnect, Server};
use support::{Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing_subscriber::filter::LevelFilter;

thread_local! {
    /// What this thread has written: each test has one, and all its tasks there.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is in the log at the level of warnings, and above.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn record() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_max_level(LevelFilter::WARN)
                .with_writer(|| Self)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LINES.take();
        Self
    }

    /// Takes the lines: how many there are, and how many more they say were left out.
    fn take(&self) -> (usize, u64) {
        let text = String::from_utf8(LINES.take()).unwrap();
        let count = |line: &str| {
            let (_, rest) = line.split_once("suppressed=")?;
            rest.split(' ').next()?.trim().parse::<u64>().ok()
        };
        (text.lines().count(), text.lines().filter_map(count).sum())
    }
}

async fn listen() -> Server {
    Server::builder().serve(WorkServer::new(Worker::default())).listen("tcp://127.0.0.1:0").await.unwrap()
}

async fn connect(server: &Server) -> WorkClient {
    WorkClient::new(Peer::builder().connect(server.local_addr()).await.unwrap().channel())
}

/// Connects, says what is no frame, and waits for the end.
async fn send_garbage(server: &Server) {
    let address = server.local_addr().socket_addr().unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(&[0xFF; 64]).await.unwrap();
    // A reset is an end, too.
    let _ = socket.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn connections_of_garbage_write_a_few_lines_and_a_count() {
    let log = Log::record();
    let server = listen().await;
    for _ in 0..300 {
        send_garbage(&server).await;
    }
    // What each says is in the log before its task ends, which the server waits for.
    server.shutdown(Duration::ZERO).await;
    assert_eq!(log.take(), (10 + 1, 290));
}

#[tokio::test]
async fn panics_of_handlers_write_a_few_lines_a_connection_and_a_count() {
    let log = Log::record();
    let server = listen().await;
    for _ in 0..2 {
        let client = connect(&server).await;
        for _ in 0..100 {
            client.panic().await.unwrap_err();
        }
        assert_alive(&client).await;
        assert_eq!(log.take(), (10, 0));
        drop(client);
        until_written().await;
        assert_eq!(log.take(), (1, 90));
    }
    // One panic each.
    for _ in 0..200 {
        connect(&server).await.panic().await.unwrap_err();
    }
    assert_eq!(log.take(), (80, 0));
    server.shutdown(Duration::ZERO).await;
    assert_eq!(log.take(), (1, 120));
}

/// Waits until something is in the log.
async fn until_written() {
    let written = async {
        while LINES.with_borrow(Vec::is_empty) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), written).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_next_minute_has_its_own_lines_and_the_count_of_the_last() {
    let log = Log::record();
    let pair = Pair::new();
    let client = pair.client(muxado_rpc::Codec::Json);
    for minute in 0..3 {
        for _ in 0..50 {
            client.panic().await.unwrap_err();
        }
        assert_eq!(log.take(), (10, if minute == 0 { 0 } else { 40 }));
        sleep(Duration::from_secs(60)).await;
    }
    pair.near.close();
    pair.far.closed().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.take(), (1, 40));
}

#[tokio::test(start_paused = true)]
async fn the_count_of_a_server_is_written_when_the_minute_is_over() {
    let log = Log::record();
    let server = listen().await;
    for _ in 0..30 {
        send_garbage(&server).await;
    }
    let mut said = 0;
    for _ in 0..10 {
        sleep(Duration::from_secs(10)).await;
        said += log.take().1;
    }
    assert_eq!(said, 20);
    assert_alive(&connect(&server).await).await;
}

#[tokio::test]
async fn panics_of_the_hook_write_a_few_lines_and_a_count() {
    let log = Log::record();
    let server = Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .on_connect(|_| panic!("of the hook"))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    for _ in 0..100 {
        assert_alive(&connect(&server).await).await;
    }
    server.shutdown(Duration::ZERO).await;
    assert_eq!(log.take(), (10 + 1, 90));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_servers_answer_garbage_writes_ten_lines_a_minute() {
    let log = Log::record();
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let connector = move || {
        asked.send(()).unwrap();
        async {
            let (near, mut far) = duplex(1024);
            tokio::spawn(async move {
                // So long that the connection counts as one of use.
                sleep(Duration::from_secs(1)).await;
                far.write_all(&[0xFF; 64]).await.unwrap();
                far.read_to_end(&mut Vec::new()).await
            });
            Ok(near)
        }
    };
    let start = tokio::time::Instant::now();
    let _client =
        Reconnect::builder().connector(connector).peer(Peer::builder().no_heartbeat()).build().unwrap();
    for _ in 0..300 {
        asks.recv().await.unwrap();
    }
    let minutes = start.elapsed().as_secs() / 60 + 1;
    let (lines, suppressed) = log.take();
    assert!(lines <= 10 * minutes as usize, "{lines} in {minutes} minutes, {suppressed} left out");
    assert!(suppressed >= 150, "{suppressed}");
}

#[tokio::test]
async fn streams_reset_for_memory_write_a_few_lines_and_a_count() {
    let log = Log::record();
    let (near, far) = duplex(1 << 20);
    let config = Config::default().session_receive_memory(0);
    let (served, driver) = Session::server(far, config);
    tokio::spawn(driver);
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = session.open().await.unwrap();
        // As much as fits into a window: the second is too much.
        let _ = stream.write_chunk(Bytes::from(vec![0; 256 * 1024])).await;
        stream.flush().await.ok();
        streams.push(stream);
        if streams.len() > 4 {
            streams.remove(0);
        }
    }
    while served.stats().streams_accepted < 300 {
        tokio::task::yield_now().await;
    }
    let (lines, _) = log.take();
    assert_eq!(lines, 10);
    session.close(muxado::ErrorCode::NO_ERROR, "");
    served.closed().await;
    let (lines, suppressed) = log.take();
    assert!(lines == 1 && suppressed > 200, "{lines} {suppressed}");
}
