//! What `#[service]` accepts and what it says about the rest.
//!
//! `TRYBUILD=overwrite cargo test -p muxado-rpc --test ui` writes the `.stderr` files anew. They hold for the
//! toolchain that CI pins: rustc words its part of the messages differently from release to release.

#[test]
fn services_compile_or_say_why_not() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    if cfg!(feature = "schema") {
        // With schemars in the tree, rustc calls some types of serde and serde_json by longer paths: the other messages
        // are compared without it.
        cases.compile_fail("tests/ui/schema/*.rs");
    } else {
        cases.compile_fail("tests/ui/fail/*.rs");
        cases.compile_fail("tests/ui/no_schema/*.rs");
    }
}
