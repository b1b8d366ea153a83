//! Numbers, slices and texts in linear memories.

use std::ops::Range;

use super::{Memory, out_of_bounds};
use crate::error::Error;
use crate::store::{AsContextMut, StoreContext, StoreContextMut};

/// A number that linear memories hold, in wasm's byte order (little-endian): `u8` to `u128`, `i8`
/// to `i128`, `f32` and `f64`. This trait is sealed.
///
/// ```
/// use precast_loader::{Engine, Error, Memory, MemoryType, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// memory.write_number(&mut store, 8, 0x0102_u16)?;
/// assert_eq!(memory.data(&store)[8..10], [2, 1]);
/// assert_eq!(memory.read_number::<u16, _>(&store, 8)?, 0x0102);
/// # Ok::<(), Error>(())
/// ```
pub trait WasmNumber: sealed::Number {}

mod sealed {
    /// What [`WasmNumber`](super::WasmNumber) does.
    pub trait Number: Copy {
        type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;
        const LEN: usize;
        fn from_bytes(bytes: Self::Bytes) -> Self;
        fn into_bytes(self) -> Self::Bytes;
    }
}

macro_rules! numbers {
    ($($T:ty),*) => {
        $(
            impl sealed::Number for $T {
                type Bytes = [u8; size_of::<$T>()];
                const LEN: usize = size_of::<$T>();
                fn from_bytes(bytes: Self::Bytes) -> Self {
                    Self::from_le_bytes(bytes)
                }
                fn into_bytes(self) -> Self::Bytes {
                    self.to_le_bytes()
                }
            }

            impl WasmNumber for $T {}
        )*
    };
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Memory {
    /// The `len` bytes from `at` on.
    ///
    /// ```
    /// # use precast_loader::{Engine, Error, Memory, MemoryType, Store};
    /// # let mut store = Store::new(&Engine::default(), ());
    /// # let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
    /// memory.slice_mut(&mut store, 100, 5)?.copy_from_slice(b"hello");
    /// assert_eq!(memory.str(&store, 100, 4)?, "hell");
    /// assert_eq!(memory.c_str(&store, 100)?, b"hello");
    /// assert!(memory.slice(&store, 65_530, 10).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn slice<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        at: usize,
        len: usize,
    ) -> Result<&'a [u8], Error> {
        let data = self.data(store);
        Ok(&data[range(at, len, data.len())?])
    }

    /// The `len` bytes from `at` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn slice_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
        at: usize,
        len: usize,
    ) -> Result<&'a mut [u8], Error> {
        let data = self.data_mut(store);
        let range = range(at, len, data.len())?;
        Ok(&mut data[range])
    }

    /// The text of `len` bytes from `at` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], and [`Error::Type`] if the bytes are not UTF-8.
    pub fn str<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        at: usize,
        len: usize,
    ) -> Result<&'a str, Error> {
        std::str::from_utf8(self.slice(store, at, len)?).map_err(|error| Error::Type {
            what: format!("text at {at} in a linear memory"),
            found: format!("bytes that are not UTF-8 from {}", at + error.valid_up_to()),
            expected: "UTF-8".into(),
        })
    }

    /// The bytes from `at` on to the first zero, which is left out: a string of C.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if there is no zero from there on.
    pub fn c_str<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        at: usize,
    ) -> Result<&'a [u8], Error> {
        let data = self.data(store);
        let rest = data.get(at..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == 0);
        let len = len.ok_or_else(|| out_of_bounds(at, rest.len() + 1, data.len()))?;
        Ok(&rest[..len])
    }

    /// The number at `at`, which need not be aligned.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub fn read_number<'a, N: WasmNumber, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
        at: usize,
    ) -> Result<N, Error> {
        let bytes = self.slice(store, at, N::LEN)?;
        match N::Bytes::try_from(bytes) {
            Ok(bytes) => Ok(N::from_bytes(bytes)),
            Err(_) => unreachable!("the slice has the length of the number"),
        }
    }

    /// Writes a number at `at`, which need not be aligned.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], and nothing is written.
    pub fn write_number<N: WasmNumber>(
        &self,
        store: impl AsContextMut,
        at: usize,
        number: N,
    ) -> Result<(), Error> {
        self.write(store, at, number.into_bytes().as_ref())
    }
}

/// # Errors
/// [`Error::OutOfBounds`].
fn range(at: usize, len: usize, size: usize) -> Result<Range<usize>, Error> {
    let end = at.checked_add(len).filter(|end| *end <= size);
    Ok(at..end.ok_or_else(|| out_of_bounds(at, len, size))?)
}
