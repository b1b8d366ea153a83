//! Processes share a directory while the test kills them, deletes and damages entries, and fills
//! the disk.
//!
//! A test runs in rounds. In each, [`PROCESSES`] workers (processes of this test's own executable)
//! with [`THREADS`] threads each get random modules, run them and compare the results. Meanwhile
//! the test kills random workers with `kill -9` and starts others, deletes entries, and replaces
//! entries by truncated, flipped and foreign files, which it renames into place. Between rounds,
//! when no process has an entry mapped, it truncates and flips entries in place. No cache of mapped
//! files could survive that while they are mapped.
//!
//! [`Tally::max`] says how often a module may be compiled. In an undisturbed run, that is once.
//!
//! | environment variable | effect |
//! |---|---|
//! | `PRECAST_TORTURE_SECONDS` | how long a test runs, instead of a few seconds |
//! | `PRECAST_TORTURE_SEED` | the seed of the sequence of disturbances |

use std::collections::HashMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use precast_cache::{CompilationCache, Options};
use precast_compiler::Settings;
use precast_loader::Engine;
use precast_tests::Watchdog;

use crate::guests::{self, COUNT};
use crate::scratch::Scratch;

const PROCESSES: usize = 8;
const THREADS: usize = 4;

/// The environment variable that tells a worker the directory of the cache, the log of compilations
/// and its seed, one to a line. Workers run until their standard input ends.
const WORKER: &str = "PRECAST_TORTURE_WORKER";

/// Not a test of its own: this is what a worker does.
#[test]
#[ignore = "the other tests of this file start it as a process"]
fn worker() {
    let Ok(task) = env::var(WORKER) else {
        return;
    };
    let parts: Vec<&str> = task.split('\n').collect();
    let [dir, log, seed] = parts[..] else {
        panic!("{task}");
    };
    let over = &AtomicBool::new(false);
    let seed: u64 = seed.parse().unwrap();
    let cache = CompilationCache::open(dir).unwrap();
    let log = &OpenOptions::new().append(true).open(log).unwrap();
    let (cache, wasm): (_, &Vec<_>) = (&cache, &(0..COUNT).map(guests::wasm).collect());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            over.store(true, Ordering::Relaxed);
        });
        for thread in 0..THREADS as u64 {
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed * 31 + thread);
                // The last few modules stay mapped for a while.
                let mut kept = HashMap::new();
                // At least once, even if a busy machine starts this process late.
                loop {
                    let i = random.usize(..COUNT);
                    let compiled = AtomicBool::new(false);
                    let progress = |done, all| {
                        if done == all {
                            compiled.store(true, Ordering::Relaxed);
                        }
                    };
                    let module = cache
                        .get_or_compile_with_progress(
                            &Engine::default(),
                            &wasm[i],
                            &Settings::default(),
                            &progress,
                        )
                        .expect("no change of the directory is an error");
                    if compiled.load(Ordering::Relaxed) {
                        let mut log: &File = log;
                        log.write_all(&[i as u8]).unwrap();
                    }
                    guests::check(i, &module).expect("the right code");
                    kept.insert(random.usize(..6), module);
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
    });
}

struct Workers {
    children: Vec<Child>,
    dir: PathBuf,
    log: PathBuf,
    started: u64,
    killed: u64,
}

impl Workers {
    fn start(&mut self) {
        self.started += 1;
        let task = format!(
            "{}\n{}\n{}",
            self.dir.display(),
            self.log.display(),
            self.started * 7919
        );
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "torture::worker", "--ignored", "--nocapture"])
            .env(WORKER, task)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        self.children.push(child.unwrap());
    }

    fn kill_one(&mut self, random: &mut Rng) {
        let index = random.usize(..self.children.len());
        let mut child = self.children.swap_remove(index);
        child.kill().unwrap();
        self.killed += 1;
        finished(child, true);
    }

    fn join(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
        }
        for child in self.children.drain(..) {
            finished(child, false);
        }
    }
}

/// Waits for a worker, and checks that it succeeded or was `killed` by the test.
fn finished(child: Child, killed: bool) {
    let output = child.wait_with_output().unwrap();
    let fine = output.status.success() || killed && output.status.signal() == Some(9);
    assert!(
        fine,
        "a worker ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How often each module was compiled, and why that may have been necessary.
struct Tally {
    /// For each module, how often its entry was removed or made unusable.
    taken: [u64; COUNT],
    compiled: [u64; COUNT],
}

impl Tally {
    fn new() -> Self {
        Self {
            taken: [0; COUNT],
            compiled: [0; COUNT],
        }
    }

    /// How often a module may have been compiled: once, and once more for each time that its entry
    /// was removed, and for each process that was killed and may have been compiling it. If the
    /// disk was full, each process may have had to compile it for itself.
    fn max(&self, i: usize, workers: &Workers, full: bool) -> u64 {
        1 + self.taken[i]
            + if full {
                workers.started
            } else {
                workers.killed
            }
    }

    fn judge(&mut self, workers: &Workers, full: bool) {
        for byte in fs::read(&workers.log).unwrap() {
            self.compiled[usize::from(byte)] += 1;
        }
        for i in 0..COUNT {
            let (found, max) = (self.compiled[i], self.max(i, workers, full));
            assert!(
                found <= max,
                "module {i} was compiled {found} times, {max} are accounted for"
            );
        }
    }
}

fn environment(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: expected a number")),
    )
}

/// Deletes an entry, or renames a truncated, flipped or foreign file into its place. Returns
/// whether there was an entry.
fn torment(dir: &Scratch, path: &Path, random: &mut Rng) -> bool {
    let kind = random.usize(..4);
    if kind == 0 {
        return fs::remove_file(path).is_ok();
    }
    let Ok(mut bytes) = fs::read(path) else {
        return false;
    };
    match kind {
        1 => bytes.truncate(random.usize(..=bytes.len())),
        2 if !bytes.is_empty() => {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.usize(..8);
        }
        _ => bytes = b"not from here".to_vec(),
    }
    let other = dir.path().join("torment");
    fs::write(&other, bytes).is_ok() && fs::rename(&other, path).is_ok()
}

/// Truncates or flips an entry in place. Returns whether there was an entry.
fn torment_in_place(path: &Path, random: &mut Rng) -> bool {
    let Ok(data) = fs::metadata(path) else {
        return false;
    };
    // Entries have mode 0400. Root could write to them anyway, other users could not.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, mode).unwrap();
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    if random.bool() || data.len() == 0 {
        file.set_len(data.len() / 2).unwrap();
    } else {
        let at = random.u64(..data.len());
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, at).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 0x40]).unwrap();
    }
    true
}

/// How long a round takes once its workers have been started.
const ROUND: Duration = Duration::from_millis(2500);

/// Runs at least two rounds, as many as begin in the given time, and on a busy machine as many as
/// it takes until each kind of disturbance has happened. With `fill`, it also fills the disk and
/// empties it again.
fn torture(dir: &Scratch, fill: bool) {
    let seconds = environment("PRECAST_TORTURE_SECONDS").unwrap_or(4);
    let last = Instant::now() + Duration::from_secs(seconds);
    let seed = environment("PRECAST_TORTURE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("PRECAST_TORTURE_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    // The log is not in the directory, which may be a full disk.
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut workers = Workers {
        children: Vec::new(),
        dir: dir.path().to_owned(),
        log: log.path().to_owned(),
        started: 0,
        killed: 0,
    };
    let mut tally = Tally::new();
    let (mut renamed, mut in_place, mut fillings) = (0_u64, 0_u64, 0_u64);
    let ballast = dir.path().join("ballast");
    let entries: Vec<PathBuf> = (0..COUNT).map(|i| dir.entry(&guests::key(i))).collect();
    let mut rounds = 0;
    // A round takes some seconds; on a machine that does other things, too, more.
    let watchdog = Watchdog::new(Duration::from_secs(300));
    let mut all_happened = false;
    while rounds < 2 || Instant::now() < last || !all_happened && rounds < 20 {
        rounds += 1;
        watchdog.step();
        for _ in 0..PROCESSES {
            workers.start();
        }
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(random.u64(5..35)));
            match random.usize(..8) {
                0 => {
                    workers.kill_one(&mut random);
                    workers.start();
                }
                1 if fill => {
                    if fs::remove_file(&ballast).is_err() {
                        let mut file = File::create(&ballast).unwrap();
                        while file.write_all(&[1; 4096]).is_ok() {}
                        fillings += 1;
                    }
                }
                _ => {
                    let i = random.usize(..COUNT);
                    if torment(dir, &entries[i], &mut random) {
                        tally.taken[i] += 1;
                        renamed += 1;
                    }
                }
            }
        }
        workers.join();
        for _ in 0..5 {
            let i = random.usize(..COUNT);
            if torment_in_place(&entries[i], &mut random) {
                tally.taken[i] += 1;
                in_place += 1;
            }
        }
        all_happened = workers.killed > 0 && renamed > 0 && in_place > 0 && (fillings > 0 || !fill);
    }
    fs::remove_file(&ballast).ok();
    fs::remove_file(dir.path().join("torment")).ok();
    tally.judge(&workers, fill);
    let total: u64 = tally.compiled.iter().sum();
    let largest = tally.compiled.iter().max().unwrap();
    eprintln!(
        "{rounds} rounds: {} processes, {} killed; {renamed} entries deleted or replaced, \
         {in_place} damaged in place, disk filled {fillings} times; {total} compilations, at most \
         {largest} of one module",
        workers.started, workers.killed
    );
    assert!(all_happened, "a kind of disturbance never happened");
    aftermath(dir, &workers);
}

/// Checks what is left: every entry is whole, or is recognised as damaged.
fn aftermath(dir: &Scratch, workers: &Workers) {
    let cache = CompilationCache::open(dir.path()).unwrap();
    let before = cache.usage().unwrap();
    assert!(before.temporaries <= workers.killed * THREADS as u64);
    for i in 0..COUNT {
        drop(guests::get(&cache, i));
    }
    let stats = cache.stats();
    assert_eq!(stats.store_failures, 0);
    assert_eq!(stats.disk_hits + stats.compilations, COUNT as u64);
    let checked = cache.verify().unwrap();
    assert_eq!(checked.len(), COUNT);
    assert!(
        checked.iter().all(|entry| entry.fault.is_none()),
        "{checked:?}"
    );

    let cache = Options::new().require_hit(true).open(dir.path()).unwrap();
    for i in 0..COUNT {
        drop(guests::get(&cache, i));
    }
    assert_eq!(cache.stats().disk_hits, COUNT as u64);
    cache.clear().unwrap();
    let left = dir.names();
    assert!(
        left.iter().all(|name| name.contains(".foreign-")),
        "{left:?}"
    );
}

#[test]
fn undisturbed_processes_compile_each_module_once() {
    let dir = Scratch::new("calm");
    let log = dir.path().join("log");
    fs::write(&log, "").unwrap();
    let mut workers = Workers {
        children: Vec::new(),
        dir: dir.path().join("cache"),
        log,
        started: 0,
        killed: 0,
    };
    for _ in 0..PROCESSES {
        workers.start();
    }
    std::thread::sleep(Duration::from_secs(3));
    workers.join();
    let mut tally = Tally::new();
    tally.judge(&workers, false);
    assert!(tally.compiled.contains(&1));
}

#[test]
fn killed_damaged_deleted() {
    let dir = Scratch::new("torture");
    torture(&dir, false);
}

#[test]
fn killed_damaged_deleted_on_a_full_disk() {
    // All entries fit as long as there is no ballast.
    let Some(disk) = Scratch::disk("torture-on-a-full-disk", 2000) else {
        return;
    };
    torture(&disk, true);
}
