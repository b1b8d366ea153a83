//! Maps artifacts of the precast compiler and runs them. There is no compiler inside.
//!
//! The API follows Wasmtime's, which Rust users know: an [`Engine`] holds settings, a [`Module`] is
//! a mapped artifact, a [`Linker`] knows host functions and other items by name, a [`Store`] owns
//! instances and data of the host, and [`TypedFunc`]s call into instances.
//!
//! ```no_run
//! use precast_loader::{Caller, Engine, Error, Linker, Module, Store};
//!
//! fn main() -> Result<(), Error> {
//!     let engine = Engine::default();
//!     // SAFETY: `precast compile` wrote the file, and nobody changes it while it is mapped.
//!     let module = unsafe { Module::open(&engine, "guest.precast")? };
//!
//!     let mut linker: Linker<Vec<i32>> = Linker::new(&engine);
//!     linker.func_wrap("env", "note", |mut caller: Caller<'_, Vec<i32>>, x: i32| {
//!         caller.data_mut().push(x);
//!     })?;
//!     // Imports are resolved once, for any number of instances on any thread.
//!     let pre = linker.instantiate_pre(&module)?;
//!
//!     let mut store = Store::new(&engine, Vec::new());
//!     let instance = pre.instantiate(&mut store)?;
//!     let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
//!     println!("the sum is {}", add.call(&mut store, (1, 2))?);
//!     println!("the guest noted {:?}", store.into_data());
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | open an artifact that nobody else can write to | [`Module::open`] |
//! | open an artifact that others can write to | [`Module::open_sealed`] |
//! | open an artifact of which only the digest is known | [`Module::open_verified`] |
//! | open an artifact that trusted keys signed (feature `signatures`) | `Module::open_signed` |
//! | use an artifact that a build script put into the executable | [`include_artifact!`] |
//! | call a module by generated Rust types | [`include_bindings!`] |
//! | define functions that modules import | [`Linker`], [`Func`] |
//! | make other items that modules import | [`Memory`], [`Table`], [`Global`], [`Tag`] |
//! | let instances on several threads use one memory | [`SharedMemory`] |
//! | throw, catch and look at exceptions | [`ExnRef`], [`Error::exception`] |
//! | start many instances of a module | [`InstancePre`] |
//! | start instances with the state of another one | [`InstancePre::from_snapshot`] |
//! | make an instance as new in its store | [`Instance::reset`] |
//! | bound the instances that are kept for reuse | [`Config::pool_per_thread`] |
//! | bound the memory that is kept for reuse | [`Config::pool_resident_per_process`] |
//! | give back what is kept and not used | [`Engine::release_idle`] |
//! | bound the memory and the tables of instances | [`Store::set_limits`], [`ResourceLimiter`] |
//! | bound what several stores and their shared memories take together | [`SharedLimits`] |
//! | stop code that runs too long | [`InterruptHandle`], [`Store::set_epoch_deadline`] |
//! | count what code does, and stop it at a bound | [`Store::set_fuel`] |
//! | let host functions wait, and block no thread (`async`) | [`Func`], [`Linker`]: `…_async` |
//! | let instances find each other by name, and close them with an exit code | [`runtime`] |
//! | take imports from elsewhere | [`Redirections`] |
//! | learn how often code runs, for the compiler | [`Module::profile`] |
//! | learn why code stopped, and where | [`Error`], [`Trap`], [`WasmBacktrace`] |
//! | learn the source lines of a backtrace | the crate `precast-symbols` |
//! | have names in the backtraces of stripped artifacts | [`Module::load_debug`] |
//! | read and write numbers of a memory | [`Memory::read_number`], [`Memory::write_number`] |
//! | read texts and slices of a memory | [`Memory::str`], [`Memory::slice`] |
//! | move here from Wasmtime or wazero | [`moving`] |
//! | learn what the loader needs of its process, such as signals and stacks | [`hosts`] |
//!
//! # Invariants
//!
//! No mapping is ever writable and executable. The signal handler takes no lock and allocates
//! nothing. Nothing unwinds through wasm frames. The loader remembers which files are open; this
//! keeps no module alive, and no thread waits for it.

// Where things are, for those who change the crate. A file imports only from its own layer and from
// those below it. `tests/import-graph.py` reads this table and fails if a file does not, or if too
// many files import each other in a circle; with `--files` it prints what each file imports. Lowest
// layer first:
//
// | layer | files | what |
// |---|---|---|
// | ground | `sys`, `arch` | the operating system; all that differs between architectures |
// | | `mapping`, `extents`, `got`, `libcalls` | a mapped artifact: checked, patched, executable |
// | | `static_artifact`, `checked` | an artifact that is a part of the executable |
// | | `types`, `error`, `backtrace`, `limits`, `deadline` | types without a pointer into a store |
// | | `externref`, `exception` | values that stores keep for machine code |
// | | `lock` | mutexes whose content is right at all times |
// | | `shared_limits` | limits on what several stores take together |
// | machine | `vm` | what machine code and the signal handler work with, see its own map |
// | handles | `engine`, `module`, `store` | settings, modules, stores and access to them |
// | | `opened` | the files that modules are mapped from |
// | | `signed`, `debug` | modules that trusted keys have signed; debug data beside a module |
// | | `stored` | what a handle is: the number of a store, and a pointer to an item of it |
// | | `instance`, `func`, `memory`, `table`, `global`, `tag` | items of stores |
// | | `shared_memory` | memories of no store, which several threads use |
// | | `externs`, `interface` | items of any kind; what modules import, export and need |
// | | `capture` | backtraces that the host takes |
// | | `val`, `exnref`, `snapshot` | values; the state of instances |
// | | `listener` | what a host learns of the calls of functions |
// | | `host`, `into_func`, `typed` | host functions, and Rust types for wasm types |
// | | `calls`, `typed_func` | calls of functions, with values and with Rust types |
// | | `call_async`, `host_async` | calls and host functions that can be suspended |
// | | `linker`, `imports`, `instance_pre`, `redirect` | resolving and checking imports |
// | | `embedded` | macros for what build scripts made |
// | | `interrupt`, `hosts`, `moving` | stopping code from outside; what is asked of the process |
// | runtime | `runtime` | instances that find each other by name |
//
// A new kind of trap starts in `precast_artifact::abi`, and a new convention for calls of the host
// in `precast_artifact::vm`, which say how. A new routine for machine code goes to `vm/builtins`. A
// new architecture is a file in `arch`. A new kind of item is an entity in `vm`, a handle above it,
// and a variant of `vm::instance::Item` and of `Extern`.

mod arch;
mod backtrace;
#[cfg(feature = "async")]
mod call_async;
mod calls;
mod capture;
mod checked;
mod deadline;
mod debug;
mod embedded;
mod engine;
mod error;
mod exception;
mod exnref;
mod extents;
mod externref;
mod externs;
mod func;
mod global;
mod got;
mod host;
#[cfg(feature = "async")]
mod host_async;
pub mod hosts;
mod imports;
mod instance;
mod instance_pre;
mod interface;
mod interrupt;
mod into_func;
mod libcalls;
mod limits;
mod linker;
mod listener;
mod lock;
mod mapping;
mod memory;
mod module;
pub mod moving;
mod opened;
mod redirect;
pub mod runtime;
mod shared_limits;
mod shared_memory;
#[cfg(feature = "signatures")]
mod signed;
mod snapshot;
mod static_artifact;
mod store;
mod stored;
mod sys;
mod table;
mod tag;
mod typed;
mod typed_func;
mod types;
mod val;
mod vm;

pub use backtrace::{FrameInfo, MemoryFault, WasmBacktrace};
pub use deadline::UpdateDeadline;
pub use engine::{Config, Engine, EngineWeak};
pub use error::host::HostError;
pub use error::{Error, LinkError, Result};
pub use exception::ExnRef;
pub use externref::ExternRef;
pub use externs::{Export, Extern};
pub use func::Func;
pub use global::Global;
pub use host::Caller;
#[cfg(feature = "async")]
pub use host_async::WasmTyList;
pub use instance::Instance;
pub use instance_pre::InstancePre;
pub use interface::{ExportType, ImportType, ModuleExport, ResourcesRequired};
pub use interrupt::InterruptHandle;
pub use into_func::{IntoFunc, WasmRet};
pub use limits::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
pub use linker::Linker;
pub use listener::{FunctionCall, FunctionListener};
pub use memory::Memory;
pub use memory::access::WasmNumber;
pub use module::{Module, WeakModule};
pub use redirect::{Redirected, Redirections};
pub use shared_limits::SharedLimits;
pub use shared_memory::{SharedMemory, WaitResult};
pub use snapshot::Snapshot;
pub use static_artifact::{EmbeddedArtifact, StaticArtifact};
pub use store::{AsContext, AsContextMut, Store, StoreContext, StoreContextMut};
#[doc(hidden)]
pub use sys::process::{PerProcess, start_thread};
pub use table::Table;
pub use tag::Tag;
pub use typed::{WasmParams, WasmResults, WasmTy};
pub use typed_func::TypedFunc;
pub use types::{
    ConcreteFunc, ExternType, FuncType, GlobalType, HeapType, MemoryType, RefType, TableType,
    ValType,
};
pub use val::{V128, Val};

pub use precast_artifact::{Feature, Interruption, Profile, ProfileError, TrapCode as Trap};
#[cfg(feature = "signatures")]
pub use precast_signature::{Error as SignatureError, KeyId, NotAKey, PublicKey, TrustedKeys};
