//! Round trips that are asked for, and what an application puts around a transport.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use muxado::PingError;
use muxado_rpc::{BoxIo, Peer, Server, testing};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[muxado_rpc::service]
trait Echo {
    async fn echo(&self, text: String) -> String;
}

struct Wall;

impl Echo for Wall {
    async fn echo(&self, text: String) -> String {
        text
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_whether_heartbeats_are_on_or_off() {
    for builder in [Peer::builder(), Peer::builder().no_heartbeat()] {
        let (near, far) = testing::pair(builder, Peer::builder().no_heartbeat()).unwrap();
        near.ping().await.unwrap();
        let (one, other) = tokio::join!(near.ping(), far.ping());
        one.unwrap();
        other.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn with_heartbeats_off_none_is_sent_that_nobody_has_asked_for() {
    let (near, _far) = testing::pair(Peer::builder().no_heartbeat(), Peer::builder().no_heartbeat()).unwrap();
    near.ping().await.unwrap();
    // What both say at the beginning is said by then.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let sent = near.stats().frames_sent;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(near.stats().frames_sent, sent);
    near.ping().await.unwrap();
    assert!(near.stats().frames_sent > sent);
}

#[tokio::test(start_paused = true)]
async fn a_ping_on_a_connection_that_has_ended_says_so() {
    let (near, far) = testing::pair(Peer::builder(), Peer::builder()).unwrap();
    far.close();
    near.closed().await;
    assert!(matches!(near.ping().await, Err(PingError::SessionClosed(_))));
}

/// Counts the bytes that are written.
struct Counted {
    io: BoxIo,
    written: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            self.written.fetch_add(*count, Ordering::SeqCst);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_transport_that_is_wrapped_sees_all_bytes_of_the_session() {
    let server = Server::builder().serve(EchoServer::new(Wall)).listen("tcp://127.0.0.1:0").await.unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let wrap = move |io: BoxIo| -> BoxIo { Box::new(Counted { io, written: Arc::clone(&counter) }) };
    let peer = Peer::builder().wrap_transport(wrap).connect(server.local_addr()).await.unwrap();
    let client = EchoClient::new(peer.channel());
    assert_eq!(client.echo("hello".to_owned()).await.unwrap(), "hello");
    let stats = peer.stats();
    assert_eq!(written.load(Ordering::SeqCst) as u64, stats.bytes_sent);
    assert!(stats.bytes_sent > 0);
}
