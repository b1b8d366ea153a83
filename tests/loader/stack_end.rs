//! Code never runs beyond the end of its stack: a call near the end either fits or is a trap.
//!
//! The tests make the stack themselves, without a guard page. Below the stack are bytes that must
//! not change. Wasm code recurses to each of many depths and does something there that needs much
//! stack. The thread has no alternate stack for signals.

use std::ffi::c_void;
use std::fmt::Write as _;

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, Func, FuncType, Linker, Store, Trap, Val, ValType};
use precast_tests::{module, strategies};

/// How many bytes below the stack are checked.
const BELOW: usize = 8 << 20;
const PATTERN: u8 = 0x77;

/// Runs `body` on a thread with a stack of this size, then checks the bytes below the stack.
fn on_watched_stack(size: usize, body: impl FnOnce() + Send + 'static) {
    type Body = Box<dyn FnOnce() + Send>;
    extern "C" fn start(body: *mut c_void) -> *mut c_void {
        // SAFETY: the pointer is that of the box that is made below, and this runs once.
        let body = unsafe { Box::from_raw(body.cast::<Body>()) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
        usize::from(done) as *mut c_void
    }
    let len = BELOW + size;
    // SAFETY: only this function and the thread use the new memory, the thread ends before the
    // memory is unmapped, and each call gets valid arguments.
    unsafe {
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        let memory = libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        let below = std::slice::from_raw_parts_mut(memory.cast::<u8>(), BELOW);
        below.fill(PATTERN);
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
        let stack = memory.add(BELOW);
        assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack, size), 0);
        let body: Box<Body> = Box::new(Box::new(body));
        let (mut thread, mut done) = (0, std::ptr::null_mut());
        let made =
            libc::pthread_create(&mut thread, &attributes, start, Box::into_raw(body).cast());
        assert_eq!(made, 0);
        assert_eq!(libc::pthread_join(thread, &mut done), 0);
        libc::pthread_attr_destroy(&mut attributes);
        let changed = below.iter().filter(|byte| **byte != PATTERN).count();
        libc::munmap(memory, len);
        assert_eq!(changed, 0, "bytes below the stack were written");
        assert!(!done.is_null(), "the thread failed");
    }
}

/// A module whose function `down` runs `act` at a given depth. `act` may use the local `$n`, which
/// is zero, and returns an i64. `items` are the other parts of the module.
fn at_depth(items: &str, act: &str) -> String {
    format!(
        r#"(module {items}
          (func $down (export "down") (param $depth i32) (result i64)
            (if (result i64) (local.get $depth)
              (then (i64.add (i64.const 1) (call $down (i32.sub (local.get $depth) (i32.const 1)))))
              (else (call $act (i32.const 0)))))
          (func $act (param $n i32) (result i64) {act}))"#
    )
}

/// Calls `down` with depths at which much, little and no stack is left.
fn sweep(size: usize, strategy: Strategy, wat: String) {
    on_watched_stack(size, move || {
        let engine = Engine::default();
        let module = module(&engine, &wat, strategy);
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let many = FuncType::new(
            &Engine::default(),
            vec![ValType::I64; 1000],
            vec![ValType::I64; 1000],
        );
        let same = |_: precast_loader::Caller<'_, ()>, values: &[Val], results: &mut [Val]| {
            results.clone_from_slice(values);
            Ok::<(), Error>(())
        };
        let func = Func::new(&mut store, many, same);
        linker.define(&store, "h", "many", func).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let down = instance
            .get_typed_func::<i32, i64>(&mut store, "down")
            .unwrap();
        let (mut returned, mut trapped) = (0, 0);
        // A frame of `$down` has 16 bytes or a few more.
        let max = size as i32 / 16;
        for depth in (0..max).step_by(max as usize / 150) {
            match down.call(&mut store, depth) {
                Ok(_) => returned += 1,
                Err(error) => {
                    assert_eq!(error.trap().unwrap(), Trap::StackOverflow);
                    trapped += 1;
                }
            }
        }
        assert!(returned > 0 && trapped > 0, "{returned} {trapped}");
    });
}

/// Code that loads many vectors, calls a function, and then uses all of them. Its frame has 16
/// bytes for each vector.
fn many_vectors(count: usize) -> String {
    let mut act =
        String::from("(if (result i64) (i32.eqz (local.get $n)) (then (i64.const 0)) (else\n");
    // The first load has the largest offset, so it is the only one that needs a check.
    for i in (0..count).rev() {
        writeln!(act, "(v128.load offset={} (local.get $n))", i * 16).unwrap();
    }
    act += "(drop (call $act (i32.const 0)))\n";
    for _ in 1..count {
        act += "(v128.xor)\n";
    }
    act + "(i64x2.extract_lane 0)))"
}

fn large_frame(count: usize, size: usize) {
    for strategy in strategies() {
        let act = many_vectors(count);
        let items = format!(
            "(memory 40 40) (func $big (param $n i32) (result i64) {})",
            act.replace("$act", "$big")
        );
        sweep(
            size,
            strategy,
            at_depth(&items, "(call $big (i32.const 1))"),
        );
    }
}

#[test]
fn frames_up_to_the_largest_that_is_taken_unchecked_and_beyond() {
    for count in [500, 2_100, 4_000] {
        large_frame(count, 640 << 10);
    }
}

#[test]
fn a_frame_larger_than_reserve_and_guard() {
    large_frame(17_500, 1 << 20);
}

#[test]
fn many_parameters_in_calls_and_tail_calls() {
    let params = "(param i64) ".repeat(999);
    let args = "(i64.const 7) ".repeat(999);
    let items = format!(
        r"(func $wide (param $n i32) {params} (result i64)
            (i64.add (local.get 5) (call $narrow (local.get $n))))
          (func $tail (param $n i32) {params} (result i64) (return_call $narrow (local.get $n)))
          (func $narrow (param $n i32) (result i64)
            (if (result i64) (i32.gt_u (local.get $n) (i32.const 40)) (then (i64.const 1))
              (else (return_call $tail (i32.add (local.get $n) (i32.const 1)) {args}))))"
    );
    for strategy in strategies() {
        let act = format!("(call $wide (local.get $n) {args})");
        sweep(640 << 10, strategy, at_depth(&items, &act));
        let act = "(call $narrow (local.get $n))";
        sweep(640 << 10, strategy, at_depth(&items, act));
    }
}

#[test]
fn host_functions_with_a_thousand_values() {
    let types = "i64 ".repeat(1000);
    let items = format!(r#"(import "h" "many" (func $many (param {types}) (result {types})))"#);
    let act = format!(
        "{} (call $many) {}",
        "(i64.const 3) ".repeat(1000),
        "(drop) ".repeat(999)
    );
    for strategy in strategies() {
        sweep(640 << 10, strategy, at_depth(&items, &act));
    }
}

#[test]
fn routines_of_the_loader() {
    let items = r#"(import "h" "many" (func)) (memory 1 4) (table $t 1 100000 externref)
        (table $f 2 2 funcref) (elem (table $f) (i32.const 0) func $act) (data $d "abcd")"#
        .replace(r#"(import "h" "many" (func))"#, "");
    for act in [
        "(memory.fill (i32.const 0) (i32.const 0) (i32.const 9)) (i64.const 0)",
        "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 4)) (i64.const 0)",
        "(i64.extend_i32_s (memory.grow (i32.const 1)))",
        "(i64.extend_i32_s (table.grow $t (ref.null extern) (i32.const 50)))",
        "(i64.extend_i32_s (ref.is_null (ref.func $act)))",
        "(f64.nearest (f64.const 1.5)) (i64.trunc_f64_s)",
    ] {
        for strategy in strategies() {
            sweep(400 << 10, strategy, at_depth(&items, act));
        }
    }
}

#[test]
fn recursion_through_a_table() {
    let items = "(table funcref (elem $act $again)) (type $t (func (param i32) (result i64)))
        (func $again (param $n i32) (result i64)
          (i64.add (i64.const 1) (call_indirect (type $t) (local.get $n) (i32.const 1))))";
    for strategy in strategies() {
        let act = "(if (result i64) (local.get $n) (then (i64.const 0)) (else (i64.const 0)))";
        sweep(640 << 10, strategy, at_depth(items, act));
        on_watched_stack(640 << 10, move || {
            let engine = Engine::default();
            let wat = at_depth(items, "(call $again (local.get $n))");
            let module = module(&engine, &wat, strategy);
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine)
                .instantiate(&mut store, &module)
                .unwrap();
            let down = instance.get_typed_func::<i32, i64>(&mut store, "down");
            let error = down.unwrap().call(&mut store, 3).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::StackOverflow);
        });
    }
}
