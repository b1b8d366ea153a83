//! Calls with many parameters and results, functions whose locals need a large frame, and tail
//! calls that need more stack for arguments than their caller has received.

use std::fmt::Write;

use super::constant;
use super::world::{Function, Ty};
use crate::Case;

/// One module, whose functions mix their parameters and pass them on.
pub fn modules(case: &mut Case) -> Vec<String> {
    let max = *case.one_of(&[4, 12, 20, 21, 22, 40, 40, 300, 1000]);
    let functions: Vec<_> = (0..case.rng.usize(2..5))
        .map(|_| function(case, max))
        .collect();
    let mut text =
        "(module\n  (global $steps (export \"steps\") (mut i32) (i32.const 20))\n".to_owned();
    text += super::REFILL;
    let all: String = (0..functions.len()).map(|i| format!(" $fn{i}")).collect();
    writeln!(text, "  (table $tab funcref (elem{all}))").expect("strings take everything");
    for i in 0..functions.len() {
        text += &write_function(case, &functions, i);
    }
    vec![text + ")\n"]
}

fn function(case: &mut Case, max: usize) -> Function {
    let few = case.rng.usize(..max.min(30));
    let params = match case.once_in(2) {
        true => case.rng.usize(..=max),
        false => few,
    };
    let results = match case.once_in(4) {
        true => case.rng.usize(..=max),
        false => case.rng.usize(..4),
    };
    let mut list = |len| (0..len).map(|_| *case.one_of(&Ty::ALL)).collect();
    Function {
        owner: 0,
        params: list(params),
        results: list(results),
    }
}

fn write_function(case: &mut Case, functions: &[Function], i: usize) -> String {
    let function = &functions[i];
    let mut text = format!("  (func $fn{i} (export \"fn{i}\") {}\n", function.ty());
    // All these locals are live across the call, so that the frame has up to 64 KiB.
    let alive = match case.rng.u32(..6) {
        0 => *case.one_of(&[300, 1000, 4000]),
        _ => case.rng.usize(..40),
    };
    let params = function.params.len();
    if alive > 0 {
        writeln!(text, "    (local{})", " v128".repeat(alive)).expect("strings");
    }
    let (acc, mixed) = (params + alive, params + alive + 1);
    text += "    (local v128 i64)\n";
    text += "    (if (i32.eqz (global.get $steps)) (then";
    for ty in &function.results {
        text += &format!(" {}", constant(case, *ty));
    }
    text += " return))\n    (global.set $steps (i32.sub (global.get $steps) (i32.const 1)))\n";
    for (p, ty) in function.params.iter().enumerate() {
        let value = match ty {
            Ty::I32 => format!("(i64.extend_i32_s (local.get {p}))"),
            Ty::I64 => format!("(local.get {p})"),
            Ty::V128 => format!("(i64x2.extract_lane 1 (local.get {p}))"),
        };
        let rotated = format!("(i64.rotl (local.get {mixed}) (i64.const 7))");
        text += &format!("    (local.set {mixed} (i64.add {value} {rotated}))\n");
    }
    for local in 0..alive {
        let value = format!("(i64.add (local.get {mixed}) (i64.const {local}))");
        text += &format!("    (local.set {} (i64x2.splat {value}))\n", params + local);
    }
    text += &call(case, functions, i, mixed);
    for local in 0..alive {
        let both = format!("(local.get {acc}) (local.get {})", params + local);
        text += &format!("    (local.set {acc} (i64x2.add {both}))\n");
    }
    text += &format!(
        "    (local.set {mixed} (i64.xor (local.get {mixed}) (i64x2.extract_lane 0 (local.get {acc}))))\n"
    );
    text += &ending(case, functions, i, mixed);
    text + "  )\n"
}

/// A value that depends on everything computed so far.
fn value(ty: Ty, mixed: usize, salt: usize) -> String {
    let number = format!("(i64.add (local.get {mixed}) (i64.const {salt}))");
    match ty {
        Ty::I32 => format!("(i32.wrap_i64 {number})"),
        Ty::I64 => number,
        Ty::V128 => format!("(i64x2.splat {number})"),
    }
}

fn arguments(callee: &Function, mixed: usize) -> String {
    let params = callee.params.iter().enumerate();
    params.fold(String::new(), |s, (i, ty)| s + " " + &value(*ty, mixed, i))
}

/// A call whose results are mixed into the value. They are popped from the stack, the last first.
fn call(case: &mut Case, functions: &[Function], i: usize, mixed: usize) -> String {
    if case.once_in(3) {
        return String::new();
    }
    let callee = match case.once_in(4) {
        true => i,
        false => case.rng.usize(..functions.len()),
    };
    let (args, ty) = (arguments(&functions[callee], mixed), functions[callee].ty());
    let mut text = match case.once_in(2) {
        true => format!("    (call $fn{callee}{args})\n"),
        false => {
            let index = case.rng.usize(..=functions.len());
            let index = if case.once_in(4) { index } else { callee };
            format!("    (call_indirect $tab {ty}{args} (i32.const {index}))\n")
        }
    };
    for ty in functions[callee].results.iter().rev() {
        let to_number = match ty {
            Ty::I32 => "i64.extend_i32_u",
            Ty::I64 => "i64.clz",
            Ty::V128 => "i64x2.extract_lane 0",
        };
        text += &format!("    {to_number} (local.get {mixed}) i64.add (local.set {mixed})\n");
    }
    text
}

/// The results, or a tail call of a function with the same results.
fn ending(case: &mut Case, functions: &[Function], i: usize, mixed: usize) -> String {
    let results = &functions[i].results;
    let same = functions
        .iter()
        .enumerate()
        .filter(|(_, f)| f.results == *results);
    let callees: Vec<_> = same.map(|(j, _)| j).collect();
    let callee = *case.one_of(&callees);
    let (args, ty) = (arguments(&functions[callee], mixed), functions[callee].ty());
    match case.rng.u32(..4) {
        0 => format!("    (return_call $fn{callee}{args})\n"),
        1 => format!("    (return_call_indirect $tab {ty}{args} (i32.const {callee}))\n"),
        _ => {
            let values = results.iter().enumerate();
            values.fold(String::new(), |s, (n, ty)| {
                s + "    " + &value(*ty, mixed, n) + "\n"
            })
        }
    }
}
