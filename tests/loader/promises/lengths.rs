//! Promises about lengths of memories: what grows and what does not, and the least length.

use precast_artifact::Strategy;
use precast_artifact::vm::VmMemory;
use precast_loader::{
    Engine, Error, Func, Instance, Memory, MemoryType, Store, StoreLimitsBuilder, Trap,
};
use precast_tests::{module, strategies, strategy_pairs, trap};

use super::memory::{Role, combinations, index, pair, text};
use super::ways::WAYS;

/// Accesses of every end, known to [`VmMemory::last`] or not, are in bounds up to the last index
/// and not behind it, whoever makes the memory grow: its own code between two accesses, another
/// instance, the host; for the owner and for who imports it.
#[test]
fn last_indices_follow_the_length() {
    const MAX_END: u32 = 70;
    let accesses: String = (1..=MAX_END)
        .map(|end| {
            let offset = end - 1;
            format!(
                r#"(func (export "{end}") (param i32) (result i32)
                    (i32.load8_u offset={offset} (local.get 0)))
                (func (export "grown {end}") (param i32) (result i32)
                    (drop (i32.load8_u offset={offset} (i32.sub (local.get 0) (i32.const 65536))))
                    (drop (memory.grow (i32.const 1)))
                    (i32.load8_u offset={offset} (local.get 0)))"#
            )
        })
        .collect();
    assert!(VmMemory::ENDS.iter().all(|end| *end < MAX_END));
    let engine = Engine::default();
    for limits in ["1", "1 300", "300"] {
        let owner = format!(r#"(module (memory (export "m") {limits}) {accesses})"#);
        let user = format!(r#"(module (import "o" "m" (memory {limits})) {accesses})"#);
        for (owner_by, user_by) in strategy_pairs() {
            // A memory that its owner does not guard does not fit code that needs a guard.
            if (owner_by, user_by) == (Strategy::Checked, Strategy::Guarded) {
                continue;
            }
            let mut store = Store::new(&engine, ());
            let owner = module(&engine, &owner, owner_by);
            let owner = Instance::new(&mut store, &owner, &[]).unwrap();
            let memory = owner.get_memory(&mut store, "m").unwrap();
            let user = module(&engine, &user, user_by);
            let user = Instance::new(&mut store, &user, &[memory.into()]).unwrap();
            for end in 1..=MAX_END {
                for (instance, other) in [(owner, user), (user, owner)] {
                    let check = |store: &mut Store<()>, name: &str, len: usize, last: bool| {
                        let func = instance
                            .get_typed_func::<u32, i32>(&mut *store, name)
                            .unwrap();
                        let at = len as u32 - end + u32::from(!last);
                        let result = func.call(&mut *store, at);
                        match last {
                            true => assert_eq!(result.unwrap(), 0, "{name} {limits}"),
                            false => assert_eq!(trap(result), Trap::MemoryOutOfBounds, "{name}"),
                        }
                    };
                    let name = end.to_string();
                    let len = memory.data_size(&store);
                    check(&mut store, &name, len, true);
                    check(&mut store, &name, len, false);
                    if end % 7 == 0 || end % 8 == 0 {
                        check(&mut store, &format!("grown {end}"), len + 65536, true);
                        assert_eq!(memory.data_size(&store), len + 65536);
                        check(&mut store, &name, len + 65536, false);
                        let by_other = other.get_typed_func::<u32, i32>(&mut store, "grown 1");
                        by_other.unwrap().call(&mut store, 65536).unwrap();
                        check(&mut store, &name, len + 2 * 65536, true);
                        check(&mut store, &name, len + 2 * 65536, false);
                        memory.grow(&mut store, 1).unwrap();
                        check(&mut store, &name, len + 3 * 65536, true);
                        check(&mut store, &name, len + 3 * 65536, false);
                    }
                }
            }
        }
    }
}

#[test]
fn fixed_memories_cannot_grow() {
    let inline = "(if ({it}.ne (memory.grow ({it}.const 1)) ({it}.const -1)) (then unreachable))
        (if ({it}.ne (memory.grow ({it}.const 0)) ({it}.const 2)) (then unreachable))";
    let straight = "(i64.store ({it}.const 131064) (i64.const 1)) {way}
        (i64.store ({it}.const 8) (i64.load ({it}.const 131064))) {way}
        (memory.fill ({it}.const 16) (i32.const 0) ({it}.const 131056))
        (i64.add (i64.load ({it}.const 8)) (i64.load ({it}.const 131064)))";
    let looped = "(loop $l
            (i64.store ({it}.const 131064) (i64.add (i64.load ({it}.const 131064)) (i64.const 1)))
            {way}
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i64.load ({it}.const 131064))";
    for (first, second, memory64, role) in combinations() {
        // The second module may know that the memory cannot grow, or not.
        for limits in ["2 2", "1", "2 3"] {
            let engine = Engine::default();
            let compile = |role, limits, strategy| {
                let text = text(role, memory64, limits, inline, straight, looped);
                module(&engine, &text, strategy)
            };
            let modules = [
                compile(role, "2 2", first),
                compile(Role::User, limits, second),
            ];
            let mut ty = MemoryType::new(2, Some(2));
            ty.memory64 = memory64;
            let host = (role == Role::Guest).then_some(ty);
            let mut pair = pair(&modules, host, |caller, memory| {
                assert!(memory.grow(&mut *caller, 1).is_err());
                assert_eq!(memory.grow(&mut *caller, 0).unwrap(), 2);
            })
            .unwrap();
            let base = pair.base();
            for (way, _) in WAYS {
                for which in [0, 1] {
                    let case =
                        format!("{first} {second} {memory64} {role:?} {limits} {way} {which}");
                    assert_eq!(
                        pair.call(which, &format!("straight {way}"), 0).unwrap(),
                        1,
                        "{case}"
                    );
                    assert_eq!(
                        pair.call(which, &format!("loop {way}"), 5).unwrap(),
                        5,
                        "{case}"
                    );
                    assert!(pair.memory.grow(&mut pair.store, 1).is_err());
                    assert_eq!(pair.call64(which, "grow", 1).unwrap() as i32, -1);
                    let error = pair.call64(which, "get", 131_065).unwrap_err();
                    assert_eq!(error.trap().unwrap(), Trap::MemoryOutOfBounds);
                    assert_eq!(pair.base(), base);
                    assert_eq!(pair.memory.data_size(&pair.store), 131_072);
                }
            }
        }
    }
}

#[test]
fn fixed_imports_get_fixed_memories() {
    for strategy in strategies() {
        for memory64 in [false, true] {
            let engine = Engine::default();
            let text = text(
                Role::Guest,
                memory64,
                "2 2",
                "(nop)",
                "{way} (i64.const 0)",
                "{way} (i64.const 0)",
            );
            let importer = module(&engine, &text, strategy);
            let offer = |min: u32, max: Option<u32>, grown: u64, by_host: bool| {
                let mut store = Store::new(&engine, ());
                let mut ty = MemoryType::new(min, max);
                ty.memory64 = memory64;
                let memory = if by_host {
                    Memory::new(&mut store, ty).unwrap()
                } else {
                    let max = max.map_or(String::new(), |max| max.to_string());
                    let limits = format!("{} {min} {max}", index(memory64));
                    let exporter = format!(r#"(module (memory (export "m") {limits}))"#);
                    let exporter = module(&engine, &exporter, strategy);
                    let exporter = Instance::new(&mut store, &exporter, &[]).unwrap();
                    exporter.get_memory(&mut store, "m").unwrap()
                };
                memory.grow(&mut store, grown).unwrap();
                let nothing = Func::wrap(&mut store, || {});
                let imports = [nothing.into(), nothing.into(), memory.into()];
                let instance = Instance::new(&mut store, &importer, &imports)?;
                assert!(memory.grow(&mut store, 1).is_err());
                let get = instance.get_typed_func::<i64, i64>(&mut store, "get")?;
                get.call(&mut store, 131_064)?;
                let error = get.call(&mut store, 131_065).unwrap_err();
                assert_eq!(error.trap().unwrap(), Trap::MemoryOutOfBounds);
                Ok::<_, Error>(())
            };
            for by_host in [false, true] {
                for (min, max, grown) in [(2, Some(2), 0), (1, Some(2), 1), (0, Some(2), 2)] {
                    offer(min, max, grown, by_host).unwrap();
                }
                for (min, max, grown) in [
                    (1, Some(1), 0),
                    (1, Some(2), 0),
                    (1, Some(3), 1),
                    (2, Some(3), 0),
                    (2, None, 0),
                    (3, Some(3), 0),
                    (3, None, 0),
                    (1, None, 1),
                ] {
                    let error = offer(min, max, grown, by_host).unwrap_err();
                    let case = format!("{strategy} {memory64} {min} {max:?} {grown} {by_host}");
                    assert!(matches!(error, Error::Link(_)), "{case}: {error}");
                }
            }
        }
    }
}

#[test]
fn sizes_that_no_code_can_hold_are_not_folded() {
    // A module with a memory of any size is valid as long as it is not instantiated.
    for strategy in strategies() {
        for pages in [
            "0x10000",
            "0x800000000000",
            "0xffffffffffff",
            "0x1000000000000",
        ] {
            let engine = Engine::default();
            let wat = format!(
                r#"(module (memory i64 {pages} {pages})
                (func (export "f") (param i64) (result i64) (i64.load (local.get 0))))"#
            );
            let huge = module(&engine, &wat, strategy);
            let mut store = Store::new(&engine, ());
            let limits = StoreLimitsBuilder::new().memory_size(1 << 20);
            store.set_limits(limits.build());
            let error = Instance::new(&mut store, &huge, &[]).unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{pages}: {error}");
        }
    }
}

#[test]
fn memories_are_never_below_their_minimum() {
    // What the functions read is known to be below the minimum: by a constant, or because a byte
    // and 2^14 are less than 2^16.
    let text = |memory: &str| {
        format!(
            r#"(module {memory}
            (func (export "constant") (result i32) (i32.load (i32.const 196604)))
            (func (export "byte") (param i32) (result i32)
                (i32.load8_u offset=196352 (i32.and (local.get 0) (i32.const 255))))
            (func (export "beyond") (param i32) (result i32)
                (i32.load8_u offset=196353 (i32.and (local.get 0) (i32.const 255))))
            (func (export "scaled") (param i32) (result i32)
                (i32.load offset=195584 (i32.shl (i32.load8_u (local.get 0)) (i32.const 2))))
            (func (export "shifted") (param i32) (result i32)
                (i32.load8_u (i32.add (i32.shr_u (local.get 0) (i32.const 16)) (i32.const 131073))))
            (func (export "wraps") (param i32) (result i32)
                (i32.load8_u (i32.add (i32.and (local.get 0) (i32.const 255)) (i32.const -1)))))"#
        )
    };
    let engine = Engine::default();
    for (host, guest) in strategy_pairs() {
        for imported in [false, true] {
            let mut store = Store::new(&engine, ());
            let memory = if imported {
                r#"(import "o" "m" (memory 3))"#
            } else {
                r#"(memory (export "m") 3)"#
            };
            let user = module(&engine, &text(memory), guest);
            let (instance, memory) = if imported {
                let wat = r#"(module (memory (export "m") 1))"#;
                let owner = module(&engine, wat, host);
                let owner = Instance::new(&mut store, &owner, &[]).unwrap();
                let memory = owner.get_memory(&mut store, "m").unwrap();
                // A memory that is too short cannot be imported.
                memory.grow(&mut store, 1).unwrap();
                Instance::new(&mut store, &user, &[memory.into()]).unwrap_err();
                memory.grow(&mut store, 1).unwrap();
                let instance = Instance::new(&mut store, &user, &[memory.into()]);
                if host != guest && guest == Strategy::Guarded {
                    instance.unwrap_err();
                    continue;
                }
                (instance.unwrap(), memory)
            } else {
                let instance = Instance::new(&mut store, &user, &[]).unwrap();
                let memory = instance.get_memory(&mut store, "m").unwrap();
                (instance, memory)
            };
            memory.data_mut(&mut store)[0] = 255;
            let last = memory.data_size(&store) - 1;
            memory.data_mut(&mut store)[last - 3..].copy_from_slice(&[1, 2, 3, 4]);
            let function = instance.get_typed_func::<(), i32>(&mut store, "constant");
            assert_eq!(function.unwrap().call(&mut store, ()).unwrap(), 0x0403_0201);
            let mut call = |name, arg: u32| {
                let function = instance.get_typed_func::<u32, i32>(&mut store, name);
                function.unwrap().call(&mut store, arg)
            };
            assert_eq!(call("byte", 0x1fe).unwrap(), 3);
            assert_eq!(call("byte", 0x1ff).unwrap(), 4);
            assert_eq!(call("beyond", 0x1fe).unwrap(), 4);
            assert_eq!(call("scaled", 0).unwrap(), 0x0403_0201);
            assert_eq!(call("scaled", 1).unwrap(), 0);
            assert_eq!(call("shifted", 0xfffe_ffff).unwrap(), 4);
            assert_eq!(call("wraps", 1).unwrap(), 255);
            for (name, arg) in [("beyond", 0xff), ("shifted", 0xffff_0000), ("wraps", 0x100)] {
                let error = call(name, arg).unwrap_err();
                let code = error.trap().unwrap();
                assert_eq!(code, Trap::MemoryOutOfBounds, "{name} {arg}");
            }
        }
    }
}

#[test]
fn a_reset_keeps_what_importers_expect() {
    let owner = r#"(module (memory (export "m") 1 200)
        (memory (export "other") 2) (func (export "f") (result i32) (i32.const 5)))"#;
    let engine = Engine::default();
    for (minimum, maximum) in [(150, ""), (200, "200"), (2, ""), (1, "")] {
        for (host, guest) in strategy_pairs() {
            if host != guest && guest == Strategy::Guarded {
                continue;
            }
            let user = format!(
                r#"(module (import "o" "m" (memory {minimum} {maximum}))
                (func (export "last") (param i32)
                    (i32.store8 (i32.const {}) (local.get 0)) (i32.store8 offset={} (local.get 0) (local.get 0))))"#,
                minimum * 65536 - 1,
                minimum * 65536 - 1,
            );
            let mut store = Store::new(&engine, ());
            let owner = Instance::new(&mut store, &module(&engine, owner, host), &[]).unwrap();
            let memory = owner.get_memory(&mut store, "m").unwrap();
            owner.reset(&mut store).unwrap();
            memory.grow(&mut store, minimum - 1).unwrap();
            let user = module(&engine, &user, guest);
            let user = Instance::new(&mut store, &user, &[memory.into()]).unwrap();
            let last = user.get_typed_func::<i32, ()>(&mut store, "last").unwrap();
            last.call(&mut store, 0).unwrap();
            let reset = owner.reset(&mut store);
            assert_eq!(
                memory.size(&store),
                minimum,
                "the memory stays long enough: {reset:?}"
            );
            match minimum {
                1 => reset.unwrap(),
                _ => assert_eq!(
                    reset.unwrap_err().to_string(),
                    format!(
                        "cannot reset the instance: another instance imports its memory 0 with a \
                         minimum of {minimum} pages, and the memory had 1 when the instance was new"
                    )
                ),
            }
            // The instance is as it was, and not closed.
            let f = owner.get_typed_func::<(), i32>(&mut store, "f").unwrap();
            assert_eq!(f.call(&mut store, ()).unwrap(), 5);
            last.call(&mut store, 0).unwrap();
            last.call(&mut store, 7).unwrap_err();
        }
    }
}
