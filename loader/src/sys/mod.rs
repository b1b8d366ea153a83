//! The operating system: address space and its limits, files in memory, pages, stacks.

pub(crate) mod file_map;
pub(crate) mod limits;
pub(crate) mod map;
pub(crate) mod pages;
pub(crate) mod sealed;
pub(crate) mod stack;
