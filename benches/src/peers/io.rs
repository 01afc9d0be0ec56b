//! Echo over anything that is `AsyncRead` and `AsyncWrite`, for the peers whose streams are.

use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    Result,
    message::{Message, Pieces},
};

/// Messages up to this many bytes fit every window, so they are written before anything is read.
const WRITTEN_FIRST: usize = 16 * 1024;

/// The largest buffer that pays: with 16 KiB bulk costs half as much again, 256 KiB gain nothing.
const BUFFER: usize = 64 * 1024;

/// Says that a message has come.
pub(crate) const RECEIVED: [u8; 1] = [1];

/// A buffer for messages of `size` bytes.
fn buffer(size: usize) -> Vec<u8> {
    vec![0; size.clamp(64, BUFFER)]
}

/// The serving side: sends back what comes, and the end after it.
pub(crate) async fn serve<S>(mut stream: S, size: usize) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = buffer(size);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(stream.shutdown().await?),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// The calling side on a stream of its own: sends the message and the end, reads to the end.
pub(crate) async fn exchange<S>(mut stream: S, message: &Message) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pieces = message.pieces();
    if message.len() <= WRITTEN_FIRST {
        stream.write_all(message.bytes()).await?;
        stream.shutdown().await?;
        read_to_end(&mut stream, &mut pieces).await?;
    } else {
        let (mut reader, mut writer) = io::split(stream);
        let write = async {
            writer.write_all(message.bytes()).await?;
            Ok(writer.shutdown().await?)
        };
        tokio::try_join!(write, read_to_end(&mut reader, &mut pieces))?;
    }
    pieces.end()
}

/// The calling side on a stream that stays open: sends the message and reads as much.
pub(crate) async fn ping<S>(stream: &mut S, message: &Message) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pieces = message.pieces();
    if message.len() <= WRITTEN_FIRST {
        stream.write_all(message.bytes()).await?;
        stream.flush().await?;
        return read_all(stream, &mut pieces).await;
    }
    let (mut reader, mut writer) = io::split(stream);
    let write = async {
        writer.write_all(message.bytes()).await?;
        Ok(writer.flush().await?)
    };
    tokio::try_join!(write, read_all(&mut reader, &mut pieces))?;
    Ok(())
}

/// One side of a transfer one way: sends the message and its end, waits for the word that it has come.
pub(crate) async fn send<S>(stream: S, message: &Message) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = io::split(stream);
    let mut word = [0; RECEIVED.len()];
    let write = async {
        writer.write_all(message.bytes()).await?;
        writer.shutdown().await
    };
    // At the same time, since a stream of tokio-yamux gets credit only while it is read.
    tokio::try_join!(write, reader.read_exact(&mut word))?;
    confirmed(&word)
}

/// Whether this is the word.
pub(crate) fn confirmed(word: &[u8]) -> Result<()> {
    if word == RECEIVED { Ok(()) } else { Err("the answer is not that all has come".into()) }
}

/// The other side: reads and checks, and sends the word.
pub(crate) async fn receive<S>(mut stream: S, message: &Message) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pieces = message.pieces();
    read_to_end(&mut stream, &mut pieces).await?;
    pieces.end()?;
    stream.write_all(&RECEIVED).await?;
    Ok(stream.shutdown().await?)
}

async fn read_to_end(reader: &mut (impl AsyncRead + Unpin), pieces: &mut Pieces<'_>) -> Result<()> {
    let mut buffer = buffer(pieces.missing());
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Ok(()),
            n => pieces.take(&buffer[..n])?,
        }
    }
}

async fn read_all(reader: &mut (impl AsyncRead + Unpin), pieces: &mut Pieces<'_>) -> Result<()> {
    let mut buffer = buffer(pieces.missing());
    while pieces.missing() > 0 {
        match reader.read(&mut buffer).await? {
            0 => return pieces.end(),
            n => pieces.take(&buffer[..n])?,
        }
    }
    Ok(())
}
