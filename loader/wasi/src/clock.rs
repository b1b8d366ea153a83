//! Clocks: the functions, and where the time comes from.

use std::time::{Duration, Instant, SystemTime};

use crate::ctx::WasiCtx;
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;

/// Where guests get the time from, and how they sleep.
///
/// The default are the system's clocks; tests and simulations can supply their own.
pub trait Clocks: Send {
    /// Time since 1970-01-01 00:00 UTC.
    fn realtime(&mut self) -> Duration;

    /// Time since a fixed moment; never less than at the last call.
    fn monotonic(&mut self) -> Duration;

    /// Waits.
    fn sleep(&mut self, duration: Duration);

    /// The shortest difference between two moments that the clocks can tell apart.
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }
}

/// The system's clocks. Monotonic time starts when this is made: how long the system has been up
/// is none of the guest's business.
pub(crate) struct SystemClocks {
    start: Instant,
}

impl SystemClocks {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clocks for SystemClocks {
    fn realtime(&mut self) -> Duration {
        // Before 1970 it is 1970.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn monotonic(&mut self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Realtime,
    Monotonic,
}

impl Clock {
    /// # Errors
    /// `NOTSUP` for processor time: a guest is no process, and its host's is not for it. `INVAL`
    /// for other numbers.
    pub(crate) fn new(id: u32) -> Result<Self> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 | 3 => Err(Errno::NOTSUP),
            _ => Err(Errno::INVAL),
        }
    }

    pub(crate) fn now(self, clocks: &mut dyn Clocks) -> Duration {
        match self {
            Self::Realtime => clocks.realtime(),
            Self::Monotonic => clocks.monotonic(),
        }
    }
}

fn nanoseconds(duration: Duration) -> Result<u64> {
    u64::try_from(duration.as_nanos()).map_err(|_| Errno::OVERFLOW)
}

pub(crate) fn clock_res_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    resolution: u32,
) -> Result<()> {
    Clock::new(id)?;
    memory.write_u64(resolution, nanoseconds(ctx.clocks.resolution())?)
}

pub(crate) fn clock_time_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    _precision: u64,
    time: u32,
) -> Result<()> {
    let now = Clock::new(id)?.now(&mut *ctx.clocks);
    memory.write_u64(time, nanoseconds(now)?)
}
