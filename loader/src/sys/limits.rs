//! The reasons for which the system refuses memory or address space: the limit that is reached, as
//! far as the system tells. Looking for it takes no more memory than the text does.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock_if_free;

/// A text that names the limit that is reached and what to do. `None` if no limit explains the
/// refusal. This makes many system calls, so it is only for errors.
pub(crate) fn reached() -> Option<String> {
    if let Some((mappings, max)) = many_mappings() {
        return Some(format!(
            "the process has {mappings} mappings of the {max} that `vm.max_map_count` allows: have \
             fewer instances at a time or in the pool, or raise that limit"
        ));
    }
    let limit = address_space()?;
    Some(format!(
        "the address space of the process is limited to {limit} bytes (RLIMIT_AS, `ulimit -v`): \
         raise that limit, or reserve less: memories of modules compiled with `--strategy checked` \
         reserve little, and stacks of suspended calls reserve what the host has configured"
    ))
}

/// For so long, mappings are not counted again if counting them took longer than [`LONG`].
const STAYS: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_millis(1);

/// The number of mappings of the process, and its maximum, if it has nearly as many.
///
/// Counting many mappings takes the system a tenth of a second, and a host that is refused one
/// call may be refused thousands. So they are counted once in a while.
fn many_mappings() -> Option<(u64, u64)> {
    static LAST: Mutex<Option<(Instant, (u64, u64))>> = Mutex::new(None);
    let last = lock_if_free(|| LAST.try_lock()).and_then(|last| *last);
    let counted = match last.filter(|(counted, _)| counted.elapsed() < STAYS) {
        Some((_, counted)) => counted,
        None => {
            let start = Instant::now();
            let counted = mappings()?;
            if start.elapsed() > LONG
                && let Some(mut last) = lock_if_free(|| LAST.try_lock())
            {
                *last = Some((Instant::now(), counted));
            }
            counted
        }
    };
    // The refused call may have needed several mappings.
    Some(counted).filter(|(mappings, max)| mappings + 8 >= *max)
}

/// The number of mappings of the process, and its maximum.
fn mappings() -> Option<(u64, u64)> {
    let mut max = [0; 32];
    let read = File::open("/proc/sys/vm/max_map_count").and_then(|mut file| file.read(&mut max));
    let max = str::from_utf8(max.get(..read.ok()?)?).ok()?;
    let max = max.trim().parse().ok()?;
    let mut maps = File::open("/proc/self/maps").ok()?;
    let mut piece = [0; 4096];
    let mut mappings = 0;
    loop {
        match maps.read(&mut piece) {
            Ok(0) => return Some((mappings, max)),
            Ok(read) => mappings += piece[..read].iter().filter(|b| **b == b'\n').count() as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The limit of the address space, if there is one.
fn address_space() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call only writes the structure.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    (asked == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}
