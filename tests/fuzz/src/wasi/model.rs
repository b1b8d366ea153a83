//! The model: makes the guest's calls with the system's own functions in a copy of the guest's
//! directory, unless a path leads out of it.

use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// An error number of WASI, or [`LEADS_OUT`].
pub type Errno = u16;

/// The error for a path that leads out of its directory. WASI has no such number.
pub const LEADS_OUT: Errno = 1000;

/// How many symbolic links the system follows in one path.
const MAX_LINKS: usize = 40;

/// Whether a path leads out of the directory that it is relative to. A path that does not exist
/// does not lead out.
pub fn leads_out(root: &Path, path: &str, follow_last: bool) -> bool {
    if path.starts_with('/') {
        return true;
    }
    let follow_last = follow_last || path.ends_with('/');
    let mut left: VecDeque<OsString> = parts(Path::new(path));
    let mut here: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            if here.pop().is_none() {
                return true;
            }
            continue;
        }
        if part == "." {
            continue;
        }
        let mut full = root.to_path_buf();
        full.extend(&here);
        full.push(&part);
        let Ok(found) = fs::symlink_metadata(&full) else {
            return false;
        };
        if found.is_symlink() && (follow_last || !left.is_empty()) {
            links += 1;
            let Ok(target) = fs::read_link(&full) else {
                return false;
            };
            if links > MAX_LINKS {
                return false;
            }
            if target.is_absolute() {
                return true;
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
            continue;
        }
        if !found.is_dir() && !left.is_empty() {
            return false;
        }
        here.push(part);
    }
    false
}

/// The parts of a path. A slash at the end counts as a part `.`, because a link before it is
/// followed.
fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |c: Component<'_>| match c {
        Component::Normal(_) | Component::ParentDir | Component::CurDir => {
            Some(c.as_os_str().to_owned())
        }
        Component::RootDir | Component::Prefix(_) => None,
    };
    let mut parts: VecDeque<_> = path.components().filter_map(part).collect();
    let bytes = path.as_os_str().as_bytes();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        parts.push_back(".".into());
    }
    parts
}

/// A directory of the model, or a file that was opened in one.
pub struct Open(pub OwnedFd);

impl Open {
    pub fn directory(path: &Path) -> std::io::Result<Self> {
        Ok(Self(fs::File::open(path)?.into()))
    }

    pub fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// The current path of the directory. `None` if it was removed.
    pub fn path(&self) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/self/fd/{}", self.raw())).ok()?;
        let gone = path.as_os_str().as_bytes().ends_with(b" (deleted)");
        (!gone).then_some(path)
    }

    /// Whether a path leads out of this directory.
    pub fn leads_out(&self, path: &str, follow: bool) -> bool {
        self.path()
            .is_some_and(|root| leads_out(&root, path, follow))
    }

    pub fn open(&self, path: &str, flags: i32) -> Result<Self, Errno> {
        let path = c(path)?;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
        // SAFETY: the path is a C string, and nobody else has the new descriptor.
        unsafe {
            let fd = check(libc::openat(self.raw(), path.as_ptr(), flags, 0o666))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    pub fn mkdir(&self, path: &str) -> Result<(), Errno> {
        let path = c(path)?;
        // SAFETY: the path is a C string.
        check(unsafe { libc::mkdirat(self.raw(), path.as_ptr(), 0o777) }).map(drop)
    }

    pub fn unlink(&self, path: &str, directory: bool) -> Result<(), Errno> {
        let path = c(path)?;
        let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
        // SAFETY: the path is a C string.
        check(unsafe { libc::unlinkat(self.raw(), path.as_ptr(), flags) }).map(drop)
    }

    pub fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        let (target, path) = (c(target)?, c(path)?);
        // SAFETY: both paths are C strings.
        check(unsafe { libc::symlinkat(target.as_ptr(), self.raw(), path.as_ptr()) }).map(drop)
    }

    pub fn rename(&self, from: &str, to_dir: &Self, to: &str) -> Result<(), Errno> {
        let (from, to) = (c(from)?, c(to)?);
        // SAFETY: both paths are C strings.
        let done = unsafe { libc::renameat(self.raw(), from.as_ptr(), to_dir.raw(), to.as_ptr()) };
        check(done).map(drop)
    }

    pub fn link(&self, from: &str, follow: bool, to_dir: &Self, to: &str) -> Result<(), Errno> {
        let (from, to) = (c(from)?, c(to)?);
        let flags = if follow { libc::AT_SYMLINK_FOLLOW } else { 0 };
        let (here, there) = (self.raw(), to_dir.raw());
        // SAFETY: both paths are C strings.
        check(unsafe { libc::linkat(here, from.as_ptr(), there, to.as_ptr(), flags) }).map(drop)
    }

    pub fn readlink(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let path = c(path)?;
        let mut buffer = vec![0u8; 4096];
        // SAFETY: the path is a C string, and the buffer has the length that is passed.
        let n = unsafe {
            libc::readlinkat(
                self.raw(),
                path.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        buffer.truncate(check(n as i32)? as usize);
        Ok(buffer)
    }

    /// The type, as a number of WASI, and the size of a file.
    pub fn stat(&self, path: &str, follow: bool) -> Result<(u8, u64), Errno> {
        let path = c(path)?;
        let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        // SAFETY: the path is a C string, and `stat` may be zeroed.
        let found = unsafe {
            let mut found: libc::stat = std::mem::zeroed();
            check(libc::fstatat(
                self.raw(),
                path.as_ptr(),
                &raw mut found,
                flags,
            ))?;
            found
        };
        let kind = match found.st_mode & libc::S_IFMT {
            libc::S_IFDIR => 3,
            libc::S_IFREG => 4,
            libc::S_IFLNK => 7,
            _ => 0,
        };
        Ok((kind, found.st_size as u64))
    }

    /// The sorted names in the directory. `None` if it cannot be read.
    pub fn list(&self) -> Option<Vec<Vec<u8>>> {
        let names = fs::read_dir(self.path()?).ok()?;
        let names = names.map(|entry| Some(entry.ok()?.file_name().into_vec()));
        let mut names: Vec<_> = names.collect::<Option<_>>()?;
        names.extend([b".".to_vec(), b"..".to_vec()]);
        names.sort();
        Some(names)
    }

    pub fn file(&self) -> fs::File {
        // The new descriptor shares the position of this one.
        self.0.try_clone().expect("a free descriptor").into()
    }
}

fn c(path: &str) -> Result<CString, Errno> {
    CString::new(path).map_err(|_| errno(libc::EINVAL))
}

fn check(result: i32) -> Result<i32, Errno> {
    match result {
        -1 => Err(of(&std::io::Error::last_os_error())),
        result => Ok(result),
    }
}

/// The number of WASI for an error.
pub fn of(error: &std::io::Error) -> Errno {
    errno(error.raw_os_error().unwrap_or(0))
}

fn errno(system: i32) -> Errno {
    match system {
        libc::EACCES => 2,
        libc::EAGAIN => 6,
        libc::EBADF => 8,
        libc::EBUSY => 10,
        libc::EEXIST => 20,
        libc::EFBIG => 22,
        libc::EINVAL => 28,
        libc::EISDIR => 31,
        libc::ELOOP => 32,
        libc::EMLINK => 34,
        libc::ENAMETOOLONG => 37,
        libc::ENOENT => 44,
        libc::ENOTDIR => 54,
        libc::ENOTEMPTY => 55,
        libc::EOPNOTSUPP => 58,
        libc::ENXIO => 60,
        libc::EPERM => 63,
        libc::EROFS => 69,
        libc::ESPIPE => 70,
        libc::EXDEV => 75,
        other => panic!("the system gave error {other}, which the model does not know"),
    }
}
