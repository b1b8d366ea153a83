//! Makes `openat2` fail, as old kernels and some containers do.

/// Makes `openat2` fail with `ENOSYS` in this process from now on.
///
/// # Panics
/// If the system does not accept the filter.
pub fn openat2() {
    const OPENAT2: u32 = 437;
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let (load, equal, ret) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let mut program = [
        // The first field of the data is the number of the system call.
        instruction(load, 0, 0, 0),
        instruction(equal, 0, 1, OPENAT2),
        instruction(ret, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        instruction(ret, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter lives until the call returns, and only makes one system call fail.
    let taken = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ) == 0
    };
    assert!(taken, "no filter: {}", std::io::Error::last_os_error());
}
