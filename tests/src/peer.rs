//! The other end of a session, written out frame by frame.

use std::time::Duration;

use bytes::BytesMut;
use muxado::Side;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use crate::{
    frame::{Frame, GOAWAY, encode},
    law::Law,
};

/// Virtual time after which an expected frame is held to be missing.
const PATIENCE: Duration = Duration::from_secs(600);

/// Virtual time in which nothing may come for it to be silence.
const SILENCE: Duration = Duration::from_millis(900);

/// A peer that does only what it is told. Everything it reads is checked against the [`Law`].
#[derive(Debug)]
pub struct Peer {
    io: DuplexStream,
    inbox: BytesMut,
    /// The law; tests may say what they are about.
    pub law: Law,
}

impl Peer {
    /// The peer of a session of this side.
    pub fn new(io: DuplexStream, side: Side) -> Self {
        Self { io, inbox: BytesMut::new(), law: Law::new(side) }
    }

    /// Sends one frame.
    pub async fn send(&mut self, frame: Frame) {
        self.send_all(&[frame]).await;
    }

    /// Sends frames in one write.
    pub async fn send_all(&mut self, frames: &[Frame]) {
        frames.iter().for_each(|frame| self.law.peer_sends(frame));
        self.send_bytes(&encode(frames)).await;
    }

    /// Sends bytes that need not be frames.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("the session reads");
    }

    /// Ends this end's direction of the transport.
    pub async fn finish(&mut self) {
        self.io.shutdown().await.expect("a duplex can be shut down");
    }

    /// The next frame; `None` at the end of the transport, which must not be inside a frame.
    pub async fn recv(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.next()).await.expect("the session sends something or ends")
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.inbox) {
                self.law.check(&frame);
                return Some(frame);
            }
            if self.io.read_buf(&mut self.inbox).await.expect("a duplex can be read") == 0 {
                assert!(self.inbox.is_empty(), "the session ended inside a frame");
                return None;
            }
        }
    }

    /// The next frame is this one.
    #[track_caller]
    pub fn expect(&mut self, frame: Frame) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.recv().await, Some(frame), "at {caller}") }
    }

    /// The next frames are these.
    #[track_caller]
    pub fn expect_all<const N: usize>(&mut self, frames: [Frame; N]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            for frame in frames {
                assert_eq!(self.recv().await, Some(frame), "at {caller}");
            }
        }
    }

    /// The session has nothing to say.
    #[track_caller]
    pub fn expect_silence(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let said = timeout(SILENCE, self.next()).await;
            assert!(said.is_err(), "at {caller}: nothing was expected, but {said:?} came");
        }
    }

    /// The transport ends here.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.recv().await, None, "at {caller}") }
    }

    /// A GOAWAY with this code is next, and then the transport ends. Gives the text.
    #[track_caller]
    pub fn expect_closing(&mut self, code: u32) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let frame = self.recv().await.expect("a go-away");
            assert_eq!((frame.kind, frame.number(1)), (GOAWAY, code), "at {caller}: {frame:?}");
            assert_eq!(self.recv().await, None, "at {caller}");
            String::from_utf8(frame.payload[8..].to_vec()).expect("the text is UTF-8")
        }
    }

    /// At most so many bytes, as they come; none of them is looked at.
    pub async fn recv_bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let n = timeout(PATIENCE, self.io.read(&mut bytes)).await.expect("the session sends something");
        bytes.truncate(n.expect("a duplex can be read"));
        bytes
    }

    /// Everything up to the end of the transport.
    pub async fn recv_rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.recv().await {
            frames.push(frame);
        }
        frames
    }

    /// Everything that comes without anything being sent.
    pub async fn recv_until_silence(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = timeout(SILENCE, self.next()).await {
            frames.push(frame);
        }
        frames
    }
}
