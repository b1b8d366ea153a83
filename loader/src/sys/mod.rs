//! The operating system: address space, files in memory, pages, stacks.

pub(crate) mod file_map;
pub(crate) mod map;
pub(crate) mod pages;
pub(crate) mod sealed;
pub(crate) mod stack;
