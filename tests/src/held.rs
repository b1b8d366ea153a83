//! What the system says of this process and thread.

use std::time::Duration;

/// The number of mappings of this process.
pub fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a system with /proc");
    maps.lines().count()
}

/// The number of minor page faults of this thread.
pub fn faults() -> i64 {
    // SAFETY: an rusage may be zeroed, and the call only writes to it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_minflt
    }
}

/// The time that this thread has computed for. Other work of the machine does not count.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call only writes to a local variable.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0, "a system with clocks of threads");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Waits until a thread of this process sleeps, at each of a few looks.
pub fn wait_until_asleep(thread: libc::pid_t) {
    let mut asleep = 0;
    while asleep < 4 {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
        // The state follows the name, which is in parentheses.
        let stat = stat.expect("the thread is there");
        let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
        asleep = if rest.starts_with(" S") {
            asleep + 1
        } else {
            0
        };
        std::thread::sleep(Duration::from_millis(10));
    }
}
