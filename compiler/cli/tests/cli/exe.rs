//! `precast exe`: executables that this program makes of itself, which is a runner too.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Dir, Ran};

const PRECAST: &str = env!("CARGO_BIN_EXE_precast");

/// Prints its arguments and its environment, each followed by a line's end, and ends with the
/// number of arguments as its exit code.
const SHOW: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func $print (param $len i32) (local $at i32)
        (block $done
            (loop $next
                (br_if $done (i32.eq (local.get $at) (local.get $len)))
                (if (i32.eqz (i32.load8_u offset=4096 (local.get $at)))
                    (then (i32.store8 offset=4096 (local.get $at) (i32.const 10))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $next)))
        (i32.store (i32.const 0) (i32.const 4096))
        (i32.store (i32.const 4) (local.get $len))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $show (export "_start")
        (drop (call $args_sizes (i32.const 16) (i32.const 20)))
        (drop (call $args (i32.const 64) (i32.const 4096)))
        (call $print (i32.load (i32.const 20)))
        (drop (call $env_sizes (i32.const 24) (i32.const 28)))
        (drop (call $env (i32.const 64) (i32.const 4096)))
        (call $print (i32.load (i32.const 28)))
        (call $exit (i32.load (i32.const 16)))))"#;

impl Dir {
    /// Makes an executable with this program as its runner.
    #[track_caller]
    fn exe(&self, args: &[&str]) -> Ran {
        self.precast(&[&["exe", "--runner", PRECAST], args].concat())
    }

    /// Runs an executable of the directory.
    fn start(&self, name: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(self.path(name));
        command.args(args).current_dir(self.0.path()).env_clear();
        command.env("GIVEN", "on").env("SECRET", "s");
        let start = Instant::now();
        loop {
            match command.output() {
                // A process that another test has just forked has the file open for writing, until
                // it executes its own program.
                Err(error)
                    if error.kind() == ErrorKind::ExecutableFileBusy
                        && start.elapsed() < Duration::from_secs(10) =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                output => return Ran(output.expect("starts")),
            }
        }
    }
}

#[test]
fn an_executable_has_its_program_and_its_options() {
    let dir = Dir::new();
    dir.wasm("show", SHOW);
    dir.exe(&["show.wasm"]).is("", "", 0);
    let path = dir.path("show").display().to_string();
    dir.start("show", &["a", "-b c"])
        .is(&format!("{path}\na\n-b c\n"), "", 3);

    let options = [
        "--argv0",
        "me",
        "--arg",
        "-x",
        "--arg=",
        "--env",
        "A=1",
        "--env=GIVEN",
        "--env=NONE",
    ];
    dir.exe(&[&["show.wasm", "-o", "set"][..], &options].concat())
        .is("", "", 0);
    dir.start("set", &["a"])
        .is("me\n-x\n\na\nA=1\nGIVEN=on\n", "", 4);
    // The input may be compiled already; nothing else is left behind.
    dir.precast(&["compile", "show.wasm"]).is("", "", 0);
    dir.exe(&["show.precast", "-o", "again"]).is("", "", 0);
    dir.start("again", &[])
        .is(&format!("{}\n", dir.path("again").display()), "", 1);
    assert_eq!(
        dir.names(),
        ["again", "set", "show", "show.precast", "show.wasm"]
    );
}

/// Opens `file` in the first directory for writing, and exits with the error's number.
const OPEN: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "file")
    (func (export "_start")
        (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4)
            (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))))"#;

#[test]
fn directories_are_given_as_they_were_set() {
    let dir = Dir::new();
    dir.wasm("open", OPEN);
    for (option, code) in [(".::/data::rw", 0), (".::ro", 69)] {
        dir.exe(&["open.wasm", "--dir", option]).is("", "", 0);
        dir.start("open", &[]).is("", "", code);
    }
    assert!(dir.path("file").exists());
    dir.exe(&["open.wasm", "--dir", "no-such"]).is("", "", 0);
    let missing = dir.start("open", &[]);
    assert!(missing.stderr().contains("no-such"), "{}", missing.stderr());
}

#[test]
fn traps_and_bad_ends_are_those_of_run() {
    let dir = Dir::new();
    dir.wasm(
        "dies",
        r#"(module (func $dies (export "_start") unreachable))"#,
    );
    dir.exe(&["dies.wasm"]).is("", "", 0);
    let ran = dir.start("dies", &[]);
    assert!(ran.stderr().starts_with("error: "), "{}", ran.stderr());
    assert!(
        ran.stderr().contains("dies"),
        "the backtrace has names: {}",
        ran.stderr()
    );
    assert_eq!(ran.0.status.code(), Some(134));
}

#[test]
fn what_is_no_program_is_refused_before_anything_is_written() {
    let dir = Dir::new();
    dir.wasm("lib", r#"(module (func (export "f")))"#);
    dir.wasm("odd", r#"(module (func (export "_start") (param i32)))"#);
    dir.wasm(
        "env",
        r#"(module (import "env" "f" (func)) (func (export "_start")))"#,
    );
    for (file, expected) in [
        ("lib.wasm", "it does not export a function `_start`"),
        ("odd.wasm", "its `_start` has parameters or results"),
        (
            "env.wasm",
            "it imports from `env`, which an executable does not have",
        ),
        ("missing.wasm", "No such file"),
    ] {
        let ran = dir.exe(&[file]);
        assert!(ran.stderr().contains(expected), "{file}: {}", ran.stderr());
        assert_eq!(ran.0.status.code(), Some(1));
    }
    let ran = dir.precast(&["exe", "odd.wasm", "--runner", "lib.wasm"]);
    assert_eq!(ran.0.status.code(), Some(1));
    assert_eq!(dir.names(), ["env.wasm", "lib.wasm", "odd.wasm"]);

    dir.wasm("show", SHOW);
    let ran = dir.precast(&["exe", "show.wasm", "--runner", "lib.wasm"]);
    let expected = "the runner cannot be used: it is not an ELF executable";
    assert!(ran.stderr().contains(expected), "{}", ran.stderr());
    let target = "aarch64-unknown-linux-gnu";
    let ran = dir.precast(&["exe", "show.wasm", "--target", target]);
    assert!(
        ran.stderr().contains("there is no runner for aarch64"),
        "{}",
        ran.stderr()
    );
    let ran = dir.exe(&["show.wasm", "--target", target]);
    let expected = "it is for x86_64, and the program for aarch64";
    assert!(ran.stderr().contains(expected), "{}", ran.stderr());
    dir.precast(&["compile", "show.wasm"]).is("", "", 0);
    let ran = dir.exe(&["show.precast", "--target", target]);
    assert!(
        ran.stderr().contains("it is compiled already"),
        "{}",
        ran.stderr()
    );
    dir.write("plain", wat::parse_str(SHOW).expect("valid"));
    let ran = dir.exe(&["plain"]);
    assert_eq!(ran.0.status.code(), Some(2), "{}", ran.stderr());
}

/// Where the last segment of an executable is in its file.
fn segment(file: &[u8]) -> std::ops::Range<usize> {
    let number =
        |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes")) as usize;
    let headers = (0..usize::from(file[56])).map(|i| number(32) + 56 * i);
    let loaded = headers
        .filter(|at| file[*at] == 1)
        .map(|at| (number(at + 8), number(at + 32)));
    let (start, len) = loaded.max().expect("there are segments");
    start..start + len
}

#[test]
fn damage_is_an_error() {
    let dir = Dir::new();
    dir.wasm("show", SHOW);
    dir.exe(&["show.wasm"]).is("", "", 0);
    let whole = fs::read(dir.path("show")).expect("made");
    let program = segment(&whole);
    let write = |name: &str, bytes: &[u8]| {
        dir.write(name, bytes);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(name), executable).expect("ours");
    };
    // Cut where the program starts, in it, and just before its end.
    let middle = program.start + program.len() / 2;
    for (i, len) in [program.start, middle, program.end - 1]
        .into_iter()
        .enumerate()
    {
        let name = format!("cut{i}");
        write(&name, &whole[..len]);
        let ran = dir.start(&name, &[]);
        let expected = "error: the executable is truncated: it has";
        assert!(
            ran.stderr().starts_with(expected),
            "{len}: {}",
            ran.stderr()
        );
        assert_eq!(ran.0.status.code(), Some(1));
    }
    // What the artifact's checksum covers.
    let at = program.start + precast_artifact::HEADER_OFFSET;
    for (at, name) in [(at, "magic"), (at + 200, "tables")] {
        write(name, &whole);
        let file = fs::File::options()
            .write(true)
            .open(dir.path(name))
            .expect("ours");
        file.write_all_at(&[whole[at] ^ 0x55], at as u64)
            .expect("writable");
        drop(file);
        let ran = dir.start(name, &[]);
        assert!(
            ran.stderr().starts_with("error: "),
            "{name}: {}",
            ran.stderr()
        );
        assert_eq!(ran.0.status.code(), Some(1));
    }
}

/// The program that starts programs of this C library.
fn ld_so() -> Option<&'static str> {
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let is_there = |path: &&str| fs::exists(path).unwrap_or(false);
    loaders.into_iter().find(is_there)
}

#[test]
fn without_proc_an_executable_is_protected_or_does_not_start() {
    let dir = Dir::new();
    dir.wasm("open", OPEN);
    dir.exe(&["open.wasm", "--dir", ".", "-o", "file"])
        .is("", "", 0);
    let start = |command: &str| {
        let hidden = format!("mount -t tmpfs none /proc && exec {command}");
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", &hidden]);
        Ran(unshare.current_dir(dir.0.path()).output().expect("runs"))
    };
    if start("true").0.status.code() != Some(0) {
        eprintln!(
            "skipped without_proc_an_executable_is_protected_or_does_not_start: the system refuses \
             namespaces"
        );
        return;
    }
    start("./file").is("", "", 69);
    if let Some(ld_so) = ld_so() {
        start(&format!("{ld_so} ./file")).is("", "", 69);
    }
    // The system tells only the path of the script. Another process writes it: a process that
    // another test has just forked would have it open for writing, and it could not be started.
    let script = format!(
        "printf '#!%s\\n' '{}' > script && chmod +x script",
        dir.path("file").display()
    );
    dir.bash(&script).is("", "", 0);
    start("./script").is(
        "",
        "error: the guest may write to directories, and the executable does not find its own file, \
         which the guest must not change: expected `/proc`, or to be started by its path\n",
        1,
    );
    // With nothing to protect it from, it starts.
    dir.exe(&["open.wasm", "--dir", ".::.::ro", "-o", "file"])
        .is("", "", 0);
    start("./script").is("", "", 69);
}

/// The process's executable is `ld.so` then.
#[test]
fn the_program_of_an_executable_that_ld_so_starts_is_known() {
    let dir = Dir::new();
    let Some(loader) = ld_so() else {
        eprintln!("skipped the_program_of_an_executable_that_ld_so_starts_is_known: no ld.so");
        return;
    };
    let start = |name: &str| {
        let mut command = Command::new(loader);
        let output = command
            .arg(dir.path(name))
            .current_dir(dir.0.path())
            .output();
        Ran(output.expect("starts"))
    };
    dir.wasm("open", OPEN);
    dir.exe(&["open.wasm", "--dir", "."]).is("", "", 0);
    start("open").is("", "", 0);
    assert!(dir.path("file").exists());
    // The guest cannot write to its own executable.
    dir.exe(&["open.wasm", "--dir", ".", "-o", "file"])
        .is("", "", 0);
    start("file").is("", "", 69);
    let whole = fs::read(dir.path("file")).expect("made");
    dir.write("file", &whole[..segment(&whole).end - 1]);
    let ran = start("file");
    let expected = "error: the executable is truncated: it has";
    assert!(ran.stderr().starts_with(expected), "{}", ran.stderr());
    assert_eq!(ran.0.status.code(), Some(1));
}

#[test]
fn strip_leaves_the_program() {
    let dir = Dir::new();
    dir.wasm("show", SHOW);
    dir.exe(&["show.wasm", "--argv0", "me"]).is("", "", 0);
    let stripped = Command::new("strip").arg(dir.path("show")).output();
    let Ok(output) = stripped else {
        eprintln!("skipped strip_leaves_the_program: this machine has no `strip`");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    dir.start("show", &["a"]).is("me\na\n", "", 2);
    // It is not a runner for another program.
    let ran = dir.precast(&["exe", "show.wasm", "-o", "x", "--runner", "show"]);
    let expected = "it has a program already; expected one without";
    assert!(ran.stderr().contains(expected), "{}", ran.stderr());
}

#[test]
fn an_executable_prints_the_causes_of_errors_without_what_terminals_obey() {
    let dir = Dir::new();
    dir.wasm("show", SHOW);
    dir.exe(&["show.wasm", "--dir", "no\u{1b}where"])
        .is("", "", 0);
    let text = dir.start("show", &[]).stderr();
    assert!(
        text.starts_with("error: ") && text.contains("no\\u{1b}where"),
        "{text:?}"
    );
    let cause = "\nCaused by:\n    No such file or directory (os error 2)\n";
    assert!(text.ends_with(cause), "{text:?}");
    // Such an executable is no artifact, and the message does not deny who made it.
    let text = dir.precast(&["run", "show"]).stderr();
    assert!(
        text.contains("an ELF file that is no artifact; if it was made of one"),
        "{text}"
    );
}
