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

use precast_artifact::profile;
use precast_loader::{Profile, ValType};

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
        if way.counters {
            let subjects = compile_again(ways, case, way, &scenario.modules, &subjects);
            let subjects = subjects.map_err(|error| format!("{name}, profile: {error}"))?;
            let mut running = Running::new(&subjects, fuel);
            let compared = reference.compare(scenario, &mut running);
            compared.map_err(|error| format!("{name}, profile, fuel {fuel}: {error}"))?;
        }
    }
    Ok(())
}

/// Compiles modules again with the profiles that were made, or with false ones.
fn compile_again(
    ways: &mut Ways,
    case: &mut Case,
    way: Way,
    modules: &[Vec<u8>],
    counted: &[Subject],
) -> Result<Vec<Subject>, String> {
    let way = Way {
        counters: case.once_in(8),
        ..way
    };
    let kind = case.rng.u8(..3);
    let mut subjects = Vec::new();
    for (wasm, counted) in modules.iter().zip(counted) {
        let profile = counted.module().profile().map_err(|e| e.to_string())?;
        let mut profile = profile.ok_or("an artifact without counters")?;
        match kind {
            0 => {}
            1 => profile = falsified(case, &profile),
            _ => profile = everywhere(case, wasm.len() as u32, &profile),
        }
        let bytes = profile.encode();
        let profile = Profile::decode(&bytes).map_err(|error| error.to_string())?;
        subjects.push(Subject::new(ways.compile_with(way, profile, wasm)?));
    }
    Ok(subjects)
}

/// A profile of the same places with random numbers.
fn falsified(case: &mut Case, old: &Profile) -> Profile {
    let mut number = |old: u64| match case.rng.u8(..5) {
        0 => 0,
        1 => old,
        2 => u64::MAX,
        3 => case.rng.u64(..8),
        _ => case.rng.u64(..),
    };
    let mut counts = Vec::new();
    for (offset, count) in old.counts() {
        counts.push((*offset, number(*count)));
    }
    let mut targets = Vec::new();
    for (offset, target) in old.targets() {
        let (index, votes) = (number(target.index), number(target.votes));
        targets.push((*offset, profile::Target { index, votes }));
    }
    Profile::of(*old.module(), counts, targets)
}

/// A profile that says that all code ran, and that each indirect call has used some index.
fn everywhere(case: &mut Case, len: u32, old: &Profile) -> Profile {
    // The indices that calls really used come first, and count.
    let votes = 1 << 30;
    let real = old.targets().iter();
    let mut targets: Vec<_> = real
        .map(|(offset, target)| (*offset, profile::Target { votes, ..*target }))
        .collect();
    for offset in 0..len {
        let index = case.rng.u64(..8);
        targets.push((offset, profile::Target { index, votes }));
    }
    let count = case.rng.u64(1..4);
    let counts = (0..len).map(|offset| (offset, count));
    Profile::of(*old.module(), counts, targets)
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
