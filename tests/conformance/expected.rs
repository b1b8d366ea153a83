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
    // The encoding of a later proposal is read, whether the module may use the proposal or not.
    ("wasm-v2/binary.wast", "multi-memory: the zero byte is an index",
        &[145, 165, 184, 203, 242, 261, 279, 297]),
    ("wasm-v2/binary-leb128.wast", "memory64: limits have up to 64 bits", &[217, 225]),
    ("function-references/binary.wast", "multi-memory: the zero byte is an index",
        &[145, 165, 184, 203, 242, 261, 279, 297]),
    ("memory64/binary.wast", "multi-memory: the zero byte is an index",
        &[876, 896, 915, 934, 973, 992, 1010, 1028]),

    // WebAssembly 3.0 has features that are not supported.
    ("testsuite/ref_null.wast", "gc: the heap types any and none",
        &[1, 16, 17, 18, 19, 20, 23, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69,
          70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81]),
    ("testsuite/table_init.wast", "gc: arrays",
        &[2272, 2286]),
    ("testsuite/table_init64.wast", "gc: arrays",
        &[2457, 2471]),
    ("testsuite/type-rec.wast", "gc: groups with structures",
        &[39, 71, 78, 93, 103, 114, 124, 137, 141, 143, 148, 156, 167, 174, 176, 183, 185, 192,
          197, 204, 216]),
    ("testsuite/type-subtyping.wast", "gc: structures, casts",
        &[3, 15, 24, 37, 43, 53, 115, 124, 139, 151, 159, 229, 233, 237, 241, 246, 250, 254, 258,
          283, 336, 337, 338, 339, 340, 341, 342, 344, 368, 369, 370, 371, 402, 412, 414, 430, 432,
          442, 444, 453, 455, 473, 476, 488, 492, 510, 515, 523, 525, 534, 620, 625, 626, 632, 641,
          642, 652, 658, 659, 668, 674, 675, 682, 692, 693, 980]),
];
