//! What ends a program of `precast run` from outside: its time is over, or a signal. Its profile,
//! if there is to be one, is written before the process ends. The code may still run then: counts
//! are read while others write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::profile::Output;
use crate::{is_ignored, report};

/// Exit code after a timeout: that of timeout(1).
pub(crate) const TIMED_OUT: u8 = 124;

/// How long after a signal another one ends the process without a profile.
const BETWEEN_SIGNALS: Duration = Duration::from_secs(1);

/// What ends a program from outside.
pub(crate) struct Ending {
    output: Option<Output>,
    /// Whether the program has ended by itself, so that only its profile is to be written.
    has_ended: Arc<AtomicBool>,
}

impl Ending {
    pub(crate) fn new(output: Option<Output>) -> Self {
        Self {
            output,
            has_ended: Arc::default(),
        }
    }

    /// The program has ended by itself: its time does not count any longer.
    pub(crate) fn has_come(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Lets SIGINT and SIGTERM end the process only after its profile is written, if there is to be
    /// one. A second signal that comes later than [`BETWEEN_SIGNALS`] ends the process at once:
    /// timeout(1) sends its signal to the process, and again to all of the process's group. A
    /// signal that is ignored, as SIGINT is in background jobs of scripts, stays ignored.
    ///
    /// # Errors
    /// The system takes no handler of signals, or starts no thread that waits for them.
    pub(crate) fn at_signals(&self) -> Result<()> {
        let Some(output) = self.output.clone() else {
            return Ok(());
        };
        let signals = [SIGINT, SIGTERM].into_iter();
        let signals: Vec<i32> = signals.filter(|signal| !is_ignored(*signal)).collect();
        let ends_at_once = Arc::new(AtomicBool::new(false));
        for signal in &signals {
            flag::register_conditional_default(*signal, ends_at_once.clone())?;
        }
        let mut signals = Signals::new(signals)?;
        start_thread("--profile-out", move || {
            for signal in signals.forever() {
                let flag = ends_at_once.clone();
                let timer = Builder::new().spawn(move || {
                    std::thread::sleep(BETWEEN_SIGNALS);
                    flag.store(true, Ordering::Release);
                });
                // The guest may have used up all threads.
                if timer.is_err() {
                    ends_at_once.store(true, Ordering::Release);
                }
                if let Err(error) = output.write() {
                    report(&error);
                }
                // The process ends as if there were no handler, which the parent sees.
                if let Err(error) = emulate_default_handler(signal) {
                    report(&error.into());
                }
            }
        })
    }

    /// Ends the program when its time is over. A guest may wait where it cannot be woken, for
    /// example for a disk, and linking a large module takes a while. Therefore the process exits
    /// after a grace period.
    ///
    /// # Errors
    /// The system starts no thread that waits for the end of the time.
    pub(crate) fn after(
        &self,
        timeout: Duration,
        stop: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        const GRACE: Duration = Duration::from_millis(500);
        let (output, has_ended) = (self.output.clone(), self.has_ended.clone());
        start_thread("--timeout", move || {
            std::thread::sleep(timeout);
            stop();
            std::thread::sleep(GRACE);
            if has_ended.load(Ordering::Acquire) {
                return;
            }
            if let Some(Err(error)) = output.map(|output| output.write()) {
                report(&error);
            }
            let why = "the program is still being linked, or waits for the system";
            report(&anyhow!(timed_out(Some(timeout))).context(why));
            std::process::exit(TIMED_OUT.into());
        })
    }
}

/// Starts the thread that an option needs besides the program's.
fn start_thread(option: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    Builder::new().spawn(run).map(drop).with_context(|| {
        format!(
            "{option} needs a thread of its own, which the system does not start: raise the limit \
             of the user's threads (RLIMIT_NPROC, `ulimit -u`) or of the control group's \
             (`pids.max`), or run without {option}"
        )
    })
}

pub(crate) fn timed_out(timeout: Option<Duration>) -> String {
    format!("timed out after {:?}", timeout.unwrap_or_default())
}
