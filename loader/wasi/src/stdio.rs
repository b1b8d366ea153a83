//! Standard input, output and error.
//!
//! The output of a guest is not buffered. `fd_write` returns when the bytes have reached the host's
//! descriptor, or the embedder's writer and its `flush`, and returns the errno of any failure on
//! the way. So no output is lost when the process ends by a signal, a prompt is visible before the
//! guest waits for input from a pipe, and the guest learns that a disk is full. Guests buffer lines
//! themselves, in their C or Rust library.

use std::io::{self, IoSlice, IoSliceMut, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;

#[cfg(feature = "async")]
use crate::suspend::{AsyncInput, AsyncOutput};
use crate::types::Filetype;
use crate::wait;

/// Where a guest's standard input comes from.
pub(crate) enum Input {
    Reader(Box<dyn Read + Send>),
    #[cfg(feature = "async")]
    Async(Box<dyn AsyncInput>),
    /// A descriptor of the host, read without a buffer, so that the system knows whether there is
    /// more input, and can wait for more.
    Descriptor {
        /// `None` for the host's standard input.
        owned: Option<OwnedFd>,
        /// Whether a read may have to wait, because this is not a regular file.
        may_wait: bool,
    },
}

/// The descriptor to read from.
fn source(owned: &Option<OwnedFd>) -> BorrowedFd<'_> {
    match owned {
        Some(fd) => fd.as_fd(),
        None => rustix::stdio::stdin(),
    }
}

impl Input {
    /// The host's standard input, or a descriptor of its own.
    pub(crate) fn of(owned: Option<OwnedFd>) -> Self {
        let file = rustix::fs::fstat(source(&owned));
        let is_regular = file.is_ok_and(|file| FileType::from_raw_mode(file.st_mode).is_file());
        Self::Descriptor {
            owned,
            may_wait: !is_regular,
        }
    }

    /// The descriptor to read from, if there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Descriptor { owned, .. } => Some(source(owned)),
            Self::Reader(_) => None,
            #[cfg(feature = "async")]
            Self::Async(_) => None,
        }
    }

    /// Reads what there is. `AGAIN` if a descriptor has nothing, see
    /// [`waits_for`](Self::waits_for).
    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        retry(|| match self {
            Self::Reader(reader) => {
                // A reader of the host may return any number.
                let room = buffers.iter().map(|buffer| buffer.len()).sum();
                Ok(reader.read_vectored(buffers)?.min(room))
            }
            #[cfg(feature = "async")]
            Self::Async(input) => match buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
                Some(buffer) => Ok(input.read(buffer)?.min(buffer.len())),
                None => Ok(0),
            },
            Self::Descriptor {
                owned,
                may_wait: true,
            } => wait::read_now(source(owned), buffers),
            Self::Descriptor { owned, .. } => Ok(rustix::io::readv(source(owned), buffers)?),
        })
    }

    pub(crate) fn filetype(&self) -> Filetype {
        match self {
            Self::Descriptor { owned, .. } if source(owned).is_terminal() => {
                Filetype::CharacterDevice
            }
            _ => Filetype::Unknown,
        }
    }

    /// The descriptor to wait for before a read. `None` for a reader of the embedder and for a
    /// regular file, which always count as having input.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Descriptor {
                owned,
                may_wait: true,
            } => Some(source(owned)),
            Self::Descriptor {
                may_wait: false, ..
            }
            | Self::Reader(_) => None,
            #[cfg(feature = "async")]
            Self::Async(_) => None,
        }
    }

    /// The number of bytes that can be read at once, as far as known; at least 1. This is only
    /// called at the end of the input or when there is input.
    pub(crate) fn available(&self) -> u64 {
        match self {
            Self::Descriptor { owned, .. } => rustix::io::ioctl_fionread(source(owned))
                .unwrap_or(1)
                .max(1),
            Self::Reader(_) => 1,
            #[cfg(feature = "async")]
            Self::Async(_) => 1,
        }
    }
}

/// Where a guest's standard output or error goes.
pub(crate) enum Output {
    Writer(Box<dyn Write + Send>),
    #[cfg(feature = "async")]
    Async(Box<dyn AsyncOutput>),
    /// A descriptor of the host, written without a buffer.
    Descriptor {
        target: Target,
        /// Whether a write may have to wait, because this is not a regular file.
        may_wait: bool,
    },
}

/// A descriptor for output.
pub(crate) enum Target {
    Stdout,
    Stderr,
    Owned(OwnedFd),
}

impl Target {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
            Self::Owned(fd) => fd.as_fd(),
        }
    }

    fn write(&self, buffers: &[IoSlice<'_>], may_wait: bool) -> io::Result<usize> {
        let write = || {
            if may_wait {
                wait::write_now(self.fd(), buffers)
            } else {
                Ok(rustix::io::writev(self.fd(), buffers)?)
            }
        };
        match self {
            Self::Stdout => {
                // Output that the host itself has buffered comes first, and the lock keeps the host
                // from printing in between.
                let mut stdout = io::stdout().lock();
                stdout.flush()?;
                write()
            }
            Self::Stderr => {
                let _lock = io::stderr().lock();
                write()
            }
            Self::Owned(_) => write(),
        }
    }
}

impl Output {
    /// The host's standard output or error, or a descriptor of its own.
    pub(crate) fn of(target: Target) -> Self {
        let file = rustix::fs::fstat(target.fd());
        let is_regular = file.is_ok_and(|file| FileType::from_raw_mode(file.st_mode).is_file());
        Self::Descriptor {
            target,
            may_wait: !is_regular,
        }
    }

    /// The descriptor to write to, if there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Descriptor { target, .. } => Some(target.fd()),
            Self::Writer(_) => None,
            #[cfg(feature = "async")]
            Self::Async(_) => None,
        }
    }

    /// The descriptor to wait for before a write. `None` for a writer of the embedder and for a
    /// regular file, which always count as having room.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Descriptor {
                target,
                may_wait: true,
            } => Some(target.fd()),
            Self::Descriptor {
                may_wait: false, ..
            }
            | Self::Writer(_) => None,
            #[cfg(feature = "async")]
            Self::Async(_) => None,
        }
    }

    /// Writes as many bytes as the other side accepts at once, and returns their number after they
    /// have arrived there. `AGAIN` if a descriptor has no room, see
    /// [`waits_for`](Self::waits_for).
    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = retry(|| match self {
            Self::Writer(writer) => {
                let len = buffers.iter().map(|buffer| buffer.len()).sum();
                Ok(writer.write_vectored(buffers)?.min(len))
            }
            #[cfg(feature = "async")]
            Self::Async(output) => match buffers.iter().find(|buffer| !buffer.is_empty()) {
                Some(buffer) => Ok(output.write(buffer)?.min(buffer.len())),
                None => Ok(0),
            },
            Self::Descriptor { target, may_wait } => target.write(buffers, *may_wait),
        })?;
        if let Self::Writer(writer) = self {
            retry(|| writer.flush())?;
        }
        Ok(written)
    }

    pub(crate) fn filetype(&self) -> Filetype {
        let is_terminal = match self {
            Self::Writer(_) => false,
            #[cfg(feature = "async")]
            Self::Async(_) => false,
            Self::Descriptor { target, .. } => target.fd().is_terminal(),
        };
        if is_terminal {
            Filetype::CharacterDevice
        } else {
            Filetype::Unknown
        }
    }
}

/// Repeats a call as long as signals interrupt it.
fn retry<R>(mut f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match f() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
