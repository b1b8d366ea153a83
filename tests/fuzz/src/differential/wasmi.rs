//! wasmi as the engine that precast is compared with. It is an interpreter that shares no code with
//! precast except the parser.

use std::borrow::Cow;

use precast_loader::{Trap, ValType};
use wasmi::{
    Engine, Error, Extern, ExternRef, ExternType, Func, Global, Instance, Memory, Module, Ref,
    Store, StoreLimits, StoreLimitsBuilder, Table, Val,
};

use super::Oracle;
use super::host::{self, HostLog};
use super::scenario::{Call, Features, Item, MEMORY_LIMIT, Machine, TABLE_LIMIT, linked_module};
use super::value::{Outcome, Value};

/// wasmi with the features that the targets in this crate use.
pub struct Wasmi(Engine);

impl Wasmi {
    pub fn new() -> Self {
        let mut config = wasmi::Config::default();
        config
            .wasm_multi_memory(true)
            .wasm_memory64(true)
            .wasm_tail_call(true)
            .wasm_extended_const(true)
            .wasm_simd(true)
            .wasm_relaxed_simd(true)
            .compilation_mode(wasmi::CompilationMode::Eager)
            .set_max_recursion_depth(20_000)
            .set_max_stack_height(8 << 20);
        Self(Engine::new(&config))
    }
}

impl Oracle for Wasmi {
    const FEATURES: Features = Features::Two;
    type Module = Module;
    type Machine<'m> = Running<'m>;

    fn modules(&self, modules: &[Vec<u8>]) -> Result<Vec<Module>, String> {
        let parse = |wasm: &Vec<u8>| Module::new(&self.0, wasm);
        let modules: Result<_, _> = modules.iter().map(parse).collect();
        modules.map_err(|error| format!("wasmi refuses a module: {error}"))
    }

    fn exported_functions(&self, module: &Module) -> Vec<(String, Vec<ValType>)> {
        let function = |export: wasmi::ExportType<'_>| match export.ty() {
            ExternType::Func(ty) => {
                let params = ty.params().iter().map(|ty| val_type(*ty)).collect();
                Some((export.name().to_owned(), params))
            }
            ExternType::Memory(_) | ExternType::Table(_) | ExternType::Global(_) => None,
        };
        module.exports().filter_map(function).collect()
    }

    fn machine<'m>(&'m self, modules: &'m [Module]) -> Running<'m> {
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
        Running {
            store,
            modules,
            instances: Vec::new(),
        }
    }
}

struct Host {
    limits: StoreLimits,
    log: HostLog,
}

/// wasmi in the middle of a scenario.
pub struct Running<'m> {
    store: Store<Host>,
    modules: &'m [Module],
    instances: Vec<Instance>,
}

impl Running<'_> {
    /// An item of the host for an import that no other module exports.
    fn host_item(&mut self, ty: &ExternType) -> Result<Extern, Error> {
        Ok(match ty {
            ExternType::Func(ty) => {
                let results: Vec<ValType> = ty.results().iter().map(|t| val_type(*t)).collect();
                let func =
                    move |mut caller: wasmi::Caller<'_, Host>, args: &[Val], out: &mut [Val]| {
                        let args = args.iter().map(|v| from_wasmi(&caller, v)).collect();
                        let Some(values) = caller.data_mut().log.call(args, &results) else {
                            return Err(Error::i32_exit(1));
                        };
                        for (out, value) in out.iter_mut().zip(values) {
                            *out = to_wasmi(&mut caller, value);
                        }
                        Ok(())
                    };
                Extern::Func(Func::new(&mut self.store, ty.clone(), func))
            }
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&mut self.store, *ty)?),
            ExternType::Table(ty) => {
                let null = Val::default(ty.element());
                Extern::Table(Table::new(&mut self.store, *ty, null)?)
            }
            ExternType::Global(ty) => {
                let value = host::global(val_type(ty.content()));
                let value = to_wasmi(&mut self.store, value);
                Extern::Global(Global::new(&mut self.store, value, ty.mutability()))
            }
        })
    }

    fn import(&mut self, import: &wasmi::ImportType<'_>) -> Result<Extern, Error> {
        let linked = linked_module(import.module()).and_then(|i| self.instances.get(i).copied());
        match linked.and_then(|instance| instance.get_export(&self.store, import.name())) {
            Some(item) => Ok(item),
            None => self.host_item(import.ty()),
        }
    }

    fn export(&self, module: usize, name: &str) -> Extern {
        let export = self.instances[module].get_export(&self.store, name);
        export.expect("the name of an export")
    }

    fn next_instance(&mut self) -> Result<Instance, Error> {
        let modules = self.modules;
        let module = &modules[self.instances.len()];
        let imports: Result<Vec<_>, _> = module.imports().map(|i| self.import(&i)).collect();
        Instance::new(&mut self.store, module, &imports?)
    }
}

impl Machine for Running<'_> {
    fn try_instantiate(&mut self) -> Result<(), Outcome> {
        let instance = self.next_instance().map_err(|error| outcome(&error))?;
        self.instances.push(instance);
        Ok(())
    }

    fn try_call(&mut self, call: &Call) -> Result<Vec<Value>, Outcome> {
        let func = self.export(call.module, &call.export).into_func();
        let func = func.expect("the name of a function");
        let args: Vec<_> = call
            .args
            .iter()
            .map(|v| to_wasmi(&mut self.store, *v))
            .collect();
        let ty = func.ty(&self.store);
        let mut results: Vec<_> = ty.results().iter().map(|ty| Val::default(*ty)).collect();
        func.call(&mut self.store, &args, &mut results)
            .map_err(|error| outcome(&error))?;
        Ok(results.iter().map(|v| from_wasmi(&self.store, v)).collect())
    }

    fn instance_count(&self) -> usize {
        self.instances.len()
    }

    fn items(&mut self, module: usize) -> Vec<(String, Item)> {
        let item = |export: wasmi::ExportType<'_>| {
            let item = match export.ty() {
                ExternType::Memory(_) => Item::Memory,
                ExternType::Table(_) => Item::Table,
                ExternType::Global(_) => Item::Global,
                ExternType::Func(_) => return None,
            };
            Some((export.name().to_owned(), item))
        };
        self.modules[module].exports().filter_map(item).collect()
    }

    fn memory(&mut self, module: usize, name: &str) -> Cow<'_, [u8]> {
        let memory = self.export(module, name).into_memory();
        Cow::Borrowed(memory.expect("the name of a memory").data(&self.store))
    }

    fn values(&mut self, module: usize, name: &str) -> Vec<Value> {
        match self.export(module, name) {
            Extern::Table(table) => {
                let size = table.size(&self.store);
                let element = |i| {
                    let element = table.get(&self.store, i).expect("an element");
                    from_wasmi(&self.store, &element)
                };
                (0..size).map(element).collect()
            }
            Extern::Global(global) => vec![from_wasmi(&self.store, &global.get(&self.store))],
            Extern::Memory(_) | Extern::Func(_) => Vec::new(),
        }
    }

    fn log(&self) -> &[Vec<Value>] {
        self.store.data().log.calls()
    }
}

fn outcome(error: &Error) -> Outcome {
    if error.i32_exit_status().is_some() {
        return Outcome::HostFailed;
    }
    let Some(code) = error.as_trap_code() else {
        return Outcome::Refused;
    };
    Outcome::Trapped(match code {
        wasmi::TrapCode::UnreachableCodeReached => Trap::UnreachableCodeReached,
        wasmi::TrapCode::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        wasmi::TrapCode::TableOutOfBounds => Trap::TableOutOfBounds,
        wasmi::TrapCode::IndirectCallToNull => Trap::IndirectCallToNull,
        wasmi::TrapCode::IntegerDivisionByZero => Trap::IntegerDivisionByZero,
        wasmi::TrapCode::IntegerOverflow => Trap::IntegerOverflow,
        wasmi::TrapCode::BadConversionToInteger => Trap::BadConversionToInteger,
        wasmi::TrapCode::StackOverflow => Trap::StackOverflow,
        wasmi::TrapCode::BadSignature => Trap::BadSignature,
        wasmi::TrapCode::OutOfFuel => Trap::OutOfFuel,
        // The limits of the harness say nothing about the module, so this outcome is not binding.
        wasmi::TrapCode::GrowthOperationLimited => Trap::Interrupt,
    })
}

fn val_type(ty: wasmi::ValType) -> ValType {
    match ty {
        wasmi::ValType::I32 => ValType::I32,
        wasmi::ValType::I64 => ValType::I64,
        wasmi::ValType::F32 => ValType::F32,
        wasmi::ValType::F64 => ValType::F64,
        wasmi::ValType::V128 => ValType::V128,
        wasmi::ValType::FuncRef => ValType::FUNCREF,
        wasmi::ValType::ExternRef => ValType::EXTERNREF,
    }
}

fn to_wasmi(store: impl wasmi::AsContextMut, value: Value) -> Val {
    match value {
        Value::I32(v) => Val::I32(v.cast_signed()),
        Value::I64(v) => Val::I64(v.cast_signed()),
        Value::F32(v) => Val::F32(wasmi::F32::from_bits(v)),
        Value::F64(v) => Val::F64(wasmi::F64::from_bits(v)),
        Value::V128(v) => Val::V128(v.into()),
        // wasmi has no exceptions, so no module of its targets has references to them.
        Value::Func(_) | Value::Exn(_) => Val::FuncRef(Ref::Null),
        Value::Extern(None) => Val::ExternRef(Ref::Null),
        Value::Extern(Some(n)) => Val::ExternRef(Ref::Val(ExternRef::new(store, n))),
    }
}

fn from_wasmi(store: impl wasmi::AsContext, value: &Val) -> Value {
    match value {
        Val::I32(v) => Value::I32(v.cast_unsigned()),
        Val::I64(v) => Value::I64(v.cast_unsigned()),
        Val::F32(v) => Value::F32(v.to_bits()),
        Val::F64(v) => Value::F64(v.to_bits()),
        Val::V128(v) => Value::V128(v.as_u128()),
        Val::FuncRef(v) => Value::Func(!v.is_null()),
        Val::ExternRef(v) => {
            let context = store.as_context();
            let number = v
                .val()
                .map(|v| v.data(context).downcast_ref::<u32>().copied());
            Value::Extern(number.map(|n| n.expect("the harness wraps numbers only")))
        }
    }
}
