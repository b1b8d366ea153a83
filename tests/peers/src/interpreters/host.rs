//! The host of interpreters. `wasm` is precast-loader or wasmtime.

use super::wasm::{
    Caller, Engine, Error, Extern, ExternType, InstancePre, Linker, Memory, Module, Store,
    TypedFunc, Val,
};
use crate::Result;
use crate::interpreters::{Interpreter, Linked};

const WASI: &str = "wasi_snapshot_preview1";

/// The functions that do something. All others fail.
const DEFINED: [&str; 12] = [
    "args_sizes_get",
    "args_get",
    "environ_sizes_get",
    "environ_get",
    "clock_res_get",
    "clock_time_get",
    "random_get",
    "fd_read",
    "fd_write",
    "fd_fdstat_get",
    "fd_prestat_get",
    "proc_exit",
];

/// Errors of WASI.
const BADF: i32 = 8;
const NOSYS: i32 = 52;

/// The time in nanoseconds.
const NOW: u64 = 1_800_000_000_000_000_000;

/// The data of a store.
#[derive(Default)]
pub struct Host {
    /// The arguments of a command, each with a zero at its end.
    arguments: Vec<u8>,
    /// What standard input has still.
    input: Vec<u8>,
    output: Vec<u8>,
    exit_code: Option<i32>,
}

/// A linked interpreter.
pub struct OfRuntime {
    pre: InstancePre<Host>,
}

impl OfRuntime {
    /// Links an interpreter.
    pub fn new(engine: &Engine, module: &Module) -> Result<Self> {
        let mut linker: Linker<Host> = Linker::new(engine);
        linker.func_wrap(WASI, "args_sizes_get", args_sizes_get)?;
        linker.func_wrap(WASI, "args_get", args_get)?;
        linker.func_wrap(
            WASI,
            "environ_sizes_get",
            |caller: Caller<'_, Host>, n: u32, len: u32| {
                let mut guest = Guest(caller);
                guest.write(n, &[0; 4])?;
                guest.write(len, &[0; 4])?;
                Ok::<_, Error>(0)
            },
        )?;
        linker.func_wrap(WASI, "environ_get", |_: u32, _: u32| 0)?;
        linker.func_wrap(
            WASI,
            "clock_res_get",
            |caller: Caller<'_, Host>, _: u32, to: u32| {
                Guest(caller).write(to, &1_u64.to_le_bytes())?;
                Ok::<_, Error>(0)
            },
        )?;
        linker.func_wrap(
            WASI,
            "clock_time_get",
            |caller: Caller<'_, Host>, _: u32, _: u64, to: u32| {
                Guest(caller).write(to, &NOW.to_le_bytes())?;
                Ok::<_, Error>(0)
            },
        )?;
        linker.func_wrap(
            WASI,
            "random_get",
            |caller: Caller<'_, Host>, to: u32, len: u32| {
                Guest(caller).write(to, &vec![7; len as usize])?;
                Ok::<_, Error>(0)
            },
        )?;
        linker.func_wrap(WASI, "fd_read", fd_read)?;
        linker.func_wrap(WASI, "fd_write", fd_write)?;
        linker.func_wrap(WASI, "fd_fdstat_get", fd_fdstat_get)?;
        linker.func_wrap(WASI, "fd_prestat_get", |_: u32, _: u32| BADF)?;
        linker.func_wrap(
            WASI,
            "proc_exit",
            |mut caller: Caller<'_, Host>, code: i32| -> std::result::Result<(), Error> {
                caller.data_mut().exit_code = Some(code);
                Err(Error::msg("the guest has ended"))
            },
        )?;
        for import in module.imports() {
            if let (ExternType::Func(ty), false) = (import.ty(), DEFINED.contains(&import.name())) {
                let refuse = |_: Caller<'_, Host>, _: &[Val], results: &mut [Val]| {
                    results.fill_with(|| Val::I32(NOSYS));
                    Ok(())
                };
                linker.func_new(import.module(), import.name(), ty, refuse)?;
            }
        }
        let pre = linker.instantiate_pre(module)?;
        Ok(Self { pre })
    }
}

/// The memory of a guest that has called.
struct Guest<'a>(Caller<'a, Host>);

impl Guest<'_> {
    fn memory(&mut self) -> std::result::Result<Memory, Error> {
        let memory = self.0.get_export("memory").and_then(Extern::into_memory);
        memory.ok_or_else(|| Error::msg("the interpreter exports no memory"))
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> std::result::Result<(), Error> {
        let memory = self.memory()?;
        Ok(memory.write(&mut self.0, at as usize, bytes)?)
    }
}

fn args_sizes_get(caller: Caller<'_, Host>, n: u32, len: u32) -> std::result::Result<i32, Error> {
    let mut guest = Guest(caller);
    let arguments = &guest.0.data().arguments;
    let count = arguments.iter().filter(|byte| **byte == 0).count() as u32;
    let bytes = arguments.len() as u32;
    guest.write(n, &count.to_le_bytes())?;
    guest.write(len, &bytes.to_le_bytes())?;
    Ok(0)
}

fn args_get(caller: Caller<'_, Host>, argv: u32, to: u32) -> std::result::Result<i32, Error> {
    let mut guest = Guest(caller);
    let arguments = guest.0.data().arguments.clone();
    guest.write(to, &arguments)?;
    let (mut argv, mut at) = (argv, to);
    for argument in arguments.split_inclusive(|byte| *byte == 0) {
        guest.write(argv, &at.to_le_bytes())?;
        argv += 4;
        at += argument.len() as u32;
    }
    Ok(0)
}

fn fd_fdstat_get(caller: Caller<'_, Host>, fd: u32, to: u32) -> std::result::Result<i32, Error> {
    if fd > 2 {
        return Ok(BADF);
    }
    let mut stat = [0; 24];
    // A character device, which can be read and written.
    stat[0] = 2;
    stat[8] = 0x42;
    Guest(caller).write(to, &stat)?;
    Ok(0)
}

fn fd_read(
    caller: Caller<'_, Host>,
    fd: i32,
    vectors: u32,
    n: u32,
    read: u32,
) -> std::result::Result<i32, Error> {
    if fd != 0 {
        return Ok(BADF);
    }
    let mut guest = Guest(caller);
    let memory = guest.memory()?;
    let mut sum = 0;
    for i in 0..n {
        let mut vector = [0; 8];
        memory.read(&guest.0, (vectors + 8 * i) as usize, &mut vector)?;
        let [at, len] = [0, 4].map(|i| {
            let word = vector[i..].first_chunk().copied();
            u32::from_le_bytes(word.unwrap_or_default())
        });
        let input = &mut guest.0.data_mut().input;
        let len = input.len().min(len as usize);
        let bytes: Vec<u8> = input.drain(..len).collect();
        guest.write(at, &bytes)?;
        sum += len as u32;
    }
    guest.write(read, &sum.to_le_bytes())?;
    Ok(0)
}

fn fd_write(
    caller: Caller<'_, Host>,
    _: u32,
    vectors: u32,
    n: u32,
    written: u32,
) -> std::result::Result<i32, Error> {
    let mut guest = Guest(caller);
    let memory = guest.memory()?;
    let (bytes, host) = memory.data_and_store_mut(&mut guest.0);
    let slice = |at: u32, len: u32| {
        let rest = bytes.get(at as usize..);
        let slice = rest.and_then(|rest| rest.get(..len as usize));
        slice.ok_or_else(|| Error::msg("the text is outside of the memory"))
    };
    let word = |at: u32| -> std::result::Result<u32, Error> {
        let mut word = [0; 4];
        word.copy_from_slice(slice(at, 4)?);
        Ok(u32::from_le_bytes(word))
    };
    let mut sum = 0;
    for i in 0..n {
        let (at, len) = (word(vectors + 8 * i)?, word(vectors + 8 * i + 4)?);
        host.output.extend(slice(at, len)?);
        sum += len;
    }
    guest.write(written, &u32::to_le_bytes(sum))?;
    Ok(0)
}

impl Linked for OfRuntime {
    type Interpreter = Instance;

    #[inline]
    fn start(&self) -> Result<Instance> {
        let mut store = Store::new(self.pre.module().engine(), Host::default());
        let instance = self.pre.instantiate(&mut store)?;
        let s = &mut store;
        let has = |s: &mut _, name| instance.get_func(s, name).is_some();
        let kind = match (has(&mut *s, "_start"), has(&mut *s, "run")) {
            (true, _) => Kind::Command(instance.get_typed_func(&mut *s, "_start")?),
            (false, true) => Kind::Reader(instance.get_typed_func(&mut *s, "run")?),
            (false, false) => {
                let initialize = instance.get_typed_func::<(), ()>(&mut *s, "_initialize")?;
                initialize.call(&mut *s, ())?;
                let memory = instance.get_memory(&mut *s, "memory");
                Kind::Reactor {
                    memory: memory.ok_or("the interpreter exports no memory")?,
                    malloc: instance.get_typed_func(&mut *s, "malloc")?,
                    free: instance.get_typed_func(&mut *s, "free")?,
                    evaluate: instance.get_typed_func(&mut *s, "qjs_init_argv")?,
                    destroy: instance.get_typed_func(&mut *s, "qjs_destroy")?,
                }
            }
        };
        Ok(Instance { store, kind })
    }
}

/// An instance with its exports.
pub struct Instance {
    store: Store<Host>,
    kind: Kind,
}

enum Kind {
    Command(TypedFunc<(), ()>),
    Reader(TypedFunc<(), i32>),
    Reactor {
        memory: Memory,
        malloc: TypedFunc<u32, u32>,
        free: TypedFunc<u32, ()>,
        evaluate: TypedFunc<(u32, u32), i32>,
        destroy: TypedFunc<(), ()>,
    },
}

impl Interpreter for Instance {
    #[inline]
    fn evaluate(&mut self, script: &str) -> Result<String> {
        let s = &mut self.store;
        s.data_mut().output.clear();
        match &self.kind {
            Kind::Command(start) => {
                s.data_mut().arguments = format!("python\0-c\0{script}\0").into_bytes();
                let ended = start.call(&mut *s, ());
                if s.data().exit_code != Some(0) {
                    ended?;
                }
            }
            Kind::Reader(run) => {
                s.data_mut().input = script.into();
                let failed = run.call(&mut *s, ())?;
                if failed != 0 {
                    let said = String::from_utf8_lossy(&s.data().output).into_owned();
                    return Err(format!("`run` returned {failed}: {said}").into());
                }
            }
            Kind::Reactor {
                memory,
                malloc,
                free,
                evaluate,
                destroy,
            } => {
                let arguments = ["qjs", "-e", script];
                let mut bytes = vec![0; 4 * arguments.len()];
                let mut starts = Vec::new();
                for argument in arguments {
                    starts.push(bytes.len() as u32);
                    bytes.extend(argument.as_bytes());
                    bytes.push(0);
                }
                let at = malloc.call(&mut *s, bytes.len() as u32)?;
                for (i, start) in starts.into_iter().enumerate() {
                    bytes[4 * i..4 * i + 4].copy_from_slice(&(at + start).to_le_bytes());
                }
                memory.write(&mut *s, at as usize, &bytes)?;
                let failed = evaluate.call(&mut *s, (3, at))?;
                if failed != 0 {
                    let said = String::from_utf8_lossy(&s.data().output).into_owned();
                    return Err(format!("`qjs_init_argv` returned {failed}: {said}").into());
                }
                destroy.call(&mut *s, ())?;
                free.call(&mut *s, at)?;
            }
        }
        Ok(String::from_utf8(std::mem::take(&mut s.data_mut().output))?)
    }
}
