//! Proposals that an engine does not allow.

use precast_loader::{Config, Engine, Error, Feature, Instance, Linker, Module, Store};
use precast_tests::{artifact, strategies};

const WAT: &str = r#"(module (type $t (func))
    (func $f (type $t)) (elem declare func $f)
    (func (export "run") (call_ref $t (ref.func $f)))
    (func (export "two") (result i32 i32) (i32.const 1) (i32.const 2)))"#;

/// A module for each proposal.
const EACH: &[(Feature, &str)] = &[
    (
        Feature::SignExtension,
        "(func (param i32) (drop (i32.extend8_s (local.get 0))))",
    ),
    (
        Feature::SaturatingFloatToInt,
        "(func (param f32) (drop (i32.trunc_sat_f32_s (local.get 0))))",
    ),
    (
        Feature::MultiValue,
        "(func (result i32 i32) (i32.const 1) (i32.const 2))",
    ),
    (
        Feature::BulkMemory,
        "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
    ),
    (Feature::ReferenceTypes, "(func (param externref))"),
    (Feature::Simd, "(func (param v128))"),
    (
        Feature::RelaxedSimd,
        "(func (param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0))))",
    ),
    (Feature::TailCall, "(func $f (return_call $f))"),
    (
        Feature::ExtendedConst,
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
    ),
    (Feature::MultiMemory, "(memory 1) (memory 1)"),
    (Feature::Memory64, "(memory i64 1)"),
    (Feature::Exceptions, "(tag $t) (func (throw $t))"),
    (Feature::LegacyExceptions, "(func try catch_all end)"),
    (
        Feature::WideArithmetic,
        "(func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2)))",
    ),
    (Feature::Threads, "(memory 1 1 shared)"),
    (
        Feature::FunctionReferences,
        "(type $t (func)) (func (param (ref $t)))",
    ),
    (Feature::CustomPageSizes, "(memory 1 (pagesize 1))"),
];

fn engine(forbidden: &[Feature]) -> Engine {
    let mut config = Config::new();
    for feature in forbidden {
        config.wasm_feature(*feature, false);
    }
    Engine::new(&config).unwrap()
}

fn open(engine: &Engine, bytes: &[u8]) -> Result<Module, Error> {
    // SAFETY: the artifact is of our own compiler.
    unsafe { Module::from_bytes(engine, bytes) }
}

#[test]
fn each_proposal_can_be_refused() {
    let listed: Vec<_> = EACH.iter().map(|(feature, _)| *feature).collect();
    assert_eq!(listed, Feature::ALL);
    for strategy in strategies() {
        for (feature, wat) in EACH {
            let bytes = artifact(&format!("(module {wat})"), strategy);
            match open(&engine(&[*feature]), &bytes) {
                Err(Error::Features { found }) => assert_eq!(found, [*feature], "{wat}"),
                other => panic!("{feature}: {other:?}"),
            }
            let mut others: Vec<_> = Feature::ALL.to_vec();
            others.retain(|other| other != feature);
            match open(&engine(&others), &bytes) {
                Ok(_) => {}
                // Such a module cannot be written without the other proposal.
                Err(Error::Features { found }) => assert!(
                    matches!(
                        (feature, &*found),
                        (Feature::RelaxedSimd, [Feature::Simd])
                            | (Feature::WideArithmetic, [Feature::MultiValue])
                    ),
                    "{feature}: {found:?}"
                ),
                Err(error) => panic!("{feature}: {error}"),
            }
        }
        let plain = artifact("(module (func (export \"f\")))", strategy);
        open(&engine(Feature::ALL), &plain).unwrap();
    }
}

#[test]
fn modules_of_other_engines_are_refused_when_they_are_instantiated() {
    for strategy in strategies() {
        let bytes = artifact(WAT, strategy);
        let all = open(&Engine::default(), &bytes).unwrap();
        assert!(open(&engine(&[Feature::Simd, Feature::Threads]), &bytes).is_ok());
        let strict = engine(&[
            Feature::FunctionReferences,
            Feature::Simd,
            Feature::MultiValue,
        ]);
        let error = open(&strict, &bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the module uses multi-value and function-references, which the engine does not \
             allow: allow it with `Config::wasm_feature`, or compile the module without it"
        );
        let module = all.with_engine(&strict);
        let mut store = Store::new(&strict, ());
        let made = Instance::new(&mut store, &module, &[]).map(drop);
        assert!(matches!(made, Err(Error::Features { .. })), "{made:?}");
        let linker = Linker::<()>::new(&strict);
        let made = linker.instantiate(&mut store, &module).map(drop);
        assert!(matches!(made, Err(Error::Features { .. })), "{made:?}");
        let pre = linker.instantiate_pre(&module);
        let made = pre.and_then(|pre| pre.instantiate(&mut store)).map(drop);
        assert!(matches!(made, Err(Error::Features { .. })), "{made:?}");
        let shared = all.downgrade().upgrade(&strict).unwrap();
        let made = Instance::new(&mut store, &shared, &[]).map(drop);
        assert!(matches!(made, Err(Error::Features { .. })), "{made:?}");

        // The last setting counts.
        let mut config = Config::new();
        config.wasm_feature(Feature::FunctionReferences, false);
        config.wasm_feature(Feature::FunctionReferences, true);
        assert!(open(&Engine::new(&config).unwrap(), &bytes).is_ok());
    }
}
