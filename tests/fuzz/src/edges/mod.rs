//! Modules for what general generators miss.
//!
//! | module | what |
//! |---|---|
//! | `world` | memories, tables, globals and functions of modules that import from each other |
//! | `body` | function bodies that use them near their limits, also while others grow them |
//! | `frames` | many parameters and results, large frames, tail calls between them |
//! | `three` | what bodies do with exceptions in both encodings, typed references and atomic operators |
//! | `small` | small functions that call each other in loops, for inlining and other passes of the compiler; exceptions |

mod body;
mod frames;
mod small;
mod three;
mod world;

use std::fmt::Write;

use crate::Case;
use crate::differential::scenario::{Call, Features, Scenario};
use crate::differential::value::Value;
use body::Body;
use world::{World, constant};

/// The modules of one of the generators.
pub fn scenario(case: &mut Case) -> Option<Scenario> {
    let needs = match case.rng.u32(..12) {
        0 => Features::Three,
        1 => Features::All,
        _ => Features::Two,
    };
    let texts = match case.rng.u32(..12) {
        0..=5 if needs == Features::Three => small::modules(case, true),
        _ if needs > Features::Two => {
            let world = World::of_three(case, needs == Features::All);
            modules(case, &world)
        }
        0 => frames::modules(case),
        1..=5 => small::modules(case, false),
        _ => {
            let world = World::random(case);
            modules(case, &world)
        }
    };
    let parse = |text: &String| {
        wat::parse_str(text).unwrap_or_else(|error| panic!("what was generated: {error}\n{text}"))
    };
    let refill = Call {
        module: 0,
        export: "refill".to_owned(),
        args: vec![Value::I32(*case.one_of(&[5, 30, 100]))],
    };
    Some(Scenario {
        modules: texts.iter().map(parse).collect(),
        calls: Vec::new(),
        random_calls: 8,
        before_each: Some(refill),
        needs,
    })
}

/// Modules that import from the modules before them.
fn modules(case: &mut Case, world: &World) -> Vec<String> {
    (0..world.modules).map(|m| module(case, world, m)).collect()
}

fn module(case: &mut Case, world: &World, module: usize) -> String {
    let mut text = "(module\n".to_owned();
    text += steps(module);
    text += &three::types(world);
    text += &world.declarations(case, module);
    text += &three::declarations(case, world, module);
    text += &segments(case, world, module);
    if module == 0 {
        text += REFILL;
    }
    for (i, function) in world.functions.iter().enumerate() {
        if function.owner == module {
            text += &Body::new(world, module, i).write(case);
        }
    }
    text + ")\n"
}

/// The text of the counter that all modules share. It is the first import.
pub(crate) fn steps(module: usize) -> &'static str {
    match module {
        0 => "  (global $steps (export \"steps\") (mut i32) (i32.const 20))\n",
        _ => "  (import \"m0\" \"steps\" (global $steps (mut i32)))\n",
    }
}

/// The text of the function that refills the counter.
pub(crate) const REFILL: &str =
    "  (func (export \"refill\") (param i32) (global.set $steps (local.get 0)))\n";

/// The data and element segments for a module's own items, which are usually in bounds, and the
/// segments that declare functions for `ref.func`.
fn segments(case: &mut Case, world: &World, module: usize) -> String {
    let mut text = String::new();
    let mut put = |line: String| writeln!(text, "  {line}").expect("strings take everything");
    for (i, memory) in world.memories.iter().enumerate() {
        if memory.owner == module && memory.min > 0 {
            for _ in 0..case.rng.usize(..3) {
                let at = case.rng.u64(..memory.min << 16).saturating_sub(16);
                let name = memory.index().name();
                let byte = case.rng.u8(b'a'..=b'z') as char;
                let bytes = String::from(byte).repeat(case.rng.usize(..16));
                put(format!(
                    "(data (memory $mem{i}) ({name}.const {at}) \"{bytes}\")"
                ));
            }
        }
    }
    let visible = |f: &(usize, &world::Function)| f.1.owner <= module;
    let functions: Vec<_> = world
        .functions
        .iter()
        .enumerate()
        .filter(visible)
        .map(|f| f.0)
        .collect();
    for (i, table) in world.tables.iter().enumerate() {
        if table.owner == module && table.of_functions && !functions.is_empty() && table.min > 0 {
            let len = case.rng.u64(..=table.min);
            let at = case.rng.u64(..=table.min - len);
            let name = table.index().name();
            let mut items = String::new();
            for _ in 0..len {
                match case.once_in(5) {
                    true => items += " (ref.null func)",
                    false => items += &format!(" (ref.func $fn{})", case.one_of(&functions)),
                }
            }
            put(format!(
                "(elem (table $tab{i}) ({name}.const {at}) funcref{items})"
            ));
        }
    }
    if !functions.is_empty() {
        let all: String = functions.iter().map(|f| format!(" $fn{f}")).collect();
        put(format!("(elem declare func{all})"));
    }
    text
}
