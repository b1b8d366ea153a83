//! The behaviour of the loader, tested through its public interface.

mod address_space;
mod aliasing;
mod async_calls;
mod async_drops;
mod async_epochs;
mod calls;
mod context;
mod coroutines;
mod custom_sections;
mod damage;
#[cfg(feature = "compiler")]
mod dispatches;
mod exception_limits;
mod exceptions;
mod externrefs;
mod features;
mod files;
mod fork;
mod fuel;
#[cfg(feature = "compiler")]
mod fuel_places;
mod globals;
mod golden;
mod handlers;
mod holes;
mod host;
mod host_errors;
mod huge;
mod idle;
mod images;
mod in_place;
#[cfg(feature = "compiler")]
mod inlining;
mod interrupt;
mod kernel;
mod limiter;
mod limits;
mod lines;
mod linking;
mod long_lists;
mod long_ranges;
#[cfg(feature = "compiler")]
mod many_locals;
mod mapping;
mod names;
mod offsets;
mod opened;
mod page_sizes;
mod partial_failures;
mod poison;
mod pool;
#[cfg(feature = "compiler")]
mod profiles;
mod promises;
mod refusals;
mod reset;
mod runtime;
mod runtime_threads;
mod sealed;
mod shared;
mod shared_limits;
mod signals;
mod signed;
mod small_modules;
mod snapshot;
mod stack;
mod stack_end;
mod stress;
mod stripped;
mod suspended;
mod syscalls;
mod threads;
mod traps;
mod typed_references;
mod variants;
mod waits;
mod wasmtime_lines;
mod written_pages;

use precast_tests::child;
