//! The host of plug-ins. `wasm` is precast-loader or wasmtime.

use super::wasm::{
    Caller, Engine, Error, Extern, InstancePre, Linker, Memory, Module, Store, TypedFunc,
};
use crate::Result;
use crate::dprint::{Formatter, Linked, Plugin};

/// The configuration that every instance gets.
const CONFIG: &str = r#"{"global":{"lineWidth":100},"plugin":{}}"#;

/// The number by which the plug-in knows the configuration.
const CONFIG_ID: u32 = 1;

/// The data of a store.
pub struct Host {
    others: Formatter,
    /// What `others` made of the last text.
    formatted: String,
    /// Why `others` failed the last time.
    error: String,
    /// The text that the plug-in takes with `host_write_buffer`.
    buffer: Vec<u8>,
}

/// A linked plug-in.
pub struct OfRuntime {
    pre: InstancePre<Host>,
    others: Formatter,
}

impl OfRuntime {
    /// Links a plug-in.
    pub fn new(engine: &Engine, module: &Module, others: Formatter) -> Result<Self> {
        let mut linker: Linker<Host> = Linker::new(engine);
        linker.func_wrap("dprint", "host_format", host_format)?;
        linker.func_wrap(
            "dprint",
            "host_get_formatted_text",
            |mut caller: Caller<'_, Host>| {
                let host = caller.data_mut();
                host.buffer = std::mem::take(&mut host.formatted).into_bytes();
                host.buffer.len() as u32
            },
        )?;
        linker.func_wrap(
            "dprint",
            "host_get_error_text",
            |mut caller: Caller<'_, Host>| {
                let host = caller.data_mut();
                host.buffer = std::mem::take(&mut host.error).into_bytes();
                host.buffer.len() as u32
            },
        )?;
        linker.func_wrap("dprint", "host_write_buffer", host_write_buffer)?;
        linker.func_wrap("dprint", "host_has_cancelled", || 0_u32)?;
        let pre = linker.instantiate_pre(module)?;
        Ok(Self { pre, others })
    }
}

fn memory(caller: &mut Caller<'_, Host>) -> std::result::Result<Memory, Error> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| Error::msg("the plug-in exports no memory"))
}

#[expect(clippy::too_many_arguments, reason = "the protocol has eight")]
fn host_format(
    mut caller: Caller<'_, Host>,
    path_at: u32,
    path_len: u32,
    _range_start: u32,
    _range_end: u32,
    _config_at: u32,
    _config_len: u32,
    text_at: u32,
    text_len: u32,
) -> std::result::Result<u32, Error> {
    let memory = memory(&mut caller)?;
    let string = |at: u32, len: u32| {
        let mut bytes = vec![0; len as usize];
        memory.read(&caller, at as usize, &mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| Error::msg("the plug-in sent a text that is not UTF-8"))
    };
    let (path, text) = (string(path_at, path_len)?, string(text_at, text_len)?);
    let host = caller.data_mut();
    Ok(match (host.others)(&path, &text) {
        Ok(None) => 0,
        Ok(Some(formatted)) => {
            host.formatted = formatted;
            1
        }
        Err(error) => {
            host.error = error;
            2
        }
    })
}

fn host_write_buffer(mut caller: Caller<'_, Host>, at: u32) -> std::result::Result<(), Error> {
    let memory = memory(&mut caller)?;
    let buffer = std::mem::take(&mut caller.data_mut().buffer);
    memory.write(&mut caller, at as usize, &buffer)?;
    Ok(())
}

impl Linked for OfRuntime {
    type Plugin = Instance;

    #[inline]
    fn start(&self) -> Result<Instance> {
        let host = Host {
            others: self.others.clone(),
            formatted: String::new(),
            error: String::new(),
            buffer: Vec::new(),
        };
        let mut store = Store::new(self.pre.module().engine(), host);
        let instance = self.pre.instantiate(&mut store)?;
        let s = &mut store;
        if instance
            .get_func(&mut *s, "dprint_plugin_version_4")
            .is_none()
        {
            return Err("the plug-in is not of schema version 4".into());
        }
        let memory = instance.get_memory(&mut *s, "memory");
        let mut plugin = Instance {
            memory: memory.ok_or("the plug-in exports no memory")?,
            clear_shared_bytes: instance.get_typed_func(&mut *s, "clear_shared_bytes")?,
            get_shared_bytes_ptr: instance.get_typed_func(&mut *s, "get_shared_bytes_ptr")?,
            set_file_path: instance.get_typed_func(&mut *s, "set_file_path")?,
            format: instance.get_typed_func(&mut *s, "format")?,
            get_formatted_text: instance.get_typed_func(&mut *s, "get_formatted_text")?,
            get_error_text: instance.get_typed_func(&mut *s, "get_error_text")?,
            store,
        };
        let s = &mut plugin.store;
        let register_config = instance.get_typed_func::<u32, ()>(&mut *s, "register_config")?;
        plugin.send(CONFIG)?;
        register_config.call(&mut plugin.store, CONFIG_ID)?;
        Ok(plugin)
    }
}

/// An instance with its exports.
pub struct Instance {
    store: Store<Host>,
    memory: Memory,
    clear_shared_bytes: TypedFunc<u32, u32>,
    get_shared_bytes_ptr: TypedFunc<(), u32>,
    set_file_path: TypedFunc<(), ()>,
    format: TypedFunc<u32, u32>,
    get_formatted_text: TypedFunc<(), u32>,
    get_error_text: TypedFunc<(), u32>,
}

impl Instance {
    fn send(&mut self, text: &str) -> Result<()> {
        let len = u32::try_from(text.len())?;
        let at = self.clear_shared_bytes.call(&mut self.store, len)?;
        Ok(self
            .memory
            .write(&mut self.store, at as usize, text.as_bytes())?)
    }

    fn receive(&mut self, len: u32) -> Result<String> {
        let at = self.get_shared_bytes_ptr.call(&mut self.store, ())? as usize;
        let memory = self.memory.data(&self.store);
        let bytes = memory.get(at..).and_then(|rest| rest.get(..len as usize));
        let bytes = bytes.ok_or("the shared bytes are outside of the memory")?;
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

impl Plugin for Instance {
    #[inline]
    fn format(&mut self, path: &str, text: &str) -> Result<Option<String>> {
        self.send(path)?;
        self.set_file_path.call(&mut self.store, ())?;
        self.send(text)?;
        match self.format.call(&mut self.store, CONFIG_ID)? {
            0 => Ok(None),
            1 => {
                let len = self.get_formatted_text.call(&mut self.store, ())?;
                self.receive(len).map(Some)
            }
            2 => {
                let len = self.get_error_text.call(&mut self.store, ())?;
                Err(self.receive(len)?.into())
            }
            other => Err(format!("`format` returned {other}, expected 0, 1 or 2").into()),
        }
    }
}
