//! The loader's behaviour, through its public interface, on artifacts of our own compiler.

mod calls;
mod child;
mod context;
mod damage;
mod externrefs;
mod files;
mod globals;
mod host;
mod interrupt;
mod kernel;
mod limiter;
mod limits;
mod linking;
mod mapping;
mod overflow;
mod poison;
mod pool;
mod promises;
mod refusals;
mod runtime;
mod sealed;
mod signals;
mod stack;
mod syscalls;
mod threads;
mod traps;
