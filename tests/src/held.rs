//! What the system says of this process and thread.

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
