//! Functions whose locals are kept in the frame: they are compiled in little time, and do what they
//! do otherwise.

use std::fmt::Write as _;
use std::time::Duration;

use precast_artifact::Interruption;
use precast_compiler::{OptLevel, Passes, Settings};
use precast_loader::{Engine, Instance, Module, Store};
use precast_tests::{Watchdog, cpu_time, strategies};

/// Fails when it is dropped if this thread has computed for longer. Other work of the machine does
/// not count, so a test that never ends is ended much later.
struct LittleTime {
    start: Duration,
    max: Duration,
    _watchdog: Watchdog,
}

impl LittleTime {
    fn new(max: Duration) -> Self {
        Self {
            start: cpu_time(),
            max,
            _watchdog: Watchdog::new(20 * max),
        }
    }
}

impl Drop for LittleTime {
    fn drop(&mut self) {
        let took = cpu_time() - self.start;
        assert!(took < self.max || std::thread::panicking(), "{took:?}");
    }
}

/// Compiles on this thread.
fn compile(wat: &str, settings: &Settings) -> Result<Vec<u8>, String> {
    let settings = Settings {
        threads: Some(1),
        ..settings.clone()
    };
    precast_tests::compiled(wat, &settings).map_err(|error| error.to_string())
}

/// What `f` returns for each of these arguments.
fn results(artifact: &[u8], arguments: &[i32]) -> Vec<Option<i32>> {
    let engine = Engine::default();
    // SAFETY: our own compiler has just written these bytes.
    let module = unsafe { Module::from_bytes(&engine, artifact) }.unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f");
    let f = f.unwrap();
    let call = |n: &i32| f.call(&mut store, *n).ok();
    arguments.iter().map(call).collect()
}

/// `depth` nested loops over `locals` locals, each of which is made of the one before. The
/// innermost loop calls `$g` with a handler if `handles`.
fn nested(depth: usize, locals: usize, handles: bool) -> String {
    let mut code = String::new();
    for i in 1..=locals {
        let before = i - 1;
        write!(
            code,
            "(local.set {i} (i32.add (i32.mul (local.get {i}) (i32.const 3)) (local.get {before})))"
        )
        .unwrap();
    }
    let call = match handles {
        true => {
            "(block $caught (try_table (catch_all $caught)
                (local.set 1 (call $g (local.get 1))) (br $called))
            (local.set 2 (i32.const 77)))"
        }
        false => "(local.set 1 (call $g (local.get 1)))",
    };
    // Every loop runs twice at most: the counter ends all of them.
    let again = "(local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if 0 (i32.gt_s (local.get $left) (i32.const 0)))";
    format!(
        r#"(module (tag $t)
        (func $g (param i32) (result i32)
            (if (i32.and (local.get 0) (i32.const 1)) (then (throw $t)))
            (i32.add (local.get 0) (i32.const 1)))
        (func (export "f") (param i32) (result i32) (local {}) (local $left i32) (local v128)
            (local.set $left (i32.const 7))
            {} (block $called {call}) {code} {}
            (i32.xor (local.get {locals}) (local.get {}))))"#,
        "i32 ".repeat(locals),
        "(loop ".repeat(depth),
        format!("{again})").repeat(depth),
        locals / 2,
    )
}

#[test]
fn code_does_the_same_with_its_locals_in_the_frame() {
    let arguments = [0, 1, 2, 5, -1];
    for strategy in strategies() {
        for handles in [false, true] {
            let settings = Settings {
                strategy,
                ..Settings::default()
            };
            let in_frame = Settings {
                passes: Passes {
                    variables: false,
                    ..Passes::default()
                },
                ..settings.clone()
            };
            let wat = nested(5, 20, handles);
            let expected = results(&compile(&wat, &settings).unwrap(), &arguments);
            let found = results(&compile(&wat, &in_frame).unwrap(), &arguments);
            assert_eq!(found, expected, "{strategy} {handles}");
            assert!(found.iter().any(Option::is_some));
        }
    }
}

/// As variables, these locals would be a million parameters of blocks, and more than the register
/// allocator can cope with beside handlers of exceptions.
#[test]
fn a_million_values_of_little_code_take_little_time() {
    let _limit = LittleTime::new(Duration::from_secs(120));
    for handles in [false, true] {
        let wat = nested(1000, 1000, handles);
        for strategy in strategies() {
            let settings = Settings {
                strategy,
                ..Settings::default()
            };
            let artifact = compile(&wat, &settings).unwrap();
            assert!(artifact.len() < 4 << 20, "{}", artifact.len());
            assert_eq!(results(&artifact, &[2]).len(), 1);
        }
    }
}

/// Forty thousand branches that assign one local, whose values the usual register allocator would
/// join one by one: 10,000 of them took it five seconds, 20,000 took twenty.
#[test]
fn one_local_that_very_many_blocks_assign_takes_little_time() {
    let _limit = LittleTime::new(Duration::from_secs(60));
    let branches = 40_000;
    let branch = "(if (i32.and (local.get 0) (i32.const 3))
        (then (local.set 0 (i32.add (local.get 0) (i32.const 7))))
        (else (local.set 0 (i32.mul (local.get 0) (i32.const 5)))))";
    let wat = format!(
        r#"(module (func (export "f") (param i32) (result i32) {} (local.get 0)))"#,
        branch.repeat(branches),
    );
    let expected = |argument: &i32| {
        let next = |n: i32| match n & 3 {
            0 => n.wrapping_mul(5),
            _ => n.wrapping_add(7),
        };
        Some((0..branches).fold(*argument, |n, _| next(n)))
    };
    let arguments = [0, 1, 2, -1];
    let artifact = compile(&wat, &Settings::default()).unwrap();
    let found = results(&artifact, &arguments);
    assert!(arguments.iter().map(expected).eq(found));
}

/// Locals that nothing reads take no code of their own where locals are in the frame.
#[test]
fn fifty_thousand_declared_locals_take_little_code() {
    let depth = 300;
    let wat = |more: &str| {
        nested(depth, depth, false)
            .replace("(local $left i32)", &format!("(local $left i32) {more}"))
    };
    let settings = Settings::default();
    let few = compile(&wat(""), &settings).unwrap();
    let many = wat(&format!("(local {})", "i32 i64 v128 ".repeat(16_000)));
    let many = compile(&many, &settings).unwrap();
    // Their offsets in the frame are larger.
    assert!(
        many.len() < few.len() + few.len() / 2,
        "{} {}",
        many.len(),
        few.len()
    );
    let arguments = [0, 2, 4];
    assert_eq!(results(&many, &arguments), results(&few, &arguments));
}

/// The usual register allocator would take minutes for each of these.
#[test]
fn very_many_branches_to_one_block_take_little_time() {
    let _limit = LittleTime::new(Duration::from_secs(120));
    let branches =
        |count: usize, code: &str| format!("(br_if 0 (local.get 0)) {code}").repeat(count);
    let steps = |locals: usize| -> String {
        let step = |i| format!("(local.set {i} (i32.add (local.get {i}) (local.get 0)))");
        (1..=locals).map(step).collect()
    };
    let set = "(local.set 1 (i32.mul (local.get 1) (i32.const 3)))";
    for (what, code) in [
        ("loop", format!("(loop {})", branches(600_000, ""))),
        (
            "loop with locals",
            format!("(loop {} {})", branches(40_000, ""), steps(10)),
        ),
        ("block", format!("(block {})", branches(250_000, set))),
    ] {
        let locals = "i32 ".repeat(10);
        let wat = format!(
            r#"(module (func (export "f") (param i32) (result i32) (local {locals})
                (local.set 1 (i32.const 1)) {code} (local.get 1)))"#
        );
        let artifact = compile(&wat, &Settings::default()).unwrap();
        assert!(results(&artifact, &[0])[0].is_some(), "{what}");
    }
}

/// `count` branches out of a block, or to the start of a loop, between which as many locals are
/// assigned that are read later. Argument 0 takes no branch.
fn branches(count: usize, construct: &str) -> String {
    let (mut assigned, mut sum) = (String::new(), String::new());
    for i in 1..=count {
        let step = "(i32.add (local.get 0) (i32.const 3))";
        let once = format!("(i32.and (local.get 0) (i32.eqz (local.get {i})))");
        write!(assigned, "{once} (local.set {i} {step}) br_if 0").unwrap();
        write!(sum, "(local.get {i}) i32.add").unwrap();
    }
    format!(
        r#"(module (func (export "f") (param i32) (result i32) (local {})
            ({construct} {assigned}) (local.get 0) {sum}))"#,
        "i32 ".repeat(count),
    )
}

/// As variables, these locals would be millions of arguments of branches.
#[test]
fn millions_of_arguments_of_little_code_take_little_time() {
    let _limit = LittleTime::new(Duration::from_secs(120));
    for (construct, taken) in [("block", 7 + 10), ("loop", 7 + 8 * 10)] {
        let found = |count, arguments: &[i32]| {
            let artifact = compile(&branches(count, construct), &Settings::default());
            results(&artifact.unwrap(), arguments)
        };
        assert_eq!(found(8, &[0]), [Some(8 * 3)], "{construct}");
        assert_eq!(found(8, &[7]), [Some(taken)], "{construct}");
        let many = 6000;
        assert_eq!(found(many, &[0]), [Some(3 * many as i32)], "{construct}");
    }
}

#[test]
fn too_many_operands_beside_handlers_are_refused() {
    let wat = |operands: usize| {
        let load = |i| format!("(i32.load offset={} (local.get 0))", 4 * i);
        let loads: String = (0..operands).map(load).collect();
        let sums = "i32.xor ".repeat(operands - 1);
        format!(
            r#"(module (memory 1) (func $g (export "f") (param i32) (result i32)
                {loads}
                (block $caught (try_table (catch_all $caught) (drop (call $g (local.get 0)))))
                {sums}))"#
        )
    };
    let settings = Settings::default();
    assert!(compile(&wat(1500), &settings).is_ok());
    let error = compile(&wat(3000), &settings).unwrap_err();
    assert!(
        error.contains("operands that are alive at one place of function `g` (0")
            && error.contains("at most 2000"),
        "{error}"
    );
}

/// A hundred thousand loops inside of one another, with one local, are compiled in time that
/// grows with their number, and count their rounds. (With fuel and checked memories, the linear
/// allocator takes the square of their number.)
#[test]
fn loops_in_loops_are_compiled_in_little_time() {
    let depth = 100_000;
    let wat = format!(
        "(module (func (export \"f\") (param i32) (result i32) (local i32)
           {}{} (local.get 1)))",
        "(loop ".repeat(depth),
        "(local.set 1 (i32.add (local.get 1) (i32.const 1)))
         (br_if 0 (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))"
            .repeat(depth)
    );
    let _limit = LittleTime::new(Duration::from_secs(120));
    for strategy in strategies() {
        for interruption in [Interruption::None, Interruption::Epoch] {
            let settings = Settings {
                strategy,
                interruption,
                ..Settings::default()
            };
            let artifact = compile(&wat, &settings).unwrap();
            if interruption == Interruption::None {
                let rounds = depth as i32;
                let expected = [Some(rounds), Some(rounds + 99)];
                assert_eq!(results(&artifact, &[1, 100]), expected);
            }
        }
    }
}

/// Blocks inside of one another that each have `width` results, which are the argument plus their
/// number, and of which the function returns the sum. Which blocks these are is `kind`.
fn nested_results(kind: &str, depth: usize, width: usize, handles: bool) -> String {
    let types = "i32 ".repeat(width);
    let handler = "(block $h (try_table (catch_all $h) (call $g (local.get 1))))";
    let handler = if handles { handler } else { "" };
    let values = |add: &str| -> String {
        (0..width)
            .map(|i| format!("({add} (local.get 0) (i32.const {i}))"))
            .collect()
    };
    let (begin, end) = match kind {
        // The condition is an argument that is true.
        "if" => (
            format!("(local.get 0) (if (result {types}) (then "),
            format!(") (else {}))", "(local.get 0)".repeat(width)),
        ),
        "loop" => (
            format!("(loop (param {types}) (result {types}) "),
            "(br_if 0 (local.tee 1 (i32.lt_s (local.get 1) (i32.const 0)))))".to_owned(),
        ),
        _ => unreachable!("{kind}"),
    };
    let (first, dropped) = match kind {
        "if" => (String::new(), String::new()),
        _ => (values("i32.sub"), "drop ".repeat(width)),
    };
    format!(
        r#"(module (func $g (param i32) (if (local.get 0) (then (call $g (i32.const 0)))))
            (func (export "f") (param i32) (result i32) (local i32)
            {handler} {first} {} {dropped} {} {} {}))"#,
        begin.repeat(depth),
        values("i32.add"),
        end.repeat(depth),
        "i32.add ".repeat(width - 1)
    )
}

/// As many parameters as a few blocks can have. Few instructions are left when the loads of all
/// loops are merged, and many again when locals are in the frame.
#[test]
fn wide_loops_in_loops_take_little_time() {
    let _limit = LittleTime::new(Duration::from_secs(30));
    for (depth, width) in [(500, 60), (100, 300), (300, 108)] {
        let types = "i32 ".repeat(width);
        let loads: String = (0..width)
            .map(|i| format!("(i32.load offset={} (local.get 0))", 4 * i))
            .collect();
        for handler in [
            "",
            "(block $h (try_table (catch_all $h) (drop (call $f (i32.const 1)))))",
        ] {
            let wat = format!(
                r#"(module (memory 1) (func $f (export "f") (param i32) (result i32)
                    (if (local.get 0) (then (return (i32.const 7)))) {handler} {} {loads} {} {}))"#,
                format!(
                    "{loads} (loop (param {types}) (result {types}) {} ",
                    "drop ".repeat(width)
                )
                .repeat(depth),
                "(br_if 0 (i32.load offset=8 (local.get 0))))".repeat(depth),
                "i32.add ".repeat(width - 1),
            );
            match compile(&wat, &Settings::default()) {
                Ok(artifact) => assert_eq!(results(&artifact, &[1]), [Some(7)]),
                Err(error) => assert!(
                    !handler.is_empty() && error.contains("parameters and results of blocks"),
                    "{error}"
                ),
            }
        }
    }
}

/// Few blocks with many results each, between blocks that have none.
#[test]
fn results_of_blocks_in_blocks_take_little_time() {
    let _limit = LittleTime::new(Duration::from_secs(30));
    let width = 60;
    for kind in ["if", "loop"] {
        for handles in [false, true] {
            let compile = |depth| {
                let wat = nested_results(kind, depth, width, handles);
                compile(&wat, &Settings::default())
            };
            let sum = |argument| Some((0..width as i32).map(|i| argument + i).sum::<i32>());
            for depth in [20, 100] {
                let artifact = compile(depth).unwrap();
                assert_eq!(results(&artifact, &[1, 7]), [sum(1), sum(7)], "{kind}");
            }
            // The frame is too large to run this.
            match compile(2000) {
                Ok(_) => assert!(!handles, "{kind}"),
                Err(error) => assert!(
                    handles && error.contains("parameters and results of blocks"),
                    "{kind}: {error}"
                ),
            }
        }
    }
}

/// The guard of a checked function with a large frame has the parameters of the function, and few
/// instructions.
#[test]
fn functions_with_many_parameters_and_large_frames_are_compiled() {
    for params in [990, 1000] {
        let values = 5000;
        let loads: String = (0..values)
            .map(|i| format!("(i32.load offset={} (local.get 0))", 4 * i))
            .collect();
        let wat = format!(
            r#"(module (memory 1) (func $nothing (param i32) (if (local.get 0) (then unreachable)))
                (func $many (param {}) (result i32)
                    {loads} (call $nothing (i32.const 0)) {} (i32.add (local.get {})))
                (func (export "f") (param i32) (result i32)
                    (i32.store (i32.const 8) (i32.const 5)) {} (call $many (local.get 0))))"#,
            "i32 ".repeat(params),
            "i32.add ".repeat(values - 1),
            params - 1,
            "(i32.const 0) ".repeat(params - 1),
        );
        for strategy in strategies() {
            for opt_level in [OptLevel::None, OptLevel::Speed] {
                let settings = Settings {
                    strategy,
                    opt_level,
                    ..Settings::default()
                };
                let artifact = compile(&wat, &settings).unwrap();
                assert_eq!(results(&artifact, &[7, -5]), [Some(5 + 7), Some(0)]);
            }
        }
    }
}
