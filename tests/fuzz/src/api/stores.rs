//! Sequences of operations on stores.

use std::sync::Arc;

use precast_compiler::Strategy;
use precast_loader::{
    Caller, Config, Engine, Error, InstancePre, Interruption, Linker, Store, Val,
};

use super::guest::{self, Guests};
use super::host::{Data, host};
use super::slot::{Guest, Slot};
use super::{Token, check, panics};
use crate::Case;

/// What all sequences share: engines and compiled modules.
pub struct Fixtures {
    /// Engines, and the modules for each.
    pub engines: Vec<(Engine, Vec<Guests>)>,
}

impl Fixtures {
    pub fn new() -> Self {
        let mut config = Config::new();
        let default = Engine::default();
        let without_pool = Engine::new(config.pool_per_thread(0)).expect("valid settings");
        let small = config.pool_per_thread(2).max_wasm_stack(64 << 10);
        let compiled = guest::all(&default);
        let of = |engine: Engine| {
            let guests = compiled.iter().map(|g| g.with_engine(&engine)).collect();
            (engine, guests)
        };
        let engines = vec![
            of(default),
            of(without_pool),
            of(Engine::new(small).expect("valid settings")),
        ];
        Self { engines }
    }

    pub fn run(&self, case: &mut Case, token: &Token) -> Result<(), String> {
        let (engine, guests) = case.one_of(&self.engines);
        let linker = Self::linker(engine, token)?;
        let mut run = Run {
            engine,
            guests,
            linker,
            pres: Vec::new(),
            slots: Vec::new(),
            token,
        };
        for _ in 0..case.rng.u32(5..40) {
            run.step(case)?;
        }
        for slot in &mut run.slots {
            slot.check_all()?;
        }
        run.finish(case);
        Ok(())
    }

    fn linker(engine: &Engine, token: &Token) -> Result<Linker<Data>, String> {
        let mut linker = Linker::new(engine);
        let held = Arc::clone(token);
        let host = move |caller: Caller<'_, Data>, op: i32, n: i32| {
            let _held = &held;
            host(caller, op, n)
        };
        linker
            .func_wrap("env", "host", host)
            .map_err(|e| e.to_string())?;
        match linker.func_wrap("env", "host", || {}) {
            Err(Error::Duplicate { .. }) => {}
            other => return Err(format!("a second definition: {:?}", other.err())),
        }
        Ok(linker)
    }
}

struct Run<'f> {
    engine: &'f Engine,
    guests: &'f [Guests],
    linker: Linker<Data>,
    pres: Vec<(InstancePre<Data>, (Interruption, Strategy))>,
    slots: Vec<Slot>,
    token: &'f Token,
}

impl Run<'_> {
    fn step(&mut self, case: &mut Case) -> Result<(), String> {
        if self.slots.is_empty() || case.once_in(8) {
            return self.change_stores(case);
        }
        let i = case.rng.usize(..self.slots.len());
        if self.slots[i].guests.is_empty() || case.once_in(8) {
            return self.instantiate(case, i);
        }
        if case.once_in(24) && self.slots.len() > 1 {
            return self.use_other_store(case);
        }
        let token = Arc::clone(self.token);
        let slot = &mut self.slots[i];
        if case.once_in(200) {
            // A store can be moved to another thread and back.
            let (mut rng, verbose, seed) = (case.rng.fork(), case.verbose, case.seed);
            return std::thread::scope(|scope| {
                let thread = scope.spawn(move || {
                    let mut case = Case::new(seed, verbose);
                    case.rng = rng.fork();
                    (0..5).try_for_each(|_| slot.operate(&mut case, &token))
                });
                thread
                    .join()
                    .unwrap_or_else(|_| Err("a thread panicked".to_owned()))
            });
        }
        slot.operate(case, &token)
    }

    fn change_stores(&mut self, case: &mut Case) -> Result<(), String> {
        if self.slots.len() >= 3 || (!self.slots.is_empty() && case.once_in(2)) {
            let i = case.rng.usize(..self.slots.len());
            let mut slot = self.slots.swap_remove(i);
            slot.check_all()?;
            case.show(|| format!("drop store {i}"));
            let sum = slot.sum;
            match case.rng.u32(..20) {
                0 => {
                    let thread = std::thread::spawn(move || drop(slot));
                    thread.join().map_err(|_| "dropping a store panicked")?;
                }
                1..10 => check("data of a store", slot.store.into_data().sum, sum)?,
                _ => drop(slot),
            }
            return Ok(());
        }
        case.show(|| "new store".to_owned());
        let data = Data::new(self.token);
        let mut store = Store::new(self.engine, data);
        store.set_fuel(u64::MAX).unwrap();
        self.slots.push(Slot::new(store));
        Ok(())
    }

    fn instantiate(&mut self, case: &mut Case, i: usize) -> Result<(), String> {
        let guests = case.one_of(self.guests);
        let compiled = (guests.interruption, guests.strategy);
        let slot = &mut self.slots[i];
        if slot.guests.len() >= 6 || slot.is_interrupted() {
            return Ok(());
        }
        // A guest that imports from another guest is linked by a linker of its own.
        if !slot.guests.is_empty() && case.once_in(2) {
            let lib = *case.one_of(&slot.guests);
            case.show(|| format!("store {i}: instance that imports from another"));
            let mut linker = self.linker.clone();
            linker
                .instance(&mut slot.store, "lib", lib.instance)
                .map_err(|e| e.to_string())?;
            let made = linker.instantiate(&mut slot.store, &guests.linked);
            if !guests.takes_memory_of(lib.strategy) {
                let right = matches!(made, Err(Error::Link(_)));
                return check("a memory without guard pages", right, true);
            }
            let instance = made.map_err(|error| error.to_string())?;
            slot.guests.push(Guest {
                instance,
                state: lib.state,
                interruption: guests.interruption,
                strategy: lib.strategy,
            });
            return Ok(());
        }
        let made = match case.rng.u32(..4) {
            0 => {
                // The imports are missing.
                match Linker::new(self.engine).instantiate(&mut slot.store, &guests.linked) {
                    Err(Error::Link(errors)) => check("missing imports", errors.len(), 5)?,
                    other => return Err(format!("nothing to link with: {:?}", other.map(|_| ()))),
                }
                self.linker.instantiate(&mut slot.store, &guests.own)
            }
            1 if !self.pres.is_empty() => {
                let (pre, compiled) = case.one_of(&self.pres);
                let made = pre.instantiate(&mut slot.store);
                return slot.add_own(made, *compiled);
            }
            _ => {
                let pre = self.linker.instantiate_pre(&guests.own);
                let pre = pre.map_err(|error| error.to_string())?;
                let made = pre.instantiate(&mut slot.store);
                if self.pres.len() < 4 {
                    self.pres.push((pre, compiled));
                } else if case.once_in(4) {
                    self.pres.swap_remove(case.rng.usize(..4));
                }
                made
            }
        };
        case.show(|| format!("store {i}: instance of a guest"));
        slot.add_own(made, compiled)
    }

    /// Handles belong to one store. Using them with another store panics.
    fn use_other_store(&mut self, case: &mut Case) -> Result<(), String> {
        case.show(|| "a handle with another store".to_owned());
        let [first, second, ..] = &mut self.slots[..] else {
            return Ok(());
        };
        let (Some(guest), store) = (first.guests.first(), &mut second.store) else {
            return Ok(());
        };
        let instance = guest.instance;
        let memory = instance
            .get_memory(&mut first.store, "mem")
            .ok_or("no memory")?;
        let func = instance
            .get_func(&mut first.store, "add")
            .ok_or("no function")?;
        let table = instance
            .get_table(&mut first.store, "tab")
            .ok_or("no table")?;
        let global = instance
            .get_global(&mut first.store, "count")
            .ok_or("no global")?;
        let message = match case.rng.u32(..6) {
            0 => panics(|| instance.get_export(&mut *store, "add")),
            1 => panics(|| memory.data_size(&*store)),
            2 => panics(|| func.call(&mut *store, &[Val::I32(1)], &mut [Val::I32(0)])),
            3 => panics(|| table.size(&*store)),
            4 => panics(|| global.set(&mut *store, Val::I32(1))),
            _ => panics(|| func.typed::<i32, i32>(&*store)),
        }?;
        match message.contains("does not own") {
            true => Ok(()),
            false => Err(format!("a handle with another store: {message}")),
        }
    }

    /// Drops everything in a random order.
    fn finish(self, case: &mut Case) {
        let Self {
            linker,
            pres,
            slots,
            ..
        } = self;
        match case.rng.u32(..3) {
            0 => {
                drop(linker);
                drop(pres);
                drop(slots);
            }
            1 => {
                drop(slots);
                drop(pres);
                drop(linker);
            }
            _ => {
                drop(pres);
                drop(slots);
                drop(linker);
            }
        }
    }
}
