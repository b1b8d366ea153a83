//! A thread whose system calls are seen, and refused at will.
//!
//! The thread under test installs a seccomp filter that hands *every* system call of its own to a
//! listener (`SECCOMP_RET_USER_NOTIF`); the thread that started it listens. It writes the call down
//! and lets it go on, or answers with an error instead. So nothing is missed, whoever makes the call
//! (libc, a signal handler, a crate), the code under test is what is shipped, and a refusal looks
//! exactly as the kernel's own would. Needs Linux 5.5 and the right to install filters, which every
//! process has unless a container takes it away: then the tests fail and say so.
//!
//! Calls of the memory allocator would depend on what it did before: [`quiet_allocator`].

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::c_long;

/// A system call: its number and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: c_long,
    pub(crate) args: [u64; 6],
    pub(crate) refused: bool,
}

/// Which calls fail with ENOMEM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    /// Numbers of the system calls that are counted.
    pub(crate) calls: &'static [c_long],
    /// The first of them that fails, from 0.
    pub(crate) from: usize,
    /// How many fail.
    pub(crate) count: usize,
}

/// What some calls give without being made, for states of the system that a test cannot bring about;
/// below zero it is an error, as the kernel has it.
/// Runs on the listening thread, with the other one's memory in reach.
pub(crate) type Answer = fn(&Call) -> Option<i64>;

/// What the thread under test talks to.
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

/// What becomes of a call.
enum Verdict {
    Made,
    Refused,
    Answered(i64),
}

impl Kernel {
    /// Runs `work` on a thread of its own, whose system calls go through a [`Kernel`].
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
        let listener = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
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
                kernel.listen(&fd, || thread.is_finished());
            }
            match thread.join() {
                Ok(result) => result,
                Err(payload) => std::panic::resume_unwind(payload),
            }
        })
    }

    /// Runs `f`; its system calls.
    pub(crate) fn watch<T>(&self, f: impl FnOnce() -> T) -> (T, Vec<Call>) {
        self.run(None, None, f)
    }

    /// [`watch`](Self::watch), while some system calls are answered instead of made.
    pub(crate) fn answer<T>(&self, answer: Answer, f: impl FnOnce() -> T) -> (T, Vec<Call>) {
        self.run(None, Some(answer), f)
    }

    /// Runs `f`, while some of its system calls fail.
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
        // Allocated before the lock is taken: the listener needs the lock to answer.
        let empty = Vec::with_capacity(1000);
        let calls = std::mem::replace(&mut self.state.lock().unwrap().calls, empty);
        (result, calls)
    }

    fn set(&self, watching: bool, refusal: Option<Refusal>, answer: Option<Answer>) {
        let mut state = self.state.lock().unwrap();
        (state.watching, state.refusal, state.seen) = (watching, refusal, 0);
        state.answer = answer;
    }

    /// Answers until the thread is gone.
    fn listen(&self, listener: &OwnedFd, finished: impl Fn() -> bool) {
        use std::os::fd::AsRawFd;
        let fd = listener.as_raw_fd();
        loop {
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid pollfd.
            unsafe { libc::poll(&mut poll, 1, 20) };
            if poll.revents & libc::POLLIN == 0 {
                if finished() || poll.revents & libc::POLLHUP != 0 {
                    return;
                }
                continue;
            }
            // SAFETY: zero is valid for both; the kernel asks for a zeroed one.
            let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: as above.
            let mut answer: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
            // SAFETY: the listener's own requests with the structures that they are for.
            unsafe {
                if libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) != 0 {
                    continue;
                }
                answer.id = call.id;
                match self.note(&call.data) {
                    // This one does not fail with an error but by giving an end that is too low.
                    Verdict::Refused if c_long::from(call.data.nr) == libc::SYS_brk => {}
                    Verdict::Refused => answer.error = -libc::ENOMEM,
                    Verdict::Answered(value) if value < 0 => answer.error = value as i32,
                    Verdict::Answered(value) => answer.val = value,
                    Verdict::Made => {
                        answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
                    }
                }
                // Fails if the thread is gone meanwhile.
                libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
            }
        }
    }

    /// Writes a call down; what becomes of it.
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

/// Hands every further system call of this thread to the descriptor that is returned.
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
    // SAFETY: a valid filter program; it is copied.
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

/// Gives the allocator `bytes`, all that it will need, and forbids it to give anything back, so that
/// the system calls to come are not its own; unless more than that is allocated at once.
pub(crate) fn quiet_allocator(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: only sets how the allocator asks for memory.
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

/// Names of the calls, as strace would show them.
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
        SYS_ftruncate SYS_fstatfs SYS_sendfile SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_brk
        SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_futex
        SYS_sched_getaffinity SYS_sched_yield SYS_prlimit64 SYS_getrlimit SYS_getrusage
        SYS_getpid SYS_gettid SYS_getrandom SYS_prctl SYS_exit
    )
}

/// Whether system calls can be watched here; says so if not. An emulator makes calls of its own,
/// and passes none of this on.
pub(crate) fn emulated(test: &str) -> bool {
    let emulated = std::env::var_os("PRECAST_RUNNER").is_some();
    if emulated {
        eprintln!("skipped {test}: an emulator's system calls are not the program's");
    }
    emulated
}
