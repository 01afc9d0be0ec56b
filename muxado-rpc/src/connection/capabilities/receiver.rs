//! The peer's control stream: what it says, within bounds.

use std::{
    fmt,
    task::{Context, Poll},
};

use memchr::memchr;
use muxado::{ControlStreams, ErrorCode, Stream};

use super::line::{self, Line, MAX_LINE};
use crate::codec::CodecError;

/// How far the peer has got.
pub(super) enum ControlReceiver {
    /// It has not opened the stream.
    Waiting,
    Reading(Reader),
    /// It says no more, or nothing that is heard.
    Over,
}

/// Finds the lines.
pub(super) struct Reader {
    stream: Stream,
    /// The beginning of a line.
    begun: Vec<u8>,
    /// Bytes that the peer may still send.
    left: usize,
}

/// What is wrong with a control stream.
#[derive(Debug)]
enum Unusable {
    NoLine(CodecError),
    LongLine,
    TooMuch,
}

impl ControlReceiver {
    /// Hands on what has come.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        streams: &ControlStreams,
        mut hear: impl FnMut(Line),
    ) {
        if let Self::Waiting = self {
            match streams.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => *self = Self::Over,
                Poll::Ready(Some(mut stream)) => {
                    // Nothing is answered; that it is taken shows by this.
                    let _ = stream.finish();
                    *self = Self::Reading(Reader { stream, begun: Vec::new(), left: MAX_CONTROL });
                }
            }
        }
        if let Self::Reading(reader) = self
            && reader.poll(cx, &mut hear).is_ready()
        {
            *self = Self::Over;
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }
}

impl Reader {
    /// Ready when nothing more is heard.
    fn poll(&mut self, cx: &mut Context<'_>, hear: &mut impl FnMut(Line)) -> Poll<()> {
        loop {
            let taken = match self.stream.poll_read_chunk(cx, usize::MAX) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(Some(chunk))) => self.take(&chunk, hear),
                Poll::Ready(Ok(None)) => {
                    // The end of the stream ends a line, too.
                    let last = std::mem::take(&mut self.begun);
                    if let Err(unusable) = read(&last, hear) {
                        tracing::debug!("the peer's control stream ends badly: {unusable}");
                    }
                    return Poll::Ready(());
                }
            };
            if let Err(unusable) = taken {
                tracing::debug!("the peer's control stream is of no use: {unusable}");
                self.stream.reset(unusable.code());
                return Poll::Ready(());
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], hear: &mut impl FnMut(Line)) -> Result<(), Unusable> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(Unusable::TooMuch)?;
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.begun.is_empty() {
                read(line, hear)?;
            } else {
                self.gather(line)?;
                read(&std::mem::take(&mut self.begun), hear)?;
            }
        }
        self.gather(bytes)
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        if self.begun.len() + bytes.len() > MAX_LINE {
            return Err(Unusable::LongLine);
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }
}

fn read(line: &[u8], hear: &mut impl FnMut(Line)) -> Result<(), Unusable> {
    if line.len() > MAX_LINE {
        return Err(Unusable::LongLine);
    }
    if !line.is_empty() {
        hear(line::read(line).map_err(Unusable::NoLine)?);
    }
    Ok(())
}

impl Unusable {
    const fn code(&self) -> ErrorCode {
        match self {
            Self::NoLine(_) => ErrorCode::PROTOCOL_ERROR,
            Self::LongLine | Self::TooMuch => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine(error) => write!(f, "not a line of it: {error}"),
            Self::LongLine => write!(f, "a line of over {MAX_LINE} bytes"),
            Self::TooMuch => write!(f, "over {MAX_CONTROL} bytes in all"),
        }
    }
}

/// Bytes that a peer may say on its control stream, as long as the connection lives: four of the longest
/// lines. It is what a stream's first window holds, too, so a sender that keeps to it never waits
/// for credit.
const MAX_CONTROL: usize = 4 * MAX_LINE;
