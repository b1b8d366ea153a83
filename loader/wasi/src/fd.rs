//! Functions on the data of descriptors: reading, writing, seeking, closing.
//!
//! Data is copied directly between guest memory and the system. Results are written through
//! pointers that are checked before anything else is done.

use std::io::{IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use cap_std::fs::{File, FileExt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::access::Access;
use crate::ctx::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::poll;
use crate::types::{FdFlags, Rights};
use crate::wait::{self, Until};

pub(crate) fn fd_read<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffers: u32,
    count: u32,
    read: u32,
) -> Result<()> {
    memory.check(read, 4)?;
    let mut access: Access<'_> = ctx.into();
    let n = loop {
        let found = memory.scatter(buffers, count, |buffers| {
            access.with(|ctx| read_current(ctx, fd, buffers))
        });
        match found {
            Err(Errno::AGAIN)
                if access.is_shared() && access.with(|ctx| waits(ctx, fd, Until::Readable)) =>
            {
                access.wait(&[(fd, Until::Readable)], None)?;
            }
            found => break found?,
        }
    };
    memory.write_u32(read, n as u32)
}

/// Whether a read of this descriptor waits for input, or a write for room.
fn waits(ctx: &WasiCtx, fd: u32, until: Until) -> bool {
    let descriptor = ctx.descriptors.get(fd);
    descriptor.is_ok_and(|descriptor| !descriptor.flags.contains(FdFlags::NONBLOCK))
        && poll::end(ctx, fd, until).is_some()
}

fn read_current(ctx: &mut WasiCtx, fd: u32, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
    let descriptor = ctx.descriptors.get_mut(fd)?;
    if descriptor.kind.is_dir() {
        return Err(Errno::ISDIR);
    }
    descriptor.rights.require(Rights::FD_READ)?;
    match &mut descriptor.kind {
        Kind::MountedFile(file) => file.read(buffers),
        Kind::File(file) => {
            // A guest that asked for nonblocking reads gets the answer of the system.
            let waits = file.may_wait
                && !descriptor.flags.contains(FdFlags::NONBLOCK)
                && !buffers.iter().all(|b| b.is_empty());
            loop {
                if waits {
                    let max = ctx.at_once.then_some(Duration::ZERO);
                    let file = [(file.file.as_fd(), Until::Readable)];
                    if !wait::ready(ctx.interrupt.as_ref(), &file, max)? {
                        return Err(Errno::AGAIN);
                    }
                }
                match retry(|| (&file.file).read_vectored(buffers)) {
                    // Another reader of the pipe was faster.
                    Err(Errno::AGAIN) if waits && !ctx.at_once => {}
                    result => return result,
                }
            }
        }
        Kind::Stdin => {
            if buffers.iter().all(|b| b.is_empty()) {
                return Ok(0);
            }
            let at_once = ctx.at_once || descriptor.flags.contains(FdFlags::NONBLOCK);
            let max = at_once.then_some(Duration::ZERO);
            loop {
                let mut waits = false;
                if let Some(stdin) = ctx.stdin.waits_for() {
                    let stdin = [(stdin, Until::Readable)];
                    if !wait::ready(ctx.interrupt.as_ref(), &stdin, max)? {
                        return Err(Errno::AGAIN);
                    }
                    waits = !at_once;
                }
                match ctx.stdin.read(buffers).map_err(Errno::from) {
                    // Another reader was faster.
                    Err(Errno::AGAIN) if waits => {}
                    result => return result,
                }
            }
        }
        Kind::Stdout | Kind::Stderr | Kind::Dir(_) | Kind::MountedDir(_) => Err(Errno::BADF),
    }
}

pub(crate) fn fd_write<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffers: u32,
    count: u32,
    written: u32,
) -> Result<()> {
    memory.check(written, 4)?;
    let mut access: Access<'_> = ctx.into();
    let n = memory.gather(buffers, count, |buffers| {
        write_all(&mut access, fd, buffers)
    })?;
    memory.write_u32(written, n as u32)
}

/// Writes everything to a pipe, a socket or a terminal, as POSIX requires, and waits for room
/// whenever there is none. Writes once to a file or to a writer of the embedder.
fn write_all(access: &mut Access<'_>, fd: u32, buffers: &[IoSlice<'_>]) -> Result<usize> {
    let len: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    let mut written = access.with(|ctx| write_current(ctx, fd, buffers));
    let mut total = 0;
    loop {
        match written {
            Ok(n) => total += n,
            Err(Errno::AGAIN) => {}
            Err(error) if total == 0 => return Err(error),
            // The bytes written so far are reported. The guest's next call gets the error.
            Err(_) => return Ok(total),
        }
        let is_done = total >= len || written == Ok(0);
        if is_done || !access.with(|ctx| waits(ctx, fd, Until::Writable)) {
            return if total > 0 { Ok(total) } else { written };
        }
        if written.is_err()
            && let Err(error) = access.wait(&[(fd, Until::Writable)], None)
        {
            return if total > 0 { Ok(total) } else { Err(error) };
        }
        let mut rest = buffers.to_vec();
        let mut rest = &mut rest[..];
        IoSlice::advance_slices(&mut rest, total);
        written = access.with(|ctx| write_current(ctx, fd, rest));
    }
}

/// Writes what there is room for, without waiting.
fn write_current(ctx: &mut WasiCtx, fd: u32, buffers: &[IoSlice<'_>]) -> Result<usize> {
    let descriptor = ctx.descriptors.with(fd, Rights::FD_WRITE)?;
    let appends = descriptor.flags.contains(FdFlags::APPEND);
    match &mut descriptor.kind {
        Kind::File(file) => retry(|| (&file.file).write_vectored(buffers)),
        Kind::MountedFile(file) => file.write(buffers, appends),
        Kind::Stdout => Ok(ctx.stdout.write(buffers)?),
        Kind::Stderr => Ok(ctx.stderr.write(buffers)?),
        Kind::Stdin | Kind::Dir(_) | Kind::MountedDir(_) => Err(Errno::BADF),
    }
}

pub(crate) fn fd_pread(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffers: u32,
    count: u32,
    offset: u64,
    read: u32,
) -> Result<()> {
    memory.check(read, 4)?;
    if let Ok(descriptor) = ctx.descriptors.get(fd)
        && descriptor.kind.is_dir()
    {
        return Err(Errno::ISDIR);
    }
    let rights = Rights::FD_READ.and(Rights::FD_SEEK);
    if let Some(file) = ctx.descriptors.mounted_file(fd, rights)? {
        let n = memory.scatter(buffers, count, |buffers| file.read_at(buffers, offset))?;
        return memory.write_u32(read, n as u32);
    }
    let file = ctx.descriptors.file(fd, rights)?;
    let n = memory.scatter(buffers, count, |buffers| {
        let buffers = buffers.iter_mut();
        at_offset(
            offset,
            buffers,
            |b| b.len(),
            |b, at| file.file.read_at(b, at),
        )
    })?;
    memory.write_u32(read, n as u32)
}

pub(crate) fn fd_pwrite(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffers: u32,
    count: u32,
    offset: u64,
    written: u32,
) -> Result<()> {
    memory.check(written, 4)?;
    let descriptor = ctx.descriptors.get(fd)?;
    let appends = descriptor.flags.contains(FdFlags::APPEND);
    let rights = Rights::FD_WRITE.and(Rights::FD_SEEK);
    if let Some(file) = ctx.descriptors.mounted_file(fd, rights)? {
        let n = memory.gather(buffers, count, |buffers| file.write_at(buffers, offset))?;
        return memory.write_u32(written, n as u32);
    }
    let file = ctx.descriptors.file(fd, rights)?;
    let n = memory.gather(buffers, count, |buffers| {
        let write = || {
            let buffers = buffers.iter();
            at_offset(
                offset,
                buffers,
                |b| b.len(),
                |b, at| file.file.write_at(b, at),
            )
        };
        if appends {
            not_appending(&file.file, write)
        } else {
            write()
        }
    })?;
    memory.write_u32(written, n as u32)
}

/// Runs `write` while the file is not in append mode.
///
/// `pwrite` writes at its offset in POSIX, and guests rely on that, but Linux appends if the file
/// is open for appending. No other descriptor shares the open file description, so nobody notices
/// that the mode changes.
fn not_appending<R>(file: &File, write: impl FnOnce() -> Result<R>) -> Result<R> {
    let flags = fcntl_getfl(file)?;
    fcntl_setfl(file, flags - OFlags::APPEND)?;
    let result = write();
    fcntl_setfl(file, flags)?;
    result
}

/// Transfers the buffers one after the other, until one of them is transferred in part only.
fn at_offset<B>(
    offset: u64,
    buffers: impl Iterator<Item = B>,
    len: impl Fn(&B) -> usize,
    mut transfer: impl FnMut(&mut B, u64) -> std::io::Result<usize>,
) -> Result<usize> {
    // The system's offsets are signed.
    if i64::try_from(offset).is_err() {
        return Err(Errno::INVAL);
    }
    let mut total = 0;
    for mut buffer in buffers {
        let wanted = len(&buffer);
        let at = offset.saturating_add(total as u64);
        match retry(|| transfer(&mut buffer, at)) {
            Ok(n) => {
                total += n;
                if n < wanted {
                    break;
                }
            }
            // The bytes transferred so far are reported. The guest's next call gets the error.
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

fn retry<R>(mut call: impl FnMut() -> std::io::Result<R>) -> Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

pub(crate) fn fd_seek(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    position: u32,
) -> Result<()> {
    memory.check(position, 8)?;
    let to = match whence {
        0 => u64::try_from(offset).map(SeekFrom::Start).ok(),
        1 => Some(SeekFrom::Current(offset)),
        2 => Some(SeekFrom::End(offset)),
        _ => None,
    };
    // Asking for the position needs the right to tell it. Moving needs the right to seek as well.
    let rights = if to == Some(SeekFrom::Current(0)) {
        Rights::FD_TELL
    } else {
        Rights::FD_SEEK.and(Rights::FD_TELL)
    };
    // What has no position is refused first, wherever it should move to.
    let at = match ctx.descriptors.mounted_file(fd, rights)? {
        Some(file) => file.seek(to.ok_or(Errno::INVAL)?)?,
        None => {
            let mut file = &ctx.descriptors.file(fd, rights)?.file;
            match to {
                Some(to) => file.seek(to)?,
                None => {
                    file.stream_position()?;
                    return Err(Errno::INVAL);
                }
            }
        }
    };
    memory.write_u64(position, at)
}

pub(crate) fn fd_tell(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    position: u32,
) -> Result<()> {
    memory.check(position, 8)?;
    let at = match ctx.descriptors.mounted_file(fd, Rights::FD_TELL)? {
        Some(file) => file.position,
        None => (&ctx.descriptors.file(fd, Rights::FD_TELL)?.file).stream_position()?,
    };
    memory.write_u64(position, at)
}

pub(crate) fn fd_close(ctx: &mut WasiCtx, _: &mut GuestMemory<'_>, fd: u32) -> Result<()> {
    ctx.descriptors.remove(fd)?;
    Ok(())
}

pub(crate) fn fd_renumber(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    from: u32,
    to: u32,
) -> Result<()> {
    ctx.descriptors.renumber(from, to)
}

pub(crate) fn fd_sync(ctx: &mut WasiCtx, _: &mut GuestMemory<'_>, fd: u32) -> Result<()> {
    sync(ctx, fd, Rights::FD_SYNC, File::sync_all)
}

pub(crate) fn fd_datasync(ctx: &mut WasiCtx, _: &mut GuestMemory<'_>, fd: u32) -> Result<()> {
    sync(ctx, fd, Rights::FD_DATASYNC, File::sync_data)
}

fn sync(
    ctx: &mut WasiCtx,
    fd: u32,
    rights: Rights,
    sync: impl FnOnce(&File) -> std::io::Result<()>,
) -> Result<()> {
    // The system refuses a pipe or a terminal. A writer of the host was flushed after each write.
    let stream = |fd: Option<BorrowedFd<'_>>| fd.map_or(Ok(()), |fd| Ok(rustix::fs::fsync(fd)?));
    match &ctx.descriptors.with(fd, rights)?.kind {
        Kind::Stdin => stream(ctx.stdin.fd()),
        Kind::Stdout => stream(ctx.stdout.fd()),
        Kind::Stderr => stream(ctx.stderr.fd()),
        Kind::File(file) => Ok(sync(&file.file)?),
        // The handle may be one opened with `O_PATH`, which cannot be synced.
        Kind::Dir(dir) => Ok(sync(&dir.dir.open(".")?)?),
        Kind::MountedFile(file) => file.file.sync(),
        Kind::MountedDir(_) => Ok(()),
    }
}

pub(crate) fn fd_advise(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
    advice: u32,
) -> Result<()> {
    let is_valid = advice <= 5 && i64::try_from(offset).is_ok() && i64::try_from(len).is_ok();
    let valid = is_valid.then_some(()).ok_or(Errno::INVAL);
    if ctx
        .descriptors
        .mounted_file(fd, Rights::FD_ADVISE)?
        .is_some()
    {
        return valid;
    }
    let file = ctx.descriptors.file(fd, Rights::FD_ADVISE)?;
    valid?;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::Advice;
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            _ => Advice::NoReuse,
        };
        rustix::fs::fadvise(&file.file, offset, std::num::NonZeroU64::new(len), advice)?;
    }
    // Advice is only a hint, so other systems ignore it.
    #[cfg(not(target_os = "linux"))]
    let _ = file;
    Ok(())
}

pub(crate) fn fd_allocate(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    offset: u64,
    len: u64,
) -> Result<()> {
    let is_mounted = ctx
        .descriptors
        .mounted_file(fd, Rights::FD_ALLOCATE)?
        .is_some();
    if !is_mounted {
        ctx.descriptors.file(fd, Rights::FD_ALLOCATE)?;
    }
    if len == 0 || i64::try_from(offset).is_err() || i64::try_from(len).is_err() {
        return Err(Errno::INVAL);
    }
    let end = offset + len;
    if i64::try_from(end).is_err() {
        return Err(Errno::FBIG);
    }
    if let Some(file) = ctx.descriptors.mounted_file(fd, Rights::FD_ALLOCATE)? {
        return file.allocate(end);
    }
    let file = ctx.descriptors.file(fd, Rights::FD_ALLOCATE)?;
    let flags = rustix::fs::FallocateFlags::empty();
    match rustix::fs::fallocate(&file.file, flags, offset, len) {
        // The file system cannot reserve space. The file gets its new size all the same.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            if file.file.metadata()?.len() < end {
                file.file.set_len(end)?;
            }
            Ok(())
        }
        result => Ok(result?),
    }
}
