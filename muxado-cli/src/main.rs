//! The program `muxado`; see the crate of the same directory.

fn main() -> std::process::ExitCode {
    muxado_cli::main()
}
