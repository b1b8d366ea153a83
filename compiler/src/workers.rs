//! The threads of a compilation, which start and end with it.
//!
//! A compilation runs on a thread with a stack of known size ([`on_a_thread`]), and that thread
//! starts helpers as long as there is work for them ([`Workers::map`]). The threads belong to one
//! compilation, because a pool that outlives it would be shared with other code:
//!
//! - A worker of the host's thread pool may ask for a module. While that worker waits, the
//!   compilation has threads of its own, and the worker runs no other job of its pool, which could
//!   ask for the same module and wait for itself.
//! - After `fork`, no state in the child refers to threads that do not exist there.
//! - If the system refuses threads (`RLIMIT_NPROC`, seccomp, WebAssembly), the calling thread does
//!   the work alone.
//!
//! Starting a thread takes about 20 µs, as long as waking a thread of a pool.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Builder};

use crate::Error;

/// Bytes of stack of each thread.
const STACK: usize = 4 << 20;

/// Bytes of WebAssembly code that justify another thread: some milliseconds of work.
const SHARE: usize = 2048;

const NAME: &str = "precast-compile";

/// Runs `job` on a thread of its own, or on the calling thread if one thread was asked for or the
/// system refuses another.
pub(crate) fn on_a_thread<R: Send>(threads: Option<usize>, job: impl FnOnce() -> R + Send) -> R {
    if threads == Some(1) {
        return job();
    }
    // A failed start drops its closure, so the job is kept outside of the closure.
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

/// The number of threads that a compilation may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workers {
    max: usize,
    /// Whether helpers count against the limit for all compilations of the process together.
    shared: bool,
}

impl Workers {
    /// `threads` threads if given. Otherwise as many as there are CPUs, for all compilations of the
    /// process together, but at least one for each.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        match threads {
            Some(max) if max > 0 => Self { max, shared: false },
            _ => Self {
                max: cpus(),
                shared: true,
            },
        }
    }

    /// Applies `f` to each item; the results are in the same order. `bytes` is the size of the code
    /// in the items. Each thread uses a state, which it takes from `states` or makes, and puts into
    /// `states` when it is done.
    ///
    /// # Errors
    /// The error of the first item that has one, whatever the number of threads.
    pub(crate) fn map<I: Sync, S: Default + Send, R: Send>(
        self,
        items: &[I],
        bytes: usize,
        states: &Mutex<Vec<S>>,
        f: impl Fn(&mut S, &I) -> Result<R, Error> + Sync,
    ) -> Result<Vec<R>, Error> {
        // Threads take items in order. So when an item fails, other threads have already taken all
        // items before it, and will finish them.
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
        let mut wanted = self.max.min(items.len()).min(1 + bytes / SHARE);
        let (work, next) = (&work, &next);
        let parts = thread::scope(|scope| {
            let mut helpers = Vec::new();
            let mut start_helpers = || {
                while helpers.len() + 1 < wanted
                    && next.load(Ordering::Relaxed) + 1 < items.len()
                    && let Some(permit) = HelperPermit::take(self.shared)
                {
                    let helper = move || {
                        let _permit = permit;
                        work(&mut || {})
                    };
                    let builder = Builder::new().name(NAME.to_owned()).stack_size(STACK);
                    match builder.spawn_scoped(scope, helper) {
                        Ok(helper) => helpers.push(helper),
                        // The system refuses more threads.
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

/// Number of running helpers of compilations that share the CPUs.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Permission to run a helper. Dropping it gives the permission back.
struct HelperPermit {
    shared: bool,
}

impl HelperPermit {
    fn take(shared: bool) -> Option<Self> {
        let more = |helpers| (helpers + 1 < cpus()).then_some(helpers + 1);
        let taken = !shared
            || HELPERS
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok();
        taken.then_some(Self { shared })
    }
}

impl Drop for HelperPermit {
    fn drop(&mut self) {
        if self.shared {
            HELPERS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The number of CPUs that this process may use. Asking the system is slow, so it is asked once.
fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Locks a mutex whose value is consistent even after a panic.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread::ThreadId;
    use std::time::{Duration, Instant};

    /// Returns the threads that work on 100 items. The first `expected` threads wait for each
    /// other.
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
    fn the_number_of_threads_depends_on_the_work() {
        let here = HashSet::from([thread::current().id()]);
        assert_eq!(threads(Workers::new(Some(1)), 1 << 20, 1), here);
        assert_eq!(threads(Workers::new(Some(4)), SHARE - 1, 1), here);
        assert_eq!(threads(Workers::new(Some(4)), 1 << 20, 4).len(), 4);
        assert_eq!(threads(Workers::new(Some(4)), SHARE, 2).len(), 2);
        assert!(threads(Workers::new(None), 1 << 20, 1).len() <= cpus());
    }

    fn failed(item: usize) -> Error {
        Error::TooLarge {
            what: "an item".to_owned(),
            found: item as u64,
            limit: 0,
        }
    }

    #[test]
    fn the_error_is_that_of_the_first_item_that_fails() {
        let items: Vec<usize> = (0..200).collect();
        for _ in 0..50 {
            let states = Mutex::new(Vec::<()>::new());
            let result = Workers::new(Some(4)).map(&items, 1 << 20, &states, |(), item| {
                if item % 20 == 13 {
                    return Err(failed(*item));
                }
                Ok(())
            });
            assert_eq!(result.unwrap_err().to_string(), failed(13).to_string());
        }
    }

    #[test]
    fn panics_reach_the_caller_with_their_message() {
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
    fn one_thread_means_the_calling_thread() {
        let here = thread::current().id();
        assert_eq!(on_a_thread(Some(1), || thread::current().id()), here);
        assert_ne!(on_a_thread(None, || thread::current().id()), here);
    }
}
