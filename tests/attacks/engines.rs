//! Modules, linkers, stores and types of different engines.

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{InstanceConfig, Runtime};
use precast_loader::{
    Config, Engine, Error, Func, FuncType, Instance, Linker, Module, Store, Val, ValType,
};
use precast_tests::{Source, strategies};

const WAT: &str = r#"(module (import "h" "f" (func (param i32) (result i32)))
    (func (export "twice") (param i32) (result i32) (call 0 (call 0 (local.get 0)))))"#;

/// Engines of which some differ in their configurations, and some only in their identities.
fn engines() -> [Engine; 4] {
    let small = Config::new().max_wasm_stack(64 << 10).clone();
    [
        Engine::default(),
        Engine::new(&small).unwrap(),
        Engine::new(Config::new().epoch_interruption(true)).unwrap(),
        Engine::new(Config::new().epoch_interruption(true)).unwrap(),
    ]
}

fn refused<R: std::fmt::Debug>(result: Result<R, Error>, first: &str, second: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::DifferentEngines { .. }), "{error}");
    let said = format!("{first} and {second} are of different engines");
    assert!(error.to_string().starts_with(&said), "{error}");
}

#[test]
fn are_not_mixed() {
    for strategy in strategies() {
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        for (i, a) in engines().into_iter().enumerate() {
            let module = source.module(&a, WAT);
            for (j, b) in engines().into_iter().enumerate() {
                if i == j && i < 2 {
                    continue;
                }
                // Each call of `engines` makes new engines with epoch interruption.
                mixed(&module, a, b);
            }
        }
    }
}

fn mixed(module: &Module, a: Engine, b: Engine) {
    let linker = |engine: &Engine| {
        let mut linker = Linker::new(engine);
        linker.func_wrap("h", "f", |x: i32| x + 1).unwrap();
        linker
    };
    let mut store = Store::new(&b, ());
    refused(
        linker(&b).instantiate_pre(module),
        "the module",
        "the linker",
    );
    refused(
        linker(&b).instantiate(&mut store, module),
        "the module",
        "the linker",
    );
    let pre = linker(&a).instantiate_pre(module).unwrap();
    refused(pre.instantiate(&mut store), "the module", "the store");
    let host = Func::wrap(&mut store, |x: i32| x + 1);
    let made = Instance::new(&mut store, module, &[host.into()]);
    refused(made, "the module", "the store");
    // A parked instance stays with its engine.
    pre.instantiate(Store::new(&a, ())).unwrap();
    refused(pre.instantiate(&mut store), "the module", "the store");
    let runtime: Runtime = Runtime::new(&b);
    precast_loader::runtime::HostModule::builder("h")
        .func("f", |x: i32| x + 1)
        .instantiate(&runtime)
        .unwrap();
    let made = runtime.instantiate(module, InstanceConfig::new());
    refused(made, "the module", "the store");

    // `with_engine` is the remedy.
    let module = module.with_engine(&b);
    let instance = linker(&b).instantiate(&mut store, &module).unwrap();
    let twice = instance
        .get_typed_func::<i32, i32>(&mut store, "twice")
        .unwrap();
    assert_eq!(twice.call(&mut store, 1).unwrap(), 3);
    assert!(runtime.instantiate(&module, InstanceConfig::new()).is_ok());
}

/// An engine with epoch interruption refuses other modules, however they get to it.
#[test]
fn do_not_lose_what_they_ask_for() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    for strategy in strategies() {
        let plain = Engine::default();
        let module = Source::new(strategy).module(&plain, r#"(module (func (export "f")))"#);
        let module = module.with_engine(&engine);
        let mut store = Store::new(&engine, ());
        let refused =
            |error: Error| assert!(matches!(error, Error::Interruption { .. }), "{error}");
        refused(Instance::new(&mut store, &module, &[]).unwrap_err());
        let linker = Linker::new(&engine);
        refused(linker.instantiate(&mut store, &module).unwrap_err());
        let runtime: Runtime = Runtime::new(&engine);
        refused(
            runtime
                .instantiate(&module, InstanceConfig::new())
                .unwrap_err(),
        );
    }
}

/// Function types are the same in all engines. That includes types that are too long to be encoded
/// in their ids, and whose ids are assigned on first use.
#[test]
fn have_their_types_in_common() {
    let many = |count: usize, last: ValType| {
        FuncType::new(
            &Engine::default(),
            (1..count).map(|_| ValType::I32).chain([last]),
            [],
        )
    };
    let text = |count: usize, last: &str| {
        let params = "i32 ".repeat(count - 1) + last;
        format!(
            r#"(module (type $t (func (param {params}))) (import "h" "f" (func (type $t)))
            (table (export "t") 1 funcref) (elem (i32.const 0) 0) (export "f" (func 0)))"#
        )
    };
    let [a, b, ..] = engines();
    // Each engine sees the types in a different order.
    for count in [20, 21, 22, 40, 1000] {
        let source = Source::new(Strategy::Checked);
        let on_a = source.module(&a, &text(count, "f64"));
        let on_b = source.module(&b, &text(count, "i64"));
        let types = [ValType::F64, ValType::I64].map(|last| many(count, last));
        for (engine, module, right, wrong) in [
            (a, &on_a, &types[0], &types[1]),
            (b, &on_b, &types[1], &types[0]),
        ] {
            let mut store = Store::new(&engine, ());
            let host = |store: &mut Store<()>, ty: &FuncType| {
                Func::new(store, ty.clone(), |_, _, _| Ok(()))
            };
            let no = host(&mut store, wrong);
            assert!(matches!(
                Instance::new(&mut store, module, &[no.into()]),
                Err(Error::Link(_))
            ));
            let yes = host(&mut store, right);
            let instance = Instance::new(&mut store, module, &[yes.into()]).unwrap();
            let exported = instance.get_func(&mut store, "f").unwrap();
            assert_eq!(exported.ty(&store), *right);
            let table = instance.get_table(&mut store, "t").unwrap();
            let Some(Val::FuncRef(Some(element))) = table.get(&store, 0) else {
                panic!("there is a function");
            };
            assert_eq!(element.ty(&store), *right);
            let values: Vec<_> = right
                .params()
                .iter()
                .map(|ty| Val::default_for(*ty))
                .collect();
            element.call(&mut store, &values, &mut []).unwrap();
            let values: Vec<_> = wrong
                .params()
                .iter()
                .map(|ty| Val::default_for(*ty))
                .collect();
            assert!(element.call(&mut store, &values, &mut []).is_err());
        }
    }
}
