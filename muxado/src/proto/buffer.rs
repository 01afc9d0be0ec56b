//! What a stream has received and nobody has read yet.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Payloads from this size on are kept as slices of the read buffer; below, they are copied, so
/// that a small chunk never keeps a large buffer alive.
pub(super) const SHARE_FROM: usize = 16 * 1024;

/// Bytes that a stream has received and not yet given to its reader.
///
/// Most streams of calls hold one piece at a time, and have no memory for more. If there are several, small ones are
/// copied into a tail buffer, so the memory held is at most about twice the bytes, however small the frames were.
#[derive(Debug, Default)]
pub(super) struct RecvBuffer {
    /// The piece that came when there was none.
    first: Chunk,
    /// The pieces behind it.
    more: Option<Box<Pieces>>,
}

/// Pieces behind the first.
#[derive(Debug, Default)]
struct Pieces {
    chunks: VecDeque<Chunk>,
    tail: BytesMut,
    len: usize,
    /// What the tail was made for, in bytes.
    tail_size: usize,
}

/// Memory for small pieces of all streams of a session. Several share an allocation, which is used again once they are
/// gone: most messages are small, and are gone before the next ones come.
#[derive(Debug, Default)]
pub(super) struct SmallPieces(BytesMut);

/// Size of such an allocation, in bytes: so much a small piece may keep alive.
const BLOCK: usize = 512;

/// What a small piece is, in bytes.
const SMALL_PIECE: usize = BLOCK / 4;

impl SmallPieces {
    /// Returns a copy of `data`.
    #[inline]
    fn copy(&mut self, data: &[u8]) -> Bytes {
        if data.len() > SMALL_PIECE {
            return Bytes::copy_from_slice(data);
        }
        if self.0.capacity() < data.len() && !self.0.try_reclaim(data.len()) {
            self.0 = BytesMut::with_capacity(BLOCK);
        }
        self.0.extend_from_slice(data);
        self.0.split().freeze()
    }

    /// Gives its memory back; what is left of the pieces keeps theirs.
    pub(super) fn shrink(&mut self) {
        self.0 = BytesMut::new();
    }
}

/// Received bytes, and how much memory they keep alive.
#[derive(Debug, Default)]
struct Chunk {
    data: Bytes,
    held: u32,
}

impl Chunk {
    #[inline]
    fn copy_of(data: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(data), data.len())
    }

    #[inline]
    fn new(data: Bytes, held: usize) -> Self {
        Self { data, held: u32::try_from(held).unwrap_or(u32::MAX) }
    }

    /// Takes up to `max` bytes off the front, without a copy.
    #[inline]
    fn take(&mut self, max: usize) -> Bytes {
        if self.data.len() <= max {
            return std::mem::take(&mut self.data);
        }
        let taken = self.data.slice(..max);
        self.shorten(max);
        taken
    }

    /// Takes `n` bytes off the front. A rest that is small beside what it keeps alive is copied.
    fn shorten(&mut self, n: usize) {
        if n == self.data.len() {
            self.data = Bytes::new();
            return;
        }
        self.data.advance(n);
        let held = self.held as usize;
        if self.data.len() * HELD_PER_BYTE < held && held > KEEP_TAIL {
            *self = Self::copy_of(&self.data);
        }
    }
}

/// Memory that a received byte may keep alive: slices are taken from a quarter of a read buffer on.
const HELD_PER_BYTE: usize = 4;

/// Largest tail buffer, in bytes.
const MAX_TAIL: usize = 16 * 1024;

/// Largest empty tail buffer that is kept, in bytes.
const KEEP_TAIL: usize = 512;

impl RecvBuffer {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.first.data.len() + self.more.as_ref().map_or(0, |more| more.len)
    }

    /// Appends a copy of `data`. Where the reader copies as well, small pieces use one buffer in turn.
    #[inline]
    pub(super) fn push_copy(&mut self, data: &[u8], read_by_copy: bool, block: &mut SmallPieces) {
        let len = self.len();
        if len == 0 && !read_by_copy {
            self.first = Chunk::new(block.copy(data), data.len());
        } else {
            self.more.get_or_insert_default().push_copy(data, len);
        }
    }

    /// Appends `data` without copying it.
    pub(super) fn push_shared(&mut self, data: Bytes) {
        let held = data.len() * HELD_PER_BYTE;
        let chunk = Chunk::new(data, held);
        if self.len() == 0 {
            self.first = chunk;
        } else {
            self.more.get_or_insert_default().push(chunk);
        }
    }

    /// Takes the next chunk, at most `max` bytes.
    #[inline]
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        if self.first.data.is_empty() { self.more.as_mut()?.pop(max) } else { Some(self.first.take(max)) }
    }

    /// Copies as much as there is and fits into `dst`; returns how much.
    pub(super) fn read(&mut self, dst: &mut impl BufMut) -> usize {
        let mut copied = dst.remaining_mut().min(self.first.data.len());
        if copied > 0 {
            dst.put_slice(&self.first.data[..copied]);
            self.first.shorten(copied);
        }
        if let Some(more) = &mut self.more {
            copied += more.read(dst);
        }
        copied
    }

    /// Returns the first bytes, as far as they lie in one piece.
    pub(super) fn front(&self) -> &[u8] {
        match &self.more {
            Some(more) if self.first.data.is_empty() => more.front(),
            _ => &self.first.data,
        }
    }

    /// Copies the first bytes into `dst` without taking them, and returns how many.
    pub(super) fn copy_front(&self, mut dst: &mut [u8]) -> usize {
        let room = dst.len();
        let chunks = self.more.iter().flat_map(|more| more.chunks.iter().map(|chunk| &*chunk.data));
        let tail = self.more.iter().map(|more| &*more.tail);
        for piece in std::iter::once(&*self.first.data).chain(chunks).chain(tail) {
            let n = piece.len().min(dst.len());
            dst.put_slice(&piece[..n]);
        }
        room - dst.len()
    }

    /// Frees everything; returns how many bytes that were.
    pub(super) fn clear(&mut self) -> usize {
        let len = self.len();
        // Most streams are read to the end; taking what is not there costs more than to look.
        if len > 0 || self.more.is_some() {
            *self = Self::default();
        }
        len
    }

    /// Frees its memory, if all was read.
    pub(super) fn shrink(&mut self) {
        if self.len() == 0 {
            self.more = None;
        }
    }
}

impl Pieces {
    fn push(&mut self, chunk: Chunk) {
        self.seal();
        self.len += chunk.data.len();
        self.chunks.push_back(chunk);
    }

    fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail, |chunk| &chunk.data)
    }

    /// Appends a copy of `data`, behind `len` bytes of the whole.
    fn push_copy(&mut self, data: &[u8], len: usize) {
        let spare = self.tail.capacity() - self.tail.len();
        let (fits, rest) = data.split_at(spare.min(data.len()));
        self.len += data.len();
        self.tail.extend_from_slice(fits);
        if !rest.is_empty() {
            self.seal();
            // The first piece gets just its size: it may be the only one.
            let size = if len == 0 { rest.len() } else { len.clamp(512, MAX_TAIL).max(rest.len()) };
            self.tail = BytesMut::with_capacity(size);
            self.tail_size = size;
            self.tail.extend_from_slice(rest);
        }
    }

    /// Takes the next chunk, at most `max` bytes.
    fn pop(&mut self, max: usize) -> Option<Bytes> {
        let chunk = self.pop_chunk(max)?;
        self.len -= chunk.len();
        Some(chunk)
    }

    fn pop_chunk(&mut self, max: usize) -> Option<Bytes> {
        if let Some(front) = self.chunks.front_mut() {
            let taken = front.take(max);
            if front.data.is_empty() {
                self.chunks.pop_front();
            }
            return Some(taken);
        }
        if self.tail.len() > max {
            let taken = Bytes::copy_from_slice(&self.tail[..max]);
            self.tail.advance(max);
            self.shorten_tail();
            return Some(taken);
        }
        (!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail).freeze())
    }

    fn read(&mut self, dst: &mut impl BufMut) -> usize {
        let mut copied = 0;
        while dst.has_remaining_mut() {
            let room = dst.remaining_mut();
            let n = if let Some(front) = self.chunks.front_mut() {
                let n = room.min(front.data.len());
                dst.put_slice(&front.data[..n]);
                front.shorten(n);
                if front.data.is_empty() {
                    self.chunks.pop_front();
                }
                n
            } else if self.tail.is_empty() {
                break;
            } else {
                let n = room.min(self.tail.len());
                dst.put_slice(&self.tail[..n]);
                if n == self.tail.len() {
                    // A small buffer is kept for the next piece; an idle stream holds no large one.
                    if self.tail.capacity() > KEEP_TAIL {
                        self.tail = BytesMut::new();
                    } else {
                        self.tail.clear();
                    }
                } else {
                    self.tail.advance(n);
                    self.shorten_tail();
                }
                n
            };
            copied += n;
        }
        self.len -= copied;
        copied
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let data = std::mem::take(&mut self.tail).freeze();
            self.chunks.push_back(Chunk::new(data, self.tail_size));
        }
    }

    /// A tail that is mostly read gives its memory back; what was in front of the rest cannot be
    /// used again.
    fn shorten_tail(&mut self) {
        if self.tail.len() * HELD_PER_BYTE < self.tail_size && self.tail_size > KEEP_TAIL {
            self.tail_size = self.tail.len();
            self.tail = BytesMut::from(&self.tail[..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn received_bytes_come_out_in_order(
            pieces in prop::collection::vec((any::<bool>(), 1_usize..2000), 0..40),
            reads in prop::collection::vec((any::<bool>(), 1_usize..3000), 1..80),
        ) {
            let (mut buffer, mut block) = (RecvBuffer::default(), SmallPieces::default());
            let copied = reads[0].0;
            let mut expected = Vec::new();
            for (index, (shared, len)) in pieces.into_iter().enumerate() {
                let data = vec![index as u8; len];
                expected.extend_from_slice(&data);
                if shared { buffer.push_shared(data.into()) } else { buffer.push_copy(&data, copied, &mut block) }
            }
            prop_assert_eq!(buffer.len(), expected.len());
            let mut front = vec![0; 5000];
            let copied = buffer.copy_front(&mut front);
            prop_assert_eq!(&front[..copied], &expected[..expected.len().min(5000)]);
            prop_assert!(expected.starts_with(buffer.front()));
            prop_assert_eq!(buffer.front().is_empty(), expected.is_empty());
            let mut out = Vec::new();
            for (copy, max) in reads.into_iter().cycle().take(20_000) {
                if buffer.len() == 0 { break }
                if copy {
                    buffer.read(&mut (&mut out).limit(max));
                } else {
                    out.extend_from_slice(&buffer.pop(max).unwrap_or_default());
                }
                prop_assert_eq!(buffer.len(), expected.len() - out.len());
            }
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn small_pieces_use_the_same_memory_in_turn() {
        let mut block = SmallPieces::default();
        let first = block.copy(&[1; 100]);
        let place = first.as_ptr();
        drop(first);
        for n in 0..1000 {
            let piece = block.copy(&[n as u8; 100]);
            assert_eq!(piece, vec![n as u8; 100]);
            let offset = (piece.as_ptr() as usize).wrapping_sub(place as usize);
            assert!(offset < BLOCK, "piece {n} lies elsewhere");
        }
        // Those that are kept stay what they are.
        let kept: Vec<_> = (0..100).map(|n| block.copy(&[n; 60])).collect();
        assert!(kept.iter().enumerate().all(|(n, piece)| *piece == vec![n as u8; 60]));
    }

    #[test]
    fn one_byte_pieces_share_a_few_buffers() {
        let (mut buffer, mut block) = (RecvBuffer::default(), SmallPieces::default());
        (0..4096).for_each(|_| buffer.push_copy(&[7], false, &mut block));
        let chunks = buffer.more.as_ref().map_or(0, |more| more.chunks.len());
        assert!(chunks <= 8, "{chunks} chunks");
    }
}
