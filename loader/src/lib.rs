//! Maps artifacts of the precast compiler and runs them. No compiler inside.
//!
//! The API follows Wasmtime's, which Rust users know: an [`Engine`] holds settings, a [`Module`] is
//! a mapped artifact, a [`Linker`] names host functions and other imports, a [`Store`] owns
//! instances, [`TypedFunc`]s call into them.
//!
//! | module | what |
//! |---|---|
//! | `mapping` | an artifact in memory: mapped, checked, patched, executable |
//! | `module`, `engine` | modules, settings |
//! | `store` | stores and access to them |
//! | `instance`, `instance_pre`, `imports`, `linker` | instantiation, checking imports, definitions by name |
//! | `func`, `typed` | calls from the host, Rust types of wasm values |
//! | `host`, `into_func` | host functions, closures that can be some |
//! | `limits` | what a store's instances may take |
//! | `pool` | instances kept for reuse |
//! | [`runtime`], `redirect` | instances that find each other by name; import redirection |
//! | `memory`, `table`, `global`, `val`, `types` | the other items, values, types |
//! | `externref` | references to the host's values, and when they are dropped |
//! | `activation`, `trap`, `error` | entering wasm code and leaving it early |
//! | `interrupt` | ending it from outside, deadlines, fuel |
//! | `builtins`, `libcalls` | what machine code calls |
//! | `sys`, `arch` | the operating system; the architecture |
//!
//! Invariants: no mapping is ever writable and executable; the signal handler takes no lock and
//! allocates nothing; nothing unwinds through wasm frames; nothing is registered anywhere when a
//! module is opened.

mod arch;
mod engine;
mod error;
mod externref;
mod func;
mod global;
mod host;
mod imports;
mod instance;
mod instance_pre;
mod interrupt;
mod into_func;
mod libcalls;
mod limits;
mod linker;
mod mapping;
mod memory;
mod module;
mod redirect;
pub mod runtime;
mod store;
mod stored;
mod sys;
mod table;
mod trap;
mod typed;
mod types;
mod val;
mod vm;

pub use engine::{Config, Engine};
pub use error::{Error, LinkError};
pub use externref::ExternRef;
pub use func::{Func, TypedFunc};
pub use global::Global;
pub use host::Caller;
pub use instance::{Extern, Instance};
pub use instance_pre::InstancePre;
pub use interrupt::InterruptHandle;
pub use into_func::{IntoFunc, WasmRet};
pub use limits::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
pub use linker::Linker;
pub use memory::Memory;
pub use module::{Module, WeakModule};
pub use redirect::{Redirected, Redirections};
pub use store::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut};
pub use table::Table;
pub use trap::{Frame, Trap, WasmBacktrace};
pub use typed::{WasmParams, WasmResults, WasmTy};
pub use types::{ExternType, FuncType, GlobalType, MemoryType, TableType};
pub use val::{V128, Val};

pub use precast_artifact::{Interruption, TrapCode, ValType};
