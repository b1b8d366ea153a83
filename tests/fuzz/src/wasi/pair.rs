//! A file or directory that is open in the guest and in the model.

use std::os::unix::fs::FileTypeExt;

use super::agree::{EXIST, INVAL, ISDIR, NOENT, NOTCAPABLE, NOTDIR, ROFS};
use super::model::{Errno, LEADS_OUT, Open};

pub const CREAT: u32 = 1;
pub const DIRECTORY: u32 = 2;
pub const EXCL: u32 = 4;
pub const TRUNC: u32 = 8;

pub struct Pair {
    /// The guest's descriptor.
    pub guest: u32,
    /// The model's descriptor.
    pub model: Open,
    pub is_dir: bool,
    pub read_only: bool,
    pub reads: bool,
    pub writes: bool,
    pub appends: bool,
}

impl Pair {
    /// A preopened directory.
    pub fn directory(guest: u32, model: Open, read_only: bool) -> Self {
        Self {
            guest,
            model,
            is_dir: true,
            read_only,
            reads: true,
            writes: false,
            appends: false,
        }
    }

    /// The result of a call `f` of the model that reads at a path.
    pub fn reads_at<R>(
        &self,
        path: &str,
        follow: bool,
        f: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if !self.is_dir {
            return Err(NOTDIR);
        }
        match self.model.leads_out(path, follow) {
            true => Err(LEADS_OUT),
            false => f(),
        }
    }

    /// The result of a call `f` of the model that changes something at a path.
    pub fn changes_at<R>(
        &self,
        path: &str,
        follow: bool,
        f: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        match self.read_only {
            true => Err(ROFS),
            false => self.reads_at(path, follow, f),
        }
    }

    /// The result of a call `f` of the model that needs a right.
    pub fn with_right<R>(
        &self,
        has_right: bool,
        f: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        match (has_right, self.read_only && !self.reads) {
            (true, false) => f(),
            _ => Err(NOTCAPABLE),
        }
    }

    /// Opens a path in the model.
    pub fn open_model(&self, path: &str, request: Request) -> Result<Open, Errno> {
        let Request {
            follow,
            reads,
            writes,
            appends,
            ..
        } = request;
        let has = |flag| request.oflags & flag != 0;
        if has(DIRECTORY) && (has(CREAT) || has(TRUNC)) {
            return Err(INVAL);
        }
        if self.read_only && (writes || has(TRUNC)) {
            return Err(ROFS);
        }
        let exclusive = has(CREAT) && has(EXCL);
        let opened = self.reads_at(path, follow && !exclusive, || {
            let mut flags = if follow { 0 } else { libc::O_NOFOLLOW };
            if has(DIRECTORY) {
                flags |= libc::O_DIRECTORY;
            }
            if appends {
                flags |= libc::O_APPEND;
            }
            let existing = |flags| {
                let mode = match (reads || !writes, writes) {
                    (true, true) => libc::O_RDWR,
                    (false, _) => libc::O_WRONLY,
                    (true, false) => libc::O_RDONLY,
                };
                self.model.open(path, flags | mode)
            };
            if self.read_only && has(CREAT) {
                return match existing(flags) {
                    Ok(_) if exclusive => Err(EXIST),
                    Err(_) if exclusive && self.model.stat(path, false).is_ok() => Err(EXIST),
                    Err(NOENT) => Err(ROFS),
                    other => other,
                };
            }
            // A guest that may create a file, but does not ask to write, opens an existing file
            // without the permission to write to it.
            if has(CREAT) && !writes && !exclusive && !has(TRUNC) {
                match existing(flags) {
                    Err(NOENT) => {}
                    other => return other,
                }
            }
            if !has(CREAT) && !has(TRUNC) {
                return existing(flags);
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
            self.model.open(path, flags | mode)
        })?;
        let kind = opened.file().metadata().map(|found| found.file_type());
        match kind {
            // The system's `open` reports the same error, but only for a call that could create the
            // file.
            Ok(kind) if has(CREAT) && kind.is_dir() => Err(ISDIR),
            // Reading from a pipe changes it.
            Ok(kind) if self.read_only && kind.is_fifo() => Err(ROFS),
            _ => Ok(opened),
        }
    }
}

/// How a path is opened.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub follow: bool,
    pub oflags: u32,
    pub reads: bool,
    pub writes: bool,
    pub appends: bool,
}
