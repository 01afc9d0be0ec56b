//! The buffers of the last large strings that were sent, for the next ones that are received.
//!
//! Fresh memory is slow: the kernel clears each page when it is first written to, and an allocator that gives large
//! blocks back to it has that done for each message. The process keeps a few.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Bytes of the smallest buffer that is kept: what allocators keep by themselves.
const SMALLEST: usize = 128 * 1024;

/// Bytes that all kept buffers have together, at most.
const KEPT: usize = 4 * 1024 * 1024;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<Vec<u8>>> {
    // Nothing panics under the lock.
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an empty buffer of at least `room` bytes, and at most a quarter more.
pub(crate) fn take(room: usize) -> Vec<u8> {
    if room >= SMALLEST {
        let mut spare = spare();
        let fits = |buffer: &Vec<u8>| (room..=room + room / 4).contains(&buffer.capacity());
        if let Some(index) = spare.iter().rposition(fits) {
            return spare.remove(index);
        }
    }
    let mut buffer = Vec::new();
    buffer.reserve_exact(room);
    buffer
}

/// Makes bytes of a buffer, which is kept once nothing of them is left.
pub(crate) fn into_bytes(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < SMALLEST { buffer.into() } else { Bytes::from_owner(Sent(buffer)) }
}

/// A buffer that is being sent.
struct Sent(Vec<u8>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut buffer = mem::take(&mut self.0);
        if buffer.capacity() > KEPT {
            return;
        }
        buffer.clear();
        let mut spare = spare();
        let mut kept = spare.iter().map(Vec::capacity).sum::<usize>() + buffer.capacity();
        spare.push(buffer);
        // Those that were kept the longest fit the least. They are freed without the lock.
        let mut old = Vec::new();
        while kept > KEPT {
            let oldest = spare.remove(0);
            kept -= oldest.capacity();
            old.push(oldest);
        }
        drop(spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, since what is kept is the process's.
    #[test]
    fn buffers_of_what_was_sent_are_used_again_within_the_bound() {
        let sent = into_bytes(vec![7; 300_000]);
        let (place, rest) = (sent.as_ptr(), sent.slice(1000..));
        drop(sent);
        let other = take(300_000);
        assert_ne!(other.as_ptr(), place, "a part is still there");
        drop(rest);
        // Neither for what needs more nor for what needs much less.
        for room in [300_001, 200_000] {
            let other = take(room);
            assert_ne!(other.as_ptr(), place, "{room}");
        }
        let again = take(299_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        for _ in 0..20 {
            let bytes: Vec<_> = (0..3).map(|_| into_bytes(vec![7; 1_000_000])).collect();
            drop((bytes, into_bytes(vec![7; KEPT + 1]), into_bytes(vec![7; SMALLEST - 1])));
            assert!(spare().iter().map(Vec::capacity).sum::<usize>() <= KEPT);
            assert!(spare().iter().all(|buffer| buffer.is_empty() && buffer.capacity() >= SMALLEST));
        }
    }
}
