//! The call graph in an order in which callees come before their callers.
//!
//! Functions that call each other in a circle are a *component* (Tarjan, "Depth-first search and
//! linear graph algorithms", 1972). Components are found in the right order. The search keeps its
//! own stack, because chains of calls may be as long as the module.

use cranelift_entity::{EntityRef, PrimaryMap, SecondaryMap};

use super::body::Body;
use crate::symbol::DefinedFuncIndex;

/// The order of the functions, and the circles of calls.
pub(super) struct Order {
    /// All functions, callees first.
    pub(super) functions: Vec<DefinedFuncIndex>,
    /// The component of each function: the number of its first function in the order.
    component: SecondaryMap<DefinedFuncIndex, u32>,
    /// Whether the function is in a circle of calls.
    recursive: SecondaryMap<DefinedFuncIndex, bool>,
}

impl Order {
    /// Whether these functions call each other in a circle, or are the same.
    pub(super) fn same_component(&self, a: DefinedFuncIndex, b: DefinedFuncIndex) -> bool {
        self.component[a] == self.component[b]
    }

    /// Whether a function calls itself, or is in a longer circle.
    pub(super) fn is_recursive(&self, function: DefinedFuncIndex) -> bool {
        self.recursive[function]
    }
}

/// A function whose callees are being searched.
struct Open {
    function: DefinedFuncIndex,
    next: usize,
}

/// Sorts functions.
pub(super) fn sort(bodies: &PrimaryMap<DefinedFuncIndex, Body>) -> Order {
    let mut order = Order {
        functions: Vec::with_capacity(bodies.len()),
        component: SecondaryMap::with_capacity(bodies.len()),
        recursive: SecondaryMap::with_capacity(bodies.len()),
    };
    // 0 stands for functions that the search has not reached.
    let mut reached: SecondaryMap<DefinedFuncIndex, u32> =
        SecondaryMap::with_capacity(bodies.len());
    let mut low = reached.clone();
    let mut waits: SecondaryMap<DefinedFuncIndex, bool> = SecondaryMap::with_capacity(bodies.len());
    let mut waiting = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut count = 0;
    for root in bodies.keys() {
        if reached[root] != 0 {
            continue;
        }
        let mut enter = Some(root);
        loop {
            if let Some(function) = enter.take() {
                count += 1;
                reached[function] = count;
                low[function] = count;
                waits[function] = true;
                waiting.push(function);
                open.push(Open { function, next: 0 });
            }
            let Some(Open { function, next }) = open.last_mut() else {
                break;
            };
            let function = *function;
            let body = &bodies[function];
            let callee = match body.calls.get(*next) {
                Some(call) => Some(call.callee),
                None => body.tail_calls.get(*next - body.calls.len()).copied(),
            };
            if let Some(callee) = callee {
                *next += 1;
                if reached[callee] == 0 {
                    enter = Some(callee);
                } else if waits[callee] {
                    low[function] = low[function].min(reached[callee]);
                    order.recursive[function] |= callee == function;
                }
                continue;
            }
            open.pop();
            if let Some(caller) = open.last() {
                low[caller.function] = low[caller.function].min(low[function]);
            }
            if low[function] == reached[function] {
                let first = order.functions.len();
                while let Some(member) = waiting.pop() {
                    waits[member] = false;
                    order.component[member] = first as u32;
                    order.functions.push(member);
                    if member == function {
                        break;
                    }
                }
                if order.functions.len() - first > 1 {
                    for member in &order.functions[first..] {
                        order.recursive[*member] = true;
                    }
                }
            }
        }
    }
    debug_assert!(order.functions.iter().all(|f| f.index() < bodies.len()));
    order
}

#[cfg(test)]
mod tests {
    use super::super::body::Call;
    use super::*;

    fn bodies(calls: &[&[usize]]) -> PrimaryMap<DefinedFuncIndex, Body> {
        let call = |callee: &usize| Call {
            offset: 0,
            callee: DefinedFuncIndex::new(*callee),
            in_loop: false,
            constant: false,
        };
        let body = |callees: &&[usize]| Body {
            calls: callees.iter().map(call).collect(),
            ..Body::default()
        };
        calls.iter().map(body).collect()
    }

    #[test]
    fn callees_come_first_and_circles_are_found() {
        let index = DefinedFuncIndex::new;
        // 0 → 1 → 2 → 1, 2 → 3, 4 → 4, 5 → 0
        let order = sort(&bodies(&[&[1], &[2], &[1, 3], &[], &[4], &[0, 3]]));
        let place = |i| order.functions.iter().position(|f| *f == index(i)).unwrap();
        assert_eq!(order.functions.len(), 6);
        assert!(place(3) < place(2) && place(3) < place(1));
        assert!(place(1) < place(0) && place(2) < place(0) && place(0) < place(5));
        assert!(order.same_component(index(1), index(2)));
        assert!(!order.same_component(index(0), index(1)));
        let recursive: Vec<_> = (0..6).filter(|i| order.is_recursive(index(*i))).collect();
        assert_eq!(recursive, [1, 2, 4]);
    }

    #[test]
    fn tail_calls_are_calls() {
        let mut bodies = bodies(&[&[1], &[]]);
        bodies[DefinedFuncIndex::new(1)].tail_calls = vec![DefinedFuncIndex::new(0)];
        let order = sort(&bodies);
        assert!(order.is_recursive(DefinedFuncIndex::new(0)));
    }

    #[test]
    fn long_chains_need_no_stack() {
        let count = 200_000;
        let chain: Vec<Vec<usize>> = (0..count).map(|i| vec![(i + 1) % count]).collect();
        let chain: Vec<&[usize]> = chain.iter().map(|callees| &**callees).collect();
        let order = sort(&bodies(&chain));
        assert!(order.same_component(DefinedFuncIndex::new(0), DefinedFuncIndex::new(count - 1)));
    }
}
