//! A module that overflows the stack in several ways.

use precast_loader::{Caller, Config, Engine, Error, Extern, InstancePre, Linker, Store, Trap};

use crate::{module, strategies};

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

/// The module for both strategies, with its import resolved.
///
/// # Panics
/// If the module does not compile or link.
pub fn linked(config: &Config) -> Vec<InstancePre<u32>> {
    let engine = Engine::new(config).unwrap();
    let mut linker: Linker<u32> = Linker::new(&engine);
    let down = |mut caller: Caller<'_, u32>, n: i32| -> Result<i32, Error> {
        *caller.data_mut() += 1;
        let again = caller.get_export("via-host").and_then(Extern::into_func);
        let again = again.expect("an exported function");
        again.typed::<i32, i32>(&caller)?.call(&mut caller, n)
    };
    linker
        .func_wrap("h", "down", down)
        .expect("an empty linker");
    strategies()
        .map(|strategy| {
            let module = module(&engine, WAT, strategy);
            linker.instantiate_pre(&module).expect("its only import")
        })
        .into()
}

/// Overflows the stack in each way. Returns the largest number of calls through the host.
///
/// # Panics
/// If a call ends in another way than by a trap for the stack overflow.
pub fn overflow(linked: &[InstancePre<u32>]) -> u32 {
    let mut depth = 0;
    for (pre, name) in linked
        .iter()
        .flat_map(|pre| ["plain", "via-host", "wide"].map(|name| (pre, name)))
    {
        let mut store = Store::new(pre.module().engine(), 0);
        let instance = pre.instantiate(&mut store).expect("room for an instance");
        let func = instance
            .get_typed_func::<i32, i32>(&mut store, name)
            .expect("an exported function");
        for _ in 0..2 {
            let error = func.call(&mut store, 0).expect_err("endless recursion");
            let code = error.trap().expect("a trap");
            assert_eq!(code, Trap::StackOverflow, "{name}");
        }
        depth = depth.max(*store.data());
    }
    depth
}
