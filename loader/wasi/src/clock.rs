//! The clock functions, and the source of their time.

use std::time::{Duration, Instant, SystemTime};

use precast_loader::InterruptHandle;

use crate::ctx::WasiCtx;
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::wait;

/// The source of a guest's time, and how the guest sleeps.
///
/// The default is the system's clocks. Tests and simulations can supply their own.
pub trait Clocks: Send {
    /// Time since 1970-01-01 00:00 UTC.
    fn realtime(&mut self) -> Duration;

    /// Time since a fixed moment. It is never less than the result of an earlier call.
    fn monotonic(&mut self) -> Duration;

    /// Returns after this time.
    fn sleep(&mut self, duration: Duration);

    /// Returns after this time, or as soon as the guest must end, for example because of a
    /// deadline: see [`InterruptHandle::wait`], and [`InterruptHandle::is_interrupted`] for when
    /// that fails. The default is [`sleep`](Self::sleep), so that the guest ends only after that
    /// time.
    fn sleep_interruptibly(&mut self, duration: Duration, interrupt: &InterruptHandle) {
        let _ = interrupt;
        self.sleep(duration);
    }

    /// The shortest difference between two moments that the clocks can tell apart.
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }
}

/// The system's clocks. The monotonic time counts from the creation of this value, so that the
/// guest does not learn how long the system has been running.
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
        // A time before 1970 is reported as 1970.
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

    fn sleep_interruptibly(&mut self, duration: Duration, interrupt: &InterruptHandle) {
        // Without descriptors, the only error is that the guest must end.
        wait::ready(Some(interrupt), &[], Some(duration)).ok();
    }
}

/// Clocks of which some are replaced.
pub(crate) struct Replaced {
    pub(crate) others: Box<dyn Clocks>,
    pub(crate) wall_clock: Option<Now>,
    pub(crate) monotonic_clock: Option<Now>,
    pub(crate) sleep: Option<Box<dyn FnMut(Duration) + Send>>,
}

type Now = Box<dyn FnMut() -> Duration + Send>;

impl Replaced {
    pub(crate) fn nothing_of(others: Box<dyn Clocks>) -> Self {
        Self {
            others,
            wall_clock: None,
            monotonic_clock: None,
            sleep: None,
        }
    }
}

impl Clocks for Replaced {
    fn realtime(&mut self) -> Duration {
        match &mut self.wall_clock {
            Some(now) => now(),
            None => self.others.realtime(),
        }
    }

    fn monotonic(&mut self) -> Duration {
        match &mut self.monotonic_clock {
            Some(now) => now(),
            None => self.others.monotonic(),
        }
    }

    fn sleep(&mut self, duration: Duration) {
        match &mut self.sleep {
            Some(sleep) => sleep(duration),
            None => self.others.sleep(duration),
        }
    }

    fn sleep_interruptibly(&mut self, duration: Duration, interrupt: &InterruptHandle) {
        match &mut self.sleep {
            Some(sleep) => sleep(duration),
            None => self.others.sleep_interruptibly(duration, interrupt),
        }
    }

    fn resolution(&self) -> Duration {
        self.others.resolution()
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
    /// `INVAL` for all others, as the snapshot demands. The clocks of processor time are among
    /// them: a guest is not a process or thread, and must not learn how much its host has used.
    pub(crate) fn new(id: u32) -> Result<Self> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
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
