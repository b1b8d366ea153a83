//! Guest memory. Every pointer and length that a guest passes is checked here.
//!
//! Addresses and lengths are 32 bits wide and are added in 64 bits, so no sum wraps. For a range
//! that is not within the memory the error is `FAULT`. The host allocates nothing in proportion to
//! a length that a guest passes: data is copied directly between guest memory and the system, lists
//! are read in place, and the length of paths is limited.
//!
//! Other threads may write to a shared memory at any moment, so no reference to its bytes is ever
//! made: inputs are copied out once before they are looked at, and results are copied in. Data then
//! goes through a buffer of [`BOUNCE`] bytes.

use std::borrow::Cow;
use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};

use precast_loader::SharedMemory;

use crate::errno::{Errno, Result};

/// The maximum length of a path in bytes: the limit of Linux, without the NUL.
pub(crate) const MAX_PATH: usize = 4095;

/// How many buffers of a list one call passes to the system. Longer lists are legal: the call then
/// transfers a part, which callers of vectored reads and writes expect.
const MAX_READ_BUFFERS: usize = 8;
const MAX_WRITE_BUFFERS: usize = 32;

/// How many buffers of a list are looked at: as many as the longest list of Linux has. A list of
/// empty buffers may be as long as the memory, and a look at all of them would take seconds. If the
/// first ones are all empty and there are more, the call fails: a result of zero bytes would say
/// that a file is at its end.
const MAX_LOOKED_AT: u32 = 1024;

/// The maximum number of bytes that one call transfers: the limit of Linux.
const MAX_TRANSFER: u64 = 0x7fff_f000;

/// The maximum number of bytes that one call transfers between a shared memory and the system.
const BOUNCE: usize = 256 << 10;

/// The maximum number of bytes that are filled before the guest can be ended.
const PIECE: usize = 64 << 10;

/// The memory of the calling instance.
pub(crate) struct GuestMemory<'a>(Bytes<'a>);

enum Bytes<'a> {
    Own(&'a mut [u8]),
    Shared(SharedMemory),
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self(Bytes::Own(bytes))
    }

    pub(crate) fn shared(memory: SharedMemory) -> Self {
        Self(Bytes::Shared(memory))
    }

    /// Calls `fill` with the `len` bytes from `at` on, in pieces of at most [`PIECE`] bytes.
    ///
    /// # Errors
    /// `FAULT` if they are not within the memory; those of `fill`.
    pub(crate) fn fill(
        &mut self,
        at: u32,
        len: u32,
        mut fill: impl FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let range = self.range(at, u64::from(len))?;
        match &mut self.0 {
            Bytes::Own(bytes) => bytes[range].chunks_mut(PIECE).try_for_each(fill),
            Bytes::Shared(memory) => {
                let mut piece = [0; 4096];
                for at in range.clone().step_by(piece.len()) {
                    let len = piece.len().min(range.end - at);
                    fill(&mut piece[..len])?;
                    write_shared(memory, at, &piece[..len])?;
                }
                Ok(())
            }
        }
    }

    /// Checks that a result of this length can be written to `at`. Functions call this before they
    /// do something whose result they could not report otherwise.
    ///
    /// # Errors
    /// `FAULT` if the range is not within the memory.
    pub(crate) fn check(&self, at: u32, len: u64) -> Result<()> {
        self.range(at, len).map(drop)
    }

    fn range(&self, at: u32, len: u64) -> Result<std::ops::Range<usize>> {
        let end = u64::from(at).checked_add(len).ok_or(Errno::FAULT)?;
        let size = match &self.0 {
            Bytes::Own(bytes) => bytes.len(),
            Bytes::Shared(memory) => memory.data_size(),
        };
        if end > size as u64 {
            return Err(Errno::FAULT);
        }
        Ok(at as usize..end as usize)
    }

    pub(crate) fn read<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let range = self.range(at, N as u64)?;
        let mut bytes = [0; N];
        match &self.0 {
            Bytes::Own(own) => bytes.copy_from_slice(&own[range]),
            Bytes::Shared(memory) => read_shared(memory, range.start, &mut bytes)?,
        }
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        let range = self.range(at, bytes.len() as u64)?;
        match &mut self.0 {
            Bytes::Own(own) => own[range].copy_from_slice(bytes),
            Bytes::Shared(memory) => write_shared(memory, range.start, bytes)?,
        }
        Ok(())
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Result<()> {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Result<()> {
        self.write(at, &value.to_le_bytes())
    }

    /// Reads a path, or the target of a symbolic link.
    ///
    /// # Errors
    /// `FAULT` if it is not within the memory, `NAMETOOLONG` if it is longer than [`MAX_PATH`],
    /// `ILSEQ` if it is not UTF-8, `INVAL` if it contains a NUL byte, `NOENT` if it is empty.
    pub(crate) fn path(&self, at: u32, len: u32) -> Result<Cow<'_, Path>> {
        let range = self.range(at, u64::from(len))?;
        if range.len() > MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        match &self.0 {
            Bytes::Own(bytes) => Ok(Cow::Borrowed(Path::new(check_path(&bytes[range])?))),
            Bytes::Shared(memory) => {
                let mut bytes = vec![0; range.len()];
                read_shared(memory, range.start, &mut bytes)?;
                Ok(Cow::Owned(PathBuf::from(check_path(&bytes)?)))
            }
        }
    }

    /// The address and length of each buffer of a list.
    ///
    /// # Errors
    /// `FAULT` if the list is not within the memory. The buffers themselves are not checked.
    fn buffers(&self, list: u32, count: u32) -> Result<impl Iterator<Item = (u32, u32)>> {
        self.range(list, u64::from(count) * 8)?;
        let pair = move |i: u32| {
            // The range was just checked, and memories never shrink.
            let pair: [u8; 8] = self.read(list + 8 * i).unwrap_or_default();
            let word = |i| u32::from_le_bytes([pair[i], pair[i + 1], pair[i + 2], pair[i + 3]]);
            (word(0), word(4))
        };
        Ok((0..count).map(pair))
    }

    /// The ranges of the first buffers of a list that are not empty, at most as many as fit into
    /// `ranges`, and at most `room` bytes together. Returns how many.
    ///
    /// # Errors
    /// `FAULT` if the list or one of these buffers is not within the memory; `INVAL` if the list is
    /// longer than [`MAX_LOOKED_AT`] and begins with that many empty buffers.
    fn ranges(
        &self,
        list: u32,
        count: u32,
        ranges: &mut [std::ops::Range<usize>],
        mut room: u64,
    ) -> Result<usize> {
        let mut used = 0;
        for (at, len) in self.buffers(list, count)?.take(MAX_LOOKED_AT as usize) {
            let range = self.range(at, u64::from(len))?;
            if range.is_empty() {
                continue;
            }
            let taken = room.min(range.len() as u64);
            if used == ranges.len() || taken == 0 {
                break;
            }
            ranges[used] = range.start..range.start + taken as usize;
            used += 1;
            room -= taken;
        }
        if used == 0 && count > MAX_LOOKED_AT {
            return Err(Errno::INVAL);
        }
        Ok(used)
    }

    /// Calls `write` with the buffers of a list and returns its result. Of a long list only the
    /// first buffers are passed, at most [`MAX_WRITE_BUFFERS`] buffers and [`MAX_TRANSFER`] bytes.
    ///
    /// # Errors
    /// `FAULT` if one of these buffers is not within the memory; `INVAL` for a long list that
    /// begins with nothing but empty buffers; those of `write`.
    pub(crate) fn gather<R>(
        &self,
        list: u32,
        count: u32,
        write: impl FnOnce(&[IoSlice<'_>]) -> Result<R>,
    ) -> Result<R> {
        let mut ranges = [const { 0..0 }; MAX_WRITE_BUFFERS];
        match &self.0 {
            Bytes::Own(bytes) => {
                let used = self.ranges(list, count, &mut ranges, MAX_TRANSFER)?;
                let mut slices = [IoSlice::new(&[]); MAX_WRITE_BUFFERS];
                for (slice, range) in slices.iter_mut().zip(&ranges[..used]) {
                    *slice = IoSlice::new(&bytes[range.clone()]);
                }
                write(&slices[..used])
            }
            Bytes::Shared(memory) => {
                let used = self.ranges(list, count, &mut ranges, BOUNCE as u64)?;
                let len = ranges[..used].iter().map(ExactSizeIterator::len).sum();
                let mut bounce = vec![0; len];
                let mut rest = &mut bounce[..];
                for range in &ranges[..used] {
                    let (part, behind) = rest.split_at_mut(range.len());
                    read_shared(memory, range.start, part)?;
                    rest = behind;
                }
                match used {
                    0 => write(&[]),
                    _ => write(&[IoSlice::new(&bounce)]),
                }
            }
        }
    }

    /// Calls `read` with the buffers of a list and returns its result: how many bytes it has read.
    /// Of a long list only the first buffers are passed, at most [`MAX_READ_BUFFERS`] buffers and
    /// [`MAX_TRANSFER`] bytes. If they overlap, only the first one is passed.
    ///
    /// # Errors
    /// `FAULT` if one of these buffers is not within the memory; `INVAL` for a long list that
    /// begins with nothing but empty buffers; those of `read`.
    pub(crate) fn scatter(
        &mut self,
        list: u32,
        count: u32,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<usize>,
    ) -> Result<usize> {
        let mut ranges = [const { 0..0 }; MAX_READ_BUFFERS];
        let room = match &self.0 {
            Bytes::Own(_) => MAX_TRANSFER,
            Bytes::Shared(_) => BOUNCE as u64,
        };
        let used = self.ranges(list, count, &mut ranges, room)?;
        let first = ranges[0].clone();
        match &mut self.0 {
            Bytes::Own(bytes) => {
                if used > 1
                    && let Ok(slices) = bytes.get_disjoint_mut(ranges)
                {
                    return read(&mut slices.map(IoSliceMut::new)[..used]);
                }
                read(&mut [IoSliceMut::new(&mut bytes[first])])
            }
            Bytes::Shared(memory) => {
                let len = ranges[..used].iter().map(ExactSizeIterator::len).sum();
                let mut bounce = vec![0; len];
                let result = read(&mut [IoSliceMut::new(&mut bounce)])?;
                let mut rest = &bounce[..result.min(len)];
                for range in &ranges[..used] {
                    let (part, behind) = rest.split_at(range.len().min(rest.len()));
                    write_shared(memory, range.start, part)?;
                    rest = behind;
                }
                Ok(result)
            }
        }
    }
}

fn check_path(bytes: &[u8]) -> Result<&str> {
    let path = std::str::from_utf8(bytes).map_err(|_| Errno::ILSEQ)?;
    if path.contains('\0') {
        return Err(Errno::INVAL);
    }
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    Ok(path)
}

fn read_shared(memory: &SharedMemory, at: usize, to: &mut [u8]) -> Result<()> {
    memory.read(at, to).map_err(|_| Errno::FAULT)
}

fn write_shared(memory: &SharedMemory, at: usize, from: &[u8]) -> Result<()> {
    memory.write(at, from).map_err(|_| Errno::FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(bytes: &mut [u8], at: usize, buffers: &[(u32, u32)]) {
        for (i, (base, len)) in buffers.iter().enumerate() {
            bytes[at + 8 * i..][..4].copy_from_slice(&base.to_le_bytes());
            bytes[at + 8 * i + 4..][..4].copy_from_slice(&len.to_le_bytes());
        }
    }

    fn lengths(slices: &[IoSlice<'_>]) -> Result<Vec<usize>> {
        Ok(slices.iter().map(|s| s.len()).collect())
    }

    #[test]
    fn whatever_leaves_the_memory_is_a_fault() {
        let mut bytes = vec![0; 100];
        let mut memory = GuestMemory::new(&mut bytes);
        let fill = |_: &mut [u8]| Ok(());
        assert_eq!(memory.fill(0, 100, fill), Ok(()));
        assert_eq!(memory.fill(100, 0, fill), Ok(()));
        assert_eq!(memory.fill(101, 0, fill), Err(Errno::FAULT));
        assert_eq!(memory.fill(1, 100, fill), Err(Errno::FAULT));
        assert_eq!(memory.fill(u32::MAX, u32::MAX, fill), Err(Errno::FAULT));
        assert_eq!(memory.check(1, u64::MAX), Err(Errno::FAULT));
        assert_eq!(memory.read::<8>(93), Err(Errno::FAULT));
        assert_eq!(memory.write_u32(97, 1), Err(Errno::FAULT));
        assert_eq!(memory.write_u64(92, u64::MAX), Ok(()));
    }

    #[test]
    fn lists_are_checked_as_a_whole() {
        let mut bytes = vec![0; 100];
        list(&mut bytes, 0, &[(90, 10), (91, 10)]);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.gather(0, 1, lengths), Ok(vec![10]));
        assert_eq!(memory.gather(0, 2, lengths), Err(Errno::FAULT));
        assert_eq!(memory.gather(0, u32::MAX, lengths), Err(Errno::FAULT));
        assert_eq!(memory.gather(96, 1, lengths), Err(Errno::FAULT));
        assert_eq!(memory.scatter(0, 2, |s| Ok(s.len())), Err(Errno::FAULT));
    }

    #[test]
    fn many_buffers_give_a_short_call() {
        let mut bytes = vec![0; 1000];
        list(&mut bytes, 0, &[(800, 1); 100]);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(
            memory.gather(0, 100, lengths).unwrap().len(),
            MAX_WRITE_BUFFERS
        );
        // All hundred buffers are the same byte, so only the first can be read into.
        assert_eq!(memory.scatter(0, 100, |s| Ok(s.len())), Ok(1));
    }

    #[test]
    fn empty_buffers_are_skipped_and_none_is_legal() {
        let mut bytes = vec![0; 100];
        list(&mut bytes, 0, &[(50, 0), (60, 5), (70, 0), (65, 5)]);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.gather(0, 4, lengths), Ok(vec![5, 5]));
        assert_eq!(memory.gather(0, 0, lengths), Ok(vec![]));
        let found = std::cell::RefCell::new(Vec::new());
        let sizes = |s: &mut [IoSliceMut<'_>]| {
            found.replace(s.iter().map(|s| s.len()).collect());
            Ok(s.len())
        };
        assert_eq!(memory.scatter(0, 4, sizes), Ok(2));
        assert_eq!(*found.borrow(), [5, 5]);
        assert_eq!(memory.scatter(0, 1, sizes), Ok(1));
        assert_eq!(*found.borrow(), [0]);
    }

    #[test]
    fn no_call_looks_at_a_memory_full_of_empty_buffers() {
        let mut bytes = vec![0; 1 << 20];
        let max = MAX_LOOKED_AT;
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.gather(0, max, lengths), Ok(vec![]));
        assert_eq!(memory.scatter(0, max, |_| Ok(0)), Ok(0));
        for count in [max + 1, 1 << 17] {
            assert_eq!(memory.gather(0, count, lengths), Err(Errno::INVAL));
            assert_eq!(memory.scatter(0, count, |_| Ok(0)), Err(Errno::INVAL));
        }
        // The last buffer that is looked at has bytes.
        list(&mut bytes, 8 * (max as usize - 1), &[(0, 5), (0, 6)]);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.gather(0, 1 << 17, lengths), Ok(vec![5]));
        assert_eq!(memory.scatter(0, 1 << 17, |s| Ok(s[0].len())), Ok(5));
    }

    #[test]
    fn overlapping_buffers_cannot_add_up_beyond_one_transfer() {
        // `lengths` looks only at the lengths of the buffers, so their content does not matter.
        let mut bytes = vec![0; 1 << 20];
        let len = bytes.len() as u32;
        list(&mut bytes, 0, &vec![(0, len); 1 << 16]);
        let memory = GuestMemory::new(&mut bytes);
        let total: usize = memory.gather(0, 1 << 16, lengths).unwrap().iter().sum();
        assert_eq!(total, MAX_WRITE_BUFFERS << 20);
    }

    #[test]
    fn paths_are_short_utf8_without_nul() {
        let mut bytes = vec![b'a'; 10_000];
        bytes[0..4].copy_from_slice(b"a\0b\xff");
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.path(0, 1), Ok(Path::new("a").into()));
        assert_eq!(memory.path(0, 0), Err(Errno::NOENT));
        assert_eq!(memory.path(0, 3), Err(Errno::INVAL));
        assert_eq!(memory.path(3, 1), Err(Errno::ILSEQ));
        assert_eq!(memory.path(4, 4095).map(|p| p.as_os_str().len()), Ok(4095));
        assert_eq!(memory.path(4, 4096), Err(Errno::NAMETOOLONG));
        assert_eq!(memory.path(4, 9997), Err(Errno::FAULT));
    }
}
