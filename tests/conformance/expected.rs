//! The expected failures and their reasons. A trial also checks that each of them fails.
//!
//! Names that start with `testsuite/` are scripts of a checkout of the official suite, as of
//! WebAssembly 3.0. Some entries hide assertions of WebAssembly 2.0, because their module or script
//! needs more than 2.0. These assertions run as part of `wasm-v2/`.

/// What is expected to fail in a script.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    /// No directive fails.
    Nothing,
    /// Some directive fails for this reason.
    Script(&'static str),
    /// The directives on these lines fail for this reason, and no others fail.
    Lines(&'static str, &'static [usize]),
}

impl Expected {
    /// Whether the directive on this line may fail.
    pub(crate) fn allows(self, line: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Script(_) => true,
            Self::Lines(_, lines) => lines.contains(&line),
        }
    }
}

/// What is expected to fail in the script with this name.
pub(crate) fn of(name: &str) -> Expected {
    if let Some((reason, _)) = SCRIPTS.iter().find(|(_, names)| names.contains(&name)) {
        return Expected::Script(reason);
    }
    match LINES.iter().find(|(listed, ..)| *listed == name) {
        Some((_, reason, lines)) => Expected::Lines(reason, lines),
        None => Expected::Nothing,
    }
}

/// The names of all scripts in which something is expected to fail.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let scripts = SCRIPTS.iter().flat_map(|(_, names)| names.iter().copied());
    scripts.chain(LINES.iter().map(|(name, ..)| *name))
}

/// Whole scripts, grouped by the reason.
const SCRIPTS: &[(&str, &[&str])] = &[
    (
        "needs the proposal gc",
        &[
            "testsuite/array.wast",
            "testsuite/array_copy.wast",
            "testsuite/array_fill.wast",
            "testsuite/array_init_data.wast",
            "testsuite/array_init_elem.wast",
            "testsuite/array_new_data.wast",
            "testsuite/array_new_elem.wast",
            "testsuite/br_on_cast.wast",
            "testsuite/br_on_cast_fail.wast",
            "testsuite/extern.wast",
            "testsuite/i31.wast",
            "testsuite/ref_cast.wast",
            "testsuite/ref_eq.wast",
            "testsuite/ref_test.wast",
            "testsuite/struct.wast",
            "testsuite/type-canon.wast",
            "testsuite/type-equivalence.wast",
            "testsuite/type-rec.wast",
            "testsuite/type-subtyping.wast",
        ],
    ),
    (
        "needs the proposal function-references",
        &[
            "testsuite/br_on_non_null.wast",
            "testsuite/br_on_null.wast",
            "testsuite/br_table.wast",
            "testsuite/call_ref.wast",
            "testsuite/instance.wast",
            "testsuite/local_init.wast",
            "testsuite/ref.wast",
            "testsuite/ref_as_non_null.wast",
            "testsuite/ref_is_null.wast",
            "testsuite/ref_null.wast",
            "testsuite/return_call_ref.wast",
            "testsuite/table-sub.wast",
            "testsuite/try_table.wast",
            "testsuite/unreached-valid.wast",
        ],
    ),
    (
        "needs the proposal custom-descriptors",
        &[
            "testsuite/proposals/custom-descriptors/array_new_exact.wast",
            "testsuite/proposals/custom-descriptors/binary-descriptors.wast",
            "testsuite/proposals/custom-descriptors/br_on_cast.wast",
            "testsuite/proposals/custom-descriptors/br_on_cast_desc_eq.wast",
            "testsuite/proposals/custom-descriptors/br_on_cast_desc_eq_fail.wast",
            "testsuite/proposals/custom-descriptors/br_on_cast_fail.wast",
            "testsuite/proposals/custom-descriptors/descriptors.wast",
            "testsuite/proposals/custom-descriptors/exact-casts.wast",
            "testsuite/proposals/custom-descriptors/exact-func-import.wast",
            "testsuite/proposals/custom-descriptors/exact.wast",
            "testsuite/proposals/custom-descriptors/ref_cast_desc_eq.wast",
            "testsuite/proposals/custom-descriptors/ref_get_desc.wast",
            "testsuite/proposals/custom-descriptors/struct_new_desc.wast",
        ],
    ),
];

/// Single lines, grouped by the script.
#[rustfmt::skip]
const LINES: &[(&str, &str, &[usize])] = &[
    // A later proposal allows what was forbidden when the script was written.
    ("wasm-v2/binary.wast", "multi-memory: the zero byte is an index",
        &[145, 165, 184, 203, 242, 261, 279, 297]),
    ("wasm-v2/binary-leb128.wast", "memory64: limits have up to 64 bits", &[217, 225]),
    ("wasm-v2/imports.wast", "multi-memory", &[487, 491, 495]),
    ("wasm-v2/memory.wast", "multi-memory", &[10, 11]),
    ("memory64/binary.wast", "multi-memory: the zero byte is an index",
        &[876, 896, 915, 934, 973, 992, 1010, 1028]),
    ("memory64/memory.wast", "multi-memory", &[10, 11]),
    ("memory64/memory64.wast", "multi-memory", &[8, 9]),

    // WebAssembly 3.0 has features that are not supported.
    ("testsuite/br_if.wast", "function-references", &[667]),
    ("testsuite/data.wast", "gc: constants from defined globals", &[89, 90]),
    ("testsuite/elem.wast", "function-references; gc: constants from defined globals",
        &[87, 178, 182, 315, 448, 453, 465, 470, 482, 487, 499, 504, 516, 524, 539, 544, 556, 561,
          573, 578]),
    ("testsuite/func.wast", "function-references", &[659]),
    ("testsuite/global.wast", "function-references; gc: constants from defined globals",
        &[373, 374, 634, 659, 660, 661, 663, 664, 674]),
    ("testsuite/linking.wast", "function-references",
        &[96, 110, 112, 132, 137, 141, 145, 150, 154, 158, 163, 167, 171, 175, 181, 185, 189, 193,
          198, 202, 206, 210, 215, 219, 223, 227, 232, 236, 240, 244, 249, 253, 257, 261, 426, 432,
          434, 441, 445, 450, 454, 459, 463]),
    ("testsuite/local_tee.wast", "function-references", &[612]),
    ("testsuite/select.wast", "function-references", &[383]),
    ("testsuite/table.wast", "function-references",
        &[14, 19, 20, 21, 54, 58, 62, 66, 70, 74, 78, 86, 91, 93, 112, 113, 114, 115, 116, 119,
          127, 135]),
    ("testsuite/table_init.wast", "gc: arrays", &[2272, 2286]),
    ("testsuite/proposals/threads/imports.wast", "multi-memory; several tables",
        &[309, 313, 317, 404, 408, 412]),
    ("testsuite/proposals/threads/memory.wast", "multi-memory", &[14, 15]),
    ("testsuite/table_init64.wast", "gc: arrays", &[2457, 2471]),
    ("testsuite/tag.wast", "gc: recursive groups; stack-switching: tags with results",
        &[18, 22, 30, 38, 40, 48, 59]),
    ("testsuite/unreached-invalid.wast", "function-references", &[697, 763, 773]),
];
