//! The artifacts that are mutated. The compiler makes them, with both strategies, from modules that
//! use every table of an artifact. No module has a start function, because machine code of a
//! mutated artifact must never run.

use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Compiler, Settings};

/// A module with every kind of import, global, segment and table, and with references between them.
const EVERYTHING: &str = r#"(module
    (import "h" "f" (func $h (param i64 f32) (result i64)))
    (import "h" "n" (func $n))
    (import "h" "v" (func $v (param v128) (result v128)))
    (import "h" "m" (memory 1 4))
    (import "h" "t" (table $ti 3 20 funcref))
    (import "h" "x" (table $xi 3 externref))
    (import "h" "i32" (global $i i32))
    (import "h" "i64" (global $l i64))
    (import "h" "mut" (global $mut (mut i64)))
    (import "h" "fr" (global $fr funcref))
    (import "h" "er" (global $er externref))
    (import "h" "v128" (global $iv v128))
    (memory $a (export "a") 3 9)
    (memory $b (export "b") i64 2 5)
    (memory $c 1 1)
    (type $long (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32
        i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (table $frozen 5 funcref)
    (table $t (export "t") 8 16 funcref)
    (table $x (export "x") 4 externref)
    (table $t64 (export "t64") i64 6 10 funcref)
    (global (export "g0") (mut i32) (i32.const 0x1234567))
    (global (export "g1") (mut i64) (i64.const -5))
    (global (export "g2") (mut f32) (f32.const 1.5))
    (global (export "g3") f64 (f64.const 2.5))
    (global (export "g4") (mut v128) (v128.const i32x4 1 2 3 4))
    (global (export "g5") (mut funcref) (ref.func $one))
    (global (export "g6") (mut externref) (ref.null extern))
    (global (export "g7") funcref (ref.null func))
    (global (export "g8") i32 (i32.add (global.get $i) (i32.mul (i32.const 3) (global.get $i))))
    (global (export "g9") i64 (i64.sub (global.get $l) (i64.const 1)))
    (global (export "g10") funcref (global.get $fr))
    (global (export "g11") externref (global.get $er))
    (global (export "g12") v128 (global.get $iv))
    (global (export "g13") funcref (ref.func $h))
    (export "mut" (global $mut))
    (func $one (export "one") (param i32) (result i32) (local.get 0))
    (func $two (export "two") (param i32 i32) (result i32 i32) (local.get 1) (local.get 0))
    (func $three (type $long)
        (call_indirect $t (type $long) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
            (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
            (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
            (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)))
    (func $indirect (param i32) (result i32)
        (call_indirect $frozen (param i32) (result i32) (local.get 0) (local.get 0)))
    (func $uses (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 1))
        (table.init $t $elems (i32.const 0) (i32.const 0) (i32.const 1))
        (table.init $x $externs (i32.const 0) (i32.const 0) (i32.const 1))
        (i32.store $c (i32.const 0) (i32.div_s (i32.const 1) (i32.load $a (i32.const 0))))
        (call $n) (drop (call $h (i64.const 1) (f32.const 1))) (drop (call $v (global.get $iv))))
    (export "h" (func $h)) (export "n" (func $n)) (export "v" (func $v)) (export "ti" (table $ti))
    (elem (table $frozen) (i32.const 1) func $one $h)
    (elem (table $t) (offset (global.get $i)) func $one $two $h)
    (elem (table $t) (i32.const 5) funcref (ref.null func) (global.get $fr) (ref.func $three))
    (elem (table $x) (i32.const 0) externref (global.get $er) (ref.null extern))
    (elem (table $t64) (i64.const 1) func $n $uses)
    (elem (table $ti) (i32.const 0) func $one)
    (elem $elems func $two $n)
    (elem $externs externref (ref.null extern) (global.get $er))
    (data (memory $a) (i32.const 20) "near")
    (data (memory $a) (i32.const 150000) "far")
    (data (memory $b) (i64.const 70000) "sixty-four")
    (data (memory 0) (offset (global.get $i)) "imported")
    (data (memory $a) (offset (i32.add (global.get $i) (i32.const 7))) "late")
    (data $passive "passive"))"#;

/// A module that imports only host functions, so that its instances are reused.
const POOLED: &str = r#"(module
    (import "h" "f" (func $f (param i32) (result i32)))
    (import "h" "g" (func $g (param i64 f64)))
    (import "h" "n" (func $n))
    (memory (export "m") 2 4)
    (table (export "t") 6 funcref)
    (global $sp (mut i32) (i32.const 65536))
    (global (export "g") (mut i64) (i64.const 7))
    (global (export "r") (mut funcref) (ref.func $f))
    (func $get (export "get") (result i32) (global.get $sp))
    (func (export "set") (param i32) (global.set $sp (local.get 0)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (elem (i32.const 1) func $get $f $g $n)
    (export "f" (func $f)) (export "n" (func $n))
    (data (i32.const 1024) "data") (data (i32.const 80000) "more"))"#;

/// A module with memories of several threads, and with pages of one byte.
const SHARED: &str = r#"(module
    (import "h" "m" (memory $m 1 5 shared))
    (memory $own (export "own") 1 3 shared)
    (memory $bytes (export "bytes") 100 70000 (pagesize 1))
    (func (export "f") (param i32) (result i32)
        (drop (memory.atomic.wait32 $own (i32.const 8) (i32.const 0) (i64.const 1000)))
        (drop (memory.atomic.notify $m (i32.const 8) (i32.const 1)))
        (drop (memory.grow $own (i32.const 1)))
        (drop (memory.grow $bytes (i32.const 7)))
        (i32.store8 $bytes (i32.const 99) (i32.const 1))
        (i32.atomic.rmw.add $own (i32.const 8) (i32.atomic.load $m (i32.const 4))))
    (data (memory $own) (i32.const 20) "own")
    (data (memory $bytes) (i32.const 90) "bytes"))"#;

/// A module with types that refer to types, in each place where a type can be.
const TYPED: &str = r#"(module
    (type $t (func (param i32) (result i32)))
    (rec (type $a (sub (func (param (ref null $b))))) (type $b (func (result (ref null $a)))))
    (type $below (sub final $a (func (param funcref))))
    (func $one (export "one") (type $t) (local.get 0))
    (func $two (export "two") (type $below))
    (func (export "three") (type $b) (ref.null $a))
    (func (export "four") (param (ref null $t) (ref func) (ref null noextern)))
    (global (export "g") (mut (ref $t)) (ref.func $one))
    (global (export "n") (ref null $a) (ref.func $two))
    (table (export "t") 4 9 (ref $t) (ref.func $one))
    (table (export "u") 3 (ref null $a))
    (elem (table 1) (i32.const 1) (ref null $a) (ref.func $two) (ref.null $a)))"#;

/// A module that throws and catches exceptions of its own tags and of others', and whose code
/// counts how often it runs.
const COUNTED: &str = r#"(module
    (type $far (func (param funcref externref v128)))
    (import "h" "n" (func $n))
    (import "h" "e" (tag $e (param i32 f64)))
    (import "h" "far" (tag $far (type $far)))
    (tag $own (export "own") (param i64))
    (tag (export "empty"))
    (export "e" (tag $e))
    (global (export "x") (mut exnref) (ref.null exn))
    (table (export "exns") 3 exnref)
    (func (export "f") (param i32) (result i64)
        (block $caught (result i32 f64)
            (block $mine (result i64)
                (try_table (catch $e $caught) (catch $own $mine)
                    (call $n)
                    (if (local.get 0) (then (throw $own (i64.const 1)))))
                (return (i64.const 2)))
            (return))
        (drop) (return (i64.extend_i32_s)))
    (func (export "loop") (param i32)
        (try_table (call $n)
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (throw $far (ref.null func) (ref.null extern) (v128.const i64x2 1 2))))"#;

/// A module whose artifact lacks the rare sections.
const SMALL: &str = r#"(module (func (export "f") (param i32) (result i32) (local.get 0)))"#;

/// An artifact to mutate.
pub struct Base {
    /// A description.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Compiles all base artifacts.
///
/// # Panics
/// If one does not compile.
pub fn all() -> Vec<Base> {
    let mut bases = Vec::new();
    let many = many();
    for (name, text) in [
        ("everything", EVERYTHING),
        ("pooled", POOLED),
        ("typed", TYPED),
        ("small", SMALL),
        ("shared", SHARED),
        ("counted", COUNTED),
        ("many", &many),
    ] {
        let wasm = wat::parse_str(text).expect("our own text");
        for strategy in [Strategy::Guarded, Strategy::Checked] {
            let settings = Settings {
                strategy,
                interruption: if name == "small" {
                    Interruption::Epoch
                } else {
                    Interruption::None
                },
                counters: name == "counted",
                ..Settings::default()
            };
            let compiler = Compiler::new(settings).expect("settings for this machine");
            let bytes = compiler.compile(&wasm).expect("our own module").artifact;
            let name = format!("{name}, {strategy}");
            bases.push(Base { name, bytes });
        }
    }
    bases
}

/// A module whose hot tables take more than a few pages.
fn many() -> String {
    let mut text = String::from("(module ");
    for i in 0..40 {
        text += &format!("(import \"host functions\" \"number {i}\" (func))");
    }
    for i in 0..150 {
        text += &format!("(global (export \"global number {i}\") (mut i64) (i64.const {i}))");
    }
    for i in 0..150 {
        text += &format!("(func (export \"function number {i}\") (result i32) (i32.const {i}))");
    }
    text + ")"
}
