//! What the peer's bytes do, and what of them waits to be read.
//!
//! Nothing here waits, and whatever the bytes oblige this side to is bounded.

use std::{sync::Arc, time::Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    buffer::{RecvBuffer, SHARE_FROM, SmallPieces},
    error::ProtocolError,
    event::Event,
    flow_control::{Moved, RecvWindow},
    frame::{Flags, FrameHeader, FrameType, HEADER_LEN, StreamId, TLS_ALERT, foreign_protocol, is_tls_alert},
    session::Session,
    store::StreamKey,
    stream::{FORGOTTEN, Owner, Reset},
};
use crate::{
    config::Config,
    error::{ErrorCode, GoAway, ReadError},
    log_limit::RareLogLimit,
};

/// Payload from which on a frame is large, in bytes.
const LARGE_FRAME: u32 = 32 * 1024;

/// Bytes of a go-away's text that are kept.
const MAX_DEBUG: usize = 4096;

/// Unread bytes of the session from which on payloads are copied, however large: a slice keeps the
/// whole read buffer alive, up to four times its size.
const SHARE_WHILE: usize = 4 * 1024 * 1024;

/// What an honest peer never sends: each byte of this side can be credited once.
const USELESS_CREDIT: &str = "more frames of credit than it was sent bytes";

/// What a stream has for its reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read<T> {
    /// This.
    Data(T),
    /// The peer finished the stream; all of it was read.
    Finished,
    /// Nothing yet; an [`Event::Readable`] follows.
    Pending,
}

/// The state of a receiving direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RecvState {
    /// More may come.
    Open,
    /// The peer's FIN came.
    Finished,
    /// A reset came first.
    Reset,
}

/// The receiving direction of a stream.
#[derive(Debug)]
pub(super) struct RecvHalf {
    state: RecvState,
    /// What comes is thrown away: the reading half's handle is gone.
    discards: bool,
    /// The reader copies what came.
    reads_by_copy: bool,
    /// Payload that came.
    received: Moved,
    window: RecvWindow,
    buffer: RecvBuffer,
}

impl RecvHalf {
    pub(super) fn new(window: u32) -> Self {
        Self {
            state: RecvState::Open,
            discards: false,
            reads_by_copy: false,
            received: Moved::default(),
            window: RecvWindow::new(window),
            buffer: RecvBuffer::default(),
        }
    }

    /// Returns whether more may come.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.state == RecvState::Open
    }

    /// Returns whether the peer's FIN came, and nothing in front of it was thrown away.
    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        self.state == RecvState::Finished
    }

    /// Returns whether a reset came first, or what came was thrown away.
    #[inline]
    pub(super) fn is_cut(&self) -> bool {
        self.state == RecvState::Reset
    }

    /// Returns how much payload came.
    #[inline]
    pub(super) const fn received(&self) -> Moved {
        self.received
    }

    /// Ends the direction, if it has not ended: nothing more comes.
    pub(super) fn cut(&mut self) {
        if self.state == RecvState::Open {
            self.state = RecvState::Reset;
        }
    }

    /// Throws away what comes from now on.
    pub(super) fn start_discarding(&mut self) {
        self.discards = true;
    }

    /// Returns how many bytes wait for the reader.
    #[inline]
    pub(super) fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the first unread bytes, as far as they lie in one piece.
    pub(super) fn front(&self) -> &[u8] {
        self.buffer.front()
    }

    /// Copies the first unread bytes into `dst` without taking them, and returns how many.
    pub(super) fn copy_front(&self, dst: &mut [u8]) -> usize {
        self.buffer.copy_front(dst)
    }

    #[inline]
    pub(super) const fn window(&self) -> &RecvWindow {
        &self.window
    }

    #[inline]
    pub(super) fn window_mut(&mut self) -> &mut RecvWindow {
        &mut self.window
    }

    pub(super) fn shrink(&mut self) {
        self.buffer.shrink();
    }
}

/// Where the next bytes from the peer belong.
#[derive(Clone, Copy, Debug)]
enum Incoming {
    /// A frame header is next.
    Header,
    /// Payload of a stream.
    Data { key: StreamKey, left: u32, fin: bool, large: bool },
    /// Payload of nobody.
    Skip { left: u32 },
    /// The text of `Recv::go_away`, of which a part is kept.
    Debug { left: u32 },
    /// Everything: the session has ended.
    Discard,
}

/// What came from the peer, on all streams.
#[derive(Debug)]
pub(super) struct Recv {
    incoming: Incoming,
    /// A go-away of which the text has not come yet, and what has come of it.
    go_away: Option<Box<(GoAway, Vec<u8>)>>,
    first_bytes_seen: bool,
    /// Frames of the last `receive` that had something for their streams.
    frames_delivered: usize,
    bytes_unread: usize,
    /// What small pieces are copied to.
    small: SmallPieces,
    frames_received: u64,
    bytes_received: u64,
    resets_received: u64,
    frame_log: Option<Arc<str>>,
    /// Streams reset because too much is unread.
    overfull_log: RareLogLimit,
}

impl Recv {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            incoming: Incoming::Header,
            go_away: None,
            first_bytes_seen: false,
            frames_delivered: 0,
            bytes_unread: 0,
            small: SmallPieces::default(),
            frames_received: 0,
            bytes_received: 0,
            resets_received: 0,
            frame_log: config.frame_log.clone(),
            overfull_log: RareLogLimit::default(),
        }
    }

    /// Returns how many frame headers were read.
    #[inline]
    pub(super) const fn frames_received(&self) -> u64 {
        self.frames_received
    }

    pub(super) const fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    pub(super) const fn resets_received(&self) -> u64 {
        self.resets_received
    }

    /// Returns how many received bytes nobody has read yet.
    pub(super) const fn bytes_unread(&self) -> usize {
        self.bytes_unread
    }

    /// Returns whether the next byte is not the first of a frame.
    pub(super) const fn is_mid_frame(&self) -> bool {
        !matches!(self.incoming, Incoming::Header)
    }

    /// Copies what a stream has into `dst`, as much as fits; returns how much.
    #[inline]
    pub(super) fn read(&mut self, half: &mut RecvHalf, dst: &mut impl BufMut) -> usize {
        half.reads_by_copy = true;
        let n = half.buffer.read(dst);
        self.bytes_unread -= n;
        n
    }

    /// Takes the next chunk of a stream into `chunk`, at most `max` bytes.
    #[inline]
    pub(super) fn pop(&mut self, half: &mut RecvHalf, max: usize, chunk: &mut Option<Bytes>) {
        *chunk = half.buffer.pop(max);
        self.bytes_unread -= chunk.as_ref().map_or(0, Bytes::len);
    }

    /// Takes all that a stream has.
    pub(super) fn take_unread(&mut self, half: &mut RecvHalf) -> RecvBuffer {
        self.bytes_unread -= half.buffer.len();
        std::mem::take(&mut half.buffer)
    }

    /// Drops what a stream has, and its end with it; returns how many bytes that were.
    pub(super) fn discard(&mut self, half: &mut RecvHalf) -> usize {
        let freed = half.buffer.clear();
        if freed > 0 && half.state == RecvState::Finished {
            // What was thrown away must not look as if it had never been there.
            half.state = RecvState::Reset;
        }
        self.bytes_unread -= freed;
        freed
    }

    /// Gives back memory that nothing is in.
    pub(super) fn shrink(&mut self) {
        self.small.shrink();
    }

    /// Stops counting what a stream has: the stream is dropped.
    pub(super) fn forget(&mut self, half: &RecvHalf) {
        self.bytes_unread -= half.buffer.len();
    }

    /// Skips what still comes of a frame, if it is one of this stream.
    #[inline]
    pub(super) fn skip_payload_of(&mut self, gone: StreamKey) {
        if let Incoming::Data { key, left, .. } = self.incoming
            && key == gone
        {
            self.incoming = Incoming::Skip { left };
        }
    }

    /// Reads nothing more that the peer sends, apart from its go-away if it may still come: the session has ended.
    /// `in_step` says that the peer broke no rule.
    pub(super) fn end(&mut self, in_step: bool) {
        self.incoming = match self.incoming {
            Incoming::Header if in_step => Incoming::Header,
            Incoming::Data { left, .. } | Incoming::Skip { left } | Incoming::Debug { left } if in_step => {
                Incoming::Skip { left }
            }
            _ => Incoming::Discard,
        };
    }

    /// Throws away everything that still comes.
    pub(super) fn discard_input(&mut self) {
        self.incoming = Incoming::Discard;
    }

    /// Takes the count of streams that were reset because too much was unread, and not logged.
    pub(super) fn take_suppressed_log(&mut self) -> Option<u64> {
        self.overfull_log.take_suppressed()
    }

    /// Notes what is left of a frame; returns whether it was handled completely.
    fn advance_frame(&mut self, rest: Incoming) -> bool {
        let done = matches!(
            rest,
            Incoming::Data { left: 0, .. } | Incoming::Skip { left: 0 } | Incoming::Debug { left: 0 }
        );
        self.incoming = if done { Incoming::Header } else { rest };
        done
    }

    fn skip(&mut self, left: u32, input: &mut Input<'_>) -> bool {
        let n = input.rest().len().min(left as usize);
        input.advance(n);
        self.advance_frame(Incoming::Skip { left: left - n as u32 })
    }

    /// Keeps the beginning of a go-away's text; returns the go-away once all of it has come.
    fn receive_debug(&mut self, left: u32, input: &mut Input<'_>) -> (bool, Option<GoAway>) {
        let n = input.rest().len().min(left as usize);
        let done = self.advance_frame(Incoming::Debug { left: left - n as u32 });
        if let Some((_, debug)) = self.go_away.as_deref_mut() {
            let keep = n.min(MAX_DEBUG.saturating_sub(debug.len()));
            debug.extend_from_slice(&input.rest()[..keep]);
        }
        input.advance(n);
        let go_away = if done { self.go_away.take() } else { None };
        (done, go_away.map(|go_away| GoAway { debug: go_away.1.into(), ..go_away.0 }))
    }
}

/// Bytes from the transport. What is taken in leaves the buffer at the end, in one step: to cut off each
/// header and payload would cost more than to read it.
struct Input<'a> {
    bytes: &'a mut BytesMut,
    taken: usize,
}

impl<'a> Input<'a> {
    const fn new(bytes: &'a mut BytesMut) -> Self {
        Self { bytes, taken: 0 }
    }

    /// Returns what is still to be taken in.
    #[inline]
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.taken += n;
    }

    /// Takes the next `n` bytes as a slice of the buffer.
    fn split_to(&mut self, n: usize) -> Bytes {
        self.drop_taken();
        self.bytes.split_to(n).freeze()
    }

    /// Removes what was taken in from the buffer.
    fn drop_taken(&mut self) {
        self.bytes.advance(std::mem::take(&mut self.taken));
    }
}

impl Session {
    /// Takes in bytes from the transport, leaving at most an incomplete header of at most 16 bytes.
    ///
    /// Payloads of 16 KiB and more are kept as slices of `bytes`; give a buffer that can be shared.
    pub fn receive(&mut self, bytes: &mut BytesMut, now: Instant) {
        self.receive_part(bytes, now, usize::MAX);
    }

    /// As [`receive`](Self::receive), but stops once so many frames had something for their streams. Returns true if it
    /// stopped for that, and the rest of `bytes` is still to be taken in. It does not stop for less than half of what it
    /// has taken in.
    pub fn receive_part(&mut self, bytes: &mut BytesMut, now: Instant, frames: usize) -> bool {
        self.recv.frames_delivered = 0;
        let before = bytes.len();
        self.timers.set_now(now);
        self.flow.note_input(now);
        self.heartbeats.note_activity(now, &mut self.timers);
        let mut input = Input::new(bytes);
        let more = loop {
            if self.recv.frames_delivered >= frames {
                let left = input.rest().len();
                if 2 * left >= before - left && self.is_before_data(input.rest()) {
                    break true;
                }
            }
            match self.step(&mut input, now) {
                Ok(true) => {}
                Ok(false) => break false,
                Err(error) => self.handle_violation(error),
            }
        };
        input.drop_taken();
        self.recv.bytes_received += (before - bytes.len()) as u64;
        self.note_use(now);
        // A stream that was still being sent may be gone.
        self.close_if_sent();
        self.end_drain_if_sent();
        more
    }

    /// Returns how many streams this side has opened since that of the frame that comes next: as many as are busy at a
    /// time, if each answer is followed by another stream. 0 for a stream of the peer's; `None` between the pieces of a frame
    /// and before one of more than 2 KiB.
    pub fn opened_since(&self, bytes: &[u8]) -> Option<usize> {
        let Incoming::Header = self.recv.incoming else { return None };
        let header = FrameHeader::decode(*bytes.first_chunk::<HEADER_LEN>()?);
        if header.length > 2048 {
            return None;
        }
        let next = self.store.next_id();
        let distance = next.checked_sub(header.stream_id).filter(|distance| distance % 2 == 0);
        Some(distance.unwrap_or(0) as usize / 2)
    }

    fn is_before_data(&self, bytes: &[u8]) -> bool {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return false };
        let header = FrameHeader::decode(*header);
        matches!(self.recv.incoming, Incoming::Header)
            && header.frame_type == FrameType::DATA
            && header.length > 0
            && !self.has_ended()
    }

    /// Returns how many bytes the next read should bring at most: the rest of a large frame with the header behind it, so
    /// that the payload of the next one comes in one piece. `usize::MAX` while there is no such bound.
    pub const fn best_read(&self) -> usize {
        match self.recv.incoming {
            Incoming::Data { left, large: true, .. } => left as usize + HEADER_LEN,
            _ => usize::MAX,
        }
    }

    /// Returns whether anything that was received waits for its reader.
    pub const fn has_unread(&self) -> bool {
        self.recv.bytes_unread > 0
    }

    /// Returns how many frames had something for their streams in the last [`receive`](Self::receive).
    pub const fn frames_delivered(&self) -> usize {
        self.recv.frames_delivered
    }

    /// Handles one frame or a piece of one; returns false once more bytes are needed.
    fn step(&mut self, input: &mut Input<'_>, now: Instant) -> Result<bool, ProtocolError> {
        match self.recv.incoming {
            Incoming::Header => self.step_header(input, now),
            Incoming::Data { key, left, fin, large } => {
                Ok(self.step_data(key, left, (fin, large), input, now))
            }
            Incoming::Skip { left } => Ok(self.recv.skip(left, input)),
            Incoming::Debug { left } => {
                let (done, go_away) = self.recv.receive_debug(left, input);
                if let Some(go_away) = go_away {
                    self.handle_go_away(go_away);
                }
                Ok(done)
            }
            Incoming::Discard => {
                input.advance(input.rest().len());
                Ok(false)
            }
        }
    }

    /// Hands on what there is of a stream's payload.
    fn step_data(
        &mut self,
        key: StreamKey,
        left: u32,
        (fin, large): (bool, bool),
        input: &mut Input<'_>,
        now: Instant,
    ) -> bool {
        let n = input.rest().len().min(left as usize);
        if n == 0 {
            return false;
        }
        let done = self.recv.advance_frame(Incoming::Data { key, left: left - n as u32, fin, large });
        self.handle_payload(key, input, n, now);
        if done && fin {
            self.handle_fin(key);
        }
        done
    }

    fn step_header(&mut self, input: &mut Input<'_>, now: Instant) -> Result<bool, ProtocolError> {
        let Some(header) = input.rest().first_chunk::<HEADER_LEN>() else {
            if !self.recv.first_bytes_seen && is_tls_alert(input.rest()) {
                return Err(ProtocolError::Foreign(TLS_ALERT));
            }
            return Ok(false);
        };
        if !self.recv.first_bytes_seen {
            if let Some(name) = foreign_protocol(header) {
                return Err(ProtocolError::Foreign(name));
            }
            self.recv.first_bytes_seen = true;
        }
        let header = FrameHeader::decode(*header);
        let received = self.recv.frames_received;
        let handled = self.handle_header(header, input, now);
        if self.recv.frames_received > received
            && let Some(name) = &self.recv.frame_log
        {
            tracing::info!(target: "muxado::frame", "{name} READ {header}");
        }
        handled
    }

    /// Handles a frame but for the payload of DATA; returns false if more of it is needed first.
    fn handle_header(
        &mut self,
        header: FrameHeader,
        input: &mut Input<'_>,
        now: Instant,
    ) -> Result<bool, ProtocolError> {
        match header.frame_type {
            // After the end only a go-away is of interest.
            other if self.has_ended() && other != FrameType::GOAWAY && !self.is_drained_by(header) => {
                input.advance(HEADER_LEN);
                self.recv.incoming = Incoming::Skip { left: header.length };
            }
            FrameType::DATA => {
                input.advance(HEADER_LEN);
                self.handle_data(header, now)?;
            }
            FrameType::RST | FrameType::WNDINC => {
                let id = stream_id(header)?;
                if header.length != 4 {
                    return Err(wrong_size(header, "4 bytes"));
                }
                let Some(value) = payload_u32(input.rest(), 0) else { return Ok(false) };
                input.advance(HEADER_LEN + 4);
                if header.frame_type == FrameType::RST {
                    self.handle_rst(id, ErrorCode::new(value))?;
                } else {
                    self.handle_wndinc(id, value & StreamId::MAX)?;
                }
            }
            FrameType::GOAWAY => {
                if header.length < 8 {
                    return Err(wrong_size(header, "8 bytes or more"));
                }
                let (last, code) = (payload_u32(input.rest(), 0), payload_u32(input.rest(), 4));
                let (Some(last), Some(code)) = (last, code) else { return Ok(false) };
                input.advance(HEADER_LEN + 8);
                let left = header.length - 8;
                if self.remote_go_away().is_some() {
                    self.recv.incoming = Incoming::Skip { left };
                    self.abuse.charge("repeated go-aways")?;
                } else {
                    self.recv.incoming = Incoming::Debug { left };
                    let code = ErrorCode::new(code);
                    let go_away = GoAway { code, last_stream_id: last, debug: Bytes::new() };
                    self.recv.go_away = Some(Box::new((go_away, Vec::new())));
                }
            }
            _ => {
                input.advance(HEADER_LEN);
                self.recv.incoming = Incoming::Skip { left: header.length };
                self.abuse.charge("frames of unknown types")?;
            }
        }
        self.recv.frames_received += 1;
        Ok(true)
    }

    /// Returns whether a frame concerns what is still being sent after the session's end, or opens a stream that is to
    /// be refused.
    fn is_drained_by(&self, header: FrameHeader) -> bool {
        let opens = header.frame_type == FrameType::DATA && header.flags.contains(Flags::SYN);
        self.is_draining()
            && matches!(header.frame_type, FrameType::DATA | FrameType::RST | FrameType::WNDINC)
            && StreamId::new(header.stream_id).is_some_and(|id| opens || self.store.is_id_taken(id))
    }

    fn handle_data(&mut self, header: FrameHeader, now: Instant) -> Result<(), ProtocolError> {
        let id = stream_id(header)?;
        let (syn, fin) = (header.flags.contains(Flags::SYN), header.flags.contains(Flags::FIN));
        self.recv.incoming = Incoming::Skip { left: header.length };
        let key = match (self.store.find(id), syn) {
            (Some(_), true) => return Err(ProtocolError::DuplicateSyn(id)),
            (None, true) => match self.handle_syn(id, header, now)? {
                Some(key) => key,
                None => return Ok(()),
            },
            (Some(key), false) => key,
            (None, false) => return self.handle_late_data(id, header.length),
        };
        if header.flags.contains(Flags::EXT) {
            self.note_extensions();
        }
        let Some(stream) = self.store.get_mut(key) else { return Ok(()) };
        let sign_of_acceptance = stream.opened_here() && !stream.is_acknowledged();
        let is_open = stream.recv.is_open();
        let over_window = header.length > stream.recv.window.left();
        self.abuse.reward_payload(header.length);
        if header.length == 0 && !syn && !fin && !sign_of_acceptance {
            self.abuse.charge("empty data frames")?;
        }
        if sign_of_acceptance {
            self.acknowledge(key);
        }
        if !is_open {
            // A repeated FIN is common; data behind one is not.
            if header.length > 0 {
                self.reset_with(key, ErrorCode::STREAM_CLOSED);
            }
            return self.abuse.charge("frames behind the end of a stream");
        }
        if over_window {
            self.reset_with(key, ErrorCode::FLOW_CONTROL_ERROR);
            return Ok(());
        }
        self.begin_payload(key, header.length, fin, now);
        Ok(())
    }

    /// Expects the payload of a frame that a stream has room for.
    fn begin_payload(&mut self, key: StreamKey, length: u32, fin: bool, now: Instant) {
        if length == 0 {
            self.recv.incoming = Incoming::Header;
            if fin {
                self.handle_fin(key);
            }
            return;
        }
        self.consider_growth(key, length, now);
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.recv.window.receive(length);
        let left = stream.recv.window.left();
        self.note_window(key, left, now);
        self.recv.frames_delivered += 1;
        self.recv.incoming = Incoming::Data { key, left: length, fin, large: length >= LARGE_FRAME };
    }

    fn handle_late_data(&mut self, id: StreamId, length: u32) -> Result<(), ProtocolError> {
        self.abuse.reward_payload(length);
        self.abuse.charge("data for streams that are closed")?;
        if self.is_probe(id, length) {
            // No second frame comes for its id, so nothing has to be remembered of it.
            return self.send.reply(id, ErrorCode::STREAM_CLOSED);
        }
        // The FIN of a stream that was reset meanwhile needs no answer.
        if length > 0 && !self.store.was_recently_reset(id) {
            self.store.note_reset(id);
            self.send.reply(id, ErrorCode::STREAM_CLOSED)?;
        }
        Ok(())
    }

    fn handle_rst(&mut self, id: StreamId, code: ErrorCode) -> Result<(), ProtocolError> {
        let Some(key) = self.store.find(id) else {
            if self.handle_probe_answer(id) {
                return Ok(());
            }
            let sent = self.send.bytes_sent();
            return self.abuse.charge_control("resets of streams that are closed", sent);
        };
        self.recv.resets_received += 1;
        let Some(stream) = self.store.get_mut(key) else { return Ok(()) };
        let owner = stream.owner();
        // A reset is never answered with one.
        stream.send.cancel_reset();
        let charged = self.charge_reset(key);
        self.store.note_reset(id);
        self.mark_reset(key, Reset::ByPeer(code));
        if owner == Owner::HeartbeatRequester {
            self.heartbeat_refused();
        }
        charged
    }

    fn handle_wndinc(&mut self, id: StreamId, credit: u32) -> Result<(), ProtocolError> {
        let sent = self.send.bytes_sent();
        let Some(key) = self.store.find(id) else {
            self.note_late_credit(id, credit);
            return self.abuse.charge_control(USELESS_CREDIT, sent);
        };
        self.acknowledge(key);
        if credit == 0 {
            return self.abuse.charge("empty credit");
        }
        self.abuse.charge_control(USELESS_CREDIT, sent)?;
        self.add_credit(key, credit);
        Ok(())
    }

    fn handle_go_away(&mut self, go_away: GoAway) {
        let last = go_away.last_stream_id;
        if !self.note_remote_go_away(go_away) {
            return;
        }
        for key in self.store.opened_after(last) {
            let owner = self.store.get(key).map(|stream| stream.owner());
            self.mark_reset(key, Reset::ByPeer(ErrorCode::REMOTE_GONE_AWAY));
            if owner == Some(Owner::HeartbeatRequester) {
                self.heartbeat_refused();
            }
        }
    }

    fn handle_payload(&mut self, key: StreamKey, input: &mut Input<'_>, mut n: usize, now: Instant) {
        let Some(stream) = self.store.get_mut(key) else {
            input.advance(n);
            return;
        };
        stream.recv.received.add(n);
        if let Some((taken, stream_type)) = stream.typing.take_in(&input.rest()[..n]) {
            stream.recv.window.consume(taken as u32);
            input.advance(taken);
            n -= taken;
            let Some(stream_type) = stream_type else {
                self.limit_typing(key, now);
                return;
            };
            self.handle_type(key, stream_type);
            if n == 0 {
                return;
            }
        }
        let Some(stream) = self.store.get_mut(key) else {
            input.advance(n);
            return;
        };
        if stream.owner().is_heartbeat() {
            self.handle_heartbeat_bytes(key, &input.rest()[..n], now);
            input.advance(n);
            self.consumed(key, n);
        } else if stream.recv.discards || stream.reset().is_some() {
            input.advance(n);
            self.consumed(key, n);
        } else {
            if n >= SHARE_FROM && self.recv.bytes_unread < SHARE_WHILE {
                stream.recv.buffer.push_shared(input.split_to(n));
            } else {
                let half = &mut stream.recv;
                half.buffer.push_copy(&input.rest()[..n], half.reads_by_copy, &mut self.recv.small);
                input.advance(n);
            }
            // Before it is accepted nobody can wait for it.
            if stream.owner() == Owner::Handle {
                self.events.push(Event::Readable(key));
            }
            self.recv.bytes_unread += n;
            self.bound_unread(now);
        }
    }

    fn handle_fin(&mut self, key: StreamKey) {
        let ended = self.has_ended();
        let Some(stream) = self.store.get_mut(key).filter(|stream| stream.recv.is_open()) else { return };
        // What came behind the session's end was thrown away: that is no end of data.
        stream.recv.state = if ended { RecvState::Reset } else { RecvState::Finished };
        self.begin_late_credit(key);
        let Some(stream) = self.store.get_mut(key) else { return };
        if stream.typing.is_awaited() {
            // It ended before it said what it was.
            return self.reset_with(key, ErrorCode::STREAM_RESET);
        }
        match stream.owner() {
            Owner::HeartbeatRequester => self.heartbeat_refused(),
            Owner::HeartbeatResponder(_) => {
                stream.send.finish();
                self.make_ready(key);
            }
            owner => {
                if owner == Owner::Handle && !self.events.ends_with(Event::Readable(key)) {
                    self.events.push(Event::Readable(key));
                }
                self.try_release(key);
            }
        }
    }

    /// Resets the fullest streams while more is unread than the session may hold; the reader never stops.
    #[inline]
    fn bound_unread(&mut self, now: Instant) {
        if self.recv.bytes_unread <= self.config.session_receive_memory / 4 {
            return;
        }
        self.press_credit();
        while self.recv.bytes_unread > self.config.session_receive_memory && self.reset_fullest(now) {}
    }

    fn reset_fullest(&mut self, now: Instant) -> bool {
        let fullest = self.store.iter().max_by_key(|(_, stream)| stream.recv.unread());
        let Some((key, stream)) = fullest else { return false };
        if let Some(line) = self.recv.overfull_log.admit(now) {
            tracing::warn!(stream = ?stream.id(), unread = stream.recv.unread(), suppressed = line.suppressed,
                "session holds more than Config::session_receive_memory unread; resetting the fullest stream");
        }
        self.discard_unread(key);
        self.reset_with(key, ErrorCode::ENHANCE_YOUR_CALM);
        true
    }

    /// Drops what a stream has for its reader; returns how many bytes that were.
    pub(super) fn discard_unread(&mut self, key: StreamKey) -> usize {
        self.store.get_mut(key).map_or(0, |stream| self.recv.discard(&mut stream.recv))
    }

    /// Throws away what comes on a stream from now on, and what is unread: the reading half's handle is gone, while the
    /// writing half lives.
    pub fn stop_reading(&mut self, key: StreamKey) {
        let freed = self.discard_unread(key);
        if let Some(stream) = self.store.get_mut(key) {
            stream.recv.start_discarding();
            self.consumed(key, freed);
        }
    }

    /// Takes the next received chunk, at most `max` bytes of it, without copying.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended, and all that came before was read.
    #[inline]
    pub fn read_chunk(&mut self, key: StreamKey, max: usize) -> Result<Read<Bytes>, ReadError> {
        let mut chunk = None;
        let read = self.take_chunk(key, max, &mut chunk)?;
        Ok(match (read, chunk) {
            (Read::Finished, _) => Read::Finished,
            (Read::Data(()), Some(chunk)) => Read::Data(chunk),
            (Read::Pending | Read::Data(()), _) => Read::Pending,
        })
    }

    /// Puts the next received chunk into `chunk`, as [`read_chunk`](Self::read_chunk) returns it, which costs no moves on
    /// the way.
    ///
    /// # Errors
    ///
    /// As [`read_chunk`](Self::read_chunk).
    #[inline]
    pub fn take_chunk(
        &mut self,
        key: StreamKey,
        max: usize,
        chunk: &mut Option<Bytes>,
    ) -> Result<Read<()>, ReadError> {
        let Some(stream) = self.store.get_mut(key) else { return Err(self.forgotten()) };
        stream.stall.note_read();
        self.recv.pop(&mut stream.recv, max.max(1), chunk);
        let Some(len) = chunk.as_ref().map(Bytes::len) else { return self.end_of(key) };
        self.consumed(key, len);
        Ok(Read::Data(()))
    }

    /// Copies received bytes into `dst`, as many as fit; returns how many.
    ///
    /// # Errors
    ///
    /// As [`read_chunk`](Self::read_chunk).
    pub fn read(&mut self, key: StreamKey, dst: &mut impl BufMut) -> Result<Read<usize>, ReadError> {
        let Some(stream) = self.store.get_mut(key) else { return Err(self.forgotten()) };
        stream.stall.note_read();
        let n = self.recv.read(&mut stream.recv, dst);
        if n == 0 && dst.has_remaining_mut() {
            return self.end_of(key);
        }
        self.consumed(key, n);
        Ok(Read::Data(n))
    }

    /// Returns what a reader finds where nothing is left to be read.
    fn end_of<T>(&self, key: StreamKey) -> Result<Read<T>, ReadError> {
        if self.store.get(key).is_some_and(|stream| stream.recv.is_finished()) {
            return Ok(Read::Finished);
        }
        self.failure(key).map_or(Ok(Read::Pending), Err)
    }

    fn forgotten(&self) -> ReadError {
        ReadError::SessionClosed(self.local_end().cloned().unwrap_or(FORGOTTEN))
    }
}

fn stream_id(header: FrameHeader) -> Result<StreamId, ProtocolError> {
    let FrameHeader { frame_type, stream_id, .. } = header;
    StreamId::new(stream_id).ok_or(ProtocolError::StreamIdOutOfRange { frame_type, stream_id })
}

fn wrong_size(header: FrameHeader, expected: &'static str) -> ProtocolError {
    let FrameHeader { length, frame_type, stream_id, .. } = header;
    ProtocolError::FrameSize { frame_type, length, stream_id, expected }
}

fn payload_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(HEADER_LEN + at..)?.first_chunk().map(|value| u32::from_be_bytes(*value))
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::proto::{Outbox, Side};

    /// The output of a side that has opened so many streams, with so many bytes each.
    fn opened(session: &mut Session, streams: usize, len: usize) -> BytesMut {
        let (mut out, mut bytes) = (Outbox::default(), BytesMut::new());
        for _ in 0..streams {
            let key = session.open(None).unwrap();
            session.write(key, &mut &vec![b'x'; len][..]).unwrap();
        }
        session.transmit(&mut out, Instant::now());
        while out.has_remaining() {
            let len = out.chunk().len();
            bytes.extend_from_slice(out.chunk());
            out.advance(len);
        }
        bytes
    }

    fn pair() -> [Session; 2] {
        [Side::Client, Side::Server].map(|side| Session::new(side, Config::default()))
    }

    #[test]
    fn part_stops_after_its_frames_unless_little_is_left() {
        let [mut client, mut server] = pair();
        let mut bytes = opened(&mut client, 64, 32);
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let more = server.receive_part(&mut bytes, Instant::now(), 20);
            assert_eq!(more, !bytes.is_empty());
            parts.push(server.frames_delivered());
        }
        assert_eq!(parts, [20, 20, 24]);
    }

    #[test]
    fn streams_since_that_of_the_next_frame_are_counted() {
        let [mut client, server] = pair();
        let requests = opened(&mut client, 5, 32);
        assert_eq!(server.opened_since(&requests), Some(0), "it is the peer's");
        assert_eq!(server.opened_since(&requests[..5]), None, "it is not here yet");
        // The same bytes as an answer to the first of five.
        assert_eq!(client.opened_since(&requests), Some(5));
        assert_eq!(server.opened_since(&opened(&mut client, 1, 4096)), None, "it is a large one");
    }
}
