//! What the peer's bytes do: nothing here waits, and whatever they make us owe is bounded.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{
    frame::{Flags, FrameHeader, FrameType, HEADER_LEN, ProtocolError, StreamId, foreign_protocol},
    incoming::{Incoming, Input},
    session::Session,
    stream::{Owner, RecvState, Reset, StreamKey},
};
use crate::error::{ErrorCode, GoAway, SessionError};

/// Payload from which on a frame is large, in bytes.
const LARGE_FRAME: u32 = 32 * 1024;

/// Bytes of a go-away's text that are kept.
const MAX_DEBUG: usize = 4096;

impl Session {
    /// Takes in bytes from the transport, leaving at most an incomplete header of at most 16 bytes.
    ///
    /// Payloads of 16 KiB and more are kept as slices of `bytes`; give a buffer that can be shared.
    pub fn receive(&mut self, bytes: &mut BytesMut, now: Instant) {
        self.receive_part(bytes, now, usize::MAX);
    }

    /// As [`receive`](Self::receive), but stops once so many frames have brought their streams
    /// something. True if it stopped for that, and the rest of `bytes` is still to be taken in.
    pub fn receive_part(&mut self, bytes: &mut BytesMut, now: Instant, frames: usize) -> bool {
        self.touched = 0;
        let before = bytes.len();
        self.heard(now);
        let mut input = Input::new(bytes);
        let more = loop {
            if self.touched >= frames && self.is_before_data(input.rest()) {
                break true;
            }
            match self.step(&mut input, now) {
                Ok(true) => {}
                Ok(false) => break false,
                Err(error) => self.break_off(error),
            }
        };
        input.settle();
        self.stats.bytes_received += (before - bytes.len()) as u64;
        self.note_use(now);
        // A stream that was still being sent may be gone.
        self.close_if_sent();
        self.end_drain_if_sent();
        more
    }

    fn is_before_data(&self, bytes: &[u8]) -> bool {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return false };
        let header = FrameHeader::decode(*header);
        matches!(self.incoming, Incoming::Header)
            && header.frame_type == FrameType::DATA
            && header.length > 0
            && self.end.is_none()
    }

    /// Most bytes that the next read should bring: the rest of a large frame with the header behind it, so
    /// that the payload of the next one comes in one piece. Else there is no such bound.
    pub const fn best_read(&self) -> usize {
        match self.incoming {
            Incoming::Data { left, large: true, .. } => left as usize + HEADER_LEN,
            _ => usize::MAX,
        }
    }

    /// Whether anything that was received waits for its reader.
    pub const fn has_unread(&self) -> bool {
        self.bytes_unread > 0
    }

    /// Frames that brought their streams something in the last [`receive`](Self::receive).
    pub const fn touched_frames(&self) -> usize {
        self.touched
    }

    /// The transport has ended: cleanly with `None`, or with this error.
    pub fn handle_transport_end(&mut self, error: Option<std::io::Error>, bytes_left: usize) {
        let mid_frame = bytes_left > 0 || !matches!(self.incoming, Incoming::Header);
        let reason = match (self.remote.clone(), error) {
            (Some(go_away), _) => SessionError::ClosedByPeer(go_away),
            (None, Some(error)) => error.into(),
            (None, None) => SessionError::PeerEof { mid_frame },
        };
        self.finish_session(reason, None);
    }

    /// The driver is gone.
    pub fn handle_driver_dropped(&mut self) {
        self.finish_session(SessionError::DriverDropped, None);
    }

    fn break_off(&mut self, error: ProtocolError) {
        if self.end.is_some() {
            self.incoming = Incoming::Discard;
            self.stop_draining();
            return;
        }
        // Behind a go-away, ngrok's crate sends bytes that are no frame (PROTOCOL §7).
        let is_framing = !matches!(error, ProtocolError::Excessive(_));
        if let Some(go_away) = self.remote.clone().filter(|_| is_framing) {
            self.finish_session(SessionError::ClosedByPeer(go_away), None);
            return;
        }
        let code = error.code();
        let debug = Bytes::from(error.to_string());
        self.finish_session(SessionError::Protocol(error), Some((code, debug)));
    }

    /// Handles one frame or a piece of one; false once more bytes are needed.
    fn step(&mut self, input: &mut Input<'_>, now: Instant) -> Result<bool, ProtocolError> {
        match self.incoming {
            Incoming::Header => self.step_header(input, now),
            Incoming::Data { key, left, fin, .. } => Ok(self.step_data(key, left, fin, input, now)),
            Incoming::Skip { left } => {
                let n = input.rest().len().min(left as usize);
                input.advance(n);
                Ok(self.went_on(Incoming::Skip { left: left - n as u32 }))
            }
            Incoming::Debug { left } => Ok(self.step_debug(left, input)),
            Incoming::Discard => {
                input.advance(input.rest().len());
                Ok(false)
            }
        }
    }

    /// Notes what is left of a frame; true if it was handled completely.
    fn went_on(&mut self, rest: Incoming) -> bool {
        let done = matches!(
            rest,
            Incoming::Data { left: 0, .. } | Incoming::Skip { left: 0 } | Incoming::Debug { left: 0 }
        );
        self.incoming = if done { Incoming::Header } else { rest };
        done
    }

    /// Hands on what there is of a stream's payload.
    fn step_data(
        &mut self,
        key: StreamKey,
        left: u32,
        fin: bool,
        input: &mut Input<'_>,
        now: Instant,
    ) -> bool {
        let n = input.rest().len().min(left as usize);
        if n == 0 {
            return false;
        }
        let large = matches!(self.incoming, Incoming::Data { large: true, .. });
        let done = self.went_on(Incoming::Data { key, left: left - n as u32, fin, large });
        self.handle_payload(key, input, n, now);
        if done && fin {
            self.handle_fin(key);
        }
        done
    }

    fn step_debug(&mut self, left: u32, input: &mut Input<'_>) -> bool {
        let n = input.rest().len().min(left as usize);
        let done = self.went_on(Incoming::Debug { left: left - n as u32 });
        if let Some((_, debug)) = &mut self.go_away_coming {
            let keep = n.min(MAX_DEBUG.saturating_sub(debug.len()));
            debug.extend_from_slice(&input.rest()[..keep]);
        }
        input.advance(n);
        if done && let Some((go_away, debug)) = self.go_away_coming.take() {
            self.handle_go_away(GoAway { debug: debug.into(), ..go_away });
        }
        done
    }

    fn step_header(&mut self, input: &mut Input<'_>, now: Instant) -> Result<bool, ProtocolError> {
        let Some(header) = input.rest().first_chunk::<HEADER_LEN>() else { return Ok(false) };
        if !self.first_bytes_seen {
            if let Some(name) = foreign_protocol(header) {
                return Err(ProtocolError::Foreign(name));
            }
            self.first_bytes_seen = true;
        }
        let header = FrameHeader::decode(*header);
        let received = self.stats.frames_received;
        let handled = self.handle_header(header, input, now);
        if self.stats.frames_received > received
            && let Some(name) = &self.config.frame_log
        {
            tracing::info!(target: "muxado::frame", "{name} READ {header}");
        }
        handled
    }

    /// Handles a frame but for the payload of DATA; false if more of it is needed first.
    fn handle_header(
        &mut self,
        header: FrameHeader,
        input: &mut Input<'_>,
        now: Instant,
    ) -> Result<bool, ProtocolError> {
        match header.frame_type {
            // After the end only a go-away is of interest.
            other if self.end.is_some() && other != FrameType::GOAWAY && !self.is_drained_by(header) => {
                input.advance(HEADER_LEN);
                self.incoming = Incoming::Skip { left: header.length };
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
                self.incoming = Incoming::Debug { left: header.length - 8 };
                if self.remote.is_some() {
                    self.incoming = Incoming::Skip { left: header.length - 8 };
                    self.lose_patience("repeated go-aways")?;
                } else {
                    let go_away =
                        GoAway { code: ErrorCode::new(code), last_stream_id: last, debug: Bytes::new() };
                    self.go_away_coming = Some((go_away, Vec::new()));
                }
            }
            _ => {
                input.advance(HEADER_LEN);
                self.incoming = Incoming::Skip { left: header.length };
                self.lose_patience("frames of unknown types")?;
            }
        }
        self.stats.frames_received += 1;
        Ok(true)
    }

    /// Whether a frame concerns what is still being sent after the session's end, or opens a stream that is to be
    /// refused.
    fn is_drained_by(&self, header: FrameHeader) -> bool {
        let is_kept = |id| self.ids.contains_key(&id);
        let opens = header.frame_type == FrameType::DATA && header.flags.contains(Flags::SYN);
        self.is_draining()
            && matches!(header.frame_type, FrameType::DATA | FrameType::RST | FrameType::WNDINC)
            && StreamId::new(header.stream_id).is_some_and(|id| opens || is_kept(id))
    }

    fn handle_data(&mut self, header: FrameHeader, now: Instant) -> Result<(), ProtocolError> {
        let id = stream_id(header)?;
        let (syn, fin) = (header.flags.contains(Flags::SYN), header.flags.contains(Flags::FIN));
        self.incoming = Incoming::Skip { left: header.length };
        let key = match (self.key_of(id), syn) {
            (Some(_), true) => return Err(ProtocolError::DuplicateSyn(id)),
            (None, true) => match self.handle_syn(id, header, now)? {
                Some(key) => key,
                None => return Ok(()),
            },
            (Some(key), false) => key,
            (None, false) => return self.handle_late_data(id, header.length),
        };
        if header.flags.contains(Flags::EXT) && !self.peer_is_family {
            self.peer_is_family = true;
            self.capacity_changed = true;
            self.announce_family();
        }
        let sign_of_acceptance =
            self.stream(key).is_some_and(|stream| stream.opened_here && !stream.acknowledged);
        self.earn_patience(header.length);
        if header.length == 0 && !syn && !fin && !sign_of_acceptance {
            self.lose_patience("empty data frames")?;
        }
        self.acknowledge(key);
        let Some(stream) = self.stream_mut(key) else { return Ok(()) };
        if stream.recv != RecvState::Open {
            // A repeated FIN is common; data behind one is not.
            if header.length > 0 {
                self.reset_with(key, ErrorCode::STREAM_CLOSED);
            }
            return self.lose_patience("frames behind the end of a stream");
        }
        if header.length > stream.recv_window {
            self.reset_with(key, ErrorCode::FLOW_CONTROL_ERROR);
            return Ok(());
        }
        if header.length > 0 {
            self.consider_growth(key, header.length, now);
        }
        let Some(stream) = self.stream_mut(key) else { return Ok(()) };
        stream.recv_window -= header.length;
        self.touched += usize::from(header.length > 0);
        self.incoming = Incoming::Data { key, left: header.length, fin, large: header.length >= LARGE_FRAME };
        if header.length == 0 {
            self.incoming = Incoming::Header;
            if fin {
                self.handle_fin(key);
            }
        }
        Ok(())
    }

    fn handle_late_data(&mut self, id: StreamId, length: u32) -> Result<(), ProtocolError> {
        self.earn_patience(length);
        self.lose_patience("data for streams that are closed")?;
        // The FIN of a stream that was reset meanwhile needs no answer.
        if length > 0 && !self.recently_reset.contains(id) {
            self.recently_reset.insert(id);
            self.reply(id, ErrorCode::STREAM_CLOSED)?;
        }
        Ok(())
    }

    fn handle_rst(&mut self, id: StreamId, code: ErrorCode) -> Result<(), ProtocolError> {
        let Some(key) = self.key_of(id) else {
            return self.note_control("resets of streams that are closed");
        };
        self.stats.resets_received += 1;
        let owner = self.stream(key).map(|stream| stream.owner);
        let charged = self.charge_reset(key, owner == Some(Owner::Backlog));
        self.recently_reset.insert(id);
        if let Some(stream) = self.stream_mut(key) {
            // A reset is never answered with one.
            stream.rst_owed = None;
        }
        self.mark_reset(key, Reset::ByPeer(code));
        if owner == Some(Owner::HeartbeatRequester) {
            self.heartbeat_refused();
        }
        charged
    }

    fn handle_wndinc(&mut self, id: StreamId, credit: u32) -> Result<(), ProtocolError> {
        let Some(key) = self.key_of(id) else { return self.note_control(CREDIT_OF_NO_USE) };
        self.acknowledge(key);
        if credit == 0 {
            return self.lose_patience("empty credit");
        }
        self.note_control(CREDIT_OF_NO_USE)?;
        if let Some(stream) = self.stream_mut(key) {
            // No stream ever needs more, and no sum of credits can overflow.
            stream.send_window = (stream.send_window + u64::from(credit)).min(MAX_SEND_WINDOW);
        }
        self.restate(key);
        self.make_ready(key);
        self.wake_writer(key);
        Ok(())
    }

    fn handle_go_away(&mut self, go_away: GoAway) {
        if self.remote.is_some() {
            return;
        }
        // Ids rise in the order of opening until they wrap; later streams were not looked at.
        let last = go_away.last_stream_id;
        let is_unseen = |id: Option<StreamId>| id.is_none_or(|id| !self.wrapped && id.as_u32() > last);
        let unseen: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.opened_here && stream.on_wire && is_unseen(stream.id))
            .map(|(index, stream)| StreamKey { index: index as u32, serial: stream.serial })
            .collect();
        self.remote = Some(go_away);
        self.capacity_changed = true;
        for key in unseen {
            let owner = self.stream(key).map(|stream| stream.owner);
            self.mark_reset(key, Reset::ByPeer(ErrorCode::REMOTE_GONE_AWAY));
            if owner == Some(Owner::HeartbeatRequester) {
                self.heartbeat_refused();
            }
        }
    }
}

/// Each of our bytes can be credited once.
const CREDIT_OF_NO_USE: &str = "more frames of credit than it was sent bytes";

/// Largest send window, in bytes.
const MAX_SEND_WINDOW: u64 = 1 << 40;

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
