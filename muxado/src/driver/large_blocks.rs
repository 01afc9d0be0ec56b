//! What glibc's allocator has to see once where large messages come and go.

use std::{hint::black_box, sync::Once};

/// Size of the block, in bytes.
const BLOCK: usize = 1024 * 1024;

/// Has the allocator keep a little more free memory, from the first call in a process on.
///
/// By default glibc gives the end of its heap back to the system as soon as 128 KiB of it are free, which two messages of
/// 64 KiB are. The next ones then pay for each page of it again: up to 25 page faults for such a call, and less than a third of
/// the calls, depending on what else happens to lie in the heap. A block that was so large that it had a mapping of its own
/// raises that limit to twice its size when it is freed (mallopt(3), `M_MMAP_THRESHOLD`), as any program does sooner or later.
/// Nobody writes to this one, so it takes no memory.
#[inline]
pub(super) fn expect() {
    static SEEN: Once = Once::new();
    if cfg!(target_env = "gnu") {
        SEEN.call_once(|| drop(black_box(Vec::<u8>::with_capacity(BLOCK))));
    }
}
