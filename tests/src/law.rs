//! What a session must never send, whatever happens: checked on every frame a scripted peer reads.

use std::collections::{BTreeMap, BTreeSet};

use muxado::Side;

use crate::frame::{DATA, EXT, FIN, Frame, GOAWAY, RST, SPARE, SYN, WNDINC};

/// Window of a stream before any credit, in bytes.
const WINDOW: u64 = 256 * 1024;

/// Largest payload that a session puts into one DATA frame, a stream's type and a small rest included.
const MAX_DATA: usize = 64 * 1024 - 256 + 512 + 4;

/// The code of the answer to late data.
const STREAM_CLOSED: u32 = 4;

/// The rules of `PROTOCOL §4` to `§8` and the end of `§13`, for the output of one session.
#[derive(Debug)]
pub struct Law {
    side: Side,
    typed: bool,
    window: u64,
    last_opened: u32,
    streams: BTreeMap<u32, State>,
    reset: BTreeSet<u32>,
    /// The peer has proved EXT1.
    family: bool,
    after_go_away: bool,
    /// The ids that were probed, on a session that may do that (`PROTOCOL §9.1`).
    probed: Option<BTreeSet<u32>>,
}

#[derive(Debug, Default)]
struct State {
    finished: bool,
    sent: u64,
    credit: u64,
}

impl Law {
    /// The law for a session of this side.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            typed: false,
            window: WINDOW,
            last_opened: 0,
            streams: BTreeMap::new(),
            reset: BTreeSet::new(),
            family: false,
            after_go_away: false,
            probed: None,
        }
    }

    /// From now on every SYN must bring a type.
    pub fn typed(&mut self) {
        self.typed = true;
    }

    /// The session may send probes.
    pub fn probes(&mut self) {
        self.probed = Some(BTreeSet::new());
    }

    /// The window both sides are configured for, if it is not the default.
    pub fn window(&mut self, bytes: u32) {
        self.window = u64::from(bytes);
    }

    /// Notes what the scripted peer sends.
    pub fn peer_sends(&mut self, frame: &Frame) {
        self.family |= frame.kind == DATA && frame.has(EXT);
        match frame.kind {
            DATA if frame.has(SYN) => {
                self.reset.remove(&frame.id);
                self.streams.insert(frame.id, State::default());
            }
            WNDINC if frame.payload.len() == 4 => {
                if let Some(state) = self.streams.get_mut(&frame.id) {
                    state.credit += u64::from(frame.number(0) & 0x7FFF_FFFF);
                }
            }
            _ => {}
        }
    }

    /// Checks what the session sent.
    pub fn check(&mut self, frame: &Frame) {
        assert!(frame.kind <= GOAWAY, "unknown type: {frame:?}");
        assert!(!frame.has(SPARE), "unassigned flag: {frame:?}");
        if std::mem::take(&mut self.after_go_away) {
            let pad = if self.side == Side::Client { 0x7FFF_FFFF } else { 0x7FFF_FFFE };
            assert_eq!(*frame, Frame::fin(pad), "a go-away is followed by the pad or by nothing");
            return;
        }
        if frame.kind == DATA {
            return self.check_data(frame);
        }
        assert_eq!(frame.flags, 0, "flags on what is not DATA: {frame:?}");
        if frame.kind == GOAWAY {
            assert_eq!(frame.id, 0, "{frame:?}");
            self.after_go_away = true;
            return;
        }
        assert_eq!(frame.payload.len(), 4, "{frame:?}");
        assert_ne!(frame.number(0), 0, "a reset without a code, or empty credit: {frame:?}");
        // The answer to data for a stream that never was is the one frame that needs no SYN.
        let answer = frame.kind == RST && frame.number(0) == STREAM_CLOSED;
        assert!(self.is_known(frame.id) || answer, "before the SYN: {frame:?}");
        if frame.kind == RST {
            assert!(self.reset.insert(frame.id), "a second reset of one id: {frame:?}");
        } else {
            assert!(!self.reset.contains(&frame.id), "credit behind a reset: {frame:?}");
        }
    }

    fn check_data(&mut self, frame: &Frame) {
        let id = frame.id;
        let is_known = self.is_known(id);
        if let Some(probed) = self.probed.as_mut().filter(|_| !is_known && !frame.has(SYN)) {
            assert_eq!((frame.flags, &frame.payload[..]), (0, &[0; 64][..]), "no probe: {frame:?}");
            assert!(probed.insert(id), "an id that was probed before: {frame:?}");
            assert!(self.owns(id), "an id of the peer's: {frame:?}");
            return;
        }
        assert!(self.family || !frame.has(SYN | FIN), "SYN and FIN in one frame: {frame:?}");
        assert!(frame.payload.len() <= MAX_DATA, "a frame that holds others up: {frame:?}");
        if frame.has(SYN) {
            assert!(self.owns(id), "an id of the peer's: {frame:?}");
            assert!(id > self.last_opened, "ids must rise: {frame:?} after {}", self.last_opened);
            assert!(!self.typed || frame.payload.len() >= 4, "a SYN without a type: {frame:?}");
            self.last_opened = id;
            self.streams.entry(id).or_default();
        }
        assert!(self.is_known(id), "before the SYN: {frame:?}");
        assert!(!self.reset.contains(&id), "data behind a reset: {frame:?}");
        let window = self.window;
        let state = self.streams.entry(id).or_default();
        assert!(!state.finished, "data behind the FIN: {frame:?}");
        assert!(!frame.payload.is_empty() || frame.flags & (FIN | SYN | EXT) != 0, "useless: {frame:?}");
        state.finished = frame.has(FIN);
        state.sent += frame.payload.len() as u64;
        assert!(state.sent <= window + state.credit, "above the window: {frame:?}, {state:?}");
    }

    fn owns(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.side == Side::Client)
    }

    fn is_known(&self, id: u32) -> bool {
        if self.owns(id) { id <= self.last_opened } else { self.streams.contains_key(&id) }
    }
}
