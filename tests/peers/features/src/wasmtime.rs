//! Wasmtime as the engine that precast is compared with.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use precast_fuzz::differential::host::{self, HostLog};
use precast_fuzz::differential::scenario::{
    Call, Features, Item, MEMORY_LIMIT, Machine, TABLE_LIMIT, has_costs_by_length, linked_module,
};
use precast_fuzz::differential::value::{Outcome, Value};
use precast_fuzz::differential::{Oracle, PLENTY};
use precast_loader::{Trap, ValType};
use wasmtime::{
    AsContextMut, Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func, Global,
    HeapType, Instance, Memory, Module, OptLevel, Result, Store, StoreLimits, StoreLimitsBuilder,
    Table, Tag, Val,
};

/// Wasmtime with every feature that precast has.
pub struct Wasmtime(Engine);

impl Wasmtime {
    pub fn new() -> Self {
        let mut config = Config::new();
        config
            .wasm_wide_arithmetic(true)
            .wasm_custom_page_sizes(true)
            .relaxed_simd_deterministic(true)
            .consume_fuel(true)
            .cranelift_opt_level(OptLevel::None)
            // The frames of some modules of `edges` have 64 KiB.
            .max_wasm_stack(2 << 20);
        Self(Engine::new(&config).expect("settings that are supported"))
    }
}

impl Oracle for Wasmtime {
    const FEATURES: Features = Features::Three;
    type Module = Compiled;
    type Machine<'m> = Running<'m>;

    fn modules(&self, modules: &[Vec<u8>]) -> std::result::Result<Vec<Compiled>, String> {
        let compile = |wasm: &Vec<u8>| {
            let module = Module::new(&self.0, wasm)?;
            let has_other_costs = has_costs_by_length(wasm);
            Ok(Compiled {
                module,
                has_other_costs,
            })
        };
        let modules: Result<_> = modules.iter().map(compile).collect();
        modules.map_err(|error| format!("Wasmtime refuses a module: {error:?}"))
    }

    fn exported_functions(&self, compiled: &Compiled) -> Vec<(String, Vec<ValType>)> {
        let function = |export: wasmtime::ExportType<'_>| match export.ty() {
            ExternType::Func(ty) => {
                let params = ty.params().map(|ty| val_type(&ty)).collect();
                Some((export.name().to_owned(), params))
            }
            _ => None,
        };
        compiled.module.exports().filter_map(function).collect()
    }

    fn machine<'m>(&'m self, modules: &'m [Compiled]) -> Running<'m> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_LIMIT)
            .table_elements(TABLE_LIMIT)
            .build();
        let host = Host {
            limits,
            log: HostLog::default(),
        };
        let mut store = Store::new(&self.0, host);
        store.limiter(|host| &mut host.limits);
        store.set_fuel(PLENTY).expect("an engine that counts fuel");
        Running {
            store,
            modules,
            instances: Vec::new(),
        }
    }
}

/// A module that Wasmtime has compiled.
pub struct Compiled {
    module: Module,
    /// Whether it uses operators for which precast has the costs of Wasmtime 49, where those of
    /// this version are different.
    has_other_costs: bool,
}

struct Host {
    limits: StoreLimits,
    log: HostLog,
}

/// The error of a host function of the harness that must fail.
#[derive(Debug)]
struct HostFailure;

impl fmt::Display for HostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a failure of the harness")
    }
}

impl StdError for HostFailure {}

/// Wasmtime in the middle of a scenario.
pub struct Running<'m> {
    store: Store<Host>,
    modules: &'m [Compiled],
    instances: Vec<Instance>,
}

impl Running<'_> {
    /// An item of the host for an import that no other module exports.
    fn host_item(&mut self, ty: ExternType) -> Result<Extern> {
        Ok(match ty {
            ExternType::Func(ty) => {
                let results: Vec<ValType> = ty.results().map(|ty| val_type(&ty)).collect();
                let func = move |mut caller: Caller<'_, Host>, args: &[Val], out: &mut [Val]| {
                    let mut logged = Vec::new();
                    for arg in args {
                        logged.push(from_wasmtime(&mut caller, arg)?);
                    }
                    let values = caller.data_mut().log.call(logged, &results);
                    let values = values.ok_or(HostFailure)?;
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = to_wasmtime(&mut caller, value)?;
                    }
                    Ok(())
                };
                Func::new(&mut self.store, ty, func).into()
            }
            ExternType::Memory(ty) => Memory::new(&mut self.store, ty)?.into(),
            ExternType::Table(ty) => {
                let null = wasmtime::Ref::null(ty.element().heap_type());
                Table::new(&mut self.store, ty, null)?.into()
            }
            ExternType::Global(ty) => {
                let value = host::global(val_type(ty.content()));
                let value = to_wasmtime(&mut self.store, value)?;
                Global::new(&mut self.store, ty, value)?.into()
            }
            ExternType::Tag(ty) => Tag::new(&mut self.store, &ty)?.into(),
        })
    }

    fn next_instance(&mut self) -> Result<Instance> {
        let modules = self.modules;
        let module = &modules[self.instances.len()].module;
        let mut imports = Vec::new();
        for import in module.imports() {
            let linked =
                linked_module(import.module()).and_then(|i| self.instances.get(i).copied());
            let linked = linked.and_then(|i| i.get_export(&mut self.store, import.name()));
            imports.push(match linked {
                Some(item) => item,
                None => self.host_item(import.ty())?,
            });
        }
        Instance::new(&mut self.store, module, &imports)
    }

    fn export(&mut self, module: usize, name: &str) -> Extern {
        let export = self.instances[module].get_export(&mut self.store, name);
        export.expect("the name of an export")
    }

    fn call(&mut self, call: &Call) -> Result<Vec<Value>> {
        let func = self.export(call.module, &call.export).into_func();
        let func = func.expect("the name of a function");
        let mut args = Vec::new();
        for value in &call.args {
            args.push(to_wasmtime(&mut self.store, *value)?);
        }
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, &args, &mut results)?;
        results
            .iter()
            .map(|value| from_wasmtime(&mut self.store, value))
            .collect()
    }

    fn outcome(&mut self, error: &Error) -> Outcome {
        if let Some(exception) = self.store.as_context_mut().take_pending_exception() {
            let fields: Result<Vec<Val>> = exception
                .fields(&mut self.store)
                .map(|fields| fields.collect());
            let values = fields.and_then(|fields| {
                let values = fields
                    .iter()
                    .map(|value| from_wasmtime(&mut self.store, value));
                values.collect()
            });
            return Outcome::Threw(values.expect("an exception of this store"));
        }
        if error.is::<HostFailure>() {
            return Outcome::HostFailed;
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(trap) => Outcome::Trapped(self::trap(*trap)),
            None => Outcome::Refused,
        }
    }
}

impl Machine for Running<'_> {
    fn try_instantiate(&mut self) -> std::result::Result<(), Outcome> {
        let instance = self.next_instance();
        let instance = instance.map_err(|error| self.outcome(&error))?;
        self.instances.push(instance);
        Ok(())
    }

    fn try_call(&mut self, call: &Call) -> std::result::Result<Vec<Value>, Outcome> {
        let results = Running::call(self, call);
        results.map_err(|error| self.outcome(&error))
    }

    fn instance_count(&self) -> usize {
        self.instances.len()
    }

    fn items(&mut self, module: usize) -> Vec<(String, Item)> {
        let item = |export: wasmtime::ExportType<'_>| {
            let item = match export.ty() {
                ExternType::Memory(_) => Item::Memory,
                ExternType::Table(_) => Item::Table,
                ExternType::Global(_) => Item::Global,
                ExternType::Func(_) | ExternType::Tag(_) => return None,
            };
            Some((export.name().to_owned(), item))
        };
        self.modules[module]
            .module
            .exports()
            .filter_map(item)
            .collect()
    }

    fn memory(&mut self, module: usize, name: &str) -> Cow<'_, [u8]> {
        let memory = self.export(module, name).into_memory();
        Cow::Borrowed(memory.expect("the name of a memory").data(&self.store))
    }

    fn values(&mut self, module: usize, name: &str) -> Vec<Value> {
        let store = &mut self.store;
        let vals = match self.instances[module].get_export(&mut *store, name) {
            Some(Extern::Table(table)) => {
                let size = table.size(&*store);
                let element = |i| Val::from(table.get(&mut *store, i).expect("an element"));
                (0..size).map(element).collect()
            }
            Some(Extern::Global(global)) => vec![global.get(&mut *store)],
            _ => Vec::new(),
        };
        let values = vals.iter().map(|value| from_wasmtime(&mut *store, value));
        values
            .map(|value| value.expect("a value of this store"))
            .collect()
    }

    fn log(&self) -> &[Vec<Value>] {
        self.store.data().log.calls()
    }

    fn fuel(&self) -> Option<u64> {
        if self.modules.iter().any(|module| module.has_other_costs) {
            return None;
        }
        let left = self.store.get_fuel().expect("an engine that counts fuel");
        Some(PLENTY - left)
    }
}

fn trap(trap: wasmtime::Trap) -> Trap {
    match trap {
        wasmtime::Trap::UnreachableCodeReached => Trap::UnreachableCodeReached,
        wasmtime::Trap::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        wasmtime::Trap::TableOutOfBounds => Trap::TableOutOfBounds,
        wasmtime::Trap::IndirectCallToNull => Trap::IndirectCallToNull,
        wasmtime::Trap::BadSignature => Trap::BadSignature,
        wasmtime::Trap::IntegerOverflow => Trap::IntegerOverflow,
        wasmtime::Trap::IntegerDivisionByZero => Trap::IntegerDivisionByZero,
        wasmtime::Trap::BadConversionToInteger => Trap::BadConversionToInteger,
        wasmtime::Trap::StackOverflow => Trap::StackOverflow,
        wasmtime::Trap::NullReference => Trap::NullReference,
        wasmtime::Trap::OutOfFuel => Trap::OutOfFuel,
        wasmtime::Trap::Interrupt => Trap::Interrupt,
        wasmtime::Trap::HeapMisaligned => Trap::HeapMisaligned,
        wasmtime::Trap::AtomicWaitNonSharedMemory => Trap::AtomicWaitNonSharedMemory,
        other => unreachable!("a trap of a feature that no module uses: {other}"),
    }
}

fn val_type(ty: &wasmtime::ValType) -> ValType {
    match ty {
        wasmtime::ValType::I32 => ValType::I32,
        wasmtime::ValType::I64 => ValType::I64,
        wasmtime::ValType::F32 => ValType::F32,
        wasmtime::ValType::F64 => ValType::F64,
        wasmtime::ValType::V128 => ValType::V128,
        wasmtime::ValType::Ref(ty) => match ty.heap_type() {
            HeapType::Func | HeapType::ConcreteFunc(_) | HeapType::NoFunc => ValType::FUNCREF,
            HeapType::Extern | HeapType::NoExtern => ValType::EXTERNREF,
            HeapType::Exn | HeapType::ConcreteExn(_) | HeapType::NoExn => ValType::EXNREF,
            other => unreachable!("a type of a feature that no module uses: {other}"),
        },
    }
}

fn to_wasmtime(store: impl AsContextMut, value: Value) -> Result<Val> {
    Ok(match value {
        Value::I32(v) => Val::I32(v.cast_signed()),
        Value::I64(v) => Val::I64(v.cast_signed()),
        Value::F32(v) => Val::F32(v),
        Value::F64(v) => Val::F64(v),
        Value::V128(v) => Val::V128(v.into()),
        Value::Func(_) => Val::FuncRef(None),
        Value::Extern(None) => Val::ExternRef(None),
        Value::Extern(Some(n)) => Val::ExternRef(Some(ExternRef::new(store, n)?)),
        Value::Exn(_) => Val::ExnRef(None),
    })
}

fn from_wasmtime(store: impl AsContextMut, value: &Val) -> Result<Value> {
    Ok(match value {
        Val::I32(v) => Value::I32(v.cast_unsigned()),
        Val::I64(v) => Value::I64(v.cast_unsigned()),
        Val::F32(v) => Value::F32(*v),
        Val::F64(v) => Value::F64(*v),
        Val::V128(v) => Value::V128(v.as_u128()),
        Val::FuncRef(v) => Value::Func(v.is_some()),
        Val::ExternRef(None) => Value::Extern(None),
        Val::ExternRef(Some(v)) => {
            let data = v
                .data(store.as_context())?
                .and_then(|data| data.downcast_ref::<u32>());
            Value::Extern(Some(*data.expect("the harness wraps numbers only")))
        }
        Val::ExnRef(v) => Value::Exn(v.is_some()),
        Val::AnyRef(_) | Val::ContRef(_) => {
            unreachable!("a value of a feature that no module uses")
        }
    })
}
