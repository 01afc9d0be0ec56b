//! What a small call costs on the wire: frames and writes.

mod support;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use muxado_rpc::Peer;
use support::{CODECS, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    time::sleep,
};

/// A transport that counts the writes to it, and those of lists of pieces among them.
struct Counting {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
    lists: Arc<AtomicUsize>,
}

impl Counting {
    fn new(io: DuplexStream) -> (Self, Arc<AtomicUsize>) {
        let writes = Arc::new(AtomicUsize::new(0));
        (Self { io, writes: Arc::clone(&writes), lists: Arc::default() }, writes)
    }

    fn count<T>(&self, written: Poll<T>) -> Poll<T> {
        if written.is_ready() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        written
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_call_is_a_frame_and_a_write_each_way() {
    let (near, far) = duplex(64 * 1024);
    let ((near, near_writes), (far, far_writes)) = (Counting::new(near), Counting::new(far));
    let far = Peer::builder().serve(WorkServer::new(Worker::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    // Before the peers have told each other of themselves, and after.
    for (codec, said) in CODECS.into_iter().flat_map(|codec| [(codec, false), (codec, true)]) {
        let client = WorkClient::new(near.channel()).with_codec(codec);
        assert_alive(&client).await;
        if said {
            assert!(near.capabilities().await.is_some());
            sleep(Duration::from_secs(2)).await;
        }
        let writes = || (near_writes.load(Ordering::SeqCst), far_writes.load(Ordering::SeqCst));
        let frames = || (near.stats().frames_sent, far.stats().frames_sent);
        let (writes_before, frames_before) = (writes(), frames());
        for _ in 0..10 {
            assert_alive(&client).await;
        }
        assert_eq!((writes().0 - writes_before.0, writes().1 - writes_before.1), (10, 10));
        assert_eq!((frames().0 - frames_before.0, frames().1 - frames_before.1), (10, 10));
    }
}

#[tokio::test(start_paused = true)]
async fn output_in_one_piece_is_written_without_a_list_of_pieces() {
    let (near, far) = duplex(256 * 1024);
    let ((near, _), (far, _)) = (Counting::new(near), Counting::new(far));
    let (near_lists, far_lists) = (Arc::clone(&near.lists), Arc::clone(&far.lists));
    let lists = || (near_lists.load(Ordering::SeqCst), far_lists.load(Ordering::SeqCst));
    let _far = Peer::builder().serve(WorkServer::new(Worker::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = WorkClient::new(near.channel());
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { assert_alive(&client).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(lists(), (0, 0));
}

#[tokio::test]
async fn calls_made_together_share_writes() {
    let (near, far) = duplex(256 * 1024);
    let ((near, near_writes), (far, far_writes)) = (Counting::new(near), Counting::new(far));
    let _far = Peer::builder().serve(WorkServer::new(Worker::default())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = WorkClient::new(near.channel());
    assert_alive(&client).await;
    let before = (near_writes.load(Ordering::SeqCst), far_writes.load(Ordering::SeqCst));
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { assert_alive(&client).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let (near, far) =
        (near_writes.load(Ordering::SeqCst) - before.0, far_writes.load(Ordering::SeqCst) - before.1);
    assert!(near <= 8 && far <= 8, "{near} and {far} writes for 64 calls each way");
}
