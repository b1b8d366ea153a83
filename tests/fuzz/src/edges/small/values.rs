//! Values of statements: loads, locals and arithmetic, and the addresses of memory accesses.

use super::Writer;
use crate::Case;
use crate::edges::world::{Ty, constant};

impl Writer<'_> {
    /// The type of indices of the memory.
    pub(super) fn index(&self) -> Ty {
        if self.is64 { Ty::I64 } else { Ty::I32 }
    }

    /// A local as an index that is most likely in bounds.
    pub(super) fn masked(&self, local: usize) -> String {
        let name = self.index().name();
        format!("({name}.and (local.get {local}) ({name}.const 0xfff))")
    }

    pub(super) fn values(&mut self, case: &mut Case, types: &[Ty], depth: u32) -> String {
        let value = |text: String, ty: &Ty| text + " " + &self.value(case, *ty, depth);
        types.iter().fold(String::new(), value)
    }

    pub(super) fn local(&self, case: &mut Case, ty: Ty) -> Option<usize> {
        let fits = |i: &usize| self.locals[*i] == ty;
        let fit: Vec<_> = (0..self.locals.len()).filter(fits).collect();
        (!fit.is_empty()).then(|| *case.one_of(&fit))
    }

    pub(super) fn number(&self, n: u64) -> String {
        match self.is64 {
            true => format!("(i64.const {})", n as i64),
            false => format!("(i32.const {})", n as u32 as i32),
        }
    }

    /// An address with its static offset, mostly one that is known to be in bounds or almost.
    pub(super) fn address(&mut self, case: &mut Case) -> String {
        let ty = self.index();
        let name = ty.name();
        let (address, max) = match case.rng.u32(..14) {
            0 => {
                let mask = case.one_of(&[0xff, 0xffff, 0xfff8, 0x1_ffff]);
                (
                    format!(
                        "({name}.and {} ({name}.const {mask}))",
                        self.value(case, ty, 2)
                    ),
                    *mask,
                )
            }
            1 => {
                let by = case.rng.u32(1..u32::BITS);
                let max = if self.is64 {
                    u64::MAX >> by
                } else {
                    u64::from(u32::MAX >> by)
                };
                (
                    format!(
                        "({name}.shr_u {} ({name}.const {by}))",
                        self.value(case, ty, 1)
                    ),
                    max,
                )
            }
            2 => {
                let by = case.rng.u32(..20);
                let small = format!(
                    "({name}.and {} ({name}.const 255))",
                    self.value(case, ty, 1)
                );
                (
                    format!("({name}.shl {small} ({name}.const {by}))"),
                    255 << by,
                )
            }
            3 => {
                let by = case.rng.u64(1..100_000);
                (
                    format!(
                        "({name}.rem_u {} ({name}.const {by}))",
                        self.value(case, ty, 1)
                    ),
                    by - 1,
                )
            }
            4 => {
                let at = self.number(case.rng.u64(..self.min));
                (format!("({name}.load8_u $mem {at})"), 255)
            }
            5 => {
                let (a, b) = (self.value(case, ty, 1), self.value(case, ty, 1));
                let condition = self.value(case, Ty::I32, 1);
                let mask = |v| format!("({name}.and {v} ({name}.const 0xffff))");
                (
                    format!("(select {} {} {condition})", mask(a), mask(b)),
                    0xffff,
                )
            }
            6 => {
                let (a, b) = (self.value(case, ty, 1), self.value(case, ty, 1));
                let op = case.one_of(&["add", "mul", "sub", "xor", "or"]);
                let mask = |v| format!("({name}.and {v} ({name}.const 0x3ff))");
                (format!("({name}.{op} {} {})", mask(a), mask(b)), 0x3ff * 2)
            }
            7 if self.is64 => {
                let value = self.value(case, Ty::I32, 1);
                (
                    format!("(i64.extend_i32_u (i32.and {value} (i32.const 0xffff)))"),
                    0xffff,
                )
            }
            8 if self.is64 => (
                format!("(i64.extend_i32_s {})", self.value(case, Ty::I32, 1)),
                0,
            ),
            9 => (self.number(case.rng.u64(..self.min)), 0),
            _ => match self.local(case, ty) {
                Some(local) if case.once_in(3) => {
                    let more = case.one_of(&[1_i64, 4, 8, 100, 4096, -1, -4]);
                    (
                        format!("({name}.add (local.get {local}) ({name}.const {more}))"),
                        0,
                    )
                }
                Some(local) => (format!("(local.get {local})"), 0),
                None => (self.number(case.rng.u64(..self.min)), 0),
            },
        };
        let left = self.min.saturating_sub(max);
        let offset = match case.rng.u32(..6) {
            0..=2 => case.rng.u64(..64),
            3 => left.saturating_sub(case.rng.u64(..20)),
            4 => self.min.saturating_sub(case.rng.u64(..20)),
            _ => case.rng.u64(..self.min),
        };
        format!("offset={offset} {address}")
    }

    pub(super) fn value(&mut self, case: &mut Case, ty: Ty, depth: u32) -> String {
        let name = ty.name();
        if depth == 0 || case.once_in(4) {
            return match self.local(case, ty) {
                Some(local) if !case.once_in(4) => format!("(local.get {local})"),
                _ if ty == Ty::I64 && case.once_in(3) => "(global.get $glob)".to_owned(),
                _ => constant(case, ty),
            };
        }
        let below = depth - 1;
        match (case.rng.u32(..10), ty) {
            (0..=2, _) => {
                let loads: &[&str] = match ty {
                    Ty::I32 => &["load", "load8_u", "load16_s", "load8_s"],
                    Ty::I64 => &["load", "load8_u", "load32_s", "load32_u"],
                    Ty::V128 => &["load", "load64_zero", "load8x8_u", "load32_splat"],
                };
                let load = case.one_of(loads);
                // An address has a value inside, so the innermost loads use locals only.
                match depth {
                    1 => match self.local(case, self.index()) {
                        Some(local) => {
                            let offset = case.rng.u64(..300);
                            let address = match case.once_in(4) {
                                true => format!("(local.get {local})"),
                                false => self.masked(local),
                            };
                            format!("({name}.{load} $mem offset={offset} {address})")
                        }
                        None => constant(case, ty),
                    },
                    _ => format!("({name}.{load} $mem {})", self.address(case)),
                }
            }
            (3, Ty::I32) => {
                let (a, b) = (
                    self.value(case, Ty::I64, below),
                    self.value(case, Ty::I64, 0),
                );
                format!("(i64.{} {a} {b})", case.one_of(&["eq", "lt_u", "ge_s"]))
            }
            (4, Ty::I32) => format!("(i32.wrap_i64 {})", self.value(case, Ty::I64, below)),
            (3 | 4, Ty::I64) => {
                let op = case.one_of(&["extend_i32_s", "extend_i32_u"]);
                format!("(i64.{op} {})", self.value(case, Ty::I32, below))
            }
            (5, Ty::I32) => {
                let vector = self.value(case, Ty::V128, below);
                format!("(i16x8.extract_lane_u {} {vector})", case.rng.u32(..8))
            }
            (5, Ty::V128) => format!("(i64x2.splat {})", self.value(case, Ty::I64, below)),
            (6, _) => {
                let (a, b) = (self.value(case, ty, below), self.value(case, ty, 0));
                format!("(select {a} {b} {})", self.value(case, Ty::I32, below))
            }
            (_, Ty::V128) => {
                let op = *case.one_of(&["i8x16.add", "v128.xor", "i32x4.mul", "i8x16.min_u"]);
                let (a, b) = (self.value(case, ty, below), self.value(case, ty, 0));
                format!("({op} {a} {b})")
            }
            _ => {
                let ops = [
                    "add", "sub", "mul", "xor", "and", "or", "shl", "shr_u", "shr_s", "rotl",
                ];
                let (a, b) = (self.value(case, ty, below), self.value(case, ty, below));
                format!("({name}.{} {a} {b})", case.one_of(&ops))
            }
        }
    }
}
