//! Promises about memories: bases, lengths, bytes.

use precast_artifact::Strategy;
use precast_artifact::abi::MASKED_OFFSET_LIMIT;
use precast_artifact::vm::VmMemory;
use precast_loader::{
    Caller, Engine, Error, Func, Instance, Memory, MemoryType, Store, StoreLimitsBuilder, Trap,
};
use precast_tests::{module, strategies, strategy_pairs, trap};

use super::ways::{self, IMPORTS, WAYS, linker};

/// What host functions use.
type Side = ways::Side<Option<Memory>>;

/// Where a module's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The module defines and exports the memory and the table.
    Owner,
    /// The module defines and exports the table, and imports the memory from the host.
    Guest,
    /// The module imports both from another instance.
    User,
}

fn index(memory64: bool) -> &'static str {
    if memory64 { "i64" } else { "i32" }
}

/// A module of that role. `inline` is what happens to the memory. `straight` and `looped` are
/// bodies of functions, in which `{way}` is replaced by each way. In all three, `{it}` is the type
/// of indices.
fn text(
    role: Role,
    memory64: bool,
    limits: &str,
    inline: &str,
    straight: &str,
    looped: &str,
) -> String {
    let ty = format!("{}{limits}", if memory64 { "i64 " } else { "" });
    let memory = match role {
        Role::Owner => format!(r#"(memory (export "m") {ty})"#),
        Role::Guest | Role::User => format!(r#"(import "o" "m" (memory {ty}))"#),
    };
    let (table, slot) = match role {
        Role::Owner | Role::Guest => (r#"(table $calls (export "calls") 2 funcref)"#, 0),
        Role::User => (r#"(import "o" "calls" (table $calls 2 funcref))"#, 1),
    };
    let (mut imports, mut defined) = (String::new(), String::new());
    for part in [memory.as_str(), table] {
        let to = if part.starts_with("(import") {
            &mut imports
        } else {
            &mut defined
        };
        to.push_str(part);
    }
    let mut functions = String::new();
    for (name, way) in WAYS {
        for (kind, body) in [("straight", straight), ("loop", looped)] {
            let body = body.replace("{way}", way);
            functions +=
                &format!(r#"(func (export "{kind} {name}") (param $n i32) (result i64) {body})"#);
        }
    }
    format!(
        r#"(module {IMPORTS} {imports}
        {defined} (elem (i32.const {slot}) $own) (data $seven "\07\00\00\00\00\00\00\00")
        (func $own (export "own") {{inline}})
        (func (export "grow") (param i64) (result i64) {{extend}}(memory.grow {{narrow}}(local.get 0){{close}}){{end}})
        (func (export "size") (result i64) {{extend}}(memory.size){{end}})
        (func (export "get") (param i64) (result i64) (i64.load {{narrow}}(local.get 0){{close}}))
        {functions})"#
    )
    .replace("{inline}", inline)
    .replace("{extend}", if memory64 { "" } else { "(i64.extend_i32_u " })
    .replace("{end}", if memory64 { "" } else { ")" })
    .replace("{narrow}", if memory64 { "" } else { "(i32.wrap_i64 " })
    .replace("{close}", if memory64 { "" } else { ")" })
    .replace("{it}", index(memory64))
}

struct Pair {
    store: Store<Side>,
    memory: Memory,
    instances: [Instance; 2],
}

impl Pair {
    fn call(&mut self, which: usize, name: &str, param: i32) -> Result<i64, Error> {
        let func = self.instances[which].get_typed_func::<i32, i64>(&mut self.store, name)?;
        func.call(&mut self.store, param)
    }

    fn call64(&mut self, which: usize, name: &str, param: i64) -> Result<i64, Error> {
        let func = self.instances[which].get_typed_func::<i64, i64>(&mut self.store, name)?;
        func.call(&mut self.store, param)
    }

    fn size(&mut self, which: usize) -> i64 {
        let func = self.instances[which]
            .get_typed_func::<(), i64>(&mut self.store, "size")
            .unwrap();
        func.call(&mut self.store, ()).unwrap()
    }

    fn base(&mut self) -> usize {
        self.memory.data_ptr(&mut self.store) as usize
    }
}

/// What the host function `host` does to the memory.
type Deed = fn(&mut Caller<'_, Side>, Memory);

/// Two linked instances, the second of [`Role::User`]. With a type `host`, the memory is the
/// host's.
fn pair(
    modules: &[precast_loader::Module; 2],
    host: Option<MemoryType>,
    deed: Deed,
) -> Result<Pair, Error> {
    let engine = modules[0].engine();
    let mut store = Store::new(engine, Side::default());
    let mut linker = linker(engine, move |caller: &mut Caller<'_, Side>| {
        let memory = caller.data().items.unwrap();
        deed(caller, memory);
    });
    if let Some(ty) = host {
        let memory = Memory::new(&mut store, ty)?;
        store.data_mut().items = Some(memory);
        linker.define(&store, "o", "m", memory)?;
    }
    let first = linker.instantiate(&mut store, &modules[0])?;
    linker.instance(&mut store, "o", first)?;
    let own = first
        .exports(&mut store)
        .find_map(|export| export.into_memory());
    store.data_mut().items = own.or(store.data().items);
    let second = linker.instantiate(&mut store, &modules[1])?;
    store.data_mut().back = second.get_func(&mut store, "own");
    let memory = store.data().items.unwrap();
    Ok(Pair {
        store,
        memory,
        instances: [first, second],
    })
}

/// Every way to link two modules: strategies, width of indices, who defines the memory.
fn combinations() -> Vec<(Strategy, Strategy, bool, Role)> {
    let mut all = Vec::new();
    for (first, second) in strategy_pairs() {
        for memory64 in [false, true] {
            for role in [Role::Owner, Role::Guest] {
                // A guarded module refuses a checked 32-bit memory;
                // see `who_expects_a_guard_gets_one`.
                let owner = if role == Role::Owner {
                    first
                } else {
                    Strategy::Guarded
                };
                if owner.guards(memory64, 16) || !second.guards(memory64, 16) {
                    all.push((first, second, memory64, role));
                }
            }
        }
    }
    all
}

#[test]
fn memories_move_and_grow_under_running_code() {
    // The memory grows by more than the room it has, however large it is.
    let inline = "(drop (memory.grow ({it}.add (memory.size) ({it}.const 17))))";
    let last = "({it}.sub ({it}.shl (memory.size) ({it}.const 16)) ({it}.const 8))";
    let straight = format!(
        "(i64.store ({{it}}.const 8) (i64.const 1)) {{way}}
        (i64.store {last} (i64.add (i64.load ({{it}}.const 8)) (i64.load {last}))) {{way}}
        (i64.store ({{it}}.const 16) (i64.load ({{it}}.const 8)))
        (i64.add (i64.load ({{it}}.const 8)) (i64.mul (i64.const 10) (i64.load ({{it}}.const 16))))"
    );
    let looped = format!(
        "(i64.store ({{it}}.const 8) (i64.const 0))
        (loop $l
            (i64.store ({{it}}.const 8) (i64.add (i64.load ({{it}}.const 8)) (i64.const 1)))
            {{way}}
            (i64.store {last} (i64.load ({{it}}.const 8)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i64.load {last})"
    );
    for (first, second, memory64, role) in combinations() {
        let engine = Engine::default();
        let compile = |role, strategy| {
            let text = text(role, memory64, "1", inline, &straight, &looped);
            module(&engine, &text, strategy)
        };
        let modules = [compile(role, first), compile(Role::User, second)];
        let mut ty = MemoryType::new(1, None);
        ty.memory64 = memory64;
        let host = (role == Role::Guest).then_some(ty);
        let owner = if role == Role::Owner {
            first
        } else {
            Strategy::Guarded
        };
        for (way, _) in WAYS {
            for which in [0, 1] {
                let case = format!("{first} {second} {memory64} {role:?} {way} {which}");
                let mut pair = pair(&modules, host, |caller, memory| {
                    let delta = memory.size(&mut *caller) + 17;
                    memory.grow(&mut *caller, delta).unwrap();
                })
                .unwrap();
                let base = pair.base();
                assert_eq!(
                    pair.call(which, &format!("straight {way}"), 0).unwrap(),
                    11,
                    "{case}"
                );
                assert_eq!((pair.size(0), pair.size(1)), (55, 55), "{case}");
                // A checked memory must have moved, or the test would show nothing.
                assert_eq!(pair.base() == base, owner.guards(memory64, 16), "{case}");
                let delta = 72;
                pair.memory.grow(&mut pair.store, delta).unwrap();
                assert_eq!(
                    pair.call(which, &format!("loop {way}"), 2).unwrap(),
                    2,
                    "{case}"
                );
                assert_eq!((pair.size(0), pair.size(1)), (559, 559), "{case}");
                for which in [0, 1] {
                    let end = 559 * 65536;
                    assert_eq!(pair.call64(which, "get", end - 8).unwrap(), 2, "{case}");
                    let error = pair.call64(which, "get", end - 7).unwrap_err();
                    assert_eq!(error.trap().unwrap(), Trap::MemoryOutOfBounds);
                }
            }
        }
    }
}

/// Bytes from this address on that are in mappings, one after the other.
fn mapped(base: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut end = base;
    for line in maps.lines() {
        let range = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let at = |text| usize::from_str_radix(text, 16).unwrap();
        if (at(range.0)..at(range.1)).contains(&end) {
            end = at(range.1);
        }
    }
    end - base
}

#[test]
fn masked_indices_stay_in_the_reservation() {
    let wat = |limits: &str| {
        format!(
            r#"(module (memory (export "m") {limits})
            (func (export "store") (param i32 i64) (i64.store offset=8 (local.get 0) (local.get 1)))
            (func (export "load") (param i32) (result i64)
                (drop (i32.load8_u (local.get 0)))
                (i64.load offset=8 (local.get 0))))"#
        )
    };
    let engine = Engine::default();
    for (limits, growth) in [
        ("1", &[0_u64, 1, 14, 17, 40, 0, 200, 1000][..]),
        ("3 5", &[0, 1, 1]),
        ("33 33", &[0]),
        ("17", &[15, 1]),
    ] {
        let module = module(&engine, &wat(limits), Strategy::Checked);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let put = instance.get_typed_func::<(u32, i64), ()>(&mut store, "store");
        let get = instance.get_typed_func::<u32, i64>(&mut store, "load");
        let (put, get) = (put.unwrap(), get.unwrap());
        for more in growth {
            memory.grow(&mut store, *more).unwrap();
            let len = memory.data_size(&store);
            let base = memory.data_ptr(&mut store) as usize;
            let reserved = len.next_power_of_two() + MASKED_OFFSET_LIMIT as usize;
            assert!(mapped(base) >= reserved, "{limits} {more}");
            // The mask has all bits that an index can have: no two indices are the same place.
            let mut ats: Vec<usize> = (0..64).map(|bit| 1 << bit).collect();
            ats.extend([0, len - 65536, len - 16, len / 2 - 8]);
            ats.retain(|at| at + 16 <= len);
            for (i, at) in ats.iter().enumerate() {
                put.call(&mut store, (*at as u32, i as i64)).unwrap();
                let bytes = &memory.data(&store)[at + 8..at + 16];
                assert_eq!(bytes, (i as i64).to_le_bytes(), "{limits} {more} {at}");
                assert_eq!(get.call(&mut store, *at as u32).unwrap(), i as i64);
            }
            for at in [
                len - 15,
                len,
                len.next_power_of_two() - 1,
                u32::MAX as usize,
            ] {
                let at = u32::try_from(at).unwrap();
                let error = put.call(&mut store, (at, 1)).unwrap_err();
                assert_eq!(
                    error.trap().unwrap(),
                    Trap::MemoryOutOfBounds,
                    "{limits} {more} {at}"
                );
                get.call(&mut store, at).unwrap_err();
            }
        }
    }
}

/// Accesses of every end, known to [`VmMemory::last`] or not, are in bounds up to the last index
/// and not behind it, whoever makes the memory grow: its own code between two accesses, another
/// instance, the host; for the owner and for who imports it.
#[test]
fn last_indices_follow_the_length() {
    const MOST: u32 = 70;
    let accesses: String = (1..=MOST)
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
    assert!(VmMemory::ENDS.iter().all(|end| *end < MOST));
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
            for end in 1..=MOST {
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
fn guarded_memories_never_move() {
    let wat = r#"(module (memory (export "m") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "store") (param i32) (i32.store8 (local.get 0) (i32.const 1)))
        (func (export "far") (param i32) (i32.store8 offset=33554000 (local.get 0) (i32.const 1)))
        (func (export "farther") (param i32) (i32.store8 offset=4294967295 (local.get 0) (i32.const 1)))
        (func (export "wide") (param i32) (v128.store (local.get 0) (v128.const i64x2 1 1))))"#;
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let module = module(&engine, wat, Strategy::Guarded);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let base = memory.data_ptr(&mut store);
    let grow = instance
        .get_typed_func::<u32, i32>(&mut store, "grow")
        .unwrap();
    let mut pages = 1_u64;
    for more in [1, 16, 50, 1000, 20_000, 44_467] {
        if more % 2 == 0 {
            memory.grow(&mut store, more).unwrap();
        } else {
            assert_eq!(grow.call(&mut store, more as u32).unwrap(), pages as i32);
        }
        pages += more;
        assert_eq!(memory.data_ptr(&mut store), base);
        let mut call = |name, at: u64| {
            let func = instance
                .get_typed_func::<u32, ()>(&mut store, name)
                .unwrap();
            func.call(&mut store, u32::try_from(at).unwrap())
        };
        let len = pages << 16;
        call("store", len - 1).unwrap();
        call("wide", len - 16).unwrap();
        let inside = len.checked_sub(33_554_001);
        if let Some(at) = inside {
            call("far", at).unwrap();
        }
        let far = inside.map_or(0, |at| at + 1);
        for (name, at) in [
            ("store", len),
            ("wide", len - 15),
            ("far", far),
            ("farther", 1),
        ] {
            for at in [at, u64::from(u32::MAX)] {
                let error = call(name, at).unwrap_err();
                let code = error.trap().unwrap();
                assert_eq!(
                    code,
                    Trap::MemoryOutOfBounds,
                    "{name} {at} of {pages} pages"
                );
            }
        }
    }
    assert_eq!(pages, 65535);
    assert_eq!(grow.call(&mut store, 2).unwrap(), -1);
    assert!(memory.grow(&mut store, 2).is_err());
    assert_eq!(memory.data_ptr(&mut store), base);
}

#[test]
fn who_expects_a_guard_gets_one() {
    let out = |memory64| {
        text(
            Role::Guest,
            memory64,
            "1",
            "(nop)",
            "{way} (i64.const 0)",
            "{way} (i64.const 0)",
        )
    };
    for owner in strategies() {
        for user in strategies() {
            for memory64 in [false, true] {
                let engine = Engine::default();
                let exporter = format!(r#"(module (memory (export "m") {} 1))"#, index(memory64));
                let exporter = module(&engine, &exporter, owner);
                let importer = module(&engine, &out(memory64), user);
                let mut ty = MemoryType::new(1, None);
                ty.memory64 = memory64;
                for by_host in [false, true] {
                    let mut store = Store::new(&engine, ());
                    let memory = match by_host {
                        true => Memory::new(&mut store, ty).unwrap(),
                        false => {
                            let owner = Instance::new(&mut store, &exporter, &[]).unwrap();
                            owner.get_memory(&mut store, "m").unwrap()
                        }
                    };
                    let nothing = Func::wrap(&mut store, || {});
                    let imports = [nothing.into(), nothing.into(), memory.into()];
                    let linked = Instance::new(&mut store, &importer, &imports);
                    let fits = by_host
                        || memory64
                        || owner == Strategy::Guarded
                        || user == Strategy::Checked;
                    let case = format!("{owner} {user} {memory64} {by_host}");
                    let instance = match linked {
                        Ok(instance) => instance,
                        Err(error) => {
                            assert!(!fits, "{case}: {error}");
                            let error = error.to_string();
                            assert!(
                                error.contains("of a module with checked memories"),
                                "{error}"
                            );
                            continue;
                        }
                    };
                    assert!(fits, "{case}");
                    let get = instance
                        .get_typed_func::<i64, i64>(&mut store, "get")
                        .unwrap();
                    get.call(&mut store, 65528).unwrap();
                    for at in [65529, 65536, 1 << 20, 1 << 30, i64::from(u32::MAX)] {
                        let error = get.call(&mut store, at).unwrap_err();
                        let code = error.trap().unwrap();
                        assert_eq!(code, Trap::MemoryOutOfBounds, "{case} {at}");
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
fn bytes_that_others_write_are_seen() {
    let by = |inline: &str| {
        let straight = "(local $sum i64)
            (i64.store ({it}.const 8) (i64.const 5))
            (local.set $sum (i64.load ({it}.const 8))) {way}
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 100)) (i64.load ({it}.const 8))))
            (i64.store ({it}.const 8) (i64.const 5)) {way}
            (i64.add (i64.mul (local.get $sum) (i64.const 100)) (i64.load ({it}.const 8)))";
        let looped = "(local $sum i64)
            (loop $l
                (i64.store ({it}.const 8) (i64.const 6)) {way}
                (local.set $sum (i64.add (local.get $sum) (i64.load ({it}.const 8))))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)";
        for (first, second, memory64, role) in combinations() {
            let engine = Engine::default();
            let compile = |role, strategy| {
                let text = text(role, memory64, "1", inline, straight, looped);
                module(&engine, &text, strategy)
            };
            let modules = [compile(role, first), compile(Role::User, second)];
            let mut ty = MemoryType::new(1, None);
            ty.memory64 = memory64;
            let host = (role == Role::Guest).then_some(ty);
            let deed: Deed = |caller, memory| match caller.data().back {
                Some(_) => memory.write(&mut *caller, 8, &[7]).unwrap(),
                None => memory.data_mut(&mut *caller)[8] = 7,
            };
            let mut pair = pair(&modules, host, deed).unwrap();
            for (way, _) in WAYS {
                for which in [0, 1] {
                    let case =
                        format!("{inline} {first} {second} {memory64} {role:?} {way} {which}");
                    assert_eq!(
                        pair.call(which, &format!("straight {way}"), 0).unwrap(),
                        50707,
                        "{case}"
                    );
                    assert_eq!(
                        pair.call(which, &format!("loop {way}"), 3).unwrap(),
                        21,
                        "{case}"
                    );
                }
            }
        }
    };
    by("(i64.store ({it}.const 8) (i64.const 7))");
    by("(memory.init $seven ({it}.const 8) (i32.const 0) (i32.const 8))");
    by("(memory.fill ({it}.const 8) (i32.const 7) ({it}.const 1))");
    by(
        "(i64.store ({it}.const 64) (i64.const 7)) (memory.copy ({it}.const 8) ({it}.const 64) ({it}.const 8))",
    );
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
