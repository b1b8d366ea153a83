//! Function bodies: random statements that use the items of a world.
//!
//! Every function counts down `$steps` and returns zeros when no steps are left, so that all calls
//! end. Addresses are near the limits where behaviour changes: the end of a memory, 2³², and the
//! static offset from which on guarded memories are checked.

use std::fmt::Write;

use super::world::{Ty, World, constant};
use crate::Case;

/// How many locals of each type every function has besides its parameters. It also has a loop
/// counter for each depth.
pub(super) const LOCALS: usize = 3;
const DEPTH: u32 = 3;

/// Writes one function.
pub struct Body<'w> {
    pub(super) world: &'w World,
    pub(super) module: usize,
    pub(super) function: usize,
}

impl<'w> Body<'w> {
    pub fn new(world: &'w World, module: usize, function: usize) -> Self {
        Self {
            world,
            module,
            function,
        }
    }

    /// Returns the text of the function, which is exported as `fn{i}`.
    pub fn write(&self, case: &mut Case) -> String {
        let function = &self.world.functions[self.function];
        let i = self.function;
        let mut text = format!("  (func $fn{i} (export \"fn{i}\")");
        for (p, ty) in function.params.iter().enumerate() {
            write!(text, " (param $p{p} {})", ty.name()).expect("strings take everything");
        }
        for ty in &function.results {
            write!(text, " (result {})", ty.name()).expect("strings take everything");
        }
        text.push('\n');
        for ty in Ty::ALL {
            for local in 0..LOCALS {
                let name = ty.name();
                writeln!(text, "    (local ${name}{local} {name})").expect("strings");
            }
        }
        for depth in 0..DEPTH {
            writeln!(text, "    (local $n{depth} i32)").expect("strings take everything");
        }
        text += &self.locals_of_three();
        text += "    (if (i32.eqz (global.get $steps)) (then";
        for ty in &function.results {
            text += zero(*ty);
        }
        text += " return))\n    (global.set $steps (i32.sub (global.get $steps) (i32.const 1)))\n";
        for _ in 0..case.rng.usize(1..8) {
            text += &self.statement(case, DEPTH);
        }
        text += &self.ending(case);
        text + "  )\n"
    }

    /// The results, or a tail call that returns them.
    fn ending(&self, case: &mut Case) -> String {
        let function = &self.world.functions[self.function];
        if case.once_in(3) {
            let fits = |g: &usize| self.world.functions[*g].results == function.results;
            let callees: Vec<_> = self.callees().filter(fits).collect();
            if !callees.is_empty() {
                let callee = *case.one_of(&callees);
                let args = self.arguments(case, callee, 1);
                return format!("    (return_call $fn{callee}{args})\n");
            }
        }
        let mut text = String::new();
        for ty in &function.results {
            text += &format!("    {}\n", self.expression(case, *ty, 2));
        }
        text
    }

    /// The functions that this function may call directly.
    pub(super) fn callees(&self) -> impl Iterator<Item = usize> {
        let later = self.world.functions.iter().enumerate();
        let here = self.module;
        let from = self.function;
        later
            .filter(move |(i, f)| f.owner < here || (f.owner == here && *i > from))
            .map(|(i, _)| i)
    }

    pub(super) fn arguments(&self, case: &mut Case, callee: usize, depth: u32) -> String {
        let mut text = String::new();
        for ty in &self.world.functions[callee].params {
            text.push(' ');
            text += &self.expression(case, *ty, depth);
        }
        text
    }

    pub(super) fn statement(&self, case: &mut Case, depth: u32) -> String {
        if self.world.three && case.once_in(3) {
            return self.statement_of_three(case, depth);
        }
        match case.rng.u32(..14) {
            0..=2 => self.store(case),
            3 => self.grow_memory(case),
            4 => self.bulk(case),
            5 | 6 => self.change_table(case),
            7 => self.call_for_effect(case),
            8 => self.set_global(case),
            9 | 10 if depth > 0 => {
                let n = depth - 1;
                let times = case.rng.u32(1..6);
                let mut text =
                    format!("    (local.set $n{n} (i32.const {times}))\n    (loop $l{n}\n");
                for _ in 0..case.rng.usize(1..4) {
                    text += &self.statement(case, n);
                }
                text += &format!(
                    "    (br_if $l{n} (local.tee $n{n} (i32.sub (local.get $n{n}) (i32.const 1)))))\n"
                );
                text
            }
            11 if depth > 0 => {
                let condition = self.expression(case, Ty::I32, 1);
                let then = self.statement(case, depth - 1);
                let other = self.statement(case, depth - 1);
                format!("    (if {condition} (then\n{then}) (else\n{other}))\n")
            }
            _ => {
                let ty = *case.one_of(&Ty::ALL);
                let local = case.rng.usize(..LOCALS);
                let value = self.expression(case, ty, 3);
                format!("    (local.set ${}{local} {value})\n", ty.name())
            }
        }
    }

    /// A memory that this module can use.
    pub(super) fn memory(&self, case: &mut Case) -> Option<usize> {
        let memories = self.world.memories.iter().enumerate();
        let seen =
            |m: &(usize, &super::world::Memory)| World::sees(self.module, m.1.owner, m.1.exported);
        let seen: Vec<_> = memories.filter(seen).map(|(i, _)| i).collect();
        (!seen.is_empty()).then(|| *case.one_of(&seen))
    }

    /// A table of this kind that this module can use.
    fn table(&self, case: &mut Case, changes: bool) -> Option<usize> {
        let tables = self.world.tables.iter().enumerate();
        let seen = |t: &(usize, &super::world::Table)| {
            World::sees(self.module, t.1.owner, t.1.exported) && (t.1.changes || !changes)
        };
        let seen: Vec<_> = tables.filter(seen).map(|(i, _)| i).collect();
        (!seen.is_empty()).then(|| *case.one_of(&seen))
    }

    fn number(ty: Ty, n: u64) -> String {
        match ty {
            Ty::I64 => format!("(i64.const {})", n as i64),
            Ty::I32 | Ty::V128 => format!("(i32.const {})", n as u32 as i32),
        }
    }

    /// The address of an access, and its static offset.
    pub(super) fn address(&self, case: &mut Case, memory: usize) -> (String, String) {
        let m = &self.world.memories[memory];
        let (ty, name) = (m.index(), m.index().name());
        let near = |case: &mut Case, n: u64| n.wrapping_add_signed(case.rng.i64(-20..6));
        let end = m.min << 16;
        let address = match case.rng.u32(..12) {
            0..=3 => Self::number(ty, case.rng.u64(..end.max(64))),
            4 => {
                let bytes = format!("({name}.shl (memory.size $mem{memory}) ({name}.const 16))");
                let before = case.rng.u32(..24);
                format!("({name}.sub {bytes} ({name}.const {before}))")
            }
            5 => Self::number(ty, near(case, end)),
            6 => {
                let value = self.expression(case, ty, 1);
                format!("({name}.and {value} ({name}.const 0xffff))")
            }
            7 => {
                let page = Self::number(ty, case.rng.u64(..40));
                let at = case.rng.u32(..65536);
                format!("({name}.or ({name}.shl {page} ({name}.const 16)) ({name}.const {at}))")
            }
            8 => {
                let edges = [
                    1 << 32,
                    u64::MAX,
                    (1 << 32) - (32 << 20),
                    1 << 31,
                    1 << 47,
                    1 << 20,
                ];
                let edge = *case.one_of(&edges);
                Self::number(ty, near(case, edge))
            }
            _ => {
                let local = case.rng.usize(..LOCALS);
                format!("({name}.and (local.get ${name}{local}) ({name}.const 0xfff))")
            }
        };
        let offset = match case.rng.u32(..10) {
            0..=5 => case.rng.u64(..40),
            6 => end.saturating_sub(case.rng.u64(..20)),
            7 => (32 << 20) - case.rng.u64(..20),
            8 => *case.one_of(&[0xffff_ffff, 0x7fff_fff0, 0xffff_fff0, 65536, 1 << 20]),
            _ if m.is64 => *case.one_of(&[1 << 32, u64::MAX, u64::MAX - 15, 1 << 47]),
            _ => 65528,
        };
        (address, format!("offset={offset}"))
    }

    fn store(&self, case: &mut Case) -> String {
        const STORES: [(&str, Ty); 7] = [
            ("i32.store", Ty::I32),
            ("i64.store", Ty::I64),
            ("i32.store8", Ty::I32),
            ("i64.store16", Ty::I64),
            ("i64.store32", Ty::I64),
            ("v128.store", Ty::V128),
            ("i32.store16", Ty::I32),
        ];
        let Some(memory) = self.memory(case) else {
            return String::new();
        };
        let (store, ty) = *case.one_of(&STORES);
        let (address, offset) = self.address(case, memory);
        let value = self.expression(case, ty, 1);
        format!("    ({store} $mem{memory} {offset} {address} {value})\n")
    }

    /// A load of any width, with a result of this type.
    fn load(&self, case: &mut Case, ty: Ty) -> Option<String> {
        let loads: &[&str] = match ty {
            Ty::I32 => &["load", "load8_s", "load8_u", "load16_s", "load16_u"],
            Ty::I64 => &["load", "load8_s", "load16_u", "load32_s", "load32_u"],
            Ty::V128 => &[
                "load",
                "load8x8_u",
                "load32_splat",
                "load64_zero",
                "load8_splat",
            ],
        };
        let memory = self.memory(case)?;
        let load = *case.one_of(loads);
        let (address, offset) = self.address(case, memory);
        Some(format!(
            "({}.{load} $mem{memory} {offset} {address})",
            ty.name()
        ))
    }

    fn grow_memory(&self, case: &mut Case) -> String {
        let Some(memory) = self.memory(case) else {
            return String::new();
        };
        let ty = self.world.memories[memory].index();
        let delta = *case.one_of(&[0, 1, 1, 1, 2, 5, 17, 40, 900, 65536, u64::MAX]);
        let (name, delta) = (ty.name(), Self::number(ty, delta));
        let local = case.rng.usize(..LOCALS);
        format!("    (local.set ${name}{local} (memory.grow $mem{memory} {delta}))\n")
    }

    fn bulk(&self, case: &mut Case) -> String {
        let (Some(to), Some(from)) = (self.memory(case), self.memory(case)) else {
            return String::new();
        };
        let (dst, _) = self.address(case, to);
        let len = |ty, case: &mut Case| Self::number(ty, case.rng.u64(..40));
        let to_ty = self.world.memories[to].index();
        if case.once_in(2) {
            let (value, len) = (self.expression(case, Ty::I32, 1), len(to_ty, case));
            return format!("    (memory.fill $mem{to} {dst} {value} {len})\n");
        }
        let (src, _) = self.address(case, from);
        let narrow = match self.world.memories[from].index() {
            Ty::I32 => Ty::I32,
            Ty::I64 | Ty::V128 => to_ty,
        };
        let len = len(narrow, case);
        format!("    (memory.copy $mem{to} $mem{from} {dst} {src} {len})\n")
    }

    /// An index for a table, which is usually inside.
    fn element(&self, case: &mut Case, table: usize) -> String {
        let t = &self.world.tables[table];
        let (ty, name) = (t.index(), t.index().name());
        match case.rng.u32(..6) {
            0 => {
                let (near, size) = (case.rng.u32(..3), format!("(table.size $tab{table})"));
                format!("({name}.sub {size} ({name}.const {near}))")
            }
            1 => Self::number(ty, *case.one_of(&[u64::MAX, 1 << 32, t.min, t.min + 1])),
            2 => {
                let value = self.expression(case, ty, 1);
                format!("({name}.and {value} ({name}.const 7))")
            }
            _ => Self::number(ty, case.rng.u64(..t.min.max(1))),
        }
    }

    fn reference(&self, case: &mut Case, table: usize) -> String {
        if !self.world.tables[table].of_functions {
            return "(ref.null extern)".to_owned();
        }
        let callees: Vec<_> = self.callees().collect();
        match callees[..] {
            _ if case.once_in(4) => "(ref.null func)".to_owned(),
            [] => format!("(ref.func $fn{})", self.function),
            _ => format!("(ref.func $fn{})", case.one_of(&callees)),
        }
    }

    fn change_table(&self, case: &mut Case) -> String {
        let Some(table) = self.table(case, true) else {
            return self.call_for_effect(case);
        };
        let ty = self.world.tables[table].index();
        let (at, value) = (self.element(case, table), self.reference(case, table));
        match case.rng.u32(..4) {
            0 | 1 => format!("    (table.set $tab{table} {at} {value})\n"),
            2 => {
                let delta = *case.one_of(&[0, 1, 3, 40, 70_000, u64::MAX]);
                let delta = Self::number(ty, delta);
                let local = case.rng.usize(..LOCALS);
                let name = ty.name();
                format!("    (local.set ${name}{local} (table.grow $tab{table} {value} {delta}))\n")
            }
            _ => {
                let len = Self::number(ty, case.rng.u64(..4));
                format!("    (table.fill $tab{table} {at} {value} {len})\n")
            }
        }
    }

    /// A direct or indirect call. Its results go to locals.
    fn call_for_effect(&self, case: &mut Case) -> String {
        let of_functions = |t: &usize| self.world.tables[*t].of_functions;
        let callees: Vec<_> = self.callees().collect();
        let (call, callee) = match self.table(case, false).filter(of_functions) {
            Some(table) if case.once_in(2) || callees.is_empty() => {
                let like = case.rng.usize(..self.world.functions.len());
                let args = self.arguments(case, like, 1);
                let at = self.element(case, table);
                let ty = self.world.functions[like].ty();
                (format!("(call_indirect $tab{table} {ty}{args} {at})"), like)
            }
            _ if callees.is_empty() => return String::new(),
            _ => {
                let callee = *case.one_of(&callees);
                let args = self.arguments(case, callee, 1);
                (format!("(call $fn{callee}{args})"), callee)
            }
        };
        format!("    {call}\n") + &self.to_locals(case, &self.world.functions[callee].results)
    }

    /// Puts the values on top of the stack, which have these types, into locals.
    pub(super) fn to_locals(&self, case: &mut Case, types: &[Ty]) -> String {
        let mut text = String::new();
        for ty in types.iter().rev() {
            let local = case.rng.usize(..LOCALS);
            text += &format!("    (local.set ${}{local})\n", ty.name());
        }
        text
    }

    fn set_global(&self, case: &mut Case) -> String {
        let globals = self.world.globals.iter().enumerate();
        let seen = |g: &(usize, &super::world::Global)| {
            World::sees(self.module, g.1.owner, g.1.exported) && g.1.mutable
        };
        let seen: Vec<_> = globals.filter(seen).map(|(i, g)| (i, g.ty)).collect();
        if seen.is_empty() {
            return String::new();
        }
        let (global, ty) = *case.one_of(&seen);
        let value = self.expression(case, ty, 2);
        format!("    (global.set $glob{global} {value})\n")
    }

    pub(super) fn leaf(&self, case: &mut Case, ty: Ty) -> String {
        let name = ty.name();
        let function = &self.world.functions[self.function];
        match case.rng.u32(..5) {
            0 => constant(case, ty),
            1 => {
                let params = function.params.iter().enumerate();
                let fit: Vec<_> = params.filter(|p| *p.1 == ty).map(|p| p.0).collect();
                match fit[..] {
                    [] => constant(case, ty),
                    _ => format!("(local.get $p{})", case.one_of(&fit)),
                }
            }
            2 => {
                let globals = self.world.globals.iter().enumerate();
                let seen = |g: &(usize, &super::world::Global)| {
                    World::sees(self.module, g.1.owner, g.1.exported) && g.1.ty == ty
                };
                let seen: Vec<_> = globals.filter(seen).map(|g| g.0).collect();
                match seen[..] {
                    [] => format!("(local.get ${name}0)"),
                    _ => format!("(global.get $glob{})", case.one_of(&seen)),
                }
            }
            _ => format!("(local.get ${name}{})", case.rng.usize(..LOCALS)),
        }
    }

    pub(super) fn expression(&self, case: &mut Case, ty: Ty, depth: u32) -> String {
        if depth == 0 {
            return self.leaf(case, ty);
        }
        if self.world.three
            && case.once_in(6)
            && let Some(atomic) = self.atomic(case, ty, depth)
        {
            return atomic;
        }
        let name = ty.name();
        match (case.rng.u32(..10), ty) {
            (0..=2, _) => match self.load(case, ty) {
                Some(load) => load,
                None => self.leaf(case, ty),
            },
            (3, Ty::I32) => {
                let (a, b) = (
                    self.expression(case, Ty::I64, depth - 1),
                    self.leaf(case, Ty::I64),
                );
                let op = *case.one_of(&["eq", "lt_u", "gt_s", "le_s"]);
                format!("(i64.{op} {a} {b})")
            }
            (3, Ty::I64) => {
                let op = *case.one_of(&["extend_i32_s", "extend_i32_u"]);
                format!("(i64.{op} {})", self.expression(case, Ty::I32, depth - 1))
            }
            (4, Ty::I32) => format!(
                "(i32.wrap_i64 {})",
                self.expression(case, Ty::I64, depth - 1)
            ),
            // Converts to floats and back. A NaN becomes zero.
            (5, Ty::I32 | Ty::I64) => {
                let value = self.expression(case, ty, depth - 1);
                let other = self.leaf(case, ty);
                let op = *case.one_of(&["add", "mul", "div", "sub", "min", "copysign"]);
                format!(
                    "({name}.trunc_sat_f64_s (f64.{op} (f64.convert_{name}_s {value}) \
                     (f64.reinterpret_i64 {})))",
                    match ty {
                        Ty::I64 => other,
                        Ty::I32 | Ty::V128 => format!("(i64.extend_i32_s {other})"),
                    }
                )
            }
            (6, Ty::I32 | Ty::I64) => {
                let op = *case.one_of(&["div_s", "div_u", "rem_s", "rem_u"]);
                let (a, b) = (self.expression(case, ty, depth - 1), self.leaf(case, ty));
                // The divisor is usually not zero.
                match case.once_in(8) {
                    true => format!("({name}.{op} {a} {b})"),
                    false => format!("({name}.{op} {a} ({name}.or {b} ({name}.const 1)))"),
                }
            }
            (7, _) => {
                let (a, b) = (self.expression(case, ty, depth - 1), self.leaf(case, ty));
                let condition = self.expression(case, Ty::I32, depth - 1);
                format!("(select {a} {b} {condition})")
            }
            (8, Ty::I32) if case.once_in(2) => {
                let lane = case.rng.u32(..4);
                let vector = self.expression(case, Ty::V128, depth - 1);
                format!("(i32x4.extract_lane {lane} {vector})")
            }
            (8, Ty::I64) if case.once_in(2) => {
                let vector = self.expression(case, Ty::V128, depth - 1);
                format!("(i64x2.extract_lane {} {vector})", case.rng.u32(..2))
            }
            (8, Ty::V128) => {
                format!(
                    "(i32x4.splat {})",
                    self.expression(case, Ty::I32, depth - 1)
                )
            }
            (_, Ty::V128) => {
                let ops = [
                    "i8x16.add",
                    "i16x8.mul",
                    "i32x4.sub",
                    "i64x2.add",
                    "v128.xor",
                    "v128.and",
                    "i8x16.swizzle",
                    "i16x8.add_sat_s",
                    "i8x16.avgr_u",
                    "i32x4.dot_i16x8_s",
                    "i64x2.mul",
                    "i8x16.gt_s",
                    "i32x4.min_u",
                    "i16x8.q15mulr_sat_s",
                ];
                let op = *case.one_of(&ops);
                let (a, b) = (self.expression(case, ty, depth - 1), self.leaf(case, ty));
                format!("({op} {a} {b})")
            }
            _ => {
                let op = *case.one_of(&[
                    "add", "sub", "mul", "xor", "and", "or", "shl", "shr_u", "shr_s", "rotl",
                ]);
                let (a, b) = (
                    self.expression(case, ty, depth - 1),
                    self.expression(case, ty, depth - 1),
                );
                format!("({name}.{op} {a} {b})")
            }
        }
    }
}

fn zero(ty: Ty) -> &'static str {
    match ty {
        Ty::I32 => " (i32.const 0)",
        Ty::I64 => " (i64.const 0)",
        Ty::V128 => " (v128.const i64x2 0 0)",
    }
}
