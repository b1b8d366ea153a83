//! Six threads make, call, close, cancel and interrupt instances, panic in them, call other
//! instances from inside of a call, and replace whole runtimes. A model says which results each
//! operation may have. At the end, everything must have been freed.
//!
//! | environment variable | effect |
//! |---|---|
//! | `PRECAST_STRESS_SECONDS` | how long the test runs, instead of two seconds |
//! | `PRECAST_STRESS_SEED` | the seed of the sequence of operations |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use precast_artifact::Interruption;
use precast_loader::runtime::{Context, HostModule, Instance, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, Error, Module};
use precast_tests::{Source, Watchdog, strategies};

const THREADS: u64 = 6;
const SLOTS: usize = 8;

const GUEST: &str = r#"(module (import "env" "f" (func $f (param i32) (result i32)))
    (memory (export "m") 1 4)
    (func (export "fine") (result i32) (i32.const 7))
    (func (export "loop") (loop (br 0)))
    (func (export "ask") (param i32) (result i32) (call $f (local.get 0)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;
const USER: &str = r#"(module (import "lib" "m" (memory 1)) (import "lib" "fine" (func $f (result i32)))
    (func (export "fine") (result i32) (i32.store (i32.const 0) (i32.const 1)) (call $f))
    (func (export "loop") (loop (br 0)))
    (func (export "ask") (param i32) (result i32) (local.get 0))
    (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;

// The argument of the host function says what it does.
const ECHO: i32 = 0;
const PANIC: i32 = 1;
const CALL_ANOTHER: i32 = 2;
const CLOSE_ANOTHER: i32 = 3;
const CLOSE_ITSELF: i32 = 4;
const FAIL: i32 = 5;

/// The data of a store. `World::alive` counts the stores.
struct Data(Arc<AtomicUsize>);

impl Drop for Data {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct World {
    engine: Engine,
    guests: Vec<Module>,
    users: Vec<Module>,
    alive: Arc<AtomicUsize>,
    runtime: Mutex<Runtime<Data>>,
    instances: Mutex<Vec<Option<Instance<Data>>>>,
    contexts: Mutex<Vec<Context>>,
    done: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let compile = |wat| {
            strategies()
                .map(|strategy| {
                    let source = Source::new(strategy).interruption(Interruption::Epoch);
                    source.module(&engine, wat)
                })
                .into()
        };
        Arc::new_cyclic(|world| {
            let alive = Arc::default();
            let runtime = Self::new_runtime(&engine, &alive, world.clone());
            Self {
                engine,
                guests: compile(GUEST),
                users: compile(USER),
                alive,
                runtime: Mutex::new(runtime),
                instances: Mutex::new((0..SLOTS).map(|_| None).collect()),
                contexts: Mutex::default(),
                done: AtomicU64::new(0),
            }
        })
    }

    fn new_runtime(
        engine: &Engine,
        alive: &Arc<AtomicUsize>,
        world: std::sync::Weak<Self>,
    ) -> Runtime<Data> {
        let alive = Arc::clone(alive);
        let runtime = Runtime::with_data(engine, move || {
            alive.fetch_add(1, Ordering::SeqCst);
            Data(Arc::clone(&alive))
        });
        HostModule::builder("env")
            .func(
                "f",
                move |mut caller: precast_loader::runtime::Caller<'_, Data>, what: i32| {
                    let another = || {
                        let world = world.upgrade()?;
                        world.instances.lock().unwrap()[what as usize % SLOTS].clone()
                    };
                    match what {
                        PANIC => panic!("of the stress test"),
                        CALL_ANOTHER => {
                            if let Some(another) = another() {
                                let mut call = another.call_typed::<(), i32>("fine", ());
                                if let Some(context) = caller.context() {
                                    let again = another.with_context(&context);
                                    call = call.and_then(|_| again.call_typed("fine", ()));
                                }
                                expect("a call inside of a call", call, |n| n == 7)?;
                            }
                        }
                        CLOSE_ANOTHER => {
                            if let Some(another) = another() {
                                another.close_with_exit_code(2);
                            }
                        }
                        CLOSE_ITSELF => return Err(caller.exit(3)),
                        FAIL => return Err(Error::host("as it was told")),
                        _ => {}
                    }
                    Ok(what)
                },
            )
            .instantiate(&runtime)
            .unwrap();
        runtime
    }

    fn runtime(&self) -> Runtime<Data> {
        self.runtime.lock().unwrap().clone()
    }

    fn pick(&self, random: &mut Rng) -> Option<Instance<Data>> {
        self.instances.lock().unwrap()[random.usize(..SLOTS)].clone()
    }

    fn context(&self, random: &mut Rng) -> Context {
        let mut contexts = self.contexts.lock().unwrap();
        if contexts.len() > 4 {
            contexts.remove(0);
        }
        let time = Duration::from_micros(random.u64(..3000));
        contexts.push(Context::with_timeout(time));
        contexts[random.usize(..contexts.len())].clone()
    }

    fn make(&self, random: &mut Rng) {
        let runtime = self.runtime();
        let kind = random.usize(..2);
        let mut config = InstanceConfig::new();
        if random.usize(..4) == 0 {
            let context = self.context(random);
            config = config.with_context(&context);
        }
        let made = match random.usize(..4) {
            0 => runtime.instantiate(&self.guests[kind], config.with_name("lib")),
            1 => runtime.instantiate(&self.users[kind], config),
            2 => runtime.instantiate(&self.guests[kind], config.with_shared_store()),
            _ => runtime.instantiate(&self.guests[kind], config),
        };
        match made {
            Ok(instance) => {
                let old = {
                    let mut instances = self.instances.lock().unwrap();
                    instances[random.usize(..SLOTS)].replace(instance)
                };
                drop(old);
            }
            Err(
                Error::AlreadyInstantiated { .. } | Error::NotInstantiated { .. } | Error::Link(_),
            ) => {}
            Err(error) => is_an_end("making", &error),
        }
    }

    fn step(&self, random: &mut Rng) {
        match random.usize(..16) {
            0..4 => self.make(random),
            4 => {
                let runtime = random.usize(..8) == 0;
                let instance = self.pick(random);
                if runtime {
                    self.exchange(random);
                } else if let Some(instance) = instance {
                    instance.close_with_exit_code(1);
                }
            }
            5 => {
                let context = self.context(random);
                context.cancel();
            }
            6 => {
                let slot = random.usize(..SLOTS);
                let old = self.instances.lock().unwrap()[slot].take();
                drop(old);
            }
            7 | 8 => {
                let context = self.context(random);
                if let Some(instance) = self.pick(random) {
                    let call = instance.with_context(&context).call("loop", &[]);
                    is_an_end("a loop", &call.expect_err("it has no other end"));
                }
            }
            9 => {
                if let Some(instance) = self.pick(random) {
                    let call = instance.call_typed::<(), i32>("grow", ());
                    expect("growing", call, |pages| (-1..4).contains(&pages)).ok();
                }
            }
            10..13 => {
                let what = [ECHO, PANIC, CALL_ANOTHER, CLOSE_ANOTHER, CLOSE_ITSELF, FAIL];
                let what = what[random.usize(..what.len())];
                let context = self.context(random);
                if let Some(instance) = self.pick(random) {
                    let with = instance.with_context(&context);
                    let call = || with.call_typed::<i32, i32>("ask", what);
                    match catch_unwind(AssertUnwindSafe(call)) {
                        Ok(result) => {
                            expect("asking", result, |n| n == what).ok();
                        }
                        Err(panic) => {
                            let text = panic.downcast_ref::<&str>();
                            assert_eq!(text, Some(&"of the stress test"));
                        }
                    }
                }
            }
            _ => {
                if let Some(instance) = self.pick(random) {
                    expect("a call", instance.call_typed::<(), i32>("fine", ()), |n| {
                        n == 7
                    })
                    .ok();
                }
            }
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Replaces the runtime by another one, and sometimes closes the old one.
    fn exchange(&self, random: &mut Rng) {
        let world = WORLD.lock().unwrap().clone();
        let new = Self::new_runtime(&self.engine, &self.alive, world);
        let old = std::mem::replace(&mut *self.runtime.lock().unwrap(), new);
        if random.usize(..2) == 0 {
            old.close_with_exit_code(4);
        }
    }
}

/// The world, for the host functions of later runtimes.
static WORLD: Mutex<std::sync::Weak<World>> = Mutex::new(std::sync::Weak::new());

/// Checks that an error is one that may end any operation at any time: because something was
/// closed, because of a context, or because of a host function.
fn is_an_end(what: &str, error: &Error) {
    let expected = match error {
        Error::Closed { .. } | Error::DeadlineExceeded | Error::Canceled | Error::InUse => true,
        Error::DifferentStores { .. } => true,
        error => error.to_string().contains("as it was told"),
    };
    assert!(expected, "{what}: {error}");
}

fn expect(
    what: &str,
    result: Result<i32, Error>,
    fits: impl FnOnce(i32) -> bool,
) -> Result<(), Error> {
    match result {
        Ok(value) => assert!(fits(value), "{what}: {value}"),
        Err(error) => {
            is_an_end(what, &error);
            return Err(error);
        }
    }
    Ok(())
}

fn environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: expected a number")),
    )
}

#[test]
fn six_threads_against_a_model() {
    let seconds = environment("PRECAST_STRESS_SECONDS").unwrap_or(2);
    let seed = environment("PRECAST_STRESS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("PRECAST_STRESS_SEED={seed}");
    let world = World::new();
    *WORLD.lock().unwrap() = Arc::downgrade(&world);
    let watchdog = Watchdog::new(Duration::from_secs(300));
    let end = Instant::now() + Duration::from_secs(seconds);
    // The test causes hundreds of panics, so only others are printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"of the stress test") {
            hook(info);
        }
    }));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, watchdog) = (&world, &watchdog);
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed * 31 + thread);
                while Instant::now() < end {
                    world.step(&mut random);
                    watchdog.step();
                }
            });
        }
    });
    let instances = std::mem::take(&mut *world.instances.lock().unwrap());
    drop(instances);
    world.runtime().close();
    world.contexts.lock().unwrap().clear();
    eprintln!("{} operations", world.done.load(Ordering::Relaxed));
    assert_eq!(
        world.alive.load(Ordering::SeqCst),
        0,
        "stores that nobody can reach"
    );
}
