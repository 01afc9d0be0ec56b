//! Fuzz targets of `muxado::proto` and of `muxado-rpc`: functions that take any bytes and panic if an invariant breaks.
//!
//! Each is a program of its own, for `cargo fuzz` or with the small [`runner`] of this crate; see
//! `README.md`. What they once found is replayed by this crate's tests.

mod bytes;
mod calls;
mod checked;
mod inputs;
mod operations;
mod pair;
mod peer;
#[cfg(test)]
mod regressions;
pub mod runner;
mod settings;

pub use self::{bytes::bytes, calls::calls, operations::operations, pair::pair};
use crate::runner::Target;

/// [`bytes`] and where its inputs come from.
pub const BYTES: Target = Target { name: "bytes", run: bytes, generate: inputs::bytes };

/// [`calls`] and where its inputs come from.
pub const CALLS: Target = Target { name: "calls", run: calls, generate: inputs::acts };

/// [`operations`] and where its inputs come from.
pub const OPERATIONS: Target = Target { name: "operations", run: operations, generate: inputs::choices };

/// [`pair`] and where its inputs come from.
pub const PAIR: Target = Target { name: "pair", run: pair, generate: inputs::choices };

#[cfg(test)]
mod tests {
    use super::{BYTES, CALLS, OPERATIONS, PAIR, regressions::REGRESSIONS};

    #[test]
    fn what_was_found_once_stays_fixed() {
        for (name, input) in REGRESSIONS {
            println!("{name} --input {}", input.split_whitespace().collect::<String>());
            let target = [&BYTES, &CALLS, &OPERATIONS, &PAIR].into_iter().find(|target| target.name == *name);
            (target.expect("the name of a target").run)(&muxado_tests::hex(input));
        }
    }

    #[test]
    fn targets_take_any_input() {
        for target in [&BYTES, &CALLS, &OPERATIONS, &PAIR] {
            let mut rng = fastrand::Rng::with_seed(7);
            for len in [0, 1, 2, 7, 40] {
                (target.run)(&vec![0xFF; len]);
                (target.run)(&vec![0; len]);
            }
            (0..300).for_each(|_| (target.run)(&(target.generate)(&mut rng)));
        }
    }
}
