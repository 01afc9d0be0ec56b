//! The buffer of the last small message that was sent, for the next one to be encoded on the same thread.
//!
//! Most messages are sent where they were encoded, in one poll of a task: one buffer a thread serves them all.

use std::cell::Cell;

/// What a buffer begins with, in bytes: small messages never grow it.
const FIRST_CAPACITY: usize = 256;

/// Largest buffer that is kept, in bytes.
const MAX_KEPT: usize = 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    // A thread that ends has none any more.
    let spare = SPARE.try_with(Cell::take).unwrap_or_default();
    if spare.capacity() == 0 { Vec::with_capacity(FIRST_CAPACITY) } else { spare }
}

/// Keeps a buffer that is no longer needed, if it is a small one.
pub(super) fn put(mut buf: Vec<u8>) {
    if (FIRST_CAPACITY..=MAX_KEPT).contains(&buf.capacity()) {
        buf.clear();
        // If that cannot be, the buffer is freed.
        let _ = SPARE.try_with(|spare| spare.set(buf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_given_back_is_taken_next() {
        let mut buf = take();
        buf.extend_from_slice(b"of the last message");
        let place = buf.as_ptr();
        put(buf);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn only_small_buffers_are_kept() {
        for capacity in [0, 16, MAX_KEPT + 1] {
            put(Vec::with_capacity(capacity));
            assert_eq!(take().capacity(), FIRST_CAPACITY);
        }
        put(Vec::with_capacity(MAX_KEPT));
        assert_eq!(take().capacity(), MAX_KEPT);
    }

    #[test]
    fn of_two_buffers_one_is_kept() {
        put(Vec::with_capacity(300));
        put(Vec::with_capacity(400));
        assert_eq!(take().capacity(), 400);
        assert_eq!(take().capacity(), FIRST_CAPACITY);
    }
}
