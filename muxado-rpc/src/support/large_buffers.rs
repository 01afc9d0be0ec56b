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

/// Returns an empty buffer of at least `room` bytes, and at most a quarter more, if one is kept.
pub(crate) fn take(room: usize) -> Option<Vec<u8>> {
    if room < SMALLEST {
        return None;
    }
    let mut spare = spare();
    let fits = |buffer: &Vec<u8>| (room..=room + room / 4).contains(&buffer.capacity());
    let index = spare.iter().rposition(fits)?;
    Some(spare.remove(index))
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
        spare().push(buffer);
        while let Some(oldest) = take_oldest_beyond(KEPT) {
            // Without the lock.
            drop(oldest);
        }
    }
}

/// Takes the buffer that was kept the longest, which fits the least, if all together have more than so many bytes.
fn take_oldest_beyond(bytes: usize) -> Option<Vec<u8>> {
    let mut spare = spare();
    let kept = spare.iter().map(Vec::capacity).sum::<usize>();
    (kept > bytes).then(|| spare.remove(0))
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
        assert!(take(300_000).is_none(), "a part is still there");
        drop(rest);
        // Neither for what needs more nor for what needs much less.
        assert!([300_001, 200_000].into_iter().all(|room| take(room).is_none()));
        let again = take(299_000).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        for _ in 0..20 {
            let bytes: Vec<_> = (0..3).map(|_| into_bytes(vec![7; 1_000_000])).collect();
            drop((bytes, into_bytes(vec![7; KEPT + 1]), into_bytes(vec![7; SMALLEST - 1])));
            assert!(spare().iter().map(Vec::capacity).sum::<usize>() <= KEPT);
            assert!(spare().iter().all(|buffer| buffer.is_empty() && buffer.capacity() >= SMALLEST));
        }
    }
}
