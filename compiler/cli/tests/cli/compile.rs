//! `precast compile`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::{ADD, Dir};

#[test]
fn writes_beside_the_module_and_says_nothing() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    assert_eq!(dir.names(), ["add.precast", "add.wasm"]);
    dir.precast(&["run", "--invoke", "add", "add.precast", "40", "2"])
        .is("42\n", "", 0);
}

#[test]
fn writes_object_files_for_linkers() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.precast(&["compile", "add.wasm", "--emit", "obj"])
        .is("", "", 0);
    assert_eq!(dir.names(), ["add.o", "add.wasm"]);
    let object = fs::read(dir.path("add.o")).expect("written");
    assert!(object.starts_with(b"\x7fELF"));
    let has = |name: &[u8]| object.windows(name.len()).any(|window| window == name);
    assert!(has(b"\0GUEST\0") && !has(b"\0PLUGIN\0"));
    dir.precast(&["compile", "add.wasm", "--emit=obj", "--symbol", "PLUGIN"])
        .is("", "", 0);
    let object = fs::read(dir.path("add.o")).expect("written");
    let has = |name: &[u8]| object.windows(name.len()).any(|window| window == name);
    assert!(!has(b"\0GUEST\0") && has(b"\0PLUGIN\0"));
    dir.precast(&["compile", "add.wasm", "--emit=obj", "--symbol", "a b"])
        .is(
            "",
            "error: cannot write an object file\nCaused by:\n    `a b` is not a valid symbol name: expected \
             letters, digits and underscores, and no digit in front\n",
            1,
        );
}

#[test]
fn takes_standard_input_and_writes_where_it_is_told() {
    let dir = Dir::new();
    let wasm = wat::parse_str(ADD).expect("valid text");
    let mut child = dir
        .command(&["compile", "-", "-o", "out.bin"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(&wasm)
        .expect("read to the end");
    assert!(child.wait().expect("ends").success());
    dir.wasm("add", ADD);
    let written = dir.precast(&["compile", "add.wasm", "-o", "-"]);
    assert_eq!(
        written.0.stdout,
        fs::read(dir.path("out.bin")).expect("written")
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let dir = Dir::new();
    let functions: String = (0..200)
        .map(|i| format!("(func (export \"f{i}\") (result i32) i32.const {i})"))
        .collect();
    dir.wasm("many", &format!("(module {functions})"));
    for threads in ["1", "2", "7"] {
        let args = ["compile", "many.wasm", "--threads", threads, "-o", threads];
        dir.precast(&args).is("", "", 0);
    }
    let bytes = |name| fs::read(dir.path(name)).expect("written");
    assert!(bytes("1") == bytes("2") && bytes("1") == bytes("7"));
}

#[test]
fn every_target_can_be_compiled_for() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    for (target, pages) in [
        ("x86_64-unknown-linux-gnu", 4096),
        ("aarch64-unknown-linux-gnu", 65536),
        ("riscv64gc-unknown-linux-gnu", 4096),
        ("s390x-unknown-linux-gnu", 4096),
    ] {
        dir.precast(&["compile", "add.wasm", "--target", target])
            .is("", "", 0);
        let shown = dir.precast(&["inspect", "add.precast"]).stdout();
        assert!(
            shown.contains(&format!("target       {target}, pages of {pages} bytes\n")),
            "{shown}"
        );
    }
    dir.precast(&["compile", "add.wasm", "--target", "mips-unknown-linux-gnu"])
        .is(
            "",
            "error: target `mips-unknown-linux-gnu` is not supported; expected x86_64, aarch64, \
         riscv64gc or s390x with Linux, such as aarch64-unknown-linux-gnu\n",
            1,
        );
}

#[test]
fn tells_what_the_input_is() {
    let dir = Dir::new();
    dir.write("empty", "");
    dir.write("image.png", b"\x89PNG\r\n\x1a\n");
    dir.write("component.wasm", b"\0asm\x0d\0\x01\0");
    dir.write("cut.wasm", b"\0asm\x01\0\0\0\x01");
    dir.artifact("add", ADD);
    for (file, cause) in [
        (
            "empty",
            "expected a WebAssembly module, found nothing (0 bytes); check how the file was made",
        ),
        (
            "image.png",
            "expected a WebAssembly module, found bytes that do not start with `\\0asm`; check \
             that it is a .wasm file",
        ),
        (
            "component.wasm",
            "expected a WebAssembly module, found a component; components are not supported: \
             extract its core module, or build a core module",
        ),
        (
            "add.precast",
            "expected a WebAssembly module, found an ELF file; if it is a precast artifact, it is \
             compiled already",
        ),
        (
            "cut.wasm",
            "invalid WebAssembly module: unexpected end-of-file (at byte 0x9)",
        ),
    ] {
        let expected = format!("error: cannot compile `{file}`\nCaused by:\n    {cause}\n");
        dir.precast(&["compile", file]).is("", &expected, 1);
    }
    dir.precast(&["compile", "."])
        .is("", "error: `.` is a directory; expected a file\n", 1);
    dir.precast(&["compile", "missing.wasm"]).is(
        "",
        "error: cannot read `missing.wasm`\nCaused by:\n    No such file or directory (os error \
         2)\n",
        1,
    );
}

#[test]
fn tells_what_is_wrong_with_the_module() {
    let dir = Dir::new();
    dir.wasm("invalid", "(module (func (result i32) i64.const 0))");
    dir.wasm("threads", "(module (memory 1 1 shared))");
    dir.precast(&["compile", "invalid.wasm"]).is(
        "",
        "error: cannot compile `invalid.wasm`\nCaused by:\n    invalid WebAssembly module: type \
         mismatch: expected i32, found i64 (at byte 0x1a)\n",
        1,
    );
    dir.precast(&["compile", "--features=-threads", "threads.wasm"])
        .is(
            "",
            "error: cannot compile `threads.wasm`\nCaused by:\n    the module uses the threads \
         proposal, which the settings forbid: threads must be enabled for shared memories (at byte \
         0xb)\n",
            1,
        );
}

/// A module is not called invalid, or to need what is not supported, because of a proposal that is
/// only forbidden.
#[test]
fn forbidden_proposals_are_named() {
    let dir = Dir::new();
    let forbidden = |proposal: &str, found: &str| {
        format!("the module uses the {proposal} proposal, which the settings forbid: {found}")
    };
    let types = "found a type or an expression that came with it (at byte ";
    for (features, module, expected) in [
        (
            "-multi-memory",
            "(memory 1) (memory 1)",
            forbidden("multi-memory", "multiple memories (at byte 0xa)"),
        ),
        (
            "-multi-memory,-threads",
            "(memory 1) (memory 1 1 shared)",
            forbidden("threads and multi-memory", "multiple memories"),
        ),
        (
            "-reference-types",
            "(table 1 funcref) (table 1 funcref)",
            forbidden("reference-types", "multiple tables (at byte 0xa)"),
        ),
        (
            "-function-references",
            "(rec (type (func)) (type (func)))",
            forbidden("function-references", types),
        ),
        (
            "-function-references",
            "(type (sub (func)))",
            forbidden("function-references", types),
        ),
        (
            "-function-references",
            "(global i32 (i32.const 1)) (global i32 (global.get 0))",
            forbidden("function-references", types),
        ),
        (
            "-bulk-memory",
            "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
            forbidden(
                "bulk-memory",
                "bulk memory support is not enabled (at byte ",
            ),
        ),
        (
            "-function-references,-exceptions",
            "(func (local (ref null nofunc)))",
            forbidden("function-references", types),
        ),
        (
            "-function-references",
            "(func (local (ref null any)))",
            "the module uses the gc proposal, which is not supported: found the heap type Any"
                .to_owned(),
        ),
        (
            "-multi-memory",
            "(memory 1) (memory 1) (func (result i32))",
            "invalid WebAssembly module: type mismatch".to_owned(),
        ),
    ] {
        dir.wasm("module", &format!("(module {module})"));
        let option = format!("--features={features}");
        let ran = dir.precast(&["compile", &option, "module.wasm"]);
        let stderr = ran.stderr();
        assert!(stderr.contains(&expected), "{module}: {stderr}");
        assert_eq!(ran.0.status.code(), Some(1), "{module}");
    }
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.write("full", "precious");
    // With a limit for the size of files, writing fails as on a full disk.
    let mut limited = std::process::Command::new("bash");
    let precast = env!("CARGO_BIN_EXE_precast");
    let script = format!("trap '' XFSZ; ulimit -f 1; exec '{precast}' compile add.wasm -o full");
    let output = limited
        .args(["-c", &script])
        .current_dir(dir.0.path())
        .output()
        .expect("runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: cannot write `full`\nCaused by:\n    File too large (os error 27)\n"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        fs::read(dir.path("full")).expect("still there"),
        b"precious"
    );
    assert_eq!(
        dir.names(),
        ["add.wasm", "full"],
        "no temporary file is left"
    );

    dir.precast(&["compile", "add.wasm", "-o", "no/such/place"]).is(
        "",
        "error: cannot write `no/such/place`\nCaused by:\n    No such file or directory (os error \
         2)\n",
        1,
    );
    dir.precast(&["compile", "add.wasm", "-o", "."]).is(
        "",
        "error: cannot write `.`: it is a directory\n",
        1,
    );
}

#[test]
fn an_artifact_in_use_is_replaced_not_changed() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    let path = dir.path("add.precast");
    let before = fs::read(&path).expect("written");
    let opened = fs::File::open(&path).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("ours");
    dir.precast(&["compile", "add.wasm", "--strategy", "checked"])
        .is("", "", 0);
    let mut still = Vec::new();
    std::io::Read::read_to_end(&mut &opened, &mut still).expect("readable");
    assert!(still == before);
    assert!(fs::read(&path).expect("written") != before);
}

#[test]
fn wrong_usage_exits_with_2() {
    let dir = Dir::new();
    for (args, message) in [
        (
            &["compile", "-"][..],
            "error: standard input has no name to derive the output's from: give --output\n",
        ),
        (
            &["compile", "x", "--opt-level", "max"],
            "error: invalid value 'max' for '--opt-level <LEVEL>': expected none, speed or size (or 0 to \
             3, s)\n",
        ),
        (
            &["compile", "x", "--strategy", "fast"],
            "error: invalid value 'fast' for '--strategy <STRATEGY>': expected guarded or \
             checked\n",
        ),
        (
            &["compile", "x", "--threads", "0"],
            "error: invalid value '0' for '--threads <N>': number would be zero for non-zero \
             type\n",
        ),
    ] {
        let ran = dir.precast(args);
        assert_eq!(ran.0.status.code(), Some(2), "{args:?}");
        assert!(ran.stderr().starts_with(message), "{}", ran.stderr());
    }
    dir.precast(&["compile", "x", "--cpu", "x86-64-v3,+sse9"])
        .is(
            "",
            &format!(
                "error: CPU feature `sse9` is not supported; expected one of {}\n",
                precast_artifact::target::X86_64_FEATURES.join(", ")
            ),
            1,
        );
}

#[test]
fn prints_times_when_asked() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let ran = dir.precast(&["compile", "add.wasm", "--time"]);
    let stderr = ran.stderr();
    let phases: Vec<&str> = stderr
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(
        phases,
        [
            "read", "parse", "plan", "codegen", "layout", "emit", "write", "total"
        ]
    );
    assert!(stderr.lines().all(|line| line.ends_with(" ms")), "{stderr}");
}

#[test]
fn limits_are_named_in_errors() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let compile = |limit: &str| dir.precast(&["compile", "add.wasm", "--limit", limit]);
    for limit in [
        "module-size=1M",
        "functions=1",
        "operators=4",
        "artifact-size=1G",
        "artifact-growth=2",
    ] {
        compile(limit).is("", "", 0);
    }
    compile("operators=3").is(
        "",
        "error: cannot compile `add.wasm`\nCaused by:\n    the module exceeds the limit `operators`: \
         the number of operators in function 0 is 4, at most 3 is allowed\n",
        1,
    );
    compile("operator=3").is(
        "",
        "error: invalid value 'operator=3' for '--limit <NAME=N>': limit `operator` is not supported; \
         expected module-size, functions, operators, artifact-size, artifact-growth\n\nFor more \
         information, try '--help'.\n",
        2,
    );
    let args = ["run", "--limit", "functions=0", "add.wasm"];
    let ran = dir.precast(&args);
    assert!(
        ran.stderr().contains("the limit `functions`"),
        "{}",
        ran.stderr()
    );
    // An artifact is compiled already.
    let args = ["run", "--limit", "functions=0", "add.precast"];
    assert!(
        dir.precast(&args)
            .stderr()
            .contains("--limit is for modules")
    );
}
