//! A trap reports the offset of the operator that trapped, even where the code of a load is fused
//! with that of the operator that uses its value.

use precast_loader::{Engine, Instance, Module, Store, TypedFunc};
use precast_tests::{Source, strategies};

/// The loads of values of each type.
const LOADS: [(&str, &[&str]); 5] = [
    (
        "i32",
        &["load", "load8_s", "load8_u", "load16_s", "load16_u"],
    ),
    (
        "i64",
        &[
            "load", "load8_s", "load8_u", "load16_s", "load16_u", "load32_s", "load32_u",
        ],
    ),
    ("f32", &["load"]),
    ("f64", &["load"]),
    ("v128", &["load", "load8_splat", "load32_zero", "load8x8_u"]),
];

/// The operators with two operands of a type, and the types of their results.
fn binary(ty: &str) -> Vec<(String, &'static str)> {
    let all = |names: &[&str], result| -> Vec<(String, &'static str)> {
        let name = |name: &&str| (format!("{ty}.{name}"), result);
        names.iter().map(name).collect()
    };
    match ty {
        "i32" | "i64" => {
            let own = if ty == "i32" { "i32" } else { "i64" };
            let numeric = [
                "add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor", "shl",
                "shr_s", "shr_u", "rotl", "rotr",
            ];
            let compare = [
                "eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u",
            ];
            [all(&numeric, own), all(&compare, "i32")].concat()
        }
        "f32" | "f64" => {
            let own = if ty == "f32" { "f32" } else { "f64" };
            let numeric = ["add", "sub", "mul", "div", "min", "max", "copysign"];
            let compare = ["eq", "ne", "lt", "gt", "le", "ge"];
            [all(&numeric, own), all(&compare, "i32")].concat()
        }
        _ => [
            "i8x16.add",
            "i16x8.add_sat_s",
            "i32x4.mul",
            "i64x2.sub",
            "f32x4.add",
            "f64x2.mul",
            "v128.and",
            "v128.xor",
            "v128.andnot",
            "i8x16.eq",
            "f32x4.lt",
            "i32x4.min_u",
            "i8x16.swizzle",
            "f64x2.pmin",
            "i16x8.narrow_i32x4_s",
        ]
        .iter()
        .map(|name| ((*name).to_owned(), "v128"))
        .collect(),
    }
}

/// The operators with one operand of a type, and the types of their results.
fn unary(ty: &str) -> &'static [(&'static str, &'static str)] {
    match ty {
        "i32" => &[
            ("i32.eqz", "i32"),
            ("i32.clz", "i32"),
            ("i32.ctz", "i32"),
            ("i32.popcnt", "i32"),
            ("i64.extend_i32_s", "i64"),
            ("i64.extend_i32_u", "i64"),
            ("i32.extend8_s", "i32"),
            ("f64.convert_i32_s", "f64"),
            ("f32.convert_i32_u", "f32"),
            ("f32.reinterpret_i32", "f32"),
            ("i32x4.splat", "v128"),
            ("i8x16.splat", "v128"),
            ("i32.load", "i32"),
            ("i64.load8_s offset=7", "i64"),
        ],
        "i64" => &[
            ("i64.eqz", "i32"),
            ("i64.clz", "i64"),
            ("i64.ctz", "i64"),
            ("i64.popcnt", "i64"),
            ("i32.wrap_i64", "i32"),
            ("i64.extend32_s", "i64"),
            ("f64.convert_i64_s", "f64"),
            ("f64.reinterpret_i64", "f64"),
            ("i64x2.splat", "v128"),
        ],
        "f32" => &[
            ("f32.neg", "f32"),
            ("f32.abs", "f32"),
            ("f32.sqrt", "f32"),
            ("f32.floor", "f32"),
            ("f64.promote_f32", "f64"),
            ("i32.trunc_f32_s", "i32"),
            ("i32.trunc_sat_f32_u", "i32"),
            ("i32.reinterpret_f32", "i32"),
            ("f32x4.splat", "v128"),
        ],
        "f64" => &[
            ("f64.neg", "f64"),
            ("f64.abs", "f64"),
            ("f64.sqrt", "f64"),
            ("f64.nearest", "f64"),
            ("f32.demote_f64", "f32"),
            ("i64.trunc_f64_s", "i64"),
            ("i64.trunc_sat_f64_u", "i64"),
            ("i64.reinterpret_f64", "i64"),
            ("f64x2.splat", "v128"),
        ],
        _ => &[
            ("v128.not", "v128"),
            ("i8x16.neg", "v128"),
            ("f32x4.sqrt", "v128"),
            ("i32x4.extend_low_i16x8_s", "v128"),
            ("i8x16.bitmask", "i32"),
            ("v128.any_true", "i32"),
            ("i32x4.extract_lane 1", "i32"),
            ("f64x2.extract_lane 0", "f64"),
            ("i32x4.trunc_sat_f32x4_s", "v128"),
        ],
    }
}

/// The bodies of functions that take an address. The load with the offset 4321 faults at that
/// address. In front of it is code that Cranelift may move or leave out.
fn bodies() -> Vec<String> {
    let mut bodies = Vec::new();
    let mut add = |body: String, ty: &str| {
        bodies.push(format!("(drop {body})"));
        bodies.push(format!(
            "(call $n) (call $n) ({ty}.store (i32.const 32) {body})"
        ));
        bodies.push(format!(
            "(i64.store (i32.const 16) (i64.const 5))
            (if (i32.const 1) (then ({ty}.store (i32.const 40) {body})))"
        ));
    };
    for (ty, loads) in LOADS {
        for load in loads {
            let load = format!("({ty}.{load} offset=4321 (local.get 0))");
            let other = match ty {
                "v128" => "(v128.const i64x2 3 1)".to_owned(),
                _ => format!("({ty}.const 3)"),
            };
            let local = format!("(local.get ${ty})");
            for (op, result) in binary(ty) {
                for other in [&other, &local] {
                    add(format!("({op} {load} {other})"), result);
                    add(format!("({op} {other} {load})"), result);
                }
                add(format!("({op} {load} ({ty}.load (i32.const 8)))"), result);
                add(format!("({op} ({ty}.load (i32.const 8)) {load})"), result);
            }
            for (op, result) in unary(ty) {
                add(format!("({op} {load})"), result);
            }
            add(load.clone(), ty);
            add(format!("(select {load} {local} (local.get $i32))"), ty);
            add(
                format!("(select {local} {load} (i32.eqz (local.get 0)))"),
                ty,
            );
        }
    }
    for (ty, ops) in [
        ("i32", ["add", "sub", "and", "or", "xor"]),
        ("i64", ["add", "sub", "and", "or", "xor"]),
    ] {
        for op in ops {
            // Load, operator and store become one instruction.
            let load = format!("({ty}.load offset=4321 (local.get 0))");
            let sum = format!("({ty}.{op} {load} (local.get ${ty}))");
            bodies.push(format!("({ty}.store offset=4321 (local.get 0) {sum})"));
            // With another address they do not.
            bodies.push(format!("({ty}.store offset=4325 (local.get 0) {sum})"));
        }
    }
    bodies.push("(br_if 0 (i32.load offset=4321 (local.get 0)))".to_owned());
    bodies.push("(if (i32.load8_u offset=4321 (local.get 0)) (then (call $n)))".to_owned());
    bodies.push("(call_indirect (i32.load offset=4321 (local.get 0)))".to_owned());
    // The product belongs to no operator, and in front of the loop is what was moved out of it.
    bodies.push(
        "(loop $l
            (br_if 1 (i32.eqz
                (i32.mul (i32.const -1030400936) (i32.load offset=4321 (local.get 0)))))
            (memory.fill (i32.const 5) (local.get 0) (i32.const 18))
            (br $l))"
            .to_owned(),
    );
    bodies.push(
        "(memory.fill (i32.const 0) (i32.load offset=4321 (local.get 0)) (i32.const 3))".to_owned(),
    );
    bodies
}

fn text(bodies: &[String]) -> String {
    let mut text = String::from("(module (memory 1) (table 1 funcref) (func $n (export \"n\"))");
    for (i, body) in bodies.iter().enumerate() {
        text += &format!(
            "(func (export \"{i}\") (param i32)
                (local $i32 i32) (local $i64 i64) (local $f32 f32) (local $f64 f64) (local $v128 v128)
                {body})"
        );
    }
    text + ")"
}

/// The offsets of these loads in the module, in the order of the functions.
fn load_offsets(wasm: &[u8]) -> Vec<u32> {
    let mut offsets = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() else {
            continue;
        };
        let mut reader = body.get_operators_reader().unwrap();
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset().unwrap();
            let text = format!("{operator:?}");
            if text.contains("offset: 4321,") && text.contains("Load") {
                offsets.push(u32::try_from(offset).unwrap());
            }
        }
    }
    offsets
}

/// Calls each function and compares the offset of its trap. Fails with the functions whose offset
/// is wrong.
fn check(module: &Module, bodies: &[String], offsets: &[u32], how: &str) {
    assert_eq!(bodies.len(), offsets.len());
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let mut wrong = Vec::new();
    for (i, (body, offset)) in bodies.iter().zip(offsets).enumerate() {
        let name = i.to_string();
        let func: TypedFunc<i32, ()> = instance.get_typed_func(&mut store, &name).unwrap();
        let error = func.call(&mut store, 0x7fff_0000).unwrap_err();
        let found = error.backtrace().unwrap().frames()[0].module_offset();
        if found != Some(*offset as usize) {
            wrong.push(format!("{found:x?} instead of {offset:x}: {body}"));
        }
    }
    let count = wrong.len();
    wrong.truncate(20);
    assert!(
        wrong.is_empty(),
        "{how}: {count} of {}:\n{}",
        bodies.len(),
        wrong.join("\n")
    );
}

#[test]
fn traps_have_the_offset_of_the_load() {
    let bodies = bodies();
    let text = text(&bodies);
    let offsets = load_offsets(&wat::parse_str(&text).unwrap());
    for strategy in strategies() {
        let module = Source::new(strategy).module(&Engine::default(), &text);
        check(&module, &bodies, &offsets, &strategy.to_string());
    }
}

#[test]
#[cfg(feature = "compiler")]
fn traps_have_the_offset_of_the_load_without_optimisation() {
    let bodies = bodies();
    let wasm = wat::parse_str(text(&bodies)).unwrap();
    let offsets = load_offsets(&wasm);
    let settings = precast_compiler::Settings {
        opt_level: precast_compiler::OptLevel::None,
        strategy: precast_artifact::Strategy::Guarded,
        ..Default::default()
    };
    let artifact = precast_tests::compiled(&wasm, &settings).unwrap();
    // SAFETY: our own compiler has just written these bytes.
    let module = unsafe { Module::from_bytes(&Engine::default(), &artifact) }.unwrap();
    check(&module, &bodies, &offsets, "without optimisation");
}

/// A conditional branch to a block with nothing but a trap becomes a conditional trap.
#[test]
fn traps_behind_branches_have_offsets() {
    const WAT: &str = r#"(module
        (func (export "f") (param i32) (if (local.get 0) (then (unreachable))))
        (func (export "g") (param i32)
            (block (br_if 0 (i32.eqz (local.get 0))) (unreachable))))"#;
    let wasm = wat::parse_str(WAT).unwrap();
    for strategy in strategies() {
        let module = Source::new(strategy).module(&Engine::default(), WAT);
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for name in ["f", "g"] {
            let func: TypedFunc<i32, ()> = instance.get_typed_func(&mut store, name).unwrap();
            let error = func.call(&mut store, 1).unwrap_err();
            let offset = error.backtrace().unwrap().frames()[0].module_offset();
            assert_eq!(wasm[offset.unwrap()], 0, "{name} {strategy}");
        }
    }
}
