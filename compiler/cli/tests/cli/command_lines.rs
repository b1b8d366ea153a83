//! Command lines as people type them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::{ADD, Dir, Ran};

const THREE: [&str; 2] = ["1", "2"];

fn invoke(file: &str) -> Vec<&str> {
    [&["run", "--no-cache", "--invoke", "add", file][..], &THREE].concat()
}

/// Runs with standard input from a pipe.
fn piped(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).expect("read to the end");
    drop(stdin);
    Ran(child.wait_with_output().expect("ends"))
}

#[test]
fn text_is_taken_for_a_module() {
    let dir = Dir::new();
    dir.write("add.wat", format!(";; a comment first\n{ADD}"));
    dir.precast(&invoke("add.wat")).is("3\n", "", 0);
    dir.precast(&["compile", "add.wat"]).is("", "", 0);
    assert_eq!(dir.names(), ["add.precast", "add.wat"]);
    dir.precast(&["run", "--invoke", "add", "add.precast", "1", "2"])
        .is("3\n", "", 0);
    for file in ["add.wat", "add.precast"] {
        let shown = dir.precast(&["inspect", file]).stdout();
        assert!(
            shown.contains("  func   add (i32 i32) -> (i32)\n"),
            "{shown}"
        );
    }
    dir.write("wrong.wat", "(module\n  (func $f (param i33)))");
    let ran = dir.precast(&["compile", "wrong.wat"]);
    assert_eq!(ran.0.status.code(), Some(1));
    let errors = ran.stderr();
    assert!(
        errors.starts_with("error: cannot parse `wrong.wat`\nCaused by:\n"),
        "{errors}"
    );
    assert!(errors.contains("wrong.wat:2:"), "{errors}");
    // The quoted line is the text's, whose author is not trusted.
    dir.write("wrong.wat", "(module\n\t(func (; \u{200b} ;) (param i33)))");
    let errors = dir.precast(&["compile", "wrong.wat"]).stderr();
    assert!(errors.contains("(func (; \\u{200b} ;)"), "{errors}");
    assert!(!errors.contains('\u{200b}'), "{errors}");
}

#[test]
fn programs_come_through_pipes() {
    let dir = Dir::new();
    dir.artifact("add", ADD);
    let read = |name| fs::read(dir.path(name)).expect("written");
    for bytes in [
        read("add.wasm"),
        read("add.precast"),
        ADD.as_bytes().to_vec(),
    ] {
        for file in ["-", "/dev/stdin"] {
            piped(dir.command(&invoke(file)), &bytes).is("3\n", "", 0);
        }
        let shown = piped(dir.command(&["inspect", "-"]), &bytes).stdout();
        assert!(shown.contains("exports (1)"), "{shown}");
    }
    // The artifact comes through a pipe, as with `<(…)` in a shell.
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&read("add.precast")).expect("room enough");
    drop(writer);
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
    let mut command = dir.command(&invoke(&format!("/dev/fd/{fd}")));
    // SAFETY: the call is one of the few that are allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            (libc::fcntl(fd, libc::F_SETFD, 0) == 0)
                .then_some(())
                .ok_or(std::io::Error::last_os_error())
        })
    };
    Ran(command.output().expect("runs")).is("3\n", "", 0);
    let ran = piped(dir.command(&invoke("-")), b"nonsense");
    assert_eq!(ran.0.status.code(), Some(1));
    assert!(
        ran.stderr().starts_with("error: cannot run `-`\n"),
        "{}",
        ran.stderr()
    );
}

#[test]
fn a_module_is_not_overwritten_by_its_artifact() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let wasm = fs::read(dir.path("add.wasm")).expect("written");
    dir.write("add.precast", &wasm);
    std::os::unix::fs::symlink(dir.path("add.wasm"), dir.path("link")).expect("writable");
    for args in [
        &["compile", "add.wasm", "-o", "add.wasm"][..],
        &["compile", "add.wasm", "-o", "./add.wasm"],
        &["compile", "link", "-o", "add.wasm"],
        &["compile", "add.wasm", "-o", "link"],
        &["compile", "add.precast"],
    ] {
        let ran = dir.precast(args);
        assert_eq!(ran.0.status.code(), Some(2), "{args:?}");
        let (start, end) = (
            "error: the artifact `",
            format!("` and the module `{}` are", args[1]),
        );
        let text = ran.stderr();
        assert!(text.starts_with(start) && text.contains(&end), "{text}");
    }
    for name in ["add.wasm", "add.precast"] {
        assert!(fs::read(dir.path(name)).expect("there") == wasm);
    }
}

#[test]
fn directories_are_given_as_they_are_written() {
    let dir = Dir::new();
    // Opens a new file for writing in directory 3; the errno is the exit code.
    dir.artifact(
        "make",
        r#"(module
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "new")
          (func (export "_start")
            (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3)
              (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))))"#,
    );
    fs::create_dir(dir.path("d")).expect("writable");
    const ROFS: i32 = 69;
    for (given, code) in [
        ("d", 0),
        ("d::/x", 0),
        ("d::rw", 0),
        ("d::/x::rw", 0),
        // This is a name: it begins with a slash.
        ("d::/ro", 0),
        ("d::ro", ROFS),
        ("d::/x::ro", ROFS),
    ] {
        let ran = dir.precast(&["run", "--dir", given, "make.precast"]);
        assert_eq!(ran.0.status.code(), Some(code), "{given}: {}", ran.stderr());
        assert_eq!(
            fs::remove_file(dir.path("d/new")).is_ok(),
            code == 0,
            "{given}"
        );
    }
    for given in [
        "d::/x::RO",
        "d::/x::r",
        "d::/x:ro",
        "d:RW",
        "d::RO",
        "d:::ro",
        "d::ro/",
        "d::ro:",
        "d::/x:ro ",
        "d::ro\t",
        "d::ro,",
        "d::read-only",
        "d::/x::ro::rw",
        "d::/x::",
        "::/x",
        "",
    ] {
        let ran = dir.precast(&["run", "--dir", given, "make.precast"]);
        assert_eq!(ran.0.status.code(), Some(2), "{given}");
    }
}

#[test]
fn modules_are_compiled_as_asked() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    for options in [
        &["--strategy", "checked"][..],
        &["--cpu", "native"],
        &["-O0"],
        &["-O", "size"],
    ] {
        let args = [
            &["run", "--no-cache"],
            options,
            &["--invoke", "add", "add.wasm", "1", "2"],
        ];
        dir.precast(&args.concat()).is("3\n", "", 0);
    }
    dir.precast(&["compile", "-Os", "--strategy", "checked", "add.wasm"])
        .is("", "", 0);
    let shown = dir.precast(&["inspect", "add.precast"]).stdout();
    assert!(shown.contains("opt-level=size"), "{shown}");
    let compiled = [
        "run",
        "--strategy",
        "checked",
        "--invoke",
        "add",
        "add.precast",
    ];
    dir.precast(&compiled).is(
        "",
        "error: cannot run `add.precast`: it is compiled already; --strategy is for modules, and for \
         `precast compile`\n",
        1,
    );
}

#[test]
fn values_of_every_type_can_be_written() {
    let dir = Dir::new();
    dir.artifact(
        "echo",
        r#"(module (func (export "echo")
          (param i32 i64 f32 f64 v128 funcref externref)
          (result externref funcref v128 f64 f32 i64 i32)
          (local.get 6) (local.get 5) (local.get 4) (local.get 3) (local.get 2) (local.get 1)
          (local.get 0)))"#,
    );
    let values = [
        "-0x10",
        "0x7",
        "0x1.8p3",
        "-inf",
        "i64x2 1 2",
        "null",
        "some text",
    ];
    dir.precast(&[&["run", "--invoke", "echo", "echo.precast"][..], &values].concat())
        .is(
            "some text\nnull\n0x00000000000000020000000000000001\n-inf\n12\n7\n-16\n",
            "",
            0,
        );
}

#[test]
fn a_time_may_be_a_fraction() {
    let dir = Dir::new();
    dir.wasm("loop", r#"(module (func (export "_start") (loop (br 0))))"#);
    let ran = dir.precast(&["run", "--no-cache", "--timeout", "0.05s", "loop.wasm"]);
    assert_eq!(ran.0.status.code(), Some(124));
    assert!(
        ran.stderr().starts_with("error: timed out after 50ms\n"),
        "{}",
        ran.stderr()
    );
    for wrong in ["1.2.3s", "-1s", "infs", "1e3s", "s", "."] {
        let ran = dir.precast(&["run", "--timeout", wrong, "loop.wasm"]);
        assert_eq!(ran.0.status.code(), Some(2), "{wrong}");
    }
}

/// Exits with the code that it is given as the exit code of the program.
#[test]
fn a_failure_stays_one_when_only_eight_bits_are_left() {
    let dir = Dir::new();
    for (code, expected) in [
        (0, 0),
        (1, 1),
        (125, 125),
        (130, 130),
        (255, 255),
        (256, 1),
        (258, 2),
        (-1, 255),
    ] {
        dir.write(
            "exit.wat",
            format!(
                r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                  (memory (export "memory") 1)
                  (func (export "_start") (call $exit (i32.const {code}))))"#
            ),
        );
        dir.precast(&["run", "--no-cache", "exit.wat"])
            .is("", "", expected);
    }
}

#[test]
fn how_much_is_told_can_be_chosen() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let rule = ["--redirect", "x=y"];
    let with = |options: &[&str], variable: Option<&str>| {
        let args = [
            &["run"],
            options,
            &["--no-cache", "--invoke", "add"],
            &rule,
            &["add.wasm", "1", "2"],
        ];
        let mut command = dir.command(&args.concat());
        command.env_remove("PRECAST_LOG");
        if let Some(level) = variable {
            command.env("PRECAST_LOG", level);
        }
        let ran = Ran(command.output().expect("runs"));
        assert_eq!(ran.stdout(), "3\n");
        ran.stderr()
    };
    let warning = "warning: the redirection `x` -> `y` matches no import\n";
    let info = "info: compiled the module in memory\n";
    assert_eq!(with(&[], None), warning);
    assert_eq!(with(&["-q"], None), "");
    assert_eq!(with(&[], Some("off")), "");
    assert_eq!(with(&["-v"], None), format!("{info}{warning}"));
    assert_eq!(with(&[], Some("info")), format!("{info}{warning}"));
    assert_eq!(
        with(&[], Some("loud")),
        format!(
            "warning: PRECAST_LOG=loud: expected off, error, warn, info, debug or trace\n{warning}"
        )
    );
    let ran = dir.precast(&["-v", "compile", "add.wasm"]);
    assert!(
        ran.stderr()
            .starts_with("info: compiled `add.wasm` to `add.precast`: ")
    );
}

#[test]
fn errors_have_the_colours_of_usage_errors() {
    let dir = Dir::new();
    let coloured = |args: &[&str]| {
        let mut command = dir.command(args);
        command.env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR");
        Ran(command.output().expect("runs")).stderr()
    };
    let ours = coloured(&["compile", "missing.wasm"]);
    let theirs = coloured(&["compile", "--nonsense"]);
    let start = |text: &str| text[..text.find("error:").expect("an error")].to_owned();
    assert!(start(&ours).starts_with('\u{1b}'), "{ours:?}");
    assert_eq!(start(&ours), start(&theirs));
    assert!(
        !dir.precast(&["compile", "missing.wasm"])
            .stderr()
            .contains('\u{1b}')
    );
}

#[test]
fn the_file_is_an_argument_in_the_help() {
    let help = Dir::new().precast(&["run", "--help"]).stdout();
    let at = |text: &str| {
        help.find(text)
            .unwrap_or_else(|| panic!("no {text} in {help}"))
    };
    assert!(at("Arguments:") < at("The artifact or WebAssembly module"));
    assert!(at("The artifact or WebAssembly module") < at("Options:"));
    assert!(at("Options:") < at("Compilation of modules:"));
    assert!(at("Compilation of modules:") < at("Cache of compiled modules:"));
    assert!(at("--strategy") > at("Compilation of modules:"));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let dir = Dir::new();
    dir.precast(&["man", "."]).is("", "", 0);
    let pages = dir.names();
    for page in [
        "precast.1",
        "precast-run.1",
        "precast-compile.1",
        "precast-cache-pin.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "{page} of {pages:?}");
    }
    let page = fs::read_to_string(dir.path("precast-run.1")).expect("written");
    assert!(
        page.contains(".SH OPTIONS") && page.contains("max\\-memory"),
        "{page}"
    );
}

/// Without a change of its action, SIGXFSZ would end the process under `ulimit -f`.
#[test]
fn files_that_may_not_grow_are_errors() {
    let dir = Dir::new();
    let functions: String = (0..300)
        .map(|i| format!("(func (export \"f{i}\"))"))
        .collect();
    dir.wasm("many", &format!("(module {functions})"));
    // Writes 16 KiB at once to a file in directory 3; the errno is the exit code.
    dir.artifact(
        "grow",
        r#"(module
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_pwrite"
            (func $write (param i32 i32 i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "new")
          (data (i32.const 16) "\00\04\00\00\00\40\00\00")
          (func (export "_start")
            (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3)
              (i32.const 1) (i64.const 0x44) (i64.const 0) (i32.const 0) (i32.const 8)))
            (call $exit (call $write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1)
              (i64.const 4096) (i32.const 12)))))"#,
    );
    let limited = |args: &[&str]| {
        let mut command = dir.command(args);
        // SAFETY: the call is one of the few that are allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let limit = libc::rlimit {
                    rlim_cur: 4096,
                    rlim_max: 4096,
                };
                libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
                Ok(())
            });
        }
        Ran(command.output().expect("runs"))
    };
    const FBIG: i32 = 22;
    fs::create_dir(dir.path("d")).expect("writable");
    let ran = limited(&["run", "--dir", "d", "grow.precast"]);
    assert_eq!(ran.0.status.code(), Some(FBIG), "{}", ran.stderr());
    let ran = limited(&["compile", "many.wasm"]);
    assert_eq!(ran.0.status.code(), Some(1), "{}", ran.stderr());
    let expected = "error: cannot write `many.precast`\nCaused by:\n    File too large";
    assert!(ran.stderr().starts_with(expected), "{}", ran.stderr());
    assert_eq!(dir.names(), ["d", "grow.precast", "grow.wasm", "many.wasm"]);
    drop(File::open(dir.path("d/new")).expect("made"));
}
