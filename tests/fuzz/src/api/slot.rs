//! A store and its guests: operations on them, and the expected results.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use precast_compiler::Strategy;
use precast_loader::{
    AsContextMut, Error, ExternRef, Instance, InterruptHandle, Interruption, Store, Trap, Val,
};

use super::host::Data;
use super::model::{Ending, State};
use super::{Token, check};
use crate::Case;

/// A store and its guests.
pub struct Slot {
    pub store: Store<Data>,
    /// The expected sum in the store's data.
    pub sum: i32,
    pub guests: Vec<Guest>,
    states: Vec<State>,
    handle: Option<InterruptHandle>,
    /// Whether code of the store has been asked to stop.
    interrupted: bool,
}

#[derive(Clone, Copy)]
pub struct Guest {
    pub instance: Instance,
    /// The index of the state that it owns or imports.
    pub state: usize,
    pub interruption: Interruption,
    pub strategy: Strategy,
}

/// The value of an external reference.
struct Referred {
    number: u32,
    #[expect(dead_code, reason = "held for its count")]
    token: Token,
}

impl Slot {
    pub fn new(store: Store<Data>) -> Self {
        Self {
            store,
            sum: 0,
            guests: Vec::new(),
            states: Vec::new(),
            handle: None,
            interrupted: false,
        }
    }

    pub fn add_own(
        &mut self,
        made: Result<Instance, Error>,
        (interruption, strategy): (Interruption, Strategy),
    ) -> Result<(), String> {
        let instance = made.map_err(|error| error.to_string())?;
        self.guests.push(Guest {
            instance,
            state: self.states.len(),
            interruption,
            strategy,
        });
        self.states.push(State::new());
        let guest = self.guests[self.guests.len() - 1];
        self.check_guest(guest)
    }

    /// Checks everything that the host can see of a guest.
    fn check_guest(&mut self, guest: Guest) -> Result<(), String> {
        let (state, store) = (&self.states[guest.state], &mut self.store);
        let memory = guest
            .instance
            .get_memory(&mut *store, "mem")
            .ok_or("no memory")?;
        check("pages", memory.size(&*store), state.pages)?;
        let bytes = memory.data(&*store);
        for (at, byte) in &state.bytes {
            check("a byte", bytes[*at as usize], *byte)?;
        }
        let count = guest
            .instance
            .get_global(&mut *store, "count")
            .ok_or("no global")?;
        check("the count", count.get(&*store).i32(), Some(state.count))?;
        let table = guest
            .instance
            .get_table(&mut *store, "tab")
            .ok_or("no table")?;
        check(
            "elements",
            table.size(&*store),
            state.references.len() as u64,
        )?;
        for (i, expected) in state.references.iter().enumerate() {
            let found = table.get(&*store, i as u64).as_ref().and_then(number);
            check("a reference", found, *expected)?;
        }
        Ok(())
    }

    pub fn check_all(&mut self) -> Result<(), String> {
        check("the data", self.store.data().sum, self.sum)?;
        for guest in self.guests.clone() {
            self.check_guest(guest)?;
        }
        Ok(())
    }

    /// Whether code of the store must stop now. A store with a deadline accepts only modules whose
    /// code checks deadlines.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    pub fn operate(&mut self, case: &mut Case, token: &Token) -> Result<(), String> {
        if self.interrupted {
            return self.after_interrupt(case);
        }
        let guest = *case.one_of(&self.guests);
        match case.rng.u32(..16) {
            0 => self.interrupt(case),
            1 => self.spin(case, guest),
            2 => self.host_memory(case, guest),
            3 => self.host_table(case, guest, token),
            4 => self.wrong_types(case, guest),
            5 => self.check_guest(guest),
            _ => self.call(case, guest, token),
        }
    }

    /// Calls one of the exports, and compares the result with the model's.
    fn call(&mut self, case: &mut Case, guest: Guest, token: &Token) -> Result<(), String> {
        let at = match case.once_in(3) {
            true => case.rng.u32(..10),
            false => *case.one_of(&[0, 65535, 65536, 131_072, 393_215, 393_216, u32::MAX]),
        };
        let (small, byte) = (case.rng.i32(..8).rem_euclid(8), case.rng.u8(..));
        let state = &mut self.states[guest.state];
        let reference = (!case.once_in(4)).then(|| case.rng.u32(..50));
        let slot = case.rng.u32(..8);
        let extern_val = |n: Option<u32>| {
            let referred = |number| {
                ExternRef::new(Referred {
                    number,
                    token: Arc::clone(token),
                })
            };
            Val::ExternRef(n.map(referred))
        };
        let i32 = |n: u32| Val::I32(n.cast_signed());
        let (name, args, expected) = match case.rng.u32(..12) {
            0 | 1 => ("add", vec![Val::I32(small)], state.add(small)),
            2 => (
                "poke",
                vec![i32(at), Val::I32(byte.into())],
                state.poke(at, byte),
            ),
            3 => ("peek", vec![i32(at)], state.peek(at)),
            4 => (
                "grow",
                vec![Val::I32(small / 3)],
                state.grow(small.cast_unsigned() / 3),
            ),
            5 => (
                "put",
                vec![i32(slot), extern_val(reference)],
                state.put(slot, reference),
            ),
            6 => ("get", vec![i32(slot)], state.get(slot)),
            7 => (
                "indirect",
                vec![i32(slot), Val::I32(small)],
                state.indirect(slot, small),
            ),
            8 => (
                "fail",
                vec![Val::I32(0)],
                Ending::Trap(Trap::UnreachableCodeReached),
            ),
            9 if case.once_in(20) => ("dive", vec![Val::I32(0)], Ending::Trap(Trap::StackOverflow)),
            _ => {
                let (op, n) = (case.rng.i32(0..10), case.rng.i32(0..500));
                let expected = state.ask(op, n, &mut self.sum);
                ("ask", vec![Val::I32(op), Val::I32(n)], expected)
            }
        };
        case.show(|| format!("{name} {args:?}: {expected:?}"));
        let found = call(&mut self.store, guest.instance, name, &args);
        check(name, found, expected)
    }

    fn spin(&mut self, case: &mut Case, guest: Guest) -> Result<(), String> {
        let rounds = case.rng.i32(1..200);
        let store = &mut self.store;
        let fuel = if guest.interruption.counts_fuel() {
            case.rng.u64(..4000)
        } else {
            u64::MAX
        };
        let counts = |guest: &Guest| guest.interruption.counts_fuel();
        match store.set_fuel(fuel) {
            Ok(()) if fuel == u64::MAX || self.guests.iter().all(counts) => {}
            Err(Error::Interruption { .. }) if !self.guests.iter().all(counts) => return Ok(()),
            other => return Err(format!("fuel {fuel}: {other:?}")),
        }
        let found = call(store, guest.instance, "spin", &[Val::I32(rounds)]);
        let (least, left) = (rounds as u64, store.get_fuel().unwrap_or(u64::MAX));
        store.set_fuel(u64::MAX).unwrap();
        case.show(|| format!("spin {rounds} with fuel {fuel}: {found:?}, {left} left"));
        let enough = fuel >= least * 20 + 50;
        match found {
            Ending::Value(n) if n == rounds && fuel >= least && left <= fuel => Ok(()),
            Ending::Trap(Trap::OutOfFuel) if !enough && left == 0 => Ok(()),
            other => Err(format!(
                "spin {rounds} with fuel {fuel}: {other:?}, {left} left"
            )),
        }
    }

    /// Asks code of this store to stop, now or after some ticks.
    fn interrupt(&mut self, case: &mut Case) -> Result<(), String> {
        let engine = *self.store.engine();
        let looks = |guest: &Guest| guest.interruption.has_epochs();
        let knows_deadlines = !self.guests.is_empty() && self.guests.iter().all(looks);
        if !knows_deadlines && !self.guests.is_empty() && self.store.set_epoch_deadline(0).is_ok() {
            return Err("a deadline for code that knows none".to_owned());
        }
        match case.rng.u32(..if knows_deadlines { 3 } else { 1 }) {
            0 => {
                let handle = self.store.interrupt_handle();
                handle.interrupt();
                self.handle = Some(handle);
            }
            1 => self.store.set_epoch_deadline(0).unwrap(),
            _ => {
                self.store.set_epoch_deadline(2).unwrap();
                engine.increment_epoch();
                if case.once_in(2) {
                    self.store.clear_epoch_deadline();
                    engine.increment_epoch();
                    return Ok(());
                }
                engine.increment_epoch();
            }
        }
        case.show(|| "interrupt".to_owned());
        self.interrupted = true;
        Ok(())
    }

    /// Checks that interruptible code stops, and that everything continues afterwards.
    fn after_interrupt(&mut self, case: &mut Case) -> Result<(), String> {
        let guest = *case.one_of(&self.guests);
        let found = call(&mut self.store, guest.instance, "spin", &[Val::I32(10)]);
        let stopped = Ending::Trap(Trap::Interrupt);
        let expected = if guest.interruption.has_epochs() {
            stopped.clone()
        } else {
            Ending::Value(10)
        };
        check("spin when interrupted", found, expected)?;
        // Code with any kind of interruption stops when a host function returns.
        let found = call(
            &mut self.store,
            guest.instance,
            "ask",
            &[Val::I32(0), Val::I32(1)],
        );
        check("a host function when interrupted", found, stopped)?;
        if let Some(handle) = self.handle.take() {
            handle.clear();
        }
        self.store.clear_epoch_deadline();
        self.interrupted = false;
        Ok(())
    }

    fn host_memory(&mut self, case: &mut Case, guest: Guest) -> Result<(), String> {
        let (state, store) = (&mut self.states[guest.state], &mut self.store);
        let memory = guest
            .instance
            .get_memory(&mut *store, "mem")
            .ok_or("no memory")?;
        let at = *case.one_of(&[0, 5, 65535, 65536, 131_071, 400_000, u32::MAX]);
        case.show(|| format!("the host uses the memory at {at}"));
        match case.rng.u32(..4) {
            0 => {
                let delta = case.rng.u64(..3);
                let found = memory.grow(&mut *store, delta).ok();
                let expected = match state.grow(delta as u32) {
                    Ending::Value(-1) => None,
                    Ending::Value(before) => Some(before as u64),
                    other => return Err(format!("{other:?}")),
                };
                check("growing", found, expected)
            }
            1 => {
                let written = memory.write(&mut *store, at as usize, &[9, 9]).is_ok();
                let inside = state.is_inside(at) && state.is_inside(at.saturating_add(1));
                let inside = inside && at < u32::MAX;
                if inside {
                    state.bytes.extend([(at, 9), (at + 1, 9)]);
                }
                check("writing", written, inside)
            }
            2 => {
                let mut byte = [0xee];
                let read = memory.read(&*store, at as usize, &mut byte).is_ok();
                let expected = match state.peek(at) {
                    Ending::Value(byte) => (true, byte as u8),
                    _ => (false, 0xee),
                };
                check("reading", (read, byte[0]), expected)
            }
            _ => {
                let bytes = memory.data_mut(&mut *store);
                if let Some(byte) = bytes.get_mut(at as usize) {
                    *byte = 3;
                    state.bytes.insert(at, 3);
                }
                check("the length", bytes.len() as u64, state.pages << 16)
            }
        }
    }

    fn host_table(&mut self, case: &mut Case, guest: Guest, token: &Token) -> Result<(), String> {
        let (state, store) = (&mut self.states[guest.state], &mut self.store);
        let table = guest
            .instance
            .get_table(&mut *store, "tab")
            .ok_or("no table")?;
        let number = case.rng.u32(..50);
        let value = Val::ExternRef(Some(ExternRef::new(Referred {
            number,
            token: Arc::clone(token),
        })));
        let at = case.rng.u64(..24);
        case.show(|| format!("the host uses the table at {at}"));
        match case.rng.u32(..3) {
            0 => {
                let found = table.grow(&mut *store, at / 4, value).ok();
                check(
                    "growing a table",
                    found,
                    state.grow_table(at / 4, Some(number)),
                )
            }
            1 => {
                let found = table.set(&mut *store, at, value).is_ok();
                let expected = state.put(at as u32, Some(number)) == Ending::Nothing;
                check("setting an element", found, expected)
            }
            _ => match table.set(&mut *store, 0, Val::FuncRef(None)) {
                Err(Error::Type { .. }) => Ok(()),
                other => Err(format!("a function in a table of others: {other:?}")),
            },
        }
    }

    fn wrong_types(&mut self, case: &mut Case, guest: Guest) -> Result<(), String> {
        let (store, instance) = (&mut self.store, guest.instance);
        case.show(|| "wrong types".to_owned());
        let add = instance.get_func(&mut *store, "add").ok_or("no function")?;
        let mut one = [Val::I32(0)];
        let error = match case.rng.u32(..6) {
            0 => add.call(&mut *store, &[Val::I64(1)], &mut one).err(),
            1 => add.call(&mut *store, &[], &mut one).err(),
            2 => add.call(&mut *store, &[Val::I32(1)], &mut []).err(),
            3 => add.typed::<(i32, i32), i32>(&*store).err(),
            4 => {
                let count = instance
                    .get_global(&mut *store, "count")
                    .ok_or("no global")?;
                count.set(&mut *store, Val::I64(3)).err()
            }
            _ => match instance.get_typed_func::<(), ()>(&mut *store, "nothing") {
                Err(Error::NoExport { .. }) => return Ok(()),
                other => return Err(format!("an export that is not there: {:?}", other.err())),
            },
        };
        match error {
            Some(Error::Type { .. } | Error::Count { .. }) => Ok(()),
            other => Err(format!("wrong types: {other:?}")),
        }
    }
}

fn number(value: &Val) -> Option<u32> {
    let referred = value.externref()??.data().downcast_ref::<Referred>();
    Some(referred?.number)
}

/// Calls an export by its name, and returns how the call ended.
fn call(store: &mut Store<Data>, instance: Instance, name: &str, args: &[Val]) -> Ending {
    let func = instance
        .get_func(&mut *store, name)
        .expect("an export of the guest");
    let ty = func.ty(&*store);
    let mut results: Vec<_> = ty.results().iter().map(|t| Val::default_for(*t)).collect();
    let called = || func.call(store.as_context_mut(), args, &mut results);
    match catch_unwind(AssertUnwindSafe(called)) {
        Err(_) => Ending::Panic,
        Ok(Ok(())) => match results.first() {
            None => Ending::Nothing,
            Some(Val::I32(n)) => Ending::Value(*n),
            Some(value) => Ending::Reference(number(value)),
        },
        Ok(Err(Error::Trap { trap, .. })) => Ending::Trap(trap),
        Ok(Err(Error::Host(_))) => Ending::HostError,
        Ok(Err(Error::Exit(code))) => Ending::Exit(code),
        Ok(Err(error)) => panic!("{name}: {error}"),
    }
}
