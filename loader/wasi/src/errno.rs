//! The error numbers of the snapshot.
//!
//! A host function returns 0 or one of these numbers to its guest; see `errno` in the snapshot's
//! `wasi_snapshot_preview1.witx`. The system has other numbers, which differ between systems.

use std::io;

/// Why a function of WASI failed: an error number of the snapshot, which has the names of POSIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

macro_rules! errnos {
    ($($NAME:ident = $value:literal;)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($NAME), "` of the snapshot.")]
                pub const $NAME: Self = Self($value);
            )*

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$NAME => Some(stringify!($NAME)),)*
                    Self::NOTCAPABLE => Some("NOTCAPABLE"),
                    Self(_) => None,
                }
            }
        }

        /// The system's error numbers of the same names.
        fn from_system(errno: rustix::io::Errno) -> Errno {
            use rustix::io::Errno as System;
            match errno {
                $(System::$NAME => Errno::$NAME,)*
                other if other == System::OPNOTSUPP => Errno::NOTSUP,
                other if other == System::WOULDBLOCK => Errno::AGAIN,
                _ => Errno::IO,
            }
        }
    };
}

errnos! {
    TOOBIG = 1;
    ACCESS = 2;
    ADDRINUSE = 3;
    ADDRNOTAVAIL = 4;
    AFNOSUPPORT = 5;
    AGAIN = 6;
    ALREADY = 7;
    BADF = 8;
    BADMSG = 9;
    BUSY = 10;
    CANCELED = 11;
    CHILD = 12;
    CONNABORTED = 13;
    CONNREFUSED = 14;
    CONNRESET = 15;
    DEADLK = 16;
    DESTADDRREQ = 17;
    DOM = 18;
    DQUOT = 19;
    EXIST = 20;
    FAULT = 21;
    FBIG = 22;
    HOSTUNREACH = 23;
    IDRM = 24;
    ILSEQ = 25;
    INPROGRESS = 26;
    INTR = 27;
    INVAL = 28;
    IO = 29;
    ISCONN = 30;
    ISDIR = 31;
    LOOP = 32;
    MFILE = 33;
    MLINK = 34;
    MSGSIZE = 35;
    MULTIHOP = 36;
    NAMETOOLONG = 37;
    NETDOWN = 38;
    NETRESET = 39;
    NETUNREACH = 40;
    NFILE = 41;
    NOBUFS = 42;
    NODEV = 43;
    NOENT = 44;
    NOEXEC = 45;
    NOLCK = 46;
    NOLINK = 47;
    NOMEM = 48;
    NOMSG = 49;
    NOPROTOOPT = 50;
    NOSPC = 51;
    NOSYS = 52;
    NOTCONN = 53;
    NOTDIR = 54;
    NOTEMPTY = 55;
    NOTRECOVERABLE = 56;
    NOTSOCK = 57;
    NOTSUP = 58;
    NOTTY = 59;
    NXIO = 60;
    OVERFLOW = 61;
    OWNERDEAD = 62;
    PERM = 63;
    PIPE = 64;
    PROTO = 65;
    PROTONOSUPPORT = 66;
    PROTOTYPE = 67;
    RANGE = 68;
    ROFS = 69;
    SPIPE = 70;
    SRCH = 71;
    STALE = 72;
    TIMEDOUT = 73;
    TXTBSY = 74;
    XDEV = 75;
}

impl Errno {
    /// The descriptor lacks the right to do this. POSIX has no such number.
    pub const NOTCAPABLE: Self = Self(76);

    /// The number.
    pub fn raw(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (error {} of WASI)", self.0),
            None => write!(f, "error {} of WASI", self.0),
        }
    }
}

impl std::error::Error for Errno {}

/// The result of a function. Functions of the snapshot have the value `()`, because they write
/// their results to guest memory.
pub(crate) type Result<T, E = Errno> = std::result::Result<T, E>;

/// The number that the guest gets: 0 for success.
pub(crate) fn status(result: Result<()>) -> i32 {
    result.err().map_or(0, |errno| i32::from(errno.0))
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        from_system(errno)
    }
}

impl From<io::Error> for Errno {
    /// Maps an error without a system number by its kind. Such errors come from the standard
    /// library, from cap-std, or from a reader or writer that the host supplied.
    fn from(error: io::Error) -> Self {
        if let Some(errno) = rustix::io::Errno::from_io_error(&error) {
            return from_system(errno);
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::NOENT,
            // cap-std gives this kind for a path that leads out of the directory.
            io::ErrorKind::PermissionDenied => Self::PERM,
            io::ErrorKind::AlreadyExists => Self::EXIST,
            io::ErrorKind::WouldBlock => Self::AGAIN,
            io::ErrorKind::InvalidInput => Self::INVAL,
            io::ErrorKind::TimedOut => Self::TIMEDOUT,
            io::ErrorKind::Interrupted => Self::INTR,
            io::ErrorKind::BrokenPipe => Self::PIPE,
            io::ErrorKind::ConnectionReset => Self::CONNRESET,
            io::ErrorKind::ConnectionAborted => Self::CONNABORTED,
            io::ErrorKind::NotConnected => Self::NOTCONN,
            io::ErrorKind::Unsupported => Self::NOTSUP,
            io::ErrorKind::OutOfMemory => Self::NOMEM,
            io::ErrorKind::StorageFull => Self::NOSPC,
            io::ErrorKind::ReadOnlyFilesystem => Self::ROFS,
            io::ErrorKind::FileTooLarge => Self::FBIG,
            _ => Self::IO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_numbers_become_those_of_the_snapshot() {
        let of = |raw| Errno::from(io::Error::from_raw_os_error(raw)).raw();
        // ENOENT, EACCES, ELOOP, ENAMETOOLONG, ENOTEMPTY, EXDEV, EOPNOTSUPP of Linux.
        #[cfg(target_os = "linux")]
        assert_eq!(
            [2, 13, 40, 36, 39, 18, 95].map(of),
            [44, 2, 32, 37, 55, 75, 58]
        );
        assert_eq!(of(100_000), Errno::IO.raw());
    }

    #[test]
    fn cap_std_refusals_are_eperm() {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, "outside");
        assert_eq!(Errno::from(error), Errno::PERM);
    }
}
