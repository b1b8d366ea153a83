//! A module that uses all the stack that it may, in several ways.

use precast_loader::{Caller, Config, Engine, Error, Extern, InstancePre, Linker, Store, TrapCode};
use precast_tests::{module, strategies};

const WAT: &str = r#"
(module
  (import "h" "down" (func $down (param i32) (result i32)))
  (func $plain (export "plain") (param i32) (result i32)
    (i32.add (i32.const 1) (call $plain (local.get 0))))
  (func (export "via-host") (param i32) (result i32)
    (i32.add (i32.const 1) (call $down (local.get 0))))
  (func (export "wide") (param i32) (result i32) (local v128 v128 v128 v128)
    (local.set 1 (i32x4.splat (local.get 0)))
    (local.set 2 (i32x4.splat (call $plain (local.get 0))))
    (i32x4.extract_lane 0 (i32x4.add (local.get 1) (local.get 2)))))
"#;

/// The module for both strategies, linked.
pub(crate) fn linked(config: &Config) -> Vec<InstancePre<u32>> {
    let engine = Engine::new(config);
    let mut linker: Linker<u32> = Linker::new(&engine);
    linker
        .func_wrap(
            "h",
            "down",
            |mut caller: Caller<'_, u32>, n: i32| -> Result<i32, Error> {
                *caller.data_mut() += 1;
                let again = caller
                    .get_export("via-host")
                    .and_then(Extern::func)
                    .unwrap();
                again.typed::<i32, i32>(&caller)?.call(&mut caller, n)
            },
        )
        .unwrap();
    strategies()
        .map(|strategy| {
            let module = module(&engine, WAT, strategy);
            linker.instantiate_pre(&module).unwrap()
        })
        .into()
}

/// Overflows the stack in each way, and gives the greatest depth through the host.
pub(crate) fn overflow(linked: &[InstancePre<u32>]) -> u32 {
    let mut depth = 0;
    for (pre, name) in linked
        .iter()
        .flat_map(|pre| ["plain", "via-host", "wide"].map(|name| (pre, name)))
    {
        let mut store = Store::new(pre.module().engine(), 0);
        let instance = pre.instantiate(&mut store).unwrap();
        let func = instance
            .get_typed_func::<i32, i32>(&mut store, name)
            .unwrap();
        for _ in 0..2 {
            let error = func.call(&mut store, 0).unwrap_err();
            let code = error.trap().unwrap().code();
            assert_eq!(code, TrapCode::StackOverflow, "{name}");
        }
        depth = depth.max(*store.data());
    }
    depth
}
