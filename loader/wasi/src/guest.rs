//! Guest memory. Every pointer and length that a guest passes is checked here.
//!
//! Addresses and lengths are 32 bits wide and are added in 64 bits, so no sum wraps. A range that
//! is not within the memory is `FAULT`. The host allocates nothing in proportion to a length that a
//! guest passes: data is copied directly between guest memory and the system, lists are read in
//! place, and the length of paths is limited.

use std::io::{IoSlice, IoSliceMut};
use std::path::Path;

use crate::errno::{Errno, Result};

/// The length of a path in bytes at most: the limit of Linux, without the NUL.
pub(crate) const MAX_PATH: usize = 4095;

/// How many buffers of a list one call passes to the system. Longer lists are legal: the call then
/// transfers a part, which callers of vectored reads and writes expect.
const MAX_READ_BUFFERS: usize = 8;
const MAX_WRITE_BUFFERS: usize = 32;

/// How many bytes one call transfers at most: the limit of Linux.
const MAX_TRANSFER: u64 = 0x7fff_f000;

/// The memory of the calling instance.
pub(crate) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

impl<'a> GuestMemory<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// The `len` bytes from `at` on.
    ///
    /// # Errors
    /// `FAULT` if they are not within the memory.
    pub(crate) fn slice(&self, at: u32, len: u32) -> Result<&[u8]> {
        let range = self.range(at, u64::from(len))?;
        Ok(&self.bytes[range])
    }

    /// Like [`slice`](Self::slice).
    pub(crate) fn slice_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8]> {
        let range = self.range(at, u64::from(len))?;
        Ok(&mut self.bytes[range])
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
        if end > self.bytes.len() as u64 {
            return Err(Errno::FAULT);
        }
        Ok(at as usize..end as usize)
    }

    pub(crate) fn read<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let range = self.range(at, N as u64)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<()> {
        let range = self.range(at, bytes.len() as u64)?;
        self.bytes[range].copy_from_slice(bytes);
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
    pub(crate) fn path(&self, at: u32, len: u32) -> Result<&Path> {
        let bytes = self.slice(at, len)?;
        if bytes.len() > MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        let path = std::str::from_utf8(bytes).map_err(|_| Errno::ILSEQ)?;
        if path.contains('\0') {
            return Err(Errno::INVAL);
        }
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        Ok(Path::new(path))
    }

    /// The address and length of each buffer of a list.
    ///
    /// # Errors
    /// `FAULT` if the list is not within the memory. The buffers themselves are not checked.
    fn buffers(&self, list: u32, count: u32) -> Result<impl Iterator<Item = (u32, u32)>> {
        let range = self.range(list, u64::from(count) * 8)?;
        let (pairs, _) = self.bytes[range].as_chunks::<8>();
        Ok(pairs.iter().map(|pair| {
            let word = |i| u32::from_le_bytes([pair[i], pair[i + 1], pair[i + 2], pair[i + 3]]);
            (word(0), word(4))
        }))
    }

    /// Calls `write` with the buffers of a list and returns its result. Of a long list only the
    /// first buffers are passed, at most [`MAX_WRITE_BUFFERS`] buffers and [`MAX_TRANSFER`] bytes.
    ///
    /// # Errors
    /// `FAULT` if one of these buffers is not within the memory; those of `write`.
    pub(crate) fn gather<R>(
        &self,
        list: u32,
        count: u32,
        write: impl FnOnce(&[IoSlice<'_>]) -> Result<R>,
    ) -> Result<R> {
        let mut slices = [IoSlice::new(&[]); MAX_WRITE_BUFFERS];
        let mut used = 0;
        let mut room = MAX_TRANSFER;
        for (at, len) in self.buffers(list, count)? {
            let slice = self.slice(at, len)?;
            if slice.is_empty() {
                continue;
            }
            let taken = room.min(slice.len() as u64);
            if used == MAX_WRITE_BUFFERS || taken == 0 {
                break;
            }
            slices[used] = IoSlice::new(&slice[..taken as usize]);
            used += 1;
            room -= taken;
        }
        write(&slices[..used])
    }

    /// Calls `read` with the buffers of a list and returns its result. Of a long list only the
    /// first buffers are passed, at most [`MAX_READ_BUFFERS`] buffers and [`MAX_TRANSFER`] bytes.
    /// If they overlap, only the first one is passed.
    ///
    /// # Errors
    /// `FAULT` if one of these buffers is not within the memory; those of `read`.
    pub(crate) fn scatter<R>(
        &mut self,
        list: u32,
        count: u32,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<R>,
    ) -> Result<R> {
        let mut ranges = [const { 0..0 }; MAX_READ_BUFFERS];
        let mut used = 0;
        let mut room = MAX_TRANSFER;
        for (at, len) in self.buffers(list, count)? {
            let range = self.range(at, u64::from(len))?;
            if range.is_empty() {
                continue;
            }
            let taken = room.min(range.len() as u64);
            if used == MAX_READ_BUFFERS || taken == 0 {
                break;
            }
            ranges[used] = range.start..range.start + taken as usize;
            used += 1;
            room -= taken;
        }
        let first = ranges[0].clone();
        if used > 1
            && let Ok(slices) = self.bytes.get_disjoint_mut(ranges)
        {
            return read(&mut slices.map(IoSliceMut::new)[..used]);
        }
        read(&mut [IoSliceMut::new(&mut self.bytes[first])])
    }
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
        assert_eq!(memory.slice(0, 100).unwrap().len(), 100);
        assert_eq!(memory.slice(100, 0).unwrap().len(), 0);
        assert_eq!(memory.slice(101, 0), Err(Errno::FAULT));
        assert_eq!(memory.slice(1, 100), Err(Errno::FAULT));
        assert_eq!(memory.slice(u32::MAX, u32::MAX), Err(Errno::FAULT));
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
        let sizes = |s: &mut [IoSliceMut<'_>]| Ok(s.iter().map(|s| s.len()).collect::<Vec<_>>());
        assert_eq!(memory.scatter(0, 4, sizes), Ok(vec![5, 5]));
        assert_eq!(memory.scatter(0, 1, sizes), Ok(vec![0]));
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
        assert_eq!(memory.path(0, 1), Ok(Path::new("a")));
        assert_eq!(memory.path(0, 0), Err(Errno::NOENT));
        assert_eq!(memory.path(0, 3), Err(Errno::INVAL));
        assert_eq!(memory.path(3, 1), Err(Errno::ILSEQ));
        assert_eq!(memory.path(4, 4095).map(|p| p.as_os_str().len()), Ok(4095));
        assert_eq!(memory.path(4, 4096), Err(Errno::NAMETOOLONG));
        assert_eq!(memory.path(4, 9997), Err(Errno::FAULT));
    }
}
