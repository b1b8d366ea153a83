//! Threads that wait, and how they are woken when the code of their store is to end.
//!
//! A thread that waits in `poll` does not see a flag that another thread raises. So a host function
//! that waits has an event of its own (an eventfd) among the things that it waits for, and a thread
//! that raises the interrupt word of a store then signals the events of those that wait in the
//! store. Each side does its own part before it looks at the other's: a thread registers its event
//! before it reads the word, and the word is raised before the registered events are read. So at
//! least one of them sees the other. If no thread waits, raising a word costs one additional load.
//!
//! A thread that waits at an address of a shared memory waits for nothing else of the system. It
//! registers what it [sleeps on](super::parking) instead of an event.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};

use super::parking::Parker;
use crate::lock::lock;

/// The number of threads that wait.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// An entry for each waiting thread: the address of its store's interrupt word, and how to wake the
/// thread.
static WAITING: Mutex<Vec<(usize, Bell)>> = Mutex::new(Vec::new());

/// What wakes a thread.
enum Bell {
    Event(Arc<Event>),
    Parker(Arc<Parker>),
}

impl Bell {
    /// The address of the event or parker, which identifies the bell.
    fn id(&self) -> *const () {
        match self {
            Self::Event(event) => Arc::as_ptr(event).cast(),
            Self::Parker(parker) => Arc::as_ptr(parker).cast(),
        }
    }
}

thread_local! {
    /// The event of this thread, which is used again.
    static EVENT: Cell<Option<Arc<Event>>> = const { Cell::new(None) };
}

fn waiting() -> MutexGuard<'static, Vec<(usize, Bell)>> {
    lock(&WAITING)
}

/// Wakes the threads that wait in a store whose word was just raised.
///
/// A thread that sleeps on a parker finds out itself what has happened. For the others, their event
/// says that the code is to end, so it is signalled only if `ends` says that, too. `ends` is called
/// under the lock: the thread that runs the code settled the answer before it registered itself.
///
/// `store` is the address of the word.
pub(super) fn wake(store: usize, ends: impl FnOnce() -> bool) {
    fence(Ordering::SeqCst);
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let all = waiting();
    let ends = ends();
    for (_, bell) in all.iter().filter(|(of, _)| *of == store) {
        match bell {
            Bell::Event(event) if ends => event.signal(),
            Bell::Event(_) => {}
            Bell::Parker(parker) => parker.unpark(),
        }
    }
}

/// Forgets what waits in a store that is dropped: the future of a call that was suspended while it
/// waited at an address of a shared memory was leaked, and nothing wakes that call.
#[cfg(feature = "async")]
pub(super) fn abandon(store: usize) {
    let mut all = waiting();
    all.retain(|(of, bell)| match bell {
        Bell::Parker(parker) if *of == store => {
            parker.abandon();
            COUNT.fetch_sub(1, Ordering::SeqCst);
            false
        }
        // A thread of the host, which takes its event out itself.
        Bell::Parker(_) | Bell::Event(_) => true,
    });
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

/// The entry of a thread in the list of those that wait, until this is dropped.
pub(super) struct Registered {
    store: usize,
    id: *const (),
}

impl Registered {
    fn new(store: usize, bell: Bell) -> Self {
        let id = bell.id();
        waiting().push((store, bell));
        COUNT.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Self { store, id }
    }

    /// Registers a thread that looks at the word after this, and each time before it sleeps.
    pub(super) fn parker(store: usize, parker: &Arc<Parker>) -> Self {
        Self::new(store, Bell::Parker(Arc::clone(parker)))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut all = waiting();
        let this = |(store, bell): &(usize, Bell)| *store == self.store && bell.id() == self.id;
        if let Some(i) = all.iter().position(this) {
            all.swap_remove(i);
        }
        drop(all);
        COUNT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A thread that waits for the system, until this is dropped.
pub(crate) struct Waiting {
    /// `None` only while this is dropped.
    registered: Option<Registered>,
    event: Arc<Event>,
}

impl Waiting {
    /// Registers that this thread is going to wait in a store. `ends` says whether its code is to
    /// end already.
    ///
    /// # Errors
    /// The error of the system, if it has no descriptor.
    pub(super) fn new(store: usize, ends: impl FnOnce() -> bool) -> io::Result<Self> {
        let event = match EVENT.try_with(Cell::take).ok().flatten() {
            Some(event) => event,
            None => Arc::new(Event::new()?),
        };
        let bell = Bell::Event(Arc::clone(&event));
        let registered = Some(Registered::new(store, bell));
        if ends() {
            event.signal();
        }
        Ok(Self { registered, event })
    }

    /// A descriptor that can be read when the code of the store is to end.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.file.as_fd()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.registered.take());
        self.event.reset();
        let event = Arc::clone(&self.event);
        EVENT.try_with(|kept| kept.set(Some(event))).ok();
    }
}
