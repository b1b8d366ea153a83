//! The operating system: address space, signals, stacks.

pub(crate) mod map;
pub(crate) mod signal;
pub(crate) mod stack;
