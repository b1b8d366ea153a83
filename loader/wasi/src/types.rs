//! The snapshot's flags, enumerations and records, with their layout in guest memory.
//!
//! Records are little-endian. They are written as a whole, as arrays of their size. `to_bytes`
//! follows the layout in `wasi_snapshot_preview1.witx`.

use std::time::{Duration, SystemTime};

use cap_std::fs::{FileType, FileTypeExt, Metadata, MetadataExt};

use crate::errno::{Errno, Result};

/// The rights of a descriptor, as a set of bits.
///
/// Hosts do not grant single rights any more. Rights tell a guest whether it can read or write a
/// descriptor, and a guest can give rights up with `fd_fdstat_set_rights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights(pub(crate) u64);

impl Rights {
    pub(crate) const FD_DATASYNC: Self = Self(1 << 0);
    pub(crate) const FD_READ: Self = Self(1 << 1);
    pub(crate) const FD_SEEK: Self = Self(1 << 2);
    pub(crate) const FD_FDSTAT_SET_FLAGS: Self = Self(1 << 3);
    pub(crate) const FD_SYNC: Self = Self(1 << 4);
    pub(crate) const FD_TELL: Self = Self(1 << 5);
    pub(crate) const FD_WRITE: Self = Self(1 << 6);
    pub(crate) const FD_ADVISE: Self = Self(1 << 7);
    pub(crate) const FD_ALLOCATE: Self = Self(1 << 8);
    pub(crate) const PATH_CREATE_DIRECTORY: Self = Self(1 << 9);
    pub(crate) const PATH_CREATE_FILE: Self = Self(1 << 10);
    pub(crate) const PATH_LINK_SOURCE: Self = Self(1 << 11);
    pub(crate) const PATH_LINK_TARGET: Self = Self(1 << 12);
    pub(crate) const PATH_OPEN: Self = Self(1 << 13);
    pub(crate) const FD_READDIR: Self = Self(1 << 14);
    pub(crate) const PATH_READLINK: Self = Self(1 << 15);
    pub(crate) const PATH_RENAME_SOURCE: Self = Self(1 << 16);
    pub(crate) const PATH_RENAME_TARGET: Self = Self(1 << 17);
    pub(crate) const PATH_FILESTAT_GET: Self = Self(1 << 18);
    pub(crate) const PATH_FILESTAT_SET_SIZE: Self = Self(1 << 19);
    pub(crate) const PATH_FILESTAT_SET_TIMES: Self = Self(1 << 20);
    pub(crate) const FD_FILESTAT_GET: Self = Self(1 << 21);
    pub(crate) const FD_FILESTAT_SET_SIZE: Self = Self(1 << 22);
    pub(crate) const FD_FILESTAT_SET_TIMES: Self = Self(1 << 23);
    pub(crate) const PATH_SYMLINK: Self = Self(1 << 24);
    pub(crate) const PATH_REMOVE_DIRECTORY: Self = Self(1 << 25);
    pub(crate) const PATH_UNLINK_FILE: Self = Self(1 << 26);
    pub(crate) const POLL_FD_READWRITE: Self = Self(1 << 27);

    pub(crate) const NONE: Self = Self(0);

    /// The rights that need a file that is open for writing.
    const WRITING: Self = Self::FD_WRITE
        .and(Self::FD_ALLOCATE)
        .and(Self::FD_FILESTAT_SET_SIZE);

    /// The rights of a standard stream, except for reading and writing.
    pub(crate) const STREAM: Self = Self::FD_FDSTAT_SET_FLAGS
        .and(Self::FD_SYNC)
        .and(Self::FD_DATASYNC)
        .and(Self::FD_FILESTAT_GET)
        .and(Self::POLL_FD_READWRITE);

    /// All rights of a file.
    pub(crate) const FILE: Self = Self::WRITING
        .and(Self::FD_DATASYNC)
        .and(Self::FD_READ)
        .and(Self::FD_SEEK)
        .and(Self::FD_FDSTAT_SET_FLAGS)
        .and(Self::FD_SYNC)
        .and(Self::FD_TELL)
        .and(Self::FD_ADVISE)
        .and(Self::FD_FILESTAT_GET)
        .and(Self::FD_FILESTAT_SET_TIMES)
        .and(Self::POLL_FD_READWRITE);

    /// All rights of a directory. `FD_SEEK` is not among them, because guests take a descriptor
    /// with `FD_SEEK` for a file.
    pub(crate) const DIRECTORY: Self = Self::FD_DATASYNC
        .and(Self::FD_FDSTAT_SET_FLAGS)
        .and(Self::FD_SYNC)
        .and(Self::PATH_CREATE_DIRECTORY)
        .and(Self::PATH_CREATE_FILE)
        .and(Self::PATH_LINK_SOURCE)
        .and(Self::PATH_LINK_TARGET)
        .and(Self::PATH_OPEN)
        .and(Self::FD_READDIR)
        .and(Self::PATH_READLINK)
        .and(Self::PATH_RENAME_SOURCE)
        .and(Self::PATH_RENAME_TARGET)
        .and(Self::PATH_FILESTAT_GET)
        .and(Self::PATH_FILESTAT_SET_SIZE)
        .and(Self::PATH_FILESTAT_SET_TIMES)
        .and(Self::FD_FILESTAT_GET)
        .and(Self::FD_FILESTAT_SET_TIMES)
        .and(Self::PATH_SYMLINK)
        .and(Self::PATH_REMOVE_DIRECTORY)
        .and(Self::PATH_UNLINK_FILE)
        .and(Self::POLL_FD_READWRITE);

    /// The union of both sets.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The intersection of both sets.
    pub(crate) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The rights of a file that is open for reading, writing, both or neither.
    pub(crate) fn of_file(read: bool, write: bool) -> Self {
        let mut rights = Self::FILE;
        if !read {
            rights.0 &= !Self::FD_READ.0;
        }
        if !write {
            rights.0 &= !Self::WRITING.0;
        }
        rights
    }

    /// Checks that these rights include all `needed` ones.
    ///
    /// # Errors
    /// `BADF` if a right to read or to write is missing, as POSIX reports a file that is not open
    /// for that; `NOTCAPABLE` if others are missing.
    pub(crate) fn require(self, needed: Self) -> Result<()> {
        let missing = needed.0 & !self.0;
        if missing == 0 {
            Ok(())
        } else if missing & Self::FD_READ.and(Self::WRITING).0 != 0 {
            Err(Errno::BADF)
        } else {
            Err(Errno::NOTCAPABLE)
        }
    }
}

/// Defines a set of flags that refuses unknown bits.
macro_rules! flags {
    ($(#[$doc:meta])* $Name:ident { $($FLAG:ident = $bit:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $Name(u32);

        impl $Name {
            $(pub(crate) const $FLAG: Self = Self(1 << $bit);)*

            /// # Errors
            /// `INVAL` for unknown bits.
            pub(crate) fn new(bits: u32) -> Result<Self> {
                if bits & !(0 $(| (1 << $bit))*) == 0 {
                    Ok(Self(bits))
                } else {
                    Err(Errno::INVAL)
                }
            }

            pub(crate) fn contains(self, flag: Self) -> bool {
                self.0 & flag.0 == flag.0
            }

            #[allow(dead_code, reason = "only some flags are given back to guests")]
            pub(crate) fn bits(self) -> u32 {
                self.0
            }
        }
    };
}

flags!(
    /// Flags of an open file.
    FdFlags { APPEND = 0; DSYNC = 1; NONBLOCK = 2; RSYNC = 3; SYNC = 4; }
);
flags!(
    /// How `path_open` opens a path.
    OFlags { CREAT = 0; DIRECTORY = 1; EXCL = 2; TRUNC = 3; }
);
flags!(
    /// How a path is looked up.
    LookupFlags { SYMLINK_FOLLOW = 0; }
);
flags!(
    /// Which times to set, and to what.
    FstFlags { ATIM = 0; ATIM_NOW = 1; MTIM = 2; MTIM_NOW = 3; }
);
flags!(
    /// How a clock subscription counts.
    SubClockFlags { ABSTIME = 0; }
);

impl FdFlags {
    pub(crate) const NONE: Self = Self(0);
    /// The flags that say how writes reach the disk. They are fixed when the file is opened.
    pub(crate) const SYNCS: u32 = Self::DSYNC.0 | Self::RSYNC.0 | Self::SYNC.0;
}

impl OFlags {
    /// The union of both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those that create a file.
    pub(crate) fn without_creation(self) -> Self {
        Self(self.0 & !(Self::CREAT.0 | Self::EXCL.0))
    }
}

/// The type of the file that a descriptor or name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Filetype {
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<FileType> for Filetype {
    fn from(ty: FileType) -> Self {
        if ty.is_file() {
            Self::RegularFile
        } else if ty.is_dir() {
            Self::Directory
        } else if ty.is_symlink() {
            Self::SymbolicLink
        } else if ty.is_char_device() {
            Self::CharacterDevice
        } else if ty.is_block_device() {
            Self::BlockDevice
        } else if ty.is_socket() {
            Self::SocketStream
        } else {
            // The snapshot has no type for named pipes, for instance.
            Self::Unknown
        }
    }
}

/// The attributes of a file: `filestat`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filestat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) filetype: Filetype,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) atim: u64,
    pub(crate) mtim: u64,
    pub(crate) ctim: u64,
}

impl Filestat {
    pub(crate) const SIZE: usize = 64;

    /// The attributes of a stream that is not a file.
    pub(crate) fn of_stream(filetype: Filetype) -> Self {
        Self {
            dev: 0,
            ino: 0,
            filetype,
            nlink: 0,
            size: 0,
            atim: 0,
            mtim: 0,
            ctim: 0,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let words = [
            self.dev,
            self.ino,
            self.filetype as u64,
            self.nlink,
            self.size,
            self.atim,
            self.mtim,
            self.ctim,
        ];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl From<&Metadata> for Filestat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            filetype: metadata.file_type().into(),
            nlink: metadata.nlink(),
            size: metadata.size(),
            atim: nanoseconds(metadata.atime(), metadata.atime_nsec()),
            mtim: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctim: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A time of the system in nanoseconds since 1970. A time that does not fit (before 1970, after
/// 2554) becomes the nearest one that does.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> u64 {
    let Ok(seconds) = u64::try_from(seconds) else {
        return 0;
    };
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(nanoseconds).unwrap_or(0))
}

/// The time that a guest passes as nanoseconds since 1970.
pub(crate) fn system_time(nanoseconds: u64) -> Result<SystemTime> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_nanos(nanoseconds))
        .ok_or(Errno::OVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_flags_are_refused() {
        assert_eq!(OFlags::new(15).unwrap().bits(), 15);
        assert_eq!(OFlags::new(16), Err(Errno::INVAL));
        assert_eq!(FdFlags::new(u32::MAX), Err(Errno::INVAL));
    }

    #[test]
    fn times_beyond_the_type_are_clamped() {
        assert_eq!(nanoseconds(-5, 3), 0);
        assert_eq!(nanoseconds(2, 3), 2_000_000_003);
        assert_eq!(nanoseconds(i64::MAX, 0), u64::MAX);
    }

    #[test]
    fn filestat_lies_as_the_snapshot_says() {
        let mut stat = Filestat::of_stream(Filetype::RegularFile);
        (stat.ino, stat.size, stat.ctim) = (7, 0x1_0000_0002, 9);
        let bytes = stat.to_bytes();
        assert_eq!((bytes[8], bytes[16], bytes[56]), (7, 4, 9));
        assert_eq!(bytes[32..40], [2, 0, 0, 0, 1, 0, 0, 0]);
    }
}
