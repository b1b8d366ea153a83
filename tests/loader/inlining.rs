//! Inlined calls: nothing that a program can observe depends on whether a call is inlined.

use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Inline, OptLevel, Passes, Settings};
use precast_loader::{Engine, Error, FrameInfo, Instance, Module, Store, Trap, Val};
use precast_tests::strategies;

const WAT: &str = r#"(module
    (tag $t (param i32))
    (memory (export "memory") 1)
    (global $depth (mut i32) (i32.const 0))
    (table funcref (elem $divide))

    (func $load (param i32) (result i32) (i32.load offset=4 (local.get 0)))
    (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    ;; Locals start at zero each time.
    (func $sum (param i32) (result i32) (local i32 i64)
        (loop
            (local.set 1 (i32.add (local.get 1) (local.get 0)))
            (local.set 2 (i64.add (local.get 2) (i64.const 1)))
            (br_if 0 (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
        (i32.add (local.get 1) (i32.wrap_i64 (local.get 2))))
    (func $early (param i32) (result i32)
        (block (br_if 0 (i32.eqz (local.get 0))) (return (call $load (local.get 0))))
        (if (i32.eqz (local.get 0)) (then (br 1 (i32.const -5))))
        (i32.const 1))
    (func $two (param i32) (result i32 i32)
        (local.get 0) (br_if 0 (i32.const 9) (local.get 0)) (drop) (i32.const 8))
    (func $never (unreachable))
    (func $choose (param i32) (result i32)
        (block (block (block (br_table 0 1 2 0 1 2 (local.get 0)))
            (return (i32.const 10))) (return (call $load (i32.const 0)))) (i32.const 30))
    (func $throw (param i32) (if (local.get 0) (then (throw $t (local.get 0)))))
    (func $catch (param i32) (result i32)
        (block $h (result i32) (try_table (catch $t $h)
            (call $throw (local.get 0)) (return (call $divide (i32.const 7) (local.get 0))))
            (i32.const 77)))
    (func $deep (param i32) (result i32)
        (i32.add (call $divide (call $load (local.get 0)) (call $sum (local.get 0))) (i32.const 1)))

    (type $unary (func (param i32) (result i32)))
    (elem declare func $load $same)
    (func $same (type $unary) (local.get 0))
    (func $pick (param i32) (result (ref null $unary))
        (if (i32.eqz (local.get 0)) (then (return (ref.null $unary))))
        (if (i32.eq (local.get 0) (i32.const 1)) (then (return (ref.func $same))))
        (ref.func $load))
    (func $via (type $unary) (call_ref $unary (local.get 0) (call $pick (local.get 0))))
    (func $known (param (ref $unary) i32) (result i32) (local (ref $unary))
        (local.set 2 (local.get 0)) (call_ref $unary (local.get 1) (local.get 2)))
    (func $maybe (type $unary) (local (ref null $unary))
        (i32.const 5) (br_on_null 0 (call $pick (local.get 0))) (local.set 1) (drop)
        (call_ref $unary (local.get 0) (local.get 1)))
    (func $or (param i32) (result (ref $unary))
        (br_on_non_null 0 (call $pick (local.get 0))) (ref.func $same))
    (func $must (type $unary) (drop (ref.as_non_null (call $pick (local.get 0)))) (i32.const 6))
    (func $tail (type $unary) (return_call_ref $unary (local.get 0) (call $pick (local.get 0))))

    (func (export "load") (param i32) (result i32)
        (i32.store offset=4 (i32.const 0) (i32.const 11))
        (i32.add (call $load (i32.const 0)) (call $load (local.get 0))))
    (func (export "divide") (param i32) (result i32)
        (i32.add (call $divide (i32.const 100) (local.get 0)) (call $divide (local.get 0) (local.get 0))))
    (func (export "sum") (param i32) (result i32)
        (loop (result i32)
            (i32.add (call $sum (local.get 0)) (call $sum (i32.const 3)))
            (br_if 0 (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0)))))
    (func (export "early") (param i32) (result i32)
        (i32.store offset=4 (i32.const 8) (i32.const 12))
        (i32.sub (call $early (local.get 0)) (call $early (i32.const 8))))
    (func (export "two") (param i32) (result i32) (i32.mul (call $two (local.get 0))))
    (func (export "never") (param i32) (result i32)
        (if (local.get 0) (then (call $never))) (i32.const 2))
    (func (export "choose") (param i32) (result i32)
        (i32.add (call $choose (local.get 0)) (call $choose (i32.const 2))))
    (func (export "throw") (param i32) (result i32) (call $throw (local.get 0)) (i32.const 3))
    (func (export "catch") (param i32) (result i32)
        (i32.add (call $catch (local.get 0)) (call $catch (i32.const 5))))
    (func (export "deep") (param i32) (result i32)
        (i32.mul (call $deep (local.get 0)) (call $deep (i32.const 6))))
    (func (export "via") (type $unary)
        (i32.add (call $via (i32.const 2)) (call $via (local.get 0))))
    (func (export "known") (type $unary)
        (i32.add (call $known (call $or (local.get 0)) (i32.const 2))
            (call $known (call $or (i32.const 0)) (local.get 0))))
    (func (export "maybe") (type $unary)
        (i32.add (call $maybe (local.get 0)) (call $maybe (i32.const 0))))
    (func (export "must") (type $unary)
        (i32.add (call $must (i32.const 2)) (call $must (local.get 0))))
    (func (export "tail") (type $unary)
        (i32.add (call $tail (i32.const 1)) (call $tail (local.get 0))))
    (func (export "checked") (param i32) (result i32)
        ;; The callee's facts about addresses hold after it, those of its branches do not.
        (drop (call $early (local.get 0)))
        (i32.load offset=4 (local.get 0))))"#;

fn module(engine: &Engine, inline: Inline, settings: &Settings) -> Module {
    compiled(engine, WAT, inline, settings)
}

fn compiled(engine: &Engine, wat: &str, inline: Inline, settings: &Settings) -> Module {
    let passes = Passes {
        inline,
        ..settings.passes
    };
    let settings = Settings {
        passes,
        ..settings.clone()
    };
    let artifact = precast_tests::compiled(wat, &settings).unwrap();
    // SAFETY: our own compiler has just written these bytes.
    unsafe { Module::from_bytes(engine, &artifact) }.unwrap()
}

/// What calls of all functions do: the result, or the error with its backtrace; the fuel that is
/// left, unless guarded code trapped, whose innermost function has not stored it.
fn outcomes(module: &Module, strategy: Strategy, fuel: Option<u64>) -> Vec<String> {
    let mut outcomes = Vec::new();
    for name in [
        "load", "divide", "sum", "early", "two", "never", "choose", "throw", "catch", "deep",
        "via", "known", "maybe", "must", "tail", "checked",
    ] {
        for argument in [0, 1, 2, 3, 4, 5, 6, 8, -1, 65_528, 65_532, i32::MIN] {
            let mut store = Store::new(module.engine(), ());
            if let Some(fuel) = fuel {
                store.set_fuel(fuel).unwrap();
            }
            // These take time in the square of the argument.
            if matches!(name, "sum" | "deep") && !(0..10).contains(&argument) {
                continue;
            }
            let instance = Instance::new(&mut store, module, &[]).unwrap();
            let func = instance.get_func(&mut store, name).unwrap();
            let mut results = [Val::I32(0)];
            let result = func.call(&mut store, &[Val::I32(argument)], &mut results);
            let trap = result.as_ref().err().and_then(Error::trap);
            let is_stored =
                strategy == Strategy::Checked || matches!(trap, None | Some(Trap::OutOfFuel));
            let outcome = match result {
                Ok(()) => format!("{:?}", results[0].i32()),
                Err(error) => match error {
                    Error::Exception { .. } => format!("exception {}", frames(&error)),
                    _ => format!("{error} {}", frames(&error)),
                },
            };
            let left = fuel.filter(|_| is_stored).map(|_| store.get_fuel());
            outcomes.push(format!("{name} {argument}: {outcome} {left:?}"));
        }
    }
    outcomes
}

/// The frames of an error's backtrace: functions and offsets.
fn frames(error: &Error) -> String {
    let frames = error.backtrace().map(|trace| trace.frames());
    let frame = |frame: &FrameInfo| (frame.func_index(), frame.module_offset());
    let frames = frames.map(|all| all.iter().map(frame).collect::<Vec<_>>());
    format!("{frames:?}")
}

#[test]
fn nothing_that_can_be_seen_depends_on_it() {
    let engine = Engine::default();
    for strategy in strategies() {
        for interruption in [Interruption::None, Interruption::Fuel, Interruption::Epoch] {
            for opt_level in [OptLevel::None, OptLevel::Speed] {
                let settings = Settings {
                    strategy,
                    interruption,
                    opt_level,
                    ..Settings::default()
                };
                let [never, by_cost, always] = [Inline::Never, Inline::ByCost, Inline::Always]
                    .map(|inline| module(&engine, inline, &settings));
                let in_frame = Settings {
                    passes: Passes {
                        variables: false,
                        ..Passes::default()
                    },
                    ..settings.clone()
                };
                let in_frame = module(&engine, Inline::Always, &in_frame);
                let amounts: &[Option<u64>] = match interruption {
                    Interruption::Fuel => {
                        &[Some(0), Some(1), Some(9), Some(17), Some(30), Some(9999)]
                    }
                    _ => &[None],
                };
                for fuel in amounts {
                    let expected = outcomes(&never, strategy, *fuel);
                    assert!(expected.iter().any(|o| o.contains("Some(")));
                    for other in [&by_cost, &always, &in_frame] {
                        let found = outcomes(other, strategy, *fuel);
                        for (found, expected) in found.iter().zip(&expected) {
                            assert_eq!(found, expected, "{strategy} {interruption} {opt_level:?}");
                        }
                    }
                }
            }
        }
    }
}

/// A call through a reference that may be null is checked, wherever in the code it gets: its
/// position after inlined calls may be the offset of a call that needs no check.
#[test]
fn calls_through_null_are_checked_after_inlined_calls() {
    let engine = Engine::default();
    // Every fourth byte of `$dense` is a call through a reference that is never null.
    let dense = "(call_ref $t (local.get 0))".repeat(60);
    for strategy in strategies() {
        for nops in 0..8 {
            let leaf = "nop ".repeat(nops);
            let wat = format!(
                r#"(module (type $t (func))
                (func $leaf {leaf})
                (func (export "f") (param (ref null $t))
                    {} (call_ref $t (local.get 0)))
                (func $dense (param (ref $t)) {dense}))"#,
                "(call $leaf)".repeat(10)
            );
            let settings = Settings {
                strategy,
                ..Settings::default()
            };
            let module = compiled(&engine, &wat, Inline::Always, &settings);
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let func = instance.get_func(&mut store, "f").unwrap();
            let error = func.call(&mut store, &[Val::FuncRef(None)], &mut []);
            let found = error.unwrap_err().trap();
            assert_eq!(
                found,
                Some(Trap::NullFunctionReference),
                "{strategy} {nops}"
            );
        }
    }
}

/// All kinds of frames are in one backtrace: of inlined calls, and of real calls.
#[test]
fn backtraces_name_every_function() {
    const WAT: &str = r#"(module
        (func $inner (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
        (func $middle (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
        (func $again (param i32 i32) (result i32)
            (if (result i32) (local.get 1)
                (then (i32.add (i32.const 1)
                    (call $again (local.get 0) (i32.sub (local.get 1) (i32.const 1)))))
                (else (call $middle (local.get 0)))))
        (func (export "outer") (param i32) (result i32) (call $again (local.get 0) (i32.const 2))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = precast_tests::module(&engine, WAT, strategy);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let func = instance
            .get_typed_func::<i32, i32>(&mut store, "outer")
            .unwrap();
        let error = func.call(&mut store, 0).unwrap_err();
        let frames = error.backtrace().unwrap().frames();
        let names: Vec<_> = frames
            .iter()
            .map(|frame| frame.func_name().unwrap())
            .collect();
        assert_eq!(
            names,
            ["inner", "middle", "again", "again", "again", "outer"]
        );
        assert!(frames.iter().all(|frame| frame.module_offset().is_some()));
    }
}
