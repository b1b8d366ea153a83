//! The memories, tables, globals and functions of a scenario. Each is defined by one module, and
//! can be imported by later modules.

use std::fmt::Write;

use crate::Case;

/// The types of values that these modules use. There are no floats, because the bits of a NaN that
/// an operator returns are not determined. Function bodies only compare and truncate floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    I32,
    I64,
    V128,
}

impl Ty {
    pub const ALL: [Self; 3] = [Self::I32, Self::I64, Self::V128];

    pub fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::V128 => "v128",
        }
    }
}

/// A linear memory.
#[derive(Debug, Clone)]
pub struct Memory {
    pub owner: usize,
    pub is64: bool,
    pub min: u64,
    pub max: Option<u64>,
    /// Whether other modules can import it.
    pub exported: bool,
    /// Whether the memory is a shared one. There is only one thread.
    pub shared: bool,
}

impl Memory {
    pub fn index(&self) -> Ty {
        if self.is64 { Ty::I64 } else { Ty::I32 }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    pub owner: usize,
    pub is64: bool,
    pub of_functions: bool,
    pub min: u64,
    pub max: Option<u64>,
    pub exported: bool,
    /// Whether operators may change it. Otherwise it keeps the elements of its segments.
    pub changes: bool,
}

impl Table {
    pub fn index(&self) -> Ty {
        if self.is64 { Ty::I64 } else { Ty::I32 }
    }
}

/// A global.
#[derive(Debug, Clone)]
pub struct Global {
    pub owner: usize,
    pub ty: Ty,
    pub mutable: bool,
    pub exported: bool,
}

/// A function.
#[derive(Debug, Clone)]
pub struct Function {
    pub owner: usize,
    pub params: Vec<Ty>,
    pub results: Vec<Ty>,
}

impl Function {
    /// The type as `(param …) (result …)`.
    pub fn ty(&self) -> String {
        let list = |types: &[Ty]| types.iter().fold(String::new(), |s, t| s + " " + t.name());
        format!(
            "(param{}) (result{})",
            list(&self.params),
            list(&self.results)
        )
    }
}

/// A tag of exceptions.
#[derive(Debug, Clone)]
pub struct Tag {
    pub owner: usize,
    pub params: Vec<Ty>,
    pub exported: bool,
}

/// All items. A function calls directly only functions of earlier modules and later functions of
/// its own module.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub modules: usize,
    pub memories: Vec<Memory>,
    pub tables: Vec<Table>,
    pub globals: Vec<Global>,
    pub functions: Vec<Function>,
    /// Whether bodies use exceptions, typed references and atomic operators.
    pub three: bool,
    /// Whether they also use the former encoding of exceptions.
    pub legacy: bool,
    pub tags: Vec<Tag>,
}

impl World {
    /// A world whose bodies use WebAssembly 3.0, and with `all` the former encoding of exceptions
    /// and shared memories, too.
    pub fn of_three(case: &mut Case, all: bool) -> Self {
        let mut world = Self::random(case);
        world.three = true;
        world.legacy = all;
        for memory in &mut world.memories {
            if all && case.once_in(2) {
                memory.max.get_or_insert(memory.min + 20);
                memory.shared = true;
            }
        }
        for _ in 0..case.rng.usize(1..4) {
            let len = case.rng.usize(..4);
            let tag = Tag {
                owner: case.rng.usize(..world.modules),
                params: (0..len).map(|_| *case.one_of(&Ty::ALL)).collect(),
                exported: !case.once_in(3),
            };
            world.tags.push(tag);
        }
        world
    }

    pub fn random(case: &mut Case) -> Self {
        let modules = *case.one_of(&[1, 1, 2, 2, 3]);
        let mut world = Self {
            modules,
            ..Self::default()
        };
        for _ in 0..case.rng.usize(1..4) {
            let memory = memory(case, modules);
            world.memories.push(memory);
        }
        for _ in 0..case.rng.usize(0..3) {
            let table = table(case, modules);
            world.tables.push(table);
        }
        for _ in 0..case.rng.usize(0..5) {
            let global = Global {
                owner: case.rng.usize(..modules),
                ty: *case.one_of(&Ty::ALL),
                mutable: !case.once_in(3),
                exported: case.once_in(2),
            };
            world.globals.push(global);
        }
        let types = signatures(case);
        for _ in 0..case.rng.usize(2..7) {
            let (params, results) = case.one_of(&types).clone();
            world.functions.push(Function {
                owner: case.rng.usize(..modules),
                params,
                results,
            });
        }
        world
    }

    /// Whether a module can use an item that `owner` defines.
    pub fn sees(module: usize, owner: usize, exported: bool) -> bool {
        module == owner || (owner < module && exported)
    }

    /// The imports and definitions of a module, without function bodies.
    pub fn declarations(&self, case: &mut Case, module: usize) -> String {
        let mut text = String::new();
        self.import(module, &mut text);
        for (i, memory) in self.memories.iter().enumerate() {
            if memory.owner == module {
                let index = memory.index().name();
                let (limits, shared) = (limits(memory.min, memory.max), shared(memory));
                let export = export(memory.exported, "mem", i);
                line(
                    &mut text,
                    format!("(memory $mem{i} {export} {index} {limits}{shared})"),
                );
            }
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if tag.owner == module {
                let export = export(tag.exported, "tag", i);
                line(&mut text, format!("(tag $tag{i} {export}{})", params(tag)));
            }
        }
        for (i, table) in self.tables.iter().enumerate() {
            if table.owner == module {
                let (index, of) = (table.index().name(), element(table.of_functions));
                let limits = limits(table.min, table.max);
                let export = export(table.exported, "tab", i);
                line(
                    &mut text,
                    format!("(table $tab{i} {export} {index} {limits} {of})"),
                );
            }
        }
        for (i, global) in self.globals.iter().enumerate() {
            if global.owner == module {
                let export = export(global.exported, "glob", i);
                let value = constant(case, global.ty);
                let ty = global_type(global);
                line(
                    &mut text,
                    format!("(global $glob{i} {export} {ty} {value})"),
                );
            }
        }
        text
    }

    fn import(&self, module: usize, text: &mut String) {
        for (i, m) in self.memories.iter().enumerate() {
            if m.owner < module && m.exported {
                let (index, limits) = (m.index().name(), limits(m.min, m.max));
                let (from, shared) = (m.owner, shared(m));
                line(
                    text,
                    format!(
                        r#"(import "m{from}" "mem{i}" (memory $mem{i} {index} {limits}{shared}))"#
                    ),
                );
            }
        }
        for (i, tag) in self.tags.iter().enumerate() {
            if tag.owner < module && tag.exported {
                let (from, params) = (tag.owner, params(tag));
                line(
                    text,
                    format!(r#"(import "m{from}" "tag{i}" (tag $tag{i}{params}))"#),
                );
            }
        }
        for (i, t) in self.tables.iter().enumerate() {
            if t.owner < module && t.exported {
                let (index, limits) = (t.index().name(), limits(t.min, t.max));
                let (from, of) = (t.owner, element(t.of_functions));
                line(
                    text,
                    format!(r#"(import "m{from}" "tab{i}" (table $tab{i} {index} {limits} {of}))"#),
                );
            }
        }
        for (i, g) in self.globals.iter().enumerate() {
            if g.owner < module && g.exported {
                let (from, ty) = (g.owner, global_type(g));
                line(
                    text,
                    format!(r#"(import "m{from}" "glob{i}" (global $glob{i} {ty}))"#),
                );
            }
        }
        for (i, f) in self.functions.iter().enumerate() {
            if f.owner < module {
                let (from, ty) = (f.owner, f.ty());
                line(
                    text,
                    format!(r#"(import "m{from}" "fn{i}" (func $fn{i} {ty}))"#),
                );
            }
        }
    }
}

fn line(text: &mut String, line: String) {
    writeln!(text, "  {line}").expect("strings take everything");
}

fn limits(min: u64, max: Option<u64>) -> String {
    max.map_or_else(|| min.to_string(), |max| format!("{min} {max}"))
}

fn shared(memory: &Memory) -> &'static str {
    if memory.shared { " shared" } else { "" }
}

fn params(tag: &Tag) -> String {
    let all = tag
        .params
        .iter()
        .fold(String::new(), |s, t| s + " " + t.name());
    format!(" (param{all})")
}

fn export(exported: bool, kind: &str, i: usize) -> String {
    match exported {
        true => format!(r#"(export "{kind}{i}")"#),
        false => String::new(),
    }
}

fn element(of_functions: bool) -> &'static str {
    if of_functions { "funcref" } else { "externref" }
}

fn global_type(global: &Global) -> String {
    match global.mutable {
        true => format!("(mut {})", global.ty.name()),
        false => global.ty.name().to_owned(),
    }
}

/// A constant of this type.
pub fn constant(case: &mut Case, ty: Ty) -> String {
    let number = match case.rng.u32(..3) {
        0 => case.rng.u64(..),
        1 => case.rng.u64(..100),
        _ => *case.one_of(&[0, 1, u64::MAX, 0x8000_0000, 1 << 32, 1 << 63, 65536]),
    };
    match ty {
        Ty::I32 => format!("(i32.const {})", number as u32 as i32),
        Ty::I64 => format!("(i64.const {})", number as i64),
        Ty::V128 => format!("(v128.const i64x2 {} {})", number as i64, case.rng.i64(..)),
    }
}

fn memory(case: &mut Case, modules: usize) -> Memory {
    let min = *case.one_of(&[0, 1, 1, 1, 2, 3, 16, 17]);
    // A memory is moved when it grows beyond the reserved pages, of which there are about 16.
    let max = match case.rng.u32(..6) {
        0 => Some(min),
        1 => Some(min + 1),
        2 => Some(min + 20),
        3 => Some(60_000),
        _ => None,
    };
    Memory {
        owner: case.rng.usize(..modules),
        is64: case.once_in(2),
        min,
        max,
        exported: case.once_in(2),
        shared: false,
    }
}

fn table(case: &mut Case, modules: usize) -> Table {
    let min = *case.one_of(&[0, 1, 3, 8, 8, 30]);
    Table {
        owner: case.rng.usize(..modules),
        is64: case.once_in(4),
        of_functions: !case.once_in(4),
        min,
        max: *case.one_of(&[None, Some(min), Some(min + 5), Some(5000)]),
        exported: case.once_in(2),
        changes: case.once_in(2),
    }
}

/// Few function types, so that indirect calls often succeed. Some have more than twenty values.
fn signatures(case: &mut Case) -> Vec<(Vec<Ty>, Vec<Ty>)> {
    let mut types = Vec::new();
    for _ in 0..case.rng.usize(1..4) {
        let (max_params, max_results) = match case.rng.u32(..12) {
            0 => (40, 3),
            1 => (8, 30),
            _ => (6, 4),
        };
        let mut list = |max: usize| -> Vec<Ty> {
            let len = case.rng.usize(..max);
            (0..len).map(|_| *case.one_of(&Ty::ALL)).collect()
        };
        types.push((list(max_params), list(max_results)));
    }
    types
}
