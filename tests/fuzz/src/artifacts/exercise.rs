//! Does everything that can be done with an artifact without running its machine code: reads all of
//! it, opens, lists, links and instantiates it, looks at its exports, and reuses instances.

use precast_artifact::metadata::Metadata;
use precast_artifact::{
    Artifact, Error as ArtifactError, HEADER_OFFSET, addresses, custom_sections, handlers, traps,
    types,
};
use precast_loader::{
    Engine, Error, Extern, ExternRef, ExternType, Func, FuncType, Global, HeapType, Linker, Memory,
    Module, SharedMemory, Store, StoreLimits, StoreLimitsBuilder, Table, Tag, Val, ValType,
};

use super::mutate::Mutant;

/// The last step that succeeded for a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The loader refuses to open the mutant.
    Refused,
    /// The mutant opens, but it cannot be linked or instantiated.
    Opened,
    /// The mutant was instantiated.
    Instantiated,
}

/// Artifacts with larger VM contexts, in bytes, are not instantiated. They are valid, but filling
/// the context takes long.
const MAX_CONTEXT: u32 = 4 << 20;

/// Does everything that can be done with a mutant.
///
/// # Errors
/// A description of what went wrong.
pub fn everything(engine: &Engine, mutant: &mut Mutant) -> Result<Outcome, String> {
    if let Some(start) = started(mutant) {
        // Functions of the host may run, but functions of the artifact must not.
        mutant.header_mut().start_function = start;
        mutant.seal();
    }
    let bytes = mutant.bytes();
    let context = match Artifact::parse(bytes, None) {
        Ok(artifact) => {
            read(&artifact);
            Some(artifact.header().vm.size)
        }
        Err(error) => {
            is_inside(&error, bytes)?;
            None
        }
    };
    // SAFETY: none of its code ever runs.
    let module = match unsafe { Module::from_bytes(engine, bytes) } {
        Ok(module) => module,
        Err(Error::Artifact(error)) => {
            is_inside(&error, bytes)?;
            return Ok(Outcome::Refused);
        }
        Err(error) => return Err(format!("opening fails with `{error}`")),
    };
    let Some(context) = context else {
        return Err("the loader opens what the reader refuses".to_owned());
    };
    list(&module);
    if context > MAX_CONTEXT {
        return Ok(Outcome::Opened);
    }
    let error = match instantiate(engine, &module) {
        Ok(()) => return Ok(Outcome::Instantiated),
        Err(error) => error,
    };
    match &error {
        Error::Artifact(damage) => is_inside(damage, bytes)?,
        // Segments may be out of bounds, and sizes may exceed the limits.
        Error::Trap { .. } | Error::Limit { .. } | Error::Memory { .. } => {}
        // All imports have the types that the module asks for, but names may be equal.
        Error::Link(_)
        | Error::Duplicate { .. }
        | Error::Type { .. }
        | Error::InvalidType { .. } => {}
        _ => return Err(format!("instantiating fails with `{error}`")),
    }
    Ok(Outcome::Opened)
}

/// The value for the header's start function if the mutant's is a function of the artifact.
fn started(mutant: &Mutant) -> Option<u32> {
    let artifact = Artifact::parse(mutant.bytes(), None).ok()?;
    let start = artifact.start_function().ok()??;
    let imported = artifact.header().vm.func_import_count;
    (start >= imported).then_some(precast_artifact::records::NONE)
}

/// Checks that the offset of an error is inside of the file.
fn is_inside(error: &ArtifactError, bytes: &[u8]) -> Result<(), String> {
    match error {
        ArtifactError::Damaged { offset, what } if *offset > bytes.len() as u64 => Err(format!(
            "`{what}` is said to be at {offset:#x} of {:#x} bytes",
            bytes.len()
        )),
        _ => Ok(()),
    }
}

/// Reads everything that a tool would read.
fn read(a: &Artifact<'_>) {
    let h = a.header();
    for i in 0..a.signatures().len() as u32 + 1 {
        if let Some(signature) = a.signature(i) {
            assert!(signature.params().len() + signature.results().len() <= h.types.len as usize);
        }
    }
    for import in a.imports() {
        assert!(a.str(import.module).is_some() && a.str(import.name).is_some());
    }
    for export in a.exports() {
        let name = a.str(export.name).expect("checked when opened");
        a.export(name);
    }
    for f in 0..(a.function_count() as u32).min(500) {
        if let Ok(signature) = a.function_signature(f) {
            assert!(a.signature(signature).is_some());
        }
        a.funcref_slot(f).ok();
    }
    let ends = [0, 1, h.text.len as u32, u32::MAX];
    let places = a.functions().iter().take(100).flat_map(|f| {
        [
            f.text_offset,
            f.text_offset.wrapping_add(f.text_len).wrapping_sub(1),
        ]
    });
    for at in places.chain(ends) {
        if let Some((i, function)) = a.function_at(at) {
            a.function_name(i);
            addresses::lookup(a.section(h.addresses), i, at - function.text_offset);
        }
        traps::lookup(a.section(h.traps), at);
        handlers::lookup(a.section(h.handlers), at);
    }
    for i in 0..(a.functions().len() as u32).min(100) + 2 {
        a.function_name(i);
        addresses::entries(a.section(h.addresses), i).count();
        addresses::changes(a.section(h.addresses), i).count();
    }
    for i in 0..a.element_items().len() + 1 {
        let concrete = types::RefType::new(false, types::HeapType::Concrete(0));
        let concrete = types::ValType::Ref(concrete);
        for ty in [types::ValType::FUNCREF, types::ValType::EXTERNREF, concrete] {
            a.element_item(i, ty).ok();
        }
    }
    a.image_runs().filter(Result::is_ok).count();
    traps::entries(a.section(h.traps)).count();
    handlers::entries(a.section(h.handlers)).count();
    if let Ok(Some(counters)) = a.counters() {
        counters.profile(&vec![1; counters.words()]);
    }
    Metadata::decode(a.section(h.metadata)).ok();
    custom_sections::entries(a.section(h.custom_sections)).count();
    assert!(a.bytes().len() >= HEADER_OFFSET);
}

/// Lists the module as a host sees it.
fn list(module: &Module) {
    for import in module.imports() {
        drop((
            import.module().len(),
            import.name().len(),
            import.ty().to_string(),
        ));
    }
    for export in module.exports() {
        drop((export.ty().to_string(), module.get_export(export.name())));
        // The index by hash need not lead to a name that is damaged.
        drop(module.get_export_index(export.name()));
    }
    drop((module.name(), module.serialize(), module.profile().ok()));
}

fn limits() -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(8 << 20)
        .table_elements(10_000)
        .build()
}

/// Links the module with items of the types that it asks for, and makes instances: two at the same
/// time, and others one after the other.
fn instantiate(engine: &Engine, module: &Module) -> Result<(), Error> {
    for _ in 0..2 {
        let mut store = Store::new(engine, ());
        store.set_limits(limits());
        let linker = link(&mut store, module)?;
        let pre = linker.instantiate_pre(module)?;
        for _ in 0..2 {
            let instance = pre.instantiate(&mut store)?;
            let items = instance
                .exports(&mut store)
                .map(|e| e.into_extern())
                .collect();
            look(&mut store, items);
        }
        let reused = pre.clone();
        drop(store);
        let mut store = Store::new(engine, ());
        store.set_limits(limits());
        let host_only = module
            .imports()
            .all(|import| matches!(import.ty(), ExternType::Func(_)));
        if host_only {
            let instance = reused.instantiate(&mut store)?;
            let items = instance
                .exports(&mut store)
                .map(|e| e.into_extern())
                .collect();
            look(&mut store, items);
        }
        // What the instances have counted is in the profile now.
        module.profile().ok();
    }
    Ok(())
}

fn link(store: &mut Store<()>, module: &Module) -> Result<Linker<()>, Error> {
    let mut linker = Linker::new(store.engine());
    linker.allow_shadowing(true);
    let imports: Vec<_> = module
        .imports()
        .map(|import| {
            (
                import.module().to_owned(),
                import.name().to_owned(),
                import.ty(),
            )
        })
        .collect();
    for (from, name, ty) in imports {
        match ty {
            ExternType::Func(ty) => {
                linker.func_new(&from, &name, ty, |_, _, _| Ok(()))?;
            }
            ExternType::Memory(ty) if ty.shared => {
                let item = SharedMemory::new(store.engine(), ty)?;
                linker.shared_memory(&from, &name, item)?;
            }
            ExternType::Memory(ty) => {
                let item = Memory::new(&mut *store, ty)?;
                linker.define(&*store, &from, &name, item)?;
            }
            ExternType::Table(ty) => {
                let item = Table::new(&mut *store, ty, null(ty.element))?;
                linker.define(&*store, &from, &name, item)?;
            }
            ExternType::Global(ty) => {
                let value = value(store, ty.content);
                let item = Global::new(&mut *store, ty, value)?;
                linker.define(&*store, &from, &name, item)?;
            }
            ExternType::Tag(ty) => {
                let item = Tag::new(&mut *store, ty)?;
                linker.define(&*store, &from, &name, item)?;
            }
            _ => {}
        }
    }
    Ok(linker)
}

fn null(ty: ValType) -> Val {
    match ty {
        ValType::Ref(_) => Val::default_for(ty),
        _ => Val::FuncRef(None),
    }
}

/// A value that is not zero.
fn value(store: &mut Store<()>, ty: ValType) -> Val {
    match ty {
        ValType::I32 => Val::I32(1),
        ValType::I64 => Val::I64(2),
        ValType::F32 => Val::F32(0x3f80_0000),
        ValType::F64 => Val::F64(0x3ff0_0000_0000_0000),
        ValType::V128 => Val::V128(3_u128.into()),
        ValType::FUNCREF => {
            let func = Func::new(
                store,
                FuncType::new(&Engine::default(), [ValType::I32], []),
                |_, _, _| Ok(()),
            );
            Val::FuncRef(Some(func))
        }
        ValType::EXTERNREF => Val::ExternRef(Some(ExternRef::new(7_u32))),
        ValType::Ref(of) => match of.heap_type() {
            HeapType::ConcreteFunc(ty) => {
                Val::FuncRef(Some(Func::new(store, ty.ty().clone(), |_, _, _| Ok(()))))
            }
            _ => Val::default_for(ty),
        },
    }
}

/// Reads items as a host does, and changes those that can be changed.
fn look(store: &mut Store<()>, items: Vec<Extern>) {
    for item in items {
        match item {
            Extern::Func(func) => {
                look_at(store, &Val::FuncRef(Some(func)));
            }
            Extern::Memory(memory) => {
                let len = memory.data_size(&*store);
                let mut bytes = [0; 8];
                for at in [0, len / 2, len.saturating_sub(8), len] {
                    memory.read(&*store, at, &mut bytes).ok();
                    memory.write(&mut *store, at, &bytes).ok();
                }
                memory.grow(&mut *store, 1).ok();
            }
            Extern::SharedMemory(memory) => {
                let len = memory.data_size();
                let mut bytes = [0; 8];
                for at in [0, len / 2, len.saturating_sub(8), len] {
                    memory.read(at, &mut bytes).ok();
                    memory.write(at, &bytes).ok();
                }
                memory.grow(1).ok();
                memory.atomic_notify(0, 1).ok();
            }
            Extern::Table(table) => {
                for i in 0..table.size(&*store).min(100) {
                    let value = table.get(&*store, i).expect("inside");
                    look_at(store, &value);
                    table.set(&mut *store, i, value).expect("its own element");
                }
                let element = table.ty(&*store).element;
                table.grow(&mut *store, 1, null(element)).ok();
            }
            Extern::Global(global) => {
                let found = global.get(&*store);
                look_at(store, &found);
                if global.ty().mutable {
                    let ty = global.ty().content;
                    let new = value(store, ty);
                    let set = global.set(&mut *store, new);
                    // The harness has no value of some types without null.
                    if !matches!(ty, ValType::Ref(of) if !of.is_nullable()) {
                        set.expect("of its type");
                    }
                }
            }
            Extern::Tag(tag) => drop(tag.ty(&*store).to_string()),
            _ => {}
        }
    }
}

fn look_at(store: &mut Store<()>, value: &Val) {
    match value {
        Val::FuncRef(Some(func)) => {
            drop(func.ty(&*store).to_string());
            func.typed::<i32, i32>(&*store).ok();
        }
        Val::ExternRef(Some(value)) => {
            assert_eq!(value.data().downcast_ref(), Some(&7_u32));
        }
        _ => {}
    }
}
