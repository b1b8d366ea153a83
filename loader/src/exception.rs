//! Exceptions, and references to them.
//!
//! They are thrown in `vm::exception`. What hosts do with them is in `exnref`.

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;

use precast_artifact::vm::{ValRaw, VmException, VmTag};
use smallvec::SmallVec;

use crate::backtrace::WasmBacktrace;
use crate::error::Error;
use crate::externref::ExternRef;
use crate::types::{FuncType, names};

/// About how many bytes an exception without values takes, with the store's records of it.
const OVERHEAD: usize = 256;

/// An exception of a store.
pub(crate) struct Exception {
    /// Number of the store.
    pub(crate) store: u64,
    /// The type of the tag, for callers that have no store to look at the tag.
    pub(crate) type_id: u64,
    /// A [`VmException`] and its values, as machine code reads them.
    words: SmallVec<[UnsafeCell<ValRaw>; 3]>,
}

// SAFETY: the words are read and written only by a thread that has the exception's store to itself,
// or by machine code of that store.
unsafe impl Send for Exception {}
// SAFETY: as above.
unsafe impl Sync for Exception {}

impl Exception {
    /// An exception whose values are zero, without a reference.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is no memory for the values.
    pub(crate) fn make(store: u64, tag: NonNull<VmTag>) -> Result<ExnRef, Error> {
        // SAFETY: the tag belongs to the store.
        let VmTag { type_id, values } = unsafe { *tag.as_ref() };
        let mut words = SmallVec::new();
        let count = 1 + values as usize;
        if words.try_reserve_exact(count).is_err() {
            return Err(Error::no_memory("make an exception"));
        }
        words.resize_with(count, || UnsafeCell::new(ValRaw { v128: 0 }));
        let this = Self {
            store,
            type_id,
            words,
        };
        let head = VmException {
            tag: tag.as_ptr(),
            reference: 0,
        };
        let value = ExternRef::new(this);
        if let Some(this) = Self::of(&value) {
            // SAFETY: nobody else knows the words yet, and there is room with the right alignment.
            unsafe { this.vm().write(head) };
        }
        Ok(ExnRef(value))
    }

    /// About how many bytes of the host's memory an exception with this tag takes.
    pub(crate) fn bytes_of(tag: &VmTag) -> usize {
        OVERHEAD + tag.values as usize * size_of::<ValRaw>()
    }

    /// About how many bytes of the host's memory the exception takes.
    pub(crate) fn bytes(&self) -> usize {
        OVERHEAD + (self.words.len() - 1) * size_of::<ValRaw>()
    }

    /// The exception that a store keeps as this value, if the value is an exception.
    pub(crate) fn of(value: &ExternRef) -> Option<&Self> {
        value.data().downcast_ref()
    }

    /// The address that machine code uses, which is valid for as long as the exception exists.
    pub(crate) fn vm(&self) -> *mut VmException {
        self.words.as_ptr().cast_mut().cast()
    }

    /// Calls `visit` with every word that may be the number of a reference that the exception
    /// holds.
    pub(crate) fn visit_words(&self, visit: &mut impl FnMut(u64)) {
        for value in &self.words[1..] {
            // SAFETY: the store looks through its exceptions while none of its code runs. Any bytes
            // are an integer, and all of them are defined: zero at first.
            let bits = unsafe { (*value.get()).v128 };
            visit(bits as u64);
            visit((bits >> 64) as u64);
        }
    }
}

/// A reference of the host to an exception. The exception exists for as long as this, but its
/// values can be read only with the store.
///
/// A host function throws an exception by returning it as its error: `Error::from` converts it.
///
/// ```
/// use precast_loader::{Engine, Error, ExnRef, Func, FuncType, Store, Tag, Val, ValType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let ty = FuncType::new(store.engine(), [ValType::I32], []);
/// let tag = Tag::new(&mut store, ty)?;
/// let exception = ExnRef::new(&mut store, tag, &[Val::I32(7)])?;
/// // A host function that throws it.
/// let thrown = exception.clone();
/// let throw = Func::wrap(&mut store, move || -> Result<(), Error> { Err(thrown.clone().into()) });
/// let error = throw.call(&mut store, &[], &mut []).unwrap_err();
/// let caught = error.exception().expect("nothing caught it");
/// assert!(caught.ptr_eq(&exception) && caught.tag(&store) == tag);
/// assert_eq!(caught.values(&store)[0].i32(), Some(7));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ExnRef(pub(crate) ExternRef);

impl ExnRef {
    /// Whether both are the same exception.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    pub(crate) fn exception(&self) -> &Exception {
        match Exception::of(&self.0) {
            Some(exception) => exception,
            None => unreachable!("made of an exception"),
        }
    }
}

impl fmt::Debug for ExnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.exception().vm();
        write!(f, "ExnRef({address:p}, {self})")
    }
}

impl fmt::Display for ExnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ty = FuncType::from_id(self.exception().type_id);
        write!(f, "tag ({})", names(ty.params()))
    }
}

impl From<ExnRef> for Error {
    /// The exception as the error of a host function, which throws it into the wasm code that
    /// called the function.
    fn from(exception: ExnRef) -> Self {
        Self::Exception {
            exception,
            trace: WasmBacktrace::default(),
        }
    }
}
