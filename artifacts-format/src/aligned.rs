//! Bytes of an artifact in ordinary memory, aligned as its records must be.

use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

/// Bytes with the alignment that [`Artifact::parse`](crate::Artifact::parse) needs: records are
/// read in place, so they must be aligned, and the bytes of a `Vec<u8>` may not be.
///
/// ```
/// use precast_artifact::{Aligned, Artifact, Error};
///
/// /// The digest that the artifact says it has.
/// fn digest(file: &[u8]) -> Result<[u8; 32], Error> {
///     let bytes = Aligned::new(file);
///     Ok(Artifact::parse(&bytes, None)?.header().digest)
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Aligned {
    words: Vec<u64>,
    len: usize,
}

impl Aligned {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut this = Self {
            words: vec![0; bytes.len().div_ceil(size_of::<u64>())],
            len: bytes.len(),
        };
        this.copy_from_slice(bytes);
        this
    }

    /// `len` zeros, to read a file into.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub fn zeros(len: usize) -> Result<Self, TryReserveError> {
        let mut words = Vec::new();
        words.try_reserve_exact(len.div_ceil(size_of::<u64>()))?;
        words.resize(len.div_ceil(size_of::<u64>()), 0);
        Ok(Self { words, len })
    }

    /// The bytes, which are never freed.
    pub fn leak(self) -> &'static mut [u8] {
        &mut bytemuck::cast_slice_mut(self.words.leak())[..self.len]
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_are_aligned() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).collect();
            let aligned = Aligned::new(&bytes);
            assert_eq!(*aligned, *bytes);
            assert!(len == 0 || aligned.as_ptr().cast::<u64>().is_aligned());
            let mut zeros = Aligned::zeros(bytes.len()).expect("a few bytes");
            assert!(zeros.len() == bytes.len() && zeros.iter().all(|byte| *byte == 0));
            zeros.copy_from_slice(&bytes);
            assert_eq!(*zeros.leak(), *bytes);
        }
        assert!(Aligned::zeros(usize::MAX).is_err());
    }
}
