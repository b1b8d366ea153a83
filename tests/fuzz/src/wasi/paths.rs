//! The calls on paths.

use super::agree::{Faults, ISDIR, agree, same};
use super::guest::{Arg, BUFFER, OUT};
use super::model::LEADS_OUT;
use super::pair::{CREAT, DIRECTORY, EXCL, Pair, Request, TRUNC};
use super::run::Run;
use super::tree;
use crate::Case;

const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
const APPEND: u32 = 1;
const NONBLOCK: u32 = 4;
const ALL_RIGHTS: u64 = (1 << 28) - 1;

impl Run {
    pub(super) fn open(&mut self, case: &mut Case) -> Result<(), String> {
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
        let request = Request {
            follow,
            oflags,
            reads: rights & READ != 0,
            writes: rights & WRITE != 0,
            appends: case.once_in(5),
        };
        let fdflags = NONBLOCK | if request.appends { APPEND } else { 0 };
        let what = format!("open {dir} {path:?} {request:?} rights {rights:x}");
        let pair = &self.open[dir];
        let expected = pair.open_model(&path, request);
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
        // A path that names a directory is refused before it is looked up.
        if oflags & CREAT != 0 && (path.ends_with('/') || path.ends_with("/.")) && found == ISDIR {
            return Ok(());
        }
        let faults = match oflags & (DIRECTORY | EXCL) {
            0 => Faults::of(&path),
            _ => Faults::Several,
        };
        let Some(model) = agree(case, &what, faults, found, expected)? else {
            return Ok(());
        };
        let is_dir = model.file().metadata().is_ok_and(|m| m.is_dir());
        self.open.push(Pair {
            guest: self.guest.u32(OUT),
            model,
            is_dir,
            read_only,
            reads: request.reads || !request.writes,
            writes: request.writes,
            appends: request.appends,
        });
        Ok(())
    }

    pub(super) fn mkdir(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path) = (self.dir(case), tree::path(case));
        let pair = &self.open[dir];
        let expected = pair.changes_at(&path, false, || pair.model.mkdir(&path));
        let args = [Arg::I32(pair.guest), Arg::Bytes(path.as_bytes())];
        let found = self.guest.call("path_create_directory", &args)?;
        let what = format!("mkdir {dir} {path:?}");
        agree(case, &what, Faults::of(&path), found, expected).map(drop)
    }

    pub(super) fn unlink(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, directory) = (self.dir(case), tree::path(case), case.once_in(2));
        let pair = &self.open[dir];
        let expected = pair.changes_at(&path, false, || pair.model.unlink(&path, directory));
        let name = match directory {
            true => "path_remove_directory",
            false => "path_unlink_file",
        };
        let args = [Arg::I32(pair.guest), Arg::Bytes(path.as_bytes())];
        let found = self.guest.call(name, &args)?;
        let what = format!("{name} {dir} {path:?}");
        agree(case, &what, Faults::of(&path), found, expected).map(drop)
    }

    pub(super) fn symlink(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, target) = (self.dir(case), tree::path(case), tree::target(case));
        let pair = &self.open[dir];
        let expected = match target.starts_with('/') {
            // For other programs an absolute link would lead to a file of the host.
            true => Err(LEADS_OUT),
            false => pair.changes_at(&path, false, || pair.model.symlink(&target, &path)),
        };
        let args = [
            Arg::Bytes(target.as_bytes()),
            Arg::I32(pair.guest),
            Arg::Bytes(path.as_bytes()),
        ];
        let found = self.guest.call("path_symlink", &args)?;
        let what = format!("symlink {target:?} {dir} {path:?}");
        agree(case, &what, Faults::of(&path), found, expected).map(drop)
    }

    pub(super) fn rename(&mut self, case: &mut Case) -> Result<(), String> {
        let (from_dir, from) = (self.dir(case), tree::path(case));
        let (to_dir, to) = (self.dir(case), tree::path(case));
        let (a, b) = (&self.open[from_dir], &self.open[to_dir]);
        let rename = || b.changes_at(&to, false, || a.model.rename(&from, &b.model, &to));
        let expected = a.changes_at(&from, false, rename);
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

    pub(super) fn link(&mut self, case: &mut Case) -> Result<(), String> {
        let (from_dir, from) = (self.dir(case), tree::path(case));
        let (to_dir, to, follow) = (self.dir(case), tree::path(case), case.once_in(3));
        let (a, b) = (&self.open[from_dir], &self.open[to_dir]);
        let link = || b.changes_at(&to, false, || a.model.link(&from, follow, &b.model, &to));
        let expected = a.changes_at(&from, follow, link);
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

    pub(super) fn readlink(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path) = (self.dir(case), tree::path(case));
        let pair = &self.open[dir];
        let expected = pair.reads_at(&path, false, || match pair.model.readlink(&path)? {
            // An absolute target would tell the guest about the host.
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

    pub(super) fn stat(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, follow) = (self.dir(case), tree::path(case), case.once_in(2));
        let pair = &self.open[dir];
        let expected = pair.reads_at(&path, follow, || pair.model.stat(&path, follow));
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
            // The file system decides on the size of a directory.
            3 => same(&what, stat.0, 3),
            _ => same(&what, stat, (kind, size)),
        }
    }

    /// Checks only that a call does not succeed where it must fail. Times in the two directories
    /// are not compared.
    pub(super) fn set_times(&mut self, case: &mut Case) -> Result<(), String> {
        let (dir, path, follow) = (self.dir(case), tree::path(case), case.once_in(2));
        let pair = &self.open[dir];
        let expected = pair.changes_at(&path, follow, || pair.model.stat(&path, follow));
        let args = [
            Arg::I32(pair.guest),
            Arg::I32(follow.into()),
            Arg::Bytes(path.as_bytes()),
            Arg::I64(case.rng.u64(..1 << 62)),
            Arg::I64(*case.one_of(&[0, 1, 1_000_000_000, u64::MAX])),
            // Without a flag there is nothing to set, and the system does not look the path up.
            Arg::I32(case.rng.u32(1..16)),
        ];
        let found = self.guest.call("path_filestat_set_times", &args)?;
        case.show(|| format!("set times {dir} {path:?} follow {follow}: {found}"));
        match expected {
            Err(errno) if found == 0 => Err(format!(
                "set times {dir} {path:?} follow {follow}: succeeded, expected error {errno}"
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn list(&mut self, case: &mut Case) -> Result<(), String> {
        let at = self.dir(case);
        let pair = &self.open[at];
        let Some(expected) = pair.model.list().filter(|_| pair.is_dir) else {
            return Ok(());
        };
        let (mut names, mut cookie) = (Vec::new(), 0u64);
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
            let before = cookie;
            for entry in entries(&bytes) {
                cookie = entry.next;
                names.push(entry.name.to_vec());
            }
            // A buffer that has no room for an entry is the guest's fault.
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
}

/// An entry of a directory as `fd_readdir` writes it.
struct Entry<'a> {
    next: u64,
    name: &'a [u8],
}

/// The complete entries in a buffer.
fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (head, tail) = bytes.split_at_checked(24)?;
        let number = |at: usize, n: usize| {
            let digits = head[at..at + n].iter().rev();
            digits.fold(0u64, |v, b| v << 8 | u64::from(*b))
        };
        let (name, rest) = tail.split_at_checked(number(16, 4) as usize)?;
        bytes = rest;
        Some(Entry {
            next: number(0, 8),
            name,
        })
    })
}
