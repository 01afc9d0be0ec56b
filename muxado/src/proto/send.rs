//! What goes to the peer, and in which order.
//!
//! Control frames first, then a frame of each stream in turn. A small write whose stream has
//! nothing queued goes straight into the output; the output is short, so it overtakes bulk data and
//! is not held up by it.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    error::ProtocolError,
    event::Event,
    flow_control::{Moved, SendWindow},
    frame::{Flags, FrameHeader, FrameType, HEADER_LEN, StreamId},
    heartbeat::Echo,
    outbox::{Outbox, SendQueue, Source},
    peer_memory::{Bulk, FREE},
    probe::PROBE,
    session::Session,
    store::StreamKey,
    stream::{FORGOTTEN, Owner, Reset, Stream},
};
use crate::{
    config::Config,
    error::{ErrorCode, WriteError},
};

/// Output built at a time, in bytes, with its headers: what a small write may have to wait for. It is what a
/// segment of TCP over a loopback interface holds (65 483 bytes with IPv4, 65 463 with IPv6). What is over goes as a
/// segment of its own, and a few bytes then cost as much as all the others.
const BATCH: usize = 64 * 1024 - 128;

/// Most payload of one frame, in bytes. A batch has room for it, its header, and the credit for some streams.
pub(crate) const FRAME: usize = BATCH - 128;

/// Bytes that the frame of a lone stream may be longer, if nothing is left then: a small rest would cost a frame, a write
/// and a read more. With others it goes in a batch with theirs: a longer one would be two segments.
const REST: usize = 512;

/// Most payload of a frame to a legacy peer while several streams have data, in bytes: it takes a frame whole before
/// anything of it gets to its reader. Four make a batch.
const LEGACY_FRAME: usize = FRAME / 4 - HEADER_LEN;

/// Room in a batch from which on a frame is cut to it. Where there is less, what does not fit waits for the next
/// batch: the reader of a message needs all of it.
const CUT_FROM: usize = BATCH / 2;

/// Largest write that goes straight into the output, in bytes.
const SMALL: usize = 16 * 1024;

/// Largest write that may make a batch longer than it should be, in bytes: of so small ones there are many in it, and
/// one segment more for all of them is little.
const TINY: usize = 1024;

/// Output up to which a tiny write goes straight into it, in bytes.
const DIRECT: usize = 2 * BATCH;

/// Least bytes of window for which a frame is sent, unless it ends the queue.
const MIN_PIECE: usize = 256;

/// Bytes of a go-away's text that are sent.
const MAX_DEBUG: usize = 1024;

/// Most replies to unknown streams that may wait to be sent: 64 KiB of frames.
const MAX_REPLIES: usize = 64 * 1024 / 12;

/// Whether the FIN goes with the last byte written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// More is to come.
    No,
    /// The stream ends behind these bytes.
    Yes,
}

/// The state of a sending direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SendState {
    /// More may be written.
    Open,
    /// The FIN follows what is queued.
    Finishing,
    /// The FIN was sent, or the stream was reset.
    Done,
}

/// The sending direction of a stream.
#[derive(Debug)]
pub(super) struct SendHalf {
    state: SendState,
    /// A DATA frame was sent.
    data_sent: bool,
    /// The peer is to be told of the stream now, even if there is nothing else to say.
    announce: bool,
    /// A writer waits for room.
    write_blocked: bool,
    /// It is in `Send::ready`.
    in_ready: bool,
    /// It is in `Send::pending_control`.
    in_pending_control: bool,
    /// It is in `Send::waiting_writers`.
    in_waiting_writers: bool,
    /// An empty frame is to be sent that says that the stream was taken.
    pending_acknowledgement: bool,
    /// The stream's reset is to be sent.
    pending_reset: bool,
    /// The four type bytes, until they leave in front of the first data.
    prefix: Option<[u8; 4]>,
    window: SendWindow,
    bulk: Bulk,
    /// Payload that was put into frames.
    sent: Moved,
    queue: SendQueue,
}

impl SendHalf {
    pub(super) fn new(window: u32) -> Self {
        Self {
            state: SendState::Open,
            data_sent: false,
            announce: false,
            write_blocked: false,
            in_ready: false,
            in_pending_control: false,
            in_waiting_writers: false,
            pending_acknowledgement: false,
            pending_reset: false,
            prefix: None,
            window: SendWindow::new(window),
            bulk: Bulk::default(),
            sent: Moved::default(),
            queue: SendQueue::default(),
        }
    }

    /// Puts this type in front of the first data.
    pub(super) fn set_type(&mut self, stream_type: u32) {
        self.prefix = Some(stream_type.to_be_bytes());
    }

    /// Returns whether the FIN was sent, or the stream was reset.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.state == SendState::Done
    }

    /// Returns whether the FIN follows what is queued.
    #[inline]
    pub(super) fn is_finishing(&self) -> bool {
        self.state == SendState::Finishing
    }

    /// Has the FIN follow what is queued, if the direction is open.
    pub(super) fn finish(&mut self) {
        if self.state == SendState::Open {
            self.state = SendState::Finishing;
        }
    }

    /// Returns whether a reset is to be sent.
    #[inline]
    pub(super) const fn has_pending_reset(&self) -> bool {
        self.pending_reset
    }

    /// Sends no reset, because the peer sent one.
    pub(super) fn cancel_reset(&mut self) {
        self.pending_reset = false;
    }

    /// Notes that the lists of streams to be served are gone: the session has ended.
    pub(super) fn leave_lists(&mut self) {
        self.in_ready = false;
        self.in_pending_control = false;
    }

    /// Stops being in the list of streams that have something to send.
    pub(super) fn leave_ready(&mut self) {
        self.in_ready = false;
    }

    /// Returns whether the stream is in the list of those that have a control frame to send.
    pub(super) const fn is_in_pending_control(&self) -> bool {
        self.in_pending_control
    }

    #[inline]
    pub(super) const fn window(&self) -> &SendWindow {
        &self.window
    }

    #[inline]
    pub(super) const fn bulk(&self) -> &Bulk {
        &self.bulk
    }

    #[inline]
    pub(super) fn bulk_mut(&mut self) -> &mut Bulk {
        &mut self.bulk
    }

    /// Returns whether there is anything under way that counts against the peer's memory, or waits for it.
    #[inline]
    pub(super) const fn has_bulk(&self) -> bool {
        self.sent.exceeds(FREE) || self.bulk.awaits_room()
    }

    /// Returns how much payload was put into frames.
    #[inline]
    pub(super) const fn sent(&self) -> Moved {
        self.sent
    }

    /// Returns how many written bytes are not in frames yet.
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether something is to be sent, and the peer takes nothing.
    pub(super) fn awaits_credit(&self) -> bool {
        let holds = !self.queue.is_empty() && self.sendable() == 0;
        let keeps_waiting = self.write_blocked && self.window_left() == 0;
        self.state != SendState::Done && (holds || keeps_waiting)
    }

    /// Returns how many bytes of data the peer has room for: in the window, and in its memory.
    #[inline]
    fn window_left(&self) -> usize {
        if self.bulk.awaits_room() {
            return 0;
        }
        usize::try_from(self.window.left().saturating_sub(self.prefix_len())).unwrap_or(usize::MAX)
    }

    /// Returns how many bytes are queued and within the window. Crumbs of a window are saved up: a peer that grants a
    /// byte at a time gets no frame a byte.
    #[inline]
    fn sendable(&self) -> usize {
        let n = self.queue.len().min(self.window_left());
        if n < self.queue.len().min(MIN_PIECE) { 0 } else { n }
    }

    /// Returns how many bytes of data the window has room for beside what is queued.
    #[inline]
    pub(super) fn window_room(&self) -> usize {
        self.window_left().saturating_sub(self.queue.len())
    }

    /// Returns the length of the type that has yet to leave.
    #[inline]
    fn prefix_len(&self) -> u64 {
        if self.prefix.is_some() { 4 } else { 0 }
    }

    pub(super) fn shrink(&mut self) {
        self.queue.shrink();
    }
}

impl Stream {
    /// Returns whether there is something that may be sent now: an echo, data within the window, or a FIN.
    #[inline]
    fn can_send(&self) -> bool {
        if self.reset().is_some() {
            return false;
        }
        if let Owner::HeartbeatResponder(echo) = self.owner()
            && echo.is_pending()
        {
            return self.send.window.left() >= Echo::LEN;
        }
        if self.send.queue.is_empty() {
            return self.send.is_finishing() || (self.send.announce && self.id().is_none());
        }
        self.send.sendable() > 0
    }
}

/// What is to be sent, of all streams.
#[derive(Debug)]
pub(super) struct Send {
    out: Outbox,
    /// Streams with something that may be sent now.
    ready: VecDeque<StreamKey>,
    /// Streams with a reset, an acknowledgement, or credit to be sent.
    pending_control: VecDeque<StreamKey>,
    /// Resets for streams that are not known.
    replies: VecDeque<(StreamId, ErrorCode)>,
    /// The stream, which there is not, to which a probe is to be sent.
    pending_probe: Option<StreamId>,
    pending_go_away: bool,
    /// Streams whose writers wait for room in the session's buffer.
    waiting_writers: VecDeque<StreamKey>,
    bytes_unsent: usize,
    /// Those of them that the windows of their streams have no room for.
    bytes_stalled: usize,
    /// A frame was sent that shows that this side has the protocol extensions.
    extensions_shown: bool,
    /// The last batch had no room for any of the streams that were ready.
    turns_missed: bool,
    frames_sent: u64,
    bytes_sent: u64,
    resets_sent: u64,
    window_stalls: u64,
    frame_log: Option<Arc<str>>,
}

impl Send {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            out: Outbox::default(),
            ready: VecDeque::new(),
            pending_control: VecDeque::new(),
            replies: VecDeque::new(),
            pending_probe: None,
            pending_go_away: false,
            waiting_writers: VecDeque::new(),
            bytes_unsent: 0,
            bytes_stalled: 0,
            extensions_shown: false,
            turns_missed: false,
            frames_sent: 0,
            bytes_sent: 0,
            resets_sent: 0,
            window_stalls: 0,
            frame_log: config.frame_log.clone(),
        }
    }

    /// Returns how many frames were put into the output.
    #[inline]
    pub(super) const fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    /// Returns whether a frame was sent that shows that this side has the protocol extensions.
    #[inline]
    pub(super) const fn extensions_shown(&self) -> bool {
        self.extensions_shown
    }

    /// Returns how many bytes were given to the driver.
    #[inline]
    pub(super) const fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    pub(super) const fn resets_sent(&self) -> u64 {
        self.resets_sent
    }

    /// Returns how often a stream had data to send and no window.
    pub(super) const fn window_stalls(&self) -> u64 {
        self.window_stalls
    }

    /// Returns how many written bytes are not in frames yet.
    pub(super) const fn bytes_unsent(&self) -> usize {
        self.bytes_unsent
    }

    /// Returns for how many of the unsent bytes the peer gives no credit.
    pub(super) const fn bytes_stalled(&self) -> usize {
        self.bytes_stalled
    }

    /// Answers data for an unknown stream with a reset.
    pub(super) fn reply(&mut self, id: StreamId, code: ErrorCode) -> Result<(), ProtocolError> {
        if self.replies.len() >= MAX_REPLIES {
            return Err(ProtocolError::Excessive("over 64 KiB of answers that it does not read"));
        }
        self.replies.push_back((id, code));
        Ok(())
    }

    /// Sends a go-away after which the session goes on.
    pub(super) fn queue_go_away(&mut self) {
        self.pending_go_away = true;
    }

    /// Ends a direction that is reset; what was not sent is dropped.
    pub(super) fn end(&mut self, half: &mut SendHalf) {
        half.state = SendState::Done;
        self.drop_queued(half);
    }

    /// Drops what is queued.
    pub(super) fn drop_queued(&mut self, half: &mut SendHalf) {
        self.forget(half);
        half.queue.clear();
    }

    /// Stops counting what is queued: the stream is dropped.
    pub(super) fn forget(&mut self, half: &SendHalf) {
        self.bytes_unsent -= half.queue.len();
        self.bytes_stalled -= half.queue.stalled();
    }

    /// Counts anew what of a stream's queue the peer has no room for; returns how much that is.
    #[inline]
    fn recount_stalled(&mut self, half: &mut SendHalf) -> usize {
        let stalled = half.queue.len() - half.sendable();
        let before = half.queue.note_stalled(stalled);
        self.bytes_stalled = self.bytes_stalled + stalled - before;
        stalled
    }

    /// Sends a probe on this id, which no stream has.
    pub(super) fn queue_probe(&mut self, id: StreamId) {
        self.pending_probe = Some(id);
    }

    /// Drops what is in the output: nothing is written any more.
    pub(super) fn drop_output(&mut self) {
        self.out = Outbox::default();
    }

    /// Forgets who has something to be sent.
    pub(super) fn clear_lists(&mut self) {
        self.ready.clear();
        self.pending_control.clear();
        self.replies.clear();
        self.pending_probe = None;
        self.waiting_writers.clear();
    }

    fn put_header(&mut self, header: FrameHeader) {
        self.frames_sent += 1;
        if let Some(name) = &self.frame_log {
            tracing::info!(target: "muxado::frame", "{name} WRITE {header}");
        }
        self.out.put_header(header);
    }

    fn put_u32_frame(&mut self, frame_type: FrameType, id: StreamId, value: u32) {
        self.put_header(FrameHeader { length: 4, frame_type, flags: Flags::NONE, stream_id: id.as_u32() });
        self.out.put_u32(value);
    }

    fn put_reset(&mut self, id: StreamId, code: ErrorCode) {
        self.put_u32_frame(FrameType::RST, id, code.as_u32());
        self.resets_sent += 1;
    }

    /// Puts a go-away into the output.
    pub(super) fn put_go_away(&mut self, last: u32, code: ErrorCode, debug: &Bytes) {
        let debug = debug.get(..MAX_DEBUG).unwrap_or(debug);
        let (frame_type, length) = (FrameType::GOAWAY, 8 + debug.len() as u32);
        self.put_header(FrameHeader { length, frame_type, flags: Flags::NONE, stream_id: 0 });
        self.out.put_u32(last);
        self.out.put_u32(code.as_u32());
        self.out.put_slice(debug);
    }

    pub(super) fn shrink(&mut self) {
        self.out.shrink();
        self.replies.shrink_to_fit();
        for keys in [&mut self.ready, &mut self.pending_control, &mut self.waiting_writers] {
            keys.shrink_to_fit();
        }
    }
}

/// Bytes that may be taken from a writer.
#[derive(Clone, Copy, Default)]
struct SendRoom {
    /// As far as the peer is concerned.
    window: usize,
    within_window: usize,
    beyond_window: usize,
}

/// What becomes of a stream's FIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fin {
    No,
    Sent,
    /// It follows in a frame of its own.
    Apart,
}

/// What the application writes.
impl Session {
    /// Takes bytes to be sent from the front of `src`, as many as there is room for; returns how many.
    /// Where that is not all, an [`Event::Writable`] follows.
    ///
    /// # Errors
    ///
    /// When the stream was finished or reset, or the session ended.
    pub fn write(&mut self, key: StreamKey, src: &mut impl Source) -> Result<usize, WriteError> {
        self.write_with(key, src, Finish::No)
    }

    /// Takes bytes to be sent as [`write`](Self::write) does, and with [`Finish::Yes`] sends a FIN behind the last
    /// byte if all were taken. An empty `src` then finishes at once.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_with(
        &mut self,
        key: StreamKey,
        src: &mut impl Source,
        finish: Finish,
    ) -> Result<usize, WriteError> {
        self.writable(key)?;
        let len = src.remaining();
        if self.write_direct(key, src, finish) {
            return Ok(len);
        }
        let room = self.send_room(key);
        let window = room.window;
        let Some(stream) = self.store.get_mut(key) else { return Ok(0) };
        let is_held_up = self.peer_memory.holds_up(stream);
        let half = &mut stream.send;
        let mut most = room.within_window + room.beyond_window;
        if most < len {
            // Of what does not fit, whole frames: a small rest would be one of its own before more is written.
            let queued = half.queue.len();
            let frames = (queued + most) / FRAME * FRAME;
            most = if frames == 0 { most } else { frames.saturating_sub(queued) };
        }
        let taken = half.queue.push(src, most);
        let mut waits_for_session = false;
        if taken < len {
            half.write_blocked = true;
            waits_for_session =
                room.within_window < window && !std::mem::replace(&mut half.in_waiting_writers, true);
        } else if finish == Finish::Yes {
            half.state = SendState::Finishing;
        }
        self.send.bytes_unsent += taken;
        self.send.window_stalls += u64::from(taken < len && window < len);
        if waits_for_session {
            self.send.waiting_writers.push_back(key);
            self.store.prune(&mut self.send.waiting_writers);
        }
        if taken < len && window == 0 {
            self.watch_for_stall(key);
        }
        if taken < len && is_held_up {
            self.wait_for_room(key);
        }
        self.recount_stalled(key);
        self.make_ready(key);
        Ok(taken)
    }

    /// Returns how much a stream's writer may hand over now.
    ///
    /// What the peer's window has no room for has a budget of its own: streams that nobody reads
    /// must not hold the buffers of those that are read.
    fn send_room(&self, key: StreamKey) -> SendRoom {
        let Some(stream) = self.store.get(key) else { return SendRoom::default() };
        let (half, send) = (&stream.send, &self.send);
        let budget = self.config.session_send_buffer;
        let stream_room = self.config.stream_send_buffer.saturating_sub(half.queue.len());
        let moving = send.bytes_unsent - send.bytes_stalled;
        let (window, free) = self.peer_memory.writable(stream);
        // Credit can turn any amount of stalled bytes into moving ones, so there is a bound for both. A part is kept
        // for what never waits for the peer's memory: that of others, which do, must not hold it up.
        let all = (2 * budget).saturating_sub(send.bytes_unsent);
        let unused = if free < window { all.saturating_sub(budget / 4).max(free.min(all)) } else { all };
        let within_window = window.min(budget.saturating_sub(moving)).min(stream_room).min(unused);
        let both = unused - within_window;
        let beyond_window = if within_window == window {
            budget.saturating_sub(send.bytes_stalled).min(both).min(stream_room - within_window)
        } else {
            0
        };
        SendRoom { window, within_window, beyond_window }
    }

    fn writable(&self, key: StreamKey) -> Result<(), WriteError> {
        let end = self.local_end();
        let Some(stream) = self.store.get(key) else {
            return Err(WriteError::SessionClosed(end.cloned().unwrap_or(FORGOTTEN)));
        };
        match (stream.reset(), end) {
            (Some(Reset::ByPeer(code)), _) => Err(WriteError::Reset(code)),
            (Some(Reset::Locally(code)), _) => Err(WriteError::ResetLocally(code)),
            (None, Some(end)) => Err(WriteError::SessionClosed(end.clone())),
            (None, None) if stream.send.state != SendState::Open => Err(WriteError::Finished),
            (None, None) => Ok(()),
        }
    }

    /// Sends a FIN behind what was written. Finishing twice is harmless.
    ///
    /// # Errors
    ///
    /// When the stream was reset or the session ended.
    pub fn finish(&mut self, key: StreamKey) -> Result<(), WriteError> {
        match self.write_with(key, &mut &[][..], Finish::Yes) {
            Ok(_) | Err(WriteError::Finished) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets the peer know of a stream before there is anything to say on it: by an empty frame, or by one with
    /// its type. Of a stream that it knows of, nothing is sent.
    pub fn announce(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key).filter(|stream| stream.id().is_none()) {
            stream.send.announce = true;
            self.make_ready(key);
        }
    }

    /// Returns whether all that was written is in the output, and what announces the stream at least. If not, an
    /// [`Event::Writable`] follows.
    ///
    /// # Errors
    ///
    /// When the stream was reset, or the session ended.
    pub fn poll_sent(&mut self, key: StreamKey) -> Result<bool, WriteError> {
        match self.writable(key) {
            Ok(()) | Err(WriteError::Finished) => {}
            Err(error) => return Err(error),
        }
        self.announce(key);
        let Some(stream) = self.store.get_mut(key) else { return Ok(true) };
        let is_named = stream.id().is_some();
        let half = &mut stream.send;
        let sent = half.queue.is_empty() && is_named && !half.is_finishing();
        half.write_blocked |= !sent;
        Ok(sent)
    }

    /// Returns whether all that was written has been put into frames.
    pub fn is_sent(&self, key: StreamKey) -> bool {
        self.store.get(key).is_none_or(|stream| stream.send.queue.is_empty())
    }

    /// Puts a small write into the output at once, if nothing of its stream is queued before it.
    fn write_direct(&mut self, key: StreamKey, src: &mut impl Source, finish: Finish) -> bool {
        let len = src.remaining();
        let most = if len <= TINY { DIRECT } else { BATCH - HEADER_LEN };
        let room = self.send.out.len() + len <= most;
        let Some(stream) = self.store.get_mut(key) else { return false };
        let half = &mut stream.send;
        let total = len as u64 + half.prefix_len();
        let may_go = self.peer_memory.allows(&half.bulk, half.window.left(), total);
        let fits = room && len <= SMALL && half.queue.is_empty() && may_go;
        if !fits || (len == 0 && finish == Finish::No) {
            return false;
        }
        if finish == Finish::Yes {
            half.state = SendState::Finishing;
        }
        self.put_data(key, src, len);
        true
    }

    pub(super) fn wake_writer(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key).filter(|stream| stream.send.write_blocked) {
            stream.send.write_blocked = false;
            self.events.push(Event::Writable(key));
        }
    }
}

/// What is to be sent, and when.
impl Session {
    /// Returns whether [`transmit`](Self::transmit) would have something.
    pub fn wants_transmit(&self) -> bool {
        let send = &self.send;
        !send.out.is_empty()
            || !send.ready.is_empty()
            || !send.pending_control.is_empty()
            || !send.replies.is_empty()
            || send.pending_probe.is_some()
            || send.pending_go_away
            || self.has_late_credit()
    }

    /// Moves the next batch of frames into `out`, which must have been written completely.
    pub fn transmit(&mut self, out: &mut Outbox, now: Instant) {
        if self.send.out.is_empty() {
            // Goes on in the memory that was used last.
            std::mem::swap(&mut self.send.out, out);
        }
        if !self.has_ended() || self.is_draining() {
            self.put_control();
            self.put_streams();
            if self.show_extensions() {
                self.put_control();
            }
            self.close_if_sent();
            self.end_drain_if_sent();
        }
        self.send.bytes_sent += self.send.out.len() as u64;
        self.note_use(now);
        std::mem::swap(&mut self.send.out, out);
    }

    /// Returns how many bytes were put into the output since the session's start: what is put there next begins here.
    pub fn position(&self) -> u64 {
        self.send.bytes_sent + self.send.out.len() as u64
    }

    /// Returns how many frames were put into the output so far.
    pub const fn frames_sent(&self) -> u64 {
        self.send.frames_sent
    }

    /// Puts a stream into the list of those that have something to send, if it has.
    #[inline]
    pub(super) fn make_ready(&mut self, key: StreamKey) {
        let ended = self.has_ended() && !self.is_draining();
        let Some(stream) = self.store.get_mut(key) else { return };
        if stream.send.in_ready || ended || !stream.can_send() {
            return;
        }
        stream.send.in_ready = true;
        if stream.owner().is_heartbeat() {
            self.send.ready.push_front(key);
        } else {
            self.send.ready.push_back(key);
        }
        self.store.prune(&mut self.send.ready);
    }

    /// Puts a stream into the list of those that have a control frame to send, as long as any are sent.
    pub(super) fn queue_control(&mut self, key: StreamKey) {
        if self.has_ended() && !self.is_draining() {
            return;
        }
        let Some(stream) = self.store.get_mut(key) else { return };
        if !std::mem::replace(&mut stream.send.in_pending_control, true) {
            self.send.pending_control.push_back(key);
            self.store.prune(&mut self.send.pending_control);
        }
    }

    /// Sends the reset of a stream, with the code that this side resets it with.
    pub(super) fn queue_reset(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.send.pending_reset = true;
            self.queue_control(key);
        }
    }

    /// Tells the peer that a stream was taken.
    pub(super) fn queue_acknowledgement(&mut self, key: StreamKey) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.send.pending_acknowledgement = true;
            self.queue_control(key);
        }
    }

    /// Adds credit from the peer, and goes on where it was missing.
    pub(super) fn add_credit(&mut self, key: StreamKey, credit: u32) {
        if let Some(stream) = self.store.get_mut(key) {
            stream.send.window.add(credit);
        }
        self.note_credit(key);
        self.recount_stalled(key);
        self.make_ready(key);
        self.wake_writer(key);
    }

    /// Counts anew what of a stream's queue the peer has no room for, and watches the stream while that is anything.
    #[inline]
    pub(super) fn recount_stalled(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get_mut(key) else { return };
        if self.send.recount_stalled(&mut stream.send) > 0 {
            self.watch_for_stall(key);
        }
    }

    fn put_control(&mut self) {
        while let Some((id, code)) = self.send.replies.pop_front() {
            self.send.put_reset(id, code);
        }
        while let Some(key) = self.send.pending_control.pop_front() {
            self.put_control_of(key);
        }
        if let Some((id, credit)) = self.take_late_credit() {
            self.send.put_u32_frame(FrameType::WNDINC, id, credit);
        }
        if let Some(id) = self.send.pending_probe.take() {
            self.send.put_header(FrameHeader::data(id.as_u32(), Flags::NONE, PROBE.len() as u32));
            self.send.out.put_slice(&PROBE);
        }
        if std::mem::take(&mut self.send.pending_go_away) {
            self.send.put_go_away(self.store.highest_remote_id(), ErrorCode::NO_ERROR, &Bytes::new());
            // The Go original reads eight bytes more than a GOAWAY has (PROTOCOL §7).
            self.send.put_header(FrameHeader::data(self.store.last_unused_id(), Flags::FIN, 0));
        }
    }

    fn put_control_of(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.send.in_pending_control = false;
        let Some(id) = stream.id() else { return };
        if std::mem::take(&mut stream.send.pending_reset) {
            let code = stream.reset().map_or(ErrorCode::CANCELLED, Reset::code);
            self.send.put_reset(id, code);
            self.try_release(key);
            return;
        }
        if std::mem::take(&mut stream.send.pending_acknowledgement) && stream.acknowledge() {
            self.send.extensions_shown = true;
            self.send.put_header(FrameHeader::data(id.as_u32(), Flags::EXT, 0));
        }
        if let Some(credit) = self.take_credit(key) {
            if let Some(stream) = self.store.get_mut(key) {
                stream.acknowledge_by_frame();
            }
            self.send.put_u32_frame(FrameType::WNDINC, id, credit);
        }
    }

    /// Puts a frame of each ready stream in turn into the output, until the batch is full or what comes next fits better
    /// into another one. If small writes left no room for any in the batch before, one has its turn however full this is.
    fn put_streams(&mut self) {
        let (mut due, mut none_yet) = (std::mem::take(&mut self.send.turns_missed), true);
        let extended = self.peer_has_extensions();
        while let Some(&key) = self.send.ready.front() {
            let most = if extended || self.send.ready.len() == 1 { FRAME } else { LEGACY_FRAME };
            let all = self.store.get(key).map_or(0, |stream| stream.send.sendable());
            let n = all.min(most);
            let out = self.send.out.len();
            let mut room = BATCH.saturating_sub(out + HEADER_LEN);
            if std::mem::take(&mut due) {
                room = room.max(LEGACY_FRAME);
            } else if out >= BATCH || (n > room && room < CUT_FROM) {
                self.send.turns_missed = none_yet;
                break;
            }
            self.send.ready.pop_front();
            let mut n = n.min(room);
            if n > LEGACY_FRAME && all - n <= REST && self.streams_in_use() == 1 {
                n = all;
            }
            let Some(n) = self.room_at_peer(key, n) else { continue };
            none_yet = false;
            self.put_stream(key, n);
        }
        self.wake_for_room();
        if self.send.bytes_unsent - self.send.bytes_stalled < self.config.session_send_buffer / 2 {
            while let Some(key) = self.send.waiting_writers.pop_front() {
                if let Some(stream) = self.store.get_mut(key) {
                    stream.send.in_waiting_writers = false;
                }
                self.wake_writer(key);
            }
        }
    }

    fn put_stream(&mut self, key: StreamKey, most: usize) {
        let Some(stream) = self.store.get_mut(key) else { return };
        stream.send.in_ready = false;
        if !stream.can_send() {
            return;
        }
        if let Some(token) = stream.echo_mut().and_then(Echo::take) {
            self.put_data(key, &mut &token[..], token.len());
            self.make_ready(key);
            return;
        }
        let n = stream.send.sendable().min(most);
        self.send.bytes_unsent -= n;
        self.put_queued(key, n);
        let limit = self.config.stream_send_buffer;
        self.recount_stalled(key);
        let Some(stream) = self.store.get(key) else { return };
        // Half of it, or another frame: the one behind it should not be the small rest of what was queued.
        if stream.send.queue.len() + FRAME.min(limit / 2) <= limit {
            self.wake_writer(key);
        }
        self.make_ready(key);
    }

    /// Puts one DATA frame of `n` bytes of `src` into the output, and the FIN if it is due.
    fn put_data(&mut self, key: StreamKey, src: &mut impl Source, n: usize) {
        if let Some(fin) = self.put_data_header(key, n, 0) {
            self.send.out.put_source(src, n);
            self.put_fin(key, fin);
        }
    }

    /// Puts one DATA frame of `n` queued bytes into the output, and the FIN if it is due.
    fn put_queued(&mut self, key: StreamKey, n: usize) {
        let Some(stream) = self.store.get(key) else { return };
        let left = stream.send.queue.len() - n;
        if let Some(fin) = self.put_data_header(key, n, left) {
            if let Some(stream) = self.store.get_mut(key) {
                stream.send.queue.transfer(n, &mut self.send.out);
            }
            self.put_fin(key, fin);
        }
    }

    /// Puts the header of a DATA frame into the output, with the type behind it where it is due; returns whether the FIN
    /// is still to come, as a frame of its own. `left` bytes stay queued.
    fn put_data_header(&mut self, key: StreamKey, n: usize, left: usize) -> Option<Fin> {
        let known_id = self.store.get(key)?.id();
        let syn = known_id.is_none();
        let id = if let Some(id) = known_id { id } else { self.assign_id(key)? };
        let negotiated = self.extensions_negotiated();
        let extended = negotiated || (self.config.extensions && syn);
        let stream = self.store.get_mut(key)?;
        stream.acknowledge_by_frame();
        let opened_here = stream.opened_here();
        let half = &mut stream.send;
        let first = syn || !(opened_here || half.data_sent);
        half.data_sent = true;
        let prefix = half.prefix.take();
        let length = n + prefix.map_or(0, |prefix| prefix.len());
        half.window.consume(length as u64);
        half.sent.add(length);
        let is_bulk = self.peer_memory.counts(half.window.left());
        let mut flags = Flags::NONE;
        if syn {
            flags = flags.with(Flags::SYN);
        }
        if first && extended {
            flags = flags.with(Flags::EXT);
            self.send.extensions_shown = true;
        }
        let finishing = left == 0 && half.is_finishing();
        // The Go original cannot answer a stream opened by SYN and FIN in one; peers with the extensions can
        // (PROTOCOL §4, §12).
        let fin = match finishing {
            true if syn && !negotiated => Fin::Apart,
            true => Fin::Sent,
            false => Fin::No,
        };
        if fin == Fin::Sent {
            flags = flags.with(Flags::FIN);
            half.state = SendState::Done;
        }
        if is_bulk {
            self.recount_bulk(key);
            self.expect_stalls();
        }
        self.send.put_header(FrameHeader::data(id.as_u32(), flags, length as u32));
        if let Some(prefix) = prefix {
            self.send.out.put_slice(&prefix);
        }
        Some(fin)
    }

    fn assign_id(&mut self, key: StreamKey) -> Option<StreamId> {
        let id = self.store.assign_id(key)?;
        if self.store.get(key)?.is_control() {
            self.control_streams.add();
        }
        Some(id)
    }

    #[inline]
    fn put_fin(&mut self, key: StreamKey, fin: Fin) {
        if fin == Fin::Apart
            && let Some(stream) = self.store.get_mut(key)
            && let Some(id) = stream.id()
        {
            stream.send.state = SendState::Done;
            self.send.put_header(FrameHeader::data(id.as_u32(), Flags::FIN, 0));
        }
        if fin != Fin::No {
            self.handle_fin_sent(key);
        }
    }

    /// Frees the stream, if it is over. If nobody listens any more, the peer is told to stop, too.
    fn handle_fin_sent(&mut self, key: StreamKey) {
        let Some(stream) = self.store.get(key) else { return };
        if stream.owner() == Owner::Nobody && !stream.is_over() {
            self.reset_with(key, ErrorCode::CANCELLED);
        } else {
            self.try_release(key);
        }
    }

    /// Puts everything that its writers had finished into the output, as far as the windows allow: the session ends.
    pub(super) fn flush_finished(&mut self) {
        let keys: Vec<_> = self.send.ready.drain(..).collect();
        self.put_control();
        for key in keys {
            while let Some(stream) = self.store.get_mut(key)
                && stream.send.is_finishing()
                && stream.can_send()
            {
                stream.send.in_ready = true;
                self.put_stream(key, FRAME);
            }
        }
    }
}
