//! The bytes of a session, cut into frames and messages wherever it may be.

use muxado_rpc::Peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use crate::{
    listen,
    raw::{BINARY, CLOSE, CONTINUATION, Client, PING, PONG, frame, read},
    support::{CODECS, Random, WorkClient, WorkServer, Worker, assert_alive},
};

/// Where the output of a client is cut.
pub(crate) struct Cuts(Option<Random>);

impl Cuts {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Returns the frames in which bytes are sent: fragments of messages, pings between them, messages without bytes.
    fn frames(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let Some(random) = &mut self.0 else { return frame(BINARY, true, bytes) };
        let mut frames = Vec::new();
        let mut opcode = BINARY;
        while !bytes.is_empty() {
            let max = [1, 3, 16, 200, 70_000][random.below(5) as usize];
            let (now, later) = bytes.split_at((1 + random.below(max) as usize).min(bytes.len()));
            let is_last = later.is_empty() || random.below(2) == 0;
            frames.extend(frame(opcode, is_last, now));
            opcode = if is_last { BINARY } else { CONTINUATION };
            match random.below(6) {
                0 => frames.extend(frame(PING, true, b"between")),
                1 => frames.extend(frame(PONG, true, b"")),
                2 => frames.extend(frame(opcode, false, b"").into_iter().chain(frame(
                    CONTINUATION,
                    is_last,
                    b"",
                ))),
                _ => {}
            }
            bytes = later;
        }
        frames
    }
}

/// Carries the bytes of a session over a WebSocket that is written by hand.
pub(crate) async fn bridge(client: Client, io: DuplexStream, mut cuts: Cuts) {
    let Client { mut reading, mut writing } = client;
    let (mut input, mut output) = split(io);
    let inward = async {
        while let Some((opcode, payload)) = read(&mut reading).await {
            if opcode == BINARY && output.write_all(&payload).await.is_err() {
                break;
            }
        }
    };
    let outward = async {
        let mut buf = vec![0; 100_000];
        while let Ok(len @ 1..) = input.read(&mut buf).await {
            let frames = cuts.frames(&buf[..len]);
            // In pieces, so that headers are cut, too.
            for piece in frames.chunks(1 + len % 977) {
                if writing.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
        let _ = writing.write_all(&frame(CLOSE, true, b"")).await;
    };
    tokio::join!(inward, outward);
}

#[tokio::test]
async fn calls_come_through_wherever_messages_are_cut() {
    let server = listen().await;
    for seed in 0..12 {
        let client = Client::connect(&server, "/").await;
        let (near, far) = duplex(64 * 1024);
        let peer = Peer::builder().serve(WorkServer::new(Worker::default())).client(near).unwrap();
        let bridge = tokio::spawn(bridge(client, far, Cuts(Some(Random::new(seed)))));
        for codec in CODECS {
            let client = WorkClient::new(peer.channel()).with_codec(codec);
            assert_alive(&client).await;
            let text = "t".repeat(10_000 * seed as usize);
            assert_eq!(client.echo(text.clone()).await.unwrap(), text, "seed {seed}");
            assert_eq!(client.ask_back("here".to_owned()).await.unwrap(), "the caller says here");
        }
        peer.close();
        peer.closed().await;
        bridge.await.unwrap();
    }
}
