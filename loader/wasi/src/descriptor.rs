//! The table of a guest's descriptors.
//!
//! Numbers 0 to 2 are the standard streams, and the preopened directories follow from 3 on. A new
//! descriptor gets the lowest free number, as in POSIX. The position and flags of a file are kept
//! by the system, in its open file description. Each open file description belongs to one
//! descriptor only, because the snapshot has no `dup`.

use cap_std::fs::{Dir, File};

use crate::errno::{Errno, Result};
use crate::fs::mounted::{MountedDir, MountedFile, Moved};
use crate::readdir::Listing;
use crate::types::{FdFlags, Rights};

/// The maximum number of descriptors of a guest, unless the host sets a lower one: the default
/// limit of a process on Linux. Each costs the host a descriptor of its own.
pub(crate) const MAX_DESCRIPTORS: usize = 1024;

/// The bytes that directory listings of a guest can take, unless the host sets another limit.
const MAX_LISTINGS: usize = 256 << 20;

/// What a descriptor refers to.
pub(crate) enum Kind {
    Stdin,
    Stdout,
    Stderr,
    File(OpenFile),
    Dir(OpenDir),
    MountedFile(MountedFile),
    MountedDir(MountedDir),
}

/// A file, a device or a pipe that was opened in a preopened directory.
pub(crate) struct OpenFile {
    pub(crate) file: File,
    /// The guest may change nothing about the file. The file is then not open for writing either,
    /// but its times could be set without that.
    pub(crate) read_only: bool,
    /// Whether a read or a write may have to wait, because this is not a regular file. The system
    /// then answers with `AGAIN` instead of waiting.
    pub(crate) may_wait: bool,
}

/// An open directory.
pub(crate) struct OpenDir {
    pub(crate) dir: Dir,
    /// The guest may change nothing in the directory. Files and directories that are opened in it
    /// inherit this.
    pub(crate) read_only: bool,
    /// The guest's name for the directory, if it is a preopened one.
    pub(crate) preopen: Option<String>,
    /// The listing that `fd_readdir` reads from.
    pub(crate) listing: Option<Listing>,
}

/// An entry of the table.
pub(crate) struct Descriptor {
    pub(crate) kind: Kind,
    pub(crate) flags: FdFlags,
    pub(crate) rights: Rights,
    /// The rights that descriptors opened in this directory can have at most.
    pub(crate) inheriting: Rights,
}

impl Descriptor {
    pub(crate) fn stream(kind: Kind) -> Self {
        let rights = match kind {
            // Streams have no right to seek. Guests take a character device without this right for
            // a terminal.
            Kind::Stdin => Rights::FD_READ,
            _ => Rights::FD_WRITE,
        };
        Self {
            kind,
            flags: FdFlags::NONE,
            rights: rights.and(Rights::STREAM),
            inheriting: Rights::NONE,
        }
    }

    pub(crate) fn directory(dir: OpenDir, inheriting: Rights) -> Self {
        Self {
            kind: Kind::Dir(dir),
            flags: FdFlags::NONE,
            rights: inheriting.common(Rights::DIRECTORY),
            inheriting,
        }
    }

    pub(crate) fn mounted_directory(dir: MountedDir, inheriting: Rights) -> Self {
        Self {
            kind: Kind::MountedDir(dir),
            flags: FdFlags::NONE,
            rights: inheriting.common(Rights::DIRECTORY),
            inheriting,
        }
    }
}

impl Kind {
    /// Whether this is a directory, of the system or of a mounted file system.
    pub(crate) fn is_dir(&self) -> bool {
        matches!(self, Self::Dir(_) | Self::MountedDir(_))
    }
}

/// All descriptors of a guest.
pub(crate) struct Descriptors {
    slots: Vec<Option<Descriptor>>,
    /// How many there may be.
    pub(crate) max: usize,
    /// The maximum size in bytes of all directory listings together. Without a limit, a guest could
    /// list a large directory many times.
    pub(crate) max_listings: usize,
}

impl Descriptors {
    /// A table with the standard streams.
    pub(crate) fn new() -> Self {
        let streams = [Kind::Stdin, Kind::Stdout, Kind::Stderr];
        Self {
            slots: streams
                .map(|kind| Some(Descriptor::stream(kind)))
                .into_iter()
                .collect(),
            max: MAX_DESCRIPTORS,
            max_listings: MAX_LISTINGS,
        }
    }

    /// The descriptor with this number.
    ///
    /// # Errors
    /// `BADF` if there is none.
    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor> {
        self.slots
            .get(fd as usize)
            .and_then(Option::as_ref)
            .ok_or(Errno::BADF)
    }

    /// Like [`get`](Self::get).
    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)
    }

    /// The descriptor with this number, if it has these rights.
    ///
    /// # Errors
    /// `BADF` if there is none; `BADF` or `NOTCAPABLE` if it lacks a right.
    pub(crate) fn with(&mut self, fd: u32, rights: Rights) -> Result<&mut Descriptor> {
        let descriptor = self.get_mut(fd)?;
        descriptor.rights.require(rights)?;
        Ok(descriptor)
    }

    /// The file of a mounted file system with this number, if it has these rights; `None` if no
    /// such file has the number.
    ///
    /// # Errors
    /// `BADF` or `NOTCAPABLE` if it lacks a right.
    pub(crate) fn mounted_file(
        &mut self,
        fd: u32,
        rights: Rights,
    ) -> Result<Option<&mut MountedFile>> {
        let Ok(descriptor) = self.get_mut(fd) else {
            return Ok(None);
        };
        let Kind::MountedFile(file) = &mut descriptor.kind else {
            return Ok(None);
        };
        descriptor.rights.require(rights)?;
        Ok(Some(file))
    }

    /// The directory of a mounted file system with this number, if it has these rights; `None` if
    /// no such directory has the number.
    ///
    /// # Errors
    /// `NOTCAPABLE` if it lacks a right.
    pub(crate) fn mounted_dir(&self, fd: u32, rights: Rights) -> Result<Option<&MountedDir>> {
        let Ok(descriptor) = self.get(fd) else {
            return Ok(None);
        };
        let Kind::MountedDir(dir) = &descriptor.kind else {
            return Ok(None);
        };
        descriptor.rights.require(rights)?;
        Ok(Some(dir))
    }

    /// The directories of a rename or a link, as [`writable_dirs`](Self::writable_dirs), if they
    /// are of mounted file systems; `None` if both are something else.
    ///
    /// # Errors
    /// `XDEV` if only one of them is; those of `writable_dirs`.
    pub(crate) fn mounted_dirs(
        &self,
        from: (u32, Rights),
        to: (u32, Rights),
    ) -> Result<Option<(&MountedDir, &MountedDir)>> {
        let pair = (
            self.mounted_dir(from.0, from.1)?,
            self.mounted_dir(to.0, to.1)?,
        );
        match pair {
            (None, None) => Ok(None),
            (Some(_), None) => self.dir(to.0, to.1).and(Err(Errno::XDEV)),
            (None, Some(_)) => self.dir(from.0, from.1).and(Err(Errno::XDEV)),
            (Some(one), Some(other)) => {
                if !(self.get(from.0)?.inheriting).contains(self.get(to.0)?.inheriting) {
                    return Err(Errno::NOTCAPABLE);
                }
                Ok(Some((one, other)))
            }
        }
    }

    /// Updates the paths of open directories after a change of names in the file system of this
    /// directory.
    pub(crate) fn follow(&mut self, fd: u32, moved: &Moved) {
        let Ok(Descriptor {
            kind: Kind::MountedDir(dir),
            ..
        }) = self.get(fd)
        else {
            return;
        };
        let mount = std::sync::Arc::clone(&dir.mount);
        for descriptor in self.slots.iter_mut().flatten() {
            if let Kind::MountedDir(dir) = &mut descriptor.kind {
                dir.follow(&mount, moved);
            }
        }
    }

    /// The file of the system with this number, if it has these rights.
    ///
    /// # Errors
    /// `BADF` if there is no such descriptor or it is a directory; `SPIPE` if it is a standard
    /// stream; `BADF` or `NOTCAPABLE` if it lacks a right.
    pub(crate) fn file(&mut self, fd: u32, rights: Rights) -> Result<&mut OpenFile> {
        let descriptor = self.get_mut(fd)?;
        match &mut descriptor.kind {
            Kind::File(file) => {
                descriptor.rights.require(rights)?;
                Ok(file)
            }
            Kind::Dir(_) | Kind::MountedDir(_) | Kind::MountedFile(_) => Err(Errno::BADF),
            Kind::Stdin | Kind::Stdout | Kind::Stderr => Err(Errno::SPIPE),
        }
    }

    /// The directory with this number, if it has these rights.
    ///
    /// # Errors
    /// `BADF` if there is no such descriptor; `NOTDIR` if it is no directory; `NOTCAPABLE` if it
    /// lacks a right.
    pub(crate) fn dir(&self, fd: u32, rights: Rights) -> Result<&OpenDir> {
        let descriptor = self.get(fd)?;
        match &descriptor.kind {
            Kind::Dir(dir) => {
                descriptor.rights.require(rights)?;
                Ok(dir)
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    /// All descriptors with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(fd, slot)| Some((fd, slot.as_ref()?)))
    }

    /// All directories.
    pub(crate) fn directories_mut(&mut self) -> impl Iterator<Item = &mut OpenDir> {
        let slots = self.slots.iter_mut().flatten();
        slots.filter_map(|descriptor| match &mut descriptor.kind {
            Kind::Dir(dir) => Some(dir),
            Kind::Stdin
            | Kind::Stdout
            | Kind::Stderr
            | Kind::File(_)
            | Kind::MountedFile(_)
            | Kind::MountedDir(_) => None,
        })
    }

    /// The directory with this number, if it has these rights and the guest may change something in
    /// it.
    ///
    /// # Errors
    /// Those of [`dir`](Self::dir); `ROFS` if the directory is read-only.
    pub(crate) fn writable_dir(&self, fd: u32, rights: Rights) -> Result<&Dir> {
        let dir = self.dir(fd, rights)?;
        if dir.read_only {
            return Err(Errno::ROFS);
        }
        Ok(&dir.dir)
    }

    /// The directories of a rename or a link: the one of the old name and the one of the new name,
    /// both as for [`writable_dir`](Self::writable_dir). The new name must not give a file more
    /// rights than the old one.
    ///
    /// # Errors
    /// Those of `writable_dir`; `NOTCAPABLE` if the directory of the new name passes on more
    /// rights.
    pub(crate) fn writable_dirs(
        &self,
        (from, from_rights): (u32, Rights),
        (to, to_rights): (u32, Rights),
    ) -> Result<(&Dir, &Dir)> {
        let dirs = (
            self.writable_dir(from, from_rights)?,
            self.writable_dir(to, to_rights)?,
        );
        if !(self.get(from)?.inheriting).contains(self.get(to)?.inheriting) {
            return Err(Errno::NOTCAPABLE);
        }
        Ok(dirs)
    }

    /// Adds a descriptor under the lowest free number.
    ///
    /// # Errors
    /// `MFILE` if there are as many as there may be.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32> {
        let fd = self.slots.iter().position(Option::is_none);
        let fd = fd.unwrap_or(self.slots.len());
        if fd >= self.max {
            return Err(Errno::MFILE);
        }
        if fd == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[fd] = Some(descriptor);
        Ok(fd as u32)
    }

    /// Whether [`insert`](Self::insert) would find a free number.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.iter().take(self.max).any(Option::is_none) || self.slots.len() < self.max
    }

    /// Removes the descriptor with this number.
    ///
    /// # Errors
    /// `BADF` if there is none.
    pub(crate) fn remove(&mut self, fd: u32) -> Result<Descriptor> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::take)
            .ok_or(Errno::BADF)
    }

    /// Moves the descriptor `from` to the number `to` and closes the descriptor that was there.
    /// Both must exist, so that a guest cannot make the table grow. Nothing happens if they are the
    /// same.
    ///
    /// # Errors
    /// `BADF` if one of them does not exist. Nothing is changed then.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<()> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let descriptor = self.remove(from)?;
            self.slots[to as usize] = Some(descriptor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_limited_and_the_lowest_number_is_next() {
        let mut descriptors = Descriptors::new();
        for fd in 3..MAX_DESCRIPTORS as u32 {
            assert!(descriptors.has_room());
            let next = descriptors.insert(Descriptor::stream(Kind::Stdin));
            assert_eq!(next, Ok(fd));
        }
        assert!(!descriptors.has_room());
        let next = descriptors.insert(Descriptor::stream(Kind::Stdin));
        assert_eq!(next, Err(Errno::MFILE));
        for fd in [500, 10] {
            descriptors.remove(fd).unwrap();
        }
        assert!(descriptors.has_room());
        let next = descriptors.insert(Descriptor::stream(Kind::Stdin));
        assert_eq!(next, Ok(10));
    }

    #[test]
    fn a_host_can_lower_the_limit_and_descriptors_beyond_it_stay() {
        let mut descriptors = Descriptors::new();
        for _ in 0..3 {
            descriptors.insert(Descriptor::stream(Kind::Stdin)).unwrap();
        }
        descriptors.max = 4;
        assert!(!descriptors.has_room());
        let next = descriptors.insert(Descriptor::stream(Kind::Stdin));
        assert_eq!(next, Err(Errno::MFILE));
        assert!(descriptors.get(5).is_ok());
        descriptors.remove(4).unwrap();
        assert!(!descriptors.has_room());
        let next = descriptors.insert(Descriptor::stream(Kind::Stdin));
        assert_eq!(next, Err(Errno::MFILE));
        descriptors.remove(3).unwrap();
        assert!(descriptors.has_room());
        let next = descriptors.insert(Descriptor::stream(Kind::Stdin));
        assert_eq!(next, Ok(3));
    }

    #[test]
    fn renumbering_cannot_make_the_table_grow() {
        let mut descriptors = Descriptors::new();
        for (from, to) in [(0, 3), (3, 0), (0, u32::MAX), (9, 9)] {
            assert_eq!(descriptors.renumber(from, to), Err(Errno::BADF));
        }
        assert_eq!(descriptors.renumber(2, 2), Ok(()));
        assert_eq!(descriptors.renumber(2, 0), Ok(()));
        assert!(matches!(descriptors.get(0), Ok(d) if matches!(d.kind, Kind::Stderr)));
        assert!(descriptors.get(2).is_err());
    }
}
