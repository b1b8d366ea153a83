//! Profiles: made by `run --profile-out`, used by `--profile`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use precast_artifact::Profile;

use crate::running::{computed, send, send_times, started, wait_until};
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
        let profile = Profile::decode(&bytes).expect("a profile");
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

/// A program that puts a symbolic link to `../outside/new` in the place of `prof`, and exits with
/// the error number of that call.
const LINKER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "../outside/newprof")
    (func (export "_start")
        (drop (call $unlink (i32.const 3) (i32.const 14) (i32.const 4)))
        (call $exit (call $symlink
            (i32.const 0) (i32.const 14) (i32.const 3) (i32.const 14) (i32.const 4)))))"#;

#[test]
fn a_guest_does_not_choose_where_its_profile_goes() {
    /// `EROFS` of the snapshot, the error for changing a protected name.
    const KEPT: i32 = 69;
    let dir = Dir::new();
    for name in ["in", "in/sub", "outside"] {
        fs::create_dir(dir.path(name)).expect("writable");
    }
    dir.wasm("linker", LINKER);
    let run = |out: &str, granted: &str| {
        let start = ["run", "--no-cache", "--profile-out", out, "--dir", granted];
        dir.precast(&[&start[..], &["linker.wasm"]].concat())
    };
    let here = dir.0.path().canonicalize().expect("there");
    let is_profile = |name: &str| {
        let bytes = fs::read(dir.path(name)).expect("written");
        Profile::decode(&bytes).is_ok()
    };
    // The file does not exist yet, then it does.
    for _ in 0..2 {
        run("in/prof", "in").is("", "", KEPT);
        assert!(is_profile("in/prof") && !dir.path("in/prof").is_symlink());
    }
    // The guest's directory is below another one.
    run("in/sub/prof", "in/sub").is("", "", KEPT);
    // A pipe is not replaced either.
    fs::remove_file(dir.path("in/prof")).expect("there");
    let ran = dir.bash(
        "mkfifo in/prof; cat in/prof > got & \
         precast run --no-cache --profile-out in/prof --dir in linker.wasm; code=$?; wait; exit $code",
    );
    ran.is("", "", KEPT);
    assert!(is_profile("got") && !dir.path("in/prof").is_symlink());
    fs::remove_file(dir.path("in/prof")).expect("there");
    // A link that no guest can have made is followed.
    symlink("in", dir.path("to")).expect("writable");
    run("to/prof", "to").is("", "", KEPT);
    // What an earlier guest has made leads nowhere.
    fs::remove_file(dir.path("in/prof")).expect("there");
    dir.precast(&["run", "--no-cache", "--dir", "in", "linker.wasm"])
        .is("", "", 0);
    symlink("../../outside", dir.path("in/sub/up")).expect("writable");
    for (out, link) in [
        ("in/prof", "in/prof"),
        ("in/sub/up/new", "in/sub/up"),
        ("in/sub/../sub/up/new", "in/sub/up"),
        ("to/sub/up/new", "in/sub/up"),
    ] {
        let expected = format!(
            "error: cannot run `linker.wasm`\nCaused by:\n    cannot write `{out}`\n    the guest \
             may write to a directory that leads to this file, and `{}` is a symbolic link, which a \
             guest may have made: give a path without this link, or a file that the guest cannot \
             reach\n",
            here.join(link).display()
        );
        run(out, "in").is("", &expected, 1);
    }
    assert_eq!(
        fs::read_dir(dir.path("outside")).expect("there").count(),
        0,
        "nothing was written there"
    );
    // A guest that cannot write to the directory is no danger, and links are followed.
    run("in/prof", "in::in::ro").is("", "", KEPT);
    run("in/sub/up/other", "in::in::ro").is("", "", KEPT);
    assert!(is_profile("outside/new") && is_profile("outside/other"));
}

#[test]
fn only_a_file_has_an_old_profile() {
    let dir = Dir::new();
    dir.wasm("add", "(module (func (export \"f\")))");
    dir.write("-", "not a profile");
    dir.write("empty", "");
    let run = "precast run --no-cache --invoke f --profile-out";
    let ran = dir.bash(&format!(
        "{run} - add.wasm > a </dev/full && {run} /dev/stdout add.wasm > b && {run} empty add.wasm \
         && {run} /dev/fd/3 add.wasm 3> c"
    ));
    ran.is("", "", 0);
    let expected = fs::read(dir.path("a")).expect("written");
    assert!(Profile::decode(&expected).is_ok());
    for name in ["b", "c", "empty"] {
        assert!(
            fs::read(dir.path(name)).expect("written") == expected,
            "{name}"
        );
    }
    assert_eq!(fs::read(dir.path("-")).expect("there"), b"not a profile");
    // A directory, and a directory that does not exist, are refused before anything runs.
    for (out, cause) in [
        (".", ": it is a directory"),
        (
            "missing/prof",
            "\n    No such file or directory (os error 2)",
        ),
        ("add.wasm/prof", "\n    Not a directory (os error 20)"),
    ] {
        let ran = dir.precast(&["run", "--profile-out", out, "add.wasm"]);
        let expected =
            format!("error: cannot run `add.wasm`\nCaused by:\n    cannot write `{out}`{cause}\n");
        ran.is("", &expected, 1);
    }
}

/// A program that prints a line, then puts a symbolic link in the place of every file of its
/// directory that has another name than those that it is protected from, again and again.
const RACER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir"
        (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\01\00\00\00\n")
    (data (i32.const 32) "../outside")
    (func $replace (param $name i32) (param $len i32)
        ;; Opening with the right to write and `TRUNC` would empty the file.
        (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (local.get $name) (local.get $len)
                (i32.const 8) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16)))
            (then (drop (call $close (i32.load (i32.const 16))))))
        (drop (call $unlink (i32.const 3) (local.get $name) (local.get $len)))
        (drop (call $symlink (i32.const 32) (i32.const 10) (i32.const 3)
            (local.get $name) (local.get $len))))
    (func (export "_start") (local $at i32) (local $end i32) (local $name i32) (local $len i32)
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (loop $again
            (drop (call $readdir (i32.const 3) (i32.const 1024) (i32.const 60000) (i64.const 0)
                (i32.const 20)))
            (local.set $at (i32.const 1024))
            (local.set $end (i32.add (i32.const 1024) (i32.load (i32.const 20))))
            (loop $entries
                (local.set $name (i32.add (local.get $at) (i32.const 24)))
                (if (i32.lt_u (local.get $name) (local.get $end)) (then
                    (local.set $len (i32.load offset=16 (local.get $at)))
                    ;; `.` and `..` are left alone.
                    (if (i32.gt_u (local.get $len) (i32.const 2))
                        (then (call $replace (local.get $name) (local.get $len))))
                    (local.set $at (i32.add (local.get $name) (local.get $len)))
                    (br $entries))))
            (br $again))))"#;

#[test]
fn a_guest_that_still_runs_does_not_choose_either() {
    let dir = Dir::new();
    for name in ["in", "outside"] {
        fs::create_dir(dir.path(name)).expect("writable");
    }
    dir.wasm("racer", RACER);
    dir.write("in/other", "");
    let run = [
        "run",
        "--dir",
        "in",
        "--profile-out",
        "in/prof",
        "racer.wasm",
    ];
    for _ in 0..5 {
        let (mut process, _stdout) = started(dir.command(&run));
        wait_until(|| !dir.path("in/other").is_file());
        std::thread::sleep(Duration::from_millis(50));
        send("TERM", &process);
        assert_eq!(process.wait().expect("a child").signal(), Some(15));
        // The process may have ended between removing a file and making the link.
        assert!(!dir.path("in/other").is_file(), "the program does nothing");
        assert!(!dir.path("in/prof").is_symlink());
        let profile = Profile::decode(&fs::read(dir.path("in/prof")).expect("written"));
        assert!(profile.is_ok());
        let names = fs::read_dir(dir.path("in")).expect("there");
        let names = names.map(|entry| entry.expect("readable").file_name());
        let names: Vec<_> = names.filter(|name| name != "other").collect();
        assert_eq!(names, ["prof"], "nothing is left beside");
    }
}

#[test]
fn a_lock_that_another_process_keeps_does_not_hold_up_a_run_for_ever() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let lock = File::open(dir.0.path()).expect("there");
    lock.lock().expect("nobody else has it");
    let invoke = ["--invoke", "add", "add.wasm", "1", "2"];
    let run = ["run", "--no-cache", "--profile-out", "prof"];
    // The program ends before its time is over, which is shorter than the wait for the lock.
    let ran = dir.precast(&[&run[..], &["--timeout", "8s"], &invoke].concat());
    ran.is(
        "3\n",
        "warning: cannot lock the directory of `prof`: another process has kept it locked for 10s: \
         if another run adds to the file at this moment, what one of them has counted is lost\n",
        0,
    );
    assert!(dir.path("prof").exists());
}

#[test]
fn runs_at_the_same_time_add_up_whatever_names_they_use() {
    const RUNS: usize = 6;
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let total = |name: &str| -> u64 {
        let profile = Profile::decode(&fs::read(dir.path(name)).expect("written"));
        let profile = profile.expect("a profile");
        profile.counts().iter().map(|(_, count)| *count).sum()
    };
    let invoke = ["--invoke", "add", "add.wasm", "1", "2"];
    let run =
        |out| dir.command(&[&["run", "--profile-out", out, "--no-cache"][..], &invoke].concat());
    run("once").output().expect("runs");
    for name in ["a", "b"] {
        fs::create_dir(dir.path(name)).expect("writable");
        symlink("../prof", dir.path(name).join("p")).expect("writable");
    }
    // While this lock is held, no run can write its profile.
    let lock = File::open(dir.0.path()).expect("there");
    lock.lock().expect("nobody else has it");
    let start = |out| {
        let mut command = run(out);
        command.stdout(Stdio::piped()).spawn().expect("runs")
    };
    let runs: Vec<_> = (0..RUNS).map(|i| start(["a/p", "b/p"][i % 2])).collect();
    std::thread::sleep(Duration::from_secs(1));
    assert!(
        !dir.path("prof").exists(),
        "a run has not waited for the lock"
    );
    lock.unlock().expect("locked");
    for run in runs {
        let output = run.wait_with_output().expect("runs");
        assert_eq!(output.status.code(), Some(0));
    }
    assert_eq!(total("prof"), RUNS as u64 * total("once"));
}

/// A program that prints a line, then runs for ever.
const FOREVER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\01\00\00\00\n")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (loop $l (br $l))))"#;

#[test]
fn a_signal_ends_a_program_after_its_profile_is_written() {
    let dir = Dir::new();
    dir.wasm("forever", FOREVER);
    let run = |out| dir.command(&["run", "--no-cache", "--profile-out", out, "forever.wasm"]);
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let (mut process, _stdout) = started(run(signal));
        let before = computed(&process);
        wait_until(|| computed(&process) > before + 10);
        send(signal, &process);
        let status = process.wait().expect("a child");
        assert_eq!(status.signal(), Some(number));
        let profile = Profile::decode(&fs::read(dir.path(signal)).expect("written"));
        let profile = profile.expect("a profile");
        let max = profile.counts().iter().map(|(_, count)| *count).max();
        assert!(max > Some(1000), "{max:?}");
    }
    // As a parent wants it that ignores the signal.
    let mut bash = Command::new("bash");
    bash.args(["-c", "trap '' INT; exec \"$@\"", "-"]);
    bash.arg(run("none").get_program())
        .args(run("none").get_args());
    bash.current_dir(dir.0.path());
    let (mut process, _stdout) = started(bash);
    send("INT", &process);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(process.try_wait().expect("a child"), None, "it was ended");
    send("TERM", &process);
    assert_eq!(process.wait().expect("a child").signal(), Some(15));
}

#[test]
fn a_second_signal_ends_a_program_whose_profile_cannot_be_written() {
    let dir = Dir::new();
    dir.wasm("forever", FOREVER);
    // Writing waits for a reader of the pipe.
    dir.bash("mkfifo pipe").is("", "", 0);
    let run = ["run", "--no-cache", "--profile-out", "pipe", "forever.wasm"];
    let (mut process, _stdout) = started(dir.command(&run));
    // timeout(1) sends its signal twice at once, so that does not count as a second one.
    send_times(2, "TERM", &process);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(process.try_wait().expect("a child"), None, "it waits");
    // A busy machine may deliver the first signal late, and then this is not the second one either.
    let mut ended = None;
    wait_until(|| {
        send("TERM", &process);
        std::thread::sleep(Duration::from_millis(200));
        ended = process.try_wait().expect("a child");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.signal()), Some(15));
}

/// Guests of other processes may change names meanwhile.
#[test]
fn a_profile_goes_where_its_path_led_before_the_program_ran() {
    let dir = Dir::new();
    dir.wasm("forever", FOREVER);
    let end = |out: &str, change: &dyn Fn()| {
        let run = ["run", "--no-cache", "--profile-out", out, "forever.wasm"];
        let mut command = dir.command(&run);
        command.stderr(Stdio::piped());
        let (process, _stdout) = started(command);
        change();
        send("TERM", &process);
        let output = process.wait_with_output().expect("a child");
        assert_eq!(output.status.signal(), Some(15));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let refused = |what| {
        format!(
            "error: cannot {what}\nCaused by:\n    something else has been put in its place since \
             the start\n"
        )
    };
    for name in ["in", "outside"] {
        fs::create_dir(dir.path(name)).expect("writable");
    }
    // Another directory takes the place of the one that the path led to.
    let error = end("in/prof", &|| {
        fs::rename(dir.path("in"), dir.path("away")).expect("writable");
        symlink("outside", dir.path("in")).expect("writable");
    });
    assert_eq!(error, "");
    let profile = fs::read(dir.path("away/prof")).expect("written");
    assert!(Profile::decode(&profile).is_ok());
    let count = |name: &str| fs::read_dir(dir.path(name)).expect("there").count();
    assert_eq!((count("away"), count("outside")), (1, 0));
    // A link takes the place of the file: what it leads to is neither added nor written to.
    dir.write("away/other", &profile);
    let error = end("away/prof", &|| {
        fs::remove_file(dir.path("away/prof")).expect("there");
        symlink("other", dir.path("away/prof")).expect("writable");
    });
    assert_eq!(error, refused("read `away/prof`"));
    assert!(dir.path("away/prof").is_symlink());
    assert!(fs::read(dir.path("away/other")).expect("there") == profile);
    // A link takes the place of a pipe.
    dir.bash("mkfifo pipe").is("", "", 0);
    let error = end("pipe", &|| {
        fs::remove_file(dir.path("pipe")).expect("there");
        symlink("away/other", dir.path("pipe")).expect("writable");
    });
    assert_eq!(error, refused("write `pipe`"));
    assert!(fs::read(dir.path("away/other")).expect("there") == profile);
}

/// A program that opens a file until it gets no more descriptors, prints a line, and then runs for
/// ever.
const HOARDER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\01\00\00\00\n")
    (data (i32.const 32) "file")
    (func (export "_start")
        (loop $again
            (br_if $again (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 32)
                (i32.const 4) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0)
                (i32.const 16)))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (loop $l (br $l))))"#;

#[test]
fn a_program_that_uses_up_the_descriptors_has_a_profile() {
    let dir = Dir::new();
    dir.wasm("hoarder", HOARDER);
    fs::create_dir(dir.path("in")).expect("writable");
    dir.write("in/file", "");
    // A new profile, and one that is added to.
    for _ in 0..2 {
        let run = "run --no-cache --profile-out prof --dir in hoarder.wasm";
        let precast = dir.command(&run.split(' ').collect::<Vec<_>>());
        let mut bash = Command::new("bash");
        bash.args(["-c", "ulimit -n 64; exec \"$@\"", "-"]);
        bash.arg(precast.get_program()).args(precast.get_args());
        bash.current_dir(dir.0.path()).stderr(Stdio::piped());
        let (process, _stdout) = started(bash);
        send("TERM", &process);
        let output = process.wait_with_output().expect("a child");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.signal(), Some(15));
        let profile = Profile::decode(&fs::read(dir.path("prof")).expect("written"));
        let profile = profile.expect("a profile");
        assert!(profile.counts().iter().any(|(_, count)| *count > 1));
    }
}
