//! Backtraces with source files and lines, from the DWARF of a Rust guest (`lines/guest.sh` made
//! it).

use precast_artifact::Strategy;
use precast_loader::{Caller, Engine, Error, Extern, Instance, Linker, Module, Store};
use precast_symbols::{DebugInfoError, Symbols, debug_part, describe};
use precast_tests::{Source, strategies};

const GUEST: &[u8] = include_bytes!("lines/guest.wasm");
const SOURCE: &str = include_str!("lines/guest.rs");

/// The line of the guest's source that has this text.
fn line(text: &str) -> u32 {
    let found = SOURCE.lines().position(|line| line.contains(text));
    found.expect("a line of the guest") as u32 + 1
}

#[test]
fn frames_have_the_lines_of_the_source() {
    let expected = [
        ("guest::divide", line("unreachable(), // line 15")),
        ("guest::middle", line("// line 21")),
        ("run", line("// line 26")),
    ];
    for strategy in strategies() {
        let engine = Engine::default();
        let artifact = Source::new(strategy).artifact(GUEST).unwrap();
        // SAFETY: our own compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&engine, &artifact) }.unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance
            .get_typed_func::<i32, i32>(&mut store, "run")
            .unwrap();
        assert_eq!(run.call(&mut store, 1).unwrap(), 18);
        let error = run.call(&mut store, 0).unwrap_err();
        let trace = error.backtrace().unwrap();
        assert_eq!(trace.frames().len(), 2, "one function is inlined");

        let part = debug_part(GUEST).unwrap();
        assert!(part.len() < GUEST.len());
        for bytes in [GUEST, &part] {
            let symbols = Symbols::of_module(bytes).unwrap();
            let frames = trace.frames().iter();
            let found = frames.flat_map(|f| symbols.at(f.module_offset().unwrap()).unwrap());
            // A function of the standard library may be between the trap and its caller.
            let found: Vec<_> = found
                .filter(|symbol| symbol.file.as_deref() == Some("/guest/guest.rs"))
                .map(|symbol| (symbol.name.unwrap_or_default(), symbol.line.unwrap_or(0)))
                .collect();
            let found: Vec<_> = found.iter().map(|(name, line)| (&**name, *line)).collect();
            assert_eq!(found, expected);
            let text = symbols.describe(trace).to_string();
            assert!(
                text.contains(&format!("at /guest/guest.rs:{}", expected[1].1)),
                "{text}"
            );
        }
    }
}

/// An artifact that keeps the module's DWARF has the same lines as the module, and so has the debug
/// file of a stripped artifact, which is the artifact as it was before.
#[cfg(feature = "compiler")]
#[test]
fn an_artifact_that_keeps_custom_sections_has_the_lines() {
    use precast_compiler::{CustomSections, Settings};

    let compile = |custom_sections| {
        let settings = Settings {
            custom_sections,
            ..Settings::default()
        };
        precast_tests::compiled(GUEST, &settings).unwrap()
    };
    let kept = Symbols::of_artifact(&compile(CustomSections::All)).unwrap();
    let module = Symbols::of_module(GUEST).unwrap();
    let offsets = 0..GUEST.len();
    let mut found = 0;
    for offset in offsets {
        let symbols = kept.at(offset).unwrap();
        assert_eq!(symbols, module.at(offset).unwrap(), "{offset}");
        found += symbols.len();
    }
    assert!(found > 0);
    let error = Symbols::of_artifact(&compile(CustomSections::None)).unwrap_err();
    assert!(matches!(error, DebugInfoError::NotKept), "{error}");
    let error = Symbols::of_artifact(GUEST).unwrap_err();
    assert!(matches!(error, DebugInfoError::Artifact(_)), "{error}");
}

/// An instance of a module without imports, in a store of its own.
fn instance(wasm: &[u8], strategy: Strategy) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let artifact = Source::new(strategy).artifact(wasm).unwrap();
    // SAFETY: our own compiler has just written these bytes.
    let module = unsafe { Module::from_bytes(&engine, &artifact) }.unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// What takes too much to read is refused, and the rest of the backtrace is shown.
#[test]
fn a_backtrace_with_hostile_debugging_information_has_no_lines() {
    // A unit whose only entry has 300 attributes that take no bytes.
    let attributes = r"\3f\19".repeat(300);
    let text = format!(
        r#"(module (func $inner (export "f") unreachable)
            (@custom ".debug_abbrev" "\01\11\00{attributes}\00\00\00")
            (@custom ".debug_info" "\08\00\00\00\04\00\00\00\00\00\04\01"))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    let symbols = Symbols::of_module(&wasm).unwrap();
    for strategy in strategies() {
        let (mut store, instance) = instance(&wasm, strategy);
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        let trace = error.backtrace().unwrap();
        let found = symbols.at(trace.frames()[0].module_offset().unwrap());
        assert!(matches!(found, Err(DebugInfoError::Excessive)), "{found:?}");
        // It is what the loader displays.
        let text = symbols.describe(trace).to_string();
        assert_eq!(text, trace.to_string().trim_start());
        assert!(text.ends_with(" inner"), "{text}");
    }
}

/// A name of megabytes is cut, also if each frame has it several times.
#[test]
fn a_backtrace_with_long_names_is_bounded() {
    // One function from 0 to 1000, with another one inlined, both named by `.debug_str`.
    let (range, name) = (r"\00\00\00\00\e8\03\00\00", r"\00\00\00\00");
    let attributes = r"\03\0e\11\01\12\06\00\00";
    let text = format!(
        r#"(module
            (func $f (export "f") (param i32)
                (if (i32.eqz (local.get 0)) (then unreachable))
                (call $f (i32.sub (local.get 0) (i32.const 1))) nop)
            (@custom ".debug_abbrev" "\01\11\01\11\01\12\06\00\00"
                "\02\2e\01{attributes}\03\1d\00{attributes}\00")
            (@custom ".debug_info" "\2c\00\00\00\04\00\00\00\00\00\04"
                "\01{range}\02{name}{range}\03{name}{range}\00\00")
            (@custom ".debug_str" "{}\00"))"#,
        r"\1b".repeat(3_000_000)
    );
    let wasm = wat::parse_str(text).unwrap();
    let symbols = Symbols::of_module(&wasm).unwrap();
    for strategy in strategies() {
        let (mut store, instance) = instance(&wasm, strategy);
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
        let error = f.call(&mut store, 200).unwrap_err();
        let trace = error.backtrace().unwrap();
        assert_eq!(trace.frames().len(), 64);
        let found = symbols.at(trace.frames()[0].module_offset().unwrap());
        let names: Vec<_> = found.unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, vec![Some("\u{1b}".repeat(4096)); 2]);
        let text = symbols.describe(trace).to_string();
        let max_len = 64 * 4096 * r"\u{1b}".len();
        assert!(
            (max_len..max_len + 10_000).contains(&text.len()),
            "{}",
            text.len()
        );
        // The frames that were left no room.
        assert_eq!(text.matches(" f\n").count(), 32);
    }
}

#[test]
fn wrong_offsets_and_damaged_information_are_harmless() {
    let symbols = Symbols::of_module(GUEST).unwrap();
    for offset in [0, 1, GUEST.len(), usize::MAX] {
        assert_eq!(symbols.at(offset).unwrap(), []);
    }
    let stripped = wat::parse_str("(module (func))").unwrap();
    let error = Symbols::of_module(&stripped).unwrap_err();
    assert!(matches!(error, DebugInfoError::None), "{error}");
    let offsets: Vec<usize> = (0x6a..0xa8).step_by(5).collect();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let mut bad = GUEST.to_vec();
        for _ in 0..random.usize(1..20) {
            let at = random.usize(0xab..bad.len());
            bad[at] = random.u8(..);
        }
        if let Ok(symbols) = Symbols::of_module(&bad) {
            for offset in &offsets {
                // It is enough that this returns.
                drop(symbols.at(*offset));
            }
        }
    }
}

/// Names of Rust functions are shown without mangling, other names as they are, and also where a
/// call of the host begins.
#[test]
fn names_are_shown_without_mangling() {
    // Stands for a name of more than 2^50 bytes: each type is a pair of the one before.
    let (mut long, mut last) = ("IC1aTllE".to_owned(), 4);
    for _ in 0..50 {
        let (at, back) = (long.len(), base_62(last));
        long += &format!("TB{back}B{back}E");
        last = at;
    }
    let long = format!("_R{long}E");
    let text = format!(
        r#"(module $guest (import "h" "again" (func $again))
            (func $_RNvNtCset5xJoy1xWQ_3std7process5abort (export "inner")
                (try_table) unreachable)
            (func $_ZN4core9panicking5panic17h0123456789abcdefE (try_table) (call $again))
            (func $_ZN3foo3barEv (try_table)
                (call $_ZN4core9panicking5panic17h0123456789abcdefE))
            (func ${long} (export "outer") (try_table) (call $_ZN3foo3barEv)))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    for strategy in strategies() {
        let engine = Engine::default();
        let artifact = Source::new(strategy).artifact(&wasm).unwrap();
        // SAFETY: our own compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&engine, &artifact) }.unwrap();
        let mut linker: Linker<()> = Linker::new(&engine);
        let again = |mut caller: Caller<'_, ()>| -> Result<(), Error> {
            let inner = caller.get_export("inner").and_then(Extern::into_func);
            inner.unwrap().call(&mut caller, &[], &mut [])
        };
        linker.func_wrap("h", "again", again).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let outer = instance.get_typed_func::<(), ()>(&mut store, "outer");
        let error = outer.unwrap().call(&mut store, ()).unwrap_err();
        let trace = error.backtrace().unwrap();
        let text = describe(trace, |_| None).to_string();
        let names: Vec<_> = text
            .lines()
            .skip(1)
            .map(|line| &line[15.min(line.len())..])
            .collect();
        assert_eq!(text.lines().nth(2), Some("      (host)"), "{text}");
        assert_eq!(names[0], "guest!std::process::abort");
        assert_eq!(names[2], "guest!core::panicking::panic");
        assert_eq!(names[3], "guest!_ZN3foo3barEv");
        // Only the beginning of that name is made.
        let beginning = "guest!a::<(i32, i32), ((i32, i32), (i32, i32)), ";
        assert!(names[4].starts_with(beginning), "{}", names[4]);
        assert!(names[4].len() <= "guest!".len() + 4096);
        assert_eq!(names.len(), 5);
    }
}

/// A number as Rust's mangling writes it.
fn base_62(number: usize) -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut text = "_".to_owned();
    let mut rest = number.checked_sub(1);
    while let Some(number) = rest {
        text.insert(0, digits[number % 62] as char);
        rest = (number / 62).checked_sub(1).map(|_| number / 62);
    }
    text
}
