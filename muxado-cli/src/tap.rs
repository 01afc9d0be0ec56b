//! The frames of a connection, shown as they pass.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use muxado::{
    ErrorCode,
    proto::{FrameHeader, FrameType, HEADER_LEN},
};
use muxado_rpc::BoxIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport that shows each frame that is read or written, one line each on standard error.
pub(crate) struct Tap {
    io: BoxIo,
    read: Frames,
    written: Frames,
}

impl Tap {
    pub(crate) fn new(io: BoxIo) -> Self {
        Self { io, read: Frames::new("<--"), written: Frames::new("-->") }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.read.pass(&buf.filled()[before..], show);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.written.pass(&bytes[..written], show);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn show(line: fmt::Arguments<'_>) {
    _ = io::Write::write_fmt(&mut io::stderr().lock(), format_args!("{line}\n"));
}

/// The frames of one direction.
struct Frames {
    arrow: &'static str,
    /// What has come of a header.
    header: Vec<u8>,
    current: Option<FrameHeader>,
    /// How many bytes of the payload of the current frame are still to come.
    left: usize,
    /// The beginning of the payload, if the frame is one whose payload says something.
    payload: Vec<u8>,
}

/// Bytes of a payload that are looked at: those of an id and a code.
const SHOWN: usize = 8;

impl Frames {
    fn new(arrow: &'static str) -> Self {
        Self { arrow, header: Vec::new(), current: None, left: 0, payload: Vec::new() }
    }

    /// Looks at bytes that pass.
    fn pass(&mut self, mut bytes: &[u8], mut show: impl FnMut(fmt::Arguments<'_>)) {
        while !bytes.is_empty() {
            match self.current {
                None => {
                    let (now, later) = bytes.split_at(bytes.len().min(HEADER_LEN - self.header.len()));
                    self.header.extend_from_slice(now);
                    bytes = later;
                    if let Ok(header) = <[u8; HEADER_LEN]>::try_from(&*self.header) {
                        self.begin(FrameHeader::decode(header));
                    }
                }
                Some(_) => {
                    let (now, later) = bytes.split_at(bytes.len().min(self.left));
                    let room = SHOWN - self.payload.len();
                    self.payload.extend_from_slice(&now[..now.len().min(room)]);
                    self.left -= now.len();
                    bytes = later;
                }
            }
            if let (Some(header), 0) = (self.current, self.left) {
                show(format_args!("{} {}", self.arrow, self.line(header)));
                (self.current, self.payload) = (None, Vec::new());
            }
        }
    }

    fn begin(&mut self, header: FrameHeader) {
        self.header.clear();
        self.left = header.length as usize;
        self.current = Some(header);
    }

    fn line(&self, header: FrameHeader) -> String {
        let FrameHeader { length, frame_type, flags, stream_id: stream } = header;
        let number = |at: usize| {
            let bytes = self.payload.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
            bytes.map_or(0, u32::from_be_bytes)
        };
        match frame_type {
            FrameType::DATA => format!("DATA   stream {stream}  {flags}  {length} bytes"),
            FrameType::RST => format!("RST    stream {stream}  {}", ErrorCode::new(number(0))),
            FrameType::WNDINC => format!("WNDINC stream {stream}  {} bytes of credit", number(0)),
            FrameType::GOAWAY => format!("GOAWAY {}, last stream {}", ErrorCode::new(number(4)), number(0)),
            other => format!("{other} stream {stream}  {length} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use muxado::proto::Flags;

    use super::*;

    #[test]
    fn frames_are_shown_however_the_bytes_come() {
        let mut bytes = FrameHeader::data(3, Flags::SYN.with(Flags::FIN), 5).encode().to_vec();
        bytes.extend(b"hello");
        bytes.extend([0, 0, 4, 0x20, 0, 0, 0, 3, 0, 0, 1, 0]);
        bytes.extend([0, 0, 4, 0x00, 0, 0, 0, 3, 0, 0, 0, 8]);
        for piece in [1, 3, bytes.len()] {
            let (mut frames, mut lines) = (Frames::new("<--"), Vec::new());
            for bytes in bytes.chunks(piece) {
                frames.pass(bytes, |line| lines.push(line.to_string()));
            }
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert_eq!(lines[0], "<-- DATA   stream 3  SYN|FIN  5 bytes");
            assert_eq!(lines[1], "<-- WNDINC stream 3  256 bytes of credit");
            assert!(lines[2].starts_with("<-- RST    stream 3  "), "{lines:?}");
        }
    }
}
