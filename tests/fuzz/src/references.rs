//! Modules with typed function references and exceptions, which both pass between modules.
//!
//! All modules have the same function types: two in a recursive group, and one below another.
//! Functions are called directly, through references, and through tables, with arguments that are
//! references themselves. Exceptions carry references, and are kept and thrown again. Every
//! function counts down `$steps` and returns at once when no steps are left, so that all calls end.

mod body;

use std::fmt::Write;

use crate::Case;
use crate::differential::scenario::{Call, Features, Scenario};
use crate::differential::value::Value;
use crate::edges::{REFILL, steps};
use body::Body;

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
        needs: Features::Three,
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
