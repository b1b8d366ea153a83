//! Safe programs that would break the loader's promises, and a crate whose mistake has a message of
//! ours. None of them may compile, and each must fail with the compiler's messages in the `.stderr`
//! file beside it.
//!
//! `TRYBUILD=overwrite` writes these files again. Check the new messages, because a case that fails
//! for an unrelated reason tests nothing. The messages may also change with the version of the
//! toolchain.

#[test]
fn attacks_and_mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
