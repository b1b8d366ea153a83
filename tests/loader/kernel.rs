//! Records the system calls of a thread, and makes some of them fail.
//!
//! The thread under test installs a seccomp filter that passes *every* system call of the thread to
//! a listener (`SECCOMP_RET_USER_NOTIF`). The thread that started it is the listener. It records
//! the call and lets it continue, or answers with an error. So no call is missed, whether libc, a
//! signal handler or a crate makes it; the code under test is the code that is shipped; and a
//! refusal looks exactly like the kernel's own. This needs Linux 5.5 and the right to install
//! filters, which every process has unless a container takes it away. The tests then fail and say
//! so.
//!
//! The system calls of the memory allocator depend on what was allocated before; see
//! [`quiet_allocator`].

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::c_long;

/// A recorded system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: c_long,
    pub(crate) args: [u64; 6],
    pub(crate) refused: bool,
}

/// Which calls fail with `ENOMEM`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    /// The numbers of the system calls that are counted.
    pub(crate) calls: &'static [c_long],
    /// The index of the first counted call that fails, from 0.
    pub(crate) from: usize,
    /// How many calls fail.
    pub(crate) count: usize,
}

/// Returns the result of a call that is not made. A negative result is an error number of the
/// kernel. This simulates states of the system that a test cannot bring about. It runs on the
/// listening thread, which can access the other thread's memory.
pub(crate) type Answer = fn(&Call) -> Option<i64>;

/// Controls the recording of the thread under test.
pub(crate) struct Kernel {
    state: Mutex<State>,
}

struct State {
    watching: bool,
    refusal: Option<Refusal>,
    answer: Option<Answer>,
    seen: usize,
    calls: Vec<Call>,
}

/// What happens with a call.
enum Verdict {
    Made,
    Refused,
    Answered(i64),
}

impl Kernel {
    /// Runs `work` on a thread of its own, whose system calls go through the listener.
    pub(crate) fn with<T: Send>(work: impl FnOnce(&Self) -> T + Send) -> T {
        let kernel = Self {
            state: Mutex::new(State {
                watching: false,
                refusal: None,
                answer: None,
                seen: 0,
                calls: Vec::with_capacity(100_000),
            }),
        };
        let (listener, number) = (AtomicI32::new(0), AtomicI32::new(0));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: no preconditions.
                number.store(unsafe { libc::gettid() }, Ordering::Relaxed);
                match filter() {
                    Ok(fd) => listener.store(fd, Ordering::Release),
                    Err(error) => {
                        listener.store(-1, Ordering::Release);
                        panic!(
                            "cannot watch system calls: seccomp: {error}; this test needs \
                             Linux 5.5 and a container that lets a thread filter itself"
                        );
                    }
                }
                work(&kernel)
            });
            let fd = loop {
                match listener.load(Ordering::Acquire) {
                    0 => std::thread::yield_now(),
                    fd => break fd,
                }
            };
            if fd >= 0 {
                // SAFETY: the descriptor was just made and belongs to nobody else.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // The thread makes calls after its work, down to that by which it ends. Without a
                // listener, that one would fail for ever.
                let number = number.load(Ordering::Relaxed);
                let task = PathBuf::from(format!("/proc/self/task/{number}"));
                kernel.listen(&fd, || !task.exists());
            }
            match thread.join() {
                Ok(result) => result,
                Err(payload) => std::panic::resume_unwind(payload),
            }
        })
    }

    /// Runs `f`, and returns its system calls.
    pub(crate) fn watch<T>(&self, f: impl FnOnce() -> T) -> (T, Vec<Call>) {
        self.run(None, None, f)
    }

    /// Like [`watch`](Self::watch), while some system calls are answered instead of made.
    pub(crate) fn answer<T>(&self, answer: Answer, f: impl FnOnce() -> T) -> (T, Vec<Call>) {
        self.run(None, Some(answer), f)
    }

    /// Like [`watch`](Self::watch), while some system calls fail.
    pub(crate) fn refuse<T>(&self, refusal: Refusal, f: impl FnOnce() -> T) -> (T, Vec<Call>) {
        self.run(Some(refusal), None, f)
    }

    fn run<T>(
        &self,
        refusal: Option<Refusal>,
        answer: Option<Answer>,
        f: impl FnOnce() -> T,
    ) -> (T, Vec<Call>) {
        self.set(true, refusal, answer);
        let result = f();
        self.set(false, None, None);
        // The vector is allocated before the lock is taken, because the allocation may make a
        // system call, and the listener needs the lock to answer it.
        let empty = Vec::with_capacity(1000);
        let calls = std::mem::replace(&mut self.state.lock().unwrap().calls, empty);
        (result, calls)
    }

    fn set(&self, watching: bool, refusal: Option<Refusal>, answer: Option<Answer>) {
        let mut state = self.state.lock().unwrap();
        (state.watching, state.refusal, state.seen) = (watching, refusal, 0);
        state.answer = answer;
    }

    /// Answers the calls of the thread until it has ended.
    fn listen(&self, listener: &OwnedFd, finished: impl Fn() -> bool) {
        use std::os::fd::AsRawFd;
        let fd = listener.as_raw_fd();
        loop {
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: the pointer is to one valid pollfd.
            unsafe { libc::poll(&mut poll, 1, 20) };
            if poll.revents & libc::POLLIN == 0 {
                if finished() || poll.revents & libc::POLLHUP != 0 {
                    return;
                }
                continue;
            }
            // SAFETY: the structure may be zeroed, and the kernel demands it.
            let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the structure may be zeroed.
            let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
            // SAFETY: each request gets a pointer to its own structure.
            unsafe {
                if libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) != 0 {
                    continue;
                }
                answer.id = call.id;
                match self.note(&call.data) {
                    // `brk` reports failure by returning the old end, not by an error.
                    Verdict::Refused if c_long::from(call.data.nr) == libc::SYS_brk => {}
                    Verdict::Refused => answer.error = -libc::ENOMEM,
                    Verdict::Answered(value) if value < 0 => answer.error = value as i32,
                    Verdict::Answered(value) => answer.val = value,
                    Verdict::Made => {
                        answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
                    }
                }
                // This fails if the thread has ended meanwhile.
                libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
            }
        }
    }

    /// Records a call, and decides what happens with it.
    fn note(&self, data: &libc::seccomp_data) -> Verdict {
        let number = c_long::from(data.nr);
        let mut state = self.state.lock().unwrap();
        if !state.watching {
            return Verdict::Made;
        }
        let mut refused = false;
        if let Some(refusal) = state.refusal
            && refusal.calls.contains(&number)
        {
            let range = refusal.from..refusal.from.saturating_add(refusal.count);
            refused = range.contains(&state.seen);
            state.seen += 1;
        }
        let call = Call {
            number,
            args: data.args,
            refused,
        };
        state.calls.push(call);
        match state.answer.and_then(|answer| answer(&call)) {
            Some(value) => Verdict::Answered(value),
            None if refused => Verdict::Refused,
            None => Verdict::Made,
        }
    }
}

/// Passes every further system call of this thread to the descriptor that is returned.
fn filter() -> std::io::Result<i32> {
    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_USER_NOTIF,
    }];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter points to a valid program, which the system copies.
    let fd = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(fd as i32)
}

/// Makes the allocator reserve `bytes`, and keeps it from returning memory to the system. After
/// that the allocator makes no system calls, unless more than this is allocated.
pub(crate) fn quiet_allocator(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls only change how the allocator requests memory.
    unsafe {
        for (option, value) in [
            (libc::M_ARENA_MAX, 1),
            (libc::M_MMAP_THRESHOLD, bytes / 2),
            (libc::M_TRIM_THRESHOLD, 2 * bytes),
            (libc::M_TOP_PAD, bytes),
        ] {
            assert_eq!(libc::mallopt(option, value), 1);
        }
    }
    drop(std::hint::black_box(vec![1_u8; bytes as usize / 4]));
}

/// The names of the calls, as strace shows them.
pub(crate) fn names(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|call| name(call.number)).collect()
}

fn name(number: c_long) -> String {
    macro_rules! known {
        ($($name:ident)*) => {
            match number {
                $(libc::$name => stringify!($name).trim_start_matches("SYS_").to_owned(),)*
                other => format!("system call {other}"),
            }
        };
    }
    known!(
        SYS_openat SYS_close SYS_mlockall SYS_clone SYS_clone3 SYS_wait4 SYS_read SYS_write SYS_pread64 SYS_lseek SYS_fcntl SYS_ioctl
        SYS_fstat SYS_newfstatat SYS_statx SYS_fadvise64 SYS_readahead SYS_memfd_create
        SYS_ftruncate SYS_fstatfs SYS_sendfile
        SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_brk
        SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_futex
        SYS_sched_getaffinity SYS_sched_yield SYS_prlimit64 SYS_getrlimit SYS_getrusage
        SYS_getpid SYS_gettid SYS_getrandom SYS_prctl SYS_exit
    )
}

/// Whether this process is emulated, so that its system calls cannot be recorded: an emulator makes
/// calls of its own and does not support filters. Prints that the test is skipped.
pub(crate) fn emulated(test: &str) -> bool {
    let emulated = std::env::var_os("PRECAST_RUNNER").is_some();
    if emulated {
        eprintln!("skipped {test}: an emulator's system calls are not the program's");
    }
    emulated
}
