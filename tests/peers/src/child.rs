//! Runs a command to its end and measures it with `wait4`: the wall time, the user and system time
//! of all its threads, and its largest resident set.
//!
//! The kernel keeps the maximal resident set across `exec`, so that a child's is never reported
//! below that of its parent. Therefore the parent process of a benchmark must stay small and leave
//! the work to children.

use std::io::{Error, ErrorKind, Result};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The cost of one run of a command.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The time from before the process is created until it has been waited for.
    pub wall: Duration,
    /// The user and system time of all threads.
    pub cpu: Duration,
    /// The largest resident set in bytes.
    pub peak_rss: u64,
}

/// Runs `command` without input and standard output. Any exit code except 0 is an error.
pub fn measure(command: &mut Command) -> Result<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let child = command.spawn().map_err(|error| {
        Error::new(
            error.kind(),
            format!("cannot start {}: {error}", command.get_program().display()),
        )
    })?;
    let pid = child.id().cast_signed();
    let mut status = 0;
    // SAFETY: a `rusage` consists of integers and may be zeroed.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals. No other code waits for the child `pid`:
        // `child` is not used again, and dropping it does not wait.
        if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } == pid {
            break;
        }
        let error = Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let wall = start.elapsed();
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        let how = if libc::WIFEXITED(status) {
            format!("exit code {}", libc::WEXITSTATUS(status))
        } else {
            format!("signal {}", libc::WTERMSIG(status))
        };
        return Err(Error::other(format!(
            "{command:?} ended with {how}, expected exit code 0"
        )));
    }
    Ok(Cost {
        wall,
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024, // The kernel counts in KiB.
    })
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_and_memory_of_a_child_are_counted() {
        let script = "x=$(head -c 40000000 /dev/zero | tr '\\0' a); i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let busy = measure(Command::new("sh").args(["-c", script])).unwrap();
        let idle = measure(Command::new("sleep").arg("0.05")).unwrap();
        assert!(idle.wall >= Duration::from_millis(50) && idle.cpu < Duration::from_millis(50));
        assert!(busy.cpu > idle.cpu);
        assert!(busy.peak_rss > 40_000_000, "{busy:?}");
    }

    #[test]
    fn a_failing_command_is_an_error() {
        let error = measure(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(error.to_string().contains("exit code 3"), "{error}");
        assert!(measure(&mut Command::new("/no/such/program")).is_err());
    }
}
