//! Cases that need a process of their own: this test binary, started again for the one case.

use std::ffi::OsStr;
use std::process::{Command, Output};

const CASE: &str = "PRECAST_CHILD_CASE";

/// Runs the test of this name again, in a process where [`case`] is `case`, on its main thread.
pub(crate) fn in_child(test: &str, case: &str) -> Output {
    in_child_with(test, case, |_| {})
}

/// [`in_child`], of a process that `prepare` has changed.
pub(crate) fn in_child_with(test: &str, case: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let exe = std::env::current_exe().unwrap();
    // Under emulation the system cannot start this program by itself.
    let runner = std::env::var("PRECAST_RUNNER").unwrap_or_default();
    let mut words = runner
        .split_whitespace()
        .map(OsStr::new)
        .chain([exe.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CASE, case);
    prepare(&mut command);
    command.output().unwrap()
}

/// [`in_child`], whose success is expected; what it said is shown if not.
pub(crate) fn passes_in_child(test: &str, case: &str) {
    passes_in_child_with(test, case, |_| {});
}

/// [`passes_in_child`], of a process that `prepare` has changed.
pub(crate) fn passes_in_child_with(test: &str, case: &str, prepare: impl FnOnce(&mut Command)) {
    let output = in_child_with(test, case, prepare);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{test}, {case}: {}\n{}{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
}

/// The case that this process was started for.
pub(crate) fn case() -> Option<String> {
    std::env::var(CASE).ok()
}
