//! Host functions that wait for the system, and how they are woken when their guest is to end.
//!
//! A thread that waits in `poll` does not see a flag that another thread raises. So a host function
//! that waits has an event of its own (an eventfd) among the things that it waits for, and a thread
//! that raises the interrupt word of a store then signals the events of those that wait in the
//! store. Each side does its own part before it looks at the other's: a thread registers its event
//! before it reads the word, and the word is raised before the registered events are read. So at
//! least one of them sees the other. If nobody waits, to raise a word costs one more load.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of threads that wait.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The threads that wait: the address of the store's word, and the event.
static WAITING: Mutex<Vec<(usize, Arc<Event>)>> = Mutex::new(Vec::new());

thread_local! {
    /// The event of this thread, which is used again.
    static EVENT: Cell<Option<Arc<Event>>> = const { Cell::new(None) };
}

fn waiting() -> MutexGuard<'static, Vec<(usize, Arc<Event>)>> {
    // Nothing panics while it holds the lock.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes the threads that wait in the store with this word, which was just raised.
pub(super) fn wake(word: &AtomicU64) {
    fence(Ordering::SeqCst);
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let address = std::ptr::from_ref(word) as usize;
    for (of, event) in waiting().iter() {
        if *of == address {
            event.signal();
        }
    }
}

/// An event. Its descriptor can be read after it was signalled.
struct Event {
    file: File,
    signalled: AtomicBool,
}

impl Event {
    fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a new file descriptor that nothing else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self {
            file,
            signalled: AtomicBool::new(false),
        })
    }

    fn signal(&self) {
        self.signalled.store(true, Ordering::Relaxed);
        // If the counter is full, the event can be read as well.
        (&self.file).write_all(&1_u64.to_ne_bytes()).ok();
    }

    /// Makes the event unsignalled. Nobody signals it any more.
    fn reset(&self) {
        if self.signalled.swap(false, Ordering::Relaxed) {
            (&self.file).read_exact(&mut [0; 8]).ok();
        }
    }
}

/// A thread that waits, until this is dropped.
pub(crate) struct Waiting {
    address: usize,
    event: Arc<Event>,
}

impl Waiting {
    /// Registers that this thread is going to wait in the store with this word.
    ///
    /// # Errors
    /// The error of the system, if it has no descriptor.
    pub(super) fn new(word: &AtomicU64) -> io::Result<Self> {
        let event = match EVENT.try_with(Cell::take).ok().flatten() {
            Some(event) => event,
            None => Arc::new(Event::new()?),
        };
        let address = std::ptr::from_ref(word) as usize;
        waiting().push((address, Arc::clone(&event)));
        COUNT.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if word.load(Ordering::SeqCst) != super::interrupt::GO_ON {
            event.signal();
        }
        Ok(Self { address, event })
    }

    /// A descriptor that can be read when the code of the store is to end.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.file.as_fd()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut all = waiting();
        let this = |(address, event): &(usize, Arc<Event>)| {
            *address == self.address && Arc::ptr_eq(event, &self.event)
        };
        if let Some(i) = all.iter().position(this) {
            all.swap_remove(i);
        }
        drop(all);
        COUNT.fetch_sub(1, Ordering::SeqCst);
        self.event.reset();
        let event = Arc::clone(&self.event);
        EVENT.try_with(|kept| kept.set(Some(event))).ok();
    }
}
