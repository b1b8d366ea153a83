//! Programs with threads: the proposal [wasi-threads], which toolchains for `wasm32-wasi-threads`
//! and the like emit.
//!
//! A program imports its memory, which is shared, and `wasi`.`thread-spawn`. Each thread is an
//! instance of the same module in a store of its own, on a thread of the system, with the same
//! memory, and begins in the exported function `wasi_thread_start`. The program ends when its main
//! thread returns, or when any thread traps, throws or exits: then all threads are interrupted. A
//! thread that waits or calls the host then ends at once. A thread that only computes ends where
//! its code [can be stopped](precast_loader::Interruption::Epoch).
//!
//! All threads of a program share its [limits](WasiThreads::set_limits): their stores and the
//! shared memory count together, and what a thread had is given back when it ends, soon after its
//! last instruction.
//!
//! [wasi-threads]: https://github.com/WebAssembly/wasi-threads

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use precast_loader::{
    Error, ExternType, FuncType, InstancePre, InterruptHandle, Linker, Module, SharedLimits,
    SharedMemory, Store, StoreLimits, Trap, ValType,
};

use crate::errno::Errno;

/// The module name that programs import the function from.
const MODULE: &str = "wasi";
const SPAWN: &str = "thread-spawn";
const START: &str = "wasi_thread_start";

/// The name that programs export their memory by.
const MEMORY: &str = "memory";

/// The largest identifier of a thread that the proposal allows.
const MAX_TID: i32 = (1 << 29) - 1;

/// A number that no thread has.
const NOBODY: i32 = -1;

/// The threads of a program. Clones are of the same program.
///
/// ```no_run
/// use precast_loader::{Engine, Error, Linker, Module, Store};
/// use precast_wasi::{SharedWasiCtx, WasiCtxBuilder, WasiThreads, add_to_linker};
///
/// fn run(engine: &Engine, module: &Module) -> Result<(), Error> {
///     let mut linker = Linker::new(engine);
///     add_to_linker(&mut linker, |wasi: &mut SharedWasiCtx| wasi)?;
///     let threads = WasiThreads::new(64);
///     threads.add_to_linker(&mut linker, module)?;
///     let program = linker.instantiate_pre(module)?;
///     let wasi = SharedWasiCtx::new(WasiCtxBuilder::new().inherit_stdio().build());
///     let engine = *engine;
///     threads.run(&program, move || Ok(Store::new(&engine, wasi.clone())))
/// }
/// ```
pub struct WasiThreads<T: 'static>(Arc<Threads<T>>);

impl<T: 'static> Clone for WasiThreads<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: 'static> std::fmt::Debug for WasiThreads<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiThreads").finish_non_exhaustive()
    }
}

struct Threads<T: 'static> {
    limit: usize,
    stack: usize,
    limits: SharedLimits,
    state: Mutex<State<T>>,
    /// Notified when the program or a thread has ended.
    changed: Condvar,
}

struct State<T: 'static> {
    was_run: bool,
    program: Option<Program<T>>,
    /// The handle that ends the code of each running thread; `None` while the thread starts. The
    /// main thread is number 0.
    running: HashMap<i32, Option<InterruptHandle>>,
    last: i32,
    /// How the program has ended. It may have been stopped before its start.
    ended: Option<Result<(), Error>>,
    has_ended: bool,
}

/// What threads are made of.
struct Program<T: 'static> {
    pre: InstancePre<T>,
    new_store: Arc<dyn Fn() -> Result<Store<T>, Error> + Send + Sync>,
}

impl<T: 'static> Clone for Program<T> {
    fn clone(&self) -> Self {
        Self {
            pre: self.pre.clone(),
            new_store: Arc::clone(&self.new_store),
        }
    }
}

impl<T: Send + 'static> WasiThreads<T> {
    /// A program with at most this many threads at the same time, besides the main one. Each has 2
    /// MiB of stack.
    pub fn new(limit: usize) -> Self {
        Self::with_stack(limit, 2 << 20)
    }

    /// A program with at most `limit` threads besides the main one. Each thread, the main one too,
    /// has this number of bytes of stack.
    pub fn with_stack(limit: usize, stack: usize) -> Self {
        Self(Arc::new(Threads {
            limit,
            stack,
            limits: SharedLimits::default(),
            state: Mutex::new(State {
                was_run: false,
                program: None,
                running: HashMap::new(),
                last: 0,
                ended: None,
                has_ended: false,
            }),
            changed: Condvar::new(),
        }))
    }

    /// Whether a module imports the function that starts threads.
    pub fn are_used_by(module: &Module) -> bool {
        module
            .imports()
            .any(|import| (import.module(), import.name()) == (MODULE, SPAWN))
    }

    /// Sets what the program may take: the instances, memories, tables and exceptions of all its
    /// threads and its shared memories together. The limits are [`StoreLimits::default`] otherwise.
    /// They hold for what is made from now on, beside those of each store: set them before
    /// [`add_to_linker`](Self::add_to_linker), which makes the shared memory.
    ///
    /// A program ends with the error if a thread's instance would exceed them. What a thread had
    /// counts until its store is dropped, after its last instruction. So a program that learns from
    /// its own memory that a thread is done, and starts another one at once, may for a moment have
    /// both: leave room for that, or give [`WasiThreads::new`] a smaller number of threads, which a
    /// program cannot exceed, because `thread-spawn` fails instead.
    pub fn set_limits(&self, limits: StoreLimits) {
        self.0.limits.set(limits);
    }

    /// Defines the function that starts threads, and the shared memories that the module imports.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if one of them is defined already; those of
    /// [`SharedMemory::new_within`]; an error for a module that exports a memory of its own as the
    /// program's, because each thread would have another one.
    pub fn add_to_linker(&self, linker: &mut Linker<T>, module: &Module) -> Result<(), Error> {
        check_memory(module)?;
        let mut seen = HashSet::new();
        for import in module.imports() {
            if let ExternType::Memory(ty) = import.ty()
                && ty.shared
                && seen.insert((import.module(), import.name()))
            {
                let memory = SharedMemory::new_within(module.engine(), ty, &self.0.limits)?;
                linker.shared_memory(import.module(), import.name(), memory)?;
            }
        }
        // The program owns the linker's functions, so they must not own the program.
        let threads = Arc::downgrade(&self.0);
        linker.func_wrap(MODULE, SPAWN, move |argument: i32| {
            spawn(&threads, argument)
        })?;
        Ok(())
    }

    /// Runs a program, which must export `_start`, until its main thread returns, or any thread
    /// fails or exits. `new_store` makes the store of each thread, which shares the limits of the
    /// program from then on.
    ///
    /// Threads that still run then are told to end, but this function does not wait for them: the
    /// process may end, or [`WasiThreads::wait`] waits.
    ///
    /// # Errors
    /// The first error of any thread, [`Error::Exit`] for its exit code; [`Error::Thread`] if the
    /// system refuses the main thread.
    pub fn run(
        &self,
        pre: &InstancePre<T>,
        new_store: impl Fn() -> Result<Store<T>, Error> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let mut state = self.0.lock();
        if std::mem::replace(&mut state.was_run, true) {
            let why = "the program was run already: each one has `WasiThreads` of its own";
            return Err(Error::host(why));
        }
        if let Some(ended) = state.ended.take() {
            return ended;
        }
        state.program = Some(Program {
            pre: pre.clone(),
            new_store: Arc::new(new_store),
        });
        drop(state);
        start(&self.0, 0, None)?;
        let mut state = self.0.lock();
        loop {
            if let Some(ended) = state.ended.take() {
                return ended;
            }
            state = self.0.wait(state);
        }
    }

    /// Ends the program as an interrupted one, from another thread.
    pub fn stop(&self) {
        self.0.end(NOBODY, Err(Trap::Interrupt.into()));
    }

    /// Waits for the end of all threads of a program that has ended.
    pub fn wait(&self) {
        let mut state = self.0.lock();
        while !state.running.is_empty() {
            state = self.0.wait(state);
        }
    }
}

impl<T> Threads<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        let woken = self.changed.wait(state);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the end of a thread. The program ends too if this was the main thread or if the
    /// thread failed.
    fn end(&self, tid: i32, result: Result<(), Error>) {
        let mut state = self.lock();
        let handle = state.running.remove(&tid);
        let mut others = Vec::new();
        let program = match tid == 0 || result.is_err() {
            true => {
                if !state.has_ended {
                    state.has_ended = true;
                    state.ended = Some(result);
                }
                others.extend(state.running.values().flatten().cloned());
                // No thread starts any more.
                state.program.take()
            }
            false => None,
        };
        drop(state);
        self.changed.notify_all();
        // Interrupting a store that waits may run code of the host, so no lock is held.
        others.iter().for_each(InterruptHandle::interrupt);
        drop((handle, program));
    }
}

/// Checks that the memory of a program is one that its threads share.
///
/// # Errors
/// [`Error::Host`](Error::host) if the module defines it.
fn check_memory(module: &Module) -> Result<(), Error> {
    for export in module.exports() {
        if let ExternType::Memory(ty) = export.ty()
            && (ty.shared || export.name() == MEMORY)
            && !export.is_imported()
        {
            return Err(Error::host(format!(
                "the module imports `{SPAWN}` of `{MODULE}`, and exports as {:?} a memory that it \
                 defines, of which each thread would have another one: expected a shared memory \
                 that it imports; linkers make that with --import-memory and --shared-memory",
                export.name()
            )));
        }
    }
    Ok(())
}

/// `thread-spawn`: returns the number of the new thread, or an error code below zero.
fn spawn<T: Send + 'static>(threads: &Weak<Threads<T>>, argument: i32) -> Result<i32, Error> {
    let refused = -i32::from(Errno::AGAIN.raw());
    let Some(threads) = threads.upgrade() else {
        return Ok(refused);
    };
    let mut state = threads.lock();
    let Some(program) = &state.program else {
        return Ok(refused);
    };
    let expected = FuncType::new(
        program.pre.module().engine(),
        [ValType::I32, ValType::I32],
        [],
    );
    let found = program.pre.module().get_export(START);
    if found != Some(ExternType::Func(expected.clone())) {
        let found = found.map_or_else(|| "nothing".to_owned(), |ty| ty.to_string());
        return Err(Error::host(format!(
            "a thread cannot start: the module exports {found} as `{START}`, expected {expected}"
        )));
    }
    let others = state.running.keys().filter(|tid| **tid != 0).count();
    if others >= threads.limit || state.last == MAX_TID {
        return Ok(refused);
    }
    state.last += 1;
    let tid = state.last;
    // The place is taken before the lock is given back.
    state.running.insert(tid, None);
    drop(state);
    Ok(start(&threads, tid, Some(argument)).map_or(refused, |()| tid))
}

/// Starts a thread, the main one if it has no argument.
///
/// # Errors
/// The error of `new_store`, [`Error::Thread`] if the system refuses.
///
/// # Panics
/// If `new_store` does.
fn start<T: Send + 'static>(
    threads: &Arc<Threads<T>>,
    tid: i32,
    argument: Option<i32>,
) -> Result<(), Error> {
    let place = Place { threads, tid };
    begin(threads, tid, argument)?;
    std::mem::forget(place);
    Ok(())
}

/// The place of a thread that starts, among the limited number of threads. Dropping this frees the
/// place, if the thread does not start because of an error or because `new_store` panics.
struct Place<'a, T: 'static> {
    threads: &'a Threads<T>,
    tid: i32,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.threads.lock().running.remove(&self.tid);
        self.threads.changed.notify_all();
    }
}

fn begin<T: Send + 'static>(
    threads: &Arc<Threads<T>>,
    tid: i32,
    argument: Option<i32>,
) -> Result<(), Error> {
    let ended = || Error::host("the program has ended");
    let program = threads.lock().program.clone().ok_or_else(ended)?;
    let mut store = (program.new_store)()?;
    store.share_limits(&threads.limits);
    let handle = store.interrupt_handle();
    let mut state = threads.lock();
    let has_ended = state.has_ended;
    state.running.insert(tid, Some(handle.clone()));
    drop(state);
    if has_ended {
        handle.interrupt();
    }
    let here = Arc::clone(threads);
    let run = move || {
        let running = Running { threads: here, tid };
        let result = enter(&program.pre, store, tid, argument);
        drop(program);
        running.threads.end(tid, result);
        std::mem::forget(running);
    };
    let builder = thread::Builder::new().stack_size(threads.stack);
    let spawned = builder.name(format!("wasi thread {tid}")).spawn(run);
    if let Err(source) = spawned {
        let action = "start a thread of the program";
        return Err(Error::Thread { action, source });
    }
    Ok(())
}

/// A running thread. Dropping this, when the thread panics, ends the program.
struct Running<T: 'static> {
    threads: Arc<Threads<T>>,
    tid: i32,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        let error = Error::host("a thread of the program panicked");
        self.threads.end(self.tid, Err(error));
    }
}

fn enter<T: 'static>(
    pre: &InstancePre<T>,
    mut store: Store<T>,
    tid: i32,
    argument: Option<i32>,
) -> Result<(), Error> {
    let instance = pre.instantiate(&mut store)?;
    match argument {
        None => {
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call(&mut store, ())
        }
        Some(argument) => {
            let start = instance.get_typed_func::<(i32, i32), ()>(&mut store, START)?;
            start.call(&mut store, (tid, argument))
        }
    }
}
