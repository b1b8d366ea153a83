//! Safe programs that would break the loader's promises: none of them compiles, each for the reason
//! in the file beside it.
//!
//! The reasons are the compiler's messages. `TRYBUILD=overwrite` writes them anew; look at them then:
//! a case that fails for another reason than the one it is about shows nothing. Those that only the
//! toolchain's version changes are the price for that.

#[test]
fn attacks_do_not_compile() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
