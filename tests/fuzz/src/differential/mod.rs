//! Modules that are run by another engine and by precast, compiled in all ways.
//!
//! | module | what |
//! |---|---|
//! | `scenario` | what is run, and the comparison of two engines that run it |
//! | `host` | the host functions that both engines give to modules |
//! | `value` | values and outcomes, as far as engines must agree on them |
//! | `oracle` | what the other engine must offer |
//! | `wasmi` | the other engine of the targets in this crate |
//! | `subject`, `settings` | precast, and its ways to compile |
//! | `smith` | modules of `wasm-smith` |

pub mod host;
mod oracle;
pub mod scenario;
mod settings;
mod smith;
mod subject;
pub mod value;
mod wasmi;

use precast_loader::ValType;

use self::wasmi::Wasmi;
use crate::{Case, Run, Target};
use scenario::{Call, Machine, Reference, Scenario};
use settings::{Way, Ways};
use subject::{Running, Subject};
use value::Value;

pub use crate::edges::scenario as edges;
pub use crate::references::scenario as references;
pub use oracle::Oracle;
pub use smith::{core, everything};
pub use subject::PLENTY;

/// Modules of `wasm-smith`.
pub const SMITH: Target = Target {
    name: "differential",
    about: "modules of wasm-smith, compiled in all ways, compared with wasmi",
    prepare: || against(Wasmi::new(), smith::core),
};

/// Modules of `edges`, for what general generators miss.
pub const EDGES: Target = Target {
    name: "edges",
    about: "modules that use memories, tables and frames at their limits, compared with wasmi",
    prepare: || against(Wasmi::new(), edges),
};

/// Modules of `wasm-smith` with what wasmi lacks.
pub const EVERYTHING: Target = Target {
    name: "everything",
    about: "modules of wasm-smith with what wasmi lacks, compared with precast itself",
    prepare: || against(Wasmi::new(), everything),
};

/// Modules of `references`.
pub const REFERENCES: Target = Target {
    name: "references",
    about: "modules with typed references and exceptions, compared with precast itself",
    prepare: || against(Wasmi::new(), references),
};

/// Makes a scenario. `None` if the random numbers of the case do not make one.
pub type Generate = fn(&mut Case) -> Option<Scenario>;

/// Prepares a target that compares precast with `oracle` on the scenarios of one generator.
pub fn against(oracle: impl Oracle + 'static, generate: Generate) -> Run {
    let mut engines = Engines {
        oracle,
        ways: Ways::new(),
    };
    Box::new(move |case| match generate(case) {
        Some(scenario) => engines.compare(case, scenario),
        None => Ok(()),
    })
}

struct Engines<O> {
    oracle: O,
    ways: Ways,
}

impl<O: Oracle> Engines<O> {
    fn compare(&mut self, case: &mut Case, mut scenario: Scenario) -> Result<(), String> {
        case.show(|| text(&scenario));
        let beyond = scenario.needs > O::FEATURES;
        // Only precast itself can say what the backtraces of another way to compile must be.
        if beyond || case.once_in(8) {
            let plain = compile(&mut self.ways, Way::PLAIN, &scenario)?;
            let exports = plain.iter().map(Subject::exported_functions);
            add_calls(case, &mut scenario, exports);
            let machine = Running::new(&plain, PLENTY);
            let reference = Reference::run(&scenario, machine);
            return compare_ways(&mut self.ways, case, &scenario, reference);
        }
        let modules = self.oracle.modules(&scenario.modules)?;
        let exports = modules.iter().map(|m| self.oracle.exported_functions(m));
        add_calls(case, &mut scenario, exports);
        let reference = Reference::run(&scenario, self.oracle.machine(&modules));
        compare_ways(&mut self.ways, case, &scenario, reference)
    }
}

fn compile(ways: &mut Ways, way: Way, scenario: &Scenario) -> Result<Vec<Subject>, String> {
    let compile = |wasm: &Vec<u8>| ways.compile(way, wasm).map(Subject::new);
    let subjects: Result<_, _> = scenario.modules.iter().map(compile).collect();
    subjects.map_err(|error: String| format!("{}: {error}", ways.describe(way)))
}

/// Compares a reference with precast in one random way to compile, or two.
fn compare_ways(
    ways: &mut Ways,
    case: &mut Case,
    scenario: &Scenario,
    mut reference: Reference<impl Machine>,
) -> Result<(), String> {
    case.show(|| outcomes(scenario, &reference.outcomes));
    for _ in 0..if case.once_in(4) { 2 } else { 1 } {
        let way = ways.random(case);
        let name = ways.describe(way);
        case.show(|| name.clone());
        let subjects = compile(ways, way, scenario)?;
        let fuel = match way.interruption.counts_fuel() {
            false => u64::MAX,
            true if case.once_in(4) => case.rng.u64(..2000),
            true => PLENTY,
        };
        // In the second run, instances come from the pool where possible.
        let runs = if case.once_in(3) { 2 } else { 1 };
        for run in 0..runs {
            let mut running = Running::new(&subjects, fuel);
            let compared = reference.compare(scenario, &mut running);
            compared.map_err(|error| format!("{name}, run {run}, fuel {fuel}: {error}"))?;
        }
    }
    Ok(())
}

/// Adds calls of exported functions with random arguments. `exports` are the names and parameters
/// of each module's exported functions.
fn add_calls(
    case: &mut Case,
    scenario: &mut Scenario,
    exports: impl Iterator<Item = Vec<(String, Vec<ValType>)>>,
) {
    let mut functions = Vec::new();
    for (i, exported) in exports.enumerate() {
        functions.extend(exported.into_iter().map(|(name, params)| (i, name, params)));
    }
    if functions.is_empty() {
        return;
    }
    for _ in 0..scenario.random_calls {
        let (module, export, params) = case.one_of(&functions).clone();
        if scenario
            .before_each
            .as_ref()
            .is_some_and(|call| call.export == export)
        {
            continue;
        }
        let args = params.iter().map(|ty| Value::random(case, *ty)).collect();
        scenario.calls.extend(scenario.before_each.clone());
        scenario.calls.push(Call {
            module,
            export,
            args,
        });
    }
}

/// The modules in the text format.
fn text(scenario: &Scenario) -> String {
    let mut text = String::new();
    for (i, wasm) in scenario.modules.iter().enumerate() {
        match wasmprinter::print_bytes(wasm) {
            Ok(printed) => text += &format!(";; m{i}\n{printed}"),
            Err(error) => text += &format!(";; m{i} cannot be printed: {error}\n"),
        }
    }
    text
}

fn outcomes(scenario: &Scenario, outcomes: &[value::Outcome]) -> String {
    let mut text = String::new();
    for (i, outcome) in outcomes.iter().enumerate() {
        match i.checked_sub(scenario.modules.len()) {
            None => text += &format!("instantiation of module {i}: {outcome:?}\n"),
            Some(call) => text += &format!("{:?}: {outcome:?}\n", scenario.calls[call]),
        }
    }
    text
}
