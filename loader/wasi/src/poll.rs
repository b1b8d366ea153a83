//! The function that waits for events: `poll_oneoff`.
//!
//! A guest subscribes to clocks and descriptors. The call returns as soon as one of them is ready,
//! and tells which ones are. Among descriptors, only pipes, sockets and terminals make the guest
//! wait, also as the host's standard streams. Files are always ready, as in POSIX. The
//! subscriptions are read from guest memory twice, first to find out what to wait for and then to
//! report what is ready.

use std::io::Seek;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::access::Access;
use crate::clock::Clock;
use crate::ctx::WasiCtx;
use crate::descriptor::{Kind, MAX_DESCRIPTORS};
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::types::{Rights, SubClockFlags};
use crate::wait::{self, Until};

/// The maximum number of subscriptions of one call. Each costs time in which the guest cannot be
/// stopped. This is enough to read and write every descriptor, and for as many clocks.
const MAX_SUBSCRIPTIONS: u32 = 4 * MAX_DESCRIPTORS as u32;

const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;
const HANGUP: u16 = 1;

/// The form of a list of subscriptions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Preview1,
    /// A clock's subscription has a number of its own in front of the clock's number.
    Unstable,
}

impl Form {
    /// Bytes of a subscription.
    fn size(self) -> u32 {
        match self {
            Self::Preview1 => SUBSCRIPTION,
            Self::Unstable => SUBSCRIPTION + 8,
        }
    }
}

pub(crate) fn poll_oneoff<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> Result<()> {
    let form = Form::Preview1;
    poll(ctx, memory, form, subscriptions, events, count, ready)
}

pub(crate) fn poll<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    form: Form,
    subscriptions: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> Result<()> {
    check(memory, form, subscriptions, events, count, ready)?;
    let mut access: Access<'_> = ctx.into();
    let plan = access.with(|ctx| Plan::new(ctx, memory, form, subscriptions, count))?;
    let is_ready = match plan.timeout {
        // Without anything to wait for, the call looks once more, to report what is ready.
        Some(Duration::ZERO) if plan.waited_for.is_empty() => false,
        timeout => access.wait(&plan.waited_for, timeout)?,
    };
    access.with(|ctx| {
        let told = plan.report(ctx, memory, is_ready, events)?;
        memory.write_u32(ready, told)
    })
}

/// Checks the arguments of a call.
///
/// # Errors
/// `INVAL` for no subscriptions or too many, `FAULT` for lists that are not within the memory.
pub(crate) fn check(
    memory: &GuestMemory<'_>,
    form: Form,
    subscriptions: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> Result<()> {
    if count == 0 {
        // Without subscriptions the call would wait for ever.
        return Err(Errno::INVAL);
    }
    memory.check(ready, 4)?;
    memory.check(subscriptions, u64::from(count) * u64::from(form.size()))?;
    memory.check(events, u64::from(count) * u64::from(EVENT))?;
    // The system's `poll` reports too many subscriptions in the same way.
    if count > MAX_SUBSCRIPTIONS {
        return Err(Errno::INVAL);
    }
    Ok(())
}

/// What a call waits for.
pub(crate) struct Plan {
    form: Form,
    subscriptions: u32,
    count: u32,
    start: Moment,
    pub(crate) timeout: Option<Duration>,
    /// The descriptors: each once, or twice if the call waits for both directions.
    pub(crate) waited_for: Vec<(u32, Until)>,
}

impl Plan {
    pub(crate) fn new(
        ctx: &mut WasiCtx,
        memory: &GuestMemory<'_>,
        form: Form,
        subscriptions: u32,
        count: u32,
    ) -> Result<Self> {
        let start = Moment::now(ctx);
        let mut timeout: Option<Duration> = None;
        let mut is_ready = false;
        let mut waited_for = Vec::new();
        for i in 0..count {
            match Subscription::read(memory, form, subscriptions, i)?.what {
                What::Clock {
                    clock,
                    at,
                    is_absolute,
                } => {
                    let left = start.left(clock, at, is_absolute);
                    timeout = Some(timeout.map_or(left, |t| t.min(left)));
                }
                What::Invalid(_) => is_ready = true,
                What::Fd { fd, until } => match look(ctx, fd, until) {
                    Look::Waits => waited_for.push((fd, until)),
                    Look::Ready { .. } | Look::Failed(_) => is_ready = true,
                },
            }
        }
        if is_ready {
            timeout = Some(Duration::ZERO);
        }
        waited_for.sort_unstable();
        waited_for.dedup();
        Ok(Self {
            form,
            subscriptions,
            count,
            start,
            timeout,
            waited_for,
        })
    }

    /// Writes an event for each subscription that is ready. Returns how many.
    pub(crate) fn report(
        &self,
        ctx: &mut WasiCtx,
        memory: &mut GuestMemory<'_>,
        is_ready: bool,
        events: u32,
    ) -> Result<u32> {
        let Self {
            form,
            subscriptions,
            count,
            ref start,
            timeout,
            ..
        } = *self;
        let mut told = 0;
        for i in 0..count {
            let subscription = Subscription::read(memory, form, subscriptions, i)?;
            let event = match subscription.what {
                What::Clock {
                    clock,
                    at,
                    is_absolute,
                } => {
                    // If nothing else is ready, the call has slept for the shortest timeout, so
                    // that one is over even if the clocks disagree.
                    let left = start.left(clock, at, is_absolute);
                    let is_over = !is_ready && timeout.is_some_and(|t| left <= t);
                    if !is_over && !left.is_zero() {
                        continue;
                    }
                    Event::new(0)
                }
                What::Invalid(errno) => Event::failed(subscription.tag, errno),
                What::Fd { fd, until } => match look(ctx, fd, until) {
                    Look::Waits if !is_ready => continue,
                    Look::Waits => match end(ctx, fd, until) {
                        Some(end) if wait::is_ready(end, until)? => Event {
                            bytes: match until {
                                Until::Readable => {
                                    rustix::io::ioctl_fionread(end).unwrap_or(1).max(1)
                                }
                                Until::Writable => 1,
                            },
                            ..Event::new(subscription.tag)
                        },
                        _ => continue,
                    },
                    Look::Ready { bytes, is_end } => Event {
                        bytes,
                        flags: if is_end { HANGUP } else { 0 },
                        ..Event::new(subscription.tag)
                    },
                    Look::Failed(errno) => Event::failed(subscription.tag, errno),
                },
            };
            event.write(memory, events, told, subscription.userdata)?;
            told += 1;
        }
        Ok(told)
    }
}

/// The time of both clocks when the call began. All timeouts of the call count from this moment.
struct Moment {
    realtime: Duration,
    monotonic: Duration,
}

impl Moment {
    fn now(ctx: &mut WasiCtx) -> Self {
        Self {
            realtime: Clock::Realtime.now(&mut *ctx.clocks),
            monotonic: Clock::Monotonic.now(&mut *ctx.clocks),
        }
    }

    /// How long it is from this moment until `at`.
    fn left(&self, clock: Clock, at: Duration, is_absolute: bool) -> Duration {
        let now = match clock {
            _ if !is_absolute => Duration::ZERO,
            Clock::Realtime => self.realtime,
            Clock::Monotonic => self.monotonic,
        };
        at.saturating_sub(now)
    }
}

struct Subscription {
    userdata: u64,
    tag: u8,
    what: What,
}

enum What {
    Clock {
        clock: Clock,
        at: Duration,
        is_absolute: bool,
    },
    Fd {
        fd: u32,
        until: Until,
    },
    /// The subscription is invalid. Its event reports this error.
    Invalid(Errno),
}

impl Subscription {
    /// Reads subscription `i` of a list.
    ///
    /// # Errors
    /// `INVAL` for an unknown type of event.
    fn read(memory: &GuestMemory<'_>, form: Form, list: u32, i: u32) -> Result<Self> {
        // The caller has checked that the whole list is within the memory, so no sum wraps.
        let start = list.wrapping_add(i.wrapping_mul(form.size()));
        let bytes: [u8; SUBSCRIPTION as usize] = memory.read(start)?;
        let tag = bytes[8];
        // After the number in front of a clock comes what preview 1 has at that place.
        let bytes = match (form, tag) {
            (Form::Unstable, 0) => {
                let mut clock = bytes;
                let rest: [u8; SUBSCRIPTION as usize - 16] = memory.read(start.wrapping_add(24))?;
                clock[16..].copy_from_slice(&rest);
                clock
            }
            _ => bytes,
        };
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let id = word(16) as u32;
        let what = match tag {
            0 => match (Clock::new(id), SubClockFlags::new(word(40) as u32 & 0xffff)) {
                (Err(errno), _) | (_, Err(errno)) => What::Invalid(errno),
                (Ok(clock), Ok(flags)) => What::Clock {
                    clock,
                    at: Duration::from_nanos(word(24)),
                    is_absolute: flags.contains(SubClockFlags::ABSTIME),
                },
            },
            1 => What::Fd {
                fd: id,
                until: Until::Readable,
            },
            2 => What::Fd {
                fd: id,
                until: Until::Writable,
            },
            _ => return Err(Errno::INVAL),
        };
        Ok(Self {
            userdata: word(0),
            tag,
            what,
        })
    }
}

/// The state of a descriptor.
enum Look {
    /// The guest may have to wait for the descriptor that [`end`] returns, or for a stream of the
    /// host that suspends the guest.
    Waits,
    Ready {
        bytes: u64,
        is_end: bool,
    },
    Failed(Errno),
}

fn look(ctx: &mut WasiCtx, fd: u32, until: Until) -> Look {
    try_look(ctx, fd, until).unwrap_or_else(Look::Failed)
}

fn try_look(ctx: &mut WasiCtx, fd: u32, until: Until) -> Result<Look> {
    let rights = match until {
        Until::Readable => Rights::FD_READ,
        Until::Writable => Rights::FD_WRITE,
    };
    let needed = Rights::POLL_FD_READWRITE.and(rights);
    ctx.descriptors.with(fd, needed)?;
    #[cfg(feature = "async")]
    if ctx.suspends && ctx.is_suspending(fd) {
        return Ok(Look::Waits);
    }
    if end(ctx, fd, until).is_some() {
        return Ok(Look::Waits);
    }
    let reads = until == Until::Readable;
    let descriptor = ctx.descriptors.with(fd, needed)?;
    match &descriptor.kind {
        Kind::Stdin => Ok(Look::Ready {
            bytes: ctx.stdin.available(),
            is_end: false,
        }),
        Kind::File(file) if reads => {
            let len = file.file.metadata()?.len();
            let bytes = len.saturating_sub((&file.file).stream_position()?);
            Ok(Look::Ready {
                bytes,
                is_end: bytes == 0,
            })
        }
        Kind::MountedFile(file) if reads => {
            let bytes = file.left()?;
            Ok(Look::Ready {
                bytes,
                is_end: bytes == 0,
            })
        }
        _ => Ok(Look::Ready {
            bytes: 1,
            is_end: false,
        }),
    }
}

/// The descriptor of the system to wait for before a read or a write. `None` if the read or write
/// never waits.
pub(crate) fn end(ctx: &WasiCtx, fd: u32, until: Until) -> Option<BorrowedFd<'_>> {
    match (&ctx.descriptors.get(fd).ok()?.kind, until) {
        (Kind::Stdin, Until::Readable) => ctx.stdin.waits_for(),
        (Kind::Stdout, Until::Writable) => ctx.stdout.waits_for(),
        (Kind::Stderr, Until::Writable) => ctx.stderr.waits_for(),
        (Kind::File(file), _) if file.may_wait => Some(file.file.as_fd()),
        (Kind::Stdin, Until::Writable)
        | (Kind::Stdout | Kind::Stderr, Until::Readable)
        | (Kind::File(_) | Kind::Dir(_) | Kind::MountedFile(_) | Kind::MountedDir(_), _) => None,
    }
}

/// Whether a descriptor that made the guest wait does so no longer, because another thread has
/// closed it or put another descriptor in its place.
pub(crate) fn is_gone(ctx: &mut WasiCtx, fd: u32, until: Until) -> bool {
    #[cfg(feature = "async")]
    if ctx.is_stream(fd) {
        return false;
    }
    end(ctx, fd, until).is_none()
}

struct Event {
    tag: u8,
    errno: u16,
    bytes: u64,
    flags: u16,
}

impl Event {
    fn new(tag: u8) -> Self {
        Self {
            tag,
            errno: 0,
            bytes: 0,
            flags: 0,
        }
    }

    fn failed(tag: u8, errno: Errno) -> Self {
        Self {
            errno: errno.raw(),
            ..Self::new(tag)
        }
    }

    fn write(&self, memory: &mut GuestMemory<'_>, list: u32, i: u32, userdata: u64) -> Result<()> {
        let mut bytes = [0; EVENT as usize];
        bytes[0..8].copy_from_slice(&userdata.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.errno.to_le_bytes());
        bytes[10] = self.tag;
        bytes[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.flags.to_le_bytes());
        memory.write(list.wrapping_add(i.wrapping_mul(EVENT)), &bytes)
    }
}
