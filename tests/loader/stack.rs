//! A stack overflow is a trap, on any thread, at any depth, and through host functions. For the
//! main thread see `tests/main_thread.rs`.

use precast_artifact::abi::UNCHECKED_FRAME;
use precast_loader::{Caller, Config, Engine, Extern, Instance, Linker, Store, Trap};
use precast_tests::overflow::{linked, overflow};
use precast_tests::{module, on_stack_of, strategies};

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
fn on_small_stacks() {
    for kib in [256, 320, 512, 768, 1020] {
        let linked = linked(&Config::default());
        on_stack_of(kib << 10, move || {
            let depth = overflow(&linked);
            assert!(depth > 20, "only {depth} levels deep on {kib} KiB");
        });
    }
    let too_small = [64, 128, 160, 192, 200];
    // Some systems start no thread with so little.
    for kib in too_small
        .into_iter()
        .filter(|kib| kib << 10 >= libc::PTHREAD_STACK_MIN)
    {
        let linked = linked(&Config::default());
        on_stack_of(kib << 10, move || {
            overflow(&linked);
        });
    }
}

/// A host function has 96 KiB of stack, however deep the guest that calls it is. When it then calls
/// the guest, that is a trap or has room.
#[test]
fn host_functions_have_their_share_of_small_stacks() {
    const SHARE: usize = 92 << 10;
    let wat = r#"(module
      (import "h" "large" (func $large (param i32) (result i32)))
      (func (export "leaf") (param i32) (result i32) (local.get 0))
      (func $down (export "down") (param i32) (result i32)
        (drop (call $large (local.get 0)))
        (i32.add (i32.const 1) (call $down (local.get 0))))
      (func $tail (export "tail") (param i32) (result i32)
        (drop (call $large (local.get 0)))
        (i32.add (i32.const 1) (call $by_tail (local.get 0))))
      (func $by_tail (param i32) (result i32) (return_call $tail (local.get 0)))
      (memory (export "memory") 1 1))"#;
    for (kib, strategy) in [256, 300, 512, 1024]
        .into_iter()
        .flat_map(|kib| strategies().map(|strategy| (kib, strategy)))
    {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<u32> = Linker::new(&engine);
        let large = |mut caller: Caller<'_, u32>, n: i32| {
            *caller.data_mut() += 1;
            let used = [1_u8; SHARE];
            std::hint::black_box(&used);
            let leaf = caller.get_export("leaf").and_then(Extern::into_func);
            let leaf = leaf.unwrap().typed::<i32, i32>(&caller).unwrap();
            let ended = leaf.call(&mut caller, n);
            assert!(ended.is_ok_and(|m| m == n) || *caller.data() > 1);
            i32::from(std::hint::black_box(&used)[n as usize])
        };
        linker.func_wrap("h", "large", large).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        on_stack_of(kib << 10, move || {
            for name in ["down", "tail"] {
                let mut store = Store::new(pre.module().engine(), 0);
                let instance = pre.instantiate(&mut store).unwrap();
                let down = instance.get_typed_func::<i32, i32>(&mut store, name);
                let error = down.unwrap().call(&mut store, 9).unwrap_err();
                assert_eq!(error.trap(), Some(Trap::StackOverflow));
                assert!(*store.data() > 20, "{} on {kib} KiB", store.data());
            }
        });
    }
}

#[test]
fn with_less_than_the_reserve_nothing_runs() {
    let linked = linked(&Config::default());
    on_stack_of(192 << 10, move || assert_eq!(overflow(&linked), 0));
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
