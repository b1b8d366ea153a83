//! The class of each operator, for all code that examines operators without translating them: where
//! fuel is counted, how unreachable code nests, which functions call others.
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
    /// The proposal that the operator belongs to, as wasmparser's feature.
    pub(crate) feature: WasmFeatures,
}

/// An operator that computes something.
const PLAIN: Class = Class {
    flow: Flow::Straight,
    fuel: 1,
    has_facts: false,
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

macro_rules! define_class {
    ($(
        @$proposal:ident $operator:ident $({ $($fields:tt)* })?
        => $visit:ident ($($arity:tt)*)
    )*) => {
        /// The class of an operator; `None` if it belongs to a proposal that this compiler does not
        /// implement.
        pub(crate) fn find_class(operator: &Operator<'_>) -> Option<Class> {
            match operator {
                $( Operator::$operator { .. } => {
                    class_of!($proposal $operator).map(|class: Class| Class {
                        feature: feature_of!($proposal),
                        ..class
                    })
                } )*
                // `Operator` is non-exhaustive, but this list has all operators of the version of
                // wasmparser that is used.
                _ => None,
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
    find_class(operator).unwrap_or_else(|| panic!("the parser let {operator:?} pass"))
}

#[cfg(test)]
mod tests {
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
    #[should_panic(expected = "the parser let RefI31 pass")]
    fn operators_of_other_proposals_have_no_class() {
        class(&Operator::RefI31);
    }
}
