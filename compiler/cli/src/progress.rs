//! A progress bar on standard error, for long compilations.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::warnings;

/// The progress is shown only after this time.
const PATIENCE: Duration = Duration::from_millis(700);

/// The progress of one compilation. Nothing is shown unless standard error is a terminal.
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

    /// Reports that `done` of `total` functions are compiled. Any thread may call this.
    pub(crate) fn functions(&self, done: usize, total: usize) {
        // If another thread is drawing, this thread does not wait for it.
        let Ok(mut bar) = self.bar.try_lock() else {
            return;
        };
        if bar.is_none() && self.start.elapsed() > PATIENCE && warnings::are_shown() {
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
