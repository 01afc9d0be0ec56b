//! A peer that speaks frames, mostly honest ones, and knows what each of its streams carried.

use std::collections::HashMap;

use arbitrary::Arbitrary;
use muxado_tests::{DATA, EXT, FIN, Frame, HEADER, SYN, WNDINC};

use crate::{
    checked::{first_id, other},
    settings::Settings,
};

/// One thing that a peer sends. Numbers are cut down to what is worth a try.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Send {
    /// The next id, with its first bytes.
    Open {
        len: u16,
        fin: bool,
        ext: bool,
    },
    Data {
        id: Id,
        len: u16,
    },
    /// As much as the window allows.
    Fill {
        id: Id,
    },
    Fin {
        id: Id,
    },
    Reset {
        id: Id,
        code: u8,
    },
    Credit {
        id: Id,
        amount: Amount,
    },
    Rare(Rare),
}

/// What is against the rules, or seldom.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Rare {
    /// Data whether or not there is room.
    Overrun {
        id: Id,
        len: u16,
    },
    /// An id that may be in use, or was.
    Reopen {
        id: Id,
        len: u16,
        fin: bool,
    },
    GoAway {
        seen: bool,
    },
    Unknown {
        kind: u8,
        len: u8,
    },
    Raw([u8; 8]),
    Nothing,
    Pause,
    Rest,
}

/// One of the streams: of those that it opened, or of ours.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Id {
    Theirs(u8),
    Ours(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Amount {
    One,
    Some(u16),
    Window,
    Huge,
}

/// What went over one id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) finished: bool,
    /// Times that it was opened, by this peer or, before, by the session whose id it is.
    pub(crate) opened: u32,
    /// Something was sent before either SYN, which cannot be told apart from what came after.
    pub(crate) early: bool,
    known: bool,
    window: u64,
}

pub(crate) struct Peer {
    settings: Settings,
    next_id: u32,
    sent: HashMap<u32, Sent>,
    garbled: bool,
}

impl Peer {
    pub(crate) fn new(settings: Settings) -> Self {
        let next_id = first_id(other(settings.side));
        Self { settings, next_id, sent: HashMap::new(), garbled: false }
    }

    /// What was sent on this id.
    pub(crate) fn sent(&self, id: u32) -> Sent {
        self.sent.get(&id).copied().unwrap_or_default()
    }

    /// The bytes of the frame.
    pub(crate) fn encode(&mut self, send: Send) -> Vec<u8> {
        match send {
            Send::Open { len, fin, ext } => {
                let id = self.next_id;
                self.next_id += 2;
                let flags = SYN | if fin { FIN } else { 0 } | if ext { EXT } else { 0 };
                self.data(id, flags, u64::from(len).min(u64::from(self.settings.window)))
            }
            Send::Data { id, len } => {
                let id = self.id(id);
                self.data(id, 0, u64::from(len).min(self.sent(id).window))
            }
            Send::Fill { id } => {
                let id = self.id(id);
                self.data(id, 0, self.sent(id).window.min(1 << 18))
            }
            Send::Fin { id } => self.data(self.id(id), FIN, 0),
            Send::Reset { id, code } => Frame::rst(self.id(id), u32::from(code)).encode(),
            Send::Credit { id, amount } => {
                let amount = match amount {
                    Amount::One => 1,
                    Amount::Some(amount) => u32::from(amount),
                    Amount::Window => self.settings.window,
                    Amount::Huge => u32::MAX,
                };
                Frame::new(WNDINC, 0, self.id(id), amount.to_be_bytes()).encode()
            }
            Send::Rare(rare) => self.encode_rare(rare),
        }
    }

    fn encode_rare(&mut self, rare: Rare) -> Vec<u8> {
        match rare {
            Rare::Overrun { id, len } => self.data(self.id(id), 0, u64::from(len) * 8),
            Rare::Reopen { id, len, fin } => {
                self.data(self.id(id), SYN | if fin { FIN } else { 0 }, u64::from(len))
            }
            Rare::GoAway { seen } => Frame::go_away(if seen { 0x7FFF_FFFF } else { 0 }, 0, "bye").encode(),
            Rare::Unknown { kind, len } => {
                Frame::new(kind | 4, kind >> 4, 5, vec![0; usize::from(len)]).encode()
            }
            Rare::Raw(header) => {
                self.garbled = true;
                header.to_vec()
            }
            Rare::Nothing | Rare::Pause | Rare::Rest => Vec::new(),
        }
    }

    /// The window that the session gave with these frames.
    pub(crate) fn note_output(&mut self, frames: &[Frame]) {
        for frame in frames {
            let credit = match frame.kind {
                WNDINC => u64::from(frame.number(0)),
                DATA if frame.has(SYN) => {
                    self.sent.entry(frame.id).or_default().known = true;
                    u64::from(self.settings.window)
                }
                _ => continue,
            };
            self.sent.entry(frame.id).or_default().window += credit;
        }
    }

    /// A DATA frame with the bytes that are next on this id; a SYN starts anew.
    fn data(&mut self, id: u32, flags: u8, len: u64) -> Vec<u8> {
        let window = u64::from(self.settings.window);
        let is_ours = id % 2 == first_id(self.settings.side) % 2;
        let sent = self.sent.entry(id).or_default();
        if flags & SYN != 0 {
            let opened = sent.opened.max(u32::from(is_ours)) + 1;
            *sent = Sent { opened, window, known: true, ..Sent::default() };
        }
        sent.early |= !sent.known;
        let begin = sent.bytes;
        sent.window = sent.window.saturating_sub(len);
        if !sent.finished {
            sent.bytes += len;
        }
        sent.finished |= flags & FIN != 0;
        let mut bytes = muxado_tests::raw_header(len as u32, DATA, flags, id).to_vec();
        bytes.extend((begin..begin + len).map(|at| content(id, at)));
        debug_assert_eq!(bytes.len(), HEADER + len as usize);
        bytes
    }

    fn id(&self, id: Id) -> u32 {
        let (first, number) = match id {
            Id::Theirs(number) => {
                // Recent ones: older ones are over as a rule.
                let first = first_id(other(self.settings.side));
                (first.max(self.next_id.saturating_sub(24)), number % 12)
            }
            Id::Ours(number) => (first_id(self.settings.side), number % 16),
        };
        first + 2 * u32::from(number)
    }

    /// Resets of all that it ever opened, and of these.
    pub(crate) fn reset_all(&self, ours: impl Iterator<Item = u32>) -> Vec<u8> {
        let theirs = self.sent.iter().filter(|(_, sent)| sent.opened > 0).map(|(id, _)| *id);
        theirs.chain(ours).flat_map(|id| Frame::rst(id, 6).encode()).collect()
    }

    /// Whether it sent bytes that may be no frame, or the beginning of an endless one.
    pub(crate) fn is_garbled(&self) -> bool {
        self.garbled
    }
}

/// The byte at this place of what comes on this id. The first four are a type that is no heartbeat's.
pub(crate) fn content(id: u32, at: u64) -> u8 {
    if at < 4 { 9 } else { (u64::from(id) * 7 + at * 13 + (at >> 8)) as u8 }
}
