//! Standard input, output and error.
//!
//! Output of the host's standard output is collected to lines, as the standard library does it, so
//! that guests that write byte by byte are not slow. What is collected is handed on at the latest
//! when the guest reads its input, waits, writes to standard error or exits, and when the context
//! is dropped; a terminal gets everything at once. Should none of this happen, because the host
//! calls `std::process::exit`, the standard library flushes its standard output itself: nothing is
//! lost short of an abort.

use std::io::{self, IoSlice, IoSliceMut, IsTerminal, Read, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::types::Filetype;

/// Where a guest's standard input comes from.
pub(crate) enum Input {
    Reader(Box<dyn Read + Send>),
    /// The host's own, read without a buffer in between: what has not been read is the system's to
    /// know, so it can be waited for.
    Inherited,
}

impl Input {
    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            let result = match self {
                Self::Reader(reader) => reader.read_vectored(buffers),
                Self::Inherited => {
                    rustix::io::readv(rustix::stdio::stdin(), buffers).map_err(Into::into)
                }
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    pub(crate) fn filetype(&self) -> Filetype {
        match self {
            Self::Inherited if io::stdin().is_terminal() => Filetype::CharacterDevice,
            _ => Filetype::Unknown,
        }
    }

    /// Waits for input or its end, at most for `timeout` (`None`: for ever). Whether there is some.
    /// A reader of the embedder's is always taken to have some.
    pub(crate) fn wait(&self, timeout: Option<Timespec>) -> io::Result<bool> {
        let Self::Inherited = self else {
            return Ok(true);
        };
        let stdin = rustix::stdio::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        Ok(poll(&mut fds, timeout.as_ref())? > 0)
    }

    /// Whether [`wait`](Self::wait) may have to wait.
    pub(crate) fn can_wait(&self) -> bool {
        matches!(self, Self::Inherited)
    }

    /// Bytes that can be read at once, as far as known; at least 1 if there is input, or its end.
    pub(crate) fn available(&self) -> u64 {
        match self {
            Self::Inherited => rustix::io::ioctl_fionread(rustix::stdio::stdin())
                .unwrap_or(1)
                .max(1),
            Self::Reader(_) => 1,
        }
    }
}

/// Where a guest's standard output or error goes.
pub(crate) struct Output {
    writer: Box<dyn Write + Send>,
    is_terminal: bool,
    /// Nothing is collected.
    is_eager: bool,
    /// Something may have been collected.
    is_pending: bool,
}

impl Output {
    pub(crate) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            writer,
            is_terminal: false,
            is_eager: false,
            is_pending: false,
        }
    }

    pub(crate) fn inherited_stdout() -> Self {
        Self::terminal(Box::new(io::stdout()), io::stdout().is_terminal())
    }

    pub(crate) fn inherited_stderr() -> Self {
        Self::terminal(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    fn terminal(writer: Box<dyn Write + Send>, is_terminal: bool) -> Self {
        Self {
            is_terminal,
            is_eager: is_terminal,
            ..Self::new(writer)
        }
    }

    /// The same, collecting nothing: for standard error.
    pub(crate) fn eager(self) -> Self {
        Self {
            is_eager: true,
            ..self
        }
    }

    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = loop {
            match self.writer.write_vectored(buffers) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.is_pending = true;
        if self.is_eager {
            self.flush()?;
        }
        Ok(written)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_pending) {
            self.writer.flush()?;
        }
        Ok(())
    }

    pub(crate) fn filetype(&self) -> Filetype {
        if self.is_terminal {
            Filetype::CharacterDevice
        } else {
            Filetype::Unknown
        }
    }
}
