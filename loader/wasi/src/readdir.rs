//! The function that reads directories: `fd_readdir`.
//!
//! A guest reads a directory in parts. Each part starts at a *cookie* that the guest got with an
//! entry. Cookies must stay valid while files come and go: guests delete files while they read. So
//! the directory is listed once, when the guest reads from the beginning, and the listing is kept
//! until the guest does so again or closes the directory. A cookie is the index of an entry in the
//! listing. The listing has the form that the guest gets, byte for byte:
//!
//! ```text
//! 0       8      16       20     21     24
//! | next  | ino  | length | type | zero | name … | next entry
//! ```

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;

use cap_std::fs::{Dir, MetadataExt};

use crate::ctx::WasiCtx;
use crate::descriptor::{Descriptors, Kind};
use crate::errno::{Errno, Result};
use crate::fs::is_name;
use crate::fs::mounted::MountedDir;
use crate::guest::GuestMemory;
use crate::types::{Filetype, Rights};

const HEAD: usize = 24;

/// The entries of a directory at the time when it was listed.
#[derive(Default)]
pub(crate) struct Listing {
    /// The entries in the form that guests get.
    bytes: Vec<u8>,
    /// The offset in `bytes` where each entry starts.
    starts: Vec<usize>,
}

impl Listing {
    /// Lists a directory.
    ///
    /// # Errors
    /// `NOMEM` if the listing takes more than `room` bytes; those of the system.
    fn new(dir: &Dir, room: usize) -> Result<Self> {
        let mut listing = Self::default();
        let ino = dir.dir_metadata()?.ino();
        // `..` gets the number of the directory itself: the guest may have no access to the parent.
        for name in [&b"."[..], b".."] {
            listing.push(ino, Filetype::Directory, name);
        }
        for entry in dir.entries()? {
            let entry = entry?;
            // Paths of guests are UTF-8, so a guest could do nothing with such a name.
            if entry.file_name().to_str().is_none() {
                continue;
            }
            let filetype = entry.file_type()?.into();
            listing.push(entry.ino(), filetype, entry.file_name().as_bytes());
            if listing.size() > room {
                return Err(Errno::NOMEM);
            }
        }
        Ok(listing)
    }

    /// Lists a directory of a mounted file system.
    ///
    /// # Errors
    /// `NOMEM` if the listing takes more than `room` bytes; those of the file system.
    fn of_mounted(dir: &MountedDir, room: usize) -> Result<Self> {
        let (entries, ino) = dir.entries()?;
        let mut listing = Self::default();
        for name in [&b"."[..], b".."] {
            listing.push(ino, Filetype::Directory, name);
        }
        for entry in entries {
            // An implementation may return any names. Names that no path can contain are left out,
            // because guests join names to paths, and C programs end names at a NUL.
            if !is_name(&entry.name) {
                continue;
            }
            listing.push(entry.ino, entry.kind.into(), entry.name.as_bytes());
            if listing.size() > room {
                return Err(Errno::NOMEM);
            }
        }
        Ok(listing)
    }

    fn push(&mut self, ino: u64, filetype: Filetype, name: &[u8]) {
        let mut head = [0; HEAD];
        let next = self.starts.len() as u64 + 1;
        head[0..8].copy_from_slice(&next.to_le_bytes());
        head[8..16].copy_from_slice(&ino.to_le_bytes());
        head[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
        head[20] = filetype as u8;
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(name);
    }

    /// The entries from a cookie on. There are none for a cookie beyond the end.
    fn entries_from(&self, cookie: u64) -> &[u8] {
        let start = usize::try_from(cookie)
            .ok()
            .and_then(|i| self.starts.get(i));
        start.map_or(&[], |start| &self.bytes[*start..])
    }

    fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&self.starts[..])
    }
}

/// The size in bytes of the listings of all directories but one.
fn listed(descriptors: &Descriptors, but: u32) -> usize {
    descriptors
        .iter()
        .filter(|(fd, _)| *fd != but)
        .filter_map(|(_, descriptor)| match &descriptor.kind {
            Kind::Dir(dir) => dir.listing.as_ref(),
            Kind::MountedDir(dir) => dir.listing.as_ref(),
            Kind::Stdin | Kind::Stdout | Kind::Stderr => None,
            Kind::File(_) | Kind::MountedFile(_) => None,
        })
        .map(Listing::size)
        .sum()
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
    let listing = match ctx.descriptors.mounted_dir(fd, Rights::FD_READDIR)? {
        Some(dir) => &dir.listing,
        None => &ctx.descriptors.dir(fd, Rights::FD_READDIR)?.listing,
    };
    let is_new = cookie == 0 || listing.is_none();
    let room = if is_new {
        let max = ctx.descriptors.max_listings;
        max.saturating_sub(listed(&ctx.descriptors, fd))
    } else {
        0
    };
    // The former listing is dropped before the new one is made.
    let listing = match &mut ctx.descriptors.get_mut(fd)?.kind {
        Kind::MountedDir(dir) => {
            if is_new {
                dir.listing = None;
                dir.listing = Some(Listing::of_mounted(dir, room)?);
            }
            &dir.listing
        }
        Kind::Dir(dir) => {
            if is_new {
                dir.listing = None;
                dir.listing = Some(Listing::new(&dir.dir, room)?);
            }
            &dir.listing
        }
        Kind::Stdin | Kind::Stdout | Kind::Stderr | Kind::File(_) | Kind::MountedFile(_) => {
            return Err(Errno::NOTDIR);
        }
    };
    let listing = listing.as_ref().ok_or(Errno::IO)?;
    // The last entry may be cut off. The buffer is full then, which tells the guest that there are
    // more entries.
    let entries = listing.entries_from(cookie);
    let n = entries.len().min(len as usize);
    memory.write(buf, &entries[..n])?;
    memory.write_u32(used, n as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..10 {
            std::fs::write(folder.path().join(i.to_string()), "").unwrap();
        }
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let size = Listing::new(&dir, usize::MAX).unwrap().size();
        assert_eq!(size, 12 * (HEAD + 8) + 10 + 3);
        assert!(Listing::new(&dir, size).is_ok());
        assert!(matches!(Listing::new(&dir, size - 1), Err(Errno::NOMEM)));
    }
}
