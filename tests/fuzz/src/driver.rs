//! Runs the cases of a target.
//!
//! Cases run in a child process, which may crash. Before each case, the child writes the seed of
//! the case to a file that both processes have open. If the child fails, or does not get to the
//! next case within [`HANGS`], the parent reports the seed in that file and the command that
//! repeats this case alone. Another child then continues with the next seed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::{Case, Target};

/// A case that takes longer is considered to hang.
pub const HANGS: Duration = Duration::from_secs(60);

/// The exit code of a child in which a case failed, after the child has printed the reason.
const FAILED: i32 = 101;

/// Which cases are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The first seed. Each further case has the next number.
    pub seed: u64,
    /// How many cases are run. With `None`, as many as the time allows.
    pub count: Option<u64>,
    /// How long cases are run. With `None`, as long as `count` cases take.
    pub time: Option<Duration>,
    /// How many cases may fail before the run ends.
    pub failures: u64,
    /// Whether cases print what they do.
    pub verbose: bool,
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The number of cases that were run.
    pub cases: u64,
    /// The seeds of the cases that failed.
    pub failed: Vec<u64>,
    /// How long the run took.
    pub time: Duration,
}

/// Runs cases in child processes, which are `exe child TARGET …`, and prints each failure with the
/// command that repeats it.
///
/// # Errors
/// When a child cannot be started or watched.
pub fn run(exe: &Path, program: &str, target: &Target, plan: &Plan) -> std::io::Result<Outcome> {
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
        // Removes the temporary files that the child leaves behind.
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
            "repeat it: {program} {} --seed {at} --count 1 --verbose",
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

/// Waits for a child. Returns `None` if it was killed because a case hangs.
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

/// The file with the seed of the case that the child is running.
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

/// Runs cases in the child from `seed` up to `end`, until the time is over or a case fails. Returns
/// the exit code of the process.
///
/// # Errors
/// When the progress file cannot be written.
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
    // Run at least one case, even if `prepare` took all the time.
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
