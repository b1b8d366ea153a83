//! Output of a guest that the host reads, while the guest runs or afterwards.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Collects what a guest writes, up to a number of bytes. Clones are the same pipe.
///
/// [`OutputPipe::writer`] gives what [`WasiCtxBuilder::stdout`](crate::WasiCtxBuilder::stdout)
/// takes. The pipe ends when the last of its writers is dropped, which a context does with its own.
/// Before it has its first writer, which the thread of the guest may make, it is not at its end.
///
/// The guest never waits for the host. When the pipe is full, writing is an error (`ENOSPC`) until
/// the host takes bytes out.
///
/// For input there is [`WasiCtxBuilder::stdin_from`](crate::WasiCtxBuilder::stdin_from).
///
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
///
/// use precast_wasi::{OutputPipe, WasiCtxBuilder};
///
/// let output = OutputPipe::new(1 << 20);
/// let wasi = WasiCtxBuilder::new().stdout(output.writer()).build();
/// // While the guest runs on another thread, and after the context is dropped:
/// # drop(wasi);
/// loop {
///     match output.wait(Duration::from_secs(1)) {
///         Ok(Some(bytes)) => print!("{}", String::from_utf8_lossy(&bytes)),
///         Ok(None) => break,
///         Err(error) if error.kind() == ErrorKind::TimedOut => println!("(still busy)"),
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OutputPipe(Arc<Shared>);

/// Writes into an [`OutputPipe`], which ends when all of its writers are dropped.
///
/// ```
/// use precast_wasi::{OutputPipe, WasiCtxBuilder};
///
/// // Both streams of a guest, in the order in which it writes.
/// let output = OutputPipe::new(1 << 20);
/// let wasi = WasiCtxBuilder::new().stdout(output.writer()).stderr(output.writer()).build();
/// # drop(wasi);
/// ```
#[derive(Debug)]
pub struct OutputWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    state: Mutex<State>,
    /// Bytes were written, or the last writer was dropped.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// `None` before there is the first one.
    writers: Option<usize>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputPipe {
    /// A pipe that holds at most so many bytes.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Shared {
            capacity,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// A writer for a stream of a guest.
    pub fn writer(&self) -> OutputWriter {
        *self.0.lock().writers.get_or_insert_default() += 1;
        OutputWriter(Arc::clone(&self.0))
    }

    /// The bytes that were written and not taken yet. They stay in the pipe.
    pub fn contents(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }

    /// Takes out all bytes that were written.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().bytes)
    }

    /// Like [`OutputPipe::take`], but waits for at most this time until something was written.
    /// Returns `None` at the end: nothing is left, and all writers are dropped.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) if nothing was written in this time, and something
    /// still can be.
    pub fn wait(&self, at_most: Duration) -> io::Result<Option<Vec<u8>>> {
        // A time too far away for `Instant` means to wait for ever.
        let end = Instant::now().checked_add(at_most);
        let mut state = self.0.lock();
        while state.bytes.is_empty() {
            if state.writers == Some(0) {
                return Ok(None);
            }
            let left = match end {
                Some(end) => end
                    .checked_duration_since(Instant::now())
                    .ok_or(io::ErrorKind::TimedOut)?,
                None => Duration::MAX,
            };
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(Some(std::mem::take(&mut state.bytes)))
    }
}

impl Write for OutputWriter {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let room = self.0.capacity.saturating_sub(state.bytes.len());
        if room == 0 && !from.is_empty() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let len = from.len().min(room);
        state.bytes.extend_from_slice(&from[..len]);
        drop(state);
        self.0.changed.notify_all();
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OutputWriter {
    fn drop(&mut self) {
        let writers = &mut self.0.lock().writers;
        *writers = writers.map(|writers| writers - 1);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_late(waited: &io::Result<Option<Vec<u8>>>) -> bool {
        matches!(waited, Err(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    #[test]
    fn a_full_pipe_is_an_error_until_the_host_reads() {
        let pipe = OutputPipe::new(5);
        let mut guest = pipe.writer();
        assert_eq!(guest.write(b"hello").unwrap(), 5);
        let error = guest.write(b"!").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(guest.write(b"").unwrap(), 0);
        assert_eq!(pipe.contents(), b"hello");
        assert_eq!(pipe.take(), b"hello");
        assert_eq!(guest.write(b"too long").unwrap(), 5);
        assert_eq!(pipe.wait(Duration::ZERO).unwrap().unwrap(), b"too l");
        assert!(is_late(&pipe.wait(Duration::from_millis(1))));
        assert!(is_late(&pipe.wait(Duration::ZERO)));
    }

    #[test]
    fn a_pipe_ends_when_its_last_writer_is_dropped_and_nothing_is_left() {
        let pipe = OutputPipe::new(5);
        let for_ever = Duration::MAX;
        assert!(is_late(&pipe.wait(Duration::ZERO)), "it has no writer yet");
        let (mut stdout, stderr) = (pipe.writer(), pipe.writer());
        stdout.write_all(b"last").unwrap();
        drop(stdout);
        assert_eq!(pipe.wait(for_ever).unwrap().unwrap(), b"last");
        assert!(is_late(&pipe.wait(Duration::from_millis(1))));
        // A reader that waits already learns of the end.
        let reader = pipe.clone();
        let reader = std::thread::spawn(move || reader.wait(for_ever).unwrap());
        std::thread::sleep(Duration::from_millis(10));
        drop(stderr);
        assert_eq!(reader.join().unwrap(), None);
        assert_eq!(pipe.wait(Duration::ZERO).unwrap(), None);
        // A pipe can be used for the next guest.
        let next = pipe.writer();
        assert!(is_late(&pipe.wait(Duration::ZERO)));
        drop(next);
        assert_eq!(pipe.wait(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn the_longest_time_is_for_ever() {
        let pipe = OutputPipe::new(5);
        let mut guest = pipe.writer();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            guest.write_all(b"late").unwrap();
            guest
        });
        assert_eq!(pipe.wait(Duration::MAX).unwrap().unwrap(), b"late");
        writer.join().unwrap();
    }

    #[test]
    fn the_host_reads_while_the_guest_writes() {
        let pipe = OutputPipe::new(1000);
        let mut guest = pipe.writer();
        let writer = std::thread::spawn(move || {
            for i in 0..100_u8 {
                guest.write_all(&[i]).unwrap();
            }
        });
        let mut read = Vec::new();
        while let Some(bytes) = pipe.wait(Duration::from_secs(10)).unwrap() {
            read.extend(bytes);
        }
        writer.join().unwrap();
        assert!(read.iter().copied().eq(0..100));
    }
}
