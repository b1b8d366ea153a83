//! Functions that suspend only their guest while it waits: sleeps, and streams of the host that are
//! not ready. They work in calls that suspend (`call_async`), under any executor.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use precast_loader::{AsContextMut, Caller, Error, Linker};

use crate::access::{Access, WasiView};
use crate::ctx::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Result, status};
use crate::guest::GuestMemory;
use crate::linker::{MODULE, add_common, add_preview1, enter};
use crate::poll::{Form, Plan, check};
use crate::stdio::{Input, Output};
use crate::timer::{ThreadTimer, Timer};
use crate::types::FdFlags;
use crate::wait::Until;
use crate::{fd, poll, wait};

/// A source of standard input that may have nothing yet, see
/// [`WasiCtxBuilder::stdin_async`](crate::WasiCtxBuilder::stdin_async).
pub trait AsyncInput: Send {
    /// Is ready if [`read`](Self::read) would not have to wait. Otherwise the task is woken as soon
    /// as a read would not have to wait.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Reads what is there; 0 at the end of the input.
    ///
    /// # Errors
    /// Any; `WouldBlock` if there is nothing yet.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize>;
}

/// A stream for output that may have no room yet, see
/// [`WasiCtxBuilder::stdout_async`](crate::WasiCtxBuilder::stdout_async).
pub trait AsyncOutput: Send {
    /// Is ready if [`write`](Self::write) would not have to wait. Otherwise the task is woken as
    /// soon as a write would not have to wait.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// Any; `WouldBlock` if there is no room yet.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

impl WasiCtx {
    /// The asynchronous stream of the host that a descriptor refers to, if any.
    fn stream(&mut self, fd: u32) -> Option<&mut dyn PollReady> {
        match self.descriptors.get(fd).ok()?.kind {
            Kind::Stdin => match &mut self.stdin {
                Input::Async(input) => Some(input),
                Input::Reader(_) | Input::Descriptor { .. } => None,
            },
            Kind::Stdout => self.stdout.stream(),
            Kind::Stderr => self.stderr.stream(),
            Kind::File(_) | Kind::Dir(_) | Kind::MountedFile(_) | Kind::MountedDir(_) => None,
        }
    }

    /// Whether a descriptor refers to an asynchronous stream of the host.
    pub(crate) fn is_stream(&mut self, fd: u32) -> bool {
        self.stream(fd).is_some()
    }

    /// Whether a descriptor refers to an asynchronous stream that is not ready, so that a wait for
    /// the stream suspends the guest.
    pub(crate) fn is_suspending(&mut self, fd: u32) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let stream = self.stream(fd);
        stream.is_some_and(|stream| stream.poll_ready(&mut context).is_pending())
    }

    /// Whether a call that returned `AGAIN` must be repeated when the stream is ready.
    fn waits_for_stream(&mut self, fd: u32) -> bool {
        let descriptor = self.descriptors.get(fd);
        descriptor.is_ok_and(|descriptor| !descriptor.flags.contains(FdFlags::NONBLOCK))
            && self.is_stream(fd)
    }
}

impl Output {
    fn stream(&mut self) -> Option<&mut dyn PollReady> {
        match self {
            Self::Async(output) => Some(output),
            Self::Writer(_) | Self::Descriptor { .. } => None,
        }
    }
}

/// A stream in either direction.
trait PollReady {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

impl PollReady for Box<dyn AsyncInput> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        (**self).poll_ready(context)
    }
}

impl PollReady for Box<dyn AsyncOutput> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        (**self).poll_ready(context)
    }
}

/// Like [`add_to_linker`](crate::add_to_linker), but guests that wait are suspended: in
/// `poll_oneoff` for a time or for streams, and in `fd_read` and `fd_write` for streams of the host
/// that are [asynchronous](crate::WasiCtxBuilder::stdin_async). So guests can call these three
/// functions only within a call that suspends, such as `TypedFunc::call_async`. Within any other
/// call they are an error.
///
/// A guest that waits for a descriptor of the system (a pipe, the host's standard input) still
/// waits with its thread. If it waits for such a descriptor and for a stream, it is suspended, and
/// looks at the descriptor every 5 milliseconds. Times are those of the
/// [timer](crate::WasiCtxBuilder::timer), unless the host has set only
/// [how guests sleep](crate::WasiCtxBuilder::sleep). Programs for `wasi_unstable`, the module name
/// of old toolchains, have no such functions: they wait with their thread. A deadline or an
/// interrupt handle wakes and ends a suspended guest. The guest also ends when the future of its
/// call is dropped.
///
/// # Errors
/// [`Error::Duplicate`] if one of the functions is defined already.
pub fn add_to_linker_async<T: Send + 'static, W: WasiView + 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut W + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    add_common(linker, MODULE, get)?;
    add_preview1(linker, get)?;
    linker.func_wrap_async(
        MODULE,
        "fd_read",
        move |mut caller: Caller<'_, T>, (fd, buffers, count, read): (u32, u32, u32, u32)| {
            Box::new(async move {
                let end = (fd, Until::Readable);
                repeated(&mut caller, get, "fd_read", end, |access, memory| {
                    fd::fd_read(access, memory, fd, buffers, count, read)
                })
                .await
            }) as Waiting<'_>
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_write",
        move |mut caller: Caller<'_, T>, (fd, buffers, count, written): (u32, u32, u32, u32)| {
            Box::new(async move {
                let end = (fd, Until::Writable);
                repeated(&mut caller, get, "fd_write", end, |access, memory| {
                    fd::fd_write(access, memory, fd, buffers, count, written)
                })
                .await
            }) as Waiting<'_>
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        move |mut caller: Caller<'_, T>, (list, events, count, told): (u32, u32, u32, u32)| {
            Box::new(async move {
                let plan = with_memory(&mut caller, get, "poll_oneoff", |mut access, memory| {
                    let form = Form::Preview1;
                    check(memory, form, list, events, count, told)?;
                    access.with(|ctx| {
                        suspending(ctx, |ctx| Plan::new(ctx, memory, form, list, count))
                    })
                })?;
                let plan = match plan {
                    Ok(plan) => plan,
                    Err(errno) => return Ok(status(Err(errno))),
                };
                let has_input = match plan.timeout {
                    Some(Duration::ZERO) if plan.waited_for.is_empty() => Ok(false),
                    timeout => wait(&mut caller, get, &plan.waited_for, timeout).await,
                };
                let done = with_memory(&mut caller, get, "poll_oneoff", |mut access, memory| {
                    let has_input = has_input?;
                    access.with(|ctx| {
                        let report = |ctx: &mut _| plan.report(ctx, memory, has_input, events);
                        let ready = suspending(ctx, report)?;
                        memory.write_u32(told, ready)
                    })
                })?;
                Ok(status(done))
            }) as Waiting<'_>
        },
    )?;
    Ok(())
}

type Waiting<'a> = Box<dyn Future<Output = Result<i32, Error>> + Send + 'a>;

/// Calls a function on a stream, and again whenever the stream is ready, until the function has not
/// returned `AGAIN`.
async fn repeated<T: 'static, W: WasiView>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut W + Copy,
    function: &'static str,
    (fd, until): (u32, Until),
    call: impl Fn(Access<'_>, &mut GuestMemory<'_>) -> Result<()>,
) -> Result<i32, Error> {
    loop {
        let done = with_memory(caller, get, function, &call)?;
        if !goes_on_later(caller, get, fd, done) {
            return Ok(status(done));
        }
        ready(caller, get, &[(fd, until)], None).await;
    }
}

/// Calls a function with the guest's memory and context.
fn with_memory<T: 'static, W: WasiView, R>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut W,
    function: &'static str,
    call: impl FnOnce(Access<'_>, &mut GuestMemory<'_>) -> R,
) -> Result<R, Error> {
    let interrupt = caller.as_context_mut().interrupt_handle();
    let (mut memory, data) = enter(caller, function)?;
    let mut access = get(data).access();
    access.set_interrupt(Some(interrupt));
    Ok(call(access, &mut memory))
}

/// Looks at streams as in a function that can suspend the guest until they are ready.
fn suspending<R>(ctx: &mut WasiCtx, look: impl FnOnce(&mut WasiCtx) -> R) -> R {
    /// Resets the flag, also when a stream of the host panics.
    struct Suspends<'a>(&'a mut WasiCtx);

    impl Drop for Suspends<'_> {
        fn drop(&mut self) {
            self.0.suspends = false;
        }
    }

    ctx.suspends = true;
    let suspends = Suspends(ctx);
    look(&mut *suspends.0)
}

/// Whether a call returned `AGAIN` and must be repeated when the stream is ready.
fn goes_on_later<T: 'static, W: WasiView>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut W,
    fd: u32,
    done: Result<()>,
) -> bool {
    let mut access = get(caller.data_mut()).access();
    done == Err(Errno::AGAIN) && access.with(|ctx| ctx.waits_for_stream(fd))
}

/// Waits for one of these descriptors, for at most `timeout`. Returns whether one is ready.
///
/// # Errors
/// Those of waiting for descriptors of the system.
async fn wait<T: 'static, W: WasiView>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut W,
    fds: &[(u32, Until)],
    timeout: Option<Duration>,
) -> Result<bool> {
    // The system does not wake a task when a descriptor of its own is ready, so the thread waits.
    // If the host has said how the guest sleeps, but not what wakes a guest that is suspended, the
    // guest sleeps like that.
    let waits_by_thread = {
        let mut access = get(caller.data_mut()).access();
        access.with(|ctx| match fds {
            [] => ctx.has_own_sleep && ctx.timer.is_none(),
            _ => !fds.iter().any(|(fd, _)| ctx.is_stream(*fd)),
        })
    };
    if waits_by_thread {
        let interrupt = caller.as_context_mut().interrupt_handle();
        let mut access = get(caller.data_mut()).access();
        access.set_interrupt(Some(interrupt));
        return access.wait(fds, timeout);
    }
    Ok(ready(caller, get, fds, timeout).await)
}

/// How often a suspended guest looks at descriptors of the system.
const LOOK: Duration = Duration::from_millis(5);

/// Suspends the guest until one of these descriptors is ready, for at most `timeout`. Returns
/// whether one is.
async fn ready<T: 'static, W: WasiView>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut W,
    fds: &[(u32, Until)],
    timeout: Option<Duration>,
) -> bool {
    let mut sleep = timeout.map(|timeout| {
        let mut access = get(caller.data_mut()).access();
        access.with(|ctx| match &ctx.timer {
            Some(timer) => timer.sleep(timeout),
            None => ThreadTimer.sleep(timeout),
        })
    });
    let mut look = None;
    poll_fn(|context| {
        let mut access = get(caller.data_mut()).access();
        let (mut is_ready, mut is_of_system) = (false, false);
        // All streams are polled, because each must wake the task.
        access.with(|ctx| {
            for (fd, until) in fds {
                is_ready |= if let Some(stream) = ctx.stream(*fd) {
                    stream.poll_ready(context).is_ready()
                } else if let Some(end) = poll::end(ctx, *fd, *until) {
                    is_of_system = true;
                    // The guest's next call reports an error.
                    wait::is_ready(end, *until).unwrap_or(true)
                } else {
                    // Another thread has closed the descriptor; the next call reports that.
                    true
                };
            }
        });
        if is_ready {
            return Poll::Ready(true);
        }
        if is_of_system {
            // The time of the host's timer may be another one, so this is that of the process.
            let next = || ThreadTimer.sleep(LOOK);
            while look
                .get_or_insert_with(next)
                .as_mut()
                .poll(context)
                .is_ready()
            {
                look = None;
            }
        }
        match &mut sleep {
            Some(sleep) => sleep.as_mut().poll(context).map(|()| false),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_stream_that_panics_changes_nothing_for_later_calls() {
        let mut ctx = crate::WasiCtxBuilder::new().build();
        assert!(suspending(&mut ctx, |ctx| ctx.suspends));
        let look = |ctx: &mut WasiCtx| assert!(!ctx.suspends, "a stream that panics");
        let panicked = catch_unwind(AssertUnwindSafe(|| suspending(&mut ctx, look)));
        assert!(panicked.is_err());
        assert!(!ctx.suspends);
    }
}
