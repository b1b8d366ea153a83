//! Sleeping without a thread: [`Timer`], and the one that is used if the host gives no other.
//!
//! One thread of the process wakes all that sleep. It is started when something sleeps for the
//! first time, and never ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The future of a [`Timer`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What wakes guests that sleep in functions of
/// [`add_to_linker_async`](crate::add_to_linker_async). A closure is one:
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
/// Without one, a thread of the process wakes them, whatever the executor is.
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

/// The timer whose thread wakes all that sleep.
pub(crate) struct ThreadTimer;

impl Timer for ThreadTimer {
    fn sleep(&self, time: Duration) -> Sleep {
        Box::pin(Sleeping {
            // A time that is too long to be added means for ever.
            end: Instant::now().checked_add(time),
            key: None,
        })
    }
}

/// All that sleep, by when they wake.
struct Queue {
    sleeping: BTreeMap<Key, Waker>,
    next: u64,
    has_thread: bool,
}

/// When something wakes, and a number that nothing else has.
type Key = (Instant, u64);

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    sleeping: BTreeMap::new(),
    next: 0,
    has_thread: false,
});

/// Something sleeps that wakes before all others.
static CHANGED: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sleeping {
    end: Option<Instant>,
    /// Where it is in the queue.
    key: Option<Key>,
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
        let mut queue = queue();
        let key = *self.key.get_or_insert_with(|| {
            queue.next += 1;
            (end, queue.next)
        });
        let former = queue.sleeping.insert(key, cx.waker().clone());
        let is_first = queue.sleeping.keys().next() == Some(&key);
        if !queue.has_thread {
            let thread = std::thread::Builder::new().name("precast-timer".to_owned());
            queue.has_thread = thread.spawn(wake).is_ok();
        }
        let has_thread = queue.has_thread;
        drop(queue);
        // Wakers are the executor's, and may do anything when they are dropped.
        drop(former);
        if !has_thread {
            // The system has no thread for this process: then this one sleeps itself.
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            return Poll::Ready(());
        }
        if is_first {
            CHANGED.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        let waker = self.key.and_then(|key| queue().sleeping.remove(&key));
        drop(waker);
    }
}

/// Wakes all whose time is over, for ever.
fn wake() {
    let mut queue = queue();
    loop {
        let now = Instant::now();
        let Some(&(end, _)) = queue.sleeping.keys().next() else {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        if end > now {
            let waited = CHANGED.wait_timeout(queue, end - now);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let waker = queue.sleeping.pop_first();
        drop(queue);
        if let Some((_, waker)) = waker {
            // A waker that panics must not end the thread that others wait for.
            let woken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
            drop(woken);
        }
        queue = self::queue();
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
        let left = queue()
            .sleeping
            .keys()
            .filter(|key| key.0 > start + Duration::from_secs(1800))
            .count();
        assert_eq!(left, 0);
    }
}
