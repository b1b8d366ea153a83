//! The crate's error type.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use precast_artifact::{TrapCode as Trap, shown};

use crate::backtrace::{MemoryFault, WasmBacktrace};
use crate::exception::ExnRef;
use crate::sys::limits;

pub(crate) mod host;

pub(crate) use host::BoxError;
use host::HostError;

/// The result of what can fail with an [`Error`], unless another type is given.
///
/// ```
/// fn first(memory: &[u8]) -> precast_loader::Result<u8> {
///     let first = memory.first().copied();
///     first.ok_or_else(|| precast_loader::Error::msg("the memory is empty"))
/// }
/// assert!(first(&[]).is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error between opening an artifact and a returned value.
///
/// ```
/// use precast_loader::{Engine, Error, Func, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let buy = || -> Result<u32, Error> { Err(Error::host("there are no tickets left")) };
/// let buy = Func::wrap(&mut store, buy).typed::<(), u32>(&store)?;
/// let error = buy.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.to_string(), "there are no tickets left");
/// assert!(error.trap().is_none());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or mapped.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The bytes are not an artifact that can run here.
    #[error(transparent)]
    Artifact(#[from] precast_artifact::Error),
    /// Too few trusted keys have signed the artifact.
    #[cfg(feature = "signatures")]
    #[error(transparent)]
    Signature(#[from] precast_signature::Error),
    /// The code of the module cannot be stopped in the way that is asked for.
    #[error(
        "the module was compiled with interruption `{found}`, and {asked_by} asks for \
         `{expected}`: compile it again with `--interruption {expected}`"
    )]
    Interruption {
        /// What requires this: the engine, a deadline, or fuel.
        asked_by: &'static str,
        /// How the code of the module can be stopped.
        found: precast_artifact::Interruption,
        /// How the code must be stoppable.
        expected: precast_artifact::Interruption,
    },
    /// A file does not have the names and addresses of this module's code.
    #[error("`{}` is not the debug file of this module: {found}, expected {expected}", path.display())]
    Debug {
        /// The file.
        path: PathBuf,
        /// What was found in it.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The module uses proposals that the engine does not allow.
    #[error(
        "the module uses {}, which the engine does not allow: allow it with \
         `Config::wasm_feature`, or compile the module without it",
        .found.iter().map(|f| f.text()).collect::<Vec<_>>().join(" and ")
    )]
    Features {
        /// The proposals.
        found: Vec<precast_artifact::Feature>,
    },
    /// The system refused memory.
    #[error("cannot {action}")]
    Memory {
        /// The action that failed, with the size.
        action: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The system refused a thread.
    #[error("cannot {action}")]
    Thread {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// All imports that are missing or of another type.
    #[error("cannot link the module:{}", lines(.0))]
    Link(Vec<LinkError>),
    /// A name is defined twice in a linker.
    #[error("`{}`.`{}` is defined already", shown(module), shown(name))]
    Duplicate {
        /// Module name.
        module: String,
        /// Item name.
        name: String,
    },
    /// A value or function of another type than the expected one.
    #[error("{what}: found {found}, expected {expected}")]
    Type {
        /// What has the type.
        what: String,
        /// The type that was found.
        found: String,
        /// The type that was expected.
        expected: String,
    },
    /// A type that no memory, table or global can have.
    #[error("type of {what}: found {found}, expected {expected}")]
    InvalidType {
        /// Of what.
        what: &'static str,
        /// The type.
        found: String,
        /// What is wrong with it.
        expected: String,
    },
    /// Too many or too few arguments, results or imports.
    #[error("number of {what}: found {found}, expected {expected}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// An item of one store that was given to another store, or to no store at all.
    #[error("{what} belongs to another store; expected one of the same store, or a null reference")]
    WrongStore {
        /// The item.
        what: &'static str,
    },
    /// A global that cannot be set.
    #[error("the global is immutable: found {found}, expected (mut {found})")]
    Immutable {
        /// The type of its value.
        found: crate::types::ValType,
    },
    /// A host module of a runtime was used where a guest is needed.
    #[error(
        "instance {instance} is a host module, whose functions only guests can call; \
         expected a guest"
    )]
    HostModule {
        /// Its name.
        instance: String,
    },
    /// Data for the store of an instance that joins the store of others.
    #[error(
        "the instance joins the store of the instances that it imports from, which has data \
         already; expected a configuration without `with_data`"
    )]
    UnwantedData,
    /// There is no export of that name.
    #[error("there is no exported {kind} named `{}`", shown(name))]
    NoExport {
        /// The kind of export.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A limit of the store or of the item itself is exceeded.
    #[error("{what}: {wanted} asked for, the limit is {limit}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// The amount that was asked for.
        wanted: u64,
        /// The amount that is allowed.
        limit: u64,
    },
    /// The store's own [`ResourceLimiter`](crate::ResourceLimiter) refused the item or its growth.
    #[error("{what}: {wanted} asked for, which the store's limiter does not allow")]
    Refused {
        /// What was refused, with its unit.
        what: &'static str,
        /// The amount that was asked for.
        wanted: u64,
    },
    /// An access outside of a memory or table by the host.
    #[error("{what}: {len} from {start} on are out of bounds, there are {size}")]
    OutOfBounds {
        /// What was accessed, with its unit.
        what: &'static str,
        /// First element.
        start: u64,
        /// Number of elements.
        len: u64,
        /// Number of elements that exist.
        size: u64,
    },
    /// Wasm code trapped.
    #[error("wasm trap: {trap}{trace}")]
    Trap {
        /// Why.
        trap: Trap,
        /// The wasm frames that led there.
        trace: WasmBacktrace,
    },
    /// An exception that nothing caught. As the error of a host function it is thrown into the wasm
    /// code that called the function, which may catch it.
    #[error("wasm exception: {exception}{trace}")]
    Exception {
        /// The exception.
        exception: ExnRef,
        /// The wasm frames that led to where it was thrown.
        trace: WasmBacktrace,
    },
    /// The instance or runtime is closed. The texts are wazero's.
    #[error("{what} closed with exit_code({exit_code})")]
    Closed {
        /// `module` or `runtime`.
        what: &'static str,
        /// The exit code that it was closed with.
        exit_code: u32,
    },
    /// The instance was closed because the deadline of a call's context has passed.
    #[error("module closed with context deadline exceeded")]
    DeadlineExceeded,
    /// The instance was closed because a call's context was cancelled.
    #[error("module closed with context canceled")]
    Canceled,
    /// The runtime has an open instance of that name.
    #[error("module[{}] has already been instantiated", shown(name))]
    AlreadyInstantiated {
        /// The name.
        name: String,
    },
    /// The runtime has no open instance of that name.
    #[error("module[{}] not instantiated", shown(name))]
    NotInstantiated {
        /// The name.
        name: String,
    },
    /// Instances that cannot be used together, because they live in different stores.
    #[error(
        "{first} and {second} live in different stores: only items of one store can be linked with \
         each other or used in one call (see `InstanceConfig::with_shared_store`)"
    )]
    DifferentStores {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A module, a linker or a store is of another engine, so the settings of one of the engines
    /// would not hold.
    #[error(
        "{first} and {second} are of different engines: use one engine for both \
         (`Module::with_engine` gives a module for another one)"
    )]
    DifferentEngines {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The instance is not in a state in which the action is possible.
    #[error("cannot {action}: {why}")]
    Unsuitable {
        /// What was asked for.
        action: &'static str,
        /// The state of the instance that prevents the action, and what to do.
        why: String,
    },
    /// A host function used a handle of a runtime to call into the store that it was called from,
    /// or to make an instance that imports from there.
    #[error(
        "this thread is already in a call of that store: to call a function there, use what \
         `Instance::within` returns; to instantiate what imports from there, wait until the call \
         is over"
    )]
    InUse,
    /// An asynchronous host function or a deadline that yields would suspend a call that cannot be
    /// suspended.
    #[error(
        "an asynchronous host function, or a deadline that yields, needs a call that can be \
         suspended, and found a synchronous one: use `call_async` or `instantiate_async` for the \
         innermost call of the host that led to it"
    )]
    NotAsync,
    /// A future of a call in the store was neither completed nor dropped, so the call stays
    /// suspended for ever.
    #[error(
        "a call in the store is suspended for ever, because its future was leaked: use another \
         store"
    )]
    Suspended,
    /// The guest asked to end with this exit code.
    #[error("exit with code {0}")]
    Exit(i32),
    /// A host function returned an error of its own.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Error {
    /// Wraps an error of a host function, which the caller of the wasm code then finds in
    /// [`Error::Host`]. An error of this type stays what it is.
    pub fn host(error: impl Into<Box<dyn std::error::Error + Send + Sync>> + 'static) -> Self {
        host::wrap(error)
    }

    /// An error of a host function that is only a message. The caller of the wasm code finds it in
    /// [`Error::Host`].
    pub fn msg(message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        host::wrap(message.to_string())
    }

    /// Why wasm code trapped, if this is a trap.
    ///
    /// ```
    /// use precast_loader::{Error, Trap};
    ///
    /// fn is_division_by_zero(error: &Error) -> bool {
    ///     error.trap() == Some(Trap::IntegerDivisionByZero)
    /// }
    /// ```
    pub fn trap(&self) -> Option<Trap> {
        match self {
            Self::Trap { trap, .. } => Some(*trap),
            _ => None,
        }
    }

    /// Where wasm code accessed a memory out of bounds, if this is a trap for that reason and the
    /// address is known. The address is known for accesses that a guard page caught
    /// ([`Strategy::Guarded`]), which are all loads and stores of a memory with 32-bit indices. It
    /// is not known where code compares the address with the size of the memory.
    ///
    /// [`Strategy::Guarded`]: precast_artifact::Strategy::Guarded
    ///
    /// ```
    /// use precast_loader::Error;
    ///
    /// fn is_null_pointer(error: &Error) -> bool {
    ///     error.memory_fault().is_some_and(|fault| fault.address > 0xffff_0000)
    /// }
    /// ```
    pub fn memory_fault(&self) -> Option<MemoryFault> {
        match self {
            Self::Trap { trace, .. } => trace.fault,
            _ => None,
        }
    }

    /// The exception, if this is one that nothing caught.
    pub fn exception(&self) -> Option<&ExnRef> {
        match self {
            Self::Exception { exception, .. } => Some(exception),
            _ => None,
        }
    }

    /// The [`Trap`], or the error of a host function, if it is of type `E`. With the feature
    /// `anyhow`, also an error that is inside of an `anyhow::Error`.
    pub fn downcast_ref<E: StdError + Send + Sync + 'static>(&self) -> Option<&E> {
        match self {
            Self::Trap { trap, .. } => (trap as &dyn Any).downcast_ref(),
            Self::Host(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// [`Error::downcast_ref`] that gives the value itself.
    ///
    /// # Errors
    /// This error, if there is no `E` in it.
    pub fn downcast<E: StdError + Send + Sync + 'static>(self) -> Result<E, Self> {
        match self {
            Self::Trap { trap, trace } => {
                let mut found = Some(trap);
                let any: &mut dyn Any = &mut found;
                let found = any.downcast_mut::<Option<E>>().and_then(Option::take);
                found.ok_or(Self::Trap { trap, trace })
            }
            Self::Host(error) => error.downcast().map_err(Self::Host),
            error => Err(error),
        }
    }

    /// Whether [`Error::downcast_ref`] finds an `E`.
    pub fn is<E: StdError + Send + Sync + 'static>(&self) -> bool {
        self.downcast_ref::<E>().is_some()
    }

    /// The wasm frames that were active, innermost first, if wasm code was running.
    pub fn backtrace(&self) -> Option<&WasmBacktrace> {
        match self {
            Self::Trap { trace, .. } => Some(trace),
            Self::Host(error) => Some(error.backtrace()),
            Self::Exception { trace, .. } => Some(trace),
            _ => None,
        }
    }

    /// The same error with these frames, if it is of a kind that has frames and has none yet.
    pub(crate) fn with_backtrace(self, backtrace: impl FnOnce() -> WasmBacktrace) -> Self {
        let or = |trace: WasmBacktrace| match trace.frames().is_empty() {
            true => backtrace(),
            false => trace,
        };
        match self {
            Self::Trap { trap, trace } => Self::Trap {
                trap,
                trace: or(trace),
            },
            Self::Host(error) => Self::Host(error.with_backtrace(or)),
            Self::Exception { exception, trace } => Self::Exception {
                exception,
                trace: or(trace),
            },
            error => error,
        }
    }

    pub(crate) fn module_closed(exit_code: u32) -> Self {
        let what = "module";
        Self::Closed { what, exit_code }
    }

    pub(crate) fn runtime_closed(exit_code: u32) -> Self {
        let what = "runtime";
        Self::Closed { what, exit_code }
    }

    /// The error of an allocation that failed.
    pub(crate) fn no_memory(action: impl Into<String>) -> Self {
        Self::refused(action, std::io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// The error of the system call that failed last.
    pub(crate) fn system(action: impl Into<String>) -> Self {
        Self::refused(action, std::io::Error::last_os_error())
    }

    /// The error of the system. It names the limit that is reached, if there is one.
    pub(crate) fn refused(action: impl Into<String>, source: std::io::Error) -> Self {
        let mut action = action.into();
        if source.raw_os_error() == Some(libc::ENOMEM)
            && let Some(limit) = limits::reached()
        {
            action = format!("{action}: {limit}");
        }
        Self::Memory { action, source }
    }
}

impl From<Trap> for Error {
    /// A trap that a host function raises.
    fn from(trap: Trap) -> Self {
        Self::Trap {
            trap,
            trace: WasmBacktrace::default(),
        }
    }
}

/// An import that cannot be linked.
///
/// ```
/// use precast_loader::{Error, Linker, Module};
///
/// fn explain(linker: &Linker<()>, module: &Module) {
///     if let Err(Error::Link(missing)) = linker.instantiate_pre(module) {
///         for import in missing {
///             println!("{}.{} must be {}", import.module, import.name, import.expected);
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "import `{}`.`{}`: {}",
    shown(module),
    shown(name),
    what(.found.as_deref(), expected)
)]
#[non_exhaustive]
pub struct LinkError {
    /// Module name of the import.
    pub module: String,
    /// Item name of the import.
    pub name: String,
    /// Type of the definition under that name; `None` if there is none.
    pub found: Option<String>,
    /// Type that the module expects.
    pub expected: String,
}

fn what(found: Option<&str>, expected: &str) -> String {
    match found {
        None => format!("unknown import: nothing is defined, expected {expected}"),
        Some(found) => format!("incompatible import type: found {found}, expected {expected}"),
    }
}

/// One line for each error. A module may have a hundred thousand imports, so only some are named.
fn lines(errors: &[LinkError]) -> String {
    const NAMED: usize = 20;
    let lines = errors.iter().take(NAMED).map(|e| format!("\n  {e}"));
    let mut lines: String = lines.collect();
    if errors.len() > NAMED {
        lines += &format!("\n  and {} more", errors.len() - NAMED);
    }
    lines
}
