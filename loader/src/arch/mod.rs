//! What differs between architectures, a file each.
//!
//! # Adding an architecture
//! The compiler's side comes first: `compiler/src/target.rs` (settings, CPU features),
//! `compiler/src/layout/relocate.rs` (its relocations) and `precast_artifact::target` (its number,
//! the bits of its features, and which of them a machine has). The loader's side is one file here
//! that provides:
//!
//! | item | what |
//! |---|---|
//! | `ARCH` | the architecture, as artifacts name it |
//! | `stack_pointer()` | the stack pointer of the calling frame |
//! | `saved_registers()` | registers that may hold references while a host function runs |
//! | `resume(handler, sp, fp)` | continues at a landing pad and abandons all frames below it |
//! | `land(handler, sp, fp, exception)` | continues at a handler of wasm code, likewise |
//! | `context_pc_fp`, `context_resume` | the same from the context that a signal handler is given |
//! | `closed_entry!` | a function that calls of closed instances enter instead |
//! | `CALLS_WASM` | whether wasm functions can be called without an entry trampoline |
//! | `Words`, `call_wasm` | such calls |
//! | `direct_shim!` | a shim of a host function that takes the place of an exit; or null |
//! | `prepare_stack`, `enter_stack`, `switch_stack`, `leave_stack` | switching to another stack (feature `async`) |
//! | `pshufb` | on x86-64 only: a library call of Cranelift's |
//!
//! Traps that the CPU raises by signals other than SIGSEGV, SIGBUS, SIGILL and SIGFPE need a line
//! in `vm/signal.rs`. Then `tests/aarch64.sh` is the pattern of a script that runs the loader's
//! tests and a part of the official suite under an emulator.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("precast-loader runs on x86_64 and aarch64");
