//! Functions that differ in `wasi_unstable`, the snapshot before preview 1.
//!
//! Old programs import from it. Four functions differ from those of preview 1: the number of links
//! to a file has 32 bits, so the attributes of files are 8 bytes shorter; a subscription to a clock
//! has a number of its own in front; and the places to seek from have other numbers.

use crate::access::Access;
use crate::ctx::WasiCtx;
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::types::Filestat;
use crate::{fd, fdstat, path, poll};

/// Bytes of a file's attributes.
const FILESTAT: usize = 56;

pub(crate) fn fd_seek(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    position: u32,
) -> Result<()> {
    // Current place, end, start.
    let whence = match whence {
        0 => 1,
        1 => 2,
        2 => 0,
        _ => return Err(Errno::INVAL),
    };
    fd::fd_seek(ctx, memory, fd, offset, whence, position)
}

pub(crate) fn fd_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<()> {
    let filestat = fdstat::filestat(ctx, fd)?;
    memory.write(stat, &bytes(&filestat))
}

pub(crate) fn path_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    stat: u32,
) -> Result<()> {
    memory.check(stat, FILESTAT as u64)?;
    let filestat = path::filestat(ctx, memory, fd, flags, path, path_len)?;
    memory.write(stat, &bytes(&filestat))
}

pub(crate) fn poll_oneoff<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    ready: u32,
) -> Result<()> {
    let form = poll::Form::Unstable;
    poll::poll(ctx, memory, form, subscriptions, events, count, ready)
}

fn bytes(filestat: &Filestat) -> [u8; FILESTAT] {
    let mut bytes = [0; FILESTAT];
    bytes[..8].copy_from_slice(&filestat.dev.to_le_bytes());
    bytes[8..16].copy_from_slice(&filestat.ino.to_le_bytes());
    bytes[16] = filestat.filetype as u8;
    let links = u32::try_from(filestat.nlink).unwrap_or(u32::MAX);
    bytes[20..24].copy_from_slice(&links.to_le_bytes());
    let times = [filestat.size, filestat.atim, filestat.mtim, filestat.ctim];
    for (to, word) in bytes[24..].chunks_exact_mut(8).zip(times) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
