//! A system that starts no threads.

use crate::{ADD, Dir, Ran};

/// Runs where no thread can be started: no address space has room for a stack of this size.
fn without_threads(dir: &Dir, args: &[&str]) -> Ran {
    let mut command = dir.command(args);
    command.env("RUST_MIN_STACK", (1_u64 << 60).to_string());
    Ran(command.output().expect("runs"))
}

#[test]
fn options_that_need_a_thread_say_so() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    // Nothing that the program needs is missing.
    let run = ["run", "--no-cache"];
    let add = ["--invoke", "add", "add.wasm", "1", "2"];
    without_threads(&dir, &[&run[..], &add].concat()).is("3\n", "", 0);
    for (option, value) in [("--timeout", "1h"), ("--profile-out", "profile")] {
        let args = [&run[..], &[option, value], &add].concat();
        dir.precast(&args).is("3\n", "", 0);
        let ran = without_threads(&dir, &args);
        assert_eq!(ran.0.status.code(), Some(1));
        let stderr = ran.stderr();
        assert!(
            stderr.starts_with("error: cannot run `add.wasm`\nCaused by:\n"),
            "{stderr}"
        );
        let start = format!("{option} needs a thread of its own, which the system does not start");
        assert!(stderr.contains(&start), "{stderr}");
        let remedy = format!(
            "(RLIMIT_NPROC, `ulimit -u`) or of the control group's (`pids.max`), or run without {option}\n"
        );
        assert!(stderr.contains(&remedy), "{stderr}");
        assert!(
            stderr.ends_with("Resource temporarily unavailable (os error 11)\n"),
            "{stderr}"
        );
        assert_eq!(ran.stdout(), "", "nothing has run");
    }
}
