//! Interpreters: nothing that a program can observe depends on whether each of their operations has
//! an indirect jump of its own.

use precast_artifact::{Interruption, Strategy};
use precast_compiler::{OptLevel, Passes, Settings};
use precast_loader::{Engine, Error, Instance, Module, Store, Trap, TypedFunc};
use precast_tests::strategies;

/// The program starts in front of the end of the memory, so that a program without an end runs out
/// of it: the dispatch traps, wherever it is.
const PROGRAM: i32 = 65_000;

/// What operations do to the locals `$a`, `$b` and `$p`, before they go to the next operation.
const OPERATIONS: &[&str] = &[
    "",
    "(local.set $a (i32.add (local.get $a) (i32.const 7)))",
    "(local.set $a (i32.mul (local.get $a) (local.get $b)))",
    "(local.set $b (i32.xor (local.get $a) (i32.rotl (local.get $b) (i32.const 5))))",
    // Traps for some values.
    "(local.set $b (i32.div_s (local.get $b) (i32.and (local.get $a) (i32.const 15))))",
    "(local.set $a (i32.load (i32.and (local.get $b) (i32.const 0x1ffff))))",
    "(i32.store (i32.and (local.get $a) (i32.const 0xfff)) (local.get $b))",
    // The number of the next operation is an operand.
    "(local.set $p (i32.add (local.get $p) (i32.const 1)))",
    // Goes back, at most so many times.
    "(if (i32.lt_u (global.get $turns) (i32.const 50))
       (then (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
         (local.set $p (i32.const 65000))))",
    "(local.set $a (call $helper (local.get $a)))",
    "(if (i32.lt_s (local.get $a) (local.get $b)) (then (br $next)))
     (local.set $b (i32.add (local.get $b) (local.get $a)))",
    "(br_if $next (i32.eqz (local.get $b))) (local.set $b (i32.shr_s (local.get $b) (i32.const 1)))",
    "(br $done)",
];

/// An interpreter whose operations with numbers from 0 on are these.
fn interpreter(operations: &[&str]) -> String {
    let count = operations.len();
    let blocks: String = (0..count).rev().map(|i| format!("(block $o{i} ")).collect();
    let labels: String = (0..count).map(|i| format!("$o{i} ")).collect();
    let bodies: String = operations
        .iter()
        .map(|operation| format!(") {operation} (br $next)"))
        .collect();
    format!(
        r#"(module (memory (export "memory") 1) (global $turns (mut i32) (i32.const 0))
            (func $helper (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (unreachable)))
                (i32.sub (local.get 0) (i32.const 3)))
            (func (export "run") (param $a i32) (param $b i32) (result i32) (local $p i32)
                (local.set $p (i32.const {PROGRAM}))
                (block $done (loop $next
                    (block $other {blocks}
                    (local.set $p (i32.add (local.get $p) (i32.const 1)))
                    (br_table {labels} $other
                        (i32.load8_u (i32.sub (local.get $p) (i32.const 1))))
                    {bodies})
                    (br $next)))
                (i32.add (local.get $a) (i32.mul (i32.const 31) (local.get $b)))))"#
    )
}

fn compiled(wat: &str, dispatches: bool, settings: &Settings) -> Vec<u8> {
    let settings = Settings {
        passes: Passes {
            dispatches,
            ..Passes::default()
        },
        ..settings.clone()
    };
    precast_tests::compiled(wat, &settings).unwrap()
}

/// What a program does: its result or trap with its offsets, the memory, and the fuel that is left
/// where it is known.
fn outcome(module: &Module, program: &[u8], strategy: Strategy, fuel: Option<u64>) -> String {
    let mut store = Store::new(module.engine(), ());
    if let Some(fuel) = fuel {
        store.set_fuel(fuel).unwrap();
    }
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    memory.write(&mut store, PROGRAM as usize, program).unwrap();
    let run: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "run").unwrap();
    let result = run.call(&mut store, (5, 12_345));
    let trap = result.as_ref().err().and_then(Error::trap);
    // Guarded code that traps has not stored the fuel that is left.
    let is_stored = strategy == Strategy::Checked || matches!(trap, None | Some(Trap::OutOfFuel));
    let left = fuel
        .filter(|_| is_stored)
        .map(|_| store.get_fuel().unwrap());
    let result = result.map_err(|error| {
        let frames = error.backtrace().unwrap().frames();
        let places: Vec<_> = frames.iter().map(|frame| frame.module_offset()).collect();
        format!("{:?} at {places:x?}", error.trap())
    });
    let bytes = memory.data(&store).iter();
    let sum = bytes.fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    format!("{result:?}, memory {sum:x}, {left:?}")
}

/// Random programs for an interpreter. Half of them end, unless they trap before, and half run into
/// the end of the memory.
fn programs(count: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let program = |i: usize| {
        let len = match i % 2 {
            0 => 65_536 - PROGRAM as usize,
            _ => random.usize(1..200),
        };
        let mut program: Vec<u8> = (0..len)
            .map(|_| random.u8(0..OPERATIONS.len() as u8 - 1))
            .collect();
        if i % 2 == 1 {
            program.push(OPERATIONS.len() as u8 - 1);
        } else if i.is_multiple_of(4) {
            // Operations that always go on.
            program.iter_mut().for_each(|byte| *byte %= 4);
        }
        program
    };
    (0..count).map(program).collect()
}

#[test]
fn nothing_that_can_be_seen_depends_on_copies() {
    let engine = Engine::default();
    let wat = interpreter(OPERATIONS);
    let programs = programs(40);
    let mut seen = Vec::new();
    for strategy in strategies() {
        for interruption in [Interruption::None, Interruption::Fuel, Interruption::Epoch] {
            let settings = Settings {
                strategy,
                interruption,
                opt_level: OptLevel::Speed,
                ..Settings::default()
            };
            let [without, with] = [false, true].map(|copied| compiled(&wat, copied, &settings));
            // Only the code for this architecture has copies.
            let has_copies = with.len() > without.len();
            assert_eq!(has_copies, cfg!(target_arch = "x86_64"));
            let open = |artifact: Vec<u8>| {
                // SAFETY: our own compiler has just written these bytes.
                unsafe { Module::from_bytes(&engine, &artifact) }.unwrap()
            };
            let [without, with] = [without, with].map(open);
            let amounts: &[Option<u64>] = match interruption {
                Interruption::Fuel => &[Some(0), Some(20), Some(333), Some(1_000), Some(100_000)],
                _ => &[None],
            };
            for program in &programs {
                for fuel in amounts {
                    let [expected, found] =
                        [&without, &with].map(|module| outcome(module, program, strategy, *fuel));
                    assert_eq!(found, expected, "{strategy} {interruption} {program:?}");
                    seen.push(found);
                }
            }
        }
    }
    // The programs do everything that they were made for.
    for what in [
        "Ok",
        "MemoryOutOfBounds",
        "IntegerDivisionByZero",
        "OutOfFuel",
    ] {
        let count = seen.iter().filter(|outcome| outcome.contains(what)).count();
        assert!(count > 5, "{count} times {what}");
    }
}

/// More labels lead to one block here than Cranelift joins, so it leaves blocks of one jump each,
/// and copies stand right behind one another. The dispatch is behind them in the module.
#[test]
fn copies_behind_one_another_keep_their_positions() {
    let engine = Engine::default();
    let labels: String = (0..=150).map(|i| format!("{i} ")).collect();
    let part = |i: u32| {
        format!(
            "(block $s{i} (br_if $s{i} (i32.ne (local.get $x) (i32.const {i})))
                {} (block (br_table {labels} (i32.load8_u offset={} (local.get $y))))
                (local.set $x (i32.add (i32.mul (local.get $x) (i32.const {})) (local.get $y)))
                (br $d) {} (br $d))",
            "(block ".repeat(150),
            40_000 + i,
            i + 3,
            ")".repeat(150)
        )
    };
    let parts: String = (0..6).map(part).collect();
    let loops: String = (1..8)
        .map(|i| format!("(loop $t{i} (local.set $x (i32.sub (local.get $x) (i32.const {i})))"))
        .collect();
    let wat = format!(
        r#"(module (memory (export "memory") 1)
            (data (i32.const 40000) "\05\05\05\05\05\05\05\05")
            (func (export "run") (param $p i32) (param $x i32) (result i32) (local $y i32)
                (block $done {loops}
                    (local.set $x (i32.rem_u (local.get $x) (i32.const 7)))
                    (block $d {parts})
                    (br_table $t1 $t2 $t3 $t4 $t5 $t6 $t7 $t2 $t1 $t4 $done
                        (i32.load8_u (local.get $p)))
                    {})
                (local.get $x)))"#,
        ")".repeat(7)
    );
    let settings = Settings::default();
    let mut places = [false, true].map(|copied| {
        let artifact = compiled(&wat, copied, &settings);
        // SAFETY: our own compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&engine, &artifact) }.unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run: TypedFunc<(i32, i32), i32> = instance.get_typed_func(&mut store, "run").unwrap();
        (0..50)
            .map(|x| {
                let error = run.call(&mut store, (70_000, x)).unwrap_err();
                error.backtrace().unwrap().frames()[0].module_offset()
            })
            .collect::<Vec<_>>()
    });
    let with = std::mem::take(&mut places[1]);
    assert_eq!(with, places[0]);
}
