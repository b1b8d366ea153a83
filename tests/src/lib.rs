//! What the tests share.
//!
//! | module | what |
//! |---|---|
//! | `source`, `compile` | artifacts: compiled, recorded or replayed |
//! | `guest` | an instance in a store of its own |
//! | `file` | artifacts in temporary files |
//! | `fork` | children by `fork` |
//! | `handmade` | an artifact that is made without the compiler |
//! | [`child`] | test cases that need a process of their own |
//! | [`executor`] | runs futures |
//! | `held` | mappings of the process, page faults and time of the thread |
//! | [`overflow`] | a module that overflows the stack |
//! | `small_stack` | threads with a stack of an exact size |
//! | `watchdog` | ends a test that hangs |
//!
//! Temporary directories come from the crate `tempfile`, random numbers from `fastrand`.
//!
//! Most tests compile a module and run it in the same process. A machine of another architecture,
//! such as an emulator, may only be able to run artifacts. The same tests then run twice: first on
//! the machine that compiles, which also compiles every module *for the other target* and keeps the
//! artifacts in a directory, and then on the other machine, which takes them from there.
//!
//! | environment variable | effect |
//! |---|---|
//! | `PRECAST_RECORD=DIR` | also compile for the other target and keep the artifacts in `DIR` |
//! | `PRECAST_RECORD_TARGET=TRIPLE` | the other target, which `PRECAST_RECORD` needs |
//! | `PRECAST_REPLAY=DIR` | take the artifacts from `DIR` instead of compiling |
//! | `PRECAST_RUNNER=COMMAND` | the command by which tests start themselves, such as an emulator |

pub mod child;
#[cfg(feature = "compiler")]
mod compile;
pub mod executor;
mod file;
mod fork;
mod guest;
mod handmade;
mod held;
pub mod overflow;
mod refusal;
mod small_stack;
mod source;
mod watchdog;

#[cfg(feature = "compiler")]
pub use compile::compiled;
pub use file::ArtifactFile;
pub use fork::child_process;
pub use guest::{Guest, call, trap};
pub use handmade::handmade;
pub use held::{cpu_time, faults, mappings, wait_until_asleep};
pub use refusal::refuse;
pub use small_stack::on_stack_of;
pub use source::{Source, artifact, module, store, strategies, strategy_pairs};
pub use watchdog::Watchdog;
