//! Numbers that nobody need guess twice alike: jitter of pauses, ids of traces.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

/// The next number of the SplitMix64 sequence that begins with `state`.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number that differs between processes, threads and calls. Not for secrets.
pub(crate) fn next() -> u64 {
    thread_local! {
        // The standard library seeds its hashers from the system.
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    STATE.with(|cell| {
        let mut state = cell.get();
        let number = split_mix(&mut state);
        cell.set(state);
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_split_mix_64() {
        let mut state = 1_234_567;
        let numbers = [split_mix(&mut state), split_mix(&mut state), split_mix(&mut state)];
        assert_eq!(numbers, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn threads_have_sequences_of_their_own() {
        let here = next();
        let there = std::thread::spawn(next).join().unwrap();
        assert_ne!(here, there);
        assert_ne!(here, next());
    }
}
