//! Host functions that wait for the system, and are woken when their guest is to end.
//!
//! A flag that is raised while a thread waits in `poll` is not seen by it. So a host function that
//! waits has an event of its own (an eventfd) among what it waits for, and whoever raises the interrupt
//! word of a store then wakes those who wait in it. Both sides first do their part and then look at
//! the other's: who waits is noted before the word is read, and the word is raised before anybody who
//! waits is looked for. So one of them sees the other. As long as nobody waits, to raise a word costs
//! one load more.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many threads wait.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Who waits: the address of the store's word, and the event.
static WAITING: Mutex<Vec<(usize, Arc<Event>)>> = Mutex::new(Vec::new());

thread_local! {
    /// The thread's event, to be used again.
    static EVENT: Cell<Option<Arc<Event>>> = const { Cell::new(None) };
}

fn waiting() -> MutexGuard<'static, Vec<(usize, Arc<Event>)>> {
    // Nothing here panics half way.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes those who wait in the store with this word, which has just been raised.
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

/// Can be read when it was signalled.
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
        // SAFETY: `fd` was just made and belongs to nobody else.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self {
            file,
            signalled: AtomicBool::new(false),
        })
    }

    fn signal(&self) {
        self.signalled.store(true, Ordering::Relaxed);
        // If it is full, it can be read as well.
        (&self.file).write_all(&1_u64.to_ne_bytes()).ok();
    }

    /// Nobody signals it any more.
    fn reset(&self) {
        if self.signalled.swap(false, Ordering::Relaxed) {
            (&self.file).read_exact(&mut [0; 8]).ok();
        }
    }
}

/// One thread that waits; not any more when this is dropped.
pub(crate) struct Waiting {
    address: usize,
    event: Arc<Event>,
}

impl Waiting {
    /// Notes that this thread is going to wait in the store with this word.
    ///
    /// # Errors
    /// The system's, when it has no descriptor.
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

    /// Can be read when the store's code is to end.
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
