//! Output of a guest that the host reads, while the guest runs or afterwards.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Collects what a guest writes, up to a number of bytes. Clones are the same pipe: one goes to
/// [`WasiCtxBuilder::stdout`](crate::WasiCtxBuilder::stdout), the host reads from another.
///
/// The guest never waits for the host. When the pipe is full, writing is an error (`ENOSPC`) until
/// the host takes bytes out.
///
/// For input there is [`WasiCtxBuilder::stdin_from`](crate::WasiCtxBuilder::stdin_from).
///
/// ```
/// use std::time::Duration;
///
/// use precast_wasi::{OutputPipe, WasiCtxBuilder};
///
/// let output = OutputPipe::new(1 << 20);
/// let wasi = WasiCtxBuilder::new().stdout(output.clone()).build();
/// // While the guest runs on another thread, and after the context is dropped:
/// # drop(wasi);
/// while let Some(bytes) = output.wait(Duration::from_secs(1)) {
///     print!("{}", String::from_utf8_lossy(&bytes));
///     # break;
/// }
/// ```
#[derive(Debug, Clone)]
pub struct OutputPipe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    bytes: Mutex<Vec<u8>>,
    written: Condvar,
}

impl OutputPipe {
    /// A pipe that holds at most so many bytes.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Shared {
            capacity,
            bytes: Mutex::default(),
            written: Condvar::new(),
        }))
    }

    /// The bytes that were written and not taken yet. They stay in the pipe.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().clone()
    }

    /// Takes out all bytes that were written.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock())
    }

    /// Like [`OutputPipe::take`], but waits for at most this time until something was written.
    /// `None` if nothing was.
    pub fn wait(&self, at_most: Duration) -> Option<Vec<u8>> {
        // A time too far away for `Instant` means to wait for ever.
        let end = Instant::now().checked_add(at_most);
        let mut bytes = self.lock();
        while bytes.is_empty() {
            let left = match end {
                Some(end) => end.checked_duration_since(Instant::now())?,
                None => Duration::MAX,
            };
            let waited = self.0.written.wait_timeout(bytes, left);
            bytes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(std::mem::take(&mut bytes))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for OutputPipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut bytes = self.lock();
        let room = self.0.capacity.saturating_sub(bytes.len());
        if room == 0 && !from.is_empty() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let len = from.len().min(room);
        bytes.extend_from_slice(&from[..len]);
        self.0.written.notify_all();
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_is_an_error_until_the_host_reads() {
        let pipe = OutputPipe::new(5);
        let mut guest = pipe.clone();
        assert_eq!(guest.write(b"hello").unwrap(), 5);
        let error = guest.write(b"!").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(guest.write(b"").unwrap(), 0);
        assert_eq!(pipe.contents(), b"hello");
        assert_eq!(pipe.take(), b"hello");
        assert_eq!(guest.write(b"too long").unwrap(), 5);
        assert_eq!(pipe.wait(Duration::ZERO).unwrap(), b"too l");
        assert_eq!(pipe.wait(Duration::from_millis(1)), None);
    }

    #[test]
    fn the_longest_time_is_for_ever() {
        let pipe = OutputPipe::new(5);
        let mut guest = pipe.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            guest.write_all(b"late").unwrap();
        });
        assert_eq!(pipe.wait(Duration::MAX).unwrap(), b"late");
        writer.join().unwrap();
    }

    #[test]
    fn the_host_reads_while_the_guest_writes() {
        let pipe = OutputPipe::new(1000);
        let mut guest = pipe.clone();
        let writer = std::thread::spawn(move || {
            for i in 0..100_u8 {
                guest.write_all(&[i]).unwrap();
            }
        });
        let mut read = Vec::new();
        while read.len() < 100 {
            read.extend(pipe.wait(Duration::from_secs(10)).unwrap());
        }
        writer.join().unwrap();
        assert!(read.iter().copied().eq(0..100));
    }
}
