//! The machine-facing ground floor: what machine code, the signal handler and stores work with.
//!
//! A public handle of the floor above is the number of a store and a pointer to an entity of this
//! floor. Nothing here knows the handles.
//!
//! No two files of this folder import from each other, directly or by way of others, which
//! `tests/import-graph.py` checks. The lowest come first: what a store consists of, the store, and
//! what works with a whole store. Parts of a store that must lead back to it have a pointer to its
//! [`VmStoreContext`](precast_artifact::vm::VmStoreContext), the first field of the store.
//!
//! | module | what |
//! |---|---|
//! | `bounds` | whether a range is inside of a memory, a table or a segment |
//! | `counting` | what instances have counted for profiles |
//! | `module`, `item_types` | a mapped artifact, its code's addresses, its items' types |
//! | `images`, `gather`, `keep` | memories: their initial content and their reset |
//! | `huge` | large memories in huge pages |
//! | `per_thread`, `space` | what each thread keeps for reuse: address space of memories |
//! | `memory`, `shared`, `parking` | memories, of one thread and of several; threads that wait there |
//! | `table`, `elements`, `global`, `externrefs`, `host` | the other items of a store |
//! | `item` | an item of any kind |
//! | `state`, `owner`, `usage` | what an instance starts with; who may reuse it; what it takes |
//! | `together` | what a store counts together with others |
//! | `instance` | an instance: its VM context and its parts |
//! | `edges`, `fibers`, `frames`, `ending` | activations: their frames, and why they end early |
//! | `listeners` | the function listener of a store, and the functions that are active |
//! | `interrupt`, `waiting`, `waker` | the word that stops code from outside, and waking what waits |
//! | `store`, `store_id` | what a store owns, without the host's data; its number |
//! | `initialise`, `snapshot` | the start of an instance; taking and restoring its state |
//! | `roots`, `reset`, `close` | where an instance holds references; its reset, its end |
//! | `pool`, `share` | instances kept for reuse; how much of that each thread may keep |
//! | `settling` | telling limits that several stores share what a store takes |
//! | `quota` | asking before an item of a store is made or grows |
//! | `stopping` | what a store can be stopped by: deadlines, handles, fuel |
//! | `activation`, `signal` | entering wasm code and leaving it early |
//! | `collect` | dropping values that nothing in a store holds any more |
//! | `fiber`, `deadline` | calls on stacks of their own, which can be suspended; asking the host |
//! | `exception` | how a throw finds its handler |
//! | `shims`, `builtins` | what machine code calls: host functions, and routines of the loader |

pub(crate) mod activation;
pub(crate) mod bounds;
pub(crate) mod builtins;
pub(crate) mod close;
mod collect;
mod counting;
pub(crate) mod deadline;
mod edges;
pub(crate) mod elements;
pub(crate) mod ending;
pub(crate) mod exception;
pub(crate) mod externrefs;
#[cfg(feature = "async")]
pub(crate) mod fiber;
#[cfg(feature = "async")]
mod fibers;
mod frames;
pub(crate) mod gather;
pub(crate) mod global;
pub(crate) mod host;
mod huge;
pub(crate) mod images;
pub(crate) mod initialise;
pub(crate) mod instance;
pub(crate) mod interrupt;
pub(crate) mod item;
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
pub(crate) mod settling;
mod share;
pub(crate) mod shared;
pub(crate) mod shims;
pub(crate) mod signal;
pub(crate) mod snapshot;
mod space;
pub(crate) mod state;
pub(crate) mod stopping;
pub(crate) mod store;
pub(crate) mod store_id;
pub(crate) mod table;
pub(crate) mod together;
pub(crate) mod usage;
pub(crate) mod waiting;
#[cfg(feature = "async")]
mod waker;
