//! Functions on the attributes of descriptors and of the files that they refer to.

use cap_fs_ext::{DirExt, SystemTimeSpec};
use cap_std::time::SystemTime;
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fcntl_getfl, fcntl_setfl};

use crate::clock::Clock;
use crate::ctx::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Result};
use crate::fs::Times;
use crate::guest::GuestMemory;
use crate::types::{FdFlags, Filestat, Filetype, FstFlags, Rights, system_time};

pub(crate) fn fd_fdstat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<()> {
    let descriptor = ctx.descriptors.get(fd)?;
    let filetype = match &descriptor.kind {
        Kind::Stdin => ctx.stdin.filetype(),
        Kind::Stdout => ctx.stdout.filetype(),
        Kind::Stderr => ctx.stderr.filetype(),
        Kind::File(file) => file.file.metadata()?.file_type().into(),
        Kind::MountedFile(file) => file.stat()?.filetype,
        Kind::Dir(_) | Kind::MountedDir(_) => Filetype::Directory,
    };
    let mut bytes = [0; 24];
    bytes[0] = filetype as u8;
    bytes[2..4].copy_from_slice(&(descriptor.flags.bits() as u16).to_le_bytes());
    bytes[8..16].copy_from_slice(&descriptor.rights.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&descriptor.inheriting.0.to_le_bytes());
    memory.write(stat, &bytes)
}

pub(crate) fn fd_fdstat_set_flags(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
) -> Result<()> {
    let flags = FdFlags::new(flags)?;
    let descriptor = ctx.descriptors.with(fd, Rights::FD_FDSTAT_SET_FLAGS)?;
    // As with `fcntl`, the flags that say how writes reach the disk cannot be changed after
    // opening.
    if (flags.bits() ^ descriptor.flags.bits()) & FdFlags::SYNCS != 0 {
        return Err(Errno::INVAL);
    }
    match &descriptor.kind {
        Kind::File(file) => {
            let mut system = fcntl_getfl(&file.file)?;
            system.set(OFlags::APPEND, flags.contains(FdFlags::APPEND));
            let answers = file.may_wait || flags.contains(FdFlags::NONBLOCK);
            system.set(OFlags::NONBLOCK, answers);
            fcntl_setfl(&file.file, system)?;
        }
        // The flags of the system's stream do not change: the host and other processes share it.
        Kind::Stdin | Kind::Stdout | Kind::Stderr => {}
        Kind::Dir(_) | Kind::MountedFile(_) | Kind::MountedDir(_) => {}
    }
    descriptor.flags = flags;
    Ok(())
}

pub(crate) fn fd_fdstat_set_rights(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    base: u64,
    inheriting: u64,
) -> Result<()> {
    let (base, inheriting) = (Rights(base), Rights(inheriting));
    let descriptor = ctx.descriptors.get_mut(fd)?;
    if !descriptor.rights.contains(base) || !descriptor.inheriting.contains(inheriting) {
        return Err(Errno::NOTCAPABLE);
    }
    (descriptor.rights, descriptor.inheriting) = (base, inheriting);
    Ok(())
}

pub(crate) fn fd_filestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<()> {
    let filestat = filestat(ctx, fd)?;
    memory.write(stat, &filestat.to_bytes())
}

/// The attributes of the file, directory or stream that a descriptor refers to.
pub(crate) fn filestat(ctx: &mut WasiCtx, fd: u32) -> Result<Filestat> {
    Ok(
        match &ctx.descriptors.with(fd, Rights::FD_FILESTAT_GET)?.kind {
            Kind::Stdin => Filestat::of_stream(ctx.stdin.filetype()),
            Kind::Stdout => Filestat::of_stream(ctx.stdout.filetype()),
            Kind::Stderr => Filestat::of_stream(ctx.stderr.filetype()),
            Kind::File(file) => (&file.file.metadata()?).into(),
            Kind::Dir(dir) => (&dir.dir.dir_metadata()?).into(),
            Kind::MountedFile(file) => file.stat()?,
            Kind::MountedDir(dir) => dir.stat()?,
        },
    )
}

pub(crate) fn fd_filestat_set_size(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    size: u64,
) -> Result<()> {
    let rights = Rights::FD_FILESTAT_SET_SIZE;
    if let Some(file) = ctx.descriptors.mounted_file(fd, rights)? {
        return file.set_len(size);
    }
    match ctx.descriptors.file(fd, rights) {
        Ok(file) => Ok(file.file.set_len(size)?),
        // As with `ftruncate`, a stream has no size to set, whatever it is connected to.
        Err(Errno::SPIPE) => Err(Errno::INVAL),
        Err(error) => Err(error),
    }
}

pub(crate) fn fd_filestat_set_times(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    atim: u64,
    mtim: u64,
    flags: u32,
) -> Result<()> {
    let (atime, mtime) = times(atim, mtim, flags)?;
    let mounted = mounted_times(ctx, &atime, &mtime)?;
    let descriptor = ctx.descriptors.get(fd)?;
    if let Kind::Stdin | Kind::Stdout | Kind::Stderr = descriptor.kind {
        return Err(Errno::BADF);
    }
    descriptor.rights.require(Rights::FD_FILESTAT_SET_TIMES)?;
    match &descriptor.kind {
        Kind::MountedFile(file) => file.set_times(mounted),
        Kind::MountedDir(dir) => dir.set_times(mounted),
        Kind::File(file) if file.read_only => Err(Errno::ROFS),
        Kind::Dir(dir) if dir.read_only => Err(Errno::ROFS),
        Kind::File(file) => {
            let times = Timestamps {
                last_access: timespec(atime)?,
                last_modification: timespec(mtime)?,
            };
            Ok(rustix::fs::futimens(&file.file, &times)?)
        }
        Kind::Dir(dir) => Ok(dir.dir.set_symlink_times(".", atime, mtime)?),
        Kind::Stdin | Kind::Stdout | Kind::Stderr => Err(Errno::BADF),
    }
}

/// The access and modification times that a guest wants to set. `None` keeps a time as it is.
///
/// # Errors
/// `INVAL` if the flags ask to set a time both to a given value and to the current time.
pub(crate) fn times(
    atim: u64,
    mtim: u64,
    flags: u32,
) -> Result<(Option<SystemTimeSpec>, Option<SystemTimeSpec>)> {
    let flags = FstFlags::new(flags)?;
    let time = |given, now, nanoseconds| match (flags.contains(given), flags.contains(now)) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => {
            let time = SystemTime::from_std(system_time(nanoseconds)?);
            Ok(Some(SystemTimeSpec::Absolute(time)))
        }
        (false, true) => Ok(Some(SystemTimeSpec::SymbolicNow)),
        (false, false) => Ok(None),
    };
    Ok((
        time(FstFlags::ATIM, FstFlags::ATIM_NOW, atim)?,
        time(FstFlags::MTIM, FstFlags::MTIM_NOW, mtim)?,
    ))
}

/// The times to set in a mounted file system, where the current time is that of the guest's clock.
///
/// # Errors
/// `OVERFLOW` for a time before 1970, which no guest passes.
pub(crate) fn mounted_times(
    ctx: &mut WasiCtx,
    atime: &Option<SystemTimeSpec>,
    mtime: &Option<SystemTimeSpec>,
) -> Result<Times> {
    let mut time = |time: &Option<SystemTimeSpec>| match time {
        None => Ok(None),
        Some(SystemTimeSpec::SymbolicNow) => Ok(Some(Clock::Realtime.now(&mut *ctx.clocks))),
        Some(SystemTimeSpec::Absolute(time)) => {
            let since = time
                .into_std()
                .duration_since(std::time::SystemTime::UNIX_EPOCH);
            since.map(Some).map_err(|_| Errno::OVERFLOW)
        }
    };
    Ok(Times {
        accessed: time(atime)?,
        modified: time(mtime)?,
    })
}

fn timespec(time: Option<SystemTimeSpec>) -> Result<Timespec> {
    Ok(match time {
        None => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        Some(SystemTimeSpec::SymbolicNow) => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        Some(SystemTimeSpec::Absolute(time)) => {
            let since = time
                .into_std()
                .duration_since(std::time::SystemTime::UNIX_EPOCH)
                .map_err(|_| Errno::OVERFLOW)?;
            Timespec::try_from(since).map_err(|_| Errno::OVERFLOW)?
        }
    })
}
