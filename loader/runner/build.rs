//! Options of the linker for the runner.
//!
//! The relocations of an executable with musl's C library are packed, to a hundredth of their size.
//! The library, by which a static executable relocates itself, must know the format, and musl does
//! since 1.2.4, which is older than the Rust that this needs. There is always a build id, because
//! `precast exe` replaces the program header that leads to it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs,--build-id");
    }
}
