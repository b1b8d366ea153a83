//! What is run: modules that are linked with each other, then calls.

use precast_loader::TrapCode;

use super::value::{Outcome, Value};

/// Most bytes of any one memory, and most elements of any one table.
pub const MEMORY_LIMIT: usize = 6 << 20;
pub const TABLE_LIMIT: usize = 100_000;

/// After how many calls each host function of the harness fails once.
pub const HOST_FAILS_AT: u32 = 40;

/// Modules, and what is called.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// Instantiated in this order. The exports of the module at `i` can be imported from `m{i}`; for
    /// every other import the harness makes an item of the very type.
    pub modules: Vec<Vec<u8>>,
    /// In this order, in the same instances.
    pub calls: Vec<Call>,
    /// Most calls that the driver may add, of exports and with arguments that it chooses.
    pub random_calls: usize,
    /// A call before each of these.
    pub before_each: Option<Call>,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which module's instance.
    pub module: usize,
    /// The name of an exported function.
    pub export: String,
    /// Arguments of its types.
    pub args: Vec<Value>,
}

/// The module whose exports are imported by this name.
pub fn linked_module(name: &str) -> Option<usize> {
    name.strip_prefix('m')?.parse().ok()
}

/// An engine in the middle of a scenario.
pub trait Machine {
    /// Instantiates the next module.
    fn instantiate(&mut self) -> Outcome;

    /// Calls an exported function.
    fn call(&mut self, call: &Call) -> Outcome;

    /// [`Machine::call`], if the module was instantiated at all.
    fn call_if_there(&mut self, call: &Call);

    /// The exports of an instance, as far as they are items with a state: their names and what
    /// kind they are.
    fn items(&mut self, module: usize) -> Vec<(String, Item)>;

    /// Bytes of an exported memory.
    fn memory(&mut self, module: usize, name: &str) -> &[u8];

    /// Elements of an exported table, or the value of an exported global.
    fn values(&mut self, module: usize, name: &str) -> Vec<Value>;

    /// What the host functions of the harness were called with.
    fn log(&self) -> &[Vec<Value>];
}

/// An item with a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Memory,
    Table,
    Global,
}

/// Everything that the reference did.
pub struct Reference<M> {
    /// It, after the last call.
    pub machine: M,
    /// How each instantiation ended, then each call.
    pub outcomes: Vec<Outcome>,
}

impl<M: Machine> Reference<M> {
    /// Runs a scenario on the reference; after what it need not agree about nothing is run.
    pub fn run(scenario: &Scenario, mut machine: M) -> Self {
        let mut outcomes = Vec::new();
        for _ in &scenario.modules {
            outcomes.push(machine.instantiate());
            if !matches!(outcomes.last(), Some(Outcome::Returned(_))) {
                return Self { machine, outcomes };
            }
        }
        for call in &scenario.calls {
            outcomes.push(machine.call(call));
            if !outcomes.last().is_some_and(Outcome::is_binding) {
                break;
            }
        }
        Self { machine, outcomes }
    }

    /// Runs it on another engine, and says the first difference. `Ok(false)` if the other ended
    /// in a way that need not be the same.
    pub fn compare(
        &mut self,
        scenario: &Scenario,
        other: &mut impl Machine,
    ) -> Result<bool, String> {
        let modules = scenario.modules.len();
        for (i, expected) in self.outcomes.iter().enumerate() {
            let call = i.checked_sub(modules).map(|i| &scenario.calls[i]);
            let found = match call {
                None => other.instantiate(),
                Some(call) => other.call(call),
            };
            if !found.is_binding() || !expected.is_binding() {
                // What follows need not be the same either, but it must not crash.
                for call in scenario.calls.iter().skip((i + 1).saturating_sub(modules)) {
                    other.call_if_there(call);
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
        }
        self.compare_state(modules, other)?;
        Ok(true)
    }

    fn compare_state(&mut self, modules: usize, other: &mut impl Machine) -> Result<(), String> {
        let instantiated = |outcome: &&Outcome| matches!(outcome, Outcome::Returned(_));
        let made = self.outcomes.iter().take(modules).filter(instantiated);
        for module in 0..made.count() {
            // Engines list them in orders of their own.
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
                        return Err(difference(&name, expected, found));
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

/// Whether two outcomes are the same though engines have two words for them: active segments that do
/// not fit are traps for one and refusals for the other, and only precast tells apart what a call finds
/// outside of a table from what other operators do.
fn is_same_failure(expected: &Outcome, found: &Outcome) -> bool {
    use TrapCode::{MemoryOutOfBounds, TableOutOfBounds, UndefinedElement};
    matches!(
        (expected, found),
        (
            Outcome::Refused,
            Outcome::Trapped(TableOutOfBounds | MemoryOutOfBounds)
        ) | (
            Outcome::Trapped(TableOutOfBounds),
            Outcome::Trapped(UndefinedElement)
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
