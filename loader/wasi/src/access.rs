//! How functions reach the context of the guest that calls them. A context belongs to one store, or
//! is shared by the threads of a program.
//!
//! Each thread of a program locks the shared context during a call, but [`Access::wait`] waits for
//! input or for a time without the lock. So a thread that sleeps does not keep the others from
//! writing.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use precast_loader::InterruptHandle;

use crate::ctx::WasiCtx;
use crate::errno::{Errno, Result};
use crate::poll;
use crate::wait::{self, Until};

/// What the threads of a program have together: arguments, environment, descriptors, clocks. Cheap
/// to clone.
///
/// A thread that waits in `poll_oneoff`, `fd_read` or `fd_write` for the host's standard streams,
/// for a pipe or for a time does not keep other threads from using the context; the system's clock
/// measures the time. But a reader or writer of the host that blocks its thread also blocks the
/// other threads.
#[derive(Debug, Clone)]
pub struct SharedWasiCtx(Arc<Mutex<WasiCtx>>);

impl SharedWasiCtx {
    /// Shares a context.
    pub fn new(mut ctx: WasiCtx) -> Self {
        ctx.at_once = true;
        Self(Arc::new(Mutex::new(ctx)))
    }
}

/// What the data of a store has for WASI: a [`WasiCtx`] of its own, or one that is
/// [shared](SharedWasiCtx).
pub trait WasiView {
    /// The way to the context.
    fn access(&mut self) -> Access<'_>;
}

impl WasiView for WasiCtx {
    #[inline]
    fn access(&mut self) -> Access<'_> {
        self.into()
    }
}

impl WasiView for SharedWasiCtx {
    fn access(&mut self) -> Access<'_> {
        Access(Way::Shared {
            ctx: self.0.clone(),
            interrupt: None,
        })
    }
}

/// The way to the context of a guest.
pub struct Access<'a>(Way<'a>);

enum Way<'a> {
    Own(&'a mut WasiCtx),
    Shared {
        ctx: Arc<Mutex<WasiCtx>>,
        interrupt: Option<InterruptHandle>,
    },
}

impl<'a> From<&'a mut WasiCtx> for Access<'a> {
    #[inline]
    fn from(ctx: &'a mut WasiCtx) -> Self {
        Self(Way::Own(ctx))
    }
}

impl Access<'_> {
    /// Uses the context. A shared one is locked in the meantime.
    #[inline]
    pub(crate) fn with<R>(&mut self, work: impl FnOnce(&mut WasiCtx) -> R) -> R {
        match &mut self.0 {
            Way::Own(ctx) => work(ctx),
            Way::Shared { ctx, .. } => {
                // A host's reader, writer or clock that panicked ends only its own call.
                work(&mut ctx.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// Sets the handle that ends a wait of the calling store.
    pub(crate) fn set_interrupt(&mut self, handle: Option<InterruptHandle>) {
        match &mut self.0 {
            Way::Own(ctx) => ctx.interrupt = handle,
            Way::Shared { interrupt, .. } => *interrupt = handle,
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.0, Way::Shared { .. })
    }

    fn interrupt(&self) -> Option<&InterruptHandle> {
        match &self.0 {
            Way::Own(ctx) => ctx.interrupt.as_ref(),
            Way::Shared { interrupt, .. } => interrupt.as_ref(),
        }
    }

    /// For functions that take long without waiting.
    ///
    /// # Errors
    /// `INTR` if the guest must end.
    pub(crate) fn check_interrupt(&self) -> Result<()> {
        match self.interrupt() {
            Some(interrupt) if interrupt.is_interrupted() => Err(Errno::INTR),
            _ => Ok(()),
        }
    }

    /// Waits for a short time.
    ///
    /// # Errors
    /// `INTR` if the guest must end.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<()> {
        wait::ready(self.interrupt(), &[], Some(time)).map(drop)
    }

    /// Waits until one of these descriptors is ready, for at most `timeout`. Without descriptors,
    /// sleeps for that time. Returns whether one is ready.
    ///
    /// # Errors
    /// `INTR` if the guest must end, and those of the system.
    pub(crate) fn wait(&mut self, fds: &[(u32, Until)], timeout: Option<Duration>) -> Result<bool> {
        let (shared, interrupt) = match &mut self.0 {
            Way::Own(ctx) if fds.is_empty() => {
                // There is a timeout here, see `poll`.
                let timeout = timeout.unwrap_or_default();
                if !timeout.is_zero() {
                    ctx.sleep(timeout);
                }
                return Ok(false);
            }
            Way::Own(ctx) => {
                let fds: Vec<_> = fds
                    .iter()
                    .filter_map(|(fd, until)| Some((poll::end(ctx, *fd, *until)?, *until)))
                    .collect();
                return wait::ready(ctx.interrupt.as_ref(), &fds, timeout);
            }
            Way::Shared { ctx, interrupt } => (ctx, interrupt.as_ref()),
        };
        let mut ctx = shared.lock().unwrap_or_else(PoisonError::into_inner);
        // If another thread has closed or replaced a descriptor, the guest's next look at it says
        // so.
        if fds
            .iter()
            .any(|(fd, until)| poll::is_gone(&mut ctx, *fd, *until))
        {
            return Ok(true);
        }
        // Another thread may close a descriptor in the meantime, so this thread waits for
        // duplicates.
        let fds: Vec<(OwnedFd, Until)> = fds
            .iter()
            .filter_map(|(fd, until)| Some((poll::end(&ctx, *fd, *until)?, *until)))
            .map(|(fd, until)| Ok((fd.try_clone_to_owned()?, until)))
            .collect::<std::io::Result<_>>()?;
        drop(ctx);
        let fds: Vec<_> = fds.iter().map(|(fd, until)| (fd.as_fd(), *until)).collect();
        wait::ready(interrupt, &fds, timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::ctx::WasiCtxBuilder;

    /// Another thread may close a descriptor after this one has seen that it must wait, and before
    /// it waits.
    #[test]
    fn nobody_waits_for_a_descriptor_that_is_closed() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let ctx = WasiCtxBuilder::new().stdin_from(reader).build();
        let mut shared = SharedWasiCtx::new(ctx);
        let stdin = [(0, Until::Readable)];
        let short = Some(Duration::from_millis(1));
        assert_eq!(shared.access().wait(&stdin, short), Ok(false));
        let closed = shared.access().with(|ctx| ctx.descriptors.remove(0));
        assert!(closed.is_ok());
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || send.send(shared.access().wait(&stdin, None)));
        let waited = receive.recv_timeout(Duration::from_secs(20));
        assert_eq!(waited, Ok(Ok(true)));
    }
}
