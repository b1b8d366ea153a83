//! Files whose content nobody can change any more: sealed memory files, and files with fs-verity.
//!
//! What is mapped from a file changes with the file. A process that can write to the file, by
//! whatever name, changes code that is running, and a process that can truncate the file kills this
//! one. So code that must stay what it was when it was checked is mapped from one of these:
//!
//! - **A memory file** (`memfd_create`) with the content copied into it, then sealed against
//!   writing, shrinking, growing and further seals. Seals belong to the file, not to a descriptor:
//!   neither a descriptor that was opened or inherited before, nor one from `/proc/self/fd`, can
//!   write to it, and the system refuses the seal while a writable mapping exists (`EBUSY`). The
//!   loader checks the content after the seal.
//! - **A file with fs-verity**, as it is: for as long as the file exists, the system refuses to
//!   open it for writing, even to root. Whether a file has fs-verity is believed only of file
//!   systems of the kernel, because a file system in user space (FUSE) can give any answer.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// The seals of content and length, and the seal that forbids further seals.
const SEALS: libc::c_int =
    libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// A sealed copy of `bytes`.
///
/// # Errors
/// The system's: no memory files, no memory, a limit of the length of files.
pub(crate) fn of_bytes(bytes: &[u8]) -> io::Result<File> {
    check_len(bytes.len() as u64)?;
    let mut file = memory_file()?;
    file.write_all(bytes)?;
    seal(&file)?;
    Ok(file)
}

/// Returns a sealed copy of pieces of a file, put together, and the number of bytes in it. Each
/// piece is an offset and a length; there are fewer bytes if the file ends earlier.
///
/// # Errors
/// As for [`of_bytes`], and those of reading.
pub(crate) fn of_pieces(
    file: &File,
    pieces: impl Iterator<Item = (u64, u64)>,
) -> io::Result<(File, u64)> {
    up_to(max_len(), file, pieces)
}

/// [`of_pieces`], with `max` bytes in the copy at most.
fn up_to(
    max: u64,
    file: &File,
    pieces: impl Iterator<Item = (u64, u64)>,
) -> io::Result<(File, u64)> {
    let mut copy = memory_file()?;
    let mut copied = 0;
    for (start, len) in pieces {
        let room = max - copied;
        let now = transfer(file, &mut copy, start, len.min(room))?;
        copied += now;
        // The file may end before `len` does, and then nothing is missing.
        if len > room && now == room && file.read_at(&mut [0], start.saturating_add(now))? > 0 {
            return Err(too_large(max));
        }
    }
    seal(&copy)?;
    Ok((copy, copied))
}

/// A sealed file of `len` bytes. Each part is an offset and the bytes there; all other bytes are
/// zero, and take no memory until they are read.
///
/// # Errors
/// As for [`of_bytes`].
pub(crate) fn of_parts<'a>(
    len: u64,
    parts: impl Iterator<Item = (u64, Cow<'a, [u8]>)>,
) -> io::Result<File> {
    check_len(len)?;
    let file = memory_file()?;
    file.set_len(len)?;
    for (at, bytes) in parts {
        file.write_all_at(&bytes, at)?;
    }
    seal(&file)?;
    Ok(file)
}

/// The maximum length of a file. The system would not only refuse a longer one, but end the process
/// by a signal.
fn max_len() -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the call writes the structure, or fails.
    unsafe {
        match libc::getrlimit(libc::RLIMIT_FSIZE, limit.as_mut_ptr()) {
            0 => limit.assume_init().rlim_cur,
            _ => 0,
        }
    }
}

fn check_len(len: u64) -> io::Result<()> {
    let max = max_len();
    match len <= max {
        true => Ok(()),
        false => Err(too_large(max)),
    }
}

fn too_large(max: u64) -> io::Error {
    let text = format!(
        "files of the process, also those in memory, are limited to {max} bytes (RLIMIT_FSIZE, \
         `ulimit -f`): raise that limit"
    );
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

/// Whether the system guarantees that the content of this file never changes.
pub(crate) fn has_verity(file: &File) -> bool {
    /// `FS_IOC_MEASURE_VERITY` with no room for the digest: only its existence matters.
    const MEASURE: libc::c_ulong = 0xc004_6686;
    const EXT4: u32 = 0xef53;
    const BTRFS: u32 = 0x9123_683e;
    const F2FS: u32 = 0xf2f5_2010;
    /// `struct fsverity_digest` without a digest.
    #[repr(C)]
    struct Digest {
        algorithm: u16,
        size: u16,
    }
    let mut system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the file is open, and the call writes no more than the structure.
    if unsafe { libc::fstatfs(file.as_raw_fd(), system.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has filled the structure.
    let kind = unsafe { system.assume_init() }.f_type as u32;
    if ![EXT4, BTRFS, F2FS].contains(&kind) {
        return false;
    }
    let mut digest = Digest {
        algorithm: 0,
        size: 0,
    };
    // SAFETY: the file is open, and the call writes no more of the digest than there is room for.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), MEASURE as _, &raw mut digest) };
    // `EOVERFLOW` means that there is a digest, which does not fit.
    done == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EOVERFLOW)
}

/// An empty memory file that can be sealed.
fn memory_file() -> io::Result<File> {
    /// `MFD_NOEXEC_SEAL`: the file cannot be executed as a program, but its pages can still be
    /// mapped as code. A system can be set up to refuse memory files without this flag
    /// (`vm.memfd_noexec`). Kernels before Linux 6.3 neither know nor need it.
    const NOEXEC_SEAL: libc::c_uint = 8;
    let make = |flags| {
        let name = c"precast";
        // SAFETY: the name is a C string.
        unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | flags) }
    };
    let mut fd = make(NOEXEC_SEAL);
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        fd = make(libc::MFD_ALLOW_SEALING);
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is a new file descriptor that nothing else owns.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn seal(file: &File) -> io::Result<()> {
    // SAFETY: the file is open; seals take no pointer.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Copies a piece of a file without moving its position, and returns the number of bytes.
fn transfer(from: &File, to: &mut File, start: u64, len: u64) -> io::Result<u64> {
    let end = start.saturating_add(len);
    let mut offset = libc::off_t::try_from(start).map_err(|_| io::ErrorKind::InvalidInput)?;
    while (offset as u64) < end {
        let left = usize::try_from(end - offset as u64).unwrap_or(usize::MAX);
        // SAFETY: both files are open, and the call writes only the offset.
        let copied =
            unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), &raw mut offset, left) };
        match copied {
            0 => break,
            1.. => {}
            _ => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // The file system does not support `sendfile`.
                    Some(libc::EINVAL | libc::ENOSYS) => {
                        let all = transfer_in_pieces(from, to, offset as u64, end)?;
                        return Ok(all - start);
                    }
                    _ => return Err(error),
                }
            }
        }
    }
    Ok(offset as u64 - start)
}

/// Copies the bytes from `start` to `end`, and returns the offset of the end of what was copied.
fn transfer_in_pieces(from: &File, to: &mut File, start: u64, end: u64) -> io::Result<u64> {
    let mut piece = vec![0; 64 << 10];
    let mut at = start;
    while at < end {
        let max = piece
            .len()
            .min(usize::try_from(end - at).unwrap_or(usize::MAX));
        match from.read_at(&mut piece[..max], at) {
            Ok(0) => break,
            Ok(read) => {
                to.write_all(&piece[..read])?;
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    fn content(mut file: &File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The address of a page of the file whose changes would be the file's.
    fn map_for_writing(file: &File) -> io::Result<usize> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping, which nobody uses.
        let at = unsafe { libc::mmap(anywhere, 4096, access, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(at as usize)
    }

    #[test]
    fn nothing_changes_a_sealed_file() {
        let file = memory_file().unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Opened for writing before the seal.
        let earlier = File::options().write(true).open(&path).unwrap();
        earlier.write_all_at(b"content", 0).unwrap();
        seal(&file).unwrap();
        let later = File::options().read(true).write(true).open(&path).unwrap();
        for writer in [&file, &earlier, &later] {
            assert!(writer.write_all_at(b"C", 0).is_err());
            assert!(writer.write_all_at(b"more", 7).is_err());
            assert!(writer.set_len(3).is_err());
            assert!(writer.set_len(9).is_err());
            assert!(map_for_writing(writer).is_err());
            // SAFETY: takes no pointer.
            let more = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_ADD_SEALS, 0) };
            assert_eq!(more, -1, "seals are sealed");
        }
        assert_eq!(content(&file), b"content");
    }

    #[test]
    fn a_writable_mapping_is_an_error() {
        let file = memory_file().unwrap();
        file.set_len(100).unwrap();
        let at = map_for_writing(&file).unwrap();
        let error = seal(&file).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
        // SAFETY: just mapped, and nobody uses it.
        assert_eq!(unsafe { libc::munmap(at as *mut libc::c_void, 4096) }, 0);
        seal(&file).unwrap();
    }

    #[test]
    fn files_are_copied_from_their_start() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let mut source = memory_file().unwrap();
        source.write_all(&bytes).unwrap();
        let of_file = |source: &File, len| of_pieces(source, [(0, len)].into_iter());
        let (copy, len) = of_file(&source, bytes.len() as u64).unwrap();
        assert_eq!((content(&copy), len), (bytes.clone(), 300_000));
        let (copy, len) = of_file(&source, 100_000).unwrap();
        assert_eq!((content(&copy), len), (bytes[..100_000].to_vec(), 100_000));
        let (copy, len) = of_file(&source, 400_000).unwrap();
        assert_eq!((content(&copy), len), (bytes.clone(), 300_000), "truncated");
        let two = [(100_000, 50_000), (10, 20)];
        let (copy, len) = of_pieces(&source, two.into_iter()).unwrap();
        let expected = [&bytes[100_000..150_000], &bytes[10..30]].concat();
        assert_eq!((content(&copy), len), (expected, 50_020));
        // The limit counts what is copied, not what is asked for.
        for len in [299_999, 300_000, 400_000, u64::MAX] {
            let copied = up_to(300_000, &source, [(0, len)].into_iter()).unwrap().1;
            assert_eq!(copied, len.min(300_000));
        }
        for (max, pieces) in [(299_999, [(0, 0), (0, 300_000)]), (9, [(0, 9), (9, 1)])] {
            let error = up_to(max, &source, pieces.into_iter()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        }
        assert!(up_to(9, &source, [(0, 9), (300_000, 9)].into_iter()).is_ok());
        let mut pieces = memory_file().unwrap();
        let len = transfer_in_pieces(&source, &mut pieces, 0, 400_000).unwrap();
        assert_eq!((content(&pieces), len), (bytes, 300_000));
        assert!(!has_verity(&copy));
    }
}
