//! Paths: everything but opening them.
//!
//! **The sandbox of the file system is cap-std**: no path reaches the system but through a
//! [`Dir`](cap_std::fs::Dir), which resolves it beneath itself (on Linux the kernel does, with
//! `openat2`): absolute paths, `..` and symbolic links that lead out are refused with `PERM`.
//!
//! Whatever changes something takes its directory from
//! [`Descriptors::writable_dir`](crate::descriptor::Descriptors::writable_dir), which refuses those
//! that are read-only. For two directories (links, renames) this holds for both: a link to a file
//! in a read-only directory would make it writable from elsewhere. What a read-write directory holds may
//! be [protected](crate::protect) all the same: then the path is resolved to a [`Spot`](crate::spot::Spot)
//! first, and refused or used where it was found to lead.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_fs_ext::DirExt;
use cap_std::fs::Dir;

use crate::ctx::WasiCtx;
use crate::errno::{Errno, Result};
use crate::fdstat::times;
use crate::guest::GuestMemory;
use crate::protect::Protected;
use crate::spot::{Spot, names_directory, without_slashes};
use crate::types::{Filestat, LookupFlags, Rights};

pub(crate) fn path_create_directory(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let path = memory.path(path, path_len)?;
    let dir = ctx
        .descriptors
        .writable_dir(fd, Rights::PATH_CREATE_DIRECTORY)?;
    // A directory may be named with a slash before it exists, too.
    let spot = ctx.protected.name(dir, without_slashes(path))?;
    Ok(spot.dir().create_dir(spot.path())?)
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
    memory.check(stat, Filestat::SIZE as u64)?;
    let flags = LookupFlags::new(flags)?;
    let path = memory.path(path, path_len)?;
    let dir = &ctx.descriptors.dir(fd, Rights::PATH_FILESTAT_GET)?.dir;
    // What must be a directory is looked up through links in any case.
    let metadata = if flags.contains(LookupFlags::SYMLINK_FOLLOW) || names_directory(path) {
        dir.metadata(path)?
    } else {
        dir.symlink_metadata(path)?
    };
    memory.write(stat, &Filestat::from(&metadata).to_bytes())
}

#[expect(clippy::too_many_arguments, reason = "as many as the snapshot has")]
pub(crate) fn path_filestat_set_times(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    atim: u64,
    mtim: u64,
    times_flags: u32,
) -> Result<()> {
    let flags = LookupFlags::new(flags)?;
    let (atime, mtime) = times(atim, mtim, times_flags)?;
    let path = memory.path(path, path_len)?;
    let dir = ctx
        .descriptors
        .writable_dir(fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    // Through the path without links rather than through an open file: opening a named pipe could
    // take for ever, and nothing need be readable for this.
    let follow = flags.contains(LookupFlags::SYMLINK_FOLLOW);
    let spot = changeable(&ctx.protected, dir, path, follow)?;
    Ok(spot.dir().set_symlink_times(spot.path(), atime, mtime)?)
}

#[expect(clippy::too_many_arguments, reason = "as many as the snapshot has")]
pub(crate) fn path_link(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<()> {
    let old_flags = LookupFlags::new(old_flags)?;
    let old_path = memory.path(old_path, old_path_len)?;
    let new_path = memory.path(new_path, new_path_len)?;
    let fds = &ctx.descriptors;
    let (old_dir, new_dir) = fds.writable_dirs(
        (old_fd, Rights::PATH_LINK_SOURCE),
        (new_fd, Rights::PATH_LINK_TARGET),
    )?;
    let follow = old_flags.contains(LookupFlags::SYMLINK_FOLLOW);
    let old = changeable(&ctx.protected, old_dir, old_path, follow)?;
    let new = ctx.protected.name(new_dir, new_path)?;
    Ok(old.dir().hard_link(old.path(), new.dir(), new.path())?)
}

#[expect(clippy::too_many_arguments, reason = "as many as the snapshot has")]
pub(crate) fn path_readlink(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
    buf: u32,
    buf_len: u32,
    used: u32,
) -> Result<()> {
    memory.check(used, 4)?;
    memory.check(buf, u64::from(buf_len))?;
    let path = memory.path(path, path_len)?;
    let dir = &ctx.descriptors.dir(fd, Rights::PATH_READLINK)?.dir;
    // An absolute target would tell about the host: `PERM`.
    let target = dir.read_link(path)?;
    // As in POSIX, what does not fit is cut off.
    let target = target.as_os_str().as_bytes();
    let n = target.len().min(buf_len as usize);
    memory.write(buf, &target[..n])?;
    memory.write_u32(used, n as u32)
}

pub(crate) fn path_remove_directory(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let path = memory.path(path, path_len)?;
    let dir = ctx
        .descriptors
        .writable_dir(fd, Rights::PATH_REMOVE_DIRECTORY)?;
    // A directory may be named with a slash, but `x/` must not become `x/.`, which none may remove.
    let spot = ctx.protected.name(dir, without_slashes(path))?;
    Ok(spot.dir().remove_dir(spot.path())?)
}

#[expect(clippy::too_many_arguments, reason = "as many as the snapshot has")]
pub(crate) fn path_rename(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    old_fd: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Result<()> {
    let old_path = memory.path(old_path, old_path_len)?;
    let new_path = memory.path(new_path, new_path_len)?;
    let fds = &ctx.descriptors;
    let (old_dir, new_dir) = fds.writable_dirs(
        (old_fd, Rights::PATH_RENAME_SOURCE),
        (new_fd, Rights::PATH_RENAME_TARGET),
    )?;
    // Only directories may be named with a slash, and a name that ends in one is for a directory.
    if (names_directory(old_path) || names_directory(new_path))
        && !old_dir
            .symlink_metadata(without_slashes(old_path))?
            .is_dir()
    {
        return Err(Errno::NOTDIR);
    }
    // None gets a slash on its way to the system.
    let old = ctx.protected.name(old_dir, without_slashes(old_path))?;
    let new = ctx.protected.name(new_dir, without_slashes(new_path))?;
    Ok(old.dir().rename(old.path(), new.dir(), new.path())?)
}

pub(crate) fn path_symlink(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let target = memory.path(target, target_len)?;
    let path = memory.path(path, path_len)?;
    let dir = ctx.descriptors.writable_dir(fd, Rights::PATH_SYMLINK)?;
    // An absolute target is refused, `PERM`: it would mean one of the host's files to others.
    let spot = ctx.protected.name(dir, path)?;
    Ok(spot.dir().symlink(target, spot.path())?)
}

pub(crate) fn path_unlink_file(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let path = memory.path(path, path_len)?;
    let dir = ctx.descriptors.writable_dir(fd, Rights::PATH_UNLINK_FILE)?;
    let spot = ctx.protected.name(dir, path)?;
    Ok(spot.dir().remove_file(spot.path())?)
}

/// Where a path leads, if what is there may be changed. Links at the end are followed by reading them, and
/// not by opening what they lead to: that could be a named pipe, and never open.
fn changeable<'a>(
    protected: &Protected,
    dir: &'a Dir,
    path: &'a Path,
    follow: bool,
) -> Result<Spot<'a>> {
    let (spot, changeable) = match follow {
        true => protected.resolved(dir, path, true)?,
        false => protected.object(dir, path, false)?,
    };
    if changeable {
        Ok(spot)
    } else {
        Err(Errno::ROFS)
    }
}
