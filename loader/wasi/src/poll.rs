//! Waiting: `poll_oneoff`.
//!
//! A guest subscribes to clocks and to descriptors, and is told which of them are ready as soon as
//! one is. Only the host's standard input can keep it waiting; files always are ready, as in POSIX.
//! Nothing is allocated for it: subscriptions are walked in guest memory twice, once to find out
//! how long to wait and once to tell what is ready.

use std::io::Seek;
use std::time::Duration;

use rustix::event::Timespec;

use crate::clock::Clock;
use crate::ctx::WasiCtx;
use crate::descriptor::{Kind, MAX_DESCRIPTORS};
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::types::{Rights, SubClockFlags};

/// Most subscriptions of one call: the system is asked about each, and the guest cannot be stopped
/// meanwhile. Room for reading and writing of every descriptor, and as many clocks.
const MAX_SUBSCRIPTIONS: u32 = 4 * MAX_DESCRIPTORS as u32;

const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;
const HANGUP: u16 = 1;

pub(crate) fn poll_oneoff(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> Result<()> {
    if count == 0 {
        // Nothing would ever happen.
        return Err(Errno::INVAL);
    }
    memory.check(ready, 4)?;
    memory.check(subscriptions, u64::from(count) * u64::from(SUBSCRIPTION))?;
    memory.check(events, u64::from(count) * u64::from(EVENT))?;
    // As `poll` of the system has it.
    if count > MAX_SUBSCRIPTIONS {
        return Err(Errno::INVAL);
    }

    let start = Moment::now(ctx);
    let mut timeout: Option<Duration> = None;
    let mut is_ready = false;
    let mut wants_input = false;
    for i in 0..count {
        match Subscription::read(memory, subscriptions, i)?.what {
            What::Clock {
                clock,
                at,
                is_absolute,
            } => {
                let left = start.left(clock, at, is_absolute);
                timeout = Some(timeout.map_or(left, |t| t.min(left)));
            }
            What::Invalid(_) => is_ready = true,
            What::Fd { fd, writes } => match look(ctx, fd, writes) {
                Look::Input => wants_input = true,
                Look::Ready { .. } | Look::Failed(_) => is_ready = true,
            },
        }
    }
    if is_ready {
        timeout = Some(Duration::ZERO);
    }

    let has_input = if wants_input {
        wait_for_input(ctx, timeout)?
    } else {
        // There is a timeout: without clocks and input, something is ready.
        let timeout = timeout.unwrap_or_default();
        if !timeout.is_zero() {
            ctx.clocks.sleep(timeout);
        }
        false
    };

    let mut told = 0;
    for i in 0..count {
        let subscription = Subscription::read(memory, subscriptions, i)?;
        let event = match subscription.what {
            What::Clock {
                clock,
                at,
                is_absolute,
            } => {
                // If nothing else is ready, the shortest timeout is over, whatever the clocks say
                // by now.
                let left = start.left(clock, at, is_absolute);
                let is_over = !has_input && timeout.is_some_and(|t| left <= t);
                if !is_over && !left.is_zero() {
                    continue;
                }
                Event::new(0)
            }
            What::Invalid(errno) => Event::failed(subscription.tag, errno),
            What::Fd { fd, writes } => match look(ctx, fd, writes) {
                Look::Input if !has_input => continue,
                Look::Input => Event {
                    bytes: ctx.stdin.available(),
                    ..Event::new(subscription.tag)
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
    memory.write_u32(ready, told)
}

/// Waits for standard input; whether there is some.
fn wait_for_input(ctx: &mut WasiCtx, timeout: Option<Duration>) -> Result<bool> {
    let start = std::time::Instant::now();
    loop {
        let left = timeout.map(|t| t.saturating_sub(start.elapsed()));
        // Longer than the system can count is for ever.
        let left = left.and_then(|t| Timespec::try_from(t).ok());
        match ctx.stdin.wait(left) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

/// What both clocks said when the call began: all of its timeouts count from then on.
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

    /// How long it is to a time.
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
        writes: bool,
    },
    /// Of no use, as its event will say.
    Invalid(Errno),
}

impl Subscription {
    /// # Errors
    /// `INVAL` for a kind of event that there is none of.
    fn read(memory: &GuestMemory<'_>, list: u32, i: u32) -> Result<Self> {
        // Both lists lie in the memory.
        let bytes: [u8; SUBSCRIPTION as usize] =
            memory.read(list.wrapping_add(i.wrapping_mul(SUBSCRIPTION)))?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let id = word(16) as u32;
        let tag = bytes[8];
        let what = match tag {
            0 => match (Clock::new(id), SubClockFlags::new(word(40) as u32 & 0xffff)) {
                (Err(errno), _) | (_, Err(errno)) => What::Invalid(errno),
                (Ok(clock), Ok(flags)) => What::Clock {
                    clock,
                    at: Duration::from_nanos(word(24)),
                    is_absolute: flags.contains(SubClockFlags::ABSTIME),
                },
            },
            1 | 2 => What::Fd {
                fd: id,
                writes: tag == 2,
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

/// How it is with a descriptor.
enum Look {
    /// The host's standard input: it must be waited for.
    Input,
    Ready {
        bytes: u64,
        is_end: bool,
    },
    Failed(Errno),
}

fn look(ctx: &mut WasiCtx, fd: u32, writes: bool) -> Look {
    try_look(ctx, fd, writes).unwrap_or_else(Look::Failed)
}

fn try_look(ctx: &mut WasiCtx, fd: u32, writes: bool) -> Result<Look> {
    let rights = if writes {
        Rights::FD_WRITE
    } else {
        Rights::FD_READ
    };
    let descriptor = ctx
        .descriptors
        .with(fd, Rights::POLL_FD_READWRITE.and(rights))?;
    match &descriptor.kind {
        Kind::Stdin if ctx.stdin.can_wait() => Ok(Look::Input),
        Kind::File(file) if !writes => {
            let metadata = file.file.metadata()?;
            // Devices and pipes have no size; what they have to say is not known.
            let bytes = if metadata.is_file() {
                metadata
                    .len()
                    .saturating_sub((&file.file).stream_position()?)
            } else {
                1
            };
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
