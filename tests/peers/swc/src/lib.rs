//! swc's plug-ins on precast: an implementation of the trait by which swc runs plug-ins
//! (`swc_plugin_runner::runtime::Runtime`).
//!
//! A plug-in is a WASI reactor. It exports `__alloc` and `__free`, by which the host gets room for
//! what it sends, `__get_transform_plugin_core_pkg_diag`, which reports the plug-in's versions, and
//! `__transform_plugin_process_impl`, which transforms a program. It imports about twenty functions
//! of swc (`env`), which swc gives to each instance as closures of its own.
//!
//! Those closures are data of a store here. The functions that a module is linked with only find
//! the closure of their store, so a module is linked once, and instances come out of precast's
//! pool.

mod instance;
mod link;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use precast_compiler::{Compiler, Settings};
use precast_loader::{Engine, Module};
use swc_plugin_runner::runtime;

use link::Linked;

/// The runtime. Its modules can be kept in files, in any directory that only this user can write
/// to.
#[derive(Clone, Debug)]
pub struct PrecastRuntime {
    engine: Engine,
}

impl Default for PrecastRuntime {
    fn default() -> Self {
        Self::new(Engine::default())
    }
}

impl PrecastRuntime {
    /// A runtime whose instances belong to `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    fn compile(&self, wasm: &[u8]) -> anyhow::Result<Compiled> {
        // The module will run on this machine, as what Wasmtime compiles.
        let settings = Settings {
            cpu: "native".parse()?,
            ..Settings::default()
        };
        let compiled = Compiler::new(settings)?.compile(wasm)?;
        // SAFETY: the compiler has just made these bytes.
        let module = unsafe { Module::from_bytes(&self.engine, &compiled.artifact)? };
        Ok(Compiled::new(module))
    }
}

/// A compiled plug-in, cheap to clone.
#[derive(Clone)]
pub(crate) struct Compiled {
    module: Module,
    /// The module linked with the functions of the first instance. swc gives each instance the same
    /// names, so this serves all.
    linked: Arc<OnceLock<Linked>>,
}

impl Compiled {
    fn new(module: Module) -> Self {
        Self {
            module,
            linked: Arc::default(),
        }
    }

    fn into_cache(self) -> runtime::ModuleCache {
        runtime::ModuleCache(Box::new(self))
    }
}

fn of_this_runtime(cache: &runtime::ModuleCache) -> anyhow::Result<&Compiled> {
    let found = cache.0.downcast_ref();
    found.context("the module belongs to another runtime, expected one of precast")
}

impl runtime::Runtime for PrecastRuntime {
    fn identifier(&self) -> &'static str {
        concat!("precast-", env!("CARGO_PKG_VERSION"))
    }

    fn prepare_module(&self, bytes: &[u8]) -> anyhow::Result<runtime::ModuleCache> {
        Ok(self.compile(bytes)?.into_cache())
    }

    fn init(
        &self,
        _name: &str,
        imports: Vec<(String, runtime::Func)>,
        envs: Vec<(String, String)>,
        module: runtime::Module,
    ) -> anyhow::Result<Box<dyn runtime::Instance>> {
        let compiled = match module {
            runtime::Module::Cache(cache) => of_this_runtime(&cache)?.clone(),
            runtime::Module::Bytes(bytes) => self.compile(&bytes)?,
        };
        let linked = match compiled.linked.get() {
            Some(linked) if linked.has(&imports) => linked.clone(),
            Some(_) => Linked::new(&compiled.module, &imports)?,
            None => {
                let linked = Linked::new(&compiled.module, &imports)?;
                compiled.linked.get_or_init(|| linked.clone());
                linked
            }
        };
        let imports = imports.into_iter().map(|(_, func)| func).collect();
        let instance = instance::start(compiled, &linked, imports, &envs)?;
        Ok(Box::new(instance))
    }

    fn clone_cache(&self, cache: &runtime::ModuleCache) -> Option<runtime::ModuleCache> {
        Some(of_this_runtime(cache).ok()?.clone().into_cache())
    }

    unsafe fn load_cache(&self, path: &Path) -> Option<runtime::ModuleCache> {
        // An artifact of another version counts as missing. SAFETY: by the contract of this
        // function, `store_cache` wrote the file.
        let module = unsafe { Module::open(&self.engine, path).ok()? };
        Some(Compiled::new(module).into_cache())
    }

    fn store_cache(&self, path: &Path, cache: &runtime::ModuleCache) -> anyhow::Result<()> {
        let artifact = of_this_runtime(cache)?.module.serialize()?;
        // A reader sees the whole file or none.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!("{name}.{}.part", std::process::id()));
        let written = std::fs::write(&part, artifact).and_then(|()| std::fs::rename(&part, path));
        if written.is_err() {
            // There may be no such file, and there is nothing else to do about it.
            std::fs::remove_file(&part).ok();
        }
        written.with_context(|| format!("the artifact cannot be written to {}", path.display()))
    }
}
