//! A stack overflow is a trap, on any thread, at any depth, and through host functions. For the
//! main thread see `tests/main_thread.rs`.

use precast_artifact::abi::UNCHECKED_FRAME;
use precast_loader::{Config, Engine, Instance, Store, Trap};
use precast_tests::overflow::{linked, overflow};
use precast_tests::{module, strategies};

fn on_thread(stack: usize, config: Config) {
    let run = move || {
        let depth = overflow(&linked(&config));
        assert!(depth > 20, "only {depth} levels deep");
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
    // The thread has less stack than the configured limit, so the stack of the thread is the limit.
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

#[test]
fn with_less_than_the_reserve_nothing_runs() {
    let linked = linked(&Config::default());
    let run = move || overflow(&linked);
    // The C library gives a thread the stack of one that has ended, if that is at most four times
    // as large. Four times this is less than all threads have that run code in other tests.
    let thread = std::thread::Builder::new().stack_size(120 << 10);
    assert_eq!(thread.spawn(run).unwrap().join().unwrap(), 0);
}

/// Code that calls nothing does not compare with the limit, unless its frame is larger than what is
/// always left below the limit.
#[test]
fn code_that_calls_nothing_runs_on_what_is_left() {
    // A function that has so many values in its frame, and one that calls it at each level.
    let wat = |values: u32| {
        let loads: String = (0..values)
            .map(|i| format!("(i64.load offset={} (local.get 0))\n", 8 * i))
            .collect();
        let sum = "i64.xor\n".repeat(values as usize - 1);
        format!(
            r#"(module (memory 2)
            (func $leaf (param i32) (result i64) {loads} {sum})
            (func $down (export "down") (param i32) (result i64)
                (i64.add (call $leaf (local.get 0))
                    (call $down (i32.and (i32.add (local.get 0) (i32.const 8)) (i32.const 255))))))"#
        )
    };
    let frame = |values: u32| 8 * values;
    for (values, innermost) in [(500, 1), (3800, 1), (6000, 0), (12_000, 0)] {
        assert_eq!(frame(values) < UNCHECKED_FRAME, innermost == 1);
        for strategy in strategies() {
            let engine = Engine::default();
            let module = module(&engine, &wat(values), strategy);
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let down = instance.get_typed_func::<i32, i64>(&mut store, "down");
            let error = down.unwrap().call(&mut store, 0).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::StackOverflow));
            let frames = error.backtrace().unwrap().frames();
            assert_eq!(frames[0].func_index(), innermost, "{values} {strategy}");
        }
    }
}
