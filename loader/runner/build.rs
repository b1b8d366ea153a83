//! Options of the linker for the runner.
//!
//! The relocations of a static executable are packed, to a hundredth of their size. Only the C
//! library, by which the executable relocates itself, must know the format, and musl's does. There
//! is always a build id, because `precast exe` replaces the program header that leads to it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target_is = |key: &str, value: &str| {
        let found = std::env::var(key).unwrap_or_default();
        found.split(',').any(|found| found == value)
    };
    if target_is("CARGO_CFG_TARGET_ENV", "musl")
        && target_is("CARGO_CFG_TARGET_FEATURE", "crt-static")
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs,--build-id");
    }
}
