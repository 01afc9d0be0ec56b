//! Fuzzes `calls`: arbitrary requests, answers, items and control lines of `muxado-rpc`.

#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|data: &[u8]| muxado_fuzz::calls(data));

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    muxado_fuzz::runner::run(&muxado_fuzz::CALLS)
}
