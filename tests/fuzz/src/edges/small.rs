//! One module of small functions that call each other in loops, to test how the compiler inlines
//! calls, compiles `br_table`s, and leaves out checks of indices whose maximum it knows.
//!
//! Functions have locals that they read before they write them, loops, ways out of several blocks,
//! early returns, traps and unreachable code. Locals are indices at several offsets, with
//! assignments between them and ways around them, so that a check that is left out wrongly shows.

mod values;

use std::fmt::Write;

use super::world::{Function, Ty};
use crate::Case;

/// The maximum depth of nested statements.
const DEPTH: u32 = 3;

/// The module. With `more` it has what wasmi lacks: exceptions, calls through typed references,
/// wide arithmetic and atomic operators.
pub fn modules(case: &mut Case, more: bool) -> Vec<String> {
    let count = case.rng.usize(2..9);
    let functions: Vec<_> = (0..count).map(|_| function(case)).collect();
    let is64 = case.once_in(4);
    let pages = *case.one_of(&[1, 1, 2, 3]);
    let mut text = "(module\n".to_owned();
    put(
        &mut text,
        "(import \"host\" \"log\" (func $log (param i32) (result i32)))",
    );
    put(
        &mut text,
        "(global $steps (export \"steps\") (mut i32) (i32.const 20))",
    );
    text += super::REFILL;
    let index = if is64 { " i64" } else { "" };
    let max = *case.one_of(&["", " 4", " 100"]);
    let export = *case.one_of(&["(export \"mem\")", ""]);
    put(
        &mut text,
        &format!("(memory $mem {export}{index} {pages}{max})"),
    );
    let byte = case.rng.u8(b'a'..=b'z') as char;
    let (data, name) = (
        String::from(byte).repeat(300),
        if is64 { "i64" } else { "i32" },
    );
    put(
        &mut text,
        &format!("(data ({name}.const 0) \"\\01\\02\\ff\\00\\80{data}\")"),
    );
    put(
        &mut text,
        "(global $glob (export \"glob\") (mut i64) (i64.const 5))",
    );
    if more {
        let tags = "(tag $t0) (tag $t1 (param i32)) (tag $t2 (param i64 i32))";
        put(&mut text, tags);
    }
    for (i, function) in functions.iter().enumerate() {
        put(
            &mut text,
            &format!("(type $ty{i} (func {}))", function.ty()),
        );
    }
    let all: String = (0..count).map(|i| format!(" $fn{i}")).collect();
    let has_table = case.once_in(2);
    if has_table {
        put(&mut text, &format!("(table $tab funcref (elem{all}))"));
    }
    let declares = more && case.once_in(2);
    if declares {
        put(&mut text, &format!("(elem declare func{all})"));
    }
    for i in 0..functions.len() {
        let mut writer = Writer {
            functions: &functions,
            own: i,
            more,
            has_table,
            declares,
            is64,
            min: pages << 16,
            locals: Vec::new(),
            labels: Vec::new(),
            calls: case.rng.u32(1..4),
        };
        text += &writer.function(case);
    }
    vec![text + ")\n"]
}

fn put(text: &mut String, line: &str) {
    writeln!(text, "  {line}").expect("strings take everything");
}

fn function(case: &mut Case) -> Function {
    let mut list = |max: usize| {
        let len = case.rng.usize(..max);
        (0..len)
            .map(|_| *case.one_of(&[Ty::I32, Ty::I32, Ty::I64, Ty::V128]))
            .collect()
    };
    Function {
        owner: 0,
        params: list(5),
        results: list(4),
    }
}

struct Writer<'w> {
    functions: &'w [Function],
    own: usize,
    more: bool,
    has_table: bool,
    /// Whether `ref.func` may name the functions.
    declares: bool,
    is64: bool,
    /// Bytes of the memory.
    min: u64,
    locals: Vec<Ty>,
    /// The open blocks, whose labels are `$b0` and so on: whether a branch passes a value.
    labels: Vec<bool>,
    /// The number of calls that may still be written.
    calls: u32,
}

impl Writer<'_> {
    fn function(&mut self, case: &mut Case) -> String {
        let own = &self.functions[self.own];
        let i = self.own;
        let mut text = format!("  (func $fn{i}");
        if case.once_in(3) || i + 1 == self.functions.len() {
            text += &format!(" (export \"fn{i}\")");
        }
        writeln!(text, " {}", own.ty()).expect("strings take everything");
        self.locals.clone_from(&own.params);
        for _ in 0..case.rng.usize(..5) {
            self.locals
                .push(*case.one_of(&[Ty::I32, Ty::I32, Ty::I64, Ty::V128]));
        }
        for ty in &self.locals[own.params.len()..] {
            text += &format!("    (local {})", ty.name());
        }
        text += "    (local $c0 i32) (local $c1 i32) (local $c2 i32) (local $c3 i32)\n";
        for local in 0..self.functions[self.own].params.len() {
            if self.locals[local] == self.index() && !case.once_in(8) {
                text += &format!("    (local.set {local} {})\n", self.masked(local));
            }
        }
        for _ in 0..case.rng.usize(..4) {
            text += &self.statement(case, DEPTH);
        }
        text + &self.ending(case) + "  )\n"
    }

    fn ending(&mut self, case: &mut Case) -> String {
        let results = &self.functions[self.own].results;
        let same = |j: &usize| self.functions[*j].results == *results;
        let callees: Vec<_> = (0..self.own).filter(same).collect();
        if !callees.is_empty() && case.once_in(8) {
            let callee = *case.one_of(&callees);
            let args = self.values(case, &self.functions[callee].params, 1);
            return format!("    (return_call $fn{callee}{args})\n");
        }
        let results = results.clone();
        format!("    {}\n", self.values(case, &results, 3))
    }

    fn statements(&mut self, case: &mut Case, depth: u32) -> String {
        let count = case.rng.usize(..4);
        (0..count).map(|_| self.statement(case, depth)).collect()
    }

    fn statement(&mut self, case: &mut Case, depth: u32) -> String {
        let kind = case.rng.u32(..if depth == 0 { 9 } else { 18 });
        match kind {
            _ if self.more && case.once_in(8) => self.throw(case),
            _ if self.more && case.once_in(12) => self.atomic(case),
            _ if self.more && depth > 0 && case.once_in(4) => self.catch(case, depth - 1),
            0 | 1 => self.assign(case),
            2 | 3 => self.store(case),
            4 | 5 => self.call(case),
            6 => match case.rng.u32(..6) {
                0 => format!(
                    "(memory.grow $mem {}) drop\n",
                    self.number(case.rng.u64(..2))
                ),
                1 => format!("(drop (call $log {}))\n", self.value(case, Ty::I32, 1)),
                _ => format!("(global.set $glob {})\n", self.value(case, Ty::I64, 2)),
            },
            7 => self.leave(case),
            8 => self.trap(case),
            9 | 10 => {
                let condition = self.value(case, Ty::I32, 2);
                let then = self.statements(case, depth - 1);
                match case.once_in(2) {
                    true => format!("(if {condition} (then\n{then}))\n"),
                    false => {
                        let other = self.statements(case, depth - 1);
                        format!("(if {condition} (then\n{then}) (else\n{other}))\n")
                    }
                }
            }
            11 | 12 => self.repeat(case, depth - 1),
            13 => {
                let label = self.open(false);
                let before = self.statements(case, depth - 1);
                let condition = self.value(case, Ty::I32, 1);
                let behind = self.statements(case, depth - 1);
                self.labels.pop();
                format!("(block {label}\n{before}(br_if {label} {condition})\n{behind})\n")
            }
            14 | 15 => self.table(case, depth - 1),
            16 => self.interpreter(case, depth - 1),
            _ => self.table_of_values(case),
        }
    }

    fn open(&mut self, passes_value: bool) -> String {
        self.labels.push(passes_value);
        format!("$b{}", self.labels.len() - 1)
    }

    /// A loop of some turns, which ends when no steps are left. A value may go around in it.
    fn repeat(&mut self, case: &mut Case, depth: u32) -> String {
        let (count, turns) = (format!("$c{depth}"), case.rng.u32(1..6));
        let carried = self.local(case, Ty::I32).filter(|_| case.once_in(3));
        let label = self.open(carried.is_some());
        let inside = self.statements(case, depth);
        self.labels.pop();
        let (ty, first, last) = match carried {
            Some(local) => (
                " (param i32) (result i32)",
                format!("(i32.const {})", case.rng.u32(..70_000)),
                format!(
                    "(local.set {local} (i32.add (local.get {local})))\n{{}}(local.get {local})"
                ),
            ),
            None => ("", String::new(), "{}".to_owned()),
        };
        let inside = last.replace("{}", &inside);
        let exit = match carried {
            Some(local) => format!("(local.set {local})\n"),
            None => String::new(),
        };
        format!(
            "(local.set {count} (i32.const {turns})) {first}
    (block {label}{ty} (loop {label}l{ty}
    (global.set $steps (i32.sub (global.get $steps) (i32.const 1)))
    (br_if {label} (i32.le_s (global.get $steps) (i32.const 0)))
{inside}    (br_if {label}l (local.tee {count} (i32.sub (local.get {count}) (i32.const 1))))))
{exit}"
        )
    }

    /// A `br_table` whose targets have code of their own.
    fn table(&mut self, case: &mut Case, depth: u32) -> String {
        let count = case.rng.usize(1..5);
        let labels: Vec<String> = (0..count).map(|_| self.open(false)).collect();
        let index = self.table_index(case);
        let mut text: String = labels.iter().map(|l| format!("(block {l} ")).collect();
        text += &format!("(br_table{} {index})\n", targets(case, &labels));
        // Code in the blocks, from the inside out.
        for label in labels.iter().rev() {
            self.labels.pop();
            text += ")\n";
            text += &self.statements(case, depth);
            if *label != labels[0] && case.once_in(2) {
                text += &format!("(br {})\n", labels[0]);
            }
        }
        text
    }

    /// A loop of operations whose numbers are in the memory. It ends when no steps are left.
    fn interpreter(&mut self, case: &mut Case, depth: u32) -> String {
        let (at, start) = (format!("$c{depth}"), case.rng.u32(..310));
        let exit = self.open(false);
        let labels: Vec<String> = (0..case.rng.usize(5..9))
            .map(|_| self.open(false))
            .collect();
        let place = format!("(i32.and (local.get {at}) (i32.const 511))");
        let place = match self.is64 {
            true => format!("(i64.extend_i32_u {place})"),
            false => place,
        };
        let mut text = format!(
            "(local.set {at} (i32.const {start}))
    (block {exit} (loop {exit}l
    (global.set $steps (i32.sub (global.get $steps) (i32.const 1)))
    (br_if {exit} (i32.le_s (global.get $steps) (i32.const 0)))
    (local.set {at} (i32.add (local.get {at}) (i32.const 1)))\n"
        );
        text += &labels
            .iter()
            .map(|l| format!("(block {l} "))
            .collect::<String>();
        let mask = *case.one_of(&[7, 255]);
        let number = format!("(i32.and (i32.load8_u $mem {place}) (i32.const {mask}))");
        text += &format!("(br_table{} {number})\n", targets(case, &labels));
        for _ in &labels {
            self.labels.pop();
            text += &format!(")\n{}(br {exit}l)\n", self.statement(case, depth));
        }
        self.labels.pop();
        text + "))\n"
    }

    /// A `br_table` that passes a value.
    fn table_of_values(&mut self, case: &mut Case) -> String {
        let ty = *case.one_of(&Ty::ALL);
        let Some(local) = self.local(case, ty) else {
            return self.assign(case);
        };
        let (name, value, index) = (ty.name(), self.value(case, ty, 1), self.table_index(case));
        let other = self.value(case, ty, 1);
        let labels = ["$va".to_owned(), "$vb".to_owned()];
        let targets = targets(case, &labels);
        let combine = if ty == Ty::V128 {
            "i8x16.sub".to_owned()
        } else {
            format!("{name}.rotl")
        };
        format!(
            "(local.set {local} (block $va (result {name}) ({combine} (block $vb (result {name})
    (br_table{targets} {value} {index})) {other})))\n"
        )
    }

    fn table_index(&mut self, case: &mut Case) -> String {
        match case.rng.u32(..8) {
            0 => {
                let edges = [0, 1, -1, i32::MIN, i32::MAX, 63, 64];
                format!("(i32.const {})", case.one_of(&edges))
            }
            1 | 2 => self.value(case, Ty::I32, 2),
            _ => {
                let mask = *case.one_of(&[1, 3, 7, 15, 127]);
                format!(
                    "(i32.and {} (i32.const {mask}))",
                    self.value(case, Ty::I32, 2)
                )
            }
        }
    }

    fn assign(&mut self, case: &mut Case) -> String {
        let ty = *case.one_of(&Ty::ALL);
        match self.local(case, ty) {
            Some(local) if ty == Ty::I32 && case.once_in(3) => {
                let step = case.one_of(&[1, 2, 4, 8, -4, 64, 4096]);
                format!("(local.set {local} (i32.add (local.get {local}) (i32.const {step})))\n")
            }
            Some(local) if ty == self.index() && !case.once_in(4) => {
                let value = self.value(case, ty, 3);
                format!(
                    "(local.set {local} {value}) (local.set {local} {})\n",
                    self.masked(local)
                )
            }
            Some(local) => format!("(local.set {local} {})\n", self.value(case, ty, 3)),
            None => self.store(case),
        }
    }

    /// Leaves a block or the function. This is sometimes unconditional, so that what follows is not
    /// reached.
    fn leave(&mut self, case: &mut Case) -> String {
        let condition = self.value(case, Ty::I32, 1);
        let is_certain = case.once_in(6);
        let free: Vec<_> = (0..self.labels.len())
            .filter(|i| !self.labels[*i])
            .collect();
        if !free.is_empty() && case.once_in(2) {
            let label = case.one_of(&free);
            return match is_certain {
                true => format!("(if {condition} (then (br $b{label}) unreachable))\n"),
                false => format!("(if {condition} (then (br $b{label})))\n"),
            };
        }
        let results = self.functions[self.own].results.clone();
        let results = self.values(case, &results, 1);
        match is_certain {
            true => format!("(block{results} (return) (unreachable))\n"),
            false => format!("(if {condition} (then{results} (return)))\n"),
        }
    }

    fn trap(&mut self, case: &mut Case) -> String {
        let rare = format!(
            "(i32.eq (i32.and {} (i32.const 63)) (i32.const 7))",
            self.value(case, Ty::I32, 2)
        );
        match self.local(case, Ty::I32) {
            Some(local) if case.once_in(2) => {
                let by = self.value(case, Ty::I32, 1);
                format!("(local.set {local} (i32.div_s (local.get {local}) {by}))\n")
            }
            _ => format!("(if {rare} (then unreachable))\n"),
        }
    }

    /// Wide or atomic operators.
    fn atomic(&mut self, case: &mut Case) -> String {
        let (a, b) = (self.value(case, Ty::I64, 2), self.value(case, Ty::I64, 1));
        let Some(local) = self.local(case, Ty::I64).filter(|_| case.once_in(2)) else {
            let at = self.number(case.rng.u64(..self.min) & !7);
            let ops = ["add", "sub", "xchg", "xor"];
            let op = case.one_of(&ops);
            return format!("(drop (i64.atomic.rmw.{op} $mem {at} {a}))\n");
        };
        let wide = *case.one_of(&["mul_wide_u", "mul_wide_s"]);
        match case.once_in(2) {
            true => format!("(i64.{wide} {a} {b}) (local.set {local}) (global.set $glob)\n"),
            false => format!(
                "(i64.add128 {a} {b} (global.get $glob) (local.get {local})) (local.set {local}) drop\n"
            ),
        }
    }

    fn throw(&mut self, case: &mut Case) -> String {
        let (value, other) = (self.value(case, Ty::I32, 1), self.value(case, Ty::I64, 1));
        let throw = match case.rng.u32(..3) {
            0 => "(throw $t0)".to_owned(),
            1 => format!("(throw $t1 {value})"),
            _ => format!("(throw $t2 {other} {value})"),
        };
        let condition = self.value(case, Ty::I32, 1);
        format!("(if (i32.eqz (i32.and {condition} (i32.const 3))) (then {throw}))\n")
    }

    /// Statements whose exceptions are caught: with or without their values, or to be thrown again
    /// after other statements.
    fn catch(&mut self, case: &mut Case, depth: u32) -> String {
        let end = self.open(false);
        let inside = self.statements(case, depth);
        let (clause, ty, take) = match case.rng.u32(..5) {
            0 => ("(catch $t0 $h) (catch $t0 $h)", "", ""),
            1 => ("(catch $t0 $h) (catch_all $h)", "", ""),
            2 => (
                "(catch $t1 $h)",
                " (result i32)",
                "(global.set $glob (i64.extend_i32_s))",
            ),
            3 => (
                "(catch $t2 $h)",
                " (result i64 i32)",
                "i64.extend_i32_u i64.xor (global.set $glob)",
            ),
            _ => ("(catch_all_ref $h)", " (result exnref)", "throw_ref"),
        };
        let clause = match case.once_in(3) && !clause.contains("all") {
            true => format!("{clause} (catch_all {end})"),
            false => clause.to_owned(),
        };
        let is_again = take == "throw_ref";
        let before = if is_again {
            self.statements(case, depth)
        } else {
            String::new()
        };
        self.labels.pop();
        let behind = self.statements(case, depth);
        format!(
            "(block {end} (block $h{ty} (try_table {clause}\n{inside}) (br {end}))
{before}{take})\n{behind}"
        )
    }

    /// A call, mostly of an earlier function. Its results go to locals.
    fn call(&mut self, case: &mut Case) -> String {
        let Some(left) = self.calls.checked_sub(1) else {
            return self.assign(case);
        };
        self.calls = left;
        // Calls of the function itself and of later functions are only made while steps are left.
        let callee = match case.once_in(12) {
            true => case.rng.usize(..self.functions.len()),
            false if self.own == 0 => return self.assign(case),
            false => case.rng.usize(..self.own),
        };
        let Function {
            params, results, ..
        } = self.functions[callee].clone();
        let args = self.values(case, &params, 2);
        let mut text = match case.rng.u32(..6) {
            0 | 3 if self.has_table => {
                let other = case.rng.usize(..=self.functions.len());
                let at = if case.once_in(20) { other } else { callee };
                // Mostly one index, so that profiles name it, or always.
                let index = match case.once_in(2) {
                    true => format!("(i32.const {at})"),
                    false => format!(
                        "(i32.sub (i32.const {at}) (i32.eqz {}))",
                        self.value(case, Ty::I32, 2)
                    ),
                };
                format!("(call_indirect $tab (type $ty{callee}){args} {index})\n")
            }
            1 | 2 if self.declares => {
                format!("(call_ref $ty{callee}{args} (ref.func $fn{callee}))\n")
            }
            _ => format!("(call $fn{callee}{args})\n"),
        };
        for ty in results.iter().rev() {
            match self.local(case, *ty) {
                Some(local) if !case.once_in(4) => text += &format!("(local.set {local})\n"),
                _ => text += "drop\n",
            }
        }
        if callee < self.own {
            return text;
        }
        format!(
            "(if (i32.gt_s (global.get $steps) (i32.const 0)) (then
    (global.set $steps (i32.sub (global.get $steps) (i32.const 3)))\n{text}))\n"
        )
    }

    fn store(&mut self, case: &mut Case) -> String {
        let stores = [
            ("i32.store8", Ty::I32),
            ("i32.store", Ty::I32),
            ("i64.store", Ty::I64),
            ("i64.store16", Ty::I64),
            ("v128.store", Ty::V128),
        ];
        let (store, ty) = *case.one_of(&stores);
        let address = self.address(case);
        format!("({store} $mem {address} {})\n", self.value(case, ty, 2))
    }
}

/// The targets of a `br_table` and its default: few or many, in runs or scattered.
fn targets(case: &mut Case, labels: &[String]) -> String {
    let len = *case.one_of(&[0, 1, 2, 3, 4, 6, 8, 31, 63, 64, 65, 130]);
    let in_runs = case.once_in(2);
    let mut label = case.one_of(labels);
    let mut text = String::new();
    for _ in 0..=len {
        if !in_runs || case.once_in(6) {
            label = case.one_of(labels);
        }
        text += &format!(" {label}");
    }
    text
}
