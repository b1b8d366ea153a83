//! Tags of exceptions.
//!
//! A tag has the types of the values of an exception. Code that catches exceptions distinguishes
//! them by their tags: two tags are the same only if they are the same item, whatever their types
//! are.

use std::ptr::NonNull;

use precast_artifact::vm::VmTag;

use crate::error::Error;
use crate::store::{AsContext, AsContextMut};
use crate::stored::Stored;
use crate::types::FuncType;
use crate::vm::store::StoreCore;

/// A tag of an instance or of the host. Handles are equal if they are of the same tag.
///
/// ```
/// use precast_loader::{Engine, Error, FuncType, Store, Tag, ValType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let ty = FuncType::new(store.engine(), [ValType::I32], []);
/// let tag = Tag::new(&mut store, ty.clone())?;
/// assert_eq!(tag.ty(&store), ty);
/// assert_ne!(tag, Tag::new(&mut store, ty)?);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(Stored<VmTag>);

impl Tag {
    /// A tag that the host makes. Its exceptions have values of the parameter types of `ty`.
    ///
    /// # Errors
    /// [`Error::InvalidType`] for a type with results.
    pub fn new(mut store: impl AsContextMut, ty: FuncType) -> Result<Self, Error> {
        if !ty.results().is_empty() {
            return Err(Error::InvalidType {
                what: "a tag",
                found: ty.to_string(),
                expected: "no results".into(),
            });
        }
        let mut tag = Box::new(VmTag {
            type_id: ty.id(),
            values: ty.params().len() as u64,
        });
        let mut store = store.as_context_mut();
        let core = store.core();
        let this = Self::from_raw(core, NonNull::from(&mut *tag));
        core.made_mut().tags.push(tag);
        Ok(this)
    }

    pub(crate) fn from_raw(core: &StoreCore, tag: NonNull<VmTag>) -> Self {
        Self(Stored::new(core, tag))
    }

    pub(crate) fn belongs_to(&self, core: &StoreCore) -> bool {
        self.0.belongs_to(core)
    }

    /// # Panics
    /// If the tag belongs to another store.
    pub(crate) fn place(&self, core: &StoreCore) -> NonNull<VmTag> {
        self.0.get(core)
    }

    /// # Panics
    /// If the tag belongs to another store.
    pub(crate) fn get<'a>(&self, core: &'a StoreCore) -> &'a VmTag {
        self.0.borrow(core)
    }

    /// The type, whose parameters are the types of the values.
    ///
    /// # Panics
    /// If the tag belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        FuncType::from_id(self.get(&store.as_context().0.core).type_id)
    }
}
