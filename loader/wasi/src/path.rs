//! Functions on paths, except for opening them.
//!
//! **The sandbox of the file system is cap-std.** Every path goes to the system through a
//! [`Dir`](cap_std::fs::Dir), which resolves the path beneath itself (on Linux the kernel does,
//! with `openat2`). Absolute paths are refused with `PERM`, and so are `..` and symbolic links that
//! lead out of the directory.
//!
//! Functions that change something take their directory from
//! [`Descriptors::writable_dir`](crate::descriptor::Descriptors::writable_dir), which refuses
//! read-only directories. Links and renames check both of their directories: a link to a file in a
//! read-only directory would make the file writable through another one. Files in a read-write
//! directory can be [protected](crate::protect). If any are, a path is first resolved to a
//! [`PathAt`](crate::path_at::PathAt), and the function is refused or works on the resolved name.
//!
//! Paths in [file systems of the host](crate::fs) are resolved by `fs::resolve` instead.

use std::path::Path;

use cap_fs_ext::DirExt;
use cap_std::fs::Dir;

use crate::ctx::WasiCtx;
use crate::errno::{Errno, Result};
use crate::fdstat::{mounted_times, times};
use crate::guest::GuestMemory;
use crate::look;
use crate::path_at::{PathAt, names_directory, utf8, without_slashes};
use crate::protect::Protected;
use crate::types::{Filestat, LookupFlags, Rights};

pub(crate) fn path_create_directory(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let path = &*memory.path(path, path_len)?;
    let rights = Rights::PATH_CREATE_DIRECTORY;
    if let Some(dir) = ctx.descriptors.mounted_dir(fd, rights)? {
        return dir.create_dir(utf8(path)?);
    }
    let dir = ctx.descriptors.writable_dir(fd, rights)?;
    // The name of a new directory may end in a slash.
    let at = ctx.protected.name(dir, without_slashes(path))?;
    Ok(at.dir().create_dir(at.path())?)
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
    let filestat = filestat(ctx, memory, fd, flags, path, path_len)?;
    memory.write(stat, &filestat.to_bytes())
}

/// The attributes of what a path leads to.
pub(crate) fn filestat(
    ctx: &mut WasiCtx,
    memory: &GuestMemory<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
) -> Result<Filestat> {
    let flags = LookupFlags::new(flags)?;
    let path = &*memory.path(path, path_len)?;
    let follow = flags.contains(LookupFlags::SYMLINK_FOLLOW);
    let rights = Rights::PATH_FILESTAT_GET;
    if let Some(dir) = ctx.descriptors.mounted_dir(fd, rights)? {
        return dir.stat_at(utf8(path)?, follow);
    }
    let dir = &ctx.descriptors.dir(fd, rights)?.dir;
    // A path that must be a directory is looked up through symbolic links in any case.
    let metadata = look::metadata(dir, path, follow || names_directory(path))?;
    Ok(Filestat::from(&metadata))
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
    let path = &*memory.path(path, path_len)?;
    let follow = flags.contains(LookupFlags::SYMLINK_FOLLOW);
    let rights = Rights::PATH_FILESTAT_SET_TIMES;
    if ctx.descriptors.mounted_dir(fd, rights)?.is_some() {
        let times = mounted_times(ctx, &atime, &mtime)?;
        let dir = ctx
            .descriptors
            .mounted_dir(fd, rights)?
            .ok_or(Errno::BADF)?;
        return dir.set_times_at(utf8(path)?, follow, times);
    }
    let dir = ctx.descriptors.writable_dir(fd, rights)?;
    // The times are set by the path without symbolic links, not by an open file: opening a named
    // pipe could block for ever, and setting times does not need permission to read.
    let at = changeable(&ctx.protected, dir, path, follow)?;
    Ok(at.dir().set_symlink_times(at.path(), atime, mtime)?)
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
    let old_path = &*memory.path(old_path, old_path_len)?;
    let new_path = &*memory.path(new_path, new_path_len)?;
    let fds = &ctx.descriptors;
    let follow = old_flags.contains(LookupFlags::SYMLINK_FOLLOW);
    let from = (old_fd, Rights::PATH_LINK_SOURCE);
    let to = (new_fd, Rights::PATH_LINK_TARGET);
    if let Some((old_dir, new_dir)) = fds.mounted_dirs(from, to)? {
        return old_dir.link(utf8(old_path)?, follow, new_dir, utf8(new_path)?);
    }
    let (old_dir, new_dir) = fds.writable_dirs(from, to)?;
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
    let path = &*memory.path(path, path_len)?;
    let target = match ctx.descriptors.mounted_dir(fd, Rights::PATH_READLINK)? {
        Some(dir) => dir.read_link(utf8(path)?)?,
        None => {
            let dir = &ctx.descriptors.dir(fd, Rights::PATH_READLINK)?.dir;
            let target = look::read_link(dir, path)?;
            // An absolute target would tell the guest about the host.
            if target.is_absolute() {
                return Err(Errno::PERM);
            }
            utf8(&target)?.to_owned()
        }
    };
    // As in POSIX, a target that does not fit is cut off.
    let target = target.as_bytes();
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
    let path = &*memory.path(path, path_len)?;
    let rights = Rights::PATH_REMOVE_DIRECTORY;
    if let Some(dir) = ctx.descriptors.mounted_dir(fd, rights)? {
        let moved = dir.remove_dir(utf8(path)?)?;
        ctx.descriptors.follow(fd, &moved);
        return Ok(());
    }
    let dir = ctx.descriptors.writable_dir(fd, rights)?;
    // The name may end in a slash. The slash is removed because cap-std would turn `x/` into `x/.`,
    // and the system does not remove that.
    let at = ctx.protected.name(dir, without_slashes(path))?;
    Ok(at.dir().remove_dir(at.path())?)
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
    let old_path = &*memory.path(old_path, old_path_len)?;
    let new_path = &*memory.path(new_path, new_path_len)?;
    let fds = &ctx.descriptors;
    let from = (old_fd, Rights::PATH_RENAME_SOURCE);
    let to = (new_fd, Rights::PATH_RENAME_TARGET);
    if let Some((old_dir, new_dir)) = fds.mounted_dirs(from, to)? {
        let moved = old_dir.rename(utf8(old_path)?, new_dir, utf8(new_path)?)?;
        ctx.descriptors.follow(old_fd, &moved);
        return Ok(());
    }
    let (old_dir, new_dir) = fds.writable_dirs(from, to)?;
    // Only a directory may have an old or a new name that ends in a slash.
    if (names_directory(old_path) || names_directory(new_path))
        && !look::metadata(old_dir, without_slashes(old_path), false)?.is_dir()
    {
        return Err(Errno::NOTDIR);
    }
    // The names are passed to the system without slashes at the end.
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
    let target = &*memory.path(target, target_len)?;
    let path = &*memory.path(path, path_len)?;
    if let Some(dir) = ctx.descriptors.mounted_dir(fd, Rights::PATH_SYMLINK)? {
        return dir.symlink(utf8(target)?, utf8(path)?);
    }
    let dir = ctx.descriptors.writable_dir(fd, Rights::PATH_SYMLINK)?;
    // cap-std refuses an absolute target with `PERM`, as it refuses to follow one. A relative
    // target may lead out of the directory: the guest cannot follow such a link, but other programs
    // can, so they must not trust links in a directory that a guest writes to.
    let at = ctx.protected.name(dir, path)?;
    Ok(at.dir().symlink(target, at.path())?)
}

pub(crate) fn path_unlink_file(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let path = &*memory.path(path, path_len)?;
    if let Some(dir) = ctx.descriptors.mounted_dir(fd, Rights::PATH_UNLINK_FILE)? {
        return dir.remove_file(utf8(path)?);
    }
    let dir = ctx.descriptors.writable_dir(fd, Rights::PATH_UNLINK_FILE)?;
    let at = ctx.protected.name(dir, path)?;
    Ok(at.dir().remove_file(at.path())?)
}

/// Resolves a path, if the guest may change the file or directory that it leads to. A symbolic link
/// at the end is followed by reading it, not by opening the file, because opening a named pipe
/// could block for ever.
///
/// # Errors
/// `ROFS` if the file or directory is protected; `PERM` if it is in procfs; those of resolving the
/// path.
fn changeable<'a>(
    protected: &Protected,
    dir: &'a Dir,
    path: &'a Path,
    follow: bool,
) -> Result<PathAt<'a>> {
    let (at, changeable) = protected.resolved(dir, path, follow)?;
    look::metadata(at.dir(), at.path(), false)?;
    if changeable { Ok(at) } else { Err(Errno::ROFS) }
}
