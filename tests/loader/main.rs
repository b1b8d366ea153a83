//! The loader's behaviour, through its public interface, on artifacts of our own compiler.

mod calls;
mod context;
mod files;
mod globals;
mod host;
mod interrupt;
mod limits;
mod linking;
mod mapping;
mod pool;
mod runtime;
mod signals;
mod stack;
mod threads;
mod traps;
