//! Runs the cases of a target.
//!
//! Cases run in a child process, which may die: before each case it writes the case's seed to a file
//! that both processes have. When the child ends badly or does not come to the next case in
//! [`HANGS`], the parent reports the seed in that file and the command that repeats that case alone,
//! and another child goes on with the next seed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::{Case, Target};

/// A case that takes longer hangs.
pub const HANGS: Duration = Duration::from_secs(60);

/// Exit code of a child that found a case to fail and has said how.
const FAILED: i32 = 101;

/// Which cases are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The first seed; the others follow it.
    pub seed: u64,
    /// How many cases; `None` for as many as the time allows.
    pub count: Option<u64>,
    /// For how long; `None` for as long as `count` takes.
    pub time: Option<Duration>,
    /// How many cases may fail before the run ends.
    pub failures: u64,
    /// Whether cases print what they do.
    pub verbose: bool,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Cases that were run.
    pub cases: u64,
    /// The seeds of those that failed.
    pub failed: Vec<u64>,
    /// How long all of it took.
    pub time: Duration,
}

/// Runs cases in child processes, which are `exe child TARGET …`, and prints each failure.
///
/// # Errors
/// When a child cannot be started or watched.
pub fn run(exe: &Path, target: &Target, plan: &Plan) -> std::io::Result<Outcome> {
    let start = Instant::now();
    let mut outcome = Outcome::default();
    let progress = Progress::new()?;
    let end = plan.count.map(|count| plan.seed.saturating_add(count));
    let mut next = plan.seed;
    while end.is_none_or(|end| next < end) {
        let left = plan.time.map(|time| time.saturating_sub(start.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        progress.set(next)?;
        let mut command = Command::new(exe);
        command.args(["child", target.name]).arg(progress.path());
        command.args([next.to_string(), end.unwrap_or(u64::MAX).to_string()]);
        let millis = left.map_or(u64::MAX, |left| left.as_millis() as u64);
        command.args([millis.to_string(), plan.verbose.to_string()]);
        // Whatever the child leaves behind goes with this.
        let scratch = tempfile::tempdir()?;
        command.env("TMPDIR", scratch.path());
        let mut child = command.spawn()?;
        let ended = watch(&mut child, &progress)?;
        let at = progress.get()?;
        outcome.cases += at - next;
        next = at;
        let why = match ended {
            Some(status) if status.success() => break,
            Some(status) => describe(status),
            None => format!("it took longer than {} s", HANGS.as_secs()),
        };
        outcome.cases += 1;
        outcome.failed.push(at);
        eprintln!("{}: the case of seed {at} failed: {why}", target.name);
        eprintln!(
            "repeat it: tests/fuzz/run.sh {} --seed {at} --count 1 --verbose",
            target.name
        );
        next += 1;
        if outcome.failed.len() as u64 >= plan.failures {
            break;
        }
    }
    outcome.time = start.elapsed();
    Ok(outcome)
}

/// Waits for a child; `None` if it was killed because a case hangs.
fn watch(child: &mut Child, progress: &Progress) -> std::io::Result<Option<ExitStatus>> {
    let (mut seen, mut since) = (progress.get()?, Instant::now());
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let now = progress.get()?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > HANGS {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(FAILED), _) => "see above".to_owned(),
        (Some(code), _) => format!("its process ended with exit code {code}"),
        (None, Some(signal)) => format!("signal {signal} killed its process"),
        (None, None) => "its process ended".to_owned(),
    }
}

/// The file that tells which case a child is at.
struct Progress(tempfile::NamedTempFile);

impl Progress {
    fn new() -> std::io::Result<Self> {
        Ok(Self(tempfile::NamedTempFile::new()?))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn set(&self, seed: u64) -> std::io::Result<()> {
        self.0.as_file().write_all_at(&seed.to_le_bytes(), 0)
    }

    fn get(&self) -> std::io::Result<u64> {
        let mut seed = [0; 8];
        self.0.as_file().read_exact_at(&mut seed, 0)?;
        Ok(u64::from_le_bytes(seed))
    }
}

/// What a child does: cases from `seed` to `end`, until the time is over or one fails. The exit code
/// of the process.
///
/// # Errors
/// When the file of progress cannot be written.
pub fn child(
    target: &Target,
    progress: &Path,
    (seed, end): (u64, u64),
    time: Duration,
    verbose: bool,
) -> std::io::Result<i32> {
    let start = Instant::now();
    let progress = File::options().write(true).open(progress)?;
    let mut run = (target.prepare)();
    let mut next = seed;
    // At least one, however long it took to get ready.
    while next < end && (next == seed || start.elapsed() < time) {
        progress.write_all_at(&next.to_le_bytes(), 0)?;
        let mut case = Case::new(next, verbose);
        // A panic has printed its message.
        match catch_unwind(AssertUnwindSafe(|| run(&mut case))) {
            Ok(Ok(())) => {}
            Ok(Err(message)) => {
                eprintln!("{message}");
                return Ok(FAILED);
            }
            Err(_) => return Ok(FAILED),
        }
        next += 1;
    }
    progress.write_all_at(&next.to_le_bytes(), 0)?;
    Ok(0)
}
