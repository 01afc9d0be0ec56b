//! What is to be sent: the queue of each stream, and the output of the session.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::FrameHeader;

/// Output pieces from this size on are passed on by reference; below, they are copied.
const COPY_BELOW: usize = 4 * 1024;

/// Bytes that a stream's writer has handed over and the session has not yet put into frames.
///
/// Small messages go past it, so most streams have no memory for it.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    parts: Option<Box<Parts>>,
}

/// Large pieces by reference, and behind them a copy of small ones.
#[derive(Debug, Default)]
struct Parts {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    /// Bytes that the peer has no room for, as last noted.
    stalled: usize,
}

impl SendQueue {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.len)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes the peer has no room for, as last noted.
    #[inline]
    pub(super) fn stalled(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.stalled)
    }

    /// Notes how many bytes the peer has no room for; returns how many were noted before.
    #[inline]
    pub(super) fn note_stalled(&mut self, n: usize) -> usize {
        self.parts.as_mut().map_or(0, |parts| std::mem::replace(&mut parts.stalled, n))
    }

    /// Appends up to `max` bytes of `src`, by reference where that is cheaper.
    pub(super) fn push(&mut self, src: &mut impl Source, max: usize) -> usize {
        let n = src.remaining().min(max);
        if n == 0 {
            return 0;
        }
        let Parts { chunks, tail, len, .. } = &mut **self.parts.get_or_insert_default();
        *len += n;
        let mut left = n;
        while let Some(shared) = share_some(src, left) {
            if !tail.is_empty() {
                chunks.push_back(tail.split().freeze());
            }
            left -= shared.len();
            chunks.push_back(shared);
        }
        copy_exactly(src, left, tail);
        n
    }

    /// Takes exactly `n` bytes, of which there must be so many, into `out`.
    pub(super) fn transfer(&mut self, n: usize, out: &mut Outbox) {
        if let Some(parts) = &mut self.parts {
            parts.len -= n;
            parts.transfer(n, out);
            if parts.len == 0 {
                parts.tail = BytesMut::new();
            }
        }
    }

    /// Frees its memory, if all was taken.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.stalled() == 0 {
            self.parts = None;
        }
    }

    /// Frees everything.
    pub(super) fn clear(&mut self) {
        self.parts = None;
    }
}

impl Parts {
    fn transfer(&mut self, mut n: usize, out: &mut Outbox) {
        while n > 0 {
            let chunk = match self.chunks.front_mut() {
                Some(front) if front.len() > n => {
                    let taken = front.split_to(n);
                    if front.len() < COPY_BELOW && taken.len() + front.len() >= COPY_BELOW {
                        // A small rest that waits for credit must not keep what it was cut from.
                        *front = Bytes::copy_from_slice(front);
                    }
                    taken
                }
                Some(_) => self.chunks.pop_front().unwrap_or_default(),
                None => {
                    let taken = self.tail.split_to(n.min(self.tail.len()));
                    let rest = self.tail.len();
                    if rest < COPY_BELOW && taken.len() + rest >= COPY_BELOW {
                        self.tail = BytesMut::from(&self.tail[..]);
                    }
                    taken.freeze()
                }
            };
            if chunk.is_empty() {
                return;
            }
            n -= chunk.len();
            out.put_bytes(chunk);
        }
    }
}

/// A source of bytes to be written: `&[u8]`, which is copied, or `Bytes`, large pieces of which are not.
///
/// Implementations run while the session is locked: they must not use it.
pub trait Source: Buf {
    /// Takes the next bytes by reference, at most `n` of them; `None` if that is not possible or not worth it.
    ///
    /// If these are fewer, the session asks again for the rest. `n` is at most [`Buf::remaining`].
    fn share(&mut self, n: usize) -> Option<Bytes>;
}

/// Takes the next bytes by reference, at most `n` and at least one of them.
///
/// A frame's length is on its way before its payload: whatever a source does, what is taken from it must not be longer
/// or shorter.
fn share_some(src: &mut impl Source, n: usize) -> Option<Bytes> {
    let mut shared = if n > 0 { src.share(n)? } else { return None };
    shared.truncate(n);
    Some(shared).filter(|shared| !shared.is_empty())
}

/// Copies exactly `n` bytes. Of a source that has fewer than it said, zeros stand for the others.
fn copy_exactly(src: &mut impl Source, n: usize, tail: &mut BytesMut) {
    match src.chunk().get(..n) {
        Some(data) if tail.capacity() > 0 => {
            tail.extend_from_slice(data);
            src.advance(n);
        }
        // It may take over memory of the source.
        _ => {
            let end = tail.len() + n;
            tail.put(src.take(n));
            tail.resize(end, 0);
        }
    }
}

impl Source for &[u8] {
    fn share(&mut self, _n: usize) -> Option<Bytes> {
        None
    }
}

impl Source for Bytes {
    fn share(&mut self, n: usize) -> Option<Bytes> {
        (n >= COPY_BELOW).then(|| self.split_to(n))
    }
}

/// Encoded frames on their way to the transport: small parts copied together, large ones by reference.
///
/// It is a [`Buf`], so whatever writes those can send it.
#[derive(Debug, Default)]
pub struct Outbox {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
    segment_bytes: usize,
}

impl Outbox {
    /// Returns whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.segment_bytes == 0 && self.tail.is_empty()
    }

    /// Returns how many bytes are not yet written.
    pub fn len(&self) -> usize {
        self.segment_bytes + self.tail.len()
    }

    /// Returns whether all that is to be written is in [`Buf::chunk`].
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn is_one_piece(&self) -> bool {
        self.segments.is_empty() || (self.segments.len() == 1 && self.tail.is_empty())
    }

    /// Frees its memory, if everything was written.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn put_header(&mut self, header: FrameHeader) {
        self.tail.extend_from_slice(&header.encode());
    }

    pub(super) fn put_u32(&mut self, value: u32) {
        self.tail.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn put_slice(&mut self, data: &[u8]) {
        self.tail.extend_from_slice(data);
    }

    pub(super) fn put_source(&mut self, src: &mut impl Source, n: usize) {
        let mut left = n;
        while let Some(shared) = share_some(src, left) {
            left -= shared.len();
            self.put_shared(shared);
        }
        copy_exactly(src, left, &mut self.tail);
    }

    fn put_bytes(&mut self, data: Bytes) {
        if data.len() < COPY_BELOW { self.tail.extend_from_slice(&data) } else { self.put_shared(data) }
    }

    fn put_shared(&mut self, data: Bytes) {
        if !self.tail.is_empty() {
            self.segment_bytes += self.tail.len();
            self.segments.push_back(self.tail.split().freeze());
        }
        self.segment_bytes += data.len();
        self.segments.push_back(data);
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.segments.front().map_or(&self.tail[..], |segment| &segment[..])
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let parts = self.segments.iter().map(|segment| &segment[..]).chain([&self.tail[..]]);
        for (slot, part) in dst.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            *slot = IoSlice::new(part);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut n: usize) {
        while n > 0 {
            let Some(front) = self.segments.front_mut() else {
                if n >= self.tail.len() {
                    self.tail.clear();
                } else {
                    self.tail.advance(n);
                }
                return;
            };
            let step = n.min(front.len());
            front.advance(step);
            if front.is_empty() {
                self.segments.pop_front();
            }
            self.segment_bytes -= step;
            n -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A source that gives fewer or more bytes than it is asked for.
    struct Odd {
        bytes: Bytes,
        said: usize,
        shared: isize,
    }

    impl Buf for Odd {
        fn remaining(&self) -> usize {
            self.said
        }

        fn chunk(&self) -> &[u8] {
            &self.bytes
        }

        fn advance(&mut self, n: usize) {
            self.bytes.advance(n);
            self.said = self.said.saturating_sub(n);
        }
    }

    impl Source for Odd {
        fn share(&mut self, n: usize) -> Option<Bytes> {
            let n = n.saturating_add_signed(self.shared).min(self.bytes.len());
            Some(self.bytes.split_to(n))
        }
    }

    #[test]
    fn source_that_gives_more_or_less_than_it_is_asked_for_makes_no_wrong_length() {
        for (len, said, shared) in
            [(9000, 9000, -1), (9000, 9000, -5000), (9000, 6000, 2000), (9000, 9000, -9000)]
        {
            let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let odd = || Odd { bytes: Bytes::from(data.clone()), said, shared };
            let (mut out, mut queue) = (Outbox::default(), SendQueue::default());
            out.put_source(&mut odd(), said);
            assert_eq!(out.copy_to_bytes(out.len()), data[..said]);
            assert_eq!(queue.push(&mut odd(), usize::MAX), said);
            queue.transfer(said, &mut out);
            assert_eq!(out.copy_to_bytes(out.len()), data[..said]);
        }
    }

    proptest! {
        #[test]
        fn queued_bytes_reach_the_output_in_order(
            pieces in prop::collection::vec((any::<bool>(), 1_usize..9000), 0..20),
            takes in prop::collection::vec(1_usize..20_000, 1..40),
        ) {
            let (mut queue, mut out) = (SendQueue::default(), Outbox::default());
            let (mut expected, mut seen) = (Vec::new(), Vec::new());
            for (index, (shared, len)) in pieces.into_iter().enumerate() {
                let data = vec![index as u8; len];
                expected.extend_from_slice(&data);
                if shared { queue.push(&mut Bytes::from(data), len); } else { queue.push(&mut &data[..], len); }
            }
            for n in takes.into_iter().cycle().take_while(|_| !expected.is_empty()).take(20_000) {
                queue.transfer(n.min(queue.len()), &mut out);
                let mut slices = [IoSlice::new(&[]); 4];
                let used = out.chunks_vectored(&mut slices);
                let written: usize = slices[..used].iter().map(|slice| slice.len()).sum();
                slices[..used].iter().for_each(|slice| seen.extend_from_slice(slice));
                out.advance(written);
                if queue.is_empty() && out.is_empty() { break }
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
