//! Function listeners get all calls in the right order, however functions begin and end.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use precast_artifact::{Interruption, Strategy};
use precast_compiler::Settings;
use precast_loader::runtime::{InstanceConfig, Runtime};
use precast_loader::{
    Caller, Engine, Error, FunctionCall, FunctionListener, Instance, Linker, Module, Store, Trap,
    V128, Val,
};
use precast_tests::executor::{Pending, poll_once};
use precast_tests::strategies;

const WAT: &str = r#"(module $m
  (import "h" "again" (func $again (param i32) (result i32)))
  (import "h" "fail" (func $fail))
  (import "h" "panic" (func $panic))
  (import "h" "wait" (func $wait))
  (memory 1)
  (tag $tag (param i32))
  (table funcref (elem $add $swap $small))
  (func $small (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $add (export "add") (param i32 i64 f32 f64) (result i64)
    (i64.add (i64.extend_i32_s (call $small (local.get 0))) (local.get 1)))
  (func $swap (export "swap") (param i32 externref) (result externref i32)
    (local.get 1) (local.get 0))
  (func $early (export "early") (param i32) (result i32)
    (block (br_if 0 (local.get 0)) (return (i32.const 1)))
    (if (i32.eq (local.get 0) (i32.const 7)) (then (br 1 (i32.const 2))))
    (i32.const 3))
  (func $tail (export "tail") (param i32) (result i32)
    (if (local.get 0) (then (return_call $small (local.get 0))))
    (return_call_indirect (param i32) (result i32) (i32.const 5) (i32.const 2)))
  (func $trap (export "trap") (param i32) (result i32)
    (i32.load (i32.const -1)))
  (func $deep (export "deep") (param i32) (result i32)
    (i32.div_u (call $trap (local.get 0)) (i32.const 1)))
  (func $nested (export "nested") (param i32) (result i32) (call $again (local.get 0)))
  (func $failing (export "failing") (call $fail))
  (func $panicking (export "panicking") (call $panic))
  (func $waiting (export "waiting") (call $wait))
  (func $throw (param i32) (throw $tag (local.get 0)))
  (func $through (param i32) (call $throw (local.get 0)))
  (func $catch (export "catch") (param i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $tag $caught) (call $through (local.get 0)))
      (i32.const 0))
    (call $small))
  (func $own (export "own") (result i32)
    (block $caught (result i32)
      (try_table (catch $tag $caught) (throw $tag (i32.const 8)))
      (i32.const 0)))
  (func $uncaught (export "uncaught") (call $through (i32.const 4)))
  (func $recurse (export "recurse") (param i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (local.get 0)))))"#;

/// Writes the calls of the listener into a text.
#[derive(Clone, Default)]
struct Trace {
    text: Arc<Mutex<String>>,
    /// The function in which to panic.
    panics_in: Option<&'static str>,
}

impl Trace {
    fn take(&self) -> String {
        std::mem::take(&mut self.text.lock().unwrap())
    }

    fn note(&self, call: &FunctionCall<'_>, what: std::fmt::Arguments<'_>) {
        let stack = call.stack();
        let indent = "  ".repeat(stack.len().min(8));
        for (i, outer) in stack.enumerate().take(4) {
            assert_eq!(outer.stack().len(), call.stack().len() - 1 - i);
        }
        assert_eq!(call.module_name(), Some("m"));
        let name = call.func_name().unwrap();
        let mut text = self.text.lock().unwrap();
        writeln!(text, "{indent}{name}{what}").unwrap();
        drop(text);
        assert_ne!(self.panics_in, Some(&*name), "the listener's own panic");
    }
}

impl FunctionListener for Trace {
    fn before(&mut self, call: &FunctionCall<'_>, params: &[Val]) {
        self.note(call, format_args!("{params:?}"));
    }

    fn after(&mut self, call: &FunctionCall<'_>, results: Option<&[Val]>) {
        match results {
            Some(results) => self.note(call, format_args!(" = {results:?}")),
            None => self.note(call, format_args!(" ends by a tail call")),
        }
    }

    fn abort(&mut self, call: &FunctionCall<'_>, error: Option<&Error>) {
        let error = error.map(|error| error.to_string());
        let error = error.as_deref().map(|error| error.lines().next().unwrap());
        self.note(call, format_args!(" aborted: {error:?}"));
    }
}

fn compile(wat: &str, strategy: Strategy, interruption: Interruption, listeners: bool) -> Vec<u8> {
    let settings = Settings {
        strategy,
        interruption,
        listeners,
        ..Settings::default()
    };
    precast_tests::compiled(wat, &settings).unwrap()
}

struct Guest {
    store: Store<Option<Instance>>,
    instance: Instance,
    trace: Trace,
}

impl Guest {
    fn of(artifact: &[u8], trace: Trace) -> Self {
        let engine = Engine::default();
        // SAFETY: our own compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&engine, artifact) }.unwrap();
        let mut linker: Linker<Option<Instance>> = Linker::new(&engine);
        type Host<'a> = Caller<'a, Option<Instance>>;
        linker
            .func_wrap("h", "again", |mut caller: Host<'_>, n: i32| {
                let instance = caller.data().unwrap();
                let early = instance.get_typed_func::<i32, i32>(&mut caller, "early")?;
                let found = early.call(&mut caller, n)?;
                let trap = instance.get_typed_func::<i32, i32>(&mut caller, "trap")?;
                assert!(trap.call(&mut caller, n).is_err());
                Ok::<_, Error>(found)
            })
            .unwrap();
        linker
            .func_wrap("h", "fail", || -> Result<(), Error> {
                Err(Error::msg("no luck"))
            })
            .unwrap();
        linker
            .func_wrap("h", "panic", || -> () { panic!("the host's") })
            .unwrap();
        linker
            .func_wrap_async("h", "wait", |_: Host<'_>, (): ()| Box::new(Pending(1)))
            .unwrap();
        let mut store = Store::new(&engine, None);
        store.set_function_listener(trace.clone());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        *store.data_mut() = Some(instance);
        Self {
            store,
            instance,
            trace,
        }
    }

    fn new(strategy: Strategy) -> Self {
        let artifact = compile(WAT, strategy, Interruption::None, true);
        Self::of(&artifact, Trace::default())
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Error> {
        let func = self.instance.get_func(&mut self.store, name).unwrap();
        let count = func.ty(&self.store).results().len();
        let mut results = vec![Val::I32(0); count];
        func.call(&mut self.store, args, &mut results)?;
        Ok(results)
    }

    /// Calls a function and checks what the listener was told.
    fn tells(&mut self, name: &str, args: &[Val], expected: &str) {
        // The result is part of what is told.
        let called = self.call(name, args);
        assert_eq!(self.trace.take(), expected, "{name}: {called:?}");
    }
}

#[test]
fn functions_begin_and_end_in_order() {
    for strategy in strategies() {
        let mut guest = Guest::new(strategy);
        let args = [
            Val::I32(1),
            Val::I64(2),
            Val::F32(3.5_f32.to_bits()),
            Val::F64(0),
        ];
        let add = guest.instance.get_func(&mut guest.store, "add").unwrap();
        let mut results = [Val::I64(0)];
        add.call(&mut guest.store, &args, &mut results).unwrap();
        assert!(matches!(results, [Val::I64(4)]));
        let expected =
            format!("add{args:?}\n  small[I32(1)]\n  small = [I32(2)]\nadd = [I64(4)]\n");
        assert_eq!(guest.trace.take(), expected);
        guest.tells("early", &[Val::I32(0)], "early[I32(0)]\nearly = [I32(1)]\n");
        guest.tells("early", &[Val::I32(7)], "early[I32(7)]\nearly = [I32(2)]\n");
        guest.tells("early", &[Val::I32(9)], "early[I32(9)]\nearly = [I32(3)]\n");
        let null = [Val::I32(3), Val::ExternRef(None)];
        let expected = "swap[I32(3), ExternRef(None)]\nswap = [ExternRef(None), I32(3)]\n";
        guest.tells("swap", &null, expected);
        let expected = "tail[I32(3)]\ntail ends by a tail call\nsmall[I32(3)]\nsmall = [I32(4)]\n";
        guest.tells("tail", &[Val::I32(3)], expected);
        let expected = "tail[I32(0)]\ntail ends by a tail call\nsmall[I32(5)]\nsmall = [I32(6)]\n";
        guest.tells("tail", &[Val::I32(0)], expected);
    }
}

#[test]
fn functions_that_end_early_are_aborted() {
    for strategy in strategies() {
        let mut guest = Guest::new(strategy);
        let oob = "aborted: Some(\"wasm trap: out of bounds memory access\")";
        let expected = format!("deep[I32(1)]\n  trap[I32(1)]\n  trap {oob}\ndeep {oob}\n");
        guest.tells("deep", &[Val::I32(1)], &expected);
        guest.tells(
            "failing",
            &[],
            "failing[]\nfailing aborted: Some(\"no luck\")\n",
        );
        // A call inside of a host function that ends by a trap, and its caller goes on.
        let expected = format!(
            "nested[I32(0)]\n  early[I32(0)]\n  early = [I32(1)]\n  trap[I32(0)]\n  trap {oob}\n\
             nested = [I32(1)]\n"
        );
        guest.tells("nested", &[Val::I32(0)], &expected);
        let panicked = catch_unwind(AssertUnwindSafe(|| guest.call("panicking", &[]))).unwrap_err();
        assert_eq!(panicked.downcast_ref(), Some(&"the host's"));
        assert_eq!(guest.trace.take(), "panicking[]\npanicking aborted: None\n");
        let error = guest.call("recurse", &[Val::I32(0)]).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::StackOverflow));
        let told = guest.trace.take();
        let (begun, ended) = (
            told.matches("[I32(0)]").count(),
            told.matches("aborted").count(),
        );
        assert!(begun > 100 && begun == ended, "{begun} {ended}");
        guest.tells("early", &[Val::I32(0)], "early[I32(0)]\nearly = [I32(1)]\n");
    }
}

#[test]
fn exceptions_abort_what_they_pass_through() {
    for strategy in strategies() {
        let mut guest = Guest::new(strategy);
        let expected = "catch[I32(6)]\n  through[I32(6)]\n    throw[I32(6)]\n    \
            throw aborted: None\n  through aborted: None\n  small[I32(6)]\n  small = [I32(7)]\n\
            catch = [I32(7)]\n";
        guest.tells("catch", &[Val::I32(6)], expected);
        guest.tells("own", &[], "own[]\nown = [I32(8)]\n");
        let error = guest.call("uncaught", &[]).unwrap_err();
        assert!(error.exception().is_some());
        let told = guest.trace.take();
        let last: Vec<_> = told
            .lines()
            .skip(3)
            .map(|line| line.trim().split(':').next())
            .collect();
        let aborted = ["throw aborted", "through aborted", "uncaught aborted"].map(Some);
        assert_eq!(last, aborted, "{told}");
    }
}

#[test]
fn a_call_that_is_dropped_while_it_waits_is_aborted() {
    for strategy in strategies() {
        let mut guest = Guest::new(strategy);
        let waiting = guest
            .instance
            .get_typed_func::<(), ()>(&mut guest.store, "waiting")
            .unwrap();
        {
            let mut call = Box::pin(waiting.call_async(&mut guest.store, ()));
            assert!(poll_once(call.as_mut()).is_pending());
            assert_eq!(guest.trace.take(), "waiting[]\n");
        }
        let told = guest.trace.take();
        assert!(told.starts_with("waiting aborted: Some("), "{told}");
        let mut call = Box::pin(waiting.call_async(&mut guest.store, ()));
        assert!(poll_once(call.as_mut()).is_pending());
        assert!(poll_once(call.as_mut()).is_ready());
        drop(call);
        assert_eq!(guest.trace.take(), "waiting[]\nwaiting = []\n");
    }
}

/// Those made before have none, and a module that is not compiled for listeners tells nothing.
#[test]
fn each_later_store_of_a_runtime_has_a_listener() {
    const WAT: &str = r#"(module $m (func $f (export "f") (param i32)))"#;
    let runtime: Runtime = Runtime::new(&Engine::default());
    let [told, silent] = [true, false].map(|listeners| {
        let artifact = compile(WAT, Strategy::Guarded, Interruption::None, listeners);
        // SAFETY: our own compiler has just written these bytes.
        unsafe { Module::from_bytes(runtime.engine(), &artifact) }.unwrap()
    });
    let instance = |module| runtime.instantiate(module, InstanceConfig::new()).unwrap();
    let before = instance(&told);
    let traces: Arc<Mutex<Vec<Trace>>> = Arc::default();
    let made = Arc::clone(&traces);
    runtime.set_function_listeners(move || {
        let trace = Trace::default();
        made.lock().unwrap().push(trace.clone());
        trace
    });
    let instances = [instance(&told), instance(&silent), instance(&told), before];
    for (i, instance) in (0..).zip(&instances) {
        instance.call("f", &[Val::I32(i)]).unwrap();
    }
    let told: Vec<String> = traces.lock().unwrap().iter().map(Trace::take).collect();
    let of = |i| format!("f[I32({i})]\nf = []\n");
    assert_eq!(told, [of(0), String::new(), of(2)]);
}

#[test]
fn a_listener_may_panic() {
    for strategy in strategies() {
        let artifact = compile(WAT, strategy, Interruption::None, true);
        for (name, called, expected) in [
            ("early", "early", "early[I32(0)]\nearly aborted: None\n"),
            ("deep", "deep", "deep[I32(0)]\ndeep aborted: None\n"),
            // The outer function is over as well, though the listener is not told of it.
            (
                "trap",
                "deep",
                "deep[I32(0)]\n  trap[I32(0)]\n  trap aborted: None\n",
            ),
        ] {
            let trace = Trace {
                panics_in: Some(name),
                ..Trace::default()
            };
            let mut guest = Guest::of(&artifact, trace);
            let call = AssertUnwindSafe(|| guest.call(called, &[Val::I32(0)]));
            let panic = catch_unwind(call).unwrap_err();
            assert!(
                panic
                    .downcast_ref::<String>()
                    .unwrap()
                    .contains("the listener's own panic")
            );
            // It panics again when it is told that the function is aborted.
            assert_eq!(guest.trace.take(), expected);
            let ok = guest
                .instance
                .get_typed_func::<(), i32>(&mut guest.store, "own")
                .unwrap();
            assert_eq!(ok.call(&mut guest.store, ()).unwrap(), 8);
            assert_eq!(guest.trace.take(), "own[]\nown = [I32(8)]\n");
        }
    }
}

#[test]
fn listeners_come_and_go() {
    for strategy in strategies() {
        let mut guest = Guest::new(strategy);
        guest.store.remove_function_listener();
        guest.tells("early", &[Val::I32(0)], "");
        guest.store.set_function_listener(guest.trace.clone());
        guest.tells("early", &[Val::I32(0)], "early[I32(0)]\nearly = [I32(1)]\n");

        let silent = compile(WAT, strategy, Interruption::None, false);
        let mut guest = Guest::of(&silent, Trace::default());
        guest.tells("early", &[Val::I32(0)], "");
    }
}

/// Fuel and epochs are counted beside the calls of listeners, and values of all sizes are told.
#[test]
fn listeners_and_interruption_and_many_values() {
    let params = "i32 i64 f32 f64 v128 ".repeat(40);
    let locals: String = (0..200).map(|i| format!("(local.get {i}) ")).collect();
    let wat = format!(
        "(module $m (func $many (export \"many\") (param {params}) (result {params}) {locals}))"
    );
    let args: Vec<_> = (0..40)
        .flat_map(|i| {
            [
                Val::I32(i),
                Val::I64(i64::from(i) << 33),
                Val::F32(i as u32),
                Val::F64(i as u64),
                Val::V128(V128::from(i as u128 | 7 << 100)),
            ]
        })
        .collect();
    for strategy in strategies() {
        for interruption in [Interruption::Fuel, Interruption::Epoch] {
            let mut guest = Guest::of(
                &compile(&wat, strategy, interruption, true),
                Trace::default(),
            );
            if interruption == Interruption::Fuel {
                guest.store.set_fuel(1000).unwrap();
            } else {
                guest.store.set_epoch_deadline(1000).unwrap();
            }
            let results = guest.call("many", &args).unwrap();
            assert_eq!(format!("{results:?}"), format!("{args:?}"));
            assert_eq!(
                guest.trace.take(),
                format!("many{args:?}\nmany = {args:?}\n")
            );
        }
    }
}
