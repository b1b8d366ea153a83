//! The elements of a table.
//!
//! The elements of a short table are in a vector. Those of a long table are in pages of their own,
//! which take memory only when an element in them is first written, so ten million null elements
//! take no memory. Such a table grows without copying, and its pages are discarded to make the
//! elements null again.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions, RemapOptions};

use crate::error::Error;
use crate::sys::map::{self, ask_twice, page_size};

/// Maximum number of elements in a vector, which takes a mebibyte.
const SHORT: usize = 1 << 17;

/// Number of elements that a short table keeps room for when it is reset, beyond its initial
/// elements.
const KEPT: usize = 4096;

const SIZE: usize = size_of::<u64>();

/// References, 8 bytes each; zero is null.
#[derive(Debug)]
pub(super) enum Elements {
    Short(Vec<u64>),
    /// The pages are zero behind the first `len` elements.
    Long {
        pages: MmapMut,
        len: usize,
    },
}

impl Elements {
    /// Makes `len` elements that are all `init`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn new(len: usize, init: u64) -> Result<Self, Error> {
        let mut this = Self::Short(Vec::new());
        this.grow(len, init)?;
        Ok(this)
    }

    /// Adds elements.
    ///
    /// # Errors
    /// [`Error::Memory`]; nothing has changed then.
    pub(super) fn grow(&mut self, added: usize, init: u64) -> Result<(), Error> {
        let before = self.len();
        let after = before.saturating_add(added);
        match self {
            Self::Short(elements) if after <= SHORT => {
                if elements.try_reserve(added).is_err() {
                    return Err(Error::no_memory(format!(
                        "allocate a table of {after} elements"
                    )));
                }
                elements.resize(after, init);
                return Ok(());
            }
            Self::Short(elements) => {
                let mut options = MmapOptions::new();
                options.len(bytes(after)).no_reserve_swap();
                let mut pages = ask_twice(|| options.map_anon()).map_err(|e| refused(after, e))?;
                as_elements_mut(&mut pages)[..before].copy_from_slice(elements);
                *self = Self::Long { pages, len: after };
            }
            Self::Long { pages, len } => {
                if bytes(after) > pages.len() {
                    // Twice the room is reserved, since pages that are not used take no memory.
                    let room = bytes(after).max(pages.len().saturating_mul(2));
                    resize(pages, room)
                        .or_else(|_| resize(pages, bytes(after)))
                        .map_err(|e| refused(after, e))?;
                }
                *len = after;
            }
        }
        if init != 0 {
            self[before..].fill(init);
        }
        Ok(())
    }

    /// Makes this a table of `len` null elements. The cost is in proportion to the pages that were
    /// written. Room for many more than `len` elements is given back.
    ///
    /// # Errors
    /// [`Error::Memory`]; the number of elements has not changed then, but some may be null.
    pub(super) fn reset(&mut self, len: usize) -> Result<(), Error> {
        match self {
            Self::Short(elements) if len <= elements.len() => {
                elements.truncate(len);
                elements.fill(0);
                if elements.capacity() - len > KEPT {
                    elements.shrink_to(len);
                }
            }
            Self::Long {
                pages,
                len: present,
            } if len > SHORT && len <= *present => {
                let (used, at) = (bytes(*present), pages.as_mut_ptr());
                // SAFETY: nobody has a reference to the elements, which read as zero afterwards.
                if !NonNull::new(at).is_some_and(|at| unsafe { map::discard(at, used) }) {
                    return Err(Error::system(format!(
                        "discard a table of {present} elements"
                    )));
                }
                if pages.len() / 2 > bytes(len) {
                    resize(pages, bytes(len)).map_err(|e| refused(len, e))?;
                }
                *present = len;
            }
            _ => *self = Self::new(len, 0)?,
        }
        Ok(())
    }

    /// The number of mappings of their own that the elements have.
    pub(super) fn mappings(&self) -> usize {
        match self {
            Self::Short(_) => 0,
            Self::Long { .. } => 1,
        }
    }

    /// Bytes that the elements keep resident after a reset. Those of a long table are discarded.
    pub(super) fn kept(&self) -> usize {
        match self {
            Self::Short(elements) => elements.capacity() * SIZE,
            Self::Long { .. } => 0,
        }
    }

    /// Gives these bytes back. A short table has no elements afterwards.
    pub(super) fn discard_kept(&mut self) {
        if let Self::Short(elements) = self {
            *elements = Vec::new();
        }
    }
}

/// Bytes of the whole pages that so many elements take.
fn bytes(elements: usize) -> usize {
    let max = usize::MAX - page_size();
    elements
        .saturating_mul(SIZE)
        .min(max)
        .next_multiple_of(page_size())
}

/// Makes the pages `len` bytes long. The system may move them, which costs no copy. New pages are
/// zero.
fn resize(pages: &mut MmapMut, len: usize) -> io::Result<()> {
    // SAFETY: the pages are borrowed exclusively, so nobody has a reference to them. Machine code
    // learns their new address before it runs again.
    ask_twice(|| unsafe { pages.remap(len, RemapOptions::new().may_move(true)) })
}

fn as_elements_mut(pages: &mut MmapMut) -> &mut [u64] {
    bytemuck::cast_slice_mut(pages)
}

fn refused(elements: usize, source: io::Error) -> Error {
    Error::refused(format!("allocate a table of {elements} elements"), source)
}

impl Deref for Elements {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Self::Short(elements) => elements,
            Self::Long { pages, len } => &bytemuck::cast_slice(pages)[..*len],
        }
    }
}

impl DerefMut for Elements {
    fn deref_mut(&mut self) -> &mut [u64] {
        match self {
            Self::Short(elements) => elements,
            Self::Long { pages, len } => &mut as_elements_mut(pages)[..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a vector, for lengths around the one where a table becomes a long one.
    #[test]
    fn elements_stay_and_new_ones_are_as_asked() {
        let lengths = [0, 1, 100, SHORT - 1, SHORT, SHORT + 1, 3 * SHORT];
        for first in lengths {
            for more in lengths {
                let mut elements = Elements::new(first, 7).unwrap();
                let mut expected = vec![7; first];
                if first > 0 {
                    elements[first - 1] = 8;
                    expected[first - 1] = 8;
                }
                for init in [0, 9] {
                    elements.grow(more, init).unwrap();
                    expected.resize(expected.len() + more, init);
                    assert!(elements[..] == expected[..], "{first} and {more}");
                }
                elements.fill(5);
                for len in [first, more] {
                    elements.reset(len).unwrap();
                    assert!(elements[..] == vec![0; len][..], "{first} and {more}");
                    // Old elements do not come back.
                    elements.grow(300, 0).unwrap();
                    assert!(elements[len..].iter().all(|e| *e == 0));
                    elements.fill(5);
                }
            }
        }
    }

    #[test]
    fn what_stays_resident_is_known_and_given_back() {
        for len in [0, 1, KEPT, SHORT, SHORT + 1] {
            let mut elements = Elements::new(len, 0).unwrap();
            elements.grow(100, 1).unwrap();
            elements.reset(len).unwrap();
            let least = if len <= SHORT { len * SIZE } else { 0 };
            let kept = elements.kept();
            assert!((least..=least + (KEPT + 100) * SIZE).contains(&kept));
            elements.discard_kept();
            assert_eq!(elements.kept(), 0);
            elements.reset(len).unwrap();
            assert!(elements[..] == vec![0; len][..]);
        }
    }

    #[test]
    fn what_no_machine_has_is_an_error() {
        assert!(Elements::new(usize::MAX, 0).is_err());
        let mut elements = Elements::new(3 * SHORT, 1).unwrap();
        assert!(elements.grow(usize::MAX, 0).is_err());
        assert_eq!(elements.len(), 3 * SHORT);
        assert_eq!(elements[3 * SHORT - 1], 1);
    }
}
