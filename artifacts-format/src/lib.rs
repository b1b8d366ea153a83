//! The artifact format of precast: the only thing that its compiler and its loader both know.
//!
//! An artifact is an ELF64 file that the loader reads without parsing ELF: a [`Header`] at a fixed
//! offset leads to every table.
//!
//! | module | what |
//! |---|---|
//! | [`header`] | the fixed header, and the order of the sections |
//! | [`records`] | the plain-data tables |
//! | [`vm`] | what machine code sees: VM context, import slots, function references |
//! | [`promises`] | which of these values machine code may keep, and who keeps them unchanged |
//! | [`abi`] | what machine code calls, and how it stops: builtins, traps, strategies |
//! | [`types`] | value types |
//! | [`signature`] | signatures and their identity |
//! | [`features`] | the proposals that a module uses |
//! | [`target`] | architectures and CPU features |
//! | [`handlers`] | maps calls to the code that handles exceptions they throw |
//! | [`traps`], [`addresses`] | maps from code offsets to trap codes and to wasm offsets |
//! | [`counters`], [`profile`] | what code counts for profiles, and the files of profiles |
//! | [`executable`] | where the artifact of an executable is, and the options of its guest |
//! | `metadata` | cold metadata, the only user of bincode (feature `metadata`) |
//! | [`module_name()`] | reads one field of the metadata without bincode |
//! | [`custom_sections`] | the custom sections that an artifact keeps |
//! | [`trailer`] | the signatures behind an artifact |
//! | [`variants`] | several artifacts in one file, for several CPUs and targets |
//! | [`reader`] | a checked view of the bytes |
//! | [`Aligned`] | bytes in ordinary memory, aligned for that view |
//! | [`shown()`] | escapes text that comes from modules before people see it |
//! | `writer` (feature `write`) | builds the bytes of an artifact from its parts |
//!
//! Two numbers say what a loader must know, and neither is a crate version: [`FORMAT`] (how to read
//! the file) and [`ABI`] (what machine code assumes). `VERSIONS.md` says what changes them.

pub mod abi;
pub mod addresses;
mod aligned;
pub mod counters;
pub mod custom_sections;
pub mod executable;
pub mod features;
pub mod handlers;
pub mod header;
#[cfg(feature = "metadata")]
pub mod metadata;
mod module_name;
mod offsets;
pub mod profile;
pub mod promises;
pub mod reader;
pub mod records;
mod shown;
pub mod signature;
pub mod target;
pub mod trailer;
pub mod traps;
pub mod types;
pub mod variants;
pub mod vm;
#[cfg(feature = "write")]
pub mod writer;

pub use abi::{ABI, Builtin, Interruption, LibCall, Strategy, TrapCode};
pub use aligned::Aligned;
pub use features::Feature;
pub use header::{FORMAT, HEADER_OFFSET, Header, MAGIC, Section};
pub use module_name::module_name;
pub use profile::{Profile, ProfileError};
pub use reader::{Artifact, Error, FoundFile, Host, Mismatch, digest};
pub use shown::{Shown, shown, shown_lines};
pub use types::{HeapType, RefType, ValType};

/// Hash of an export's name: FNV-1a, 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
pub const fn name_hash(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let mut hash = 0x811c_9dc5_u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}
