//! Tests that call the functions as a guest does. The guest's memory is a `Vec<u8>`, so the tests
//! need no machine code.

mod advisories;
mod dirs;
mod files;
mod hostile;
mod lying;
mod mounted;
#[cfg(target_os = "linux")]
mod procfs;
mod protected;
mod read_only;
mod sandbox;
mod streams;
mod waiting;
#[cfg(target_os = "linux")]
mod without_openat2;

use std::path::Path;

use tempfile::TempDir;

use crate::ctx::{DirAccess, WasiCtx, WasiCtxBuilder};
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::{fd, fdstat, open, path, readdir};

/// The first preopened directory.
const DIR: u32 = 3;

const FOLLOW: u32 = 1;

const CREAT: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCL: u32 = 4;
const TRUNC: u32 = 8;

const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;

const APPEND: u32 = 1;

/// The address where functions write their results.
const OUT: u32 = 8;
/// The address from which on the inputs of calls are placed.
const INPUT: u32 = 1024;

/// A guest: a context, a memory, and the calls that a C library would make.
struct Guest {
    ctx: WasiCtx,
    bytes: Vec<u8>,
    next: u32,
}

impl Guest {
    fn new(ctx: WasiCtx) -> Self {
        #[cfg(target_os = "linux")]
        without_openat2::refuse_if_asked();
        Self {
            ctx,
            bytes: vec![0; 256 << 10],
            next: INPUT,
        }
    }

    /// A guest with `folder` as directory 3.
    fn in_folder(folder: &TempDir, access: DirAccess) -> Self {
        let builder = WasiCtxBuilder::new().preopened_dir(folder.path(), "/", access);
        Self::new(builder.unwrap().build())
    }

    fn call<R>(&mut self, f: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> R) -> R {
        self.next = INPUT;
        f(&mut self.ctx, &mut GuestMemory::new(&mut self.bytes))
    }

    /// Puts bytes into the memory. Returns their address and length.
    fn put(&mut self, bytes: &[u8]) -> (u32, u32) {
        let at = self.next;
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
        self.next += (bytes.len() as u32).next_multiple_of(8);
        (at, bytes.len() as u32)
    }

    /// Puts a list of buffers into the memory. Returns its address and the number of buffers.
    fn put_list(&mut self, buffers: &[(u32, u32)]) -> (u32, u32) {
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|(at, len)| [at.to_le_bytes(), len.to_le_bytes()].concat())
            .collect();
        (self.put(&bytes).0, buffers.len() as u32)
    }

    fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes[at as usize..][..4].try_into().unwrap())
    }

    fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes[at as usize..][..8].try_into().unwrap())
    }

    fn open_with(&mut self, dir: u32, name: &str, with: Open) -> Result<u32> {
        let (at, len) = self.put(name.as_bytes());
        let Open {
            lookup,
            oflags,
            rights,
            fdflags,
        } = with;
        self.call(|ctx, memory| {
            open::path_open(
                ctx, memory, dir, lookup, at, len, oflags, rights, rights, fdflags, OUT,
            )
        })?;
        Ok(self.u32(OUT))
    }

    fn open(&mut self, name: &str, oflags: u32, rights: u64) -> Result<u32> {
        let with = Open {
            oflags,
            rights,
            ..Open::default()
        };
        self.open_with(DIR, name, with)
    }

    fn close(&mut self, fd: u32) -> Result<()> {
        self.call(|ctx, memory| fd::fd_close(ctx, memory, fd))
    }

    fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>> {
        let (at, _) = self.put(&vec![0xee; len as usize]);
        let (list, count) = self.put_list(&[(at, len)]);
        self.call(|ctx, memory| fd::fd_read(ctx, memory, fd, list, count, OUT))?;
        let n = self.u32(OUT) as usize;
        Ok(self.bytes[at as usize..][..n].to_vec())
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32> {
        let buffer = self.put(bytes);
        let (list, count) = self.put_list(&[buffer]);
        self.call(|ctx, memory| fd::fd_write(ctx, memory, fd, list, count, OUT))?;
        Ok(self.u32(OUT))
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64> {
        self.call(|ctx, memory| fd::fd_seek(ctx, memory, fd, offset, whence, OUT))?;
        Ok(self.u64(OUT))
    }

    /// The type, flags, rights and inheriting rights of a descriptor.
    fn fdstat(&mut self, fd: u32) -> Result<(u8, u8, u64, u64)> {
        self.call(|ctx, memory| fdstat::fd_fdstat_get(ctx, memory, fd, OUT))?;
        let at = OUT as usize;
        let (filetype, flags) = (self.bytes[at], self.bytes[at + 2]);
        Ok((filetype, flags, self.u64(OUT + 8), self.u64(OUT + 16)))
    }

    /// The type and size of a file.
    fn stat(&mut self, name: &str, lookup: u32) -> Result<(u8, u64)> {
        let (at, len) = self.put(name.as_bytes());
        self.call(|ctx, memory| path::path_filestat_get(ctx, memory, DIR, lookup, at, len, OUT))?;
        Ok((self.bytes[OUT as usize + 16], self.u64(OUT + 32)))
    }

    /// Calls one of the functions that take a directory and a path.
    fn at(&mut self, function: PathFunction, name: &str) -> Result<()> {
        let (at, len) = self.put(name.as_bytes());
        self.call(|ctx, memory| function(ctx, memory, DIR, at, len))
    }

    fn rename(&mut self, from: (u32, &str), to: (u32, &str)) -> Result<()> {
        let (old, old_len) = self.put(from.1.as_bytes());
        let (new, new_len) = self.put(to.1.as_bytes());
        self.call(|ctx, memory| {
            path::path_rename(ctx, memory, from.0, old, old_len, to.0, new, new_len)
        })
    }

    fn link(&mut self, lookup: u32, from: (u32, &str), to: (u32, &str)) -> Result<()> {
        let (old, old_len) = self.put(from.1.as_bytes());
        let (new, new_len) = self.put(to.1.as_bytes());
        self.call(|ctx, memory| {
            path::path_link(
                ctx, memory, from.0, lookup, old, old_len, to.0, new, new_len,
            )
        })
    }

    fn symlink(&mut self, target: &str, name: &str) -> Result<()> {
        let (old, old_len) = self.put(target.as_bytes());
        let (new, new_len) = self.put(name.as_bytes());
        self.call(|ctx, memory| path::path_symlink(ctx, memory, old, old_len, DIR, new, new_len))
    }

    fn readlink(&mut self, name: &str, room: u32) -> Result<String> {
        let (at, len) = self.put(name.as_bytes());
        let (buf, _) = self.put(&vec![0; room as usize]);
        self.call(|ctx, memory| path::path_readlink(ctx, memory, DIR, at, len, buf, room, OUT))?;
        let n = self.u32(OUT) as usize;
        Ok(String::from_utf8(self.bytes[buf as usize..][..n].to_vec()).unwrap())
    }

    fn set_times(&mut self, name: &str, lookup: u32, times: (u64, u64, u32)) -> Result<()> {
        let (at, len) = self.put(name.as_bytes());
        let (atim, mtim, flags) = times;
        self.call(|ctx, memory| {
            path::path_filestat_set_times(ctx, memory, DIR, lookup, at, len, atim, mtim, flags)
        })
    }

    /// Calls `fd_readdir` once. Returns the bytes that it wrote.
    fn readdir(&mut self, fd: u32, room: u32, cookie: u64) -> Result<Vec<u8>> {
        let (buf, _) = self.put(&vec![0; room as usize]);
        self.call(|ctx, memory| readdir::fd_readdir(ctx, memory, fd, buf, room, cookie, OUT))?;
        let n = self.u32(OUT) as usize;
        Ok(self.bytes[buf as usize..][..n].to_vec())
    }
}

type PathFunction = fn(&mut WasiCtx, &mut GuestMemory<'_>, u32, u32, u32) -> Result<()>;

const MKDIR: PathFunction = path::path_create_directory;
const RMDIR: PathFunction = path::path_remove_directory;
const UNLINK: PathFunction = path::path_unlink_file;

#[derive(Clone, Copy)]
struct Open {
    lookup: u32,
    oflags: u32,
    rights: u64,
    fdflags: u32,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            lookup: FOLLOW,
            oflags: 0,
            rights: READ,
            fdflags: 0,
        }
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn contents(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}
