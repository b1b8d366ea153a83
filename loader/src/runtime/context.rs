//! Contexts: deadlines for calls, and ways to cancel them.
//!
//! A [`Context`] is done when its deadline has passed or when it is cancelled, whichever comes
//! first. This ends the calls with that context, and closes their instances: with
//! [`Error::DeadlineExceeded`](crate::Error::DeadlineExceeded) or
//! [`Error::Canceled`](crate::Error::Canceled), which later uses of the instance get too.
//!
//! One thread of the process watches deadlines. The first call with a deadline starts it, once more
//! in a child after `fork`, and it sleeps until the next deadline. The thread ends a call by
//! raising the interrupt word of the store and waking the threads that wait in the store or for it.
//! Contexts are cheap: a context that no call uses costs an allocation.
//!
//! A thread that ends a call holds no lock of the context. A call that is over waits for a thread
//! that is just ending it, so that nothing happens to its instance after the call has returned. The
//! call then frees what was closed, so data of the host is dropped on the thread of the call.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::lock::lock;
use crate::sys::process::{PerProcess, start_thread};

/// Bytes of stack of the thread that watches deadlines, which only raises flags and wakes threads.
const TIMER_STACK: usize = 128 << 10;

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
    /// It was cancelled.
    Canceled,
}

/// A deadline for calls, and a way to cancel them. Clones are the same context.
///
/// ```no_run
/// # use precast_loader::{Error, runtime::{Context, Instance}};
/// # use std::time::Duration;
/// # fn example(instance: &Instance) {
/// let context = Context::with_timeout(Duration::from_millis(100));
/// let result = instance.with_context(&context).call("loop", &[]);
/// assert!(matches!(result, Err(Error::DeadlineExceeded)));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Context(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deadline: Option<Instant>,
    state: Mutex<State>,
    /// Notified when `firing` becomes `None`.
    fired: Condvar,
}

#[derive(Default)]
struct State {
    done: Option<Done>,
    /// The thread that is ending calls at this moment.
    firing: Option<ThreadId>,
    /// The timer that knows the deadline. A child by `fork` has another timer than its parent.
    timer: Option<&'static Timer>,
    next: u64,
    watchers: BTreeMap<u64, Watcher>,
    /// The results of watchers that were called, which their owners drop.
    left: BTreeMap<u64, Left>,
}

type Watcher = Box<dyn FnOnce(Done) -> Left + Send>;

/// Dropping it may drop data of the host.
type Left = Box<dyn Any + Send>;

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context without a deadline. It is done when it is [cancelled](Context::cancel).
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

    /// A context that is done after this time, counted from now. If the time is too long for the
    /// system's clock, there is no deadline.
    pub fn with_timeout(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or_else(Self::new, Self::with_deadline)
    }

    /// Ends the calls with this context, now and later. Does nothing if the context is done
    /// already.
    pub fn cancel(&self) {
        self.0.finish(Done::Canceled);
    }

    /// Why the context is done, if it is done.
    pub fn done(&self) -> Option<Done> {
        if self.0.is_late() {
            self.0.finish(Done::DeadlineExceeded);
        }
        lock(&self.0.state).done
    }

    /// The deadline, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Calls `end` when the context is done, or at once if it is done already. Dropping the result
    /// takes this back. The result of `end` is dropped together with it, by the same thread, so
    /// that data of the host is not dropped on the thread that watches deadlines.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub(super) fn watch<L: Send + 'static>(
        &self,
        end: impl FnOnce(Done) -> L + Send + 'static,
    ) -> Result<Watch<'_>, Error> {
        let is_done = |done, end: Watcher| Watch {
            waiting: None,
            left: Some(end(done)),
        };
        let end: Watcher = Box::new(|done| Box::new(end(done)));
        if let Some(done) = self.done() {
            return Ok(is_done(done, end));
        }
        let timed = match self.0.deadline {
            Some(deadline) => Some((deadline, Timer::get()?)),
            None => None,
        };
        let mut state = lock(&self.0.state);
        if let Some(done) = state.done {
            drop(state);
            return Ok(is_done(done, end));
        }
        let id = state.next;
        state.next += 1;
        state.watchers.insert(id, end);
        let known = state.timer;
        let is_new = |timer| !known.is_some_and(|known| std::ptr::eq(known, timer));
        let untimed = timed.filter(|(_, timer)| is_new(*timer));
        if let Some((_, timer)) = untimed {
            state.timer = Some(timer);
        }
        drop(state);
        if let Some((deadline, timer)) = untimed {
            timer.add(deadline, Arc::downgrade(&self.0));
        }
        Ok(Watch {
            waiting: Some((&self.0, id)),
            left: None,
        })
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
        let end = |(id, end): (u64, Watcher)| (id, end(done));
        let left: Vec<_> = watchers.into_iter().map(end).collect();
        let mut state = lock(&self.state);
        state.left.extend(left);
        state.firing = None;
        drop(state);
        self.fired.notify_all();
    }
}

/// A call that ends when its context is done.
pub(super) struct Watch<'a> {
    waiting: Option<(&'a Inner, u64)>,
    left: Option<Left>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some((context, id)) = self.waiting else {
            return;
        };
        let mut state = lock(&context.state);
        let watcher = state.watchers.remove(&id);
        let here = thread::current().id();
        while watcher.is_none() && state.firing.is_some_and(|thread| thread != here) {
            state = context
                .fired
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.left = state.left.remove(&id);
        drop(state);
        drop(watcher);
    }
}

/// The data of the thread that watches deadlines.
#[derive(Default)]
struct Timer {
    /// Whether the thread runs.
    runs: AtomicBool,
    /// Held while the thread is started.
    starting: Mutex<()>,
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
    /// The timer of the process. The first call starts its thread.
    ///
    /// # Errors
    /// [`Error::Thread`].
    fn get() -> Result<&'static Self, Error> {
        static TIMERS: PerProcess<Timer> = PerProcess::new();
        let timer = TIMERS.get(|_| Self::default());
        if timer.runs.load(Ordering::Acquire) {
            return Ok(timer);
        }
        let _starting = lock(&timer.starting);
        if timer.runs.load(Ordering::Acquire) {
            return Ok(timer);
        }
        let thread = thread::Builder::new()
            .name("precast-timer".to_owned())
            .stack_size(TIMER_STACK);
        start_thread(thread, || timer.run()).map_err(|source| {
            let action = "start the thread that watches deadlines";
            Error::Thread { action, source }
        })?;
        timer.runs.store(true, Ordering::Release);
        Ok(timer)
    }

    fn add(&self, deadline: Instant, context: Weak<Inner>) {
        let mut queue = lock(&self.queue);
        // Short calls with long timeouts leave entries behind.
        if queue.len() >= 64 && queue.len() == queue.capacity() {
            queue.retain(|entry| entry.0.context.strong_count() != 0);
        }
        queue.push(Reverse(Entry { deadline, context }));
        drop(queue);
        self.changed.notify_one();
    }

    fn run(&self) {
        block_signals();
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            let wait = match queue.peek() {
                Some(Reverse(first)) if first.deadline <= now => {
                    let due = queue.pop().and_then(|entry| entry.0.context.upgrade());
                    drop(queue);
                    if let Some(context) = due {
                        context.finish(Done::DeadlineExceeded);
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

/// Blocks the signals of the process on this thread, so that its own threads get them.
fn block_signals() {
    // SAFETY: the set is initialised by the first call; the mask is this thread's own.
    unsafe {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

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
        let kept = context.watch(add()).unwrap();
        drop(context.watch(add()).unwrap());
        context.cancel();
        context.cancel();
        context.0.finish(Done::DeadlineExceeded);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(kept);
        drop(context.watch(add()).unwrap());
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
                let watch = context.watch(move |done| {
                    assert_eq!(done, Done::DeadlineExceeded);
                    send.send(ms).unwrap();
                });
                watch.unwrap()
            })
            .collect();
        let order: Vec<u64> = receive.iter().take(3).collect();
        assert_eq!(order, [10, 20, 30]);
        drop(watches);
        let past = Context::with_deadline(Instant::now());
        assert_eq!(past.done(), Some(Done::DeadlineExceeded));
    }
}
