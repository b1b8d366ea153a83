//! The class of each operator, for all code that examines operators without translating them: where
//! fuel and executions are counted, how unreachable code nests, which functions call others, which
//! operators name types.
//!
//! wasmparser lists all operators, by proposal. [`find_class`] is generated from that list, and
//! `class_of!` has a rule for each proposal. So if wasmparser adds a proposal, this file does not
//! compile until it has a rule for its operators. An operator of a proposal that this compiler does
//! not implement has no class, so it cannot be mistaken for a plain one.

use wasmparser::{Operator, WasmFeatures, for_each_operator};

/// What an operator does to the control flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next operator is executed next, unless this one traps.
    Straight,
    /// Opens a block that a later operator ends.
    Opens,
    /// Opens a loop, to whose start branches go.
    OpensLoop,
    /// Opens a block that runs only if an operand is not zero.
    OpensConditionally,
    /// Ends one part of the innermost block and begins the next.
    Divides,
    /// Ends the innermost block.
    Closes,
    /// Goes, or may go, to another place in the same function.
    Branches,
    /// Leaves the function for its caller.
    Returns,
    /// Calls a function, or leaves this function for another one.
    Calls,
    /// Always traps.
    Traps,
    /// Opens a block that catches exceptions.
    OpensTry,
    /// Throws an exception, which code of this function may handle.
    Throws,
}

/// What code that does not translate an operator needs to know about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    /// The operator's effect on the control flow.
    pub(crate) flow: Flow,
    /// Units of fuel that the operator costs, in addition to the cost of the bytes, elements or
    /// pages of a range. The costs are Wasmtime's.
    pub(crate) fuel: i64,
    /// Whether the operator names a table, segment, function or type in a way that decides how that
    /// item is compiled. [`Facts`](crate::module::Facts) record all of these.
    pub(crate) has_facts: bool,
    /// Whether the operator names a type by something else than an index: that of a block, a
    /// reference or a value. It is found by the operator's fields, and not by a rule.
    /// [`Facts`](crate::module::Facts) record the proposals of these types.
    pub(crate) names_types: bool,
    /// The proposal that the operator belongs to, as wasmparser's feature.
    pub(crate) feature: WasmFeatures,
}

/// An operator that computes something.
const PLAIN: Class = Class {
    flow: Flow::Straight,
    fuel: 1,
    has_facts: false,
    names_types: false,
    feature: WasmFeatures::empty(),
};

/// An operator that is recorded in the facts of its module.
const FACTS: Class = Class {
    has_facts: true,
    ..PLAIN
};

/// An operator that only structures the code, and costs nothing.
const fn structure(flow: Flow) -> Class {
    Class {
        flow,
        fuel: 0,
        ..PLAIN
    }
}

const fn flow(flow: Flow) -> Class {
    Class { flow, ..PLAIN }
}

/// The class of one operator of one proposal. A rule for all other operators of a proposal is only
/// for finished proposals, to which no operators will be added.
macro_rules! class_of {
    (mvp Block) => {
        Some(structure(Flow::Opens))
    };
    (mvp Loop) => {
        Some(structure(Flow::OpensLoop))
    };
    (mvp If) => {
        Some(flow(Flow::OpensConditionally))
    };
    (mvp Else) => {
        Some(structure(Flow::Divides))
    };
    (mvp End) => {
        Some(structure(Flow::Closes))
    };
    (mvp Br) => {
        Some(flow(Flow::Branches))
    };
    (mvp BrIf) => {
        Some(flow(Flow::Branches))
    };
    (mvp BrTable) => {
        Some(flow(Flow::Branches))
    };
    (mvp Return) => {
        Some(structure(Flow::Returns))
    };
    (mvp Unreachable) => {
        Some(structure(Flow::Traps))
    };
    (mvp Nop) => {
        Some(structure(Flow::Straight))
    };
    (mvp Drop) => {
        Some(structure(Flow::Straight))
    };
    (mvp Call) => {
        Some(flow(Flow::Calls))
    };
    (mvp CallIndirect) => {
        Some(Class {
            flow: Flow::Calls,
            ..FACTS
        })
    };
    (mvp $operator:ident) => {
        Some(PLAIN)
    };

    (sign_extension $operator:ident) => {
        Some(PLAIN)
    };
    (saturating_float_to_int $operator:ident) => {
        Some(PLAIN)
    };
    (simd $operator:ident) => {
        Some(PLAIN)
    };
    (relaxed_simd $operator:ident) => {
        Some(PLAIN)
    };

    (bulk_memory MemoryCopy) => {
        Some(PLAIN)
    };
    (bulk_memory MemoryFill) => {
        Some(PLAIN)
    };
    (bulk_memory $operator:ident) => {
        Some(FACTS)
    };

    (reference_types TypedSelect) => {
        Some(PLAIN)
    };
    (reference_types RefNull) => {
        Some(PLAIN)
    };
    (reference_types RefIsNull) => {
        Some(PLAIN)
    };
    (reference_types TableSize) => {
        Some(PLAIN)
    };
    // No valid module has this operator.
    (reference_types TypedSelectMulti) => {
        None
    };
    (reference_types $operator:ident) => {
        Some(FACTS)
    };

    (tail_call ReturnCall) => {
        Some(flow(Flow::Calls))
    };
    (tail_call ReturnCallIndirect) => {
        Some(Class {
            flow: Flow::Calls,
            ..FACTS
        })
    };

    (exceptions TryTable) => {
        Some(flow(Flow::OpensTry))
    };
    (exceptions Throw) => {
        Some(flow(Flow::Throws))
    };
    (exceptions ThrowRef) => {
        Some(flow(Flow::Throws))
    };
    // The legacy encoding. Its operators cost as much as the corresponding operators of the new
    // encoding.
    (legacy_exceptions Try) => {
        Some(flow(Flow::OpensTry))
    };
    (legacy_exceptions Catch) => {
        Some(structure(Flow::Divides))
    };
    (legacy_exceptions CatchAll) => {
        Some(structure(Flow::Divides))
    };
    (legacy_exceptions Delegate) => {
        Some(structure(Flow::Closes))
    };
    (legacy_exceptions Rethrow) => {
        Some(flow(Flow::Throws))
    };

    (function_references CallRef) => {
        Some(Class {
            flow: Flow::Calls,
            ..FACTS
        })
    };
    (function_references ReturnCallRef) => {
        Some(Class {
            flow: Flow::Calls,
            ..FACTS
        })
    };
    (function_references RefAsNonNull) => {
        Some(PLAIN)
    };
    (function_references BrOnNull) => {
        Some(flow(Flow::Branches))
    };
    (function_references BrOnNonNull) => {
        Some(flow(Flow::Branches))
    };

    (wide_arithmetic $operator:ident) => {
        Some(PLAIN)
    };
    (threads $operator:ident) => {
        Some(PLAIN)
    };

    // Proposals that this compiler does not implement.
    (acquire_release_atomics $operator:ident) => {
        None
    };
    (custom_descriptors $operator:ident) => {
        None
    };
    (gc $operator:ident) => {
        None
    };
    (memory_control $operator:ident) => {
        None
    };
    (shared_everything_threads $operator:ident) => {
        None
    };
    (stack_switching $operator:ident) => {
        None
    };
}

/// The feature of one proposal. It is empty for the first version, and for proposals that this
/// compiler does not implement.
macro_rules! feature_of {
    (sign_extension) => {
        WasmFeatures::SIGN_EXTENSION
    };
    (saturating_float_to_int) => {
        WasmFeatures::SATURATING_FLOAT_TO_INT
    };
    (simd) => {
        WasmFeatures::SIMD
    };
    (relaxed_simd) => {
        WasmFeatures::RELAXED_SIMD
    };
    (bulk_memory) => {
        WasmFeatures::BULK_MEMORY
    };
    (reference_types) => {
        WasmFeatures::REFERENCE_TYPES
    };
    (tail_call) => {
        WasmFeatures::TAIL_CALL
    };
    (exceptions) => {
        WasmFeatures::EXCEPTIONS
    };
    (legacy_exceptions) => {
        WasmFeatures::LEGACY_EXCEPTIONS
    };
    (wide_arithmetic) => {
        WasmFeatures::WIDE_ARITHMETIC
    };
    (threads) => {
        WasmFeatures::THREADS
    };
    (function_references) => {
        WasmFeatures::FUNCTION_REFERENCES
    };
    ($proposal:ident) => {
        WasmFeatures::empty()
    };
}

/// Whether the fields of an operator, as wasmparser lists them, have a type like `BlockType`,
/// `HeapType`, `RefType`, `ValType` or `TryTable`.
const fn names_types(fields: &str) -> bool {
    const fn has(text: &[u8], word: &[u8]) -> bool {
        let mut at = 0;
        while at + word.len() <= text.len() {
            let mut len = 0;
            while len < word.len() && text[at + len] == word[len] {
                len += 1;
            }
            if len == word.len() {
                return true;
            }
            at += 1;
        }
        false
    }
    has(fields.as_bytes(), b"Type") || has(fields.as_bytes(), b"TryTable")
}

macro_rules! define_class {
    ($(
        @$proposal:ident $operator:ident $({ $($fields:tt)* })?
        => $visit:ident ($($arity:tt)*)
    )*) => {
        /// The class of an operator.
        ///
        /// # Errors
        /// wasmparser's name of the operator's proposal, if this compiler does not implement it.
        pub(crate) fn find_class(operator: &Operator<'_>) -> Result<Class, &'static str> {
            match operator {
                $( Operator::$operator { .. } => {
                    let class: Option<Class> = class_of!($proposal $operator);
                    class.ok_or(stringify!($proposal)).map(|class| Class {
                        names_types: const { names_types(stringify!($($($fields)*)?)) },
                        feature: feature_of!($proposal),
                        ..class
                    })
                } )*
                // `Operator` is non-exhaustive, but this list has all operators of the version of
                // wasmparser that is used.
                _ => Err("unknown"),
            }
        }
    };
}
for_each_operator!(define_class);

/// The class of an operator of a module that was parsed.
///
/// # Panics
/// If the operator belongs to a proposal that this compiler does not implement, which the parser
/// refuses.
pub(crate) fn class(operator: &Operator<'_>) -> Class {
    find_class(operator).unwrap_or_else(|_| panic!("the parser let {operator:?} pass"))
}

#[cfg(test)]
mod tests {
    use wasmparser::{BlockType, HeapType};

    use super::*;

    /// Checks operators whose class is easily mistaken for another one.
    #[test]
    fn special_operators_have_their_own_classes() {
        let flow_and_fuel = |operator: &Operator<'_>| (class(operator).flow, class(operator).fuel);
        assert_eq!(flow_and_fuel(&Operator::Nop), (Flow::Straight, 0));
        assert_eq!(flow_and_fuel(&Operator::Select), (Flow::Straight, 1));
        assert_eq!(flow_and_fuel(&Operator::Return), (Flow::Returns, 0));
        let call = Operator::ReturnCall { function_index: 0 };
        assert_eq!(flow_and_fuel(&call), (Flow::Calls, 1));
        assert!(class(&Operator::RefFunc { function_index: 0 }).has_facts);
        assert!(!class(&Operator::TableSize { table: 0 }).has_facts);
    }

    #[test]
    fn operators_that_name_types_are_known() {
        let blockty = BlockType::Empty;
        assert!(class(&Operator::Try { blockty }).names_types);
        let hty = HeapType::FUNC;
        assert!(class(&Operator::RefNull { hty }).names_types);
        let call = Operator::CallRef { type_index: 0 };
        assert!(!class(&call).names_types);
    }

    #[test]
    #[should_panic(expected = "the parser let RefI31 pass")]
    fn operators_of_other_proposals_have_no_class() {
        assert_eq!(find_class(&Operator::RefI31), Err("gc"));
        class(&Operator::RefI31);
    }
}
