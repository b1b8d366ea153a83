//! Every kind of trap, with its backtrace.

use precast_artifact::Strategy;
use precast_loader::{Error, Instance, Trap, Val};
use precast_tests::{Guest, module, store, strategies};

const WAT: &str = r#"
(module $traps
  (type $none (func))
  (type $int (func (result i32)))
  (memory (export "memory") 1 2)
  (table $t 10 funcref)
  (table $e 10 externref)
  (elem (table $t) (i32.const 0) func $unreachable $int)
  (data $d "abc")
  (func $int (type $int) (i32.const 1))
  (func $unreachable (export "unreachable") (unreachable))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "load-far") (param i32) (result i32) (i32.load offset=0xfffffff0 (local.get 0)))
  (func (export "store") (param i32) (i64.store (local.get 0) (i64.const -1)))
  (func (export "v128") (param i32) (v128.store (local.get 0) (v128.const i64x2 1 1)))
  (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 7) (local.get 1)))
  (func (export "copy") (param i32 i32)
    (memory.copy (local.get 0) (i32.const 0) (local.get 1)))
  (func (export "init") (param i32 i32)
    (memory.init $d (local.get 0) (i32.const 0) (local.get 1)))
  (func (export "div_s") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "rem_u") (param i64 i64) (result i64) (i64.rem_u (local.get 0) (local.get 1)))
  (func (export "trunc") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func (export "indirect") (param i32) (call_indirect $t (type $none) (local.get 0)))
  (func (export "get") (param i32) (result externref) (table.get $e (local.get 0)))
  (func (export "set") (param i32) (table.set $e (local.get 0) (ref.null extern)))
  (func $recurse (export "recurse") (param i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (local.get 0))))
  (func $c (call $unreachable))
  (func $b (call $c))
  (func (export "deep") (call $b)))
"#;

/// The trap that a call ends with, if it does.
fn trap(guest: &mut Guest, name: &str, args: &[Val]) -> Option<Trap> {
    match guest.call_untyped(name, args) {
        Ok(_) => None,
        Err(Error::Trap { trap, trace }) => {
            assert!(!trace.frames().is_empty(), "{name}: a trap has frames");
            Some(trap)
        }
        Err(other) => panic!("{name}: {other}"),
    }
}

#[test]
fn every_kind() {
    use Trap::*;
    let (i32, i64) = (|x: i32| Val::I32(x), |x: i64| Val::I64(x));
    let f64 = |x: f64| Val::F64(x.to_bits());
    let cases: Vec<(&str, Vec<Val>, Option<Trap>)> = vec![
        ("unreachable", vec![], Some(UnreachableCodeReached)),
        ("load", vec![i32(65532)], None),
        ("load", vec![i32(65533)], Some(MemoryOutOfBounds)),
        ("load", vec![i32(65536)], Some(MemoryOutOfBounds)),
        ("load", vec![i32(-1)], Some(MemoryOutOfBounds)),
        ("load-far", vec![i32(0)], Some(MemoryOutOfBounds)),
        ("load-far", vec![i32(-1)], Some(MemoryOutOfBounds)),
        ("store", vec![i32(65528)], None),
        ("store", vec![i32(65529)], Some(MemoryOutOfBounds)),
        ("v128", vec![i32(65520)], None),
        ("v128", vec![i32(65521)], Some(MemoryOutOfBounds)),
        ("fill", vec![i32(65536), i32(0)], None),
        ("fill", vec![i32(65536), i32(1)], Some(MemoryOutOfBounds)),
        ("fill", vec![i32(65537), i32(0)], Some(MemoryOutOfBounds)),
        ("copy", vec![i32(1), i32(65535)], None),
        ("copy", vec![i32(1), i32(65536)], Some(MemoryOutOfBounds)),
        ("init", vec![i32(65533), i32(3)], None),
        ("init", vec![i32(65534), i32(3)], Some(MemoryOutOfBounds)),
        ("init", vec![i32(0), i32(4)], Some(MemoryOutOfBounds)),
        ("div_s", vec![i32(7), i32(2)], None),
        ("div_s", vec![i32(7), i32(0)], Some(IntegerDivisionByZero)),
        ("div_s", vec![i32(i32::MIN), i32(-1)], Some(IntegerOverflow)),
        ("rem_u", vec![i64(7), i64(0)], Some(IntegerDivisionByZero)),
        ("trunc", vec![f64(1.5)], None),
        ("trunc", vec![f64(1e10)], Some(IntegerOverflow)),
        ("trunc", vec![f64(f64::NAN)], Some(BadConversionToInteger)),
        ("indirect", vec![i32(0)], Some(UnreachableCodeReached)),
        ("indirect", vec![i32(1)], Some(BadSignature)),
        ("indirect", vec![i32(2)], Some(IndirectCallToNull)),
        ("indirect", vec![i32(10)], Some(UndefinedElement)),
        ("get", vec![i32(9)], None),
        ("get", vec![i32(10)], Some(TableOutOfBounds)),
        ("set", vec![i32(-1)], Some(TableOutOfBounds)),
        ("recurse", vec![i32(0)], Some(StackOverflow)),
    ];
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        // All cases run twice, because a trap must leave the store usable.
        for _ in 0..2 {
            for (name, args, expected) in &cases {
                let found = trap(&mut guest, name, args);
                assert_eq!(found, *expected, "{name} {args:?} {strategy}");
            }
        }
    }
}

#[test]
fn the_address_of_an_access_is_known_where_a_guard_page_caught_it() {
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        // A processor may name any byte of the access that it could not reach.
        for (name, arg, addresses) in [
            ("load", 65536, 65536..=65536),
            ("load", 65533, 65533..=65536),
            ("load", 1 << 30, 1 << 30..=1 << 30),
            ("load", -1, 0xffff_ffff..=0xffff_ffff),
            ("store", 65529, 65529..=65536),
            ("v128", 65521, 65521..=65536),
        ] {
            let error = guest.call_untyped(name, &[Val::I32(arg)]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
            let Some(fault) = error.memory_fault() else {
                assert_eq!(strategy, Strategy::Checked, "{name} {arg}");
                continue;
            };
            assert_eq!(strategy, Strategy::Guarded);
            // QEMU may load an unaligned value from the aligned one, of up to 16 bytes, around it.
            let first = match std::env::var_os("PRECAST_RUNNER") {
                Some(_) => addresses.start() & !15,
                None => *addresses.start(),
            };
            assert!(
                (first..=*addresses.end()).contains(&fault.address),
                "{name} {arg}: {fault:?}"
            );
            assert_eq!(fault.size, 65536);
            let line = format!(
                "\nmemory fault at address {:#x} of a memory of 0x10000 bytes\n",
                fault.address
            );
            assert!(error.to_string().contains(&line), "{error}");
        }
        // An access that the loader or the code compares with the length has no address, and the
        // address of an earlier trap is not reported.
        let init = [Val::I32(65534), Val::I32(3)];
        let error = guest.call_untyped("init", &init).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
        assert_eq!(error.memory_fault(), None);
        let error = guest.call_untyped("unreachable", &[]).unwrap_err();
        assert_eq!(error.memory_fault(), None);
    }
}

#[test]
fn backtraces_have_names_and_offsets() {
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        let error = guest.call::<(), ()>("deep", ()).unwrap_err();
        let frames = error.backtrace().unwrap().frames();
        let names: Vec<_> = frames.iter().map(|f| f.func_name().unwrap()).collect();
        assert_eq!(names[..3], ["unreachable", "c", "b"], "{strategy}");
        assert_eq!(frames.len(), 4);
        let wasm = wat::parse_str(WAT).unwrap();
        let at = |i: usize| wasm[frames[i].module_offset().unwrap()];
        assert_eq!(at(0), 0x00, "offset of the instruction `unreachable`");
        assert_eq!(
            [at(1), at(2), at(3)],
            [0x10; 3],
            "offsets of `call` instructions"
        );
        let text = error.to_string();
        assert!(
            text.starts_with("wasm trap: unreachable\nwasm backtrace"),
            "{text}"
        );
    }
}

#[test]
fn deep_backtraces_are_cut() {
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        let error = guest.call::<i32, i32>("recurse", 0).unwrap_err();
        let backtrace = error.backtrace().unwrap();
        assert!(backtrace.is_truncated());
        assert!(
            backtrace
                .frames()
                .iter()
                .all(|f| f.func_name() == Some("recurse"))
        );
    }
}

#[test]
fn integers_that_were_floats_in_between() {
    // No such conversion can trap where the float has every integer of the type; where it does not,
    // some do.
    let cases = [
        ("i32.trunc_f64_s (f64.convert_i32_s", "i32"),
        ("i32.trunc_f64_u (f64.convert_i32_u", "i32"),
        ("i32.trunc_f64_s (f64.convert_i32_u", "i32"),
        ("i32.trunc_f64_u (f64.convert_i32_s", "i32"),
        ("i32.trunc_f32_s (f32.convert_i32_s", "i32"),
        ("i32.trunc_f32_u (f32.convert_i32_u", "i32"),
        ("i64.trunc_f64_s (f64.convert_i32_s", "i64"),
        ("i64.trunc_f64_s (f64.convert_i32_u", "i64"),
        ("i64.trunc_f64_u (f64.convert_i32_u", "i64"),
        ("i64.trunc_f64_u (f64.convert_i32_s", "i64"),
        ("i64.trunc_f32_s (f32.convert_i32_s", "i64"),
        ("i64.trunc_f32_s (f32.convert_i32_u", "i64"),
        ("i64.trunc_f32_u (f32.convert_i32_u", "i64"),
    ];
    for (code, ty) in cases {
        let wat = format!(
            r#"(module (func (export "f") (param i32) (result {ty}) ({code} (local.get 0)))))"#
        );
        for strategy in strategies() {
            let mut store = store();
            let module = module(store.engine(), &wat, strategy);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let function = instance.get_func(&mut store, "f").unwrap();
            for arg in [
                0,
                1,
                -1,
                1 << 24,
                (1 << 24) + 1,
                i32::MAX,
                i32::MAX - 64,
                i32::MIN,
            ] {
                let number = match code.ends_with('u') {
                    true => i128::from(arg as u32),
                    false => i128::from(arg),
                };
                let float = match code.contains("f32") {
                    true => number as f32 as i128,
                    false => number as f64 as i128,
                };
                let is_signed = code.split_once(' ').unwrap().0.ends_with('s');
                let bits = if ty == "i32" { 32 } else { 64 };
                let (low, high) = match is_signed {
                    true => (-(1 << (bits - 1)), 1 << (bits - 1)),
                    false => (0, 1 << bits),
                };
                let mut results = [Val::I32(0)];
                let result = function.call(&mut store, &[Val::I32(arg)], &mut results);
                if (low..high).contains(&float) {
                    result.unwrap();
                    let found = match results[0] {
                        Val::I32(found) => i128::from(found as u32),
                        Val::I64(found) => i128::from(found as u64),
                        _ => unreachable!(),
                    };
                    assert_eq!(found, float & ((1 << bits) - 1), "{code} {arg}");
                } else {
                    let trap = result.unwrap_err().trap().unwrap();
                    assert_eq!(trap, Trap::IntegerOverflow, "{code} {arg}");
                }
            }
        }
    }
}
