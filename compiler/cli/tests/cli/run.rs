//! `precast run`.

use std::fs;

use crate::{ADD, Dir};

/// A program that prints its arguments, one in each line, and exits with their number.
const ARGS: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $len (param $p i32) (result i32) (local $n i32)
    (loop $more
      (if (i32.load8_u (i32.add (local.get $p) (local.get $n)))
        (then
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br $more))))
    (local.get $n))
  (func (export "_start") (local $i i32) (local $arg i32) (local $n i32)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 1024) (i32.const 8192)))
    (loop $next
      (if (i32.lt_u (local.get $i) (i32.load (i32.const 0)))
        (then
          (local.set $arg
            (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 4)))))
          (local.set $n (call $len (local.get $arg)))
          (i32.store8 (i32.add (local.get $arg) (local.get $n)) (i32.const 10))
          (i32.store (i32.const 16) (local.get $arg))
          (i32.store (i32.const 20) (i32.add (local.get $n) (i32.const 1)))
          (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
    (call $exit (i32.load (i32.const 0)))))"#;

#[test]
fn everything_after_the_file_is_the_guests() {
    let dir = Dir::new();
    dir.artifact("args", ARGS);
    dir.precast(&["run", "args.precast"])
        .is("args.precast\n", "", 1);
    dir.precast(&["run", "args.precast", "--dir", "x", "--", "-h", ""])
        .is("args.precast\n--dir\nx\n--\n-h\n\n", "", 6);
    dir.precast(&["run", "--argv0", "me", "args.precast", "--invoke"])
        .is("me\n--invoke\n", "", 2);
    let ran = dir.precast(&["run", "--nonsense", "args.precast"]);
    assert_eq!(ran.0.status.code(), Some(2));
    assert!(
        ran.stderr()
            .starts_with("error: unexpected argument '--nonsense' found\n")
    );
    assert_eq!(dir.precast(&["run"]).0.status.code(), Some(2));
}

#[test]
fn traps_exit_with_134_and_say_where() {
    let dir = Dir::new();
    dir.artifact(
        "trap",
        r#"(module
          (func $inner (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
          (func $outer (export "_start") (drop (call $inner (i32.const 0))))
          (func (export "deep") (call 2))
          (func (export "wild") (result i32) (i32.load (i32.const -8)))
          (memory 1))"#,
    );
    let ran = dir.precast(&["run", "trap.precast"]);
    assert_eq!(ran.0.status.code(), Some(134));
    let stderr = ran.stderr();
    assert!(
        stderr.starts_with("error: wasm trap: integer divide by zero\n"),
        "{stderr}"
    );
    let inner = stderr.find("inner").expect("a backtrace");
    assert!(
        inner < stderr.find("outer").expect("a backtrace"),
        "innermost first: {stderr}"
    );
    for (name, text) in [
        ("deep", "call stack exhausted"),
        ("wild", "out of bounds memory access"),
    ] {
        let ran = dir.precast(&["run", "--invoke", name, "trap.precast"]);
        assert_eq!(ran.0.status.code(), Some(134), "{}", ran.stderr());
        let expected = format!("error: wasm trap: {text}\n");
        assert!(ran.stderr().starts_with(&expected), "{}", ran.stderr());
    }
}

#[test]
fn calls_functions_with_values() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    let invoke = |args: &[&str]| {
        dir.precast(&[&["run", "--invoke", "add", "add.precast"][..], args].concat())
    };
    invoke(&["-1", "0xffffffff"]).is("-2\n", "", 0);
    invoke(&["4294967295", "0"]).is("-1\n", "", 0);
    invoke(&["1"]).is("", "error: `add` takes 2 arguments (i32 i32), found 1\n", 1);
    invoke(&["1", "x"]).is(
        "",
        "error: argument `x` of `add`: expected i32, such as -7 or 0xff\n",
        1,
    );
    invoke(&["1", "4294967296"]).is(
        "",
        "error: argument `4294967296` of `add`: expected i32, such as -7 or 0xff\n",
        1,
    );
    dir.artifact(
        "swap",
        r#"(module (func (export "swap") (param i64 f32 f64) (result f64 f32 i64)
          (local.get 2) (local.get 1) (local.get 0)))"#,
    );
    dir.precast(&[
        "run",
        "--invoke",
        "swap",
        "swap.precast",
        "-7",
        "0.5",
        "nan",
    ])
    .is("nan\n0.5\n-7\n", "", 0);
}

#[test]
fn says_what_could_be_called_instead() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    dir.artifact("none", "(module)");
    dir.precast(&["run", "add.precast"]).is(
        "",
        "error: this is not a WASI program: it does not export a function `_start`; with --invoke, \
         expected one of `add`\n",
        1,
    );
    dir.precast(&["run", "--invoke", "sub", "add.precast"]).is(
        "",
        "error: there is no exported function `sub`; expected `add`\n",
        1,
    );
    dir.precast(&["run", "none.precast"]).is(
        "",
        "error: this is not a WASI program: it does not export a function `_start`; it exports no \
         function at all\n",
        1,
    );
}

#[test]
fn missing_imports_are_listed_together() {
    let dir = Dir::new();
    dir.artifact(
        "imports",
        r#"(module
          (import "env" "f" (func (param i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func))
          (func (export "_start")))"#,
    );
    let ran = dir.precast(&["run", "imports.precast"]);
    let stderr = ran.stderr();
    assert_eq!(ran.0.status.code(), Some(1));
    assert!(
        stderr.starts_with("error: cannot link the module:"),
        "{stderr}"
    );
    assert!(
        stderr.contains("env") && stderr.contains("fd_write"),
        "{stderr}"
    );
}

#[test]
fn gives_directories_and_variables() {
    let dir = Dir::new();
    dir.artifact("args", ARGS);
    let refused = dir.precast(&["run", "--dir", "missing::/", "args.precast"]);
    refused.is(
        "",
        "error: cannot open directory missing for the guest's \"/\"\nCaused by:\n    No such file \
         or directory (os error 2)\n",
        1,
    );
    dir.precast(&["run", "--env", "NO_SUCH_VARIABLE", "args.precast"])
        .is(
            "",
            "error: cannot pass on the environment variable `NO_SUCH_VARIABLE`\nCaused by:\n    \
         environment variable not found\n",
            1,
        );
    dir.artifact(
        "env",
        r#"(module
          (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get"
            (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "_start")
            (drop (call $sizes (i32.const 0) (i32.const 20)))
            (drop (call $get (i32.const 1024) (i32.const 8192)))
            (i32.store (i32.const 16) (i32.const 8192))
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#,
    );
    let mut command = dir.command(&["run", "--env", "A=1=2", "--env", "HANDED_ON", "env.precast"]);
    let output = command.env("HANDED_ON", "yes").output().expect("runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "A=1=2\0HANDED_ON=yes\0"
    );
}

/// A program that never ends.
const LOOP: &str =
    r#"(module (memory (export "memory") 1) (func $f (export "_start") (loop (br 0))))"#;
/// A program that waits for standard input.
const WAIT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 4) (i32.const 8))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Fills its standard output.
const WRITE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 4) (i32.const 60000))
    (loop $again
      (br_if $again (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))))"#;

#[test]
fn a_timeout_ends_the_program_with_124() {
    let dir = Dir::new();
    dir.wasm("loop", LOOP);
    let run = &["run", "--no-cache", "--timeout", "50ms", "loop.wasm"];
    let ran = dir.precast(run);
    assert_eq!(ran.0.status.code(), Some(124));
    let errors = ran.stderr();
    let start = "error: timed out after 50ms\nCaused by:\n    wasm trap: interrupted\n";
    assert!(errors.starts_with(start), "{errors}");

    // A module is compiled in a way that it can be stopped. An artifact must have been compiled so.
    dir.precast(&["compile", "loop.wasm"]).is("", "", 0);
    dir.precast(&["run", "--timeout", "50ms", "loop.precast"]).is(
        "",
        "error: cannot run `loop.precast`\nCaused by:\n    --timeout needs interruption `epoch`, \
         found an artifact with `none`: compile it again with `--interruption epoch`\n",
        1,
    );
    dir.precast(&["compile", "--interruption", "epoch", "loop.wasm"])
        .is("", "", 0);
    let ran = dir.precast(&["run", "--timeout", "50ms", "loop.precast"]);
    assert_eq!(ran.0.status.code(), Some(124));
    let inspected = dir.precast(&["inspect", "loop.precast"]).stdout();
    assert!(inspected.contains("\ninterruption epoch\n"), "{inspected}");

    // The process exits although the guest waits in the system.
    dir.wasm("wait", WAIT);
    let mut command = dir.command(&["run", "--no-cache", "--timeout", "50ms", "wait.wasm"]);
    command.stdin(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("runs");
    let stdin = child.stdin.take();
    assert_eq!(child.wait().expect("ends").code(), Some(124));
    drop(stdin);
    dir.wasm("write", WRITE);
    let mut command = dir.command(&["run", "--no-cache", "--timeout", "50ms", "write.wasm"]);
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("runs");
    let stdout = child.stdout.take();
    assert_eq!(child.wait().expect("ends").code(), Some(124));
    drop(stdout);

    // A program that ends in time is not affected.
    dir.wasm("add", ADD);
    let run = [
        "run",
        "--no-cache",
        "--timeout",
        "1h",
        "--invoke",
        "add",
        "add.wasm",
        "1",
        "2",
    ];
    dir.precast(&run).is("3\n", "", 0);
    dir.precast(&["run", "--interruption", "epoch", "loop.precast"]).is(
        "",
        "error: cannot run `loop.precast`: it is compiled already; --interruption is for modules, \
         and for `precast compile`\n",
        1,
    );
    for (options, expected) in [
        (
            &["--timeout", "5"][..],
            "error: invalid value '5' for '--timeout <TIME>': expected a number with ms, s, m or h, \
             such as 5s or 1.5s\n",
        ),
        (
            &["--timeout", "5s", "--interruption", "epoch"],
            "error: the argument '--timeout <TIME>' cannot be used with '--interruption <HOW>'\n",
        ),
        (
            &["--interruption", "time"],
            "error: invalid value 'time' for '--interruption <HOW>': expected none, fuel, \
             epoch or fuel+epoch\n",
        ),
    ] {
        let ran = dir.precast(&[&["run"], options, &["loop.wasm"]].concat());
        assert_eq!(ran.0.status.code(), Some(2));
        let errors = ran.stderr();
        assert!(errors.starts_with(expected), "{errors}");
    }
}

#[test]
fn fuel_is_refused_for_programs_that_start_threads() {
    let dir = Dir::new();
    let program = r#"(module
        (import "wasi" "thread-spawn" (func (param i32) (result i32)))
        (import "env" "memory" (memory 1 1 shared))
        (func (export "_start"))
        (func (export "wasi_thread_start") (param i32 i32)))"#;
    dir.write("threads.wat", program);
    let run = |options: &[&str]| {
        let arguments = [&["run", "--no-cache"], options, &["threads.wat"]].concat();
        dir.precast(&arguments)
    };
    run(&[]).is("", "", 0);
    let ran = run(&["--fuel", "1000000"]);
    let errors = ran.stderr();
    let expected = "--fuel limits one thread, and the program can start others: use --timeout";
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(ran.0.status.code(), Some(1));
}

#[test]
fn fuel_that_is_used_up_is_a_trap() {
    let dir = Dir::new();
    dir.wasm("loop", LOOP);
    let ran = dir.precast(&["run", "--no-cache", "--fuel", "1000", "loop.wasm"]);
    assert_eq!(ran.0.status.code(), Some(134));
    let errors = ran.stderr();
    assert!(
        errors.contains("wasm trap: all fuel consumed\n"),
        "{errors}"
    );
    dir.wasm("add", ADD);
    let run = |fuel| {
        dir.precast(&[
            "run",
            "--no-cache",
            "--fuel",
            fuel,
            "--invoke",
            "add",
            "add.wasm",
            "1",
            "2",
        ])
    };
    run("5").is("3\n", "", 0);
    assert_eq!(run("1").0.status.code(), Some(134));
    // Fuel together with a deadline: what is used up first counts.
    let run = |fuel, time| {
        let options = ["run", "--no-cache", "--fuel", fuel, "--timeout", time];
        let ran = dir.precast(&[&options[..], &["loop.wasm"]].concat());
        ran.0.status.code()
    };
    assert_eq!(run("1000", "60s"), Some(134));
    assert_eq!(run("9000000000000000000", "50ms"), Some(124));
    // Without --fuel, an artifact that counts fuel runs without a limit.
    dir.precast(&["compile", "--interruption", "fuel", "add.wasm"])
        .is("", "", 0);
    dir.precast(&["run", "--invoke", "add", "add.precast", "1", "2"])
        .is("3\n", "", 0);
    dir.precast(&["run", "--timeout", "5s", "--invoke", "add", "add.precast"]).is(
        "",
        "error: cannot run `add.precast`\nCaused by:\n    --timeout needs interruption `epoch`, \
         found an artifact with `fuel`: compile it again with `--interruption epoch`\n",
        1,
    );
}

/// Functions that grow the memory or a table and return its former size, or -1.
const GROW: &str = r#"(module
  (memory 2) (table 100 funcref) (table $other (export "t") 100 externref)
  (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "table") (param i32) (result i32)
    (table.grow $other (ref.null extern) (local.get 0))))"#;

#[test]
fn guests_take_no_more_than_they_may() {
    let dir = Dir::new();
    dir.artifact("grow", GROW);
    let run = |limit: &[&str], name, by| {
        let end = ["--invoke", name, "grow.precast", by];
        dir.precast(&[&["run"], limit, &end].concat())
    };
    let memory = ["--max-memory", "256KiB"];
    run(&memory, "memory", "2").is("2\n", "", 0);
    run(&memory, "memory", "3").is("-1\n", "", 0);
    run(&["--max-memory", "64K"], "memory", "0").is(
        "",
        "error: bytes of all linear memories of a store: 131072 asked for, the limit is 65536\n",
        1,
    );
    let tables = ["--max-table-elements", "110"];
    run(&tables, "table", "10").is("100\n", "", 0);
    run(&tables, "table", "11").is("-1\n", "", 0);
    run(&["--max-table-elements=99"], "table", "0").is(
        "",
        "error: elements of all tables of a store: 100 asked for, the limit is 99\n",
        1,
    );
    run(&["--max-instances", "1"], "table", "0").is("100\n", "", 0);
    run(&["--max-instances", "0"], "table", "0").is(
        "",
        "error: instances of a store: 1 asked for, the limit is 0\n",
        1,
    );
    let ran = run(&["--max-memory", "64MB"], "memory", "0");
    assert_eq!(ran.0.status.code(), Some(2));
    assert!(
        ran.stderr().contains("such as 64M or 64MiB"),
        "{}",
        ran.stderr()
    );
}

/// A program of two threads beside the main one, each with ten elements in a table of its own. It
/// exits with the number of pages that all of them can get.
const THREADS: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "env" "memory" (memory 2 100 shared))
  (export "memory" (memory 0))
  (table (export "table") 10 funcref)
  (func $wait (param $count i32) (local $now i32)
    (loop $again
      (local.set $now (i32.atomic.load (i32.const 0)))
      (if (i32.lt_u (local.get $now) (local.get $count)) (then
        (drop (memory.atomic.wait32 (i32.const 0) (local.get $now) (i64.const -1)))
        (br $again)))))
  (func (export "wasi_thread_start") (param i32 i32)
    (loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const -1)))
    (call $wait (i32.const 3)))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (drop (call $spawn (i32.const 0)))
    (call $wait (i32.const 2))
    (call $exit (memory.size))))"#;

#[test]
fn threads_take_no_more_than_their_program_may() {
    let dir = Dir::new();
    dir.artifact("threads", THREADS);
    let run = |limit: &[&str]| dir.precast(&[&["run"], limit, &["threads.precast"]].concat());
    run(&[]).is("", "", 100);
    run(&["--max-memory", "640KiB"]).is("", "", 10);
    run(&["--max-memory", "64KiB"]).is(
        "",
        "error: bytes of all linear memories of all stores together: 131072 asked for, the limit \
         is 65536\n",
        1,
    );
    run(&["--max-table-elements", "30"]).is("", "", 100);
    run(&["--max-table-elements", "29"]).is(
        "",
        "error: elements of all tables of all stores together: 30 asked for, the limit is 29\n",
        1,
    );
    run(&["--max-instances", "3"]).is("", "", 100);
    run(&["--max-instances", "2"]).is(
        "",
        "error: instances of all stores together: 3 asked for, the limit is 2\n",
        1,
    );
    let own = THREADS.replace(
        "(import \"env\" \"memory\" (memory 2 100 shared))",
        "(memory 2 9 shared)",
    );
    dir.artifact("own", &own);
    let ran = dir.precast(&["run", "own.precast"]);
    assert_eq!(ran.0.status.code(), Some(1));
    let error = ran.stderr();
    assert!(
        error.contains("exports as \"memory\" a memory that it defines"),
        "{error}"
    );
}

/// A program that creates the file `new` in its first directory, and exits with the error number.
const MAKE: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "new")
  (func (export "_start")
    (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))))"#;

#[test]
fn directories_to_look_at_only() {
    let dir = Dir::new();
    dir.artifact("make", MAKE);
    for given in [".::ro", ".::/guest::ro"] {
        let ran = dir.precast(&["run", "--dir", given, "make.precast"]);
        assert!(ran.0.status.code().is_some_and(|code| code > 2), "{given}");
        assert_eq!(ran.stderr(), "");
        assert!(!dir.path("new").exists(), "{given}");
    }
    fs::create_dir(dir.path("sub")).expect("writable");
    dir.precast(&["run", "--dir", "sub::/guest", "make.precast"])
        .is("", "", 0);
    assert!(dir.path("sub/new").exists());
}

/// A program that writes `hello` without a newline, and exits with the error number.
const UNFINISHED_LINE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\05\00\00\00")
  (data (i32.const 16) "hello")
  (func (export "_start")
    (call $exit (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn a_guest_hears_that_its_output_cannot_be_written() {
    const NOSPC: i32 = 51;
    const BADF: i32 = 8;
    const PIPE: i32 = 64;
    let dir = Dir::new();
    dir.artifact("line", UNFINISHED_LINE);
    let run = || dir.command(&["run", "line.precast"]);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    assert_eq!(run().stdout(full).status().unwrap().code(), Some(NOSPC));
    // The standard output is open for reading only.
    let null = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(run().stdout(null).status().unwrap().code(), Some(BADF));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run().stdout(writer).status().unwrap().code(), Some(PIPE));
    dir.precast(&["run", "line.precast"]).is("hello", "", 0);
}

#[test]
fn output_arrives_while_the_guest_goes_on() {
    use std::io::Read as _;
    let dir = Dir::new();
    // A program that writes a dot without a newline, then computes for ever.
    dir.artifact(
        "dot",
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\10\00\00\00\01\00\00\00")
          (data (i32.const 16) ".")
          (func (export "_start")
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (loop (br 0))))"#,
    );
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = dir
        .command(&["run", "dot.precast"])
        .stdout(writer)
        .spawn()
        .unwrap();
    let mut dot = [0];
    reader.read_exact(&mut dot).unwrap();
    assert_eq!(&dot, b".");
    // SIGKILL gives the process no chance to flush a buffer.
    child.kill().unwrap();
    child.wait().unwrap();
}
