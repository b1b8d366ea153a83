//! A watchdog for tests that could hang. It prints the stacks of all threads and ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Prints the stacks of all threads and ends the process if nothing happens for too long.
#[derive(Debug)]
pub struct Watchdog {
    steps: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watchdog {
    /// Starts a watchdog. Until it is dropped, [`step`](Self::step) must be called at least once in
    /// each period of `patience`.
    pub fn new(patience: Duration) -> Self {
        let this = Self {
            steps: Arc::default(),
            over: Arc::default(),
        };
        let (steps, over) = (Arc::clone(&this.steps), Arc::clone(&this.over));
        std::thread::spawn(move || {
            const PIECES: u32 = 20;
            let mut quiet = 0;
            let mut last = 0;
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(patience / PIECES);
                let now = steps.load(Ordering::Relaxed);
                quiet = if now == last { quiet + 1 } else { 0 };
                last = now;
                if quiet > PIECES && !over.load(Ordering::Relaxed) {
                    eprintln!("nothing happened for {patience:?}, after {now} steps");
                    print_stacks();
                    std::process::abort();
                }
            }
        });
        this
    }

    /// Tells the watchdog that something has happened.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Prints the stack of this thread. That is not safe in a signal handler, but the process ends
/// anyway.
extern "C" fn print_stack(_: libc::c_int) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("?").to_owned();
    eprintln!("--- {name}\n{}", std::backtrace::Backtrace::force_capture());
}

fn print_stacks() {
    let handler: extern "C" fn(libc::c_int) = print_stack;
    // SAFETY: the handler has the right type, and nothing else in the tests uses the signal.
    unsafe { libc::signal(libc::SIGUSR2, handler as libc::sighandler_t) };
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return;
    };
    for task in tasks.flatten() {
        let id = task.file_name().to_string_lossy().parse::<libc::pid_t>();
        if let Ok(id) = id {
            // SAFETY: the call takes no pointers.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, libc::SIGUSR2) };
            // The threads print one after the other, so that the stacks are readable.
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}
