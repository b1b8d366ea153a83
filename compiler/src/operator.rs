//! The class of each operator, for everything that looks at operators without translating them:
//! where fuel is counted, what code that is never reached nests, which functions call others.
//!
//! wasmparser lists all operators that exist, by proposal. [`class`] is made from that list, and
//! [`class_of`] has a rule for each proposal. So a proposal that wasmparser adds does not compile
//! here until somebody has decided what its operators are, and an operator of a proposal that this
//! compiler does not implement has no class: nobody can take it for an ordinary one.

use wasmparser::{Operator, for_each_operator};

/// What an operator does to the control flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next operator is executed next, unless this one traps.
    Straight,
    /// Opens a block that a later operator ends.
    Opens,
    /// Opens a loop: branches to it come back here.
    OpensLoop,
    /// Opens a block, if its operand says so.
    OpensConditionally,
    /// Ends one part of the innermost block and begins the next.
    Divides,
    /// Ends the innermost block.
    Closes,
    /// Goes to another place in the same function, or may do so.
    Branches,
    /// Leaves the function for its caller.
    Returns,
    /// Calls a function, or leaves this function for another one.
    Calls,
    /// Always traps.
    Traps,
}

/// What passes need to know of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    /// What it does to the control flow.
    pub(crate) flow: Flow,
    /// Units of fuel that it costs, apart from what it costs for the bytes, elements or pages of a
    /// range. The costs are Wasmtime's.
    pub(crate) fuel: i64,
    /// Whether it names a table, a segment, a function or a type in a way that decides how that
    /// item is compiled: [`Facts`](crate::module::Facts) hold all of these.
    pub(crate) has_facts: bool,
}

/// An operator that computes something.
const PLAIN: Class = Class {
    flow: Flow::Straight,
    fuel: 1,
    has_facts: false,
};

/// An operator that is recorded in the facts of its module.
const FACTS: Class = Class {
    has_facts: true,
    ..PLAIN
};

/// An operator that is there for the structure of the code alone, and costs nothing.
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

/// The class of one operator of one proposal. A fallback within a proposal is for proposals that
/// are finished: no operator will be added to them.
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
    // No valid module has this one.
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

    // Proposals that this compiler does not implement.
    (acquire_release_atomics $operator:ident) => {
        None
    };
    (custom_descriptors $operator:ident) => {
        None
    };
    (exceptions $operator:ident) => {
        None
    };
    (function_references $operator:ident) => {
        None
    };
    (gc $operator:ident) => {
        None
    };
    (legacy_exceptions $operator:ident) => {
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
    (threads $operator:ident) => {
        None
    };
    (wide_arithmetic $operator:ident) => {
        None
    };
}

macro_rules! define_class {
    ($( @$proposal:ident $operator:ident $({ $($fields:tt)* })? => $visit:ident ($($arity:tt)*) )*) => {
        /// The class of an operator of a valid module.
        ///
        /// # Panics
        /// When the operator belongs to a proposal that this compiler does not implement, which the
        /// validator refuses.
        pub(crate) fn class(operator: &Operator<'_>) -> Class {
            let class = match operator {
                $( Operator::$operator { .. } => class_of!($proposal $operator), )*
                // wasmparser may add operators in a later version; this is made from the list of
                // the version that is used, so there are none.
                _ => None,
            };
            class.unwrap_or_else(|| panic!("the validator let {operator:?} pass"))
        }
    };
}
for_each_operator!(define_class);

#[cfg(test)]
mod tests {
    use super::*;

    /// Costs and places that are easily mistaken for others.
    #[test]
    fn classes_of_operators_that_are_special() {
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
    #[should_panic(expected = "the validator let ThrowRef pass")]
    fn operators_of_other_proposals_have_no_class() {
        class(&Operator::ThrowRef);
    }
}
