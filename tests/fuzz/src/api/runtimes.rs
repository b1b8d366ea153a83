//! Sequences of operations on runtimes: names, closing, exit codes, redirection, shared stores,
//! contexts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use precast_compiler::Strategy;
use precast_loader::runtime::{
    Caller, Context, EXIT_CANCELED, HostModule, Instance, InstanceConfig, Runtime, Target,
};
use precast_loader::{Engine, Error, Interruption, Val};

use super::guest::Guests;
use super::host::{self, Data};
use super::model::{Ending, State};
use super::stores;
use super::{Token, check};
use crate::Case;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// What all sequences share.
pub struct Fixtures {
    engine: Engine,
    guests: Vec<Guests>,
}

/// An instance and its expected state.
struct Member {
    instance: Instance<Data>,
    name: &'static str,
    /// The index of its store.
    group: usize,
    /// The index of the state that it owns or imports.
    state: usize,
    closed: Option<u32>,
    interruption: Interruption,
    /// The strategy of the module that owns its memory.
    strategy: Strategy,
}

struct Run<'f> {
    fixtures: &'f Fixtures,
    runtime: Runtime<Data>,
    members: Vec<Member>,
    states: Vec<State>,
    /// The sum in the data of each store.
    sums: Vec<i32>,
    /// The index of the store that is shared by the instances that ask for sharing.
    shared: Option<usize>,
    closed: Option<u32>,
}

impl Fixtures {
    pub fn new(stores: &stores::Fixtures) -> Self {
        let (engine, guests) = &stores.engines[2];
        let guests = guests.iter().map(|g| g.with_engine(engine)).collect();
        Self {
            engine: *engine,
            guests,
        }
    }

    pub fn run(&self, case: &mut Case, token: &Token) -> Result<(), String> {
        let held = Arc::clone(token);
        let make = move || Data::new(&held);
        let runtime = Runtime::with_data(&self.engine, make);
        let held = Arc::clone(token);
        let host = move |caller: Caller<'_, Data>, op: i32, n: i32| {
            let _held = &held;
            host::host(caller, op, n)
        };
        let env = HostModule::builder("env").func("host", host);
        env.instantiate(&runtime)
            .map_err(|error| error.to_string())?;
        let mut run = Run {
            fixtures: self,
            runtime,
            members: Vec::new(),
            states: Vec::new(),
            sums: Vec::new(),
            shared: None,
            closed: None,
        };
        for _ in 0..case.rng.u32(4..25) {
            run.step(case)?;
        }
        run.finish(case)
    }
}

impl Run<'_> {
    fn step(&mut self, case: &mut Case) -> Result<(), String> {
        if self.members.is_empty() {
            return self.instantiate_own(case);
        }
        match case.rng.u32(..16) {
            0 | 1 => self.instantiate_own(case),
            2 | 3 => self.instantiate_linked(case),
            4 => self.close(case),
            5 => self.look_up(case),
            6 => self.forget(case),
            7 if case.once_in(4) => self.close_runtime(case),
            8 => self.with_context(case),
            9 if case.once_in(60) => self.close_from_another_thread(case),
            _ => self.call(case),
        }
    }

    fn open(&self, name: &str) -> Option<usize> {
        let is_it = |m: &Member| !name.is_empty() && m.name == name && m.closed.is_none();
        self.members.iter().position(is_it)
    }

    /// Whether `error` is the error that instantiating under this name must return. `None` if the
    /// name must not cause an error.
    fn name_error(&self, name: &str, error: Option<&Error>) -> Option<bool> {
        if let Some(code) = self.closed {
            return Some(
                matches!(error, Some(Error::Closed { what: "runtime", exit_code }) if *exit_code == code),
            );
        }
        let taken = self.open(name).is_some();
        taken.then_some(matches!(error, Some(Error::AlreadyInstantiated { .. })))
    }

    fn config(case: &mut Case) -> (&'static str, InstanceConfig<Data>) {
        match case.once_in(3) {
            true => ("", InstanceConfig::new()),
            false => {
                let name = *case.one_of(&NAMES);
                (name, InstanceConfig::new().with_name(name))
            }
        }
    }

    /// The shared store, if it has an open instance.
    fn shared_group(&self) -> Option<usize> {
        let shared = self.shared?;
        let lives = |m: &Member| m.group == shared && m.closed.is_none();
        self.members.iter().any(lives).then_some(shared)
    }

    fn new_group(&mut self) -> usize {
        self.sums.push(0);
        self.sums.len() - 1
    }

    fn instantiate_own(&mut self, case: &mut Case) -> Result<(), String> {
        let guests = case.one_of(&self.fixtures.guests);
        let (name, mut config) = Self::config(case);
        let shares = case.once_in(3);
        if shares {
            config = config.with_shared_store();
        }
        let made = self.runtime.instantiate(&guests.own, config);
        case.show(|| {
            format!(
                "instance `{name}`, shared {shares}: {:?}",
                made.as_ref().err()
            )
        });
        if let Some(right) = self.name_error(name, made.as_ref().err()) {
            return check("an instance that cannot be", right, true);
        }
        let instance = made.map_err(|error| error.to_string())?;
        let group = match self.shared_group().filter(|_| shares) {
            Some(group) => group,
            None => self.new_group(),
        };
        if shares {
            self.shared = Some(group);
        }
        self.members.push(Member {
            instance,
            name,
            group,
            state: self.states.len(),
            closed: None,
            interruption: guests.interruption,
            strategy: guests.strategy,
        });
        self.states.push(State::new());
        Ok(())
    }

    /// Makes an instance that imports all items from another.
    fn instantiate_linked(&mut self, case: &mut Case) -> Result<(), String> {
        let guests = case.one_of(&self.fixtures.guests);
        let (name, config) = Self::config(case);
        let lib = case.rng.usize(..self.members.len());
        let (by_name, shares) = (
            !self.members[lib].name.is_empty() && case.once_in(2),
            case.once_in(4),
        );
        let mut config = match by_name {
            true => config.with_import_module("lib", self.members[lib].name),
            false => {
                let target = self.members[lib].instance.clone();
                config.with_import_resolver(move |_, module, name| {
                    (module == "lib").then(|| Target::Instance(target.clone(), name.to_owned()))
                })
            }
        };
        if shares {
            config = config.with_shared_store();
        }
        let made = self.runtime.instantiate(&guests.linked, config);
        case.show(|| {
            format!(
                "instance `{name}` of {lib}, by name {by_name}, shared {shares}: {:?}",
                made.as_ref().err()
            )
        });
        if let Some(right) = self.name_error(name, made.as_ref().err()) {
            return check("an instance that cannot be", right, true);
        }
        // An instance cannot import from its own name. The name is taken, but it has no instance
        // yet.
        let lib = match by_name {
            true => self.open(self.members[lib].name),
            false => Some(lib),
        };
        let Some(lib) = lib else {
            let right = matches!(made, Err(Error::NotInstantiated { .. }));
            return check("imports from nobody", right, true);
        };
        let lib = &self.members[lib];
        if let Some(code) = lib.closed {
            let right = made.is_err_and(|error| is_closed(&error, code));
            return check("imports from a closed instance", right, true);
        }
        if shares && self.shared_group() != Some(lib.group) {
            let right = matches!(made, Err(Error::DifferentStores { .. }));
            return check("imports from another store", right, true);
        }
        if !guests.takes_memory_of(lib.strategy) {
            let right = matches!(made, Err(Error::Link(_)));
            return check("a memory without guard pages", right, true);
        }
        let instance = made.map_err(|error| error.to_string())?;
        let (group, state, strategy) = (lib.group, lib.state, lib.strategy);
        self.members.push(Member {
            instance,
            name,
            group,
            state,
            closed: None,
            interruption: guests.interruption,
            strategy,
        });
        Ok(())
    }

    fn close(&mut self, case: &mut Case) -> Result<(), String> {
        let i = case.rng.usize(..self.members.len());
        let member = &mut self.members[i];
        let code = case.rng.u32(..5);
        case.show(|| format!("close {i} with {code}"));
        member.instance.close_with_exit_code(code);
        member.closed.get_or_insert(code);
        check("the exit code", member.instance.exit_code(), member.closed)
    }

    fn look_up(&mut self, case: &mut Case) -> Result<(), String> {
        let name = *case.one_of(&NAMES);
        let found = self.runtime.instance(name).map(|i| i.name().to_owned());
        let expected = self.open(name).map(|_| name.to_owned());
        check("an instance by its name", found, expected)
    }

    /// Drops a handle. An anonymous instance ends with its last handle.
    fn forget(&mut self, case: &mut Case) -> Result<(), String> {
        let i = case.rng.usize(..self.members.len());
        if case.once_in(2) {
            let member = &self.members[i];
            let copy = member.instance.clone();
            drop(copy);
            return check("the exit code", member.instance.exit_code(), member.closed);
        }
        // A named instance stays a member, because it can still be looked up. Instances that import
        // from an anonymous one keep it alive.
        if self.members[i].name.is_empty() {
            case.show(|| format!("forget {i}"));
            self.members.swap_remove(i);
        }
        Ok(())
    }

    fn close_runtime(&mut self, case: &mut Case) -> Result<(), String> {
        let code = case.rng.u32(..5);
        case.show(|| format!("close the runtime with {code}"));
        self.runtime.close_with_exit_code(code);
        let code = *self.closed.get_or_insert(code);
        for member in &mut self.members {
            member.closed.get_or_insert(code);
            check("the exit code", member.instance.exit_code(), member.closed)?;
        }
        check(
            "the runtime's exit code",
            self.runtime.exit_code(),
            Some(code),
        )
    }

    /// A call with a context that is already done ends, and the instance is closed.
    fn with_context(&mut self, case: &mut Case) -> Result<(), String> {
        let i = case.rng.usize(..self.members.len());
        let context = Context::new();
        let is_done = case.once_in(2);
        if is_done {
            context.cancel();
        }
        case.show(|| format!("call of {i} in a context, done: {is_done}"));
        let member = &mut self.members[i];
        let called = member
            .instance
            .with_context(&context)
            .call("add", &[Val::I32(1)]);
        match (member.closed, called) {
            (Some(code), Err(Error::Closed { exit_code, .. })) => {
                check("exit code", exit_code, code)
            }
            // The instance was closed by an earlier call with a context.
            (Some(EXIT_CANCELED), Err(Error::Canceled)) => Ok(()),
            (None, Err(Error::Canceled)) if is_done => {
                member.closed = Some(EXIT_CANCELED);
                Ok(())
            }
            (None, Ok(results)) if !is_done => {
                let Ending::Value(n) = self.states[member.state].add(1) else {
                    return Err("the model".to_owned());
                };
                check("add", results.first().and_then(Val::i32), Some(n))
            }
            (closed, called) => Err(format!("closed {closed:?}, done {is_done}: {called:?}")),
        }
    }

    /// A call that would take seconds ends when another thread closes its instance.
    fn close_from_another_thread(&mut self, case: &mut Case) -> Result<(), String> {
        let runs = |m: &&mut Member| m.closed.is_none() && m.interruption.has_epochs();
        let Some(member) = self.members.iter_mut().find(runs) else {
            return Ok(());
        };
        case.show(|| "close from another thread".to_owned());
        let other = member.instance.clone();
        let closing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(200));
            other.close_with_exit_code(77);
        });
        let called = member.instance.call("spin", &[Val::I32(-1)]);
        closing.join().map_err(|_| "closing panicked")?;
        member.closed = Some(77);
        match called {
            Err(Error::Closed { exit_code: 77, .. }) => Ok(()),
            other => Err(format!("closed while it ran: {other:?}")),
        }
    }

    fn call(&mut self, case: &mut Case) -> Result<(), String> {
        let i = case.rng.usize(..self.members.len());
        let member = &mut self.members[i];
        let (op, n) = (case.rng.i32(0..10), case.rng.i32(0..300));
        let called = || member.instance.call("ask", &[Val::I32(op), Val::I32(n)]);
        let called = catch_unwind(AssertUnwindSafe(called));
        case.show(|| format!("ask {op} {n} of {i}: {called:?}"));
        if let Some(code) = member.closed {
            let right =
                called.is_ok_and(|called| called.is_err_and(|error| is_closed(&error, code)));
            return check("a call of a closed instance", right, true);
        }
        let sum = &mut self.sums[member.group];
        let expected = self.states[member.state].ask(op, n, sum);
        let found = match called {
            Err(_) => Ending::Panic,
            Ok(Ok(results)) => Ending::Value(results.first().and_then(Val::i32).unwrap_or(-7)),
            Ok(Err(Error::Trap { trap, .. })) => Ending::Trap(trap),
            Ok(Err(Error::Host(_))) => Ending::HostError,
            Ok(Err(Error::Closed { exit_code, .. })) => Ending::Exit(exit_code.cast_signed()),
            Ok(Err(error)) => return Err(format!("ask {op} {n}: {error}")),
        };
        if let Ending::Exit(code) = expected {
            member.closed = Some(code.cast_unsigned());
        }
        check("ask", found, expected)
    }

    fn finish(self, case: &mut Case) -> Result<(), String> {
        let Self {
            runtime, members, ..
        } = self;
        match case.once_in(2) {
            true => {
                drop(runtime);
                drop(members);
            }
            false => {
                drop(members);
                drop(runtime);
            }
        }
        Ok(())
    }
}

/// Whether this is the error of an instance that was closed with this exit code.
fn is_closed(error: &Error, code: u32) -> bool {
    match error {
        Error::Closed { exit_code, .. } => *exit_code == code,
        Error::Canceled => code == EXIT_CANCELED,
        _ => false,
    }
}
