//! Wasmtime with several settings. Every row of the table shows the setting that was best in that
//! row.
//!
//! All settings register no unwind tables, use copy-on-write memory images of up to 128 MiB (the
//! default is 16), have neither GC nor asynchronous support compiled in, and are built with fat LTO
//! and one codegen unit. [`settings`] has the differences.

use std::path::Path;

use wasmtime::{
    Config, Enabled, Engine, Instance, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
    TypedFunc, WasmFeatures,
};

use super::Peer;
use crate::Result;

/// Wasmtime with one of its settings.
pub struct Wasmtime {
    /// The setting.
    pub setting: Setting,
    engine: Engine,
}

/// How Wasmtime allocates instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name in the table.
    pub name: &'static str,
    /// How many bytes of each memory and table a pool keeps resident. `None` without a pool.
    keep: Option<usize>,
    /// Whether the pool asks the kernel which pages are dirty.
    scan: bool,
    /// How many slots are given back at once.
    batch: usize,
    /// The number of instances that fit into the pool.
    slots: u32,
}

impl Setting {
    /// This setting with room for this number of instances.
    #[must_use]
    pub fn with_slots(self, slots: u32) -> Self {
        Self { slots, ..self }
    }
}

/// The settings, first the one without a pool.
pub fn settings() -> Vec<Setting> {
    let on_demand = Setting {
        name: "on demand",
        keep: None,
        scan: false,
        batch: 1,
        slots: 0,
    };
    let pool = Setting {
        name: "pool",
        keep: Some(0),
        slots: 100,
        ..on_demand
    };
    let kept = Setting {
        name: "pool, 64 KiB kept",
        keep: Some(64 << 10),
        ..pool
    };
    let scan = Setting {
        name: "pool, 64 KiB kept, scan",
        scan: true,
        ..kept
    };
    let more = Setting {
        name: "pool, 4 MiB kept, scan",
        keep: Some(4 << 20),
        ..scan
    };
    let most = Setting {
        name: "pool, 16 MiB kept, scan",
        keep: Some(16 << 20),
        ..scan
    };
    let batch = Setting {
        name: "pool, batches of 16",
        batch: 16,
        ..pool
    };
    let small = Setting {
        name: "pool of 16, 4 KiB kept",
        slots: 16,
        keep: Some(4 << 10),
        ..pool
    };
    vec![on_demand, pool, kept, scan, more, most, batch, small]
}

/// The part of the configuration that must be the same for compilation and execution.
pub fn compile_config() -> Config {
    let mut config = Config::new();
    // The compiler may have been built with more features than the runtime, which then refuses what
    // it compiles.
    let absent = WasmFeatures::GC | WasmFeatures::GC_TYPES | WasmFeatures::FUNCTION_REFERENCES;
    config.wasm_features(
        absent | WasmFeatures::EXCEPTIONS | WasmFeatures::THREADS,
        false,
    );
    config.native_unwind_info(false);
    config.memory_init_cow(true);
    config.memory_guaranteed_dense_image_size(128 << 20);
    config
}

impl Wasmtime {
    /// Makes an engine with this setting.
    ///
    /// # Errors
    /// When there is not enough address space for the pool.
    pub fn new(setting: Setting) -> Result<Self> {
        Self::with_config(setting, compile_config())
    }

    /// Makes an engine with this setting and another configuration.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the configuration needs what is not compiled in.
    pub fn with_config(setting: Setting, mut config: Config) -> Result<Self> {
        if let Some(keep) = setting.keep {
            let mut pooling = PoolingAllocationConfig::new();
            pooling.max_memory_size(4 << 30);
            pooling.total_memories(setting.slots);
            pooling.total_core_instances(setting.slots);
            pooling.total_tables(setting.slots);
            pooling.table_elements(100_000);
            pooling.max_core_instance_size(16 << 20);
            pooling.max_unused_warm_slots(setting.slots);
            pooling.linear_memory_keep_resident(keep);
            pooling.table_keep_resident(keep);
            pooling.decommit_batch_size(setting.batch);
            let scan = if setting.scan {
                Enabled::Yes
            } else {
                Enabled::No
            };
            pooling.pagemap_scan(scan);
            config.allocation_strategy(pooling);
        }
        let engine = Engine::new(&config)?;
        Ok(Self { setting, engine })
    }
}

impl Wasmtime {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Peer for Wasmtime {
    const EXTENSION: &'static str = "cwasm";
    type Module = Module;
    type Linker = Linker<()>;
    type Linked = InstancePre<()>;
    type Live = (Store<()>, Instance);
    type Func = TypedFunc<i32, i32>;

    #[inline]
    fn open(&self, artifact: &Path) -> Result<Module> {
        // SAFETY: Wasmtime made the artifact for this benchmark.
        Ok(unsafe { Module::deserialize_file(&self.engine, artifact)? })
    }

    fn linker(&self, module: &Module) -> Result<Linker<()>> {
        let mut linker = Linker::new(&self.engine);
        linker.func_wrap("h", "f", |x: i32| x + 1)?;
        linker.define_unknown_imports_as_traps(module)?;
        Ok(linker)
    }

    #[inline]
    fn link(&self, linker: &Linker<()>, module: &Module) -> Result<InstancePre<()>> {
        Ok(linker.instantiate_pre(module)?)
    }

    #[inline]
    fn instantiate(&self, linked: &InstancePre<()>) -> Result<Self::Live> {
        let mut store = Store::new(&self.engine, ());
        let instance = linked.instantiate(&mut store)?;
        Ok((store, instance))
    }

    #[inline]
    fn func(&self, (store, instance): &mut Self::Live, name: &str) -> Result<Self::Func> {
        Ok(instance.get_typed_func(store, name)?)
    }

    #[inline]
    fn call(&self, live: &mut Self::Live, func: &Self::Func, argument: i32) -> Result<i32> {
        Ok(func.call(&mut live.0, argument)?)
    }
}
