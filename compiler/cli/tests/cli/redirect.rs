//! `precast run --redirect`, `--explain-imports`.

use crate::Dir;

const OLD: &str = r#"(module
  (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
  (import "env" "abort" (func $abort (param i32)))
  (func (export "_start") (call $abort (i32.const 3)))
  (func (export "exit") (call $exit (i32.const 4))))"#;

const MODULE: &str = "wasi_unstable=wasi_snapshot_preview1";
const ITEM: &str = "env::abort=wasi_snapshot_preview1::proc_exit";

#[test]
fn imports_come_from_where_the_rules_say() {
    let dir = Dir::new();
    dir.artifact("old", OLD);
    let ran = dir.precast(&["run", "old.precast"]);
    assert_eq!(ran.0.status.code(), Some(1));
    assert!(
        ran.stderr().contains("nothing is defined"),
        "{}",
        ran.stderr()
    );
    let rules = ["run", "--redirect", MODULE, "--redirect", ITEM];
    dir.precast(&[&rules[..], &["old.precast"]].concat())
        .is("", "", 3);
    dir.precast(&[&rules[..], &["--invoke", "exit", "old.precast"]].concat())
        .is("", "", 4);
    dir.precast(&[&rules[..], &["--redirect", "x=y", "old.precast"]].concat())
        .is(
            "",
            "warning: the redirection `x` -> `y` matches no import\n",
            3,
        );
}

#[test]
fn imports_are_explained() {
    let dir = Dir::new();
    dir.artifact("old", OLD);
    let arguments = ["run", "--explain-imports", "--redirect", MODULE];
    let wrong = "env::abort=wasi_snapshot_preview1::sched_yield";
    dir.precast(
        &[
            &arguments[..],
            &["--redirect", wrong, "--redirect", "x=y", "old.precast"],
        ]
        .concat(),
    )
    .is(
        "wasi_unstable.proc_exit func (i32) -> ()\n    looked up as \
         wasi_snapshot_preview1.proc_exit, by `wasi_unstable` -> `wasi_snapshot_preview1`\n    \
         defined by the host\n\
         env.abort func (i32) -> ()\n    looked up as wasi_snapshot_preview1.sched_yield, by \
         `env`.`abort` -> `wasi_snapshot_preview1`.`sched_yield`\n    \
         defined by the host as func () -> (i32), which does not fit\n\
         the redirection `x` -> `y` matches no import\n",
        "",
        0,
    );
    dir.precast(&["run", "--explain-imports", "old.precast"])
        .is(
            "wasi_unstable.proc_exit func (i32) -> ()\n    defined by the host\n\
             env.abort func (i32) -> ()\n    nothing is defined there\n",
            "",
            0,
        );
    let json = ["run", "--explain-imports", "--json", "--redirect", MODULE];
    let ran = dir.precast(&[&json[..], &["--redirect", "x=y", "old.precast"]].concat());
    let json: serde_json::Value = serde_json::from_str(&ran.stdout()).expect("JSON");
    assert_eq!(
        json["imports"][0]["target"]["module"],
        "wasi_snapshot_preview1"
    );
    assert_eq!(json["imports"][0]["fits"], true);
    assert_eq!(json["imports"][1]["found"], serde_json::Value::Null);
    assert_eq!(json["unmatched_redirections"][0], "`x` -> `y`");
}

#[test]
fn rules_are_checked() {
    let dir = Dir::new();
    for rule in ["x", "=y", "x=", "a::b=c", "a=b::c"] {
        let ran = dir.precast(&["run", "--redirect", rule, "none.precast"]);
        assert_eq!(ran.0.status.code(), Some(2), "{rule}");
        let expected = format!("redirection `{rule}`: expected `MODULE=MODULE`");
        assert!(ran.stderr().contains(&expected), "{}", ran.stderr());
    }
}

/// The memory that threads share is defined for them, like their functions.
#[test]
fn imports_of_programs_with_threads_are_explained() {
    let dir = Dir::new();
    dir.artifact(
        "threads",
        r#"(module (import "wasi" "thread-spawn" (func (param i32) (result i32)))
          (import "env" "memory" (memory 1 16 shared))
          (import "env" "table" (table 1 funcref))
          (func (export "_start")) (func (export "wasi_thread_start") (param i32 i32)))"#,
    );
    let ran = dir.precast(&["run", "--explain-imports", "threads.precast"]);
    let text = ran.stdout();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(' ')).collect();
    let expected = [
        "    defined by the host",
        "    defined by the host",
        "    nothing is defined there",
    ];
    assert_eq!(lines, expected, "{text}{}", ran.stderr());
}
