//! A message that comes in pieces and is mostly one large string, which is gathered apart from it: what it is gathered
//! in becomes the string that is decoded.

use bytes::{Buf, Bytes};

use super::{GROWTH, LENGTH_PREFIX};
use crate::{
    codec::{
        apart::Apart,
        msgpack::{LargePlace, find_large},
    },
    support::budget::{Exhausted, Reservation},
};

/// The large string of a message, and what is missing of both.
#[derive(Debug)]
pub(super) struct Gather {
    apart: Apart,
    /// Bytes of the string that are missing.
    missing: usize,
    /// Bytes that the message has behind it.
    behind: usize,
}

impl Gather {
    /// Begins a message of `length` bytes with its first piece, from its length on, if a large string begins there.
    /// What is in front of that is put into `message`, which is empty.
    pub(super) fn begin(piece: &mut Bytes, length: usize, message: &mut Vec<u8>) -> Option<Self> {
        let place = find_large(piece.get(LENGTH_PREFIX..)?, length)?;
        let LargePlace { head, content, len, .. } = place;
        message.extend_from_slice(&piece[..LENGTH_PREFIX + head]);
        let apart = Apart::begin(place, &piece[LENGTH_PREFIX + head..LENGTH_PREFIX + content], message);
        piece.advance(LENGTH_PREFIX + content);
        Some(Self { apart, missing: len, behind: length - content - len })
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
        let content = self.apart.content_mut();
        let n = piece.len().min(self.missing);
        let have = content.len() + n;
        if content.capacity() < have {
            // What is announced is not allocated before a good part of it has come.
            let room = (content.len() + self.missing).min(have.saturating_mul(GROWTH));
            reserved.grow(message.capacity() + room)?;
            content.reserve_exact(room - content.len());
        }
        content.extend_from_slice(&piece[..n]);
        piece.advance(n);
        self.missing -= n;
        let n = piece.len().min(self.behind);
        if self.missing == 0 && n > 0 {
            let room = (message.len() + self.behind).min((message.len() + n).saturating_mul(GROWTH));
            if message.capacity() < message.len() + n {
                reserved.grow(content.capacity() + room)?;
                message.reserve_exact(room - message.len());
            }
            message.extend_from_slice(&piece[..n]);
            piece.advance(n);
            self.behind -= n;
        }
        Ok(self.missing == 0 && self.behind == 0)
    }

    pub(super) fn into_apart(self) -> Apart {
        self.apart
    }
}
