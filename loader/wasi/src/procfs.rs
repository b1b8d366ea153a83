//! Keeps guests out of procfs.
//!
//! Through the files of procfs a program reads and writes its own memory (`/proc/self/mem`, which
//! also writes to pages of machine code) and reads its environment. So a guest that is given the
//! root directory must not open them, and neither procfs nor a directory of it can be given. Links
//! of procfs that lead elsewhere are refused by cap-std, as magic or absolute links. Attributes and
//! targets of links (when processes began, whose they are, which pipes they have) are not shown
//! either, and times not set. What remains is that a guest finds out which names exist, because a
//! missing one is another error. Where the system refuses `openat2` (before Linux 5.6, or by
//! seccomp), cap-std follows links itself, and the error for a path through a link in procfs tells
//! whether the link leads to a pipe. The system itself lets nobody create or remove names there.
//!
//! A file system is recognised by its type, whatever the path is. The system is asked each time:
//! device numbers say nothing, since a system gives them to other file systems later.

use std::io;
use std::os::fd::AsFd;

use cap_std::fs::Dir;

use crate::errno::{Errno, Result};

/// Refuses an open file or directory if it is of procfs.
///
/// # Errors
/// `PERM` for procfs; those of the system.
pub(crate) fn refuse(file: impl AsFd) -> Result<()> {
    match is_procfs(file)? {
        true => Err(Errno::PERM),
        false => Ok(()),
    }
}

/// Refuses a directory of procfs that a host gives to a guest.
///
/// # Errors
/// Those of the system, and one that says why the directory is refused.
pub(crate) fn refuse_dir(dir: Dir) -> io::Result<Dir> {
    if is_procfs(&dir)? {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is in procfs, through which a guest could change the memory of the program: give \
             the guest a directory with copies of the files that it needs",
        ));
    }
    Ok(dir)
}

#[cfg(target_os = "linux")]
fn is_procfs(file: impl AsFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// Other systems have nothing of the kind that is mounted by default.
#[cfg(not(target_os = "linux"))]
fn is_procfs(_: impl AsFd) -> rustix::io::Result<bool> {
    Ok(false)
}
