//! Modules with typed function references and exceptions, which both pass between modules.
//!
//! All modules have the same function types: two in a recursive group, and one below another.
//! Functions are called directly, through references, and through tables, with arguments that are
//! references themselves. Exceptions carry references, and are kept and thrown again. Every
//! function counts down `$steps` and returns at once when no steps are left, so that all calls end.

use std::fmt::Write;

use crate::Case;
use crate::differential::scenario::{Call, Scenario};
use crate::differential::value::Value;
use crate::edges::{REFILL, steps};

const TYPES: &str = r#"
  (type $a (func (param i32) (result i32)))
  (type $b (func (param i32 (ref null $a)) (result i32)))
  (rec (type $c (func (param i32 (ref null $d)) (result (ref null $a))))
       (type $d (func (param i32) (result (ref null $c)))))
  (type $s (sub (func (param i32) (result i32))))
  (type $t (sub $s (func (param i32) (result i32))))
"#;

/// The tags. Module 0 defines them, and all others import them.
const TAGS: [&str; 3] = ["(param i32)", "(param i32 (ref null $a))", ""];

/// A function type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sig {
    A,
    B,
    C,
    D,
    S,
    /// A subtype of `S`.
    T,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ty {
    I32,
    /// A reference to a function of this type, or null.
    Ref(Sig),
    /// A reference to a function of this type.
    Func(Sig),
}

use Ty::{Func, I32, Ref};

impl Sig {
    const ALL: [Self; 6] = [Self::A, Self::B, Self::C, Self::D, Self::S, Self::T];

    fn name(self) -> &'static str {
        match self {
            Self::A => "$a",
            Self::B => "$b",
            Self::C => "$c",
            Self::D => "$d",
            Self::S => "$s",
            Self::T => "$t",
        }
    }

    fn params(self) -> &'static [Ty] {
        match self {
            Self::A | Self::D | Self::S | Self::T => &[I32],
            Self::B => &[I32, Ref(Self::A)],
            Self::C => &[I32, Ref(Self::D)],
        }
    }

    fn result(self) -> Ty {
        match self {
            Self::A | Self::B | Self::S | Self::T => I32,
            Self::C => Ref(Self::A),
            Self::D => Ref(Self::C),
        }
    }

    /// Whether every function of this type is also of the type `other`.
    fn is_below(self, other: Self) -> bool {
        self == other || (self, other) == (Self::T, Self::S)
    }
}

impl Ty {
    fn text(self) -> String {
        match self {
            I32 => "i32".to_owned(),
            Ref(sig) => format!("(ref null {})", sig.name()),
            Func(sig) => format!("(ref {})", sig.name()),
        }
    }
}

/// A table or a global, which one module defines and exports.
struct Place {
    owner: usize,
    sig: Sig,
    /// A function that fills a table which cannot have null.
    first: Option<usize>,
}

struct World {
    modules: usize,
    /// The module that defines a function, and its type.
    functions: Vec<(usize, Sig)>,
    tables: Vec<Place>,
    globals: Vec<Place>,
}

/// One to three modules.
pub fn scenario(case: &mut Case) -> Option<Scenario> {
    let world = World::random(case);
    let parse = |text: String| {
        wat::parse_str(&text).unwrap_or_else(|error| panic!("what was generated: {error}\n{text}"))
    };
    let refill = Call {
        module: 0,
        export: "refill".to_owned(),
        args: vec![Value::I32(*case.one_of(&[5, 30, 100]))],
    };
    Some(Scenario {
        modules: (0..world.modules)
            .map(|m| parse(world.module(case, m)))
            .collect(),
        calls: Vec::new(),
        random_calls: 8,
        before_each: Some(refill),
        is_beyond_oracle: true,
    })
}

impl World {
    fn random(case: &mut Case) -> Self {
        let modules = *case.one_of(&[1, 2, 2, 3]);
        let mut functions = Vec::new();
        for _ in 0..case.rng.usize(3..10) {
            functions.push((case.rng.usize(..modules), *case.one_of(&Sig::ALL)));
        }
        let place = |case: &mut Case| {
            let (owner, sig) = (case.rng.usize(..modules), *case.one_of(&Sig::ALL));
            let fits = |&i: &usize| {
                let (of, own): (usize, Sig) = functions[i];
                of <= owner && own.is_below(sig)
            };
            let fitting: Vec<_> = (0..functions.len()).filter(fits).collect();
            let first = (!fitting.is_empty() && case.once_in(3)).then(|| *case.one_of(&fitting));
            Place { owner, sig, first }
        };
        let tables = (0..case.rng.usize(1..4)).map(|_| place(case)).collect();
        let globals = (0..case.rng.usize(1..4)).map(|_| place(case)).collect();
        Self {
            modules,
            functions,
            tables,
            globals,
        }
    }

    /// The functions that a module can refer to.
    fn visible(&self, module: usize) -> Vec<usize> {
        let seen = |i: &usize| self.functions[*i].0 <= module;
        (0..self.functions.len()).filter(seen).collect()
    }

    fn module(&self, case: &mut Case, module: usize) -> String {
        let mut text = format!("(module{TYPES}");
        text += "  (import \"host\" \"log\" (func $log (param i32)))\n";
        text += steps(module);
        let mut put = |line: String| writeln!(text, "  {line}").expect("strings take everything");
        if module > 0 {
            put(r#"(import "m0" "any" (table $any 6 40 funcref))"#.to_owned());
            for (i, ty) in TAGS.iter().enumerate() {
                put(format!(r#"(import "m0" "e{i}" (tag $e{i} {ty}))"#));
            }
        }
        for (i, (owner, sig)) in self.functions.iter().enumerate() {
            if *owner < module {
                let ty = sig.name();
                put(format!(
                    r#"(import "m{owner}" "fn{i}" (func $fn{i} (type {ty})))"#
                ));
            }
        }
        for (i, place) in self.tables.iter().enumerate() {
            if place.owner < module {
                let (owner, ty) = (place.owner, place.ty().text());
                put(format!(
                    r#"(import "m{owner}" "tab{i}" (table $tab{i} 3 20 {ty}))"#
                ));
            }
        }
        for (i, place) in self.globals.iter().enumerate() {
            if place.owner < module {
                let (owner, ty) = (place.owner, place.ty().text());
                put(format!(
                    r#"(import "m{owner}" "glob{i}" (global $glob{i} (mut {ty})))"#
                ));
            }
        }
        if module == 0 {
            put(r#"(table $any (export "any") 6 40 funcref)"#.to_owned());
            for (i, ty) in TAGS.iter().enumerate() {
                put(format!(r#"(tag $e{i} (export "e{i}") {ty})"#));
            }
        }
        for (i, place) in self.tables.iter().enumerate() {
            if place.owner == module {
                let (ty, init) = (place.ty().text(), place.initial());
                put(format!(
                    r#"(table $tab{i} (export "tab{i}") 3 20 {ty} {init})"#
                ));
            }
        }
        for (i, place) in self.globals.iter().enumerate() {
            if place.owner == module {
                let (ty, init) = (place.ty().text(), place.initial());
                put(format!(
                    r#"(global $glob{i} (export "glob{i}") (mut {ty}) {init})"#
                ));
            }
        }
        let visible = self.visible(module);
        if !visible.is_empty() {
            let all: String = visible.iter().map(|f| format!(" $fn{f}")).collect();
            put(format!("(elem declare func{all})"));
            let count = case.rng.usize(..=visible.len().min(6));
            let some: String = visible[..count]
                .iter()
                .map(|f| format!(" $fn{f}"))
                .collect();
            let at = case.rng.usize(..=6 - count);
            put(format!("(elem (table $any) (i32.const {at}) func{some})"));
        }
        if module == 0 {
            text += REFILL;
        }
        for (i, (owner, sig)) in self.functions.iter().enumerate() {
            if *owner == module {
                let body = Body {
                    world: self,
                    module,
                    sig: *sig,
                    labels: 0,
                };
                text += &body.write(case, i);
            }
        }
        text + ")\n"
    }
}

impl Place {
    fn ty(&self) -> Ty {
        if self.first.is_some() {
            Func(self.sig)
        } else {
            Ref(self.sig)
        }
    }

    fn initial(&self) -> String {
        match self.first {
            Some(function) => format!("(ref.func $fn{function})"),
            None => format!("(ref.null {})", self.sig.name()),
        }
    }
}

/// Writes the body of a function.
struct Body<'w> {
    world: &'w World,
    module: usize,
    sig: Sig,
    /// How many labels there are so far.
    labels: usize,
}

impl Body<'_> {
    fn write(mut self, case: &mut Case, i: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_valid() {
        for seed in 0..300 {
            let scenario = scenario(&mut Case::new(seed, false)).expect("always one");
            for wasm in &scenario.modules {
                let checked = wasmparser::Validator::new().validate_all(wasm);
                if let Err(error) = checked {
                    let text = wasmprinter::print_bytes(wasm).unwrap_or_default();
                    panic!("seed {seed}: {error}\n{text}");
                }
            }
        }
    }
}
