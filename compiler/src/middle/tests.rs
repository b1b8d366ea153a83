//! Tests of which calls are inlined, and which functions are omitted.

use cranelift_entity::EntityRef;

use super::Middle;
use crate::parse::parse;
use crate::plan::Plan;
use crate::settings::{Inline, OptLevel, Passes};
use crate::symbol::DefinedFuncIndex;
use crate::workers::Workers;

/// For each defined function, the number of its calls that are inlined; and the omitted functions.
fn decide(source: &str, how: Inline, level: OptLevel) -> (Vec<usize>, Vec<usize>) {
    let wasm = wat::parse_str(source).unwrap();
    let module = parse(&wasm).unwrap();
    let plan = Plan::new(&module).unwrap();
    let passes = Passes {
        inline: how,
        ..Passes::default()
    };
    let inlining = Middle::new(&module, &plan, passes, level, None, Workers::new(Some(1))).unwrap();
    let calls = module.bodies.values().map(|body| {
        let mut reader = body.get_operators_reader().unwrap();
        let mut count = 0;
        while !reader.eof() {
            let (_, offset) = reader.read_with_offset().unwrap();
            count += usize::from(inlining.is_inlined(offset as u32));
        }
        count
    });
    let calls = calls.collect();
    let all = module.bodies.keys().map(EntityRef::index);
    let omitted = all.filter(|i| inlining.is_omitted(DefinedFuncIndex::new(*i)));
    (calls, omitted.collect())
}

fn by_cost(source: &str) -> (Vec<usize>, Vec<usize>) {
    decide(source, Inline::ByCost, OptLevel::Speed)
}

/// A function of about `size` operators that calls nothing.
fn leaf(name: &str, size: usize) -> String {
    let add = "local.get 0 i32.add\n".repeat(size / 2);
    format!("(func ${name} (param i32) (result i32) local.get 0\n{add})\n")
}

fn caller(name: &str, body: &str) -> String {
    format!("(func (export \"{name}\") (param i32) (result i32) {body})\n")
}

const CALL: &str = "(call $f (local.get 0))";
const TWICE: &str = "(call $f (call $f (local.get 0)))";

#[test]
fn small_functions_always_and_large_ones_only_once() {
    let module = |size, body| format!("(module {}{})", leaf("f", size), caller("g", body));
    assert_eq!(by_cost(&module(10, TWICE)), (vec![0, 2], vec![0]));
    assert_eq!(by_cost(&module(40, TWICE)), (vec![0, 0], vec![]));
    assert_eq!(by_cost(&module(100, CALL)), (vec![0, 1], vec![0]));
    assert_eq!(by_cost(&module(1000, CALL)), (vec![0, 0], vec![]));
    let size = |body| decide(&module(40, body), Inline::ByCost, OptLevel::Size);
    assert_eq!(size(CALL), (vec![0, 1], vec![0]));
    assert_eq!(size(TWICE), (vec![0, 0], vec![]));
}

/// Translating such bodies for each of their calls would take time quadratic in the size of the
/// module.
#[test]
fn bodies_that_cost_only_the_compiler_are_not_small() {
    let module =
        |body: &str| format!("(module (func $f {body}) (func (export \"g\") (call $f) (call $f)))");
    let blocks = |count| module(&"(block)".repeat(count));
    assert_eq!(by_cost(&blocks(20)), (vec![0, 2], vec![0]));
    assert_eq!(by_cost(&blocks(100)), (vec![0, 0], vec![]));
    let table = |count| module(&format!("(br_table {}(i32.const 0))", "0 ".repeat(count)));
    assert_eq!(by_cost(&table(50)), (vec![0, 2], vec![0]));
    assert_eq!(by_cost(&table(500)), (vec![0, 0], vec![]));
    let locals = |count| module(&format!("(local {})", "v128 ".repeat(count)));
    assert_eq!(by_cost(&locals(30)), (vec![0, 2], vec![0]));
    assert_eq!(by_cost(&locals(100)), (vec![0, 0], vec![]));
    let dead = module(&format!("(return) {}", "(nop)".repeat(1000)));
    assert_eq!(by_cost(&dead), (vec![0, 0], vec![]));
}

#[test]
fn leaves_in_loops_and_with_constants() {
    let module = |size, body| {
        let twice = caller("h", TWICE);
        format!("(module {}{twice}{})", leaf("f", size), caller("g", body))
    };
    let in_loop = format!("(loop (result i32) {CALL})");
    let after_loop = format!("(loop) {CALL}");
    let constant = "(call $f (i32.const 7))";
    assert_eq!(by_cost(&module(40, &in_loop)), (vec![0, 0, 1], vec![]));
    assert_eq!(by_cost(&module(40, &after_loop)), (vec![0, 0, 0], vec![]));
    assert_eq!(by_cost(&module(40, constant)), (vec![0, 0, 1], vec![]));
    assert_eq!(by_cost(&module(100, &in_loop)), (vec![0, 0, 0], vec![]));
}

#[test]
fn leaves_in_recursive_functions() {
    let module = |size, body: &str| {
        let twice = caller("h", TWICE);
        let recursive = format!("(func $r (param i32) (result i32) {body})");
        format!(
            "(module {}{twice}{recursive} (export \"r\" (func $r)))",
            leaf("f", size)
        )
    };
    let recursive = "(call $f (call $r (local.get 0)))";
    assert_eq!(by_cost(&module(40, recursive)), (vec![0, 0, 1], vec![]));
    assert_eq!(by_cost(&module(100, recursive)), (vec![0, 0, 1], vec![]));
    assert_eq!(by_cost(&module(140, recursive)), (vec![0, 0, 0], vec![]));
    assert_eq!(by_cost(&module(40, CALL)), (vec![0, 0, 0], vec![]));
}

#[test]
fn functions_that_something_else_reaches_are_kept() {
    for reason in [
        "(export \"f\" (func $f))",
        "(start $s) (func $s (drop (return_call_of_f)))",
        "(table funcref (elem $f))",
        "(elem func $f) (table 1 funcref) (func (export \"i\") (table.init 0 (i32.const 0) (i32.const 0) (i32.const 1)))",
        "(global funcref (ref.func $f))",
        "(func (export \"t\") (param i32) (result i32) (return_call $f (local.get 0)))",
    ] {
        let reason = reason.replace(
            "(drop (return_call_of_f))",
            "(drop (call $f (i32.const 0)))",
        );
        let source = format!("(module {}{}{reason})", leaf("f", 4), caller("g", CALL));
        let (calls, omitted) = by_cost(&source);
        assert_eq!(calls[1], 1, "{source}");
        assert_eq!(omitted.contains(&0), reason.contains("start"), "{source}");
    }
}

#[test]
fn what_only_omitted_functions_call_is_omitted() {
    let source = "(module
        (func $a (call $b) (call $b)) (func $b (call $c)) (func $c) (func $d (call $d))
        (func (export \"e\") (call $f)) (func $f (call $c)))";
    let (calls, omitted) = by_cost(source);
    assert_eq!(calls, [2, 1, 0, 0, 1, 1]);
    assert_eq!(omitted, [0, 1, 2, 3, 5]);
}

#[test]
fn what_cannot_be_inlined_is_not() {
    for (body, expected) in [
        ("(return_call $c)", [0, 0, 1]),
        ("(return_call_indirect (i32.const 0))", [0, 0, 1]),
        ("(block (try_table (catch_all 0)))", [0, 0, 1]),
        // Recursive functions are inlined into others, but not into themselves.
        ("(local i64 i64) (call $f)", [0, 1, 2]),
        ("(call $h)", [0, 0, 2]),
    ] {
        let source = format!(
            "(module (table 1 funcref) (func $c) (func $f {body}) (func $h (call $f))
             (func (export \"g\") (call $f) (call $h)))"
        );
        let (calls, _) = decide(&source, Inline::Always, OptLevel::None);
        assert_eq!(calls[1..], expected, "{source}");
    }
    let locals = format!("(local {})", "i32 ".repeat(129));
    let source = format!("(module (func $f {locals}) (func (export \"g\") (call $f)))");
    assert_eq!(decide(&source, Inline::Always, OptLevel::None).0, [0, 0]);
}

#[test]
fn depth_and_growth_are_bounded() {
    let chain = |count: usize, calls: &str| {
        let function = |i: usize| {
            format!(
                "(func $f{i} {})\n",
                calls.replace('N', &(i + 1).to_string())
            )
        };
        let functions: String = (0..count).map(function).collect();
        format!("(module {functions} (func $f{count} nop) (export \"f\" (func $f0)))")
    };
    let (calls, _) = decide(&chain(40, "(call $fN)"), Inline::Always, OptLevel::Speed);
    // One call in sixteen remains.
    let real: Vec<_> = (0..40).filter(|i| calls[*i] == 0).collect();
    assert_eq!(real, [8, 24]);
    let (calls, _) = decide(
        &chain(40, "(call $fN) (call $fN) (call $fN) (call $fN)"),
        Inline::Always,
        OptLevel::Speed,
    );
    assert!(calls.iter().any(|count| *count < 4));
}

#[test]
fn nothing_happens_unless_it_is_asked_for() {
    let source = format!("(module {}{})", leaf("f", 4), caller("g", CALL));
    for (how, level) in [
        (Inline::Never, OptLevel::Speed),
        (Inline::ByCost, OptLevel::None),
    ] {
        assert_eq!(decide(&source, how, level), (vec![0, 0], vec![]));
    }
}
