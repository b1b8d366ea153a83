//! Children by `fork`.

use std::time::{Duration, Instant};

/// Makes a child process, which ends with whether `work` returns `true`, and returns the same. With
/// `flags`, it is in namespaces of its own. `None` if the system refuses that.
///
/// No other thread of this process may hold a lock that `work` needs, as in a process that
/// [`child`](crate::child) has started for one case. Threads that are just starting or ending do
/// hold such locks, so the child is made when all other threads sleep.
///
/// # Panics
/// If the child does not end within 20 seconds.
pub fn child_process(flags: libc::c_int, work: impl FnOnce() -> bool) -> Option<bool> {
    wait_until_others_sleep();
    let with = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: no other thread of this process holds a lock that the child needs. Without a stack of
    // its own, a child by `clone` goes on like one by `fork`.
    let pid = unsafe {
        match flags {
            0 => libc::fork().into(),
            _ => libc::syscall(libc::SYS_clone, with, 0_usize, 0_usize, 0_usize, 0_usize),
        }
    };
    if pid == 0 {
        let code = i32::from(!work());
        // SAFETY: the call ends the process.
        unsafe { libc::_exit(code) };
    }
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let mut status = 0;
    let end = Instant::now() + Duration::from_secs(20);
    // SAFETY: `pid` is a child of this process, and the call only writes to a local variable.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > end {
            // SAFETY: `pid` is a child of this process that has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(status == 0)
}

/// Waits until every other thread of this process has slept for a millisecond.
///
/// # Panics
/// If one of them runs for 20 seconds.
fn wait_until_others_sleep() {
    let end = Instant::now() + Duration::from_secs(20);
    let mut asleep = 0;
    while asleep < 2 {
        assert!(Instant::now() < end, "another thread goes on running");
        asleep = if others_sleep() { asleep + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether no thread but this one runs. (The numbers of the threads would not tell which is this
/// one: in a namespace a process has other numbers than `/proc` shows.)
fn others_sleep() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a process has tasks");
    // The state follows the name, which is in parentheses. A thread that has ended has no file.
    let running = tasks
        .flatten()
        .flat_map(|task| std::fs::read_to_string(task.path().join("stat")))
        .filter(|stat| {
            !stat
                .rsplit_once(')')
                .is_some_and(|(_, rest)| rest.starts_with(" S"))
        });
    running.count() <= 1
}
