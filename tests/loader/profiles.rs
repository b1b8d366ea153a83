//! Profiles: what code counts, that it goes on counting, and that no profile changes what code
//! does.

use std::sync::Arc;

use precast_artifact::profile::{Profile, Target};
use precast_artifact::{Artifact, Strategy};
use precast_compiler::{Error as CompileError, Inline, Interruption, Passes, Settings};
use precast_loader::{Engine, Instance, InstancePre, Linker, Module, Store};
use precast_tests::strategies;

/// `work(n)` calls `$often` n times through the table, except for each sixteenth time, and
/// `$never` never.
const WAT: &str = r#"(module
    (type $unary (func (param i32) (result i32)))
    (memory (export "m") 1)
    (table funcref (elem $seldom $often $throws $recursive))
    (tag $exception (param i32))
    (global $last (mut i32) (i32.const 3))
    (func $often (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $seldom (param i32) (result i32) (i32.load (local.get 0)))
    (func $never (param i32) (result i32) (i32.div_u (i32.const 7) (local.get 0)))
    (func $work (export "work") (param $n i32) (result i32) (local $i i32) (local $sum i32)
        (loop $l
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (type $unary) (local.get $i)
                    (i32.ne (i32.and (local.get $i) (i32.const 15)) (i32.const 7)))))
            (if (i32.eq (local.get $i) (i32.const 1000000))
                (then (local.set $sum (call $never (i32.const 0)))))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (local.get $n))))
        (local.get $sum))
    (func (export "at") (param $argument i32) (param $index i32) (result i32)
        (call_indirect (type $unary) (local.get $argument) (local.get $index)))
    (func $throws (param i32) (result i32) (throw $exception (local.get 0)))
    (func $recursive (param i32) (result i32)
        (if (result i32) (i32.le_s (local.get 0) (i32.const 0))
            (then (i32.const 1))
            (else (i32.mul (i32.const 3) (call_indirect (type $unary)
                (i32.sub (local.get 0) (i32.const 1)) (global.get $last))))))
    (func (export "catch") (param $argument i32) (param $index i32) (result i32)
        (block $caught (result i32)
            (try_table (result i32) (catch $exception $caught)
                (call_indirect (type $unary) (local.get $argument) (local.get $index)))
            (return (i32.add (i32.const 1)))))
    (func (export "switch") (param i32) (result i32)
        (block $a (block $b (block $c (br_table $a $b $c (local.get 0))) (return (i32.const 3)))
            (return (i32.const 2)))
        (i32.const 1)))"#;

fn compile(engine: &Engine, settings: &Settings) -> Result<Module, CompileError> {
    let artifact = precast_tests::compiled(WAT, settings)?;
    // SAFETY: our own compiler has just written these bytes.
    Ok(unsafe { Module::from_bytes(engine, &artifact) }.unwrap())
}

fn counting(engine: &Engine, strategy: Strategy) -> Module {
    let settings = Settings {
        strategy,
        counters: true,
        ..Settings::default()
    };
    compile(engine, &settings).unwrap()
}

fn profile(module: &Module) -> Profile {
    module.profile().unwrap().expect("compiled with counters")
}

/// The sum of all counts.
fn all(profile: &Profile) -> u64 {
    profile.counts().iter().map(|(_, count)| count).sum()
}

fn work(store: &mut Store<()>, instance: &Instance, n: i32) -> i32 {
    let work = instance.get_typed_func::<i32, i32>(&mut *store, "work");
    work.unwrap().call(store, n).unwrap()
}

#[test]
fn code_counts_what_it_does() {
    let engine = Engine::default();
    for strategy in strategies() {
        let module = counting(&engine, strategy);
        assert_eq!(profile(&module).counts(), []);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        work(&mut store, &instance, 160);
        let found = profile(&module);
        // The bodies of `$often`, `$seldom` and `$work`, the loop, and what is behind it.
        let counts: Vec<_> = found.counts().iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [150, 10, 1, 160, 1]);
        let targets: Vec<_> = found.targets().iter().map(|(_, target)| *target).collect();
        assert_eq!(
            targets,
            [Target {
                index: 1,
                votes: 140
            }]
        );
        // A trap ends nothing that was counted before.
        let at = instance
            .get_typed_func::<(i32, i32), i32>(&mut store, "at")
            .unwrap();
        at.call(&mut store, (1, 7)).unwrap_err();
        at.call(&mut store, (-1, 0)).unwrap_err();
        assert_eq!(all(&profile(&module)), all(&found) + 3);
        assert_eq!(
            profile(&module).targets().len(),
            1,
            "one vote for and one against"
        );
        let switch = instance
            .get_typed_func::<i32, i32>(&mut store, "switch")
            .unwrap();
        let before = all(&profile(&module));
        for i in 0..3 {
            assert_eq!(switch.call(&mut store, i).unwrap(), i + 1);
        }
        // Each call, and the end of a block that it goes to.
        assert_eq!(all(&profile(&module)), before + 6);
        let plain = compile(&engine, &Settings::default()).unwrap();
        assert!(plain.profile().unwrap().is_none());
    }
}

#[test]
fn counters_survive_resets_and_reuse() {
    let engine = Engine::default();
    for strategy in strategies() {
        let module = counting(&engine, strategy);
        let pre = Linker::<()>::new(&engine).instantiate_pre(&module).unwrap();
        let mut expected = 0;
        for _ in 0..5 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            for _ in 0..3 {
                work(&mut store, &instance, 16);
                expected += 16 + 1 + 16 + 1;
                assert_eq!(all(&profile(&module)), expected);
                instance.reset(&mut store).unwrap();
                assert_eq!(all(&profile(&module)), expected);
            }
            let snapshot = instance.snapshot(&mut store).unwrap();
            let other = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = other.instantiate(&mut store).unwrap();
            assert_eq!(all(&profile(&module)), expected, "a snapshot has no counts");
            work(&mut store, &instance, 16);
            expected += 34;
        }
        // Instances of other threads count, too.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut store = Store::new(&engine, ());
                    let instance = pre.instantiate(&mut store).unwrap();
                    work(&mut store, &instance, 16);
                });
            }
        });
        assert_eq!(all(&profile(&module)), expected + 4 * 34);
        // Instances without a pool end with their store.
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        work(&mut store, &instance, 16);
        drop(store);
        assert_eq!(all(&profile(&module)), expected + 5 * 34);
    }
}

/// What calls of all functions do.
fn outcomes(module: &Module, fuel: bool) -> Vec<String> {
    let mut outcomes = Vec::new();
    let mut store = Store::new(module.engine(), ());
    let give_fuel = |store: &mut Store<()>| {
        if fuel {
            store.set_fuel(1 << 40).unwrap();
        }
    };
    give_fuel(&mut store);
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    outcomes.push(work(&mut store, &instance, 200).to_string());
    for (name, argument) in [
        ("at", 0),
        ("at", 5),
        ("at", 65_532),
        ("at", -1),
        ("catch", 4),
    ] {
        let at = instance.get_typed_func::<(i32, i32), i32>(&mut store, name);
        let at = at.unwrap();
        for index in [0, 1, 2, 3, 4, -1] {
            // Where the stack ends depends on the frames.
            if (argument, index) == (65_532, 3) {
                continue;
            }
            // Guarded code that traps does not say what its innermost function has used.
            give_fuel(&mut store);
            let result = at.call(&mut store, (argument, index));
            let trace = result.as_ref().err().and_then(|error| error.backtrace());
            let frames = trace.map(|trace| {
                let frames = trace.frames().iter();
                frames
                    .map(|f| (f.func_index(), f.module_offset()))
                    .collect::<Vec<_>>()
            });
            let result = result.map_err(|error| error.to_string());
            outcomes.push(format!("{result:?} {frames:?}"));
            if result.is_ok() && fuel {
                outcomes.push(format!("{:?}", store.get_fuel()));
            }
        }
    }
    let switch = instance
        .get_typed_func::<i32, i32>(&mut store, "switch")
        .unwrap();
    outcomes.extend((-1..4).map(|i| format!("{:?}", switch.call(&mut store, i))));
    outcomes
}

#[test]
fn no_profile_changes_what_code_does() {
    let engine = Engine::default();
    let module = counting(&engine, Strategy::Guarded);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    work(&mut store, &instance, 1000);
    let real = profile(&module);
    let id = *real.module();
    // False in every way that its form allows, at places that exist and at others.
    let offsets = || 0..wat::parse_str(WAT).unwrap().len() as u32 + 10;
    let false_ones = (0_u64..12).map(|seed| {
        let random = move |offset: u32| {
            let mixed = (u64::from(offset) + 1 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match mixed >> 61 {
                0..3 => 0,
                3 => u64::MAX,
                _ => mixed >> (mixed >> 58),
            }
        };
        let target = move |offset| Target {
            index: match seed % 5 {
                0 => random(offset + 7),
                index => index - 1,
            },
            votes: random(offset + 3),
        };
        let counts = offsets().map(move |offset| (offset, random(offset)));
        Profile::of(
            id,
            counts,
            offsets().map(move |offset| (offset, target(offset))),
        )
    });
    let profiles: Vec<_> = [Profile::new(id), real]
        .into_iter()
        .chain(false_ones)
        .collect();
    for strategy in strategies() {
        for interruption in [Interruption::None, Interruption::FuelAndEpoch] {
            let fuel = interruption.counts_fuel();
            let settings = Settings {
                strategy,
                interruption,
                ..Settings::default()
            };
            let expected = outcomes(&compile(&engine, &settings).unwrap(), fuel);
            for (i, profile) in profiles.iter().enumerate() {
                for inline in [Inline::ByCost, Inline::Always, Inline::Never] {
                    let settings = Settings {
                        profile: Some(Arc::new(profile.clone())),
                        counters: i % 2 == 0,
                        passes: Passes {
                            inline,
                            ..Passes::default()
                        },
                        ..settings.clone()
                    };
                    let module = compile(&engine, &settings).unwrap();
                    let found = outcomes(&module, fuel);
                    assert_eq!(found, expected, "{strategy} {interruption} {inline:?} {i}");
                }
            }
        }
    }
}

#[test]
fn artifacts_are_the_same_for_the_same_profile() {
    let engine = Engine::default();
    let module = counting(&engine, Strategy::Guarded);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    work(&mut store, &instance, 1000);
    let real = Arc::new(profile(&module));
    let artifact = |threads, profile| {
        let settings = Settings {
            threads,
            profile,
            ..Settings::default()
        };
        precast_tests::compiled(WAT, &settings).unwrap()
    };
    let one = artifact(Some(1), Some(Arc::clone(&real)));
    assert_eq!(one, artifact(Some(4), Some(real)));
    assert_ne!(one, artifact(Some(1), None));
    // Functions that ran are in front, and the loader finds functions by their code.
    let aligned = precast_artifact::Aligned::new(&one);
    let artifact = Artifact::parse(&aligned, None).unwrap();
    let order = artifact.order();
    assert_eq!(order.len(), artifact.functions().len());
    assert!(!order.is_sorted());
    for (i, function) in artifact.functions().iter().enumerate() {
        let found = |at| artifact.function_at(at).map(|found| found.0);
        assert_eq!(found(function.text_offset), Some(i as u32));
        assert_eq!(
            found(function.text_offset + function.text_len - 1),
            Some(i as u32)
        );
    }
}

#[test]
fn a_profile_is_of_one_module() {
    let settings = Settings {
        profile: Some(Arc::new(Profile::new([1; 32]))),
        ..Settings::default()
    };
    let error = compile(&Engine::default(), &settings).unwrap_err();
    let CompileError::Profile(cause) = error else {
        panic!("{error:?}")
    };
    let text = cause.to_string();
    let start = "the profile is of the module with BLAKE3 010101";
    assert!(text.starts_with(start), "{text}");
}
