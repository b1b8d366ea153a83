//! Profiles: made by `run --profile-out`, used by `--profile`.

use std::fs;

use crate::{ADD, Dir};

/// A program that exits, traps, or runs for ever, as its first argument's length says.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func $argument (result i32)
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        ;; The name of the program is `p`.
        (i32.sub (i32.load (i32.const 4)) (i32.const 2)))
    (func $forever (loop $l (br $l)))
    (func (export "_start")
        (block $trap (block $exit (block $loop
            (br_table $loop $exit $exit $trap (call $argument)))
            (call $forever))
            (call $exit (i32.const 7)))
        (unreachable)))"#;

fn run(dir: &Dir, arguments: &[&str]) -> (String, Option<i32>) {
    let start = [
        "run",
        "--cache-dir",
        "cache",
        "--argv0",
        "p",
        "--profile-out",
        "prof",
    ];
    let ran = dir.precast(&[&start[..], arguments].concat());
    (ran.stderr(), ran.0.status.code())
}

#[test]
fn every_end_of_a_program_is_counted() {
    let dir = Dir::new();
    dir.wasm("program", PROGRAM);
    let entries = |dir: &Dir| {
        let bytes = fs::read(dir.path("prof")).expect("written");
        let profile = precast_artifact::Profile::decode(&bytes).expect("a profile");
        // `_start` is the last body, and the largest of its offsets that are bodies.
        profile.counts().iter().map(|(_, count)| *count).max()
    };
    assert_eq!(run(&dir, &["program.wasm", ""]), (String::new(), Some(7)));
    let once = entries(&dir);
    assert!(once.is_some_and(|count| count > 0));
    assert_eq!(run(&dir, &["program.wasm", ""]), (String::new(), Some(7)));
    assert_eq!(entries(&dir), once.map(|count| 2 * count));
    let (error, code) = run(&dir, &["program.wasm", "abc"]);
    assert!(error.contains("unreachable"), "{error}");
    assert_eq!(code, Some(134));
    assert_eq!(entries(&dir), once.map(|count| 3 * count));
    let (error, code) = run(&dir, &["--timeout", "100ms", "program.wasm"]);
    assert_eq!(code, Some(124), "{error}");
    let looped = entries(&dir);
    assert!(looped > once.map(|count| 1000 * count), "{looped:?}");
    let (error, code) = run(&dir, &["--fuel", "10000", "program.wasm"]);
    assert_eq!(code, Some(134), "{error}");
    assert!(entries(&dir) > looped);
    // An artifact with counters adds to the same profile.
    dir.precast(&["compile", "--counters", "program.wasm"])
        .is("", "", 0);
    let before = entries(&dir);
    let (error, code) = run(&dir, &["program.precast", ""]);
    assert_eq!((error.as_str(), code), ("", Some(7)));
    assert!(entries(&dir) >= before);
    dir.precast(&["compile", "--profile", "prof", "program.wasm", "-o", "fast"])
        .is("", "", 0);
    assert_eq!(
        dir.precast(&["run", "--argv0", "p", "fast", ""])
            .0
            .status
            .code(),
        Some(7)
    );
    let shown = dir.precast(&["inspect", "fast"]).stdout();
    assert!(shown.contains(" profile="), "{shown}");
    // Nothing is left beside.
    assert_eq!(
        dir.names(),
        ["cache", "fast", "prof", "program.precast", "program.wasm"]
    );
}

#[test]
fn what_is_no_profile_is_refused() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    dir.wasm("other", "(module (func (export \"f\")))");
    let invoke = |file, out| {
        let start = [
            "run",
            "--cache-dir",
            "cache",
            "--profile-out",
            out,
            "--invoke",
        ];
        match file {
            "other.wasm" => dir.precast(&[&start[..], &["f", file]].concat()),
            _ => dir.precast(&[&start[..], &["add", file, "1", "2"]].concat()),
        }
    };
    invoke("add.precast", "prof").is(
        "",
        "error: cannot run `add.precast`\nCaused by:\n    the artifact was compiled without \
         counters, so there is no profile of it: run the module itself, or compile it with \
         `precast compile --counters`\n",
        1,
    );
    assert!(!dir.path("prof").exists());
    invoke("add.wasm", "prof").is("3\n", "", 0);
    let id = |name: &str| {
        let wasm = fs::read(dir.path(name)).expect("written");
        blake3::hash(&wasm).to_hex()
    };
    let (add, other) = (id("add.wasm"), id("other.wasm"));
    let text = format!(
        "the profile is of the module with BLAKE3 {add}, expected one of {other}: make a profile of \
         this module"
    );
    invoke("other.wasm", "prof").is(
        "",
        &format!(
            "error: cannot run `other.wasm`\nCaused by:\n    cannot add to `prof`\n    {text}\n"
        ),
        1,
    );
    dir.precast(&["compile", "other.wasm", "--profile", "prof"]).is(
        "",
        &format!(
            "error: cannot compile `other.wasm`\nCaused by:\n    cannot use the profile\n    {text}\n"
        ),
        1,
    );
    let before = fs::read(dir.path("prof")).expect("written");
    dir.write("broken", &before[..before.len() - 1]);
    dir.precast(&["compile", "add.wasm", "--profile", "broken"]).is(
        "",
        &format!(
            "error: cannot use `broken`\nCaused by:\n    the profile is damaged at byte {}: the file \
             ends too early; make it again\n",
            before.len() - 1
        ),
        1,
    );
    invoke("add.wasm", "broken").is(
        "",
        &format!(
            "error: cannot run `add.wasm`\nCaused by:\n    cannot use `broken`\n    the profile \
             is damaged at byte {}: the file ends too early; make it again\n",
            before.len() - 1
        ),
        1,
    );
    dir.precast(&["compile", "add.wasm", "--profile", "add.wasm"]).is(
        "",
        "error: cannot use `add.wasm`\nCaused by:\n    this is not a profile; expected a file that \
         `precast run --profile-out` wrote\n",
        1,
    );
    dir.precast(&["run", "--profile", "prof", "add.precast"]).is(
        "",
        "error: cannot run `add.precast`: it is compiled already; --profile is for modules, and for \
         `precast compile`\n",
        1,
    );
    assert_eq!(fs::read(dir.path("prof")).expect("written"), before);
}
