//! Where the tests' artifacts come from.
//!
//! Most tests compile a module and run it in the same process. On a machine that only runs
//! artifacts (another architecture under emulation, say) nothing is compiled: the same tests run
//! on the machine that can compile first, which keeps what it compiles *for the other target* in a
//! directory, and then on the other, which finds it there.
//!
//! | environment variable | effect |
//! |---|---|
//! | `PRECAST_RECORD=DIR`, `PRECAST_RECORD_TARGET=TRIPLE` | also compile for `TRIPLE`, keep in `DIR` |
//! | `PRECAST_REPLAY=DIR` | take from `DIR`, compile nothing |
//! | `PRECAST_RUNNER=COMMAND` | what starts a program of this architecture, for tests that start themselves |

#[cfg(feature = "compiler")]
mod compile;
mod source;
mod watchdog;

pub use source::{Source, artifact, module, store, strategies};
pub use watchdog::Watchdog;
