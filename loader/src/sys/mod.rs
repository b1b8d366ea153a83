//! The operating system: address space and its limits, files in memory and of this process, pages,
//! stacks, which process this is.

pub(crate) mod file_id;
pub(crate) mod file_map;
pub(crate) mod limits;
pub(crate) mod map;
pub(crate) mod own_file;
pub(crate) mod pages;
pub(crate) mod process;
pub(crate) mod sealed;
pub(crate) mod stack;
#[cfg(feature = "async")]
pub(crate) mod stack_pool;
