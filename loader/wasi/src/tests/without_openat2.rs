//! Runs all tests of this crate again while the system refuses `openat2`.
//!
//! With `openat2` the kernel resolves a path beneath a directory. Without it cap-std resolves the
//! path itself, one component after the other. The call is missing before Linux 5.6, and seccomp
//! filters of older container runtimes forbid it. A guest can also make it fail, because the kernel
//! gives up when directories are renamed meanwhile. So both ways must have the same results.

use std::cell::Cell;
use std::process::Command;

/// The environment variable with the error number that `openat2` fails with in this process.
const REFUSE: &str = "PRECAST_WASI_REFUSE_OPENAT2";

/// Makes `openat2` fail in this thread from now on, if the environment variable is set.
pub(super) fn refuse_if_asked() {
    thread_local!(static DONE: Cell<bool> = const { Cell::new(false) });
    if let Ok(errno) = std::env::var(REFUSE)
        && !DONE.replace(true)
    {
        refuse(errno.parse().unwrap());
        assert_eq!(openat2(), errno.parse().unwrap());
    }
}

/// Whether `openat2` fails in this process.
pub(super) fn is_asked() -> bool {
    std::env::var_os(REFUSE).is_some()
}

/// Calls `openat2`. Returns its error number, 0 if it works.
fn openat2() -> i32 {
    let how = [0_u64; 3];
    // SAFETY: the path is a C string, and `how` is a structure of the given length with the three
    // fields flags, mode and resolve.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        )
    };
    if fd < 0 {
        return std::io::Error::last_os_error().raw_os_error().unwrap();
    }
    // SAFETY: the descriptor was just opened, and nobody else uses it.
    unsafe { libc::close(fd as i32) };
    0
}

/// The other tests share such a filter in a package of their own, which is not published. This
/// crate is, and its tests with it.
fn refuse(errno: u32) {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    // The first word of the data that a filter gets is the number of the system call.
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_openat2 as u32,
        ),
        statement(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        statement(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter points to a valid program, which the system copies.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let done = libc::syscall(libc::SYS_seccomp, mode, 0, &raw const filter);
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

fn all_tests_pass(errno: i32) {
    if is_asked() {
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .env(REFUSE, errno.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains(" 0 passed"), "{said}");
}

#[test]
fn as_on_old_systems() {
    all_tests_pass(libc::ENOSYS);
}

#[test]
fn as_under_old_container_runtimes() {
    all_tests_pass(libc::EPERM);
}
