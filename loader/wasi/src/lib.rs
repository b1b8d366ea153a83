//! WASI preview 1 (`wasi_snapshot_preview1`) as host functions for [`precast_loader`].
//!
//! [`WasiCtxBuilder`] says what a guest is given, [`add_to_linker`] defines the functions.
//!
//! | module | what |
//! |---|---|
//! | `ctx`, `descriptor`, `stdio` | what a guest has: context, descriptors, standard streams |
//! | `guest` | guest memory: where every pointer is checked |
//! | `path`, `open` | paths, where the sandbox of the file system is |
//! | `fd`, `fdstat`, `readdir` | descriptors: data, attributes, directories |
//! | `clock`, `poll`, `process` | time, waiting, everything else |
//! | `errno`, `types` | the snapshot's numbers and records |
//! | `linker` | the functions by name |
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
mod open;
mod path;
mod poll;
mod process;
mod readdir;
mod stdio;
mod types;

#[cfg(test)]
mod tests;

pub use clock::Clocks;
pub use ctx::{ConfigError, DirAccess, WasiCtx, WasiCtxBuilder};
pub use linker::{MODULE, add_to_linker};
