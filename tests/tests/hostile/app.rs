//! The applications behind a session under attack.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
};

use muxado::{ErrorCode, ReadError, Session, Stream, TypedSession};
use muxado_tests::drain;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

/// How streams ended: the bytes they had brought, and the error if there was one.
pub type Endings = Arc<Mutex<Vec<(usize, Option<ReadError>)>>>;

/// What applications here write: memory that is not theirs, so that only the session's is counted.
static FILLING: [u8; 1024 * 1024] = [7; 1024 * 1024];

/// What is done with the peer's streams.
#[derive(Clone, Debug)]
pub enum App {
    /// What comes is sent back.
    Echo,
    /// Streams are accepted and kept; nothing is read or written.
    Hold,
    /// Nothing is accepted.
    Ignore,
    /// Nothing is accepted, and the session is typed.
    IgnoreTyped,
    /// Each stream is answered with so many bytes and finished; nothing is read.
    Answer(usize),
    /// So many bytes are written for every byte that comes.
    Multiply(usize),
    /// Of so many bytes the last ones are left unread.
    Leave { of: usize, left: usize },
    /// Each stream is reset at once.
    Reset,
    /// Streams are read to their end.
    Read,
    /// Streams are read; how each ended is written down.
    Witness(Endings),
}

impl App {
    /// Serves until it is dropped, or the session has ended.
    pub async fn serve(self, session: Session) {
        let typed = matches!(self, Self::IgnoreTyped).then(|| TypedSession::new(session.clone()));
        if matches!(self, Self::Ignore | Self::IgnoreTyped) {
            pending::<()>().await;
        }
        drop(typed);
        let mut tasks = JoinSet::new();
        while let Some(stream) = session.accept().await {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(self.clone().serve_stream(stream));
        }
        while tasks.join_next().await.is_some() {}
    }

    /// A stream that fails is no concern of this application's.
    async fn serve_stream(self, mut stream: Stream) {
        match self {
            Self::Echo => drop(echo(&mut stream).await),
            Self::Answer(bytes) => {
                if stream.write_all(&FILLING[..bytes]).await.is_ok() {
                    stream.finish().ok();
                }
            }
            Self::Multiply(factor) => drop(multiply(&mut stream, factor).await),
            Self::Leave { of, left } => read_and_stop(&mut stream, of - left).await,
            Self::Reset => stream.reset(ErrorCode::STREAM_REFUSED),
            Self::Read => while let Ok(Some(_)) = stream.read_chunk().await {},
            Self::Witness(endings) => {
                let (bytes, end) = drain(&mut stream).await;
                endings.lock().expect("nobody panics").push((bytes.len(), end.err()));
            }
            Self::Hold | Self::Ignore | Self::IgnoreTyped => {
                // As a handler that looks at its stream only when it is done.
                pending::<()>().await;
            }
        }
    }
}

async fn echo(stream: &mut Stream) -> io::Result<()> {
    while let Some(chunk) = stream.read_chunk().await? {
        stream.write_chunk(chunk).await?;
    }
    stream.finish()?;
    Ok(())
}

async fn multiply(stream: &mut Stream, factor: usize) -> io::Result<()> {
    while let Some(chunk) = stream.read_chunk().await? {
        for _ in 0..chunk.len() {
            stream.write_all(&FILLING[..factor]).await?;
        }
    }
    Ok(())
}

async fn read_and_stop(stream: &mut Stream, bytes: usize) {
    let mut piece = [0; 1024];
    let mut left = bytes;
    while left > 0 {
        let most = left.min(piece.len());
        match stream.read(&mut piece[..most]).await {
            Ok(n) if n > 0 => left -= n,
            _ => return,
        }
    }
    pending::<()>().await;
}
