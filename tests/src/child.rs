//! Test cases that need a process of their own: the test binary is started again for one case.

use std::ffi::OsStr;
use std::process::{Command, Output};

const CASE: &str = "PRECAST_CHILD_CASE";

/// Runs the test of this name again in a child process, in which [`case`] returns `case`.
///
/// # Panics
/// If the child process cannot be started.
pub fn in_child(test: &str, case: &str) -> Output {
    in_child_with(test, case, |_| {})
}

/// Like [`in_child`], in a child process that `prepare` can change before it starts.
///
/// # Panics
/// If the child process cannot be started.
pub fn in_child_with(test: &str, case: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let exe = std::env::current_exe().expect("a running program");
    // Under emulation the system cannot start this program by itself.
    let runner = std::env::var("PRECAST_RUNNER").unwrap_or_default();
    let mut words = runner
        .split_whitespace()
        .map(OsStr::new)
        .chain([exe.as_os_str()]);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words);
    command
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CASE, case);
    prepare(&mut command);
    command.output().expect("the child process starts")
}

/// Like [`in_child`], and checks that the child process succeeds.
///
/// # Panics
/// If the child process fails, with its output.
pub fn passes_in_child(test: &str, case: &str) {
    passes_in_child_with(test, case, |_| {});
}

/// Like [`passes_in_child`], in a child process that `prepare` can change before it starts.
///
/// # Panics
/// If the child process fails, with its output.
pub fn passes_in_child_with(test: &str, case: &str, prepare: impl FnOnce(&mut Command)) {
    let output = in_child_with(test, case, prepare);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{test}, {case}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// The case that this process was started for, if it is a child process.
pub fn case() -> Option<String> {
    std::env::var(CASE).ok()
}
