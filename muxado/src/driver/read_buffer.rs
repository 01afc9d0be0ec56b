//! Where a driver reads to: a buffer for what comes next, and earlier ones to be used again.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut, buf::Limit};

use super::large_blocks;

/// Received bytes that are no whole frame yet, and the memory for what comes.
///
/// Large payloads leave as slices of the buffer that they were read to, so the next read needs
/// another one. Fresh memory is slow: the kernel clears each page when it is first written to.
/// Buffers are therefore kept, and used again once all their slices are gone.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    pub(super) bytes: BytesMut,
    /// Full buffers of the largest size, the oldest first.
    used: VecDeque<BytesMut>,
    read_size: usize,
    small_reads: u32,
}

/// Read buffer to begin with, in bytes.
pub(super) const MIN_READ: usize = 4 * 1024;

/// Largest read buffer, in bytes: a batch of a peer's output, which has 64 KiB, with its headers and what little
/// there is behind it. A message of that size then comes in one read.
const MAX_READ: usize = 65 * 1024;

/// Reads that leave most of the buffer empty before it is made smaller.
const SMALL_READS: u32 = 32;

/// Buffers that are kept to be used again.
const USED: usize = 8;

impl ReadBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), used: VecDeque::new(), read_size: MIN_READ, small_reads: 0 }
    }

    /// Room for a read, of at most `most` bytes.
    pub(super) fn room(&mut self, most: usize) -> Limit<&mut BytesMut> {
        if !self.bytes.try_reclaim(self.read_size) {
            self.replace();
        }
        let room = self.bytes.capacity() - self.bytes.len();
        (&mut self.bytes).limit(room.min(most))
    }

    /// Goes on with another buffer. A full one of the largest size is kept: large pieces of it are in use, and are soon
    /// given back.
    fn replace(&mut self) {
        let size = self.bytes.len() + self.read_size;
        let free = self.used.iter_mut().position(|buffer| buffer.try_reclaim(size));
        let next = free.and_then(|index| self.used.remove(index));
        let mut next = next.unwrap_or_else(|| BytesMut::with_capacity(size));
        next.extend_from_slice(&self.bytes);
        let mut full = std::mem::replace(&mut self.bytes, next);
        if self.read_size == MAX_READ {
            full.clear();
            if self.used.len() == USED {
                self.used.pop_front();
            }
            self.used.push_back(full);
        }
    }

    /// Makes the next reads larger after one that took all the `room`, smaller after many small ones.
    pub(super) fn adapt(&mut self, n: usize, room: usize) {
        if n == room {
            self.read_size = (self.read_size * 4).min(MAX_READ);
            self.small_reads = 0;
            if self.read_size == MAX_READ {
                large_blocks::expect();
            }
        } else if n < self.read_size / 4 && self.read_size > MIN_READ {
            self.small_reads += 1;
            if self.small_reads >= SMALL_READS {
                self.small_reads = 0;
                self.read_size /= 4;
                self.used = VecDeque::new();
                if self.bytes.is_empty() {
                    self.bytes = BytesMut::new();
                }
            }
        } else {
            self.small_reads = 0;
        }
    }

    /// Frees what nothing is in. A part of a header may be there, and nothing tells how much memory that
    /// keeps alive.
    pub(super) fn shrink(&mut self) {
        self.bytes = BytesMut::from(&self.bytes[..]);
        self.used = VecDeque::new();
    }

    /// Frees what nothing is in, and makes the next read a small one.
    pub(super) fn reset(&mut self) {
        *self = Self { bytes: BytesMut::from(&self.bytes[..]), ..Self::new() };
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Bytes of a large frame that are still to come.
    const LARGE: usize = 1024 * 1024;

    /// Reads as much as there is room for, and takes it out as one piece.
    fn read(read_buffer: &mut ReadBuffer) -> Bytes {
        let room = read_buffer.room(LARGE).remaining_mut();
        read_buffer.bytes.put_bytes(7, room);
        read_buffer.adapt(room, room);
        read_buffer.bytes.split().freeze()
    }

    fn grown() -> ReadBuffer {
        let mut read_buffer = ReadBuffer::new();
        while read_buffer.read_size < MAX_READ {
            read(&mut read_buffer);
        }
        read_buffer
    }

    #[test]
    fn buffers_are_used_again_once_nothing_of_them_is_left() {
        let mut read_buffer = grown();
        let pieces: Vec<_> = (0..USED).map(|_| read(&mut read_buffer)).collect();
        let places: Vec<_> = pieces.iter().map(|piece| piece.as_ptr()).collect();
        drop(pieces);
        for _ in 0..3 * USED {
            let piece = read(&mut read_buffer);
            assert!(places.contains(&piece.as_ptr()));
        }
    }

    #[test]
    fn no_more_buffers_are_kept_than_the_bound() {
        let mut read_buffer = grown();
        let pieces: Vec<_> = (0..4 * USED).map(|_| read(&mut read_buffer)).collect();
        assert_eq!(read_buffer.used.len(), USED);
        assert!(pieces.iter().all(|piece| piece.iter().all(|byte| *byte == 7)));
        read_buffer.shrink();
        assert!(read_buffer.used.is_empty());
    }

    #[test]
    fn rest_of_a_frame_moves_on_with_the_buffer() {
        let mut read_buffer = grown();
        let room = read_buffer.room(LARGE).remaining_mut();
        read_buffer.bytes.put_bytes(1, room - 3);
        read_buffer.bytes.put_slice(b"end");
        let piece = read_buffer.bytes.split_to(room - 3);
        read_buffer.room(LARGE);
        assert_eq!(read_buffer.bytes, "end");
        drop(piece);
    }

    #[test]
    fn a_read_takes_no_more_than_was_asked_for() {
        assert_eq!(grown().room(100).remaining_mut(), 100);
    }
}
