//! The threads of a compilation: they are started for it, and end with it.
//!
//! A compilation runs on a thread with a stack of known size ([`on_a_thread`]), and that thread
//! starts helpers as long as there is work for them ([`Workers::map`]). The threads belong to one
//! compilation, because a pool that lasts would be shared with somebody:
//!
//! - A thread that asks for a module while it is a worker of the host's pool can wait for the
//!   compilation without keeping it from its workers, and takes up no other job of its pool meanwhile,
//!   which could ask for the same module.
//! - After `fork` there are no threads that the child believes to exist.
//! - Where the system refuses threads (`RLIMIT_NPROC`, seccomp, WebAssembly), the calling thread does
//!   the work alone.
//!
//! Starting a thread takes some 20 µs, which is what waking one of a pool takes, too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Builder};

use crate::Error;

/// Bytes of stack of each thread.
const STACK: usize = 4 << 20;

/// Bytes of WebAssembly code that are worth another thread: some milliseconds of work.
const SHARE: usize = 2048;

const NAME: &str = "precast-compile";

/// Runs `job` on a thread of its own, and on this one if the system has no thread to give, or if one
/// thread is all that was asked for.
pub(crate) fn on_a_thread<R: Send>(threads: Option<usize>, job: impl FnOnce() -> R + Send) -> R {
    if threads == Some(1) {
        return job();
    }
    // A thread that cannot be started keeps nothing of its closure, so the job waits outside.
    let job = Mutex::new(Some(job));
    let take = || lock(&job).take();
    let run = || take().map(|job| job());
    let done = thread::scope(|scope| {
        let builder = Builder::new().name(NAME.to_owned()).stack_size(STACK);
        match builder.spawn_scoped(scope, run) {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => run(),
        }
    });
    done.expect("the job is run once")
}

/// How many threads a compilation may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workers {
    most: usize,
    /// Helpers count against what all compilations of the process may have together.
    shared: bool,
}

impl Workers {
    /// As many threads as asked for; else as many as there are CPUs, for all compilations of the process
    /// together (but each has one).
    pub(crate) fn new(threads: Option<usize>) -> Self {
        match threads {
            Some(most) if most > 0 => Self {
                most,
                shared: false,
            },
            _ => Self {
                most: cpus(),
                shared: true,
            },
        }
    }

    /// Applies `f` to each item; the results are in the same order. `bytes` is the size of the code in
    /// the items. Each thread has a state, taken from `states` or made anew, and put there when it is
    /// done.
    ///
    /// # Errors
    /// That of the first item that has one, whatever the number of threads.
    pub(crate) fn map<I: Sync, S: Default + Send, R: Send>(
        self,
        items: &[I],
        bytes: usize,
        states: &Mutex<Vec<S>>,
        f: impl Fn(&mut S, &I) -> Result<R, Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        // Items are handed out in their order. So when one fails, all before it have been handed out
        // already, and will be finished.
        let next = AtomicUsize::new(0);
        let work = |begin: &mut dyn FnMut()| {
            let mut state = lock(states).pop().unwrap_or_default();
            let (mut done, mut failed) = (Vec::new(), None);
            loop {
                begin();
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(i) else { break };
                match f(&mut state, item) {
                    Ok(result) => done.push((i, result)),
                    Err(error) => {
                        next.store(items.len(), Ordering::Relaxed);
                        failed = Some((i, error));
                        break;
                    }
                }
            }
            lock(states).push(state);
            (done, failed)
        };
        let mut wanted = self.most.min(items.len()).min(1 + bytes / SHARE);
        let (work, next) = (&work, &next);
        let parts = thread::scope(|scope| {
            let mut helpers = Vec::new();
            let mut start_helpers = || {
                while helpers.len() + 1 < wanted
                    && next.load(Ordering::Relaxed) + 1 < items.len()
                    && let Some(place) = Place::take(self.shared)
                {
                    let helper = move || {
                        let _place = place;
                        work(&mut || {})
                    };
                    let builder = Builder::new().name(NAME.to_owned()).stack_size(STACK);
                    match builder.spawn_scoped(scope, helper) {
                        Ok(helper) => helpers.push(helper),
                        // The system has no more to give.
                        Err(_) => wanted = 0,
                    }
                }
            };
            let mut parts = vec![work(&mut start_helpers)];
            for helper in helpers {
                let part = helper.join();
                parts.push(part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            parts
        });
        let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
        let mut first: Option<(usize, Error)> = None;
        for (done, failed) in parts {
            for (i, result) in done {
                results[i] = Some(result);
            }
            if let Some((i, error)) = failed
                && first.as_ref().is_none_or(|(first, _)| i < *first)
            {
                first = Some((i, error));
            }
        }
        match first {
            Some((_, error)) => Err(error),
            None => Ok(results.into_iter().flatten().collect()),
        }
    }
}

/// Helpers of compilations that share the CPUs.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Leave to start a helper, given back when it is done.
struct Place {
    shared: bool,
}

impl Place {
    fn take(shared: bool) -> Option<Self> {
        let more = |helpers| (helpers + 1 < cpus()).then_some(helpers + 1);
        let taken = !shared
            || HELPERS
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok();
        taken.then_some(Self { shared })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.shared {
            HELPERS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many CPUs this process may use. The system takes long to say so, so it is asked once.
fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// What the lock is for is right at all times.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread::ThreadId;
    use std::time::{Duration, Instant};

    /// The threads that work on 100 items. The first `expected` wait for each other.
    fn threads(workers: Workers, bytes: usize, expected: usize) -> HashSet<ThreadId> {
        let items: Vec<u64> = (0..100).collect();
        let states = Mutex::new(Vec::<Option<ThreadId>>::new());
        let arrived = AtomicUsize::new(0);
        let late = Instant::now() + Duration::from_secs(30);
        let results = workers.map(&items, bytes, &states, |thread, item| {
            if thread.replace(thread::current().id()).is_none() {
                arrived.fetch_add(1, Ordering::SeqCst);
            }
            while arrived.load(Ordering::SeqCst) < expected && Instant::now() < late {
                thread::yield_now();
            }
            Ok(item * 2)
        });
        assert_eq!(results.unwrap(), (0..200).step_by(2).collect::<Vec<_>>());
        let states = states.into_inner().unwrap();
        states.into_iter().flatten().collect()
    }

    #[test]
    fn as_many_threads_as_the_work_is_worth() {
        let here = HashSet::from([thread::current().id()]);
        assert_eq!(threads(Workers::new(Some(1)), 1 << 20, 1), here);
        assert_eq!(threads(Workers::new(Some(4)), SHARE - 1, 1), here);
        assert_eq!(threads(Workers::new(Some(4)), 1 << 20, 4).len(), 4);
        assert_eq!(threads(Workers::new(Some(4)), SHARE, 2).len(), 2);
        assert!(threads(Workers::new(None), 1 << 20, 1).len() <= cpus());
    }

    #[test]
    fn the_first_error_counts() {
        let items: Vec<usize> = (0..200).collect();
        for _ in 0..50 {
            let states = Mutex::new(Vec::<()>::new());
            let result = Workers::new(Some(4)).map(&items, 1 << 20, &states, |(), item| {
                if item % 20 == 13 {
                    return Err(Error::Artifact(item.to_string()));
                }
                Ok(())
            });
            assert_eq!(
                result.unwrap_err().to_string(),
                Error::Artifact("13".to_owned()).to_string()
            );
        }
    }

    #[test]
    fn panics_arrive_with_their_message() {
        let items: Vec<usize> = (0..100).collect();
        let caught = std::panic::catch_unwind(|| {
            on_a_thread(None, || {
                let states = Mutex::new(Vec::<()>::new());
                Workers::new(Some(3)).map(&items, 1 << 20, &states, |(), item| {
                    assert!(*item != 50, "fifty");
                    Ok(())
                })
            })
        });
        let panic = caught.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"fifty"));
    }

    #[test]
    fn one_thread_is_this_one() {
        let here = thread::current().id();
        assert_eq!(on_a_thread(Some(1), || thread::current().id()), here);
        assert_ne!(on_a_thread(None, || thread::current().id()), here);
    }
}
