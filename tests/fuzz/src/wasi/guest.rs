//! A guest that exports a wrapper of each WASI function, which the fuzzer calls.

use precast_compiler::{Compiler, Settings};
use precast_loader::{Engine, Instance, InstancePre, Linker, Module, Store, Val};
use precast_wasi::{WasiCtx, add_to_linker};

/// The functions and their parameters: `i` for i32, `l` for i64.
const FUNCTIONS: [(&str, &str); 26] = [
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
];
const UNLINK: (&str, &str) = ("path_unlink_file", "iii");

/// The address where calls write their results.
pub const OUT: u32 = 64;
/// The address from which on paths are placed.
const INPUT: u32 = 1024;
/// The address of the buffer for reading and writing.
pub const BUFFER: u32 = 32 << 10;

fn text() -> String {
    let mut text = String::from("(module\n");
    let all = || FUNCTIONS.iter().chain([&UNLINK]);
    let types = |params: &str| {
        params.chars().fold(String::new(), |s, c| {
            s + if c == 'i' { " i32" } else { " i64" }
        })
    };
    for (name, params) in all() {
        let types = types(params);
        text += &format!(
            "  (import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{types}) (result i32)))\n"
        );
    }
    text += "  (memory (export \"memory\") 2)\n";
    for (name, params) in all() {
        let (types, n) = (types(params), params.len());
        let gets = (0..n).fold(String::new(), |s, i| s + &format!(" (local.get {i})"));
        text += &format!(
            "  (func (export \"{name}\") (param{types}) (result i32) (call ${name}{gets}))\n"
        );
    }
    text + ")"
}

/// The guest, compiled and linked.
pub struct Program(InstancePre<WasiCtx>);

impl Program {
    pub fn new() -> Self {
        let engine = Engine::default();
        let wasm = wat::parse_str(text()).expect("well-formed text");
        let compiler = Compiler::new(Settings::default()).expect("supported settings");
        let compiled = compiler.compile(&wasm).expect("a valid module");
        // SAFETY: the compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&engine, &compiled.artifact) };
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).expect("an empty linker");
        let module = module.expect("an artifact for this machine");
        Self(
            linker
                .instantiate_pre(&module)
                .expect("imports that are defined"),
        )
    }

    pub fn start(&self, wasi: WasiCtx) -> Guest {
        let mut store = Store::new(&Engine::default(), wasi);
        let instance = self
            .0
            .instantiate(&mut store)
            .expect("room for an instance");
        Guest {
            store,
            instance,
            next: INPUT,
        }
    }
}

/// An instance of the guest.
pub struct Guest {
    store: Store<WasiCtx>,
    instance: Instance,
    next: u32,
}

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
pub enum Arg<'a> {
    I32(u32),
    I64(u64),
    /// Bytes, which are put into memory and passed as two arguments, address and length.
    Bytes(&'a [u8]),
}

impl Guest {
    /// Calls a function. Returns its errno.
    ///
    /// # Errors
    /// A trap, or another error of the loader.
    pub fn call(&mut self, name: &str, args: &[Arg<'_>]) -> Result<u16, String> {
        self.next = INPUT;
        let mut values = Vec::new();
        for arg in args {
            match arg {
                Arg::I32(v) => values.push(Val::I32(v.cast_signed())),
                Arg::I64(v) => values.push(Val::I64(v.cast_signed())),
                Arg::Bytes(bytes) => {
                    let at = self.put(bytes);
                    values.push(Val::I32(at.cast_signed()));
                    values.push(Val::I32(bytes.len() as i32));
                }
            }
        }
        let func = self
            .instance
            .get_func(&mut self.store, name)
            .expect("an export");
        let mut results = [Val::I32(0)];
        let called = func.call(&mut self.store, &values, &mut results);
        called.map_err(|error| format!("{name}: {error}"))?;
        Ok(results[0].i32().unwrap_or(-1) as u16)
    }

    /// Puts bytes into memory for the next call.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.next;
        self.write(at, bytes);
        self.next += (bytes.len() as u32).next_multiple_of(8);
        at
    }

    /// Writes a list of one buffer into memory. Returns its address.
    pub fn list(&mut self, at: u32, len: u32) -> u32 {
        self.write(16, &[at.to_le_bytes(), len.to_le_bytes()].concat());
        16
    }

    pub fn write(&mut self, at: u32, bytes: &[u8]) {
        let memory = self
            .instance
            .get_memory(&mut self.store, "memory")
            .expect("an export");
        memory
            .write(&mut self.store, at as usize, bytes)
            .expect("a place inside");
    }

    pub fn read(&mut self, at: u32, len: u32) -> Vec<u8> {
        let memory = self
            .instance
            .get_memory(&mut self.store, "memory")
            .expect("an export");
        let mut bytes = vec![0; len as usize];
        memory
            .read(&self.store, at as usize, &mut bytes)
            .expect("a place inside");
        bytes
    }

    pub fn u32(&mut self, at: u32) -> u32 {
        u32::from_le_bytes(self.read(at, 4).try_into().expect("four bytes"))
    }

    pub fn u64(&mut self, at: u32) -> u64 {
        u64::from_le_bytes(self.read(at, 8).try_into().expect("eight bytes"))
    }
}
