//! Clocks and `poll_oneoff`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{self, Clocks};
use crate::poll::poll_oneoff;

/// Clocks that advance only when somebody sleeps. The realtime clock is an hour ahead.
#[derive(Clone)]
struct Still(Arc<Mutex<Vec<Duration>>>);

impl Still {
    fn slept(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

impl Clocks for Still {
    fn realtime(&mut self) -> Duration {
        self.monotonic() + Duration::from_secs(3600)
    }

    fn monotonic(&mut self) -> Duration {
        Duration::from_secs(100) + self.slept().iter().sum::<Duration>()
    }

    fn sleep(&mut self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
}

const SECOND: u64 = 1_000_000_000;

enum Sub {
    Clock(u32, u64, u16),
    Read(u32),
    Write(u32),
    Unknown,
}

/// The userdata, errno, type, bytes and flags of an event.
type Event = (u64, u16, u8, u64, u16);

fn poll(guest: &mut Guest, subs: &[Sub]) -> Result<Vec<Event>> {
    let mut bytes = Vec::new();
    for (i, sub) in subs.iter().enumerate() {
        let mut sub_bytes = [0; 48];
        sub_bytes[0] = i as u8 + 1;
        let (tag, id) = match sub {
            Sub::Clock(id, timeout, flags) => {
                sub_bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
                sub_bytes[40..42].copy_from_slice(&flags.to_le_bytes());
                (0, *id)
            }
            Sub::Read(fd) => (1, *fd),
            Sub::Write(fd) => (2, *fd),
            Sub::Unknown => (3, 0),
        };
        sub_bytes[8] = tag;
        sub_bytes[16..20].copy_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&sub_bytes);
    }
    let (at, _) = guest.put(&bytes);
    let count = subs.len() as u32;
    let events = 32 << 10;
    guest.call(|c, m| poll_oneoff(c, m, at, events, count, OUT))?;
    let events = guest.bytes[events as usize..].chunks(32);
    let word = |e: &[u8], at: usize| u16::from_le_bytes([e[at], e[at + 1]]);
    let found = events.take(guest.u32(OUT) as usize).map(|e| {
        let userdata = u64::from_le_bytes(e[0..8].try_into().unwrap());
        let bytes = u64::from_le_bytes(e[16..24].try_into().unwrap());
        (userdata, word(e, 8), e[10], bytes, word(e, 24))
    });
    Ok(found.collect())
}

fn guest() -> (Still, Guest) {
    let clocks = Still(Arc::default());
    let builder = WasiCtxBuilder::new().clocks(clocks.clone());
    (clocks, Guest::new(builder.build()))
}

#[test]
fn a_single_clock_sleeps() {
    for (clock, timeout, flags, slept) in [
        (0, SECOND, 0, 1),
        (1, SECOND, 0, 1),
        (0, 3702 * SECOND, 1, 2),
        (1, 103 * SECOND, 1, 3),
    ] {
        let (clocks, mut guest) = guest();
        let events = poll(&mut guest, &[Sub::Clock(clock, timeout, flags)]).unwrap();
        assert_eq!(events, [(1, 0, 0, 0, 0)]);
        assert_eq!(clocks.slept(), [Duration::from_secs(slept)]);
    }
}

#[test]
fn times_that_are_over_do_not_sleep() {
    let (clocks, mut guest) = guest();
    for sub in [
        Sub::Clock(0, 0, 0),
        Sub::Clock(1, 0, 1),
        Sub::Clock(1, 100 * SECOND, 1),
        Sub::Clock(0, 99 * SECOND, 1),
    ] {
        assert_eq!(poll(&mut guest, &[sub]).unwrap(), [(1, 0, 0, 0, 0)]);
    }
    assert_eq!(clocks.slept(), []);
}

#[test]
fn the_first_of_several_clocks_ends_the_wait() {
    let (clocks, mut guest) = guest();
    let subs = [
        Sub::Clock(1, 9 * SECOND, 0),
        Sub::Clock(0, 2 * SECOND, 0),
        Sub::Clock(1, u64::MAX, 0),
        Sub::Clock(1, 102 * SECOND, 1),
    ];
    let events = poll(&mut guest, &subs).unwrap();
    assert_eq!(events, [(2, 0, 0, 0, 0), (4, 0, 0, 0, 0)]);
    assert_eq!(clocks.slept(), [Duration::from_secs(2)]);
}

#[test]
fn files_and_streams_are_ready() {
    let (clocks, mut guest) = guest();
    let subs = [
        Sub::Clock(1, SECOND, 0),
        Sub::Write(1),
        Sub::Read(0),
        Sub::Clock(1, 0, 0),
    ];
    let events = poll(&mut guest, &subs).unwrap();
    assert_eq!(events, [(2, 0, 2, 1, 0), (3, 0, 1, 1, 0), (4, 0, 0, 0, 0)]);
    assert_eq!(clocks.slept(), []);

    let folder = folder();
    std::fs::write(folder.path().join("file"), "file").unwrap();
    let mut guest = Guest::in_folder(&folder, DirAccess::ReadWrite);
    let fd = guest.open("file", 0, READ | WRITE).unwrap();
    guest.read(fd, 1).unwrap();
    let events = poll(&mut guest, &[Sub::Read(fd), Sub::Write(fd)]).unwrap();
    assert_eq!(events, [(1, 0, 1, 3, 0), (2, 0, 2, 1, 0)]);
    guest.read(fd, 9).unwrap();
    let events = poll(&mut guest, &[Sub::Read(fd)]).unwrap();
    assert_eq!(events, [(1, 0, 1, 0, 1)], "the end");
}

#[test]
fn what_cannot_be_waited_for_is_an_event_with_an_error() {
    let (clocks, mut guest) = guest();
    let subs = [
        Sub::Clock(1, SECOND, 0),
        Sub::Read(99),
        Sub::Write(0),
        Sub::Clock(2, 0, 0),
        Sub::Clock(4, 0, 0),
        Sub::Clock(0, 0, 2),
    ];
    let events: Vec<_> = poll(&mut guest, &subs)
        .unwrap()
        .into_iter()
        .map(|(userdata, errno, ..)| (userdata, errno))
        .collect();
    assert_eq!(events, [(2, 8), (3, 8), (4, 28), (5, 28), (6, 28)]);
    assert_eq!(clocks.slept(), []);
    assert_eq!(poll(&mut guest, &[]), Err(Errno::INVAL));
    assert_eq!(poll(&mut guest, &[Sub::Unknown]), Err(Errno::INVAL));
}

#[test]
fn clocks_tell_the_time() {
    let (_clocks, mut guest) = guest();
    let mut time = |id| {
        guest
            .call(|c, m| clock::clock_time_get(c, m, id, 1, OUT))
            .map(|()| guest.u64(OUT))
    };
    assert_eq!(time(0), Ok(3700 * SECOND));
    assert_eq!(time(1), Ok(100 * SECOND));
    for id in [2, 3, 4, u32::MAX] {
        assert_eq!(time(id), Err(Errno::INVAL));
    }
    guest
        .call(|c, m| clock::clock_res_get(c, m, 0, OUT))
        .unwrap();
    assert_eq!(guest.u64(OUT), 1);
}

#[test]
fn the_systems_clocks_run() {
    let mut guest = Guest::new(WasiCtxBuilder::new().build());
    let time = |guest: &mut Guest, id| {
        guest
            .call(|c, m| clock::clock_time_get(c, m, id, 1, OUT))
            .unwrap();
        guest.u64(OUT)
    };
    assert!(time(&mut guest, 0) > 1_700_000_000 * SECOND);
    let start = time(&mut guest, 1);
    assert!(start < 1000 * SECOND, "does not tell the host's uptime");
    let timeout = 20_000_000;
    poll(&mut guest, &[Sub::Clock(1, timeout, 0)]).unwrap();
    assert!(time(&mut guest, 1) >= start + timeout);
    let until = time(&mut guest, 0) + timeout;
    poll(&mut guest, &[Sub::Clock(0, until, 1)]).unwrap();
    assert!(time(&mut guest, 0) >= until);
}
