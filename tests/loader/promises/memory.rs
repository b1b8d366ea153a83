//! Promises about memories: bases, lengths, bytes.

use precast_artifact::Strategy;
use precast_artifact::abi::MASKED_OFFSET_LIMIT;
use precast_loader::{Caller, Engine, Error, Func, Instance, Memory, MemoryType, Store, Trap};
use precast_tests::{module, strategies, strategy_pairs};

use super::ways::{self, IMPORTS, WAYS, linker};

/// What host functions use.
pub(super) type Side = ways::Side<Option<Memory>>;

/// Where a module's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The module defines and exports the memory and the table.
    Owner,
    /// The module defines and exports the table, and imports the memory from the host.
    Guest,
    /// The module imports both from another instance.
    User,
}

pub(super) fn index(memory64: bool) -> &'static str {
    if memory64 { "i64" } else { "i32" }
}

/// A module of that role. `inline` is what happens to the memory. `straight` and `looped` are
/// bodies of functions, in which `{way}` is replaced by each way. In all three, `{it}` is the type
/// of indices.
pub(super) fn text(
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

pub(super) struct Pair {
    pub(super) store: Store<Side>,
    pub(super) memory: Memory,
    instances: [Instance; 2],
}

impl Pair {
    pub(super) fn call(&mut self, which: usize, name: &str, param: i32) -> Result<i64, Error> {
        let func = self.instances[which].get_typed_func::<i32, i64>(&mut self.store, name)?;
        func.call(&mut self.store, param)
    }

    pub(super) fn call64(&mut self, which: usize, name: &str, param: i64) -> Result<i64, Error> {
        let func = self.instances[which].get_typed_func::<i64, i64>(&mut self.store, name)?;
        func.call(&mut self.store, param)
    }

    pub(super) fn size(&mut self, which: usize) -> i64 {
        let func = self.instances[which]
            .get_typed_func::<(), i64>(&mut self.store, "size")
            .unwrap();
        func.call(&mut self.store, ()).unwrap()
    }

    pub(super) fn base(&mut self) -> usize {
        self.memory.data_ptr(&mut self.store) as usize
    }
}

/// What the host function `host` does to the memory.
type Deed = fn(&mut Caller<'_, Side>, Memory);

/// Two linked instances, the second of [`Role::User`]. With a type `host`, the memory is the
/// host's.
pub(super) fn pair(
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
pub(super) fn combinations() -> Vec<(Strategy, Strategy, bool, Role)> {
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
