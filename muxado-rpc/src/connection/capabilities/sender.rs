//! This side's control stream: when it is opened, and what is said on it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use muxado::{ControlStreams, ErrorCode, Stream};
use tokio::time::{Sleep, sleep};

use super::line;
use crate::message::payload::OutboundMessage;

/// How far this side has got.
///
/// ```text
/// Silent ──▶ Waiting ──▶ Saying ──▶ Said ──▶ Saying (the last line) ──▶ Over
///    └────────────────────▲           └─────────── refused ──────────────▲
/// ```
pub(super) enum ControlSender {
    /// Nothing shows that the peer would listen.
    Silent,
    /// It would; there is no hurry.
    Waiting(Pin<Box<Sleep>>),
    Saying {
        stream: Stream,
        line: Box<OutboundMessage>,
        is_last: bool,
    },
    /// There is nothing more to say until the end.
    Said(Stream),
    Over,
}

/// What calls for something to be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// Somebody here wants to know of the peer, which says who it is once it hears of us.
    pub(super) is_asked: bool,
    /// Somebody waits for it, and this side shows that it has the extensions: it is told although nothing shows yet that
    /// the peer listens. One that does not refuses or answers that, and then all is known as well.
    pub(super) is_awaited: bool,
    /// The peer said who it is.
    pub(super) has_heard: bool,
    /// The connection drains, and calls under way have so much time.
    pub(super) drain: Option<Duration>,
}

/// Whether the peer listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// As far as is known.
    There,
    /// It has refused the stream.
    Gone,
}

impl ControlSender {
    /// Says what there is to be said, as far as the peer takes it.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        streams: &ControlStreams,
        wishes: Wishes,
        hello: impl Fn() -> Vec<u8>,
    ) -> Listener {
        while let Some(next) = self.next(cx, streams, wishes, &hello) {
            let was_open = matches!(self, Self::Saying { is_last: false, .. } | Self::Said(_));
            let is_over = matches!(next, Self::Over);
            *self = next;
            if was_open && is_over {
                return Listener::Gone;
            }
        }
        Listener::There
    }

    /// The state to go on with; `None` to stay in this one.
    fn next(
        &mut self,
        cx: &mut Context<'_>,
        streams: &ControlStreams,
        wishes: Wishes,
        hello: impl Fn() -> Vec<u8>,
    ) -> Option<Self> {
        let is_urgent = wishes.is_asked || wishes.is_awaited || wishes.has_heard;
        match self {
            // The go-away is enough, and no stream can be opened behind it.
            Self::Silent | Self::Waiting(_) if wishes.drain.is_some() => Some(Self::Over),
            Self::Silent if wishes.has_heard || wishes.is_awaited => Some(Self::begin(streams, hello())),
            Self::Silent => match streams.poll_extensions_negotiated(cx) {
                Poll::Ready(true) if is_urgent => Some(Self::begin(streams, hello())),
                Poll::Ready(true) => Some(Self::Waiting(Box::pin(sleep(SAID_AFTER)))),
                Poll::Ready(false) => Some(Self::Over),
                Poll::Pending => None,
            },
            Self::Waiting(timer) => {
                let is_due = is_urgent || timer.as_mut().poll(cx).is_ready();
                is_due.then(|| Self::begin(streams, hello()))
            }
            Self::Saying { .. } | Self::Said(_) => self.go_on(cx, wishes.drain),
            Self::Over => None,
        }
    }

    /// Writes what is left to a stream that is open, and notes its end.
    fn go_on(&mut self, cx: &mut Context<'_>, drain: Option<Duration>) -> Option<Self> {
        if let Self::Saying { stream, .. } | Self::Said(stream) = self
            && is_refused(cx, stream)
        {
            return Some(Self::Over);
        }
        let Self::Saying { stream, line, is_last } = self else {
            let line = Box::new(OutboundMessage::new(line::drain(drain?)));
            return self.take_stream().map(|stream| Self::Saying { stream, line, is_last: true });
        };
        let written = if *is_last {
            stream.poll_write_final(cx, &mut **line)
        } else {
            stream.poll_write_chunk(cx, &mut **line)
        };
        match written {
            Poll::Pending => None,
            Poll::Ready(Ok(())) if !*is_last => self.take_stream().map(Self::Said),
            Poll::Ready(_) => Some(Self::Over),
        }
    }

    fn begin(streams: &ControlStreams, hello: Vec<u8>) -> Self {
        match streams.open() {
            Ok(stream) => {
                Self::Saying { stream, line: Box::new(OutboundMessage::new(hello)), is_last: false }
            }
            Err(_) => Self::Over,
        }
    }

    fn take_stream(&mut self) -> Option<Stream> {
        match std::mem::replace(self, Self::Over) {
            Self::Saying { stream, .. } | Self::Said(stream) => Some(stream),
            Self::Silent | Self::Waiting(_) | Self::Over => None,
        }
    }
}

/// Whether the peer has reset the stream, or answers on it as though it were a call. That it ends
/// its own side means that it listens.
fn is_refused(cx: &mut Context<'_>, stream: &mut Stream) -> bool {
    match stream.poll_read_chunk(cx, usize::MAX) {
        Poll::Pending | Poll::Ready(Ok(None)) => false,
        Poll::Ready(Ok(Some(_))) => {
            stream.reset(ErrorCode::CANCELLED);
            true
        }
        Poll::Ready(Err(_)) => true,
    }
}

/// Time from the first sign that the peer is of this family until it is told about this side. Short
/// connections are spared the line, and no call shares a write with it in its first moments.
const SAID_AFTER: Duration = Duration::from_secs(1);
