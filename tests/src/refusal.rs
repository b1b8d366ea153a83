//! A system that refuses system calls.

/// Makes these system calls fail from now on, in this thread and in threads that it starts.
///
/// # Panics
/// If the system knows no filters of system calls.
pub fn refuse(calls: &[libc::c_long], errno: i32) {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The first word of the data that a filter sees is the number of the system call.
    let mut program = vec![statement(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        0,
    )];
    for call in calls {
        let jump_if_equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(statement(jump_if_equal, 0, 1, *call as u32));
        let refusal = libc::SECCOMP_RET_ERRNO | errno as u32;
        program.push(statement(libc::BPF_RET, 0, 0, refusal));
    }
    program.push(statement(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: this is a valid filter program, which the system copies.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let done = libc::syscall(libc::SYS_seccomp, mode, 0, &raw const filter);
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}
