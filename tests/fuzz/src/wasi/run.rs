//! One sequence of calls, made by the guest and in the twin.

use std::io::{Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::guest::{Arg, BUFFER, Guest, OUT};
use super::tree;
use super::twin::{Errno, LEADS_OUT, Open, of};
use crate::Case;

const CREAT: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCL: u32 = 4;
const TRUNC: u32 = 8;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
const APPEND: u32 = 1;
const NONBLOCK: u32 = 4;
const ALL_RIGHTS: u64 = (1 << 28) - 1;

const NOTCAPABLE: Errno = 76;
const ROFS: Errno = 69;
const BADF: Errno = 8;
const NOTDIR: Errno = 54;
const ISDIR: Errno = 31;

/// Something open on both sides.
struct Pair {
    guest: u32,
    twin: Open,
    is_dir: bool,
    read_only: bool,
    reads: bool,
    writes: bool,
    appends: bool,
}

pub struct Run {
    guest: Guest,
    open: Vec<Pair>,
    /// Whether paths are followed step by step. cap-std does not open a directory through a link
    /// then, if it is asked for a directory.
    by_steps: bool,
}

impl Run {
    pub fn new(guest: Guest, twin: Open, read_only: Open, by_steps: bool) -> Self {
        let directory = |guest, twin, read_only| Pair {
            guest,
            twin,
            is_dir: true,
            read_only,
            reads: true,
            writes: false,
            appends: false,
        };
        Self {
            guest,
            open: vec![directory(3, twin, false), directory(4, read_only, true)],
            by_steps,
        }
    }

    /// One call on each side.
    pub fn step(&mut self, case: &mut Case) -> Result<(), String> {
        match case.rng.u32(..24) {
            0..=3 => self.open(case),
            4 => self.mkdir(case),
            5 | 6 => self.unlink(case),
            7 => self.symlink(case),
            8 | 9 => self.rename(case),
            10 => self.link(case),
            11 => self.readlink(case),
            12 | 13 => self.stat(case),
            14 => self.set_times(case),
            15 => self.list(case),
            16 => self.close(case),
            _ => self.use_file(case),
        }
    }

    /// A directory: mostly the guest's own.
    fn dir(&self, case: &mut Case) -> usize {
        match case.rng.u32(..8) {
            0 => 1,
            1 | 2 => {
                let dirs = self.open.iter().enumerate().filter(|(_, p)| p.is_dir);
                let dirs: Vec<_> = dirs.map(|(i, _)| i).collect();
                *case.one_of(&dirs)
            }
            // A file in its place, now and then.
            3 if case.once_in(4) => case.rng.usize(..self.open.len()),
            _ => 0,
        }
    }

    fn open(&mut self, case: &mut Case) -> Result<(), String> {
        if self.open.len() > 8 {
            return self.close(case);
        }
        let (dir, path, follow) = (self.dir(case), tree::path(case), !case.once_in(3));
        let mut oflags = 0;
        for (flag, n) in [(CREAT, 2), (DIRECTORY, 5), (EXCL, 5), (TRUNC, 6)] {
            if case.once_in(n) {
                oflags |= flag;
            }
        }
        let rights = match case.rng.u32(..8) {
            0 => 0,
            1 | 2 => READ,
            3 => WRITE,
            4 => ALL_RIGHTS,
            _ => READ | WRITE,
        };
        let appends = case.once_in(5);
        let fdflags = NONBLOCK | if appends { APPEND } else { 0 };
        let what = format!(
            "open {dir} {path:?} follow {follow} oflags {oflags} rights {rights:x} append {appends}"
        );
        let pair = &self.open[dir];
        let (reads, writes) = (rights & READ != 0, rights & WRITE != 0);
        let expected = pair.open_twin(&path, follow, oflags, (reads, writes, appends));
        let args = [
            Arg::I32(pair.guest),
            Arg::I32(follow.into()),
            Arg::Bytes(path.as_bytes()),
            Arg::I32(oflags),
            Arg::I64(rights),
            Arg::I64(ALL_RIGHTS),
            Arg::I32(fdflags),
            Arg::I32(OUT),
        ];
        let found = self.guest.call("path_open", &args)?;
        let read_only = pair.read_only;
        if self.by_steps && oflags & DIRECTORY != 0 && found == NOTDIR {
            return Ok(());
        }
        // The name of a directory is refused before anything is looked for.
        if oflags & CREAT != 0 && (path.ends_with('/') || path.ends_with("/.")) && found == ISDIR {
            return Ok(());
        }
        let faults = match oflags & (DIRECTORY | EXCL) {
            0 => Faults::of(&path),
            _ => Faults::Several,
        };
        let Some(twin) = agree(case, &what, faults, found, expected)? else {
            return Ok(());
        };
        let is_dir = twin.file().metadata().is_ok_and(|m| m.is_dir());
        self.open.push(Pair {
            guest: self.guest.u32(OUT),
            twin,
            is_dir,
            read_only,
            reads: reads || !writes,
            writes,
            appends,
        });
        Ok(())
    }

    fn mkdir(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path) = (self.dir(case), tree::path(case));
        let pair = &self.open[dir];
        let expected = pair.changes(&path, false, || pair.twin.mkdir(&path));
        let args = [Arg::I32(pair.guest), Arg::Bytes(path.as_bytes())];
        let found = self.guest.call("path_create_directory", &args)?;
        agree(
            case,
            &format!("mkdir {dir} {path:?}"),
            Faults::of(&path),
            found,
            expected,
        )
        .map(drop)
    }

    fn unlink(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, directory) = (self.dir(case), tree::path(case), case.once_in(2));
        let pair = &self.open[dir];
        let expected = pair.changes(&path, false, || pair.twin.unlink(&path, directory));
        let name = match directory {
            true => "path_remove_directory",
            false => "path_unlink_file",
        };
        let args = [Arg::I32(pair.guest), Arg::Bytes(path.as_bytes())];
        let found = self.guest.call(name, &args)?;
        agree(
            case,
            &format!("{name} {dir} {path:?}"),
            Faults::of(&path),
            found,
            expected,
        )
        .map(drop)
    }

    fn symlink(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, target) = (self.dir(case), tree::path(case), tree::target(case));
        let pair = &self.open[dir];
        let expected = match target.starts_with('/') {
            // That would mean one of the host's files to others.
            true => Err(LEADS_OUT),
            false => pair.changes(&path, false, || pair.twin.symlink(&target, &path)),
        };
        let args = [
            Arg::Bytes(target.as_bytes()),
            Arg::I32(pair.guest),
            Arg::Bytes(path.as_bytes()),
        ];
        let found = self.guest.call("path_symlink", &args)?;
        agree(
            case,
            &format!("symlink {target:?} {dir} {path:?}"),
            Faults::of(&path),
            found,
            expected,
        )
        .map(drop)
    }

    fn rename(&mut self, case: &mut Case) -> Result<(), String> {
        let (from_dir, from) = (self.dir(case), tree::path(case));
        let (to_dir, to) = (self.dir(case), tree::path(case));
        let (a, b) = (&self.open[from_dir], &self.open[to_dir]);
        let rename = || b.changes(&to, false, || a.twin.rename(&from, &b.twin, &to));
        let expected = a.changes(&from, false, rename);
        let args = [
            Arg::I32(a.guest),
            Arg::Bytes(from.as_bytes()),
            Arg::I32(b.guest),
            Arg::Bytes(to.as_bytes()),
        ];
        let found = self.guest.call("path_rename", &args)?;
        let what = format!("rename {from_dir} {from:?} {to_dir} {to:?}");
        agree(case, &what, Faults::Several, found, expected).map(drop)
    }

    fn link(&mut self, case: &mut Case) -> Result<(), String> {
        let (from_dir, from) = (self.dir(case), tree::path(case));
        let (to_dir, to, follow) = (self.dir(case), tree::path(case), case.once_in(3));
        let (a, b) = (&self.open[from_dir], &self.open[to_dir]);
        let link = || b.changes(&to, false, || a.twin.link(&from, follow, &b.twin, &to));
        let expected = a.changes(&from, follow, link);
        let args = [
            Arg::I32(a.guest),
            Arg::I32(follow.into()),
            Arg::Bytes(from.as_bytes()),
            Arg::I32(b.guest),
            Arg::Bytes(to.as_bytes()),
        ];
        let found = self.guest.call("path_link", &args)?;
        let what = format!("link {from_dir} {from:?} follow {follow} {to_dir} {to:?}");
        agree(case, &what, Faults::Several, found, expected).map(drop)
    }

    fn readlink(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path) = (self.dir(case), tree::path(case));
        let pair = &self.open[dir];
        let expected = pair.looks(&path, false, || match pair.twin.readlink(&path)? {
            // Would tell about the host.
            target if target.starts_with(b"/") => Err(LEADS_OUT),
            target => Ok(target),
        });
        let args = [
            Arg::I32(pair.guest),
            Arg::Bytes(path.as_bytes()),
            Arg::I32(BUFFER),
            Arg::I32(4096),
            Arg::I32(OUT),
        ];
        let found = self.guest.call("path_readlink", &args)?;
        let what = format!("readlink {dir} {path:?}");
        let Some(target) = agree(case, &what, Faults::of(&path), found, expected)? else {
            return Ok(());
        };
        let len = self.guest.u32(OUT);
        same(&what, self.guest.read(BUFFER, len), target)
    }

    fn stat(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, follow) = (self.dir(case), tree::path(case), case.once_in(2));
        let pair = &self.open[dir];
        let expected = pair.looks(&path, follow, || pair.twin.stat(&path, follow));
        let args = [
            Arg::I32(pair.guest),
            Arg::I32(follow.into()),
            Arg::Bytes(path.as_bytes()),
            Arg::I32(OUT),
        ];
        let found = self.guest.call("path_filestat_get", &args)?;
        let what = format!("stat {dir} {path:?} follow {follow}");
        let Some((kind, size)) = agree(case, &what, Faults::of(&path), found, expected)? else {
            return Ok(());
        };
        let stat = (self.guest.read(OUT + 16, 1)[0], self.guest.u64(OUT + 32));
        match kind {
            // Directories' sizes are the file system's affair.
            3 => same(&what, stat.0, 3),
            _ => same(&what, stat, (kind, size)),
        }
    }

    /// Only that nothing outside changes: the twin's times are not compared.
    fn set_times(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, follow) = (self.dir(case), tree::path(case), case.once_in(2));
        let pair = &self.open[dir];
        let expected = pair.changes(&path, follow, || pair.twin.stat(&path, follow));
        let args = [
            Arg::I32(pair.guest),
            Arg::I32(follow.into()),
            Arg::Bytes(path.as_bytes()),
            Arg::I64(case.rng.u64(..1 << 62)),
            Arg::I64(*case.one_of(&[0, 1, 1_000_000_000, u64::MAX])),
            // With nothing to set the system does not even look.
            Arg::I32(case.rng.u32(1..16)),
        ];
        let found = self.guest.call("path_filestat_set_times", &args)?;
        case.show(|| format!("set times {dir} {path:?} follow {follow}: {found}"));
        match expected {
            Err(errno) if found == 0 => Err(format!(
                "set times {dir} {path:?} follow {follow}: done, expected error {errno}"
            )),
            _ => Ok(()),
        }
    }

    fn list(&mut self, case: &mut Case) -> Result<(), String> {
        let at = self.dir(case);
        let pair = &self.open[at];
        let Some(expected) = pair.twin.list().filter(|_| pair.is_dir) else {
            return Ok(());
        };
        let (mut names, mut cookie, mut inodes) = (Vec::new(), 0u64, Vec::new());
        let room = *case.one_of(&[24, 60, 4096]);
        for _ in 0..200 {
            let args = [
                Arg::I32(pair.guest),
                Arg::I32(BUFFER),
                Arg::I32(room),
                Arg::I64(cookie),
                Arg::I32(OUT),
            ];
            let errno = self.guest.call("fd_readdir", &args)?;
            if errno != 0 {
                return Err(format!("readdir {at}: error {errno}"));
            }
            let used = self.guest.u32(OUT);
            let bytes = self.guest.read(BUFFER, used);
            let mut rest = &bytes[..];
            let before = cookie;
            while let Some((head, tail)) = rest.split_at_checked(24) {
                let number = |at: usize, n: usize| {
                    head[at..at + n]
                        .iter()
                        .rev()
                        .fold(0u64, |v, b| v << 8 | u64::from(*b))
                };
                let len = number(16, 4) as usize;
                if tail.len() < len {
                    // With room for less than an entry, a guest must ask with more.
                    break;
                }
                cookie = number(0, 8);
                inodes.push(number(8, 8));
                names.push(tail[..len].to_vec());
                rest = &tail[len..];
            }
            if used < room || cookie == before {
                break;
            }
        }
        case.show(|| format!("readdir {at}: {} names", names.len()));
        if room == 4096 {
            names.sort();
            return same(&format!("readdir {at}"), names, expected);
        }
        match names.iter().find(|name| !expected.contains(name)) {
            None => Ok(()),
            Some(name) => Err(format!("readdir {at}: {:?}", String::from_utf8_lossy(name))),
        }
    }

    fn close(&mut self, case: &mut Case) -> Result<(), String> {
        if self.open.len() == 2 {
            return Ok(());
        }
        let i = case.rng.usize(2..self.open.len());
        let pair = self.open.swap_remove(i);
        case.show(|| format!("close {i}"));
        let errno = self.guest.call("fd_close", &[Arg::I32(pair.guest)])?;
        if errno != 0 {
            return Err(format!("close {i}: error {errno}"));
        }
        // It is closed now, whatever else is done.
        let again = self
            .guest
            .call("fd_tell", &[Arg::I32(pair.guest), Arg::I32(OUT)])?;
        same("a closed descriptor", again, BADF)
    }

    fn use_file(&mut self, case: &mut Case) -> Result<(), String> {
        let is_file = |p: &&Pair| !p.is_dir && p.twin.file().metadata().is_ok_and(|m| m.is_file());
        let files: Vec<_> = self.open.iter().filter(is_file).collect();
        if files.is_empty() {
            return self.open(case);
        }
        let pair = *case.one_of(&files);
        let (fd, file) = (Arg::I32(pair.guest), pair.twin.file());
        let (len, offset) = (case.rng.u32(..40), case.rng.u64(..60));
        let bytes: Vec<u8> = (0..len).map(|_| case.rng.u8(b'a'..=b'z')).collect();
        match case.rng.u32(..7) {
            0 | 1 => {
                // At its position, or at an offset.
                let at = case.once_in(2).then_some(offset);
                let list = Arg::I32(self.guest.list(BUFFER, len));
                let found = match at {
                    Some(at) => self.guest.call(
                        "fd_pread",
                        &[fd, list, Arg::I32(1), Arg::I64(at), Arg::I32(OUT)],
                    )?,
                    None => self
                        .guest
                        .call("fd_read", &[fd, list, Arg::I32(1), Arg::I32(OUT)])?,
                };
                let expected = pair.allow(pair.reads, || read(&file, len, at));
                let what = format!("read {len} bytes at {at:?}");
                let Some(expected) = agree(case, &what, Faults::One, found, expected)? else {
                    return Ok(());
                };
                let n = self.guest.u32(OUT);
                let found = self.guest.read(BUFFER, n.min(len));
                if found.windows(6).any(|w| w == &tree::SECRET.as_bytes()[..6]) {
                    return Err("a guest has read what is outside".to_owned());
                }
                same(&what, found, expected)
            }
            2 | 3 => {
                let at = case.once_in(2).then_some(offset);
                self.guest.write(BUFFER, &bytes);
                let list = Arg::I32(self.guest.list(BUFFER, len));
                let found = match at {
                    Some(at) => self.guest.call(
                        "fd_pwrite",
                        &[fd, list, Arg::I32(1), Arg::I64(at), Arg::I32(OUT)],
                    )?,
                    None => self
                        .guest
                        .call("fd_write", &[fd, list, Arg::I32(1), Arg::I32(OUT)])?,
                };
                let expected = pair.allow(pair.writes, || write(&file, &bytes, at));
                let what = format!("write {len} bytes at {at:?}, appends {}", pair.appends);
                let Some(expected) = agree(case, &what, Faults::One, found, expected)? else {
                    return Ok(());
                };
                same(&what, self.guest.u32(OUT), expected)
            }
            4 => {
                let (whence, by) = (case.rng.u32(..3), case.rng.i64(-30..60));
                let to = match whence {
                    0 => u64::try_from(by).map(SeekFrom::Start).ok(),
                    1 => Some(SeekFrom::Current(by)),
                    _ => Some(SeekFrom::End(by)),
                };
                let expected = match to {
                    Some(to) => (&file).seek(to).map_err(|error| of(&error)),
                    None => Err(28),
                };
                let args = [
                    fd,
                    Arg::I64(by.cast_unsigned()),
                    Arg::I32(whence),
                    Arg::I32(OUT),
                ];
                let found = self.guest.call("fd_seek", &args)?;
                let what = format!("seek {by} from {whence}");
                let Some(expected) = agree(case, &what, Faults::One, found, expected)? else {
                    return Ok(());
                };
                same(&what, self.guest.u64(OUT), expected)
            }
            5 => {
                let found = self
                    .guest
                    .call("fd_filestat_set_size", &[fd, Arg::I64(offset)])?;
                let set = || file.set_len(offset).map_err(|error| of(&error));
                let expected = pair.allow(pair.writes, set);
                agree(
                    case,
                    &format!("set size {offset}"),
                    Faults::One,
                    found,
                    expected,
                )
                .map(drop)
            }
            _ => {
                let found = self.guest.call("fd_filestat_get", &[fd, Arg::I32(OUT)])?;
                let what = "the size of a file";
                same(what, found, 0)?;
                let size = file.metadata().map_err(|error| error.to_string())?.len();
                same(what, self.guest.u64(OUT + 32), size)
            }
        }
    }
}

impl Pair {
    /// What a call that only looks gives in the twin.
    fn looks<R>(
        &self,
        path: &str,
        follow: bool,
        f: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if !self.is_dir {
            return Err(NOTDIR);
        }
        match self.twin.leads_out(path, follow) {
            true => Err(LEADS_OUT),
            false => f(),
        }
    }

    /// What a call that changes something gives in the twin.
    fn changes<R>(
        &self,
        path: &str,
        follow: bool,
        f: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        match self.read_only {
            true => Err(ROFS),
            false => self.looks(path, follow, f),
        }
    }

    /// What a call gives that needs a right.
    fn allow<R>(&self, has: bool, f: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
        match (has, self.read_only && !self.reads) {
            (true, false) => f(),
            _ => Err(NOTCAPABLE),
        }
    }

    fn open_twin(
        &self,
        path: &str,
        follow: bool,
        oflags: u32,
        (reads, writes, appends): (bool, bool, bool),
    ) -> Result<Open, Errno> {
        let has = |flag| oflags & flag != 0;
        if has(DIRECTORY) && (has(CREAT) || has(TRUNC)) {
            return Err(28);
        }
        if self.read_only && (writes || has(TRUNC)) {
            return Err(ROFS);
        }
        let exclusive = has(CREAT) && has(EXCL);
        self.looks(path, follow && !exclusive, || {
            let mut flags = if follow { 0 } else { libc::O_NOFOLLOW };
            if has(DIRECTORY) {
                flags |= libc::O_DIRECTORY;
            }
            if appends {
                flags |= libc::O_APPEND;
            }
            let plain = |flags| {
                let mode = match (reads || !writes, writes) {
                    (true, true) => libc::O_RDWR,
                    (false, _) => libc::O_WRONLY,
                    (true, false) => libc::O_RDONLY,
                };
                self.twin.open(path, flags | mode)
            };
            if self.read_only && has(CREAT) {
                return match plain(flags) {
                    Ok(_) if exclusive => Err(20),
                    Err(_) if exclusive && self.twin.stat(path, false).is_ok() => Err(20),
                    Err(44) => Err(ROFS),
                    other => other,
                };
            }
            // Creating asks for nothing of what exists, so it is not opened for writing then.
            if has(CREAT) && !writes && !exclusive && !has(TRUNC) {
                match plain(flags) {
                    Err(44) => {}
                    other => return other,
                }
            }
            if !has(CREAT) && !has(TRUNC) {
                return plain(flags);
            }
            for (flag, system) in [(CREAT, libc::O_CREAT), (TRUNC, libc::O_TRUNC)] {
                if has(flag) {
                    flags |= system;
                }
            }
            if exclusive {
                flags |= libc::O_EXCL;
            }
            let mode = if reads || !writes {
                libc::O_RDWR
            } else {
                libc::O_WRONLY
            };
            self.twin.open(path, flags | mode)
        })
    }
}

fn read(file: &std::fs::File, len: u32, at: Option<u64>) -> Result<Vec<u8>, Errno> {
    use std::io::Read;
    let mut bytes = vec![0; len as usize];
    let mut file = file;
    let n = match at {
        Some(at) => file.read_at(&mut bytes, at),
        None => file.read(&mut bytes),
    };
    bytes.truncate(n.map_err(|error| of(&error))?);
    Ok(bytes)
}

fn write(file: &std::fs::File, bytes: &[u8], at: Option<u64>) -> Result<u32, Errno> {
    use std::io::Write;
    let mut file = file;
    let n = match at {
        // Through a descriptor that does not append: with one that does, Linux (not POSIX) takes no
        // notice of the offset.
        Some(at) => std::fs::File::options()
            .write(true)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .and_then(|file| file.write_at(bytes, at)),
        None => file.write(bytes),
    };
    n.map(|n| n as u32).map_err(|error| of(&error))
}

/// Whether both sides succeeded: the twin's answer then.
fn agree<R>(
    case: &Case,
    what: &str,
    faults: Faults,
    found: Errno,
    expected: Result<R, Errno>,
) -> Result<Option<R>, String> {
    let number = expected.as_ref().err().copied().unwrap_or(0);
    case.show(|| format!("{what}: {found}, expected {number}"));
    match (found, expected) {
        (0, Ok(answer)) => Ok(Some(answer)),
        (0, Err(LEADS_OUT)) => Err(format!("{what}: done, though the path leads out")),
        (0, Err(errno)) => Err(format!("{what}: done, expected error {errno}")),
        (errno, Ok(_)) => Err(format!("{what}: error {errno}, expected none")),
        (errno, Err(number)) => match is_allowed(faults, errno, number) {
            true => Ok(None),
            false => Err(format!("{what}: error {errno}, expected error {number}")),
        },
    }
}

/// Whether an error can stand for another: of several reasons to fail either may be told. Where a call
/// is refused whatever the path is, the path's own fault is as right.
fn is_allowed(faults: Faults, found: Errno, expected: Errno) -> bool {
    const OF_PATHS: [Errno; 11] = [2, 10, 20, 28, 31, 32, 44, 54, 55, 63, 75];
    let either = OF_PATHS.contains(&found) && OF_PATHS.contains(&expected);
    found == expected
        || [LEADS_OUT, ROFS, NOTCAPABLE].contains(&expected)
        || (faults == Faults::Several && either)
}

/// Whether a call can have several faults at once, which are found in one order or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    One,
    Several,
}

impl Faults {
    /// Of a call with one path: one that ends in a slash or a dot asks for two things.
    fn of(path: &str) -> Self {
        match path.is_empty() || path.ends_with(['/', '.']) {
            true => Self::Several,
            false => Self::One,
        }
    }
}

fn same<V: PartialEq + std::fmt::Debug>(what: &str, found: V, expected: V) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: expected {expected:?}, found {found:?}")),
    }
}
