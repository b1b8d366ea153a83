//! Waiting for the system, or until the guest must end.
//!
//! A deadline, a cancelled context or a closed instance ends a guest that computes, and must also
//! end a guest that waits. Therefore every wait also waits for the interrupt of the store. The call
//! then fails with `INTR`. The guest's code ends when the call returns. A guest sees that error
//! only if the host takes the interrupt back in the moment between.
//!
//! Waiting for the interrupt takes a descriptor of the system. If there is none, because somebody
//! has used them all up, the thread wakes every few milliseconds and looks itself.

use std::io::{self, IoSlice, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use precast_loader::InterruptHandle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno as Error, ReadWriteFlags};

use crate::errno::{Errno, Result};

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    /// The descriptor can be read, or is at its end.
    Readable,
    /// There is room for a write, or writing is an error.
    Writable,
}

/// How long a thread waits before it looks at the interrupt itself.
const SLICE: Duration = Duration::from_millis(5);

/// Waits until one of the descriptors is ready, for at most `timeout`, or for ever if `timeout` is
/// `None`. Returns whether one is ready.
///
/// # Errors
/// `INTR` if the guest must end, and those of the system.
pub(crate) fn ready(
    interrupt: Option<&InterruptHandle>,
    fds: &[(BorrowedFd<'_>, Until)],
    timeout: Option<Duration>,
) -> Result<bool> {
    // A caller may wait again and again for something that others are faster to take.
    if interrupt.is_some_and(InterruptHandle::is_interrupted) {
        return Err(Errno::INTR);
    }
    // Waiting for the interrupt takes more system calls, so first check without it.
    if one_of(fds, Some(Duration::ZERO))?.is_some() {
        return Ok(true);
    }
    if timeout == Some(Duration::ZERO) {
        return Ok(false);
    }
    let Some(interrupt) = interrupt else {
        return Ok(one_of(fds, timeout)?.is_some());
    };
    let start = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let waited = interrupt.wait(|event| -> Result<bool> {
            let mut all = vec![(event, Until::Readable)];
            all.extend_from_slice(fds);
            // The event is the first one.
            Ok(one_of(&all, left)?.is_some_and(|first| first > 0))
        });
        let is_ready = waited.unwrap_or_else(|_| {
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            Ok(one_of(fds, Some(slice))?.is_some())
        })?;
        if interrupt.is_interrupted() {
            return Err(Errno::INTR);
        }
        // If the host has interrupted the guest and taken that back, the wait goes on.
        if is_ready || timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
            return Ok(is_ready);
        }
    }
}

/// Whether a descriptor is ready now.
///
/// # Errors
/// Those of the system.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, until: Until) -> Result<bool> {
    Ok(one_of(&[(fd, until)], Some(Duration::ZERO))?.is_some())
}

/// Waits until a descriptor is ready. Returns the index of the first one, or `None` after the
/// timeout.
fn one_of(fds: &[(BorrowedFd<'_>, Until)], timeout: Option<Duration>) -> Result<Option<usize>> {
    let start = Instant::now();
    let mut fds: Vec<_> = fds
        .iter()
        .map(|(fd, until)| {
            let events = match until {
                Until::Readable => PollFlags::IN,
                Until::Writable => PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(fd.as_fd(), events)
        })
        .collect();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        // A timeout that is too long for the system means to wait for ever.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(fds.iter().position(|fd| !fd.revents().is_empty())),
        }
    }
}

/// Reads what there is, without waiting. Other readers of a pipe or terminal may be faster than
/// this one after both have waited for input, so each read asks not to wait, as [`write_now`] does.
///
/// # Errors
/// `AGAIN` if there is nothing, and those of the system.
pub(crate) fn read_now(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    match rustix::io::preadv2(fd, buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
        Err(Error::AGAIN | Error::OPNOTSUPP | Error::NOSYS | Error::INVAL | Error::PERM) => {}
        result => return Ok(result?),
    }
    let mut input = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    if poll(&mut input, Some(&Timespec::default()))? == 0 {
        return Err(Error::AGAIN.into());
    }
    match again(fd, OFlags::RDONLY)? {
        Some(again) => Ok(rustix::io::readv(again, buffers)?),
        // Without `/proc` or the permission, this waits if another reader is faster just now.
        None => Ok(rustix::io::readv(fd, buffers)?),
    }
}

/// Opens the pipe or terminal of a descriptor once more, in non-blocking mode, without a change for
/// those who share the descriptor. `None` for other files, and if that is not possible.
fn again(fd: BorrowedFd<'_>, direction: OFlags) -> io::Result<Option<OwnedFd>> {
    let file = rustix::fs::fstat(fd)?;
    // The emulator's side of a terminal cannot be opened again: that makes a new terminal.
    let is_emulator = file.st_rdev == rustix::fs::makedev(5, 2);
    let is_fifo = FileType::from_raw_mode(file.st_mode).is_fifo();
    if !is_fifo && (!fd.is_terminal() || is_emulator) {
        return Ok(None);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let how = direction | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, how, Mode::empty()).ok())
}

/// The number of bytes that fit into every pipe that the system reports as writable: the smallest
/// page size.
const ROOM: usize = 4096;

/// Writes as many bytes as there is room for. Other processes may share the descriptor, so it must
/// not be switched to non-blocking mode. Instead each write asks not to wait.
///
/// # Errors
/// `AGAIN` if there is no room, and those of the system.
pub(crate) fn write_now(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    // Pipes and sockets know this flag; named pipes, terminals and old kernels do not.
    match rustix::io::pwritev2(fd, buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
        Err(Error::AGAIN | Error::OPNOTSUPP | Error::NOSYS | Error::INVAL | Error::PERM) => {}
        result => return Ok(result?),
    }
    let mut room = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    if poll(&mut room, Some(&Timespec::default()))? == 0 {
        return Err(Error::AGAIN.into());
    }
    let file = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(file.st_mode).is_file() {
        return Ok(rustix::io::writev(fd, buffers)?);
    }
    // There may be room for only a part of the bytes.
    if let Some(again) = again(fd, OFlags::WRONLY)? {
        return Ok(rustix::io::writev(again, buffers)?);
    }
    // Without `/proc` or the permission, write only what certainly fits, unless another writer is
    // faster.
    let first = buffers.iter().find(|buffer| !buffer.is_empty());
    let first = first.map_or(&[][..], |buffer| &buffer[..buffer.len().min(ROOM)]);
    Ok(rustix::io::write(fd, first)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::{CStr, c_int};
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    /// A new terminal: the side of the emulator, and that of programs.
    fn terminal() -> Option<(File, File)> {
        let ours = File::options().read(true).write(true).open("/dev/ptmx");
        let ours = ours.ok()?;
        let mut name = [0; 64];
        let fd: c_int = ours.as_raw_fd();
        // SAFETY: the descriptor is open, and the name has room for as many bytes as are said.
        let is_named = unsafe {
            libc::grantpt(fd) == 0
                && libc::unlockpt(fd) == 0
                && libc::ptsname_r(fd, name.as_mut_ptr(), name.len()) == 0
        };
        assert!(is_named);
        // SAFETY: the name has just been written, with a zero at its end.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        let theirs = File::options().read(true).open(name.to_str().ok()?);
        Some((ours, theirs.ok()?))
    }

    #[test]
    fn what_an_emulator_writes_reaches_the_program_in_its_terminal() {
        let Some((ours, mut theirs)) = terminal() else {
            eprintln!("skipped: this system makes no terminals");
            return;
        };
        let line = IoSlice::new(b"hello\n");
        assert_eq!(write_now(ours.as_fd(), &[line]).unwrap(), 6);
        assert!(is_ready(theirs.as_fd(), Until::Readable).unwrap());
        let mut bytes = [0; 16];
        assert_eq!(theirs.read(&mut bytes).unwrap(), 6);
        assert_eq!(&bytes[..6], b"hello\n");
    }

    #[test]
    fn nobody_waits_for_input_that_another_reader_has_taken() {
        let is_silent = |input: BorrowedFd<'_>| {
            let found = read_now(input, &mut [IoSliceMut::new(&mut [0; 8])]);
            found.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        let gets_line = |input: BorrowedFd<'_>| {
            let mut bytes = [0; 8];
            let read = read_now(input, &mut [IoSliceMut::new(&mut bytes)]);
            assert_eq!(read.unwrap(), 5);
            assert_eq!(&bytes[..5], b"line\n");
        };
        let (input, mut output) = io::pipe().unwrap();
        let (socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let c_path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is a C string.
        assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
        let mut named = File::options().read(true).write(true).open(path).unwrap();
        for input in [input.as_fd(), socket.as_fd(), named.as_fd()] {
            assert!(is_silent(input));
        }
        for to in [&mut output as &mut dyn Write, &mut peer, &mut named] {
            to.write_all(b"line\n").unwrap();
        }
        for input in [input.as_fd(), socket.as_fd(), named.as_fd()] {
            gets_line(input);
            assert!(is_silent(input));
        }
        // What a system without these flags does.
        for input in [input.as_fd(), named.as_fd()] {
            let again = again(input, OFlags::RDONLY).unwrap().unwrap();
            let found = rustix::io::read(&again, &mut [0; 8]);
            assert_eq!(found, Err(Error::AGAIN));
        }
        drop(output);
        assert_eq!(
            read_now(input.as_fd(), &mut [IoSliceMut::new(&mut [0])]).unwrap(),
            0
        );
        let Some((mut ours, theirs)) = terminal() else {
            eprintln!("skipped: this system makes no terminals");
            return;
        };
        assert!(is_silent(theirs.as_fd()));
        ours.write_all(b"line\n").unwrap();
        gets_line(theirs.as_fd());
        assert!(is_silent(theirs.as_fd()));
    }
}
