//! What differs between architectures, a file each.
//!
//! # Adding an architecture
//! The compiler's side comes first:
//!
//! | file | what |
//! |---|---|
//! | `artifacts-format/src/target.rs` | its number, the bits of its features, and which of them a machine has |
//! | `artifacts-format/src/writer/output.rs` | its ELF header, its byte order |
//! | `compiler/src/target.rs` | its triples, settings and CPU features |
//! | `compiler/src/layout.rs`, `layout/relocate.rs` | its alignment, filler and relocations |
//! | `compiler/src/layout/island.rs` | whether its calls need islands |
//! | `compiler/src/verify.rs`, `verify/elf.rs` | the same facts for the verifier |
//! | `compiler/cli/src/objdump.rs` | its disassembler |
//!
//! rustc names each of these places except for the triples, the relocations and what finds out
//! which features a machine has; without these, nothing is compiled, or nothing that needs a
//! feature is opened. It does not name the following ones, which are right without a change as long
//! as zeros are no instruction, but make code slower or larger, or refuse it:
//!
//! | file | without a change |
//! |---|---|
//! | `compiler/src/codegen.rs` (`omitted`) | functions that nothing calls consist of zeros |
//! | `compiler/src/addresses.rs` | address maps count in bytes |
//! | `compiler/src/stops.rs` | each check of a checked artifact has a block that calls the loader |
//! | `compiler/src/translate/fuel.rs` | fuel is compared in a guarded artifact, too |
//! | `compiler/src/translate/bulk.rs` | short copies use no vectors |
//! | `compiler/src/codegen.rs`, `target.rs` | `relax` does not shorten jumps, `starts` aligns no loops |
//! | `compiler/object/src/lib.rs` | there are no object files |
//! | `artifacts-format/src/signature.rs` (`is_tail_like_c`) | calls of the host go through exits |
//!
//! The loader has three places. `loader/runner/src/lib.rs` names the architecture in `ARCH`, and
//! `loader/src/libcalls.rs` has the library calls that Cranelift makes only there. The third is one
//! file here that provides:
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
