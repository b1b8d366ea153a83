//! Impossible types. The fields of types are public, so a host can write any value there.

use precast_loader::runtime::{HostModule, Runtime};
use precast_loader::{
    Engine, Error, Func, FuncType, Global, GlobalType, Linker, Memory, MemoryType, Table,
    TableType, Val, ValType,
};
use precast_tests::{module, store, strategies};

const MEMORY: MemoryType = MemoryType {
    min: 0,
    max: None,
    memory64: false,
    shared: false,
    page_size_log2: 16,
};

const TABLE: TableType = TableType {
    element: ValType::FUNCREF,
    min: 0,
    max: None,
    table64: false,
};

#[test]
fn memories_that_cannot_be() {
    let max_pages32 = 65536;
    let max_pages64 = 1 << 48;
    let cases = [
        (
            40,
            Some(1),
            false,
            "memory 40 1",
            "a maximum that is not below the minimum",
        ),
        (
            40,
            Some(1),
            true,
            "memory i64 40 1",
            "a maximum that is not below the minimum",
        ),
        (
            1,
            Some(0),
            true,
            "memory i64 1 0",
            "a maximum that is not below the minimum",
        ),
        (
            max_pages32 + 1,
            None,
            false,
            "memory 65537",
            "at most 65536 pages, all that 32 bits can address",
        ),
        (
            0,
            Some(u64::MAX),
            false,
            "memory 0 18446744073709551615",
            "at most 65536 pages, all that 32 bits can address",
        ),
        (
            0,
            Some(max_pages64 + 1),
            true,
            "memory i64 0 281474976710657",
            "at most 281474976710656 pages, all that 64 bits can address",
        ),
    ];
    for (min, max, memory64, found, expected) in cases {
        let ty = MemoryType {
            min,
            max,
            memory64,
            ..MEMORY
        };
        let error = Memory::new(&mut store(), ty).unwrap_err().to_string();
        let said = format!("type of a linear memory: found {found}, expected {expected}");
        assert_eq!(error, said);
        let runtime: Runtime = Runtime::new(&Engine::default());
        let host = HostModule::builder("m").memory("m", ty);
        assert_eq!(host.instantiate(&runtime).unwrap_err().to_string(), said);
    }
}

#[test]
fn memories_at_the_edge() {
    let mut store = store();
    let none = Memory::new(
        &mut store,
        MemoryType {
            max: Some(0),
            ..MEMORY
        },
    )
    .unwrap();
    assert_eq!(none.data_size(&store), 0);
    assert_eq!(none.grow(&mut store, 0).unwrap(), 0);
    assert!(none.grow(&mut store, 1).is_err());
    assert!(none.write(&mut store, 0, &[]).is_ok());
    assert!(none.write(&mut store, 0, &[1]).is_err());
    // There is not enough address space. The system refuses the memory, or the limit of the store
    // does.
    for (min, memory64) in [(1 << 31, true), (1 << 48, true)] {
        let ty = MemoryType {
            min,
            memory64,
            ..MEMORY
        };
        let error = Memory::new(&mut store, ty).unwrap_err();
        assert!(
            matches!(error, Error::Limit { .. } | Error::Memory { .. }),
            "{error}"
        );
    }
    let ty = MemoryType {
        max: Some(1 << 48),
        memory64: true,
        ..MEMORY
    };
    let large = Memory::new(&mut store, ty).unwrap();
    assert!(large.grow(&mut store, u64::MAX).is_err());
    assert!(large.grow(&mut store, 1 << 47).is_err());
    assert_eq!(large.grow(&mut store, 1).unwrap(), 0);
    assert_eq!(large.data(&store).len(), 65536);
}

#[test]
fn tables_that_cannot_be() {
    use ValType::{F32, F64, I32, I64, V128};
    for element in [I32, I64, F32, F64, V128] {
        let ty = TableType {
            element,
            min: 1,
            ..TABLE
        };
        let error = Table::new(&mut store(), ty, Val::default_for(element)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "type of a table: found table 1 {element}, \
                 expected elements of a reference type, such as funcref or externref"
            )
        );
        let runtime: Runtime = Runtime::new(&Engine::default());
        let host = HostModule::builder("m").table("t", ty);
        assert!(matches!(
            host.instantiate(&runtime),
            Err(Error::InvalidType { .. })
        ));
    }
    let cases = [
        (2, Some(1), false, "a maximum that is not below the minimum"),
        (2, Some(1), true, "a maximum that is not below the minimum"),
        (
            1 << 32,
            None,
            false,
            "at most 4294967295 elements, all that 32 bits can address",
        ),
        (
            0,
            Some(1 << 32),
            false,
            "at most 4294967295 elements, all that 32 bits can address",
        ),
    ];
    for (min, max, table64, expected) in cases {
        for element in [ValType::FUNCREF, ValType::EXTERNREF] {
            let ty = TableType {
                element,
                min,
                max,
                table64,
            };
            let error = Table::new(&mut store(), ty, Val::default_for(element)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.starts_with("type of a table: found table "),
                "{error}"
            );
            assert!(error.ends_with(expected), "{error}");
        }
    }
    // This type is valid, but the table would exceed the limit.
    let ty = TableType {
        min: u64::MAX,
        table64: true,
        ..TABLE
    };
    let error = Table::new(&mut store(), ty, Val::FuncRef(None)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

/// An element must have the table's type, even if another type has the same size.
#[test]
fn values_of_other_types_in_tables_and_globals() {
    let all = [
        Val::I32(1),
        Val::I64(1),
        Val::F32(1),
        Val::F64(1),
        Val::V128(1.into()),
        Val::FuncRef(None),
        Val::ExternRef(None),
    ];
    let mut store = store();
    for element in [ValType::FUNCREF, ValType::EXTERNREF] {
        let ty = TableType {
            element,
            min: 1,
            ..TABLE
        };
        let table = Table::new(&mut store, ty, Val::default_for(element)).unwrap();
        for value in all.iter().filter(|value| value.ty() != element) {
            assert!(Table::new(&mut store, ty, value.clone()).is_err());
            assert!(table.set(&mut store, 0, value.clone()).is_err());
            assert!(table.grow(&mut store, 1, value.clone()).is_err());
        }
        assert_eq!(table.size(&store), 1);
    }
    for held in &all {
        let ty = GlobalType::new(held.ty(), true);
        let global = Global::new(&mut store, ty, held.clone()).unwrap();
        for value in all.iter().filter(|value| value.ty() != held.ty()) {
            assert!(Global::new(&mut store, ty, value.clone()).is_err());
            assert!(global.set(&mut store, value.clone()).is_err());
        }
        assert_eq!(format!("{:?}", global.get(&store)), format!("{held:?}"));
    }
}

/// Host functions can have more parameters and results than any wasm function.
#[test]
fn functions_of_thousands_of_values() {
    let (params, results) = (5000, 3000);
    let ty = FuncType::new(
        &Engine::default(),
        (0..params).map(|_| ValType::I64),
        (0..results).map(|_| ValType::V128),
    );
    for strategy in strategies() {
        let mut store = store();
        let sum = Func::new(&mut store, ty.clone(), |_, params, results| {
            let sum: i64 = params.iter().filter_map(Val::i64).sum();
            results.fill(Val::V128((sum as u128).into()));
            Ok(())
        });
        assert_eq!(sum.ty(&store), ty);
        let values: Vec<_> = (0..params).map(Val::I64).collect();
        let mut given = vec![Val::I32(0); results];
        sum.call(&mut store, &values, &mut given).unwrap();
        let expected = (params * (params - 1) / 2) as u128;
        assert!(
            given
                .iter()
                .all(|v| v.v128().unwrap().as_u128() == expected)
        );
        // The call has one argument or one result too few.
        assert!(sum.call(&mut store, &values[1..], &mut given).is_err());
        assert!(sum.call(&mut store, &values, &mut given[1..]).is_err());
        // The function matches no import, neither directly nor in a table.
        let wat = r#"(module (import "h" "f" (func (param i64) (result v128))))"#;
        let module = module(store.engine(), wat, strategy);
        let mut linker = Linker::new(store.engine());
        linker.define(&store, "h", "f", sum).unwrap();
        let error = linker.instantiate(&mut store, &module).unwrap_err();
        assert!(matches!(error, Error::Link(_)), "{error}");
    }
}
