//! The host module `spectest`, which the official suite imports. Its functions print nothing,
//! because the suite only requires that they can be called.

use std::collections::HashMap;

use precast_loader::{
    Engine, Error, Extern, Func, FuncType, Global, GlobalType, Memory, MemoryType, SharedMemory,
    Store, Table, TableType, Val, ValType,
};

/// Makes the items of the module in `store`.
pub(crate) fn define(store: &mut Store<()>) -> Result<HashMap<&'static str, Extern>, Error> {
    use ValType::{F32, F64, I32, I64};
    let functions: [(&str, &[ValType]); 7] = [
        ("print", &[]),
        ("print_i32", &[I32]),
        ("print_i64", &[I64]),
        ("print_f32", &[F32]),
        ("print_f64", &[F64]),
        ("print_i32_f32", &[I32, F32]),
        ("print_f64_f64", &[F64, F64]),
    ];
    let globals = [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6_f32.to_bits())),
        ("global_f64", Val::F64(666.6_f64.to_bits())),
    ];

    let mut items = HashMap::new();
    for (name, params) in functions {
        let ty = FuncType::new(&Engine::default(), params.iter().copied(), []);
        items.insert(name, Func::new(&mut *store, ty, |_, _, _| Ok(())).into());
    }
    for (name, value) in globals {
        let ty = GlobalType::new(value.ty(), false);
        items.insert(name, Global::new(&mut *store, ty, value)?.into());
    }
    let table = TableType::new(ValType::FUNCREF, 10, Some(20));
    let table64 = TableType {
        table64: true,
        ..table
    };
    for (name, ty) in [("table", table), ("table64", table64)] {
        let table = Table::new(&mut *store, ty, Val::FuncRef(None))?;
        items.insert(name, table.into());
    }
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    items.insert("memory", memory.into());
    let memory = SharedMemory::new(store.engine(), MemoryType::shared(1, 2))?;
    items.insert("shared_memory", memory.into());
    Ok(items)
}
