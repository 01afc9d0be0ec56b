//! The two implementations, connected, and what every scenario does with their streams.

use std::{future::Future, time::Duration};

use muxado::{Config, Session, Side};
use ngrok_muxado::{Accept, MuxadoSession, SessionBuilder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

/// Runs each scenario with our side as the client and with our side as the server.
macro_rules! both_roles {
    ($($name:ident),* $(,)?) => {
        mod ours_is_client {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                $crate::peers::limited(super::$name(muxado::Side::Client)).await;
            })*
        }

        mod ours_is_server {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                $crate::peers::limited(super::$name(muxado::Side::Server)).await;
            })*
        }
    };
}
pub(crate) use both_roles;

/// Their initial window, and ours.
pub(crate) const WINDOW: usize = 256 * 1024;

/// What the pipe between the two holds in each direction: less than a window.
const PIPE: usize = 64 * 1024;

/// Longest time a scenario may take, by the clock of its runtime.
const LIMIT: Duration = Duration::from_secs(300);

/// The scenario's result, or a panic when it hangs.
pub(crate) async fn limited<F: Future>(scenario: F) -> F::Output {
    tokio::time::timeout(LIMIT, scenario).await.expect("the scenario ends in time")
}

/// Our session on this side, theirs on the other.
pub(crate) fn connect(ours: Side) -> (Session, MuxadoSession) {
    connect_over(ours, Config::default(), duplex(PIPE))
}

pub(crate) fn connect_over(
    ours: Side,
    config: Config,
    (near, far): (DuplexStream, DuplexStream),
) -> (Session, MuxadoSession) {
    let (session, driver) = Session::new(ours, near, config);
    tokio::spawn(driver);
    (session, start_theirs(ours, far))
}

/// Their session for the role that is not ours.
pub(crate) fn start_theirs<T>(ours: Side, io: T) -> MuxadoSession
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let builder = SessionBuilder::new(io);
    match ours {
        Side::Client => builder.server().start(),
        Side::Server => builder.client().start(),
    }
}

/// Sends everything back that comes, and finishes when the peer does.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut buf = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buf).await.expect("the peer's bytes") {
            0 => break,
            n => stream.write_all(&buf[..n]).await.expect("the peer takes its bytes back"),
        }
    }
    stream.shutdown().await.expect("finished");
}

/// Their side answers every stream with an echo, until the session ends.
pub(crate) async fn serve_theirs(mut session: impl Accept) {
    while let Some(stream) = session.accept().await {
        tokio::spawn(echo(stream));
    }
}

/// Our side answers every stream with an echo, until the session ends.
pub(crate) async fn serve_ours(session: Session) {
    while let Some(stream) = session.accept().await {
        tokio::spawn(echo(stream));
    }
}

/// Writes `text`, finishes, and reads what comes back to its end.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, text: &[u8]) -> Vec<u8> {
    stream.write_all(text).await.expect("written");
    stream.shutdown().await.expect("finished");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the answer and its end");
    answer
}

/// Sends `length` bytes of the pattern of `seed` while checking that those of `peer_seed` arrive.
///
/// Both directions run in one task: their two halves share one waker.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite>(stream: S, length: usize, seed: u8, peer_seed: u8) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let send = async {
        writer.write_all(&pattern(length, seed)).await.expect("sent");
        writer.shutdown().await.expect("finished");
    };
    let receive = async {
        let mut received = Vec::with_capacity(length);
        reader.read_to_end(&mut received).await.expect("received to the end");
        assert_eq!(received.len(), length);
        assert!(received == pattern(length, peer_seed), "the bytes arrive as they were sent");
    };
    tokio::join!(send, receive);
}

/// Bytes of which no two windows are alike.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) << 8 | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}
