//! Fuzzes `pair`: two sessions joined by pipes, against a model of what must arrive.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|data: &[u8]| muxado_fuzz::pair(data));

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    muxado_fuzz::runner::run(&muxado_fuzz::PAIR)
}
