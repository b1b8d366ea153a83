//! `precast inspect`, `precast objdump`, `precast completions`.

use std::io::Read;
use std::process::Stdio;

use crate::{ADD, Dir};

const EVERYTHING: &str = r#"(module $everything
  (import "env" "log" (func $log (param i32 f64)))
  (import "env" "table" (table 1 externref))
  (memory (export "memory") 1 5)
  (table $frozen 3 3 funcref)
  (elem (table $frozen) (i32.const 1) func $log $div)
  (global (export "counter") (mut i64) (i64.const 5))
  (data (i32.const 16) "hello")
  (func $div (export "div") (param i32 i32) (result i32)
    (i32.div_u (local.get 0) (local.get 1)))
  (func (export "both") (result i32 i64)
    (call $log (i32.const 1) (f64.const 2))
    (call_indirect $frozen (param i32 f64) (i32.const 1) (f64.const 2) (i32.const 1))
    (i32.const 1) (i64.const 2)))"#;

/// Replaces numbers and hashes that differ between machines and versions.
fn normalize(text: &str) -> String {
    let hex = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let mut out: String = words
        .map(|word| {
            let end = word.len()
                - word.chars().next_back().map_or(0, |c| {
                    if c.is_ascii_alphanumeric() {
                        0
                    } else {
                        c.len_utf8()
                    }
                });
            let (text, rest) = word.split_at(end);
            if hex(text) {
                format!("[DIGEST]{rest}")
            } else {
                word.to_owned()
            }
        })
        .collect();
    out = out.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    out
}

#[test]
fn inspect_shows_what_is_in_it() {
    let dir = Dir::new();
    dir.wasm("all", EVERYTHING);
    let target = ["--target", "x86_64-unknown-linux-gnu", "--cpu", "x86-64-v2"];
    dir.precast(&[&["compile", "all.wasm"][..], &target].concat())
        .is("", "", 0);
    let shown = normalize(&dir.precast(&["inspect", "all.precast"]).stdout());
    let (top, sections) = shown
        .split_once("\nsections (bytes)\n")
        .expect("has sections");
    let cranelift = top
        .split("cranelift=")
        .nth(1)
        .and_then(|t| t.split('\n').next());
    let top = top.replace(cranelift.expect("has a version"), "[CRANELIFT]");
    let id = top
        .split("build id     ")
        .nth(1)
        .map(|rest| rest[..40].to_owned());
    let top = top.replace(&id.expect("has a build id"), "[BUILD ID]");
    let size = std::fs::metadata(dir.path("all.precast"))
        .expect("written")
        .len();
    assert_eq!(
        top.replace(&size.to_string(), "[SIZE]"),
        "\
file         all.precast, [SIZE] bytes
format       1, ABI 4
producer     precast [VERSION]
target       x86_64-unknown-linux-gnu, pages of 4096 bytes
cpu          sse3, ssse3, sse4.1, sse4.2, popcnt, cmpxchg16b
strategy     guarded
interruption none
settings     opt-level=speed cpu=sse3,ssse3,sse4.1,sse4.2,popcnt,cmpxchg16b strategy=guarded interruption=none cranelift=[CRANELIFT]
proposals    multi-value reference-types
module       everything
source       231 bytes, BLAKE3 [DIGEST]
digest       [DIGEST] (matches)
build id     [BUILD ID]
context      256 bytes for each instance

imports (2)
  func   env.log (i32 f64) -> ()
  table  env.table 1 externref

exports (4)
  memory memory 1 5
  global counter (mut i64)
  func   div (i32 i32) -> (i32)
  func   both () -> (i32 i64)

numbers
  functions                          2
  signatures                         3
  memories                           1
  tables                             1
  frozen tables                      1
  globals                            1
  image runs                         1
"
    );
    let names: Vec<&str> = sections
        .lines()
        .filter_map(|line| line.get(2..28))
        .collect();
    assert_eq!(
        names.iter().map(|name| name.trim()).collect::<Vec<_>>(),
        [
            "header and hot tables",
            "memory image",
            "image runs",
            "functions",
            "traps",
            "address map",
            "metadata",
            "symbols",
            "names",
            "frozen tables",
            "text"
        ]
    );
}

#[test]
fn inspect_as_json() {
    let dir = Dir::new();
    dir.artifact("all", EVERYTHING);
    let ran = dir.precast(&["inspect", "--json", "all.precast"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout()).expect("JSON");
    assert_eq!(json["module_name"], "everything");
    assert_eq!(json["strategy"], "guarded");
    assert_eq!(json["interruption"], "none");
    assert_eq!(json["settings"]["opt-level"], "speed");
    assert_eq!(json["digest"]["matches"], true);
    assert_eq!(json["imports"][0]["name"], "log");
    assert_eq!(json["imports"][0]["type"], "(i32 f64) -> ()");
    assert_eq!(json["imports"][0]["params"][1], "f64");
    assert_eq!(
        json["imports"][0]["results"].as_array().map(Vec::len),
        Some(0)
    );
    assert_eq!(json["exports"][3]["type"], "() -> (i32 i64)");
    assert_eq!(json["exports"][3]["results"][1], "i64");
    assert_eq!(json["counts"]["frozen_tables"], 1);
    assert_eq!(json["sections"]["memory_image"], 4096);
}

#[test]
fn inspect_tells_what_the_file_is() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    dir.write("empty", "");
    let bytes = std::fs::read(dir.path("add.precast")).expect("written");
    dir.write("cut", &bytes[..3000]);
    let mut damaged = bytes.clone();
    damaged[600] ^= 1;
    dir.write("damaged", &damaged);
    let mut changed = bytes.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    dir.write("changed", &changed);
    for (file, cause) in [
        (
            "empty",
            "expected a precast artifact, found an empty file".to_owned(),
        ),
        (
            "cut",
            format!(
                "the artifact is truncated: 3000 bytes, expected {}",
                bytes.len()
            ),
        ),
    ] {
        let expected = format!("error: cannot use `{file}`\nCaused by:\n    {cause}\n");
        for command in ["inspect", "objdump"] {
            dir.precast(&[command, file]).is("", &expected, 1);
        }
        let expected = format!("error: cannot run `{file}`\nCaused by:\n    {cause}\n");
        dir.precast(&["run", file]).is("", &expected, 1);
    }
    let damaged = dir.precast(&["inspect", "damaged"]).stderr();
    assert!(
        damaged.contains("the artifact is damaged: checksum of its first"),
        "{damaged}"
    );
    let changed = dir.precast(&["inspect", "changed"]).stdout();
    assert!(changed.contains("(DOES NOT MATCH THE FILE)"), "{changed}");
    dir.precast(&["inspect", "."])
        .is("", "error: `.` is a directory; expected a file\n", 1);
}

#[test]
fn objdump_shows_code_with_its_places() {
    let dir = Dir::new();
    dir.wasm("all", EVERYTHING);
    dir.precast(&[
        "compile",
        "all.wasm",
        "--target",
        "x86_64-unknown-linux-gnu",
    ])
    .is("", "", 0);
    let all = dir.precast(&["objdump", "all.precast"]).stdout();
    for part in [
        "<div> ",
        " bytes, function 1 (i32 i32) -> (i32)\n",
        "; trap: integer divide by zero\n",
        "<both> ",
        "<precast.native_entry[i32,i32->i32]> ",
        "<precast.import[0]> ",
    ] {
        assert!(all.contains(part), "no `{part}` in\n{all}");
    }
    let named = dir
        .precast(&["objdump", "all.precast", "--func", "div"])
        .stdout();
    assert!(
        named.starts_with("<div> ") && !named.contains("<both>"),
        "{named}"
    );
    assert_eq!(
        named,
        dir.precast(&["objdump", "all.precast", "--func", "1"])
            .stdout()
    );
    // The division is attributed to its offset in the module.
    let wasm = std::fs::read(dir.path("all.wasm")).expect("written");
    let division = [0x20, 0, 0x20, 1, 0x6e, 0x0b];
    let at = wasm
        .windows(6)
        .position(|w| w == division)
        .expect("the body")
        + 4;
    let line = named
        .lines()
        .find(|line| line.contains(" div "))
        .expect("a division");
    let place = named
        .lines()
        .take_while(|l| *l != line)
        .chain([line])
        .filter_map(|l| {
            l.split_whitespace()
                .next()
                .filter(|word| word.starts_with("0x"))
        });
    assert_eq!(place.last(), Some(&*format!("{at:#x}")), "{named}");

    for (name, message) in [
        ("0", "function 0 is imported: it has no code"),
        ("9", "there is no function 9: the module has 3"),
        ("di", "there is no function `di`; there is `div`"),
        ("nothing", "there is no function `nothing` among 2"),
    ] {
        let expected = format!("error: {message}\n");
        dir.precast(&["objdump", "all.precast", "--func", name])
            .is("", &expected, 1);
    }
}

/// On the path on which nothing is thrown, code with handlers has the calls, comparisons and jumps
/// of code without: nothing is registered, and nothing is asked after a call. The handler itself is
/// behind the function's last return.
#[test]
fn handlers_cost_nothing_where_nothing_is_thrown() {
    let dir = Dir::new();
    dir.wasm(
        "handlers",
        r#"(module
            (import "h" "f" (func $f (param i32) (result i32)))
            (tag $t (param i32))
            (func (export "plain") (param i32) (result i32)
                (i32.add (call $f (local.get 0)) (call $f (i32.const 5))))
            (func (export "caught") (param i32) (result i32)
                (block $h (result i32)
                    (try_table (result i32) (catch $t $h)
                        (i32.add (call $f (local.get 0)) (call $f (i32.const 5))))))
            (func (export "nested") (param i32) (result i32)
                (block $h (result i32)
                    (try_table (result i32) (catch $t $h)
                        (block $i (result i32)
                            (try_table (result i32) (catch $t $i)
                                (i32.add (call $f (local.get 0)) (call $f (i32.const 5)))))))))"#,
    );
    // Beginnings of the names of instructions; calls come first.
    for (target, kinds) in [
        ("x86_64-unknown-linux-gnu", ["call", "cmp", "test", "j"]),
        ("aarch64-unknown-linux-gnu", ["bl", "cmp", "b.", "cb"]),
    ] {
        dir.precast(&["compile", "handlers.wasm", "--target", target])
            .is("", "", 0);
        let counts = |name: &str| {
            let args = ["objdump", "handlers.precast", "--func", name];
            let shown = dir.precast(&args).stdout();
            let instructions = shown.lines().skip(1).filter_map(|line| {
                let (_, instruction) = line.split_once(":  ")?;
                instruction.split_whitespace().next()
            });
            let normal: Vec<_> = instructions.take_while(|name| *name != "ret").collect();
            let count = |kind: &&str| normal.iter().filter(|name| name.starts_with(kind)).count();
            (kinds.each_ref().map(count), shown)
        };
        let (plain, shown) = counts("plain");
        assert_eq!(plain[0], 2, "{target}\n{shown}");
        for name in ["caught", "nested"] {
            let (found, shown) = counts(name);
            assert_eq!(found, plain, "{target} {kinds:?}\n{shown}");
        }
    }
}

#[test]
fn objdump_knows_every_architecture() {
    let dir = Dir::new();
    dir.wasm("all", EVERYTHING);
    for (target, division) in [
        ("x86_64-unknown-linux-gnu", " div "),
        ("aarch64-unknown-linux-gnu", " udiv "),
        ("riscv64gc-unknown-linux-gnu", " divuw "),
    ] {
        dir.precast(&["compile", "all.wasm", "--target", target])
            .is("", "", 0);
        let shown = dir
            .precast(&["objdump", "all.precast", "--func", "div"])
            .stdout();
        assert!(shown.contains(division), "{target}:\n{shown}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = Dir::new();
    let functions: String = (0..2000)
        .map(|i| format!("(func (export \"f{i}\"))"))
        .collect();
    dir.artifact("many", &format!("(module {functions})"));
    for args in [
        &["objdump", "many.precast"][..],
        &["inspect", "many.precast"],
    ] {
        let mut command = dir.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut first = [0; 10];
        child
            .stdout
            .take()
            .expect("piped")
            .read_exact(&mut first)
            .expect("some output");
        // The pipe is closed by now, which is not an error.
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut stderr)
            .expect("UTF-8");
        assert_eq!(stderr, "", "{args:?}");
        assert_eq!(child.wait().expect("ends").code(), Some(0), "{args:?}");
    }
}

#[test]
fn completions_for_shells() {
    let dir = Dir::new();
    for (shell, part) in [
        ("bash", "complete -F _precast"),
        ("zsh", "#compdef precast"),
        ("fish", "complete -c precast"),
    ] {
        let ran = dir.precast(&["completions", shell]);
        assert!(ran.stdout().contains(part), "{shell}");
    }
}

/// Names in a module may contain control characters for a terminal, or forge lines of output.
#[test]
fn hostile_names_are_written_out() {
    let dir = Dir::new();
    let name = r"x\1b[31m\u{9b}2J\n   1: f\u{202e}";
    let text = format!(
        r#"(module $"m{name}" (import "i{name}" "j{name}" (func))
            (func $"f{name}" (export "e{name}") (unreachable)))"#
    );
    dir.wasm("hostile", &text);
    dir.precast(&["compile", "hostile.wasm"]).is("", "", 0);
    let outputs = [
        &["inspect", "hostile.precast"][..],
        &["objdump", "hostile.precast"],
        &["objdump", "hostile.precast", "--func", "nothing"],
        &["objdump", "hostile.precast", "--func", "f"],
        &["run", "hostile.precast"],
        &["run", "--explain-imports", "hostile.precast"],
        &["run", "--invoke", "nothing", "hostile.precast"],
    ];
    for arguments in outputs {
        let output = dir.precast(arguments);
        let shown = [output.stdout(), output.stderr()].concat();
        let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(bad), "{arguments:?}: {shown:?}");
        assert!(
            !shown.lines().any(|line| line.starts_with("   1: f")),
            "{arguments:?}: {shown}"
        );
    }
    let inspected = dir.precast(&["inspect", "hostile.precast"]).stdout();
    let shown = r"x\u{1b}[31m\u{9b}2J\u{a}   1: f\u{202e}";
    for start in ["m", "i", "j", "e"] {
        assert!(
            inspected.contains(&format!("{start}{shown}")),
            "{inspected}"
        );
    }
    let json = dir
        .precast(&["inspect", "--json", "hostile.precast"])
        .stdout();
    assert!(!json.contains(|c: char| c != '\n' && c.is_control()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let name = "ex\u{1b}[31m\u{9b}2J\n   1: f\u{202e}";
    assert_eq!(json["exports"][0]["name"], name);
}

#[test]
fn digests_can_be_printed() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    let json = dir.precast(&["inspect", "--json", "add.precast"]).stdout();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let digest = json["digest"]["blake3"].as_str().expect("a digest");
    dir.precast(&["digest", "add.precast"])
        .is(&format!("{digest}  add.precast\n"), "", 0);
    let mut bytes = std::fs::read(dir.path("add.precast")).expect("written");
    assert_eq!(
        precast_artifact::reader::hex(&precast_artifact::digest(&bytes)),
        digest
    );
    *bytes.last_mut().expect("not empty") ^= 1;
    dir.write("damaged", bytes);
    let ran = dir.precast(&["digest", "damaged"]);
    assert_eq!(ran.0.status.code(), Some(1));
    assert!(
        ran.stderr()
            .starts_with("error: cannot use `damaged`\nCaused by:\n"),
        "{}",
        ran.stderr()
    );
    dir.precast(&["digest", "add.wasm"]).is(
        "",
        "error: cannot use `add.wasm`\nCaused by:\n    expected a precast artifact, found a WebAssembly \
         module: compile it first, with `precast compile`\n",
        1,
    );
    // The artifact is stripped, as packagers do with ELF files.
    let mut stripped = std::fs::read(dir.path("add.precast")).expect("written");
    stripped.extend_from_slice(&[0; 100]);
    dir.write("stripped", &stripped);
    let len = stripped.len();
    let expected = format!(
        "error: cannot run `stripped`\nCaused by:\n    the artifact is {len} bytes long, but its header \
         says {}: a tool such as `strip` has changed it; an artifact must stay as precast wrote it\n",
        len - 100
    );
    dir.precast(&["run", "stripped"]).is("", &expected, 1);
}
