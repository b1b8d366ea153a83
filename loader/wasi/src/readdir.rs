//! Reading directories.
//!
//! A guest reads a directory in parts, each from a *cookie* on that it was given with an entry. So
//! that cookies keep their meaning while files come and go (guests delete while they read), the
//! names are listed once, when the guest reads from the beginning, and kept until it does so again
//! or closes the directory. A cookie is the place of the entry in that list.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirEntryExt;

use cap_std::fs::{Dir, MetadataExt};

use crate::ctx::WasiCtx;
use crate::descriptor::Kind;
use crate::errno::{Errno, Result};
use crate::guest::GuestMemory;
use crate::types::{Filetype, Rights};

/// What a directory held when it was listed.
pub(crate) struct Listing {
    entries: Vec<Entry>,
}

struct Entry {
    ino: u64,
    filetype: Filetype,
    name: Box<[u8]>,
}

impl Listing {
    fn new(dir: &Dir) -> Result<Self> {
        let ino = dir.dir_metadata()?.ino();
        // The parent is not told: it may be none of the guest's business.
        let mut entries: Vec<_> = [&b"."[..], b".."]
            .into_iter()
            .map(|name| Entry {
                ino,
                filetype: Filetype::Directory,
                name: name.into(),
            })
            .collect();
        for entry in dir.entries()? {
            let entry = entry?;
            entries.push(Entry {
                ino: entry.ino(),
                filetype: entry.file_type()?.into(),
                name: entry.file_name().into_vec().into(),
            });
        }
        Ok(Self { entries })
    }
}

pub(crate) fn fd_readdir(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buf: u32,
    len: u32,
    cookie: u64,
    used: u32,
) -> Result<()> {
    memory.check(used, 4)?;
    memory.check(buf, u64::from(len))?;
    let descriptor = ctx.descriptors.get_mut(fd)?;
    let Kind::Dir(dir) = &mut descriptor.kind else {
        return Err(Errno::NOTDIR);
    };
    descriptor.rights.require(Rights::FD_READDIR)?;
    if cookie == 0 || dir.listing.is_none() {
        dir.listing = Some(Listing::new(&dir.dir)?);
    }
    let entries = dir.listing.as_ref().map_or(&[][..], |l| &l.entries);
    let first = usize::try_from(cookie)
        .unwrap_or(usize::MAX)
        .min(entries.len());
    let written = write_entries(memory.slice_mut(buf, len)?, &entries[first..], cookie);
    memory.write_u32(used, written as u32)
}

/// Writes as many entries as fit, the last one possibly cut off: then the buffer is full, from
/// which the guest sees that there is more.
fn write_entries(buf: &mut [u8], entries: &[Entry], cookie: u64) -> usize {
    let mut free = &mut *buf;
    let mut next = cookie;
    for entry in entries {
        next += 1;
        let mut head = [0; 24];
        head[0..8].copy_from_slice(&next.to_le_bytes());
        head[8..16].copy_from_slice(&entry.ino.to_le_bytes());
        head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
        head[20] = entry.filetype as u8;
        for part in [&head[..], &entry.name] {
            let n = part.len().min(free.len());
            let (to, rest) = free.split_at_mut(n);
            to.copy_from_slice(&part[..n]);
            free = rest;
        }
        if free.is_empty() {
            break;
        }
    }
    let left = free.len();
    buf.len() - left
}
