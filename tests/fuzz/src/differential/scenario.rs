//! Scenarios: modules that are linked with each other, and then calls of their exports.

use std::borrow::Cow;

use precast_loader::Trap;
use wasmparser::{Parser, Payload};

use super::value::{Outcome, Value};

/// The maximal size of a memory in bytes.
pub const MEMORY_LIMIT: usize = 6 << 20;
/// The maximal number of elements of a table.
pub const TABLE_LIMIT: usize = 100_000;

/// Modules, and calls of their exports.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// The modules, in the order of their instantiation. The exports of the module at `i` can be
    /// imported from `m{i}`. For every other import, the harness makes an item of exactly the
    /// import's type.
    pub modules: Vec<Vec<u8>>,
    /// The calls, which are made in this order in the same instances.
    pub calls: Vec<Call>,
    /// How many calls the driver adds, of random exports and with random arguments.
    pub random_calls: usize,
    /// A call that precedes each of the added calls.
    pub before_each: Option<Call>,
    /// What the modules use. If the other engine has less, the reference is precast itself, in its
    /// plainest way.
    pub needs: Features,
}

/// The features that modules use, or that an engine has. Each level includes the levels before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Features {
    /// WebAssembly 2.0, and the proposals that `wasmi` has.
    #[default]
    Two,
    /// Exceptions, typed references, atomic operators on memories that are not shared, and wide
    /// arithmetic.
    Three,
    /// Exceptions of the former encoding, and shared memories.
    All,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The module whose instance is called.
    pub module: usize,
    /// The name of an exported function.
    pub export: String,
    /// The arguments, which have the types of its parameters.
    pub args: Vec<Value>,
}

/// The index of the module whose exports are imported by this name.
pub fn linked_module(name: &str) -> Option<usize> {
    name.strip_prefix('m')?.parse().ok()
}

/// Whether a module has operators that cost fuel in proportion to a length, or very many locals,
/// for which engines have different costs.
pub fn has_costs_by_length(wasm: &[u8]) -> bool {
    use wasmparser::Operator as Op;
    let is_one = |op: Op<'_>| {
        matches!(
            op,
            Op::MemoryGrow { .. }
                | Op::MemoryCopy { .. }
                | Op::MemoryFill { .. }
                | Op::MemoryInit { .. }
                | Op::TableGrow { .. }
                | Op::TableCopy { .. }
                | Op::TableFill { .. }
                | Op::TableInit { .. }
        )
    };
    let in_body = |payload: Payload<'_>| match payload {
        Payload::CodeSectionEntry(body) => {
            // The limit is that of the compiler's `declaration_cost`, if all were vectors.
            let locals = body.get_locals_reader().into_iter().flatten();
            let locals: u64 = locals.flatten().map(|(count, _)| u64::from(count)).sum();
            let operators = body.get_operators_reader().into_iter().flatten();
            16 * locals > 16 << 10 || operators.flatten().any(is_one)
        }
        _ => false,
    };
    Parser::new(0).parse_all(wasm).flatten().any(in_body)
}

/// An engine in the middle of a scenario.
pub trait Machine {
    /// Instantiates the next module. The error is an outcome other than [`Outcome::Returned`].
    fn try_instantiate(&mut self) -> Result<(), Outcome>;

    /// Calls an exported function, and returns its results. The error is an outcome other than
    /// [`Outcome::Returned`].
    fn try_call(&mut self, call: &Call) -> Result<Vec<Value>, Outcome>;

    /// Instantiates the next module.
    fn instantiate(&mut self) -> Outcome {
        let done = self.try_instantiate();
        done.map_or_else(|outcome| outcome, |()| Outcome::Returned(Vec::new()))
    }

    /// Calls an exported function.
    fn call(&mut self, call: &Call) -> Outcome {
        self.try_call(call)
            .map_or_else(|outcome| outcome, Outcome::Returned)
    }

    /// How many modules have been instantiated.
    fn instance_count(&self) -> usize;

    /// The names and kinds of the exports of an instance that have a state.
    fn items(&mut self, module: usize) -> Vec<(String, Item)>;

    /// The bytes of an exported memory.
    fn memory(&mut self, module: usize, name: &str) -> Cow<'_, [u8]>;

    /// The elements of an exported table, or the value of an exported global.
    fn values(&mut self, module: usize, name: &str) -> Vec<Value>;

    /// The arguments of all calls of host functions of the harness.
    fn log(&self) -> &[Vec<Value>];

    /// The wasm frames of each call that failed, innermost first: index of the function, and offset
    /// in the module. Only precast lists them, and they must not depend on how it compiles.
    fn traces(&self) -> &[Vec<(u32, Option<usize>)>] {
        &[]
    }

    /// The fuel that wasm code has used so far, by Wasmtime's costs. `None` if the engine has other
    /// costs, or does not count.
    fn fuel(&self) -> Option<u64> {
        None
    }
}

/// An item with a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A linear memory.
    Memory,
    /// A table.
    Table,
    /// A global.
    Global,
}

/// What the reference engine did in a scenario.
pub struct Reference<M> {
    /// The reference engine after the last call.
    pub machine: M,
    /// How each instantiation ended, and then each call.
    pub outcomes: Vec<Outcome>,
    /// The fuel used up to the end of each instantiation and call.
    fuel: Vec<Option<u64>>,
}

impl<M: Machine> Reference<M> {
    /// Runs a scenario on the reference engine. It stops after an outcome that is not binding.
    pub fn run(scenario: &Scenario, machine: M) -> Self {
        let mut this = Self {
            machine,
            outcomes: Vec::new(),
            fuel: Vec::new(),
        };
        for _ in &scenario.modules {
            let outcome = this.machine.instantiate();
            let is_made = matches!(outcome, Outcome::Returned(_));
            this.note(outcome);
            if !is_made {
                return this;
            }
        }
        for call in &scenario.calls {
            let outcome = this.machine.call(call);
            let is_binding = outcome.is_binding();
            this.note(outcome);
            if !is_binding {
                break;
            }
        }
        this
    }

    fn note(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
        self.fuel.push(self.machine.fuel());
    }

    /// Runs the scenario on another engine, and returns the first difference as an error. Returns
    /// `Ok(false)` after an outcome that is not binding.
    pub fn compare(
        &mut self,
        scenario: &Scenario,
        other: &mut impl Machine,
    ) -> Result<bool, String> {
        let modules = scenario.modules.len();
        // After a trap, code of the guarded strategy has not stored all that it counted.
        let mut fuel_is_exact = true;
        // The fuel that both engines used before the calls. Wasmtime counts 1 for an instance that
        // it initialises by code of its own.
        let mut before_calls = (0, 0);
        for (i, expected) in self.outcomes.iter().enumerate() {
            let call = i.checked_sub(modules).map(|i| &scenario.calls[i]);
            let found = match call {
                None => other.instantiate(),
                Some(call) => other.call(call),
            };
            if !found.is_binding() || !expected.is_binding() {
                // The outcomes of the calls that follow are not binding either, but they must not
                // crash.
                for call in scenario.calls.iter().skip((i + 1).saturating_sub(modules)) {
                    if call.module < other.instance_count() {
                        other.call(call);
                    }
                }
                return Ok(false);
            }
            if found != *expected && !is_same_failure(expected, &found) {
                let what = match call {
                    None => format!("instantiation of module {i}"),
                    Some(call) => format!("call {} {call:?}", i - modules),
                };
                return Err(format!(
                    "{what}:\n  expected {expected:?}\n  found    {found:?}"
                ));
            }
            fuel_is_exact &= matches!(found, Outcome::Returned(_) | Outcome::Threw(_));
            if let (true, Some(expected), Some(found)) = (fuel_is_exact, self.fuel[i], other.fuel())
            {
                if i < modules {
                    before_calls = (expected, found);
                    continue;
                }
                let (expected, found) = (expected - before_calls.0, found - before_calls.1);
                if expected != found {
                    let calls = i - modules + 1;
                    return Err(format!(
                        "fuel that {calls} calls have used: expected {expected}, found {found}"
                    ));
                }
            }
        }
        self.compare_state(modules, other)?;
        Ok(true)
    }

    fn compare_state(&mut self, modules: usize, other: &mut impl Machine) -> Result<(), String> {
        let instantiated = |outcome: &&Outcome| matches!(outcome, Outcome::Returned(_));
        let made = self.outcomes.iter().take(modules).filter(instantiated);
        for module in 0..made.count() {
            // The engines list exports in different orders.
            let (mut items, mut others) = (self.machine.items(module), other.items(module));
            items.sort();
            others.sort();
            if items != others {
                return Err(format!("the exports of module {module} differ"));
            }
            for (name, item) in items {
                if item == Item::Memory {
                    let expected = self.machine.memory(module, &name);
                    let found = other.memory(module, &name);
                    if expected != found {
                        return Err(difference(&name, &expected, &found));
                    }
                } else {
                    let expected = self.machine.values(module, &name);
                    let found = other.values(module, &name);
                    if expected != found {
                        return Err(difference(&name, &expected, &found));
                    }
                }
            }
        }
        let (expected, found) = (self.machine.traces(), other.traces());
        if !expected.is_empty() && expected != found {
            return Err(difference("backtraces", expected, found));
        }
        if self.machine.log() != other.log() {
            return Err(difference(
                "calls of host functions",
                self.machine.log(),
                other.log(),
            ));
        }
        Ok(())
    }
}

/// Whether two outcomes are the same failure, which the engines report differently. An active
/// segment that does not fit is a trap in one engine and a refusal in the other. Only precast
/// distinguishes an indirect call outside of a table from other accesses outside of a table, and a
/// call through null from other uses of null. An atomic access that is out of bounds may also be
/// unaligned, or wait on a memory that is not shared.
fn is_same_failure(expected: &Outcome, found: &Outcome) -> bool {
    use Trap::{
        AtomicWaitNonSharedMemory, HeapMisaligned, MemoryOutOfBounds, NullFunctionReference,
        NullReference, TableOutOfBounds, UndefinedElement,
    };
    matches!(
        (expected, found),
        (
            Outcome::Refused,
            Outcome::Trapped(TableOutOfBounds | MemoryOutOfBounds)
        ) | (
            Outcome::Trapped(TableOutOfBounds),
            Outcome::Trapped(UndefinedElement)
        ) | (
            Outcome::Trapped(NullReference),
            Outcome::Trapped(NullFunctionReference)
        ) | (
            Outcome::Trapped(MemoryOutOfBounds),
            Outcome::Trapped(HeapMisaligned | AtomicWaitNonSharedMemory)
        )
    )
}

fn difference<V: PartialEq + std::fmt::Debug>(name: &str, expected: &[V], found: &[V]) -> String {
    let at = expected.iter().zip(found).position(|(a, b)| a != b);
    match at {
        None => format!(
            "`{name}`: expected {} elements, found {}",
            expected.len(),
            found.len()
        ),
        Some(i) => format!(
            "`{name}` at {i}: expected {:x?}, found {:x?}",
            expected[i], found[i]
        ),
    }
}
