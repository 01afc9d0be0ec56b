//! What goes to the peer, and in which order.
//!
//! Control frames first, then a frame of each stream in turn. A small write whose stream has
//! nothing queued goes straight into the output; the output is short, so it overtakes bulk data and
//! is not held up by it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::{
    app::Finish,
    event::Event,
    frame::{Flags, FrameHeader, FrameType, HEADER_LEN, StreamId},
    outbox::{Outbox, SendQueue, Source},
    session::Session,
    stream::{Owner, RecvState, SendState, Stream, StreamKey},
};
use crate::error::ErrorCode;

/// Output built at a time, in bytes, with its headers: what a small write may have to wait for. It is what a
/// segment of TCP over a loopback interface holds (65 483 bytes with IPv4, 65 463 with IPv6). What is over goes as a
/// segment of its own, and a few bytes then cost as much as all the others.
const BATCH: usize = 64 * 1024 - 128;

/// Most payload of one frame, in bytes. A batch has room for it, its header, and the credit for some streams.
pub(crate) const FRAME: usize = BATCH - 128;

/// The same for peers of another family while several streams have data: they take a frame whole before
/// anything of it gets to its reader. Four make a batch.
const STRANGERS_FRAME: usize = FRAME / 4 - HEADER_LEN;

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

/// Accepted streams without an answer from which on the peer is told that they were taken.
const ACK_FROM: usize = 16;

/// How long after its acceptance such a stream is acknowledged.
const ACK_DELAY: Duration = Duration::from_millis(5);

impl Session {
    /// Whether [`transmit`](Self::transmit) would have something.
    pub fn wants_transmit(&self) -> bool {
        !self.out.is_empty()
            || !self.ready.is_empty()
            || !self.control.is_empty()
            || !self.replies.is_empty()
            || self.go_away_owed.is_some()
            || self.owes_late_credit()
    }

    /// Moves the next batch of frames into `out`, which must have been written completely.
    pub fn transmit(&mut self, out: &mut Outbox, now: Instant) {
        if self.end.is_none() || self.is_draining() {
            self.put_control();
            self.put_streams();
            self.close_if_sent();
            self.end_drain_if_sent();
        }
        self.stats.bytes_sent += self.out.len() as u64;
        self.note_use(now);
        std::mem::swap(&mut self.out, out);
    }

    /// Bytes that were put into the output since the session's start: what is put there next begins here.
    pub fn position(&self) -> u64 {
        self.stats.bytes_sent + self.out.len() as u64
    }

    /// Puts a small write into the output at once, if nothing of its stream is queued before it.
    pub(super) fn write_direct(&mut self, key: StreamKey, src: &mut impl Source, finish: Finish) -> bool {
        let len = src.remaining();
        let most = if len <= TINY { DIRECT } else { BATCH - HEADER_LEN };
        let room = self.out.len() + len <= most;
        let Some(stream) = self.stream(key) else { return false };
        let (window, total) = (stream.send_window, len as u64 + stream.prefix_len());
        let is_free = window >= total + self.peer_memory.free_from();
        let may_go =
            is_free || (window >= total && total <= self.peer_memory.room(stream.bulk, window) as u64);
        let fits = room && len <= SMALL && stream.queue.is_empty() && may_go;
        if !fits || (len == 0 && finish == Finish::No) {
            return false;
        }
        if finish == Finish::Yes
            && let Some(stream) = self.stream_mut(key)
        {
            stream.send = SendState::Finishing;
        }
        self.put_data(key, src, len);
        true
    }

    pub(super) fn make_ready(&mut self, key: StreamKey) {
        let ended = self.end.is_some() && !self.is_draining();
        let Some(stream) = self.stream_mut(key) else { return };
        if stream.ready || ended {
            return;
        }
        if stream.can_send() {
            stream.ready = true;
            if stream.owner.is_heartbeat() {
                self.ready.push_front(key);
            } else {
                self.ready.push_back(key);
            }
            if self.may_hold_gone(self.ready.len()) {
                let streams = &self.streams;
                self.ready.retain(|key| is_there(streams, *key));
            }
        }
    }

    /// Puts a stream into the list of those that owe a control frame; its `control` is set.
    pub(super) fn queue_control(&mut self, key: StreamKey) {
        self.control.push_back(key);
        if self.may_hold_gone(self.control.len()) {
            let streams = &self.streams;
            self.control.retain(|key| is_there(streams, *key));
        }
    }

    /// Puts a stream into the list of those that wait for room in the session's buffer.
    pub(super) fn queue_send_waiter(&mut self, key: StreamKey) {
        self.send_waiters.push_back(key);
        if self.may_hold_gone(self.send_waiters.len()) {
            let streams = &self.streams;
            self.send_waiters.retain(|key| is_there(streams, *key));
        }
    }

    /// Whether most keys of a list could be those of streams that are gone. A peer that does not
    /// read must not make a list grow by opening and resetting.
    fn may_hold_gone(&self, len: usize) -> bool {
        len > 2 * self.streams.len() + 64
    }

    fn put_control(&mut self) {
        while let Some((id, code)) = self.replies.pop_front() {
            self.put_u32_frame(FrameType::RST, id, code.as_u32());
            self.stats.resets_sent += 1;
        }
        while let Some(key) = self.control.pop_front() {
            let Some(stream) = self.stream_mut(key) else { continue };
            stream.control = false;
            let Some(id) = stream.id else { continue };
            if let Some(code) = stream.rst_owed.take() {
                self.put_u32_frame(FrameType::RST, id.as_u32(), code.as_u32());
                self.stats.resets_sent += 1;
                self.settle(key);
                continue;
            }
            if std::mem::take(&mut stream.ack_owed) && !std::mem::replace(&mut stream.acknowledged, true) {
                self.put_header(FrameHeader::data(id.as_u32(), Flags::EXT, 0));
            }
            self.put_credit(key, id);
        }
        self.put_late_credit();
        if let Some((code, debug)) = self.go_away_owed.take() {
            self.put_go_away(code, &debug);
            let pad = self.pad_header();
            self.put_header(pad);
        }
    }

    fn put_credit(&mut self, key: StreamKey, id: StreamId) {
        let (threshold, now) = (self.credit_threshold(), self.now);
        let Some(stream) = self.stream_mut(key) else { return };
        let is_asked_for = std::mem::take(&mut stream.credit_due);
        let is_due = stream.consumed >= threshold || is_asked_for;
        if (!is_due || stream.consumed == 0) && stream.extra_credit() == 0 {
            return;
        }
        if stream.recv == RecvState::Reset || stream.reset.is_some() {
            return;
        }
        if stream.recv == RecvState::Open {
            self.widen_if_fast(key);
        }
        let Some(stream) = self.stream_mut(key) else { return };
        let credit = std::mem::take(&mut stream.consumed) + stream.extra_credit();
        if let Some(growth) = &mut stream.growth {
            growth.extra = 0;
            growth.granted(now);
        }
        stream.recv_window += credit;
        stream.acknowledged |= !stream.opened_here;
        self.put_u32_frame(FrameType::WNDINC, id.as_u32(), credit);
    }

    /// A frame of each ready stream in turn, until the batch is full or what comes next fits better into
    /// another one. If small writes left no room for any in the batch before, one has its turn however full this is.
    fn put_streams(&mut self) {
        let (mut due, mut none_yet) = (std::mem::take(&mut self.turns_missed), true);
        while let Some(&key) = self.ready.front() {
            let most = if self.peer_is_family || self.ready.len() == 1 { FRAME } else { STRANGERS_FRAME };
            let n = self.stream(key).map_or(0, Stream::sendable).min(most);
            let mut room = BATCH.saturating_sub(self.out.len() + HEADER_LEN);
            if std::mem::take(&mut due) {
                room = room.max(STRANGERS_FRAME);
            } else if self.out.len() >= BATCH || (n > room && room < CUT_FROM) {
                self.turns_missed = none_yet;
                break;
            }
            self.ready.pop_front();
            let Some(n) = self.room_at_peer(key, n.min(room)) else {
                continue;
            };
            none_yet = false;
            self.put_stream(key, n);
        }
        self.wake_for_room();
        if self.bytes_unsent - self.bytes_stalled < self.config.session_send_buffer / 2 {
            while let Some(key) = self.send_waiters.pop_front() {
                if let Some(stream) = self.stream_mut(key) {
                    stream.in_send_waiters = false;
                }
                self.wake_writer(key);
            }
        }
    }

    fn put_stream(&mut self, key: StreamKey, most: usize) {
        let Some(stream) = self.stream_mut(key) else { return };
        stream.ready = false;
        if !stream.can_send() {
            return;
        }
        if let Owner::HeartbeatResponder { echo, .. } = &mut stream.owner
            && let Some(token) = echo.take()
        {
            self.put_data(key, &mut &token[..], 4);
            self.make_ready(key);
            return;
        }
        let n = stream.sendable().min(most);
        let mut queue = std::mem::take(&mut stream.queue);
        self.bytes_unsent -= n;
        self.put_queued(key, &mut queue, n);
        let limit = self.config.stream_send_buffer;
        let Some(stream) = self.stream_mut(key) else { return };
        // Half of it, or another frame: the one behind it should not be the small rest of what was queued.
        let room = queue.len() + FRAME.min(limit / 2) <= limit;
        stream.queue = queue;
        self.restate(key);
        if room {
            self.wake_writer(key);
        }
        self.make_ready(key);
    }

    /// One DATA frame of `n` bytes of `src`, and the FIN if it is due.
    fn put_data(&mut self, key: StreamKey, src: &mut impl Source, n: usize) {
        if let Some(fin_apart) = self.put_data_header(key, n, 0) {
            self.out.put_source(src, n);
            self.put_fin(key, fin_apart);
        }
    }

    fn put_queued(&mut self, key: StreamKey, queue: &mut SendQueue, n: usize) {
        if let Some(fin_apart) = self.put_data_header(key, n, queue.len() - n) {
            queue.transfer(n, &mut self.out);
            self.put_fin(key, fin_apart);
        }
    }

    /// The header of a DATA frame, with the type behind it where it is due; says whether the FIN is
    /// still to come, as a frame of its own. `left` bytes stay queued.
    fn put_data_header(&mut self, key: StreamKey, n: usize, left: usize) -> Option<Fin> {
        let syn = self.stream(key)?.id.is_none();
        let id = if syn { self.take_id(key)? } else { self.stream(key)?.id? };
        let family_known = self.config.family_extension && self.peer_is_family;
        let family = family_known || (self.config.family_extension && syn);
        let free_from = self.peer_memory.free_from();
        let stream = self.stream_mut(key)?;
        let first = syn || !(stream.opened_here || stream.data_sent);
        stream.data_sent = true;
        let prefix = stream.prefix.take();
        let length = n + prefix.map_or(0, |prefix| prefix.len());
        stream.send_window = stream.send_window.saturating_sub(length as u64);
        stream.sent += length as u64;
        let is_bulk = stream.send_window < free_from;
        stream.acknowledged |= !stream.opened_here;
        let mut flags = Flags::NONE;
        if syn {
            flags = flags.with(Flags::SYN);
        }
        if first && family {
            flags = flags.with(Flags::EXT);
        }
        let finishing = left == 0 && stream.send == SendState::Finishing;
        // The Go original cannot answer a stream opened by SYN and FIN in one; peers of this family can
        // (PROTOCOL §4, §12).
        let fin = match finishing {
            true if syn && !family_known => Fin::Apart,
            true => Fin::Sent,
            false => Fin::No,
        };
        if fin == Fin::Sent {
            flags = flags.with(Flags::FIN);
            stream.send = SendState::Done;
        }
        if is_bulk {
            self.recount_bulk(key);
            self.expect_stalls();
        }
        self.put_header(FrameHeader::data(id.as_u32(), flags, length as u32));
        if let Some(prefix) = prefix {
            self.out.put_slice(&prefix);
        }
        Some(fin)
    }

    fn put_fin(&mut self, key: StreamKey, fin: Fin) {
        if fin == Fin::Apart
            && let Some(stream) = self.stream_mut(key)
            && let Some(id) = stream.id
        {
            stream.send = SendState::Done;
            self.put_header(FrameHeader::data(id.as_u32(), Flags::FIN, 0));
        }
        if fin != Fin::No {
            self.sending_done(key);
        }
    }

    /// The FIN is out. If nobody listens any more, the peer is told to stop, too.
    fn sending_done(&mut self, key: StreamKey) {
        let Some(stream) = self.stream(key) else { return };
        if stream.owner == Owner::Nobody && !stream.is_over() {
            self.reset_with(key, ErrorCode::CANCELLED);
        } else {
            self.settle(key);
        }
    }

    pub(super) fn put_header(&mut self, header: FrameHeader) {
        self.stats.frames_sent += 1;
        if let Some(name) = &self.config.frame_log {
            tracing::info!(target: "muxado::frame", "{name} WRITE {header}");
        }
        self.out.put_header(header);
    }

    fn put_u32_frame(&mut self, frame_type: FrameType, stream_id: u32, value: u32) {
        self.put_header(FrameHeader { length: 4, frame_type, flags: Flags::NONE, stream_id });
        self.out.put_u32(value);
    }

    pub(super) fn put_go_away(&mut self, code: ErrorCode, debug: &Bytes) {
        let debug = debug.get(..MAX_DEBUG_SENT).unwrap_or(debug);
        let length = 8 + debug.len() as u32;
        self.put_header(FrameHeader {
            length,
            frame_type: FrameType::GOAWAY,
            flags: Flags::NONE,
            stream_id: 0,
        });
        self.out.put_u32(self.highest_remote_id);
        self.out.put_u32(code.as_u32());
        self.out.put_slice(debug);
    }

    /// On closing: everything that its writers had finished goes out as far as the windows allow.
    pub(super) fn flush_finished(&mut self, keys: &[StreamKey]) {
        self.put_control();
        for &key in keys {
            while let Some(stream) = self.stream_mut(key)
                && stream.send == SendState::Finishing
                && stream.can_send()
            {
                stream.ready = true;
                self.put_stream(key, FRAME);
            }
        }
    }

    /// Notes that the application took a stream; if no answer follows soon, the peer is told.
    ///
    /// Peers of this family count the streams that nobody has taken yet. Without a sign, a burst of
    /// calls that are slow to answer would keep them from opening more (`PROTOCOL §12`).
    pub(super) fn note_accepted(&mut self, key: StreamKey) {
        // The time of the last input: at worst the sign comes early.
        let Some(now) = self.now.filter(|_| self.peer_is_family && self.config.family_extension) else {
            return;
        };
        self.accepted_unacknowledged.push_back((key, now));
        if self.may_hold_gone(self.accepted_unacknowledged.len()) {
            let streams = &self.streams;
            self.accepted_unacknowledged.retain(|(key, _)| is_there(streams, *key));
        }
        if self.accepted_unacknowledged.len() >= ACK_FROM && self.ack_at.is_none() {
            self.ack_at = now.checked_add(ACK_DELAY);
            self.events.push_back(Event::Timer);
        }
    }

    pub(super) fn acknowledge_accepted(&mut self, now: Instant) {
        let mut waiting = std::mem::take(&mut self.accepted_unacknowledged);
        waiting.retain(|(key, since)| {
            let unanswered = |stream: &&mut Stream| !stream.acknowledged && stream.on_wire;
            let Some(stream) = self.stream_mut(*key).filter(unanswered) else { return false };
            if now.saturating_duration_since(*since) < ACK_DELAY {
                return true;
            }
            stream.ack_owed = true;
            if !std::mem::replace(&mut stream.control, true) {
                self.queue_control(*key);
            }
            false
        });
        self.ack_at = if waiting.len() >= ACK_FROM { now.checked_add(ACK_DELAY) } else { None };
        self.accepted_unacknowledged = waiting;
    }
}

fn is_there(streams: &Slab<Stream>, key: StreamKey) -> bool {
    streams.get(key.index()).is_some_and(|stream| stream.serial == key.serial)
}

/// Bytes of a go-away's text that are sent.
const MAX_DEBUG_SENT: usize = 1024;

/// What becomes of a stream's FIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fin {
    No,
    Sent,
    Apart,
}
