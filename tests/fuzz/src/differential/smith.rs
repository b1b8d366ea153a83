//! Modules of `wasm-smith`, which generates every operator.
//!
//! With its default configuration most modules trap at once, because addresses and calls are
//! random. Therefore half of the modules are made free of traps, memories are small, and functions
//! are as long as the time for a case allows.

use arbitrary::Unstructured;
use wasm_smith::{Config, InstructionKind, InstructionKinds, MemoryOffsetChoices};

use super::scenario::Scenario;
use crate::Case;

/// How many loop iterations and calls an instance may make in all.
const STEPS: u32 = 600;

/// A module of random operators. `None` if `wasm-smith` could not make one of the random bytes.
pub fn scenario(case: &mut Case) -> Option<Scenario> {
    let mut bytes = vec![0; case.rng.usize(300..3000)];
    case.rng.fill(&mut bytes);
    let config = config(case);
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(STEPS).ok()?;
    Some(Scenario {
        modules: vec![module.to_bytes()],
        calls: Vec::new(),
        random_calls: 6,
        before_each: None,
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
