//! Contexts: how long calls may take, and who may end them.
//!
//! A [`Context`] is done when its deadline has passed or somebody cancels it, whichever is first. A
//! call that is made with one is ended then, as by closing the instance: with
//! [`Error::DeadlineExceeded`](crate::Error::DeadlineExceeded) or
//! [`Error::Canceled`](crate::Error::Canceled), which later uses of the instance get too.
//!
//! One thread of the process watches deadlines. It is started by the first call that is made with a
//! deadline and sleeps until the next one; it wakes nobody, it raises the interrupt word of the
//! store. Contexts are cheap: an unused one is an allocation.
//!
//! Who ends a call does so without holding a lock of the context, because closing may run drops of
//! the host's data; a call that is over waits for one that is just ending it, so that nothing
//! happens to its instance after it returned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::lock;

/// Why a context is done.
///
/// ```
/// use precast_loader::runtime::{Context, Done};
///
/// let context = Context::new();
/// assert_eq!(context.done(), None);
/// context.cancel();
/// assert_eq!(context.done(), Some(Done::Canceled));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Its deadline has passed.
    DeadlineExceeded,
    /// Somebody cancelled it.
    Canceled,
}

/// How long calls may take, and a handle to cancel them. Clones are the same context.
///
/// ```no_run
/// # use precast_loader::{Error, runtime::{Context, Instance}};
/// # use std::time::Duration;
/// # fn main() -> Result<(), Error> {
/// # let instance: Instance = todo!();
/// let context = Context::with_timeout(Duration::from_millis(100));
/// let result = instance.with_context(&context).call("loop", &[]);
/// assert!(matches!(result, Err(Error::DeadlineExceeded)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Context(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deadline: Option<Instant>,
    state: Mutex<State>,
    /// Told when `firing` becomes `None`.
    fired: Condvar,
}

#[derive(Default)]
struct State {
    done: Option<Done>,
    /// The thread that ends calls just now.
    firing: Option<ThreadId>,
    /// Whether the timer knows the deadline.
    timed: bool,
    next: u64,
    watchers: BTreeMap<u64, Watcher>,
}

type Watcher = Box<dyn FnOnce(Done) + Send>;

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context without a deadline, which [`Context::cancel`] ends.
    pub fn new() -> Self {
        Self::default()
    }

    /// A context that is done at this time, or when it is cancelled.
    pub fn with_deadline(deadline: Instant) -> Self {
        Self(Arc::new(Inner {
            deadline: Some(deadline),
            ..Inner::default()
        }))
    }

    /// A context that is done after this time, counted from now. One that is too long for the
    /// system's clock never ends.
    pub fn with_timeout(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or_else(Self::new, Self::with_deadline)
    }

    /// Ends the calls that are made with the context, now and later. Does nothing if it is done.
    pub fn cancel(&self) {
        self.0.finish(Done::Canceled);
    }

    /// Why it is done, if it is.
    pub fn done(&self) -> Option<Done> {
        if self.0.is_late() {
            self.0.finish(Done::DeadlineExceeded);
        }
        lock(&self.0.state).done
    }

    /// When it will be done at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Calls `end` when the context is done, at once if it is already, unless what this returns is
    /// dropped before.
    pub(super) fn watch(&self, end: impl FnOnce(Done) + Send + 'static) -> Watch<'_> {
        if let Some(done) = self.done() {
            end(done);
            return Watch(None);
        }
        let mut state = lock(&self.0.state);
        if let Some(done) = state.done {
            drop(state);
            end(done);
            return Watch(None);
        }
        let id = state.next;
        state.next += 1;
        state.watchers.insert(id, Box::new(end));
        let untimed = self.0.deadline.filter(|_| !state.timed);
        state.timed = true;
        drop(state);
        if let Some(deadline) = untimed {
            Timer::get().add(deadline, Arc::downgrade(&self.0));
        }
        Watch(Some((&self.0, id)))
    }
}

impl Inner {
    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    fn finish(&self, done: Done) {
        let mut state = lock(&self.state);
        if state.done.is_some() {
            return;
        }
        state.done = Some(done);
        state.firing = Some(thread::current().id());
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        let mut panicked = Ok(());
        for end in watchers.into_values() {
            // Closing may drop data of the host, which may do anything.
            panicked = panicked.and(catch_unwind(AssertUnwindSafe(|| end(done))));
        }
        lock(&self.state).firing = None;
        self.fired.notify_all();
        if let Err(panic) = panicked {
            resume_unwind(panic);
        }
    }
}

/// A call that ends when its context is done.
pub(super) struct Watch<'a>(Option<(&'a Inner, u64)>);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some((context, id)) = self.0 else { return };
        let mut state = lock(&context.state);
        if let Some(watcher) = state.watchers.remove(&id) {
            drop(state);
            drop(watcher);
            return;
        }
        let here = thread::current().id();
        while state.firing.is_some_and(|thread| thread != here) {
            state = context
                .fired
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What the thread that watches deadlines knows.
struct Timer {
    queue: Mutex<BinaryHeap<Reverse<Entry>>>,
    changed: Condvar,
}

struct Entry {
    deadline: Instant,
    context: Weak<Inner>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.deadline == other.deadline
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.deadline.cmp(&other.deadline)
    }
}

impl Timer {
    /// The process's, started now if it was not.
    ///
    /// # Panics
    /// If the system refuses a thread: without it nothing would keep the deadlines.
    fn get() -> &'static Self {
        static TIMER: OnceLock<&'static Timer> = OnceLock::new();
        TIMER.get_or_init(|| {
            let timer: &'static Self = Box::leak(Box::new(Self {
                queue: Mutex::default(),
                changed: Condvar::new(),
            }));
            thread::Builder::new()
                .name("precast-timer".to_owned())
                .spawn(|| timer.run())
                .expect("a thread for deadlines");
            timer
        })
    }

    fn add(&self, deadline: Instant, context: Weak<Inner>) {
        let mut queue = lock(&self.queue);
        // Short calls with long timeouts leave these behind.
        if queue.len() >= 64 && queue.len() == queue.capacity() {
            queue.retain(|entry| entry.0.context.strong_count() != 0);
        }
        queue.push(Reverse(Entry { deadline, context }));
        drop(queue);
        self.changed.notify_one();
    }

    fn run(&self) {
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            let wait = match queue.peek() {
                Some(Reverse(first)) if first.deadline <= now => {
                    let due = queue.pop().and_then(|entry| entry.0.context.upgrade());
                    drop(queue);
                    if let Some(context) = due {
                        let finish = || context.finish(Done::DeadlineExceeded);
                        // The message of a panic is out; other deadlines are still to be kept.
                        catch_unwind(AssertUnwindSafe(finish)).ok();
                    }
                    queue = lock(&self.queue);
                    continue;
                }
                Some(Reverse(first)) => Some(first.deadline - now),
                None => None,
            };
            queue = match wait {
                Some(time) => {
                    let woken = self.changed.wait_timeout(queue, time);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(queue);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn ends_once_and_for_the_first_reason() {
        let count = Arc::new(AtomicUsize::new(0));
        let add = || {
            let count = Arc::clone(&count);
            move |done| {
                assert_eq!(done, Done::Canceled);
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let context = Context::with_timeout(Duration::from_secs(3600));
        let kept = context.watch(add());
        drop(context.watch(add()));
        context.cancel();
        context.cancel();
        context.0.finish(Done::DeadlineExceeded);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(kept);
        drop(context.watch(add()));
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert_eq!(context.done(), Some(Done::Canceled));
    }

    #[test]
    fn deadlines_pass_in_their_order() {
        let (send, receive) = std::sync::mpsc::channel();
        let contexts: Vec<_> = [30, 10, 20]
            .map(|ms| (ms, Context::with_timeout(Duration::from_millis(ms))))
            .into();
        let watches: Vec<_> = contexts
            .iter()
            .map(|(ms, context)| {
                let (send, ms) = (send.clone(), *ms);
                context.watch(move |done| {
                    assert_eq!(done, Done::DeadlineExceeded);
                    send.send(ms).unwrap();
                })
            })
            .collect();
        let order: Vec<u64> = receive.iter().take(3).collect();
        assert_eq!(order, [10, 20, 30]);
        drop(watches);
        let past = Context::with_deadline(Instant::now());
        assert_eq!(past.done(), Some(Done::DeadlineExceeded));
    }
}
