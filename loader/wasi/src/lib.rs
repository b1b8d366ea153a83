//! WASI preview 1 (`wasi_snapshot_preview1`) as host functions for [`precast_loader`].
//!
//! [`WasiCtxBuilder`] says what a guest is given, [`add_to_linker`] defines the functions.
//!
//! | module | what |
//! |---|---|
//! | `ctx`, `descriptor`, `stdio` | what a guest has: context, descriptors, standard streams |
//! | `guest` | guest memory: where every pointer is checked |
//! | `path`, `open`, `spot` | paths, where the sandbox of the file system is |
//! | `protect`, `names`, `reach`, `mounts` | what a guest must not change although it is in its directories |
//! | `fd`, `fdstat`, `readdir` | descriptors: data, attributes, directories |
//! | `clock`, `poll`, `process` | time, waiting, everything else |
//! | `errno`, `types` | the snapshot's numbers and records |
//! | `linker` | the functions by name |
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
//! Invariants: nothing of the host is reached that it did not give, no path leads out of a
//! preopened directory, nothing changes in a read-only one; no pointer or length of a guest is used
//! unchecked, makes the host panic, or makes it allocate in proportion.

mod clock;
mod ctx;
mod descriptor;
mod errno;
mod fd;
mod fdstat;
mod guest;
mod linker;
mod mounts;
mod names;
mod open;
mod path;
mod poll;
mod process;
mod protect;
mod reach;
mod readdir;
mod spot;
mod stdio;
mod types;

#[cfg(test)]
mod tests;

pub use clock::Clocks;
pub use ctx::{ConfigError, DirAccess, WasiCtx, WasiCtxBuilder};
pub use linker::{MODULE, add_to_linker};
