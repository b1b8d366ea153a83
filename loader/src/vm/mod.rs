//! The machine-facing ground floor: what machine code, the signal handler and stores work with.
//!
//! A public handle of the floor above is the number of a store and a pointer to an entity of this
//! floor. Nothing here knows the handles.
//!
//! | module | what |
//! |---|---|
//! | `store`, `store_id` | what a store owns, without the host's data; its number |
//! | `module`, `item_types` | a mapped artifact, its code's addresses, its items' types |
//! | `instance`, `initialise` | an instance: its VM context, its start |
//! | `state`, `snapshot` | what an instance starts with; taking and restoring it |
//! | `roots`, `reset`, `close` | where an instance holds references; its reset, its end |
//! | `memory`, `images`, `gather`, `keep` | memories: their initial content and their reset |
//! | `shared`, `parking` | memories of several threads; the threads that wait at their addresses |
//! | `table`, `elements`, `global`, `externrefs`, `host` | the other items of a store |
//! | `bounds` | whether a range is inside of a memory, a table or a segment |
//! | `usage`, `quota` | what a store's items take; asking before one is made or grows |
//! | `activation`, `ending`, `signal` | entering wasm code and leaving it early |
//! | `fiber` | calls on stacks of their own, which can be suspended |
//! | `exception` | exceptions, and how a throw finds its handler |
//! | `listeners` | the function listener of a store, and the functions that are active |
//! | `interrupt`, `deadline`, `waiting` | stopping code from outside, and waking what waits |
//! | `builtins` | routines that machine code calls |
//! | `pool`, `owner`, `space` | instances, and address space of memories, kept for reuse |
//! | `per_thread` | what each thread keeps, and all threads give back in a shortage |

pub(crate) mod activation;
pub(crate) mod bounds;
pub(crate) mod builtins;
pub(crate) mod close;
pub(crate) mod deadline;
pub(crate) mod elements;
pub(crate) mod ending;
pub(crate) mod exception;
pub(crate) mod externrefs;
#[cfg(feature = "async")]
pub(crate) mod fiber;
pub(crate) mod gather;
pub(crate) mod global;
pub(crate) mod host;
pub(crate) mod images;
pub(crate) mod initialise;
pub(crate) mod instance;
pub(crate) mod interrupt;
pub(crate) mod item_types;
pub(crate) mod keep;
pub(crate) mod listeners;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod owner;
pub(crate) mod parking;
mod per_thread;
pub(crate) mod pool;
pub(crate) mod quota;
pub(crate) mod reset;
pub(crate) mod roots;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod snapshot;
mod space;
pub(crate) mod state;
pub(crate) mod store;
pub(crate) mod store_id;
pub(crate) mod table;
pub(crate) mod usage;
pub(crate) mod waiting;
