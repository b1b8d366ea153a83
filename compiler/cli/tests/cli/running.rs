//! Programs that run while a test goes on: signals to them, and waiting for them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Waits until the program of a command runs.
pub(crate) fn started(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut run = command.stdout(Stdio::piped()).spawn().expect("runs");
    let mut stdout = BufReader::new(run.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("readable");
    assert_eq!(line, "\n");
    (run, stdout)
}

/// Sends a signal to a process that has not been waited for.
pub(crate) fn send(signal: &str, process: &Child) {
    send_times(1, signal, process);
}

/// Sends a signal several times at once.
pub(crate) fn send_times(count: usize, signal: &str, process: &Child) {
    let mut kill = Command::new("kill");
    kill.args(["-s", signal]);
    kill.args(vec![process.id().to_string(); count]);
    assert!(kill.status().expect("runs").success());
}

/// Waits until something has happened that happens soon, unless the machine does much else.
#[track_caller]
pub(crate) fn wait_until(mut has_happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !has_happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "still not");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The time that a process has computed for, in the system's hundredths of seconds.
pub(crate) fn computed(process: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    // The name, which is in parentheses, is the second field, and the time is the 14th.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let time = rest.split_whitespace().nth(11).expect("many fields");
    time.parse().expect("a number")
}
