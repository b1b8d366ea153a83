//! Bodies of functions that call each other through references, and throw and catch.

use std::fmt::Write;

use super::Ty::{Func, I32, Ref};
use super::{Place, Sig, TAGS, Ty, World};
use crate::Case;

/// Writes the body of a function.
pub(super) struct Body<'w> {
    pub(super) world: &'w World,
    pub(super) module: usize,
    pub(super) sig: Sig,
    /// How many labels there are so far.
    pub(super) labels: usize,
}

impl Body<'_> {
    pub(super) fn write(mut self, case: &mut Case, i: usize) -> String {
        let (ty, result) = (self.sig.name(), self.sig.result());
        let mut text = format!("  (func $fn{i} (export \"fn{i}\") (type {ty})");
        for (p, ty) in self.sig.params().iter().enumerate() {
            write!(text, " (param $p{p} {})", ty.text()).expect("strings take everything");
        }
        writeln!(text, " (result {})", result.text()).expect("strings take everything");
        text += "    (local $i i32) (local $n i32) (local $x exnref)\n";
        for sig in Sig::ALL {
            let name = sig.name();
            writeln!(text, "    (local {name} (ref null {name}))").expect("strings");
        }
        let nothing = match result {
            I32 => "(i32.const 0)".to_owned(),
            Ref(sig) | Func(sig) => format!("(ref.null {})", sig.name()),
        };
        writeln!(text, "    (if (i32.eqz (global.get $steps)) (then (return {nothing})))\n    (global.set $steps (i32.sub (global.get $steps) (i32.const 1)))")
            .expect("strings take everything");
        for _ in 0..case.rng.usize(..5) {
            writeln!(text, "    {}", self.statement(case, 2)).expect("strings take everything");
        }
        let end = self.ending(case);
        writeln!(text, "    {end})").expect("strings take everything");
        text
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("$l{}", self.labels)
    }

    /// The result, or a tail call that returns it.
    fn ending(&mut self, case: &mut Case) -> String {
        let result = self.sig.result();
        match case.rng.u32(..5) {
            0 => {
                let same = Sig::ALL.into_iter().filter(|sig| sig.result() == result);
                let sig = *case.one_of(&same.collect::<Vec<_>>());
                let args = self.arguments(case, sig, 1);
                let callee = self.value(case, Ref(sig), 1);
                format!("(return_call_ref {}{args} {callee})", sig.name())
            }
            1 => match self.callee(case, result) {
                Some((callee, sig)) => {
                    let args = self.arguments(case, sig, 1);
                    format!("(return_call $fn{callee}{args})")
                }
                None => self.value(case, result, 2),
            },
            _ => self.value(case, result, 3),
        }
    }

    fn arguments(&mut self, case: &mut Case, sig: Sig, depth: u32) -> String {
        let values = sig
            .params()
            .iter()
            .map(|ty| format!(" {}", self.value(case, *ty, depth)));
        values.collect()
    }

    /// A function with this result.
    fn callee(&self, case: &mut Case, result: Ty) -> Option<(usize, Sig)> {
        let mut fitting = self.world.visible(self.module);
        fitting.retain(|i| self.world.functions[*i].1.result() == result);
        let callee = (!fitting.is_empty()).then(|| *case.one_of(&fitting))?;
        Some((callee, self.world.functions[callee].1))
    }

    /// A table or global that the module can use.
    fn place<'p>(&self, case: &mut Case, places: &'p [Place]) -> Option<(usize, &'p Place)> {
        let seen = places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.owner <= self.module);
        let seen: Vec<_> = seen.collect();
        (!seen.is_empty()).then(|| *case.one_of(&seen))
    }

    fn statement(&mut self, case: &mut Case, depth: u32) -> String {
        let world = self.world;
        match case.rng.u32(..11) {
            0 | 1 => {
                let sig = *case.one_of(&Sig::ALL);
                format!(
                    "(local.set {} {})",
                    sig.name(),
                    self.value(case, Ref(sig), 2)
                )
            }
            2 => match self.place(case, &world.globals) {
                Some((i, place)) => {
                    format!("(global.set $glob{i} {})", self.value(case, place.ty(), 2))
                }
                None => "(nop)".to_owned(),
            },
            3 | 4 => match self.place(case, &world.tables) {
                Some((i, place)) => {
                    let (at, len) = (case.rng.u32(..4), case.rng.u32(..3));
                    let value = self.value(case, place.ty(), 2);
                    match case.rng.u32(..4) {
                        0 => format!(
                            "(table.fill $tab{i} (i32.const {at}) {value} (i32.const {len}))"
                        ),
                        1 => format!("(drop (table.grow $tab{i} {value} (i32.const {len})))"),
                        _ => format!("(table.set $tab{i} (i32.const {at}) {value})"),
                    }
                }
                None => "(nop)".to_owned(),
            },
            5 => {
                let tag = case.rng.usize(..TAGS.len());
                let values = match tag {
                    0 => self.value(case, I32, 1),
                    1 => self.value(case, I32, 1) + " " + &self.value(case, Ref(Sig::A), 1),
                    _ => String::new(),
                };
                let condition = self.value(case, I32, 1);
                format!("(if {condition} (then (throw $e{tag} {values})))")
            }
            6 => format!(
                "(if {} (then (throw_ref (local.get $x))))",
                self.value(case, I32, 1)
            ),
            7 => format!("(call $log {})", self.value(case, I32, 2)),
            8 if depth > 0 => {
                let (label, times) = (self.label(), case.rng.u32(1..4));
                let body = self.statement(case, 0);
                format!(
                    "(local.set $n (i32.const {times})) (loop {label} {body} \
                     (br_if {label} (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
                )
            }
            9 if depth > 0 => {
                let condition = self.value(case, I32, 1);
                let body = self.statement(case, depth - 1);
                format!("(if {condition} (then {body}))")
            }
            _ => format!("(local.set $i {})", self.value(case, I32, 3)),
        }
    }

    /// Operators that leave one value of this type.
    fn value(&mut self, case: &mut Case, ty: Ty, depth: u32) -> String {
        match ty {
            I32 if depth == 0 => match case.rng.u32(..3) {
                0 => "(local.get $p0)".to_owned(),
                1 => "(local.get $i)".to_owned(),
                _ => format!("(i32.const {})", case.rng.i32(-3..10)),
            },
            I32 => self.number(case, depth - 1),
            Ref(sig) if depth == 0 => match case.rng.u32(..3) {
                0 => format!("(ref.null {})", sig.name()),
                1 if sig == Sig::S => "(local.get $t)".to_owned(),
                _ => format!("(local.get {})", sig.name()),
            },
            Ref(sig) => self.reference(case, sig, depth - 1),
            Func(sig) => {
                let mut fitting = self.world.visible(self.module);
                fitting.retain(|i| self.world.functions[*i].1.is_below(sig));
                if fitting.is_empty() || case.once_in(4) {
                    let value = self.value(case, Ref(sig), depth.saturating_sub(1));
                    return format!("(ref.as_non_null {value})");
                }
                format!("(ref.func $fn{})", case.one_of(&fitting))
            }
        }
    }

    fn reference(&mut self, case: &mut Case, sig: Sig, depth: u32) -> String {
        let world = self.world;
        match case.rng.u32(..9) {
            0 | 1 => self.value(case, Func(sig), depth),
            2 => match self.place(case, &world.globals) {
                Some((i, place)) if place.sig.is_below(sig) => format!("(global.get $glob{i})"),
                _ => self.value(case, Func(sig), 0),
            },
            3 => match self.place(case, &world.tables) {
                Some((i, place)) if place.sig.is_below(sig) => {
                    format!("(table.get $tab{i} (i32.const {}))", case.rng.u32(..4))
                }
                _ => self.value(case, Ref(sig), 0),
            },
            4 => match self.callee(case, Ref(sig)) {
                Some((callee, of)) => {
                    format!("(call $fn{callee}{})", self.arguments(case, of, depth))
                }
                None => self.value(case, Ref(sig), 0),
            },
            5 => {
                let of = match sig {
                    Sig::A => Sig::C,
                    Sig::C => Sig::D,
                    _ => return self.value(case, Ref(sig), 0),
                };
                let args = self.arguments(case, of, depth);
                let callee = self.value(case, Ref(of), depth);
                format!("(call_ref {}{args} {callee})", of.name())
            }
            6 => {
                let (x, y) = (
                    self.value(case, Ref(sig), depth),
                    self.value(case, Ref(sig), depth),
                );
                let (ty, condition) = (Ref(sig).text(), self.value(case, I32, depth));
                format!("(select (result {ty}) {x} {y} {condition})")
            }
            7 => {
                let (label, ty) = (self.label(), Ref(sig).text());
                let (x, y) = (
                    self.value(case, Ref(sig), depth),
                    self.value(case, Ref(sig), depth),
                );
                format!("(block {label} (result {ty}) {x} (br_on_non_null {label}) {y})")
            }
            _ => self.value(case, Ref(sig), 0),
        }
    }

    fn number(&mut self, case: &mut Case, depth: u32) -> String {
        let world = self.world;
        let sig = *case.one_of(&[Sig::A, Sig::B, Sig::S, Sig::T]);
        match case.rng.u32(..14) {
            0 | 1 => {
                let operator =
                    *case.one_of(&["i32.add", "i32.sub", "i32.xor", "i32.mul", "i32.lt_s"]);
                let (x, y) = (self.value(case, I32, depth), self.value(case, I32, depth));
                format!("({operator} {x} {y})")
            }
            2 => {
                let any = *case.one_of(&Sig::ALL);
                format!("(ref.is_null {})", self.value(case, Ref(any), depth))
            }
            3 => match self.callee(case, I32) {
                Some((callee, of)) => {
                    format!("(call $fn{callee}{})", self.arguments(case, of, depth))
                }
                None => self.value(case, I32, 0),
            },
            4 | 5 => {
                let args = self.arguments(case, sig, depth);
                let callee = match case.once_in(2) {
                    true => self.value(case, Func(sig), depth),
                    false => self.value(case, Ref(sig), depth),
                };
                format!("(call_ref {}{args} {callee})", sig.name())
            }
            6 => {
                let (args, ty) = (self.arguments(case, sig, depth), sig.name());
                let at = case.rng.u32(..7);
                format!("(call_indirect $any (type {ty}){args} (i32.const {at}))")
            }
            7 => {
                let label = self.label();
                let (null, value) = (
                    self.value(case, I32, depth),
                    self.value(case, Ref(sig), depth),
                );
                let (args, ty) = (self.arguments(case, sig, depth), sig.name());
                format!(
                    "(block {label} (result i32) {null} {value} (br_on_null {label}) \
                     (local.set {ty}) (drop) (call_ref {ty}{args} (local.get {ty})))"
                )
            }
            8 | 9 => self.caught(case, depth),
            10 => {
                let condition = self.value(case, I32, depth);
                let (x, y) = (self.value(case, I32, depth), self.value(case, I32, depth));
                format!("(if (result i32) {condition} (then {x}) (else {y}))")
            }
            11 => match self.place(case, &world.tables) {
                Some((i, _)) => format!("(table.size $tab{i})"),
                None => self.value(case, I32, 0),
            },
            _ => self.value(case, I32, 0),
        }
    }

    /// A number whose computation may throw. The handler has another number.
    fn caught(&mut self, case: &mut Case, depth: u32) -> String {
        let (label, value) = (self.label(), self.value(case, I32, depth + 1));
        match case.rng.u32(..6) {
            0 | 1 => format!(
                "(block {label} (result i32) (try_table (result i32) (catch $e0 {label}) {value}))"
            ),
            2 => format!(
                "(block {label} (result i32 (ref null $a)) \
                 (try_table (result i32) (catch $e1 {label}) {value}) (ref.null $a)) (local.set $a)"
            ),
            3 => format!(
                "(block {label} (try_table (catch_all {label}) (local.set $i {value}))) \
                 (local.get $i)"
            ),
            4 => format!(
                "(block {label} (result i32 exnref) (try_table (result i32) \
                 (catch_ref $e0 {label}) {value}) (ref.null exn)) (local.set $x)"
            ),
            _ => format!(
                "(block {label} (result exnref) (try_table (catch_all_ref {label}) \
                 (local.set $i {value})) (ref.null exn)) (local.set $x) (local.get $i)"
            ),
        }
    }
}
