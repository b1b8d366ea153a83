//! A host of CRuby: `ruby RUBY.precast EXPRESSION` evaluates an expression and prints the result.
//!
//! The module (npm `@ruby/3.4-wasm-wasi`) is a library for JavaScript hosts. Its imports from
//! JavaScript are stubs here. Its exports follow an early form of the component model's canonical
//! ABI, which this file implements by hand. Strings and lists are put into memory of the guest's
//! allocator, several results are returned in memory, and Ruby objects are handles into a table of
//! the host.

use std::error::Error;

use precast_loader::{Caller, Engine, ExternType, Instance, Linker, Memory, Module, Store};
use precast_wasi::{WasiCtx, WasiCtxBuilder};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Host {
    wasi: WasiCtx,
    /// The guest's own number for each handle.
    objects: Vec<i32>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, expression] = &args[..] else {
        return Err("usage: ruby RUBY.precast EXPRESSION".into());
    };
    let engine = Engine::default();
    // SAFETY: the user must pass an artifact that precast has made.
    let module = unsafe { Module::open(&engine, path)? };
    let mut ruby = Ruby::new(&module)?;
    println!("{}", ruby.eval(expression)?);
    Ok(())
}

struct Ruby {
    store: Store<Host>,
    instance: Instance,
    memory: Memory,
}

impl Ruby {
    fn new(module: &Module) -> Result<Self> {
        let mut linker: Linker<Host> = Linker::new(module.engine());
        precast_wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi)?;
        linker.func_wrap(
            "canonical_abi",
            "resource_new_rb-abi-value",
            |mut caller: Caller<'_, Host>, object: i32| {
                caller.data_mut().objects.push(object);
                caller.data().objects.len() as i32 - 1
            },
        )?;
        linker.func_wrap(
            "canonical_abi",
            "resource_get_rb-abi-value",
            |caller: Caller<'_, Host>, handle: u32| {
                let object = caller.data().objects.get(handle as usize).copied();
                object.ok_or_else(|| precast_loader::Error::host(format!("no handle {handle}")))
            },
        )?;
        for import in module.imports() {
            let (from, name, ty) = (import.module(), import.name(), import.ty());
            let javascript = from == "rb-js-abi-host" || name == "resource_drop_js-abi-value";
            if let (true, ExternType::Func(ty)) = (javascript, ty) {
                let message = format!("`{name}` needs JavaScript, and there is none here");
                linker.func_new(from, name, ty, move |_, _, _| {
                    Err(precast_loader::Error::host(message.clone()))
                })?;
            }
        }
        let host = Host {
            wasi: WasiCtxBuilder::new().inherit_stdio().build(),
            objects: Vec::new(),
        };
        let mut store = Store::new(module.engine(), host);
        let instance = linker.instantiate(&mut store, module)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or("the guest has no memory")?;
        let mut ruby = Self {
            store,
            instance,
            memory,
        };
        ruby.call::<(), ()>("_initialize", ())?;
        let mut list = Vec::new();
        for argument in ["ruby.wasm\0", "-EUTF-8\0", "-e_=0\0"] {
            let (at, len) = ruby.string(argument)?;
            list.extend(at.to_le_bytes());
            list.extend(len.to_le_bytes());
        }
        let (at, _) = ruby.bytes(&list, 4)?;
        ruby.call::<(u32, u32), ()>("ruby-init: func(args: list<string>) -> ()", (at, 3))?;
        ruby.call::<(), ()>("ruby-init-loadpath: func() -> ()", ())?;
        Ok(ruby)
    }

    /// Evaluates an expression, and returns `to_s` of the result.
    fn eval(&mut self, expression: &str) -> Result<String> {
        let code = self.string(&format!("({expression}).to_s\0"))?;
        let name = "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>";
        let at = self.call::<(u32, u32), u32>(name, code)?;
        let [handle, state] = self.words(at)?;
        if state != 0 {
            return Err(format!("Ruby raised an exception (state {state})").into());
        }
        let name = "rstring-ptr: func(value: handle<rb-abi-value>) -> string";
        let at = self.call::<u32, u32>(name, handle)?;
        let [at, len] = self.words(at)?;
        let mut bytes = vec![0; len as usize];
        self.memory.read(&self.store, at as usize, &mut bytes)?;
        Ok(String::from_utf8(bytes)?)
    }

    fn call<P: precast_loader::WasmParams, R: precast_loader::WasmResults>(
        &mut self,
        name: &str,
        params: P,
    ) -> Result<R> {
        let func = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, name)?;
        Ok(func.call(&mut self.store, params)?)
    }

    fn string(&mut self, text: &str) -> Result<(u32, u32)> {
        self.bytes(text.as_bytes(), 1)
    }

    /// Puts bytes into the guest's memory, and returns their address and their number.
    fn bytes(&mut self, bytes: &[u8], align: u32) -> Result<(u32, u32)> {
        let len = u32::try_from(bytes.len())?;
        let at = self.call::<(u32, u32, u32, u32), u32>("cabi_realloc", (0, 0, align, len))?;
        self.memory.write(&mut self.store, at as usize, bytes)?;
        Ok((at, len))
    }

    /// Reads two words of a result that is in memory.
    fn words(&self, at: u32) -> Result<[u32; 2]> {
        let mut bytes = [[0; 4]; 2];
        self.memory
            .read(&self.store, at as usize, bytes.as_flattened_mut())?;
        Ok(bytes.map(u32::from_le_bytes))
    }
}
