//! Stack overflow is a trap, on any thread, at any depth, also through the host.

use precast_loader::{Caller, Config, Engine, Error, Extern, Linker, Store, TrapCode};
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

fn overflow(name: &str, config: &Config) {
    for strategy in strategies() {
        let engine = Engine::new(config);
        let module = module(&engine, WAT, strategy);
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
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let func = instance
            .get_typed_func::<i32, i32>(&mut store, name)
            .unwrap();
        for _ in 0..2 {
            let error = func.call(&mut store, 0).unwrap_err();
            assert_eq!(
                error.trap().unwrap().code(),
                TrapCode::StackOverflow,
                "{name} {strategy}"
            );
        }
        if name == "via-host" {
            assert!(*store.data() > 20, "only {} levels deep", store.data());
        }
    }
}

fn on_thread(stack: usize, config: Config) {
    let run = move || {
        for name in ["plain", "via-host", "wide"] {
            overflow(name, &config);
        }
    };
    std::thread::Builder::new()
        .stack_size(stack)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn on_threads_with_much_and_little_stack() {
    on_thread(8 << 20, Config::default());
    on_thread(2 << 20, Config::default());
    // Less than the configured limit: what the thread has decides.
    on_thread(1 << 20, Config::default());
}

#[test]
fn with_the_limit_that_is_set() {
    let mut config = Config::new();
    config.max_wasm_stack(64 << 10);
    on_thread(8 << 20, config);
}

#[test]
fn far_more_than_the_stack_is_still_a_trap() {
    let mut config = Config::new();
    config.max_wasm_stack(1 << 40);
    on_thread(4 << 20, config);
}
