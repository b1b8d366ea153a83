//! Functions that open paths: `path_open`, `fd_prestat_*`.
//!
//! The rights that a guest asks for decide how the system opens the file: for reading, writing or
//! both. All other rights that the directory passes on are given even if the guest did not ask for
//! them, because guests ask for very different sets without relying on what is missing.

use std::path::Path;
use std::time::Duration;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, FileTypeExt, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags as SystemFlags;

use crate::access::Access;
use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptor, Kind, OpenDir, OpenFile};
use crate::errno::{Errno, Result};
use crate::fs::mounted::Request;
use crate::guest::GuestMemory;
use crate::path_at::{names_directory, utf8};
use crate::types::{FdFlags, LookupFlags, OFlags, Rights};
use crate::{look, procfs};

#[expect(clippy::too_many_arguments, reason = "as many as the snapshot has")]
pub(crate) fn path_open<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup: u32,
    path: u32,
    path_len: u32,
    oflags: u32,
    rights: u64,
    _inheriting: u64,
    fdflags: u32,
    opened_fd: u32,
) -> Result<()> {
    memory.check(opened_fd, 4)?;
    let request = Request {
        follow: LookupFlags::new(lookup)?.contains(LookupFlags::SYMLINK_FOLLOW),
        oflags: OFlags::new(oflags)?,
        fdflags: FdFlags::new(fdflags)?,
        read: Rights(rights).contains(Rights::FD_READ),
        write: Rights(rights).contains(Rights::FD_WRITE),
    };
    if request.oflags.contains(OFlags::DIRECTORY) && (request.creates() || request.truncates()) {
        return Err(Errno::INVAL);
    }
    let path = &*memory.path(path, path_len)?;
    let mut access: Access<'_> = ctx.into();
    let mut pause = Duration::from_millis(1);
    let opened = loop {
        match access.with(|ctx| open(ctx, fd, path, request)) {
            Err(Errno::AGAIN) if !request.fdflags.contains(FdFlags::NONBLOCK) => {
                access.pause(pause)?;
                pause = (pause * 2).min(Duration::from_millis(16));
            }
            opened => break opened?,
        }
    };
    memory.write_u32(opened_fd, opened)
}

/// Opens a path for a guest and returns its new descriptor.
///
/// # Errors
/// `AGAIN` for a pipe that nobody reads yet, if the guest wants to wait for a reader; those of the
/// system.
fn open(ctx: &mut WasiCtx, fd: u32, path: &Path, request: Request) -> Result<u32> {
    let inheriting = ctx.descriptors.get(fd)?.inheriting;
    let mounted = ctx.descriptors.mounted_dir(fd, request.needed())?;
    if mounted.is_none() {
        ctx.descriptors.dir(fd, request.needed())?;
    }
    inheriting.require(request.inherited())?;
    if !ctx.descriptors.has_room() {
        return Err(Errno::MFILE);
    }
    // A slash at the end of the path names a directory, and `path_open` does not create
    // directories.
    let is_named_directory = names_directory(path);
    if is_named_directory && request.creates() {
        return Err(Errno::ISDIR);
    }
    if let Some(parent) = mounted {
        let descriptor = parent.open(utf8(path)?, request, inheriting)?;
        return ctx.descriptors.insert(descriptor);
    }
    let parent = ctx.descriptors.dir(fd, request.needed())?;
    let exclusive = request.creates() && request.oflags.contains(OFlags::EXCL);
    let follow = request.follow && !exclusive;
    let mut request = request;
    let (at, changeable) = if is_named_directory || request.oflags.contains(OFlags::DIRECTORY) {
        // Symbolic links to directories are followed here. Without `openat2`, cap-std does not
        // follow a link at the end if the path must lead to a directory.
        request.oflags = request.oflags.and(OFlags::DIRECTORY);
        ctx.protected.resolved(&parent.dir, path, follow)?
    } else {
        ctx.protected.object(&parent.dir, path, follow)?
    };
    request.follow &= at.is_unresolved();
    let read_only = parent.read_only || !changeable;
    let file = if read_only || (request.creates() && ctx.protected.keeps_name(&at)?) {
        request.open_read_only(at.dir(), at.path())?
    } else {
        request.open(at.dir(), at.path())?
    };
    let found = file.metadata()?;
    procfs::refuse(&file)?;
    if found.is_dir() && request.creates() {
        return Err(Errno::ISDIR);
    }
    if read_only {
        // Whoever has put a pipe there since the look at it may open the pipe, too.
        refuse_pipe(&found)?;
    }
    let may_wait = !found.is_dir() && !found.is_file();
    let descriptor = if found.is_dir() {
        let dir = OpenDir {
            dir: Dir::from_std_file(file.into_std()),
            read_only,
            preopen: None,
            listing: None,
        };
        Descriptor::directory(dir, inheriting)
    } else {
        let rights = Rights::of_file(request.read || !request.write, request.write);
        Descriptor {
            kind: Kind::File(OpenFile {
                file,
                read_only,
                may_wait,
            }),
            flags: request.fdflags,
            rights: rights.common(inheriting),
            inheriting: Rights::NONE,
        }
    };
    ctx.descriptors.insert(descriptor)
}

/// Refuses a named pipe in a directory where nothing may change: opening it for reading lets a
/// writer continue, and reading removes bytes.
fn refuse_pipe(found: &Metadata) -> Result<()> {
    match found.file_type().is_fifo() {
        true => Err(Errno::ROFS),
        false => Ok(()),
    }
}

/// How the system opens a path for a guest.
impl Request {
    fn creates(&self) -> bool {
        self.oflags.contains(OFlags::CREAT)
    }

    fn truncates(&self) -> bool {
        self.oflags.contains(OFlags::TRUNC)
    }

    /// The rights that the request needs on the directory.
    fn needed(&self) -> Rights {
        let mut rights = Rights::PATH_OPEN;
        if self.creates() {
            rights = rights.and(Rights::PATH_CREATE_FILE);
        }
        if self.truncates() {
            rights = rights.and(Rights::PATH_FILESTAT_SET_SIZE);
        }
        rights
    }

    /// The rights that the directory must pass on to the opened file.
    fn inherited(&self) -> Rights {
        let mut rights = Rights::NONE;
        if self.read {
            rights = rights.and(Rights::FD_READ);
        }
        if self.write {
            rights = rights.and(Rights::FD_WRITE);
        }
        if self.truncates() {
            rights = rights.and(Rights::FD_FILESTAT_SET_SIZE);
        }
        rights
    }

    /// Opens a path in a directory where nothing may change. Asking to create a file is allowed if
    /// the file exists.
    fn open_read_only(&self, dir: &Dir, path: &Path) -> Result<File> {
        if self.write || self.truncates() {
            return Err(Errno::ROFS);
        }
        let exclusive = self.creates() && self.oflags.contains(OFlags::EXCL);
        let plain = Request {
            follow: self.follow && !exclusive,
            oflags: self.oflags.without_creation(),
            ..*self
        };
        match look::metadata(dir, path, plain.follow) {
            Err(Errno::NOENT) if self.creates() => return Err(Errno::ROFS),
            Ok(_) if exclusive => return Err(Errno::EXIST),
            // The system refuses a pipe as a directory, without opening it.
            Ok(_) if self.oflags.contains(OFlags::DIRECTORY) => {}
            found => refuse_pipe(&found?)?,
        }
        plain.open(dir, path)
    }

    fn open(&self, dir: &Dir, path: &Path) -> Result<File> {
        // cap-std, like the standard library, creates files only when it opens them for writing. A
        // guest that does not ask to write must be able to open an existing file without permission
        // to write, so the file is opened without creating it first.
        let exclusive = self.oflags.contains(OFlags::EXCL);
        if self.creates() && !self.write && !exclusive && !self.truncates() {
            let plain = Request {
                oflags: self.oflags.without_creation(),
                ..*self
            };
            match plain.open(dir, path) {
                Err(Errno::NOENT) => {}
                result => return result,
            }
        }
        let mut options = OpenOptions::new();
        options
            .read(self.read || !self.write)
            .write(self.write || self.creates() || self.truncates())
            .create(self.creates())
            .create_new(self.creates() && exclusive)
            .truncate(self.truncates())
            .follow(if self.follow {
                FollowSymlinks::Yes
            } else {
                FollowSymlinks::No
            })
            .custom_flags(self.system_flags().bits() as i32);
        match dir.open_with(path, &options) {
            Err(error) if self.waits_for_reader(dir, path, &error) => Err(Errno::AGAIN),
            opened => Ok(opened?),
        }
    }

    /// Whether opening failed because the path leads to a pipe that nobody reads, and the guest
    /// wants to wait for a reader.
    fn waits_for_reader(&self, dir: &Dir, path: &Path, error: &std::io::Error) -> bool {
        error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
            && !self.fdflags.contains(FdFlags::NONBLOCK)
            && dir
                .metadata(path)
                .is_ok_and(|found| found.file_type().is_fifo())
    }

    fn system_flags(&self) -> SystemFlags {
        // A terminal that the guest opens must not become the controlling terminal of the host.
        let mut flags = SystemFlags::NOCTTY;
        if self.oflags.contains(OFlags::DIRECTORY) {
            flags |= SystemFlags::DIRECTORY;
        }
        if self.fdflags.contains(FdFlags::APPEND) {
            flags |= SystemFlags::APPEND;
        }
        // Opening a pipe must not wait for its other side, because that wait could not be ended.
        // Reads wait for a writer instead, and the guest waits for a reader before it opens the
        // pipe again. The flag has no effect on files, directories and most devices.
        flags |= SystemFlags::NONBLOCK;
        if self.fdflags.contains(FdFlags::DSYNC) {
            flags |= SystemFlags::DSYNC;
        }
        // `RSYNC` makes reads wait for pending writes. Linux has one flag for `RSYNC` and `SYNC`.
        if self.fdflags.contains(FdFlags::SYNC) || self.fdflags.contains(FdFlags::RSYNC) {
            flags |= SystemFlags::SYNC;
        }
        flags
    }
}

pub(crate) fn fd_prestat_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    prestat: u32,
) -> Result<()> {
    // Guests find their preopened directories by calling this from 3 on until it returns `BADF`.
    let name = preopen_name(ctx, fd)?;
    let mut bytes = [0; 8];
    bytes[4..].copy_from_slice(&(name.len() as u32).to_le_bytes());
    memory.write(prestat, &bytes)
}

pub(crate) fn fd_prestat_dir_name(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<()> {
    let name = preopen_name(ctx, fd)?;
    if name.len() > path_len as usize {
        return Err(Errno::NAMETOOLONG);
    }
    memory.write(path, name.as_bytes())
}

fn preopen_name(ctx: &WasiCtx, fd: u32) -> Result<&str> {
    match &ctx.descriptors.get(fd)?.kind {
        Kind::Dir(dir) => dir.preopen.as_deref().ok_or(Errno::BADF),
        Kind::MountedDir(dir) => dir.preopen.as_deref().ok_or(Errno::BADF),
        Kind::Stdin | Kind::Stdout | Kind::Stderr | Kind::File(_) | Kind::MountedFile(_) => {
            Err(Errno::BADF)
        }
    }
}
