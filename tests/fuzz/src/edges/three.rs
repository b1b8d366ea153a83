//! What bodies do with exceptions in both encodings, references to functions of one type, and
//! atomic operators.
//!
//! Each function type of the world is a type `$sig{i}` in every module. A body has a local for each
//! of them, which starts at null, and one for an exception. A module has a table of the type
//! `$sig0`, whose initial value is a function if there is one.

use std::fmt::Write;

use super::body::Body;
use super::world::{Ty, World};
use crate::Case;

/// The types of functions.
pub(super) fn types(world: &World) -> String {
    let mut text = String::new();
    if world.three {
        for (i, function) in world.functions.iter().enumerate() {
            writeln!(text, "  (type $sig{i} (func {}))", function.ty()).expect("strings");
        }
    }
    text
}

/// The table and the global of references of one type, which every module has.
pub(super) fn declarations(case: &mut Case, world: &World, module: usize) -> String {
    if !world.three {
        return String::new();
    }
    let init = match of_type(world, module, 0)[..] {
        [] => "(ref.null $sig0)".to_owned(),
        _ if case.once_in(4) => "(ref.null $sig0)".to_owned(),
        ref some => format!("(ref.func $fn{})", case.one_of(some)),
    };
    format!(
        "  (table $typed 4 9 (ref null $sig0) {init})\n  \
         (global $ref (mut (ref null $sig0)) {init})\n"
    )
}

/// The functions of the type `$sig{i}` that a module sees.
fn of_type(world: &World, module: usize, i: usize) -> Vec<usize> {
    let all = world.functions.iter().enumerate();
    let like = &world.functions[i];
    all.filter(|(_, f)| f.owner <= module && f.params == like.params && f.results == like.results)
        .map(|(i, _)| i)
        .collect()
}

/// A label or name that no other construct of the module has.
fn unique(case: &mut Case) -> u64 {
    case.rng.u64(..1 << 40)
}

impl Body<'_> {
    pub(super) fn locals_of_three(&self) -> String {
        let mut text = String::new();
        if self.world.three {
            text += "    (local $exn exnref)\n";
            for i in 0..self.world.functions.len() {
                writeln!(text, "    (local $r{i} (ref null $sig{i}))").expect("strings");
            }
        }
        text
    }

    pub(super) fn statement_of_three(&self, case: &mut Case, depth: u32) -> String {
        match case.rng.u32(..10) {
            0..=2 if depth > 0 => self.try_table(case, depth - 1),
            3 | 4 if depth > 0 && self.world.legacy => self.legacy(case, depth - 1),
            5 => self.throw(case),
            6 => self.set_reference(case),
            7 => self.store_atomic(case),
            _ => self.call_reference(case),
        }
    }

    /// The tags that this module sees.
    fn tags(&self) -> Vec<usize> {
        let all = self.world.tags.iter().enumerate();
        all.filter(|(_, tag)| World::sees(self.module, tag.owner, tag.exported))
            .map(|(i, _)| i)
            .collect()
    }

    fn throw(&self, case: &mut Case) -> String {
        let condition = self.expression(case, Ty::I32, 1);
        let tags = self.tags();
        if tags.is_empty() || case.once_in(4) {
            return format!(
                "    (if {condition} (then (if (i32.eqz (ref.is_null (local.get $exn))) \
                 (then (throw_ref (local.get $exn))))))\n"
            );
        }
        let tag = *case.one_of(&tags);
        let mut values = String::new();
        for ty in &self.world.tags[tag].params {
            values.push(' ');
            values += &self.expression(case, *ty, 1);
        }
        format!("    (if {condition} (then (throw $tag{tag}{values})))\n")
    }

    /// A `try_table` with one to three clauses. Each leads to the end of a block of its own, where
    /// the values go to locals.
    fn try_table(&self, case: &mut Case, depth: u32) -> String {
        let tags = self.tags();
        let id = unique(case);
        let (mut opens, mut clauses, mut closes) = (String::new(), String::new(), String::new());
        for i in 0..case.rng.usize(1..4) {
            let tag = (!tags.is_empty() && !case.once_in(4)).then(|| *case.one_of(&tags));
            let with_ref = case.once_in(2);
            let params: &[Ty] = tag.map_or(&[], |tag| &self.world.tags[tag].params);
            let kind = match (tag, with_ref) {
                (Some(tag), false) => format!("catch $tag{tag}"),
                (Some(tag), true) => format!("catch_ref $tag{tag}"),
                (None, false) => "catch_all".to_owned(),
                (None, true) => "catch_all_ref".to_owned(),
            };
            let mut results = params.iter().fold(String::new(), |s, t| s + " " + t.name());
            if with_ref {
                results += " exnref";
            }
            // The blocks are from the outermost to the innermost, so the last is closed first.
            opens += &format!("    (block $c{i}.{id} (result{results})\n");
            clauses += &format!(" ({kind} $c{i}.{id})");
            let mut close = "    )\n".to_owned();
            if with_ref {
                close += "    (local.set $exn)\n";
            }
            close += &self.to_locals(case, params);
            if case.once_in(3) {
                close += &self.statement(case, depth);
            }
            close += &format!("    (br $end.{id})\n");
            closes = close + &closes;
        }
        let mut body = String::new();
        for _ in 0..case.rng.usize(1..4) {
            body += &self.statement(case, depth);
        }
        format!(
            "    (block $end.{id}\n{opens}    (try_table{clauses}\n{body}    )\n    \
             (br $end.{id})\n{closes}    )\n"
        )
    }

    /// A `try` of the former encoding.
    fn legacy(&self, case: &mut Case, depth: u32) -> String {
        let tags = self.tags();
        let id = unique(case);
        let mut body = String::new();
        for _ in 0..case.rng.usize(1..4) {
            body += &self.statement(case, depth);
        }
        if case.once_in(4) {
            // The exception goes to the outer `try`, or past it.
            let outer = unique(case);
            let to = match case.once_in(2) {
                true => "1".to_owned(),
                false => format!("$outer.{outer}"),
            };
            let caught = case.rng.u32(..100);
            return format!(
                "    try $outer.{outer}\n    try $l.{id}\n{body}    delegate {to}\n    \
                 catch_all (local.set $i320 (i32.const {caught})) end\n"
            );
        }
        let mut text = format!("    try $l.{id}\n{body}");
        for _ in 0..case.rng.usize(..3) {
            if tags.is_empty() {
                break;
            }
            let tag = *case.one_of(&tags);
            text += &format!("    catch $tag{tag}\n");
            text += &self.to_locals(case, &self.world.tags[tag].params);
            text += &self.rethrow(case, id);
        }
        if case.once_in(2) {
            text += "    catch_all\n";
            text += &self.statement(case, depth);
            text += &self.rethrow(case, id);
        }
        text + "    end\n"
    }

    fn rethrow(&self, case: &mut Case, id: u64) -> String {
        match case.once_in(3) {
            true => {
                let condition = self.leaf(case, Ty::I32);
                format!("    (if {condition} (then (rethrow $l.{id})))\n")
            }
            false => String::new(),
        }
    }

    /// A reference of the type `$sig{i}`, which may be null.
    fn typed_reference(&self, case: &mut Case, i: usize) -> String {
        let functions = of_type(self.world, self.module, i);
        match case.rng.u32(..6) {
            0 if i == 0 => "(global.get $ref)".to_owned(),
            1 if i == 0 => format!("(table.get $typed (i32.const {}))", case.rng.u32(..5)),
            2 => format!("(local.get $r{i})"),
            3 => format!("(ref.null $sig{i})"),
            _ if functions.is_empty() => format!("(local.get $r{i})"),
            _ => format!("(ref.func $fn{})", case.one_of(&functions)),
        }
    }

    fn set_reference(&self, case: &mut Case) -> String {
        let i = case.rng.usize(..self.world.functions.len());
        match case.rng.u32(..4) {
            0 => {
                let value = self.typed_reference(case, 0);
                format!("    (global.set $ref {value})\n")
            }
            1 => {
                let (at, value) = (case.rng.u32(..5), self.typed_reference(case, 0));
                format!("    (table.set $typed (i32.const {at}) {value})\n")
            }
            2 => {
                let value = self.typed_reference(case, 0);
                let local = case.rng.usize(..super::body::LOCALS);
                format!(
                    "    (local.set $i32{local} (table.grow $typed {value} (i32.const {})))\n",
                    case.rng.u32(..4)
                )
            }
            _ => {
                let value = self.typed_reference(case, i);
                format!("    (local.set $r{i} {value})\n")
            }
        }
    }

    /// A call through a reference, with one of several ways to treat null.
    fn call_reference(&self, case: &mut Case) -> String {
        let i = case.rng.usize(..self.world.functions.len());
        let id = unique(case);
        let args = self.arguments(case, i, 1);
        let value = self.typed_reference(case, i);
        let results = self.to_locals(case, &self.world.functions[i].results);
        match case.rng.u32(..5) {
            0 => format!("    (call_ref $sig{i}{args} (ref.as_non_null {value}))\n{results}"),
            1 => format!(
                "    (block $null.{id}\n    (call_ref $sig{i}{args} (br_on_null $null.{id} \
                 {value}))\n{results}    )\n"
            ),
            2 => format!(
                "    (block $done.{id}\n    (block $some.{id} (result (ref $sig{i}))\n    \
                 (br_on_non_null $some.{id} {value})\n    (br $done.{id}))\n    \
                 (local.set $r{i})\n    (call_ref $sig{i}{args} (local.get $r{i}))\n{results}    )\n"
            ),
            3 => {
                let args = self.arguments(case, 0, 1);
                let at = case.rng.u32(..5);
                let results = self.to_locals(case, &self.world.functions[0].results);
                format!("    (call_indirect $typed (type $sig0){args} (i32.const {at}))\n{results}")
            }
            _ => format!("    (call_ref $sig{i}{args} {value})\n{results}"),
        }
    }

    /// The memory, the address and the offset of an atomic access of this width, which is mostly
    /// aligned.
    fn atomic_place(&self, case: &mut Case, width: u64) -> Option<String> {
        let memory = self.memory(case)?;
        let name = self.world.memories[memory].index().name();
        let (address, _) = self.address(case, memory);
        let mask = match case.once_in(8) {
            true => "-1".to_owned(),
            false => format!("-{width}"),
        };
        let offset = case.rng.u64(..4) * width;
        Some(format!(
            "$mem{memory} offset={offset} ({name}.and {address} ({name}.const {mask}))"
        ))
    }

    fn store_atomic(&self, case: &mut Case) -> String {
        const STORES: [(&str, Ty, u64); 5] = [
            ("i32.atomic.store", Ty::I32, 4),
            ("i32.atomic.store8", Ty::I32, 1),
            ("i64.atomic.store", Ty::I64, 8),
            ("i64.atomic.store16", Ty::I64, 2),
            ("i64.atomic.store32", Ty::I64, 4),
        ];
        let (store, ty, width) = *case.one_of(&STORES);
        let Some(place) = self.atomic_place(case, width) else {
            return "    (atomic.fence)\n".to_owned();
        };
        let value = self.expression(case, ty, 1);
        format!("    ({store} {place} {value})\n")
    }

    /// An atomic operator whose result is of this type.
    pub(super) fn atomic(&self, case: &mut Case, ty: Ty, depth: u32) -> Option<String> {
        const WIDTHS: [(&str, Ty, u64); 7] = [
            ("", Ty::I32, 4),
            ("8", Ty::I32, 1),
            ("16", Ty::I32, 2),
            ("", Ty::I64, 8),
            ("8", Ty::I64, 1),
            ("16", Ty::I64, 2),
            ("32", Ty::I64, 4),
        ];
        let fit: Vec<_> = WIDTHS.iter().filter(|(_, of, _)| *of == ty).collect();
        if fit.is_empty() {
            return None;
        }
        let (bits, _, width) = **case.one_of(&fit);
        let (name, suffix) = (ty.name(), if bits.is_empty() { "" } else { "_u" });
        let place = self.atomic_place(case, width)?;
        let value = self.expression(case, ty, depth - 1);
        Some(match case.rng.u32(..8) {
            0 => format!("({name}.atomic.load{bits}{suffix} {place})"),
            1 => {
                let new = self.leaf(case, ty);
                format!("({name}.atomic.rmw{bits}.cmpxchg{suffix} {place} {value} {new})")
            }
            2 if ty == Ty::I32 && bits.is_empty() => {
                format!("(memory.atomic.notify {place} {value})")
            }
            // No other thread notifies, so the timeout is 0.
            3 if ty == Ty::I32 && bits.is_empty() => {
                format!("(memory.atomic.wait32 {place} {value} (i64.const 0))")
            }
            _ => {
                let op = *case.one_of(&["add", "sub", "and", "or", "xor", "xchg"]);
                format!("({name}.atomic.rmw{bits}.{op}{suffix} {place} {value})")
            }
        })
    }
}
