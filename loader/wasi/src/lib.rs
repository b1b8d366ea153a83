//! WASI preview 1 (`wasi_snapshot_preview1`) as host functions for [`precast_loader`].
//!
//! [`WasiCtxBuilder`] sets what a guest is given; [`add_to_linker`] defines the functions.
//!
//! ```no_run
//! use precast_loader::{Engine, Error, Linker, Module, Store};
//! use precast_wasi::{DirAccess, WasiCtx, WasiCtxBuilder, add_to_linker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::default();
//! // SAFETY: precast wrote the file, and nobody writes to it while it is mapped.
//! let module = unsafe { Module::open(&engine, "program.precast")? };
//! let mut linker = Linker::new(&engine);
//! add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
//! let wasi = WasiCtxBuilder::new()
//!     .inherit_stdio()
//!     .arg("program")?
//!     .preopened_dir("data", "/data", DirAccess::ReadOnly)?
//!     .build();
//! let mut store = Store::new(&engine, wasi);
//! let instance = linker.instantiate(&mut store, &module)?;
//! let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
//! match start.call(&mut store, ()) {
//!     Ok(()) | Err(Error::Exit(0)) => {}
//!     Err(Error::Exit(code)) => eprintln!("exit code {code}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//!
//! - A guest reaches nothing of the host that the host did not give it.
//! - No path leads out of a preopened directory. In a read-only one, no contents and no names
//!   change, and no times but those of the last access, which the system sets.
//! - Every pointer and length of a guest is checked before it is used. None makes the host panic or
//!   allocate memory in proportion to it.

// Where things are, for those who change the crate:
//
// | module | what |
// |---|---|
// | `ctx`, `descriptor`, `stdio`, `pipe` | a guest's context, descriptors and standard streams |
// | `guest` | guest memory; every pointer is checked here |
// | `path`, `open`, `path_at`, `look` | functions on paths: the sandbox of the file system |
// | `fs` | file systems that the host makes, and their sandbox |
// | `procfs` | keeps guests out of procfs |
// | `protect`, `names` | files in a guest's directories that it must not change |
// | `reach`, `mounts` | which files a guest could change |
// | `fd`, `fdstat`, `readdir` | functions on descriptors: data, attributes, directory listings |
// | `clock`, `poll`, `wait`, `process` | time, waiting, and all other functions |
// | `errno`, `types` | the snapshot's error numbers, flags and records |
// | `unstable` | the functions under the names and layouts of `wasi_unstable` |
// | `linker`, `runtime` | defines the functions in a linker, or in a runtime |
// | `suspend`, `timer` | functions that suspend only their guest (feature `async`) |
// | `access`, `threads` | programs with threads: their common context; starting and ending them |
//
// # Adding a function
// Write the function in the file of its family. It takes the context, the guest's memory and its
// arguments, and returns an `Errno`. Add a line to a list in `linker.rs`, with the snapshot's
// names of its parameters: in `add_common` if both snapshots have the function, in `add_preview1`
// if only preview 1 has it or the older one has it in another form. Each list says by `true` or
// `false` whether its functions may wait, or take long. Such a function takes an `Access` in place
// of the context; if it waits for streams, it belongs in `add_transfers`, and `suspend` needs
// its form that suspends. Only `guest` follows pointers, and only `path`, `open`, `path_at` and
// `fs::resolve` follow paths. A function that changes a file asks `protect` first. A function
// waits only through `Access`, so that deadlines and cancellation end the wait. Tests are in
// `src/tests`, grouped by what a guest could do.

mod access;
mod clock;
mod ctx;
mod descriptor;
mod errno;
mod fd;
mod fdstat;
pub mod fs;
mod guest;
mod linker;
mod look;
mod mounts;
mod names;
mod open;
mod path;
mod path_at;
mod pipe;
mod poll;
mod process;
mod procfs;
mod protect;
mod reach;
mod readdir;
mod runtime;
mod stdio;
#[cfg(feature = "async")]
mod suspend;
mod threads;
#[cfg(feature = "async")]
mod timer;
mod types;
mod unstable;
mod wait;

#[cfg(test)]
mod tests;

pub use access::{Access, SharedWasiCtx, WasiView};
pub use clock::Clocks;
pub use ctx::{ConfigError, DirAccess, WasiCtx, WasiCtxBuilder};
pub use errno::Errno;
pub use linker::{MODULE, UNSTABLE_MODULE, add_to_linker, add_unstable_to_linker};
pub use pipe::{OutputPipe, OutputWriter};
pub use runtime::instantiate;
#[cfg(feature = "async")]
pub use suspend::{AsyncInput, AsyncOutput, add_to_linker_async};
pub use threads::WasiThreads;
#[cfg(feature = "async")]
pub use timer::{Sleep, Timer};
