//! A message that comes in pieces and is mostly one large string, which is gathered apart from it: what it is gathered
//! in becomes the string that is decoded.

use bytes::{Buf, Bytes};

use super::{GROWTH, LENGTH_PREFIX};
use crate::{
    codec::{
        apart::Apart,
        msgpack::{LargePlace, find_large},
    },
    support::{
        budget::{Exhausted, Reservation},
        large_buffers,
    },
};

/// Bytes of a full read buffer, which a piece of it keeps.
const READ_BUFFER: usize = 65 * 1024;

/// The large string of a message, and what is missing of both.
#[derive(Debug)]
pub(super) struct Gather {
    apart: Apart,
    /// Bytes of the string that are missing.
    missing: usize,
    /// The first pieces of the string, until so much of it is there that all of it gets room.
    early: Vec<Bytes>,
    /// Bytes that the message has behind it.
    behind: usize,
    /// Bytes that its head has more than its stand-in: the message is counted as it was sent.
    uncounted: usize,
}

impl Gather {
    /// Begins a message of `length` bytes with its first piece, from its length on, if a large string begins there.
    /// What is in front of that is put into `message`, which is empty.
    pub(super) fn begin(piece: &mut Bytes, length: usize, message: &mut Vec<u8>) -> Option<Self> {
        let place = find_large(piece.get(LENGTH_PREFIX..)?, length)?;
        let LargePlace { head, content, len, is_text } = place;
        let stand_in = if is_text { 1 } else { 2 };
        // To the byte, so that it becomes the message as it is.
        message.reserve_exact(LENGTH_PREFIX + head + stand_in);
        message.extend_from_slice(&piece[..LENGTH_PREFIX + head]);
        let apart = Apart::begin(place, &piece[LENGTH_PREFIX + head..LENGTH_PREFIX + content], message);
        piece.advance(LENGTH_PREFIX + content);
        Some(Self {
            apart,
            missing: len,
            early: Vec::new(),
            behind: length - content - len,
            uncounted: content - head - stand_in,
        })
    }

    /// Takes from a piece what belongs to the message. Returns whether it is whole.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub(super) fn add(
        &mut self,
        piece: &mut Bytes,
        message: &mut Vec<u8>,
        reserved: &mut Reservation,
    ) -> Result<bool, Exhausted> {
        let n = piece.len().min(self.missing);
        let around = message.capacity() + self.uncounted;
        if self.keeps_early(n) {
            reserved.grow(around + (self.early.len() + 1) * READ_BUFFER.max(n))?;
            self.missing -= n;
            self.early.push(piece.split_to(n));
            return Ok(false);
        }
        let early = std::mem::take(&mut self.early);
        let content = self.apart.content_mut();
        let have = content.len() + early.iter().map(Bytes::len).sum::<usize>() + n;
        if content.capacity() < have {
            // What is announced is neither allocated nor taken from what is kept before a good part of it has come.
            let room = (have - n + self.missing).min(have.saturating_mul(GROWTH));
            reserved.grow(around + room)?;
            enlarge(content, room);
            reserved.grow(around + content.capacity())?;
        }
        early.iter().for_each(|early| content.extend_from_slice(early));
        content.extend_from_slice(&piece[..n]);
        piece.advance(n);
        self.missing -= n;
        if self.missing == 0 {
            self.add_behind(piece, message, reserved)?;
        }
        Ok(self.missing == 0 && self.behind == 0)
    }

    /// Takes what the message has behind the string.
    fn add_behind(
        &mut self,
        piece: &mut Bytes,
        message: &mut Vec<u8>,
        reserved: &mut Reservation,
    ) -> Result<(), Exhausted> {
        let n = piece.len().min(self.behind);
        if message.capacity() < message.len() + n {
            let room = (message.len() + self.behind).min((message.len() + n).saturating_mul(GROWTH));
            reserved.grow(self.apart.content_mut().capacity() + self.uncounted + room)?;
            message.reserve_exact(room - message.len());
        }
        message.extend_from_slice(&piece[..n]);
        piece.advance(n);
        self.behind -= n;
        Ok(())
    }

    /// Returns whether the next piece of the string, of `n` bytes, is kept as it is: it has a read buffer almost for
    /// itself, and there is not enough of the string yet to give it its whole room. To grow that would copy it.
    fn keeps_early(&mut self, n: usize) -> bool {
        let have = self.early.iter().map(Bytes::len).sum::<usize>();
        let is_early = (have + n).saturating_mul(GROWTH) < have + self.missing;
        is_early && n >= READ_BUFFER / 4 * 3 && self.apart.content_mut().capacity() == 0
    }

    pub(super) fn into_apart(self) -> Apart {
        self.apart
    }
}

/// Makes room for so many bytes: in a buffer that is kept, if one fits.
fn enlarge(content: &mut Vec<u8>, room: usize) {
    match large_buffers::take(room) {
        Some(mut kept) => {
            kept.extend_from_slice(content);
            *content = kept;
        }
        None => content.reserve_exact(room - content.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    #[test]
    fn a_kept_buffer_is_not_taken_for_what_is_only_announced() {
        const LEN: usize = 900_000;
        drop(large_buffers::into_bytes(vec![7; LEN]));
        let mut encoded = Vec::new();
        Codec::MessagePack.encode_into(&"x".repeat(LEN), &mut encoded).unwrap();
        let framed = [&(encoded.len() as u32).to_be_bytes()[..], &encoded].concat();
        let (mut piece, mut message) = (Bytes::copy_from_slice(&framed[..1000]), Vec::new());
        let mut gather = Gather::begin(&mut piece, encoded.len(), &mut message).unwrap();
        assert!(!gather.add(&mut piece, &mut message, &mut Reservation::default()).unwrap());
        let held = gather.apart.content_mut().capacity();
        assert!(held <= 1000 * GROWTH, "{held}");
    }
}
