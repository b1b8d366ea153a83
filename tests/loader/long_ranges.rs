//! Code with epochs splits operators on long ranges into pieces. They can be stopped half way, and
//! have the same effect as in one piece.

use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::abi::PIECE;
use precast_artifact::{Interruption, Strategy};
use precast_loader::{Engine, Instance, Store, Trap, Val};
use precast_tests::{Source, strategies};

use crate::interrupt::Watchdog;

/// Each function works on the 32 MiB from 64 KiB on, or on all of the 2 Mi elements of a table. The
/// test replaces `DATA` by a data segment of three pieces and a byte.
const WAT: &str = r#"(module
    (memory (export "m") 514)
    (table $t (export "t") 0x200000 0x400000 externref)
    (table $u 0x200000 externref)
    (data $d "DATA")
    (func (export "fill") (memory.fill (i32.const 0x10000) (i32.const 7) (i32.const 0x2000000)))
    (func (export "fill-dynamic") (param i32) (result i32)
        (memory.fill (i32.const 0x10000) (i32.const 7) (local.get 0)) (local.get 0))
    (func (export "copy-up") (memory.copy (i32.const 0x10005) (i32.const 5) (i32.const 0x2000000)))
    (func (export "copy-down")
        (memory.copy (i32.const 0) (i32.const 0x10005) (i32.const 0x2000000)))
    (func (export "copy-near") (param i32)
        (memory.copy (i32.const 0x10001) (i32.const 0x10000) (local.get 0)))
    (func (export "init") (param i32 i32 i32)
        (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
    (func (export "table-fill") (param externref)
        (table.fill $t (i32.const 0) (local.get 0) (i32.const 0x200000)))
    (func (export "table-copy") (table.copy $u $t (i32.const 0) (i32.const 0) (i32.const 0x200000)))
    (func (export "table-copy-up") (param i32)
        (table.copy $t $t (i32.const 3) (i32.const 0) (local.get 0)))
    (func (export "table-copy-down") (param i32)
        (table.copy $t $t (i32.const 0) (i32.const 3) (local.get 0)))
    (func (export "table-at") (param i32) (result externref) (table.get $t (local.get 0)))
    ;; A hash of which of the first elements are null.
    (func (export "table-hash") (param i32) (result i64) (local i64)
        (loop
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (local.set 1 (i64.add
                (i64.mul (local.get 1) (i64.const 6364136223846793005))
                (i64.extend_i32_u (ref.is_null (table.get $t (local.get 0))))))
            (br_if 0 (local.get 0)))
        (local.get 1))
    ;; Sets every 7th of the first elements to a reference.
    (func (export "table-mark") (param i32 externref)
        (loop
            (table.set $t (local.get 0) (local.get 1))
            (br_if 0 (i32.gt_s
                (local.tee 0 (i32.sub (local.get 0) (i32.const 7))) (i32.const 0))))))"#;

fn instance(strategy: Strategy, interruption: Interruption) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let source = Source::new(strategy).interruption(interruption);
    let data: String = (0..3 * PIECE + 1)
        .map(|i| char::from(b'a' + (i * i % 23) as u8))
        .collect();
    let module = source.module(&engine, &WAT.replace("DATA", &data));
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

fn call(
    (store, instance): &mut (Store<()>, Instance),
    name: &str,
    params: &[Val],
) -> Result<Option<Val>, Trap> {
    let func = instance.get_func(&mut *store, name).unwrap();
    let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
    match func.call(&mut *store, params, &mut results) {
        Ok(()) => Ok(results.pop()),
        Err(error) => Err(error.trap().expect("a trap")),
    }
}

/// Calls a function again and again and interrupts it a little later, until it is stopped after it
/// has begun and before it has ended. `done` returns how much of `all` the function did, and undoes
/// it. On a machine that does much else, the thread that interrupts may come too late many times.
fn is_stopped_half_way(
    this: &mut (Store<()>, Instance),
    name: &str,
    params: &[Val],
    all: u64,
    mut done: impl FnMut(&mut (Store<()>, Instance)) -> u64,
) {
    let started = Instant::now();
    call(this, name, params).unwrap();
    let mut whole = started.elapsed();
    assert_eq!(done(this), all, "{name}");
    let deadline = started + Duration::from_secs(100);
    for attempt in (0..).take_while(|_| Instant::now() < deadline) {
        let handle = this.0.interrupt_handle();
        let asks = thread::spawn(move || {
            thread::sleep(whole * (attempt % 10) / 10);
            handle.interrupt();
        });
        let started = Instant::now();
        let result = call(this, name, params);
        let took = started.elapsed();
        asks.join().unwrap();
        this.0.interrupt_handle().clear();
        let done = done(this);
        match result {
            Ok(_) => {
                assert_eq!(done, all, "{name}");
                // The first call may have been slow, on a machine that does much else.
                whole = whole.min(took);
            }
            Err(code) => {
                assert_eq!(code, Trap::Interrupt, "{name}");
                if 0 < done && done < all {
                    return;
                }
            }
        }
    }
    panic!("{name} was never stopped half way");
}

#[test]
fn ranges_of_memory_are_stopped_half_way() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let this = &mut instance(strategy, Interruption::Epoch);
        let memory = this.1.get_memory(&mut this.0, "m").unwrap();
        let start = 0x10000;
        let all = 0x200_0000;
        let filled = |this: &mut (Store<()>, Instance)| {
            let bytes = &mut memory.data_mut(&mut this.0)[start..][..all];
            let done = bytes.iter().position(|b| *b != 7).unwrap_or(all);
            assert!(bytes[done..].iter().all(|b| *b == 0));
            assert!(done == all || (done as u64).is_multiple_of(PIECE));
            bytes.fill(0);
            done as u64
        };
        is_stopped_half_way(this, "fill", &[], all as u64, filled);
        let whole = [Val::I32(all as i32)];
        is_stopped_half_way(this, "fill-dynamic", &whole, all as u64, filled);

        // Copying the range upwards or downwards by 64 KiB moves two marks. The one that is copied
        // last has moved only if everything was copied.
        let moved = |mark: usize, to: usize| {
            move |this: &mut (Store<()>, Instance)| {
                let bytes = memory.data_mut(&mut this.0);
                let at = |place: usize| u64::from(bytes[place] == 1);
                let done = at(to) * 2;
                let done = done + at(to ^ 0x100_0000);
                for place in [to, to ^ 0x100_0000] {
                    bytes[place] = 0;
                }
                bytes[mark] = 1;
                bytes[mark ^ 0x100_0000] = 1;
                done
            }
        };
        let bytes = memory.data_mut(&mut this.0);
        (bytes[0x10], bytes[0x100_0010]) = (1, 1);
        is_stopped_half_way(this, "copy-up", &[], 3, moved(0x10, 0x1_0010));
        let bytes = memory.data_mut(&mut this.0);
        bytes.fill(0);
        (bytes[0x1ff_0105], bytes[0x0ff_0105]) = (1, 1);
        is_stopped_half_way(this, "copy-down", &[], 3, moved(0x1ff_0105, 0x1fe_0100));
    }
    drop(dog);
}

#[test]
fn ranges_of_tables_are_stopped_half_way() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let this = &mut instance(strategy, Interruption::Epoch);
        let value = Val::ExternRef(Some(precast_loader::ExternRef::new(5_u32)));
        let all = 0x20_0000;
        is_stopped_half_way(this, "table-fill", &[value], all, |this| {
            let mut is_null = |i: u64| {
                let element = call(this, "table-at", &[Val::I32(i as i32)]);
                matches!(element, Ok(Some(Val::ExternRef(None))))
            };
            let piece = PIECE / 8;
            let done = (0..all / piece).find(|i| is_null(i * piece));
            let done = done.unwrap_or(all / piece) * piece;
            assert!(done == 0 || !is_null(done - 1));
            call(this, "table-fill", &[Val::ExternRef(None)]).unwrap();
            done
        });
    }
    drop(dog);
}

/// For lengths around those of pieces, ranges that overlap by all but a byte or an element, and
/// ranges that are just out of bounds, code with and without epochs has the same effect.
#[test]
fn pieces_make_no_difference() {
    let piece = PIECE as i32;
    let elements = piece / 8;
    for strategy in strategies() {
        let mut seen = Vec::new();
        for interruption in [Interruption::None, Interruption::Epoch] {
            let this = &mut instance(strategy, interruption);
            let memory = this.1.get_memory(&mut this.0, "m").unwrap();
            let mut results = Vec::new();
            let i32s = |values: &[i32]| values.iter().map(|v| Val::I32(*v)).collect::<Vec<_>>();
            for (dst, src, len) in [
                (0, 0, 3 * piece + 1),
                (77, 1, 2 * piece),
                (5, 0, piece),
                (9, 3, 2 * piece + 7),
                (9, 1, 3 * piece + 1),
                (0x202_0000 - 2 * piece + 1, 0, 2 * piece),
                (-1, 0, 2 * piece),
            ] {
                results.push(call(this, "init", &i32s(&[dst, src, len])).map(drop));
            }
            for len in [
                piece - 1,
                piece,
                piece + 1,
                2 * piece,
                2 * piece + 1,
                0x201_0000,
            ] {
                results.push(call(this, "copy-near", &i32s(&[len])).map(drop));
            }
            for name in ["copy-up", "copy-down"] {
                results.push(call(this, name, &[]).map(drop));
            }
            let value = Val::ExternRef(Some(precast_loader::ExternRef::new(1)));
            call(this, "table-mark", &[Val::I32(3 * elements), value]).unwrap();
            for (name, len) in [
                ("table-copy-up", 2 * elements + 1),
                ("table-copy-up", 0x20_0000 - 2),
                ("table-copy-down", 2 * elements),
                ("table-copy-down", 0x20_0000 - 3),
                ("table-copy-down", -1),
            ] {
                results.push(call(this, name, &i32s(&[len])).map(drop));
            }
            results.push(call(this, "table-copy", &[]).map(drop));
            let bytes = blake3::hash(memory.data(&this.0));
            let hash = call(this, "table-hash", &[Val::I32(3 * elements + 10)]).unwrap();
            let Some(Val::I64(hash)) = hash else {
                panic!("{hash:?}")
            };
            seen.push((results, bytes, hash));
        }
        assert!(seen[0] == seen[1], "{strategy}: {:?}", seen[0].0);
        let failed = seen[0].0.iter().filter(|result| result.is_err()).count();
        assert_eq!(failed, 6, "{strategy}: {:?}", seen[0].0);
    }
}
