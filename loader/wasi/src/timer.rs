//! Sleeping without a thread: [`Timer`], and the timer that is used if the host sets no other.
//!
//! One thread of the process wakes all sleepers. The thread is started by the first sleep, and
//! never ends. A child by `fork` does not have this thread, and may find the timer's lock taken for
//! ever, so each process has a timer of its own, see [`PerProcess`].

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use precast_loader::{PerProcess, start_thread};

/// The future of a [`Timer`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wakes guests that sleep in functions of [`add_to_linker_async`](crate::add_to_linker_async). A
/// closure can be a timer:
///
/// ```
/// use std::time::Duration;
///
/// use precast_wasi::{Sleep, WasiCtxBuilder};
///
/// # mod tokio { pub mod time { pub async fn sleep(_: std::time::Duration) {} } }
/// let timer = |time: Duration| -> Sleep { Box::pin(tokio::time::sleep(time)) };
/// let wasi = WasiCtxBuilder::new().timer(timer);
/// # drop(wasi);
/// ```
///
/// Without a timer, a thread of the process wakes the guests, whatever the executor is.
pub trait Timer: Send + Sync {
    /// A future that is ready after this time. Time counts from this call, or from when the future
    /// is polled first.
    fn sleep(&self, time: Duration) -> Sleep;
}

impl<F: Fn(Duration) -> Sleep + Send + Sync> Timer for F {
    fn sleep(&self, time: Duration) -> Sleep {
        self(time)
    }
}

/// How long a thread of an executor sleeps at a time if there is no thread for the timer.
const SLICE: Duration = Duration::from_millis(5);

/// The timer that uses one thread of the process.
pub(crate) struct ThreadTimer;

impl Timer for ThreadTimer {
    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(Sleeping {
            // A time too long for `Instant` means to sleep for ever.
            end: Instant::now().checked_add(time),
            place: None,
        })
    }
}

/// The timer of a process.
#[derive(Default)]
struct ProcessTimer {
    queue: Mutex<Queue>,
    /// Notified when there is a new first sleeper.
    changed: Condvar,
}

/// All sleepers, by the time when they wake.
#[derive(Default)]
struct Queue {
    sleeping: BTreeMap<Key, Waker>,
    next: u64,
    has_thread: bool,
}

/// When a sleeper wakes, and a number that no other sleeper has.
type Key = (Instant, u64);

impl ProcessTimer {
    /// The timer of this process.
    fn get() -> &'static Self {
        static TIMERS: PerProcess<ProcessTimer> = PerProcess::new();
        TIMERS.get(|_| Self::default())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every sleeper whose time is over. Never returns.
    fn wake(&self) {
        let mut queue = self.queue();
        loop {
            let now = Instant::now();
            let Some(&(end, _)) = queue.sleeping.keys().next() else {
                let woken = self.changed.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if end > now {
                let waited = self.changed.wait_timeout(queue, end - now);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let waker = queue.sleeping.pop_first();
            drop(queue);
            if let Some((_, waker)) = waker {
                // A waker that panics must not end the thread that other sleepers need.
                let woken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
                drop(woken);
            }
            queue = self.queue();
        }
    }
}

struct Sleeping {
    end: Option<Instant>,
    /// The key of this sleeper in the queue of a timer.
    place: Option<(&'static ProcessTimer, Key)>,
}

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else {
            return Poll::Pending;
        };
        if end <= Instant::now() {
            return Poll::Ready(());
        }
        let timer = ProcessTimer::get();
        let mut queue = timer.queue();
        // After a `fork`, the entry of the parent is in the parent's queue.
        let own = self.place.filter(|(of, _)| std::ptr::eq(*of, timer));
        let key = match own {
            Some((_, key)) => key,
            None => {
                queue.next += 1;
                (end, queue.next)
            }
        };
        self.place = Some((timer, key));
        let former = queue.sleeping.insert(key, cx.waker().clone());
        let is_first = queue.sleeping.keys().next() == Some(&key);
        if !queue.has_thread {
            let thread = std::thread::Builder::new().name("precast-timer".to_owned());
            queue.has_thread = start_thread(thread, || timer.wake()).is_ok();
        }
        let has_thread = queue.has_thread;
        drop(queue);
        // A waker runs code of the executor when it is dropped, so the lock is not held here.
        drop(former);
        if !has_thread {
            // The system refuses another thread, so this thread sleeps itself, for a short time, so
            // that other tasks go on and a guest that must end does.
            std::thread::sleep(end.saturating_duration_since(Instant::now()).min(SLICE));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if is_first {
            timer.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        let place = self.place;
        let own = place.filter(|(of, _)| std::ptr::eq(*of, ProcessTimer::get()));
        let waker = own.and_then(|(timer, key)| timer.queue().sleeping.remove(&key));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Thread(std::thread::Thread);

    impl Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on(mut sleep: Sleep) {
        let waker = Waker::from(Arc::new(Thread(std::thread::current())));
        while sleep
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            std::thread::park();
        }
    }

    #[test]
    fn sleepers_wake_in_any_order_and_those_that_are_dropped_leave_nothing() {
        let mut long = ThreadTimer.sleep(Duration::from_secs(3600));
        let mut for_ever = ThreadTimer.sleep(Duration::MAX);
        let mut context = Context::from_waker(Waker::noop());
        assert!(long.as_mut().poll(&mut context).is_pending());
        assert!(for_ever.as_mut().poll(&mut context).is_pending());
        let start = Instant::now();
        let sleepers = [30, 10, 20].map(|time| {
            std::thread::spawn(move || {
                let time = Duration::from_millis(time);
                block_on(ThreadTimer.sleep(time));
                assert!(start.elapsed() >= time);
            })
        });
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        drop(long);
        let left = ProcessTimer::get()
            .queue()
            .sleeping
            .keys()
            .filter(|key| key.0 > start + Duration::from_secs(1800))
            .count();
        assert_eq!(left, 0);
    }
}
