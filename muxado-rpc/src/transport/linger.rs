//! The end of a connection that is refused in its handshake.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connector::BoxIo;
use crate::support::timer;

/// Waits for the end of a client that is refused, for a second: a socket that is closed with bytes unread is reset by
/// the system, and the client never reads why it was refused.
pub(super) async fn linger(io: BoxIo) {
    timer::within(LINGER, read_to_end(io)).await;
}

async fn read_to_end(mut io: BoxIo) {
    // Whatever fails here, the connection is over.
    if io.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    }
}

/// How long the end of a client that is refused is waited for, within the time of the handshake.
const LINGER: Duration = Duration::from_secs(1);

/// How much is read of a client that is refused.
const LINGER_BYTES: u64 = 64 * 1024;
