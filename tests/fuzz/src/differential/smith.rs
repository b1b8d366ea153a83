//! Modules of `wasm-smith`, which generates every operator.
//!
//! With its default configuration most modules trap at once, because addresses and calls are
//! random. Therefore half of the modules are made free of traps, memories are small, and functions
//! are as long as the time for a case allows.

use arbitrary::Unstructured;
use wasm_smith::{Config, InstructionKind, InstructionKinds, MemoryOffsetChoices};
use wasmparser::{Operator, Parser, Payload, TypeRef};

use super::scenario::{Features, Scenario};
use crate::Case;

/// How many loop iterations and calls an instance may make in all.
const STEPS: u32 = 600;

/// A module of random operators of the features that wasmi has. `None` if `wasm-smith` cannot make
/// a module from the random bytes.
pub fn core(case: &mut Case) -> Option<Scenario> {
    let bytes = bytes(case);
    let mut config = config(case);
    let made = scenario(&bytes, config.clone())?;
    if !made.modules.iter().any(|module| leaves_nans(module)) {
        return Some(made);
    }
    config.relaxed_simd_enabled = false;
    scenario(&bytes, config)
}

/// Whether a module has an operator whose NaNs may differ between engines. `wasm-smith` makes the
/// NaNs equal that any other operator gives, but not those of these.
fn leaves_nans(wasm: &[u8]) -> bool {
    let is_one = |operator: Operator<'_>| {
        matches!(
            operator,
            Operator::F32x4RelaxedMadd
                | Operator::F32x4RelaxedNmadd
                | Operator::F32x4RelaxedMin
                | Operator::F32x4RelaxedMax
                | Operator::F64x2RelaxedMadd
                | Operator::F64x2RelaxedNmadd
                | Operator::F64x2RelaxedMin
                | Operator::F64x2RelaxedMax
        )
    };
    Parser::new(0).parse_all(wasm).flatten().any(|payload| {
        let Payload::CodeSectionEntry(body) = payload else {
            return false;
        };
        let operators = body.get_operators_reader().into_iter().flatten();
        operators.flatten().any(is_one)
    })
}

/// Like [`core()`], also with exceptions, atomic operators, wide arithmetic and pages of one byte.
/// There are no shared memories, on which a module might wait for ever.
pub fn everything(case: &mut Case) -> Option<Scenario> {
    let bytes = bytes(case);
    let mut config = config(case);
    use InstructionKind::{Control, Memory, NumericInt, Parametric, Variable};
    // Half of the modules are mostly about exceptions, or about atomic operators.
    match case.rng.u32(..4) {
        0 => {
            config.allowed_instructions =
                InstructionKinds::new(&[Control, NumericInt, Parametric, Variable]);
        }
        1 => {
            config.allowed_instructions =
                InstructionKinds::new(&[Memory, Control, NumericInt, Parametric, Variable]);
            config.threads_enabled = true;
        }
        _ => config.threads_enabled = case.once_in(2),
    }
    config.exceptions_enabled = true;
    // With few types, hardly any module has a tag that it can throw.
    (config.min_types, config.max_types) = (10, 20);
    (config.min_tags, config.max_tags) = (2, 4);
    config.wide_arithmetic_enabled = true;
    config.custom_page_sizes_enabled = case.once_in(4);
    let mut scenario = scenario(&bytes, config)?;
    scenario.needs = Features::Three;
    let shares = scenario.modules.iter().any(|m| has_shared_memory(m));
    (!shares).then_some(scenario)
}

fn bytes(case: &mut Case) -> Vec<u8> {
    let mut bytes = vec![0; case.rng.usize(300..3000)];
    case.rng.fill(&mut bytes);
    bytes
}

fn has_shared_memory(wasm: &[u8]) -> bool {
    let shared = |payload: Payload<'_>| match payload {
        Payload::ImportSection(imports) => imports
            .into_imports()
            .flatten()
            .any(|import| matches!(import.ty, TypeRef::Memory(memory) if memory.shared)),
        Payload::MemorySection(memories) => memories.into_iter().flatten().any(|m| m.shared),
        _ => false,
    };
    Parser::new(0).parse_all(wasm).flatten().any(shared)
}

fn scenario(bytes: &[u8], config: Config) -> Option<Scenario> {
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(bytes)).ok()?;
    module.ensure_termination(STEPS).ok()?;
    Some(Scenario {
        modules: vec![module.to_bytes()],
        calls: Vec::new(),
        random_calls: 6,
        before_each: None,
        needs: Features::Two,
    })
}

fn config(case: &mut Case) -> Config {
    use InstructionKind as K;
    let kinds: &[&[InstructionKind]] = &[
        &[],
        &[],
        &[
            K::NumericInt,
            K::VectorInt,
            K::Parametric,
            K::Control,
            K::Variable,
        ],
        &[
            K::Memory,
            K::NumericInt,
            K::Parametric,
            K::Control,
            K::Variable,
        ],
        &[
            K::Table,
            K::Reference,
            K::Control,
            K::NumericInt,
            K::Variable,
        ],
        &[K::Vector, K::Memory, K::Numeric],
        &[K::Numeric, K::Control, K::Parametric, K::Variable],
    ];
    let kinds = *case.one_of(kinds);
    let memories = *case.one_of(&[1, 1, 1, 1, 0, 2, 3]);
    let imports = *case.one_of(&[0, 0, 0, 3, 6]);
    Config {
        allowed_instructions: match kinds {
            [] => InstructionKinds::all(),
            some => InstructionKinds::new(some),
        },
        allow_floats: true,
        allow_start_export: case.once_in(8),
        allow_invalid_funcs: false,
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        compact_imports_enabled: false,
        disallow_traps: case.once_in(2),
        exceptions_enabled: false,
        export_everything: case.once_in(2),
        extended_const_enabled: true,
        gc_enabled: false,
        max_data_segments: 4,
        max_element_segments: 4,
        max_elements: 12,
        min_exports: 4,
        max_exports: 10,
        min_funcs: 1,
        max_funcs: 4,
        max_globals: 6,
        max_imports: imports,
        max_instructions: *case.one_of(&[20, 60, 60, 150]),
        max_memories: memories,
        min_memories: memories.min(1) as u32,
        max_memory32_bytes: 6 << 16,
        max_memory64_bytes: 40 << 16,
        memory_max_size_required: true,
        memory_offset_choices: MemoryOffsetChoices(80, 19, 1),
        max_nesting_depth: 8,
        max_table_elements: 60,
        table_max_size_required: true,
        min_tables: u32::from(!case.once_in(3)),
        max_tables: 3,
        max_tags: 0,
        max_types: 8,
        memory64_enabled: case.once_in(2),
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled: true,
        saturating_float_to_int_enabled: true,
        shared_everything_threads_enabled: false,
        sign_extension_ops_enabled: true,
        simd_enabled: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many modules of [`everything`] have an operator for which `is` holds.
    fn modules_with(is: impl Fn(&Operator<'_>) -> bool) -> usize {
        let has = |wasm: &Vec<u8>| {
            Parser::new(0).parse_all(wasm).any(|payload| match payload {
                Ok(Payload::CodeSectionEntry(body)) => {
                    let operators = body.get_operators_reader().expect("a valid body");
                    operators
                        .into_iter()
                        .flatten()
                        .any(|operator| is(&operator))
                }
                _ => false,
            })
        };
        let scenarios = (0..400).filter_map(|seed| everything(&mut Case::new(seed, false)));
        let modules = scenarios.flat_map(|scenario| scenario.modules);
        modules.filter(has).count()
    }

    #[test]
    fn nans_are_equal_in_all_engines() {
        let scenarios = (0..400).filter_map(|seed| core(&mut Case::new(seed, false)));
        let mut modules = scenarios.flat_map(|scenario| scenario.modules);
        assert!(!modules.any(|module| leaves_nans(&module)));
    }

    #[test]
    fn everything_has_what_wasmi_lacks() {
        let thrown = modules_with(|op| matches!(op, Operator::Throw { .. }));
        let caught = modules_with(|op| matches!(op, Operator::TryTable { .. }));
        let atomic = modules_with(|op| format!("{op:?}").contains("Atomic"));
        let wide = modules_with(|op| matches!(op, Operator::I64MulWideU));
        assert!(thrown > 20 && caught > 20, "{thrown} throw, {caught} catch");
        assert!(atomic > 20 && wide > 5, "{atomic} atomic, {wide} wide");
    }

    #[test]
    fn nothing_waits_on_a_shared_memory() {
        let shared = wat::parse_str("(module (memory 1 1 shared))").expect("valid text");
        let imported = r#"(module (import "a" "b" (memory 1 1 shared)) (memory 1))"#;
        let imported = wat::parse_str(imported).expect("valid text");
        let own = wat::parse_str("(module (memory 1 1))").expect("valid text");
        assert!(has_shared_memory(&shared) && has_shared_memory(&imported));
        assert!(!has_shared_memory(&own));
    }
}
