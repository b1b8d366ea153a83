//! precast, with one of its settings, in the middle of a scenario.

use std::borrow::Cow;

use precast_loader::{
    Caller, Error, ExportType, Extern, ExternRef, ExternType, Func, FuncType, Global, Instance,
    InstancePre, Linker, Memory, Module, Store, StoreLimitsBuilder, Table, Tag, Val, ValType,
    WasmBacktrace,
};

use super::host::{self, HostLog};
use super::scenario::{Call, Item, MEMORY_LIMIT, Machine, TABLE_LIMIT, linked_module};
use super::value::{Outcome, Value};

/// A module and, if all of its imports are functions of the host, the same module linked, so that a
/// second run reuses the instances of the first.
pub struct Subject {
    module: Module,
    linked: Option<InstancePre<HostLog>>,
}

impl Subject {
    pub fn new(module: Module) -> Self {
        let linked = Self::link(&module);
        Self { module, linked }
    }

    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The names and parameters of the functions that the module exports.
    pub fn exported_functions(&self) -> Vec<(String, Vec<ValType>)> {
        let function = |export: ExportType<'_>| match export.ty() {
            ExternType::Func(ty) => Some((export.name().to_owned(), ty.params().to_vec())),
            _ => None,
        };
        self.module.exports().filter_map(function).collect()
    }

    fn link(module: &Module) -> Option<InstancePre<HostLog>> {
        let mut linker = Linker::new(module.engine());
        linker.allow_shadowing(true);
        for import in module.imports() {
            let (from, name) = (import.module(), import.name());
            let ExternType::Func(ty) = import.ty() else {
                return None;
            };
            if linked_module(from).is_some() {
                return None;
            }
            let func = host_function(&ty);
            linker.func_new(from, name, ty, func).ok()?;
        }
        linker.instantiate_pre(module).ok()
    }
}

/// A host function of this type.
fn host_function(
    ty: &FuncType,
) -> impl Fn(Caller<'_, HostLog>, &[Val], &mut [Val]) -> Result<(), Error> + use<> {
    let results = ty.results().to_vec();
    move |mut caller, args, out| {
        let args = args.iter().map(from_precast).collect();
        let values = caller.data_mut().call(args, &results);
        let values = values.ok_or_else(|| Error::host("a failure of the harness"))?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = to_precast(value);
        }
        Ok(())
    }
}

/// More fuel than any scenario uses.
pub const PLENTY: u64 = 1 << 40;

/// precast in the middle of a scenario.
pub struct Running<'s> {
    store: Store<HostLog>,
    subjects: &'s [Subject],
    instances: Vec<Instance>,
    traces: Vec<Vec<(u32, Option<usize>)>>,
    /// The fuel that the store has got.
    fuel: u64,
}

impl<'s> Running<'s> {
    /// The store gets `fuel`. With less than `u64::MAX`, it accepts only modules that count fuel.
    pub fn new(subjects: &'s [Subject], fuel: u64) -> Self {
        let engine = *subjects[0].module.engine();
        let mut store = Store::new(&engine, HostLog::default());
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_LIMIT)
            .table_elements(TABLE_LIMIT);
        store.set_limits(limits.build());
        store.set_fuel(fuel).unwrap();
        Self {
            store,
            subjects,
            instances: Vec::new(),
            traces: Vec::new(),
            fuel,
        }
    }

    /// An item of the host for an import that no other module exports.
    fn host_item(&mut self, ty: ExternType) -> Result<Extern, Error> {
        Ok(match ty {
            ExternType::Func(ty) => {
                let func = host_function(&ty);
                Func::new(&mut self.store, ty, func).into()
            }
            ExternType::Memory(ty) => Memory::new(&mut self.store, ty)?.into(),
            ExternType::Table(ty) => {
                Table::new(&mut self.store, ty, Val::default_for(ty.element))?.into()
            }
            ExternType::Global(ty) => {
                let value = to_precast(host::global(ty.content));
                Global::new(&mut self.store, ty, value)?.into()
            }
            ExternType::Tag(ty) => Tag::new(&mut self.store, ty)?.into(),
            _ => unreachable!("a kind of import that the harness does not know"),
        })
    }

    fn next_instance(&mut self) -> Result<Instance, Error> {
        let subject = &self.subjects[self.instances.len()];
        if let Some(linked) = &subject.linked {
            return linked.instantiate(&mut self.store);
        }
        let mut imports = Vec::new();
        for import in subject.module.imports() {
            let (from, name, ty) = (import.module(), import.name(), import.ty());
            let linked = linked_module(from).and_then(|i| self.instances.get(i).copied());
            let linked = linked.and_then(|i| i.get_export(&mut self.store, name));
            imports.push(match linked {
                Some(item) => item,
                None => self.host_item(ty)?,
            });
        }
        Instance::new(&mut self.store, &subject.module, &imports)
    }

    fn export(&mut self, module: usize, name: &str) -> Extern {
        let export = self.instances[module].get_export(&mut self.store, name);
        export.expect("the name of an export")
    }
}

impl Machine for Running<'_> {
    fn try_instantiate(&mut self) -> Result<(), Outcome> {
        let instance = self.next_instance();
        let instance = instance.map_err(|error| outcome(&error, &self.store))?;
        self.instances.push(instance);
        Ok(())
    }

    fn try_call(&mut self, call: &Call) -> Result<Vec<Value>, Outcome> {
        let func = self.export(call.module, &call.export).into_func();
        let func = func.expect("the name of a function");
        let args: Vec<_> = call.args.iter().map(|v| to_precast(*v)).collect();
        let ty = func.ty(&self.store);
        let mut results: Vec<_> = ty.results().iter().map(|t| Val::default_for(*t)).collect();
        func.call(&mut self.store, &args, &mut results)
            .map_err(|error| {
                let frames = error.backtrace().map_or(&[][..], WasmBacktrace::frames);
                let frames = frames.iter().map(|f| (f.func_index(), f.module_offset()));
                self.traces.push(frames.collect());
                outcome(&error, &self.store)
            })?;
        Ok(results.iter().map(from_precast).collect())
    }

    fn instance_count(&self) -> usize {
        self.instances.len()
    }

    fn items(&mut self, module: usize) -> Vec<(String, Item)> {
        let item = |export: ExportType<'_>| {
            let item = match export.ty() {
                ExternType::Memory(_) => Item::Memory,
                ExternType::Table(_) => Item::Table,
                ExternType::Global(_) => Item::Global,
                ExternType::Func(_) | ExternType::Tag(_) => return None,
                _ => unreachable!("a kind of export that the harness does not know"),
            };
            Some((export.name().to_owned(), item))
        };
        self.subjects[module]
            .module
            .exports()
            .filter_map(item)
            .collect()
    }

    fn memory(&mut self, module: usize, name: &str) -> Cow<'_, [u8]> {
        match self.export(module, name) {
            Extern::Memory(memory) => Cow::Borrowed(memory.data(&self.store)),
            Extern::SharedMemory(memory) => {
                let mut bytes = vec![0; memory.data_size()];
                memory.read(0, &mut bytes).expect("all of its bytes");
                Cow::Owned(bytes)
            }
            other => unreachable!("found {other:?}, expected a memory"),
        }
    }

    fn values(&mut self, module: usize, name: &str) -> Vec<Value> {
        match self.export(module, name) {
            Extern::Table(table) => {
                let size = table.size(&self.store);
                let element = |i| table.get(&self.store, i).expect("an element");
                (0..size).map(|i| from_precast(&element(i))).collect()
            }
            Extern::Global(global) => vec![from_precast(&global.get(&self.store))],
            _ => Vec::new(),
        }
    }

    fn log(&self) -> &[Vec<Value>] {
        self.store.data().calls()
    }

    fn traces(&self) -> &[Vec<(u32, Option<usize>)>] {
        &self.traces
    }

    fn fuel(&self) -> Option<u64> {
        (self.fuel == PLENTY).then(|| PLENTY - self.store.get_fuel().unwrap())
    }
}

fn outcome(error: &Error, store: &Store<HostLog>) -> Outcome {
    match error {
        Error::Trap { trap, .. } => Outcome::Trapped(*trap),
        Error::Exception { exception, .. } => {
            Outcome::Threw(exception.values(store).iter().map(from_precast).collect())
        }
        Error::Host(_) => Outcome::HostFailed,
        _ => Outcome::Refused,
    }
}

fn to_precast(value: Value) -> Val {
    match value {
        Value::I32(v) => Val::I32(v.cast_signed()),
        Value::I64(v) => Val::I64(v.cast_signed()),
        Value::F32(v) => Val::F32(v),
        Value::F64(v) => Val::F64(v),
        Value::V128(v) => Val::V128(v.into()),
        Value::Func(_) => Val::FuncRef(None),
        Value::Extern(v) => Val::ExternRef(v.map(ExternRef::new)),
        Value::Exn(_) => Val::ExnRef(None),
    }
}

fn from_precast(value: &Val) -> Value {
    match value {
        Val::I32(v) => Value::I32(v.cast_unsigned()),
        Val::I64(v) => Value::I64(v.cast_unsigned()),
        Val::F32(v) => Value::F32(*v),
        Val::F64(v) => Value::F64(*v),
        Val::V128(v) => Value::V128(v.as_u128()),
        Val::FuncRef(v) => Value::Func(v.is_some()),
        Val::ExternRef(v) => {
            let number = v.as_ref().map(|v| v.data().downcast_ref::<u32>().copied());
            Value::Extern(number.map(|n| n.expect("the harness wraps numbers only")))
        }
        Val::ExnRef(v) => Value::Exn(v.is_some()),
        _ => unreachable!("a type that the harness does not know"),
    }
}
