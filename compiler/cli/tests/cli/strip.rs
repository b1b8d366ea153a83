//! Artifacts without names and addresses, and the files that have them.

use std::fs;

use precast_artifact::{Aligned, Artifact};

use crate::{ADD, Dir};

/// Calls of a function with a `try_table` are not inlined.
const TRAP: &str = r#"(module
  (func $inner (try_table) (unreachable))
  (func $outer (export "outer") (call $inner)))"#;

#[test]
fn backtraces_of_a_stripped_artifact_need_its_debug_file() {
    let dir = Dir::new();
    dir.artifact("full", TRAP);
    let compile = [
        "compile",
        "full.wasm",
        "-o",
        "app",
        "--split-debug",
        "app.debug",
    ];
    dir.precast(&compile).is("", "", 0);
    let bytes = |name: &str| fs::read(dir.path(name)).expect("there");
    assert_eq!(bytes("app.debug"), bytes("full.precast"));
    dir.precast(&["compile", "full.wasm", "-o", "again", "--strip"])
        .is("", "", 0);
    assert_eq!(bytes("again"), bytes("app"));
    dir.precast(&["strip", "full.precast", "--split-debug", "full.debug"])
        .is("", "", 0);
    assert_eq!(bytes("full.precast"), bytes("app"));
    assert_eq!(bytes("full.debug"), bytes("app.debug"));

    let run = |args: &[&str]| {
        let ran = dir.precast(&[&["run", "--invoke", "outer"], args].concat());
        assert_eq!(ran.0.status.code(), Some(134));
        ran.stderr()
    };
    let with_names = run(&["app.debug"]);
    assert!(
        with_names.contains("inner") && with_names.contains("0x"),
        "{with_names}"
    );
    let without = run(&["app"]);
    assert!(without.contains("? wasm-function[0]"), "{without}");
    assert_eq!(run(&["--debug-file", "app.debug", "app"]), with_names);

    let id = |file| {
        let shown = dir.precast(&["inspect", file]).stdout();
        let line = shown.lines().find(|line| line.starts_with("build id "));
        line.expect("a build id")[13..].to_owned()
    };
    let expected = format!(
        "{} (without names and addresses: stripped)",
        id("app.debug")
    );
    assert_eq!(id("app"), expected);
    let all = dir.precast(&["objdump", "app"]).stdout();
    assert!(all.contains("<wasm-function[1]> "), "{all}");
    let one = dir.precast(&["objdump", "app", "--func", "1"]);
    assert_eq!(one.0.status.code(), Some(0), "{}", one.stderr());
}

#[test]
fn the_debug_file_of_another_artifact_is_named() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    dir.artifact("trap", TRAP);
    dir.precast(&["strip", "add.precast"]).is("", "", 0);
    let ran = dir.precast(&[
        "run",
        "--debug-file",
        "trap.precast",
        "--invoke",
        "add",
        "add.precast",
        "1",
        "2",
    ]);
    let text = ran.stderr();
    assert!(
        text.contains("`trap.precast` is not the debug file of this module: its build id is "),
        "{text}"
    );
    assert_eq!(ran.0.status.code(), Some(1));
    let same = ["compile", "add.wasm", "-o", "x", "--split-debug", "x"];
    assert_eq!(dir.precast(&same).0.status.code(), Some(2));
    let over = [
        "compile",
        "add.wasm",
        "-o",
        "x",
        "--split-debug",
        "add.wasm",
    ];
    assert_eq!(dir.precast(&over).0.status.code(), Some(2));
    assert!(!dir.path("x").exists());
}

#[test]
fn signatures_of_a_stripped_artifact_are_left_out() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    dir.precast(&["key", "key"]);
    dir.precast(&["sign", "add.precast", "--key", "key"])
        .is("", "", 0);
    let ran = dir.precast(&["strip", "add.precast"]);
    assert!(ran.stderr().contains("sign it again"), "{}", ran.stderr());
    let text = dir
        .precast(&["verify", "add.precast", "--trusted-key", "key.pub"])
        .stderr();
    assert!(text.contains("the artifact is not signed"), "{text}");
}

/// A new digest, or a new file, would make damaged code look whole.
#[test]
fn damaged_artifacts_are_not_put_into_other_files() {
    let dir = Dir::new();
    dir.artifact("start", r#"(module (func (export "_start")))"#);
    let mut bytes = fs::read(dir.path("start.precast")).expect("there");
    let header = Aligned::new(&bytes);
    let text = Artifact::parse(&header, None).expect("whole").header().text;
    bytes[precast_artifact::HEADER_OFFSET + text.start as usize] ^= 1;
    dir.write("damaged", &bytes);
    let refused = dir.precast(&["digest", "damaged"]).stderr();
    for args in [
        &["strip", "damaged", "-o", "out"][..],
        &["join", "damaged", "-o", "out"],
        &["exe", "damaged", "-o", "out"],
    ] {
        let ran = dir.precast(args);
        let reason = refused.lines().last().expect("a reason");
        assert!(reason.contains("digest"), "{refused}");
        assert!(ran.stderr().contains(reason), "{args:?}: {}", ran.stderr());
        assert_eq!(ran.0.status.code(), Some(1));
    }
    assert_eq!(dir.names(), ["damaged", "start.precast", "start.wasm"]);
}

/// Other tools' `strip` moves what a loader needs, and that is noticed.
#[test]
fn what_another_tool_strips_is_refused() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    let strip = std::process::Command::new("strip")
        .arg(dir.path("add.precast"))
        .output();
    if !strip.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped what_another_tool_strips_is_refused: there is no strip(1) that can");
        return;
    }
    let ran = dir.precast(&["run", "--invoke", "add", "add.precast", "1", "2"]);
    assert_eq!(ran.0.status.code(), Some(1));
    assert!(ran.stderr().contains("artifact"), "{}", ran.stderr());
}

#[test]
fn objects_for_other_systems() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    for (target, magic) in [
        ("x86_64-apple-darwin", [0xcf, 0xfa, 0xed, 0xfe]),
        ("aarch64-apple-darwin", [0xcf, 0xfa, 0xed, 0xfe]),
        ("x86_64-pc-windows-msvc", [0x64, 0x86, 0x01, 0x00]),
        ("aarch64-pc-windows-msvc", [0x64, 0xaa, 0x01, 0x00]),
    ] {
        let compile = ["compile", "add.wasm", "--emit", "obj", "--target", target];
        dir.precast(&compile).is("", "", 0);
        let object = fs::read(dir.path("add.o")).expect("written");
        assert_eq!(object[..4], magic, "{target}");
        // An artifact for such a system cannot run anywhere.
        let artifact = dir.precast(&["compile", "add.wasm", "--target", target]);
        assert_eq!(artifact.0.status.code(), Some(1), "{target}");
    }
}
