//! A progress bar on standard error, for compilations that take long enough to wonder.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Before this nothing is shown.
const PATIENCE: Duration = Duration::from_millis(700);

/// Progress of one compilation. Shows nothing unless standard error is a terminal.
pub(crate) struct Progress {
    start: Instant,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            bar: Mutex::new(None),
        }
    }

    /// Called by any thread.
    pub(crate) fn functions(&self, done: usize, total: usize) {
        // Whoever finds it taken leaves the drawing to the other one.
        let Ok(mut bar) = self.bar.try_lock() else {
            return;
        };
        if bar.is_none() && self.start.elapsed() > PATIENCE {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} functions, {eta} left");
            let target = ProgressDrawTarget::stderr();
            let new = ProgressBar::with_draw_target(Some(total as u64), target);
            *bar = Some(new.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
        }
        if let Some(bar) = &*bar {
            bar.set_position(done as u64);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        if let Ok(Some(bar)) = self.bar.into_inner() {
            bar.finish_and_clear();
        }
    }
}
