//! Calls of `muxado-rpc` against a peer that speaks by hand: a server that gets any requests, items and control
//! lines, and a client that gets any answers, with types that nest in every way.
//!
//! Each input runs on a thread with the stack that runtimes give theirs, in virtual time.

mod calling;
mod check;
mod hand;
mod logs;
mod message;
mod service;
mod serving;
mod told;
mod value;

use arbitrary::Unstructured;
use muxado_rpc::{Codec, Limits};

use self::logs::Logs;
use crate::settings::choose;

/// Bytes of stack of a thread of tokio's, and of most others.
const STACK: usize = 2 * 1024 * 1024;

/// The first bytes choose who is under test, and its limits; the rest is acts.
///
/// # Panics
///
/// When an invariant breaks, or no thread can be had.
pub fn calls(data: &[u8]) {
    let data = data.to_vec();
    let thread = std::thread::Builder::new().name("calls".to_owned()).stack_size(STACK);
    let run = thread.spawn(move || {
        let logs = Logs::default();
        let _guard = tracing::subscriber::set_default(logs.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let mut input = Unstructured::new(&data);
        runtime.expect("it needs no file").block_on(async {
            if choose(&mut input, [true, true, false]) {
                serving::run(&mut input).await;
            } else {
                calling::run(&mut input).await;
            }
        });
        logs.check();
    });
    if let Err(panic) = run.expect("there is room for a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

/// Limits that the next bytes choose.
fn take_limits(input: &mut Unstructured<'_>) -> Limits {
    Limits::default()
        .max_message_size(choose(input, [16 * 1024 * 1024, 64 * 1024, 1024]))
        .max_metadata_size(choose(input, [16 * 1024, 10]))
        .max_request_memory(choose(input, [256 * 1024 * 1024, 0]))
        .max_in_flight(choose(input, [1024, 1, 3]))
}

fn codec(packed: bool) -> Codec {
    if packed { Codec::MessagePack } else { Codec::Json }
}

/// Whether what is done is printed.
fn is_traced() -> bool {
    std::env::var_os("MUXADO_FUZZ_TRACE").is_some()
}
