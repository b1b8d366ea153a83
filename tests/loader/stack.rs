//! A stack overflow is a trap, on any thread, at any depth, and through host functions. For the
//! main thread see `tests/main_thread.rs`.

use precast_loader::Config;
use precast_tests::overflow::{linked, overflow};

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
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    assert_eq!(thread.spawn(run).unwrap().join().unwrap(), 0);
}
