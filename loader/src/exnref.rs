//! Exceptions in the hands of hosts: making them and reading them.

use std::ptr::NonNull;

use precast_artifact::vm::ValRaw;

use crate::error::Error;
use crate::exception::{Exception, ExnRef};
use crate::store::{AsContext, AsContextMut};
use crate::tag::Tag;
use crate::types::FuncType;
use crate::val::{Val, check_values};
use crate::vm::externrefs::Point;
use crate::vm::store::StoreCore;

impl ExnRef {
    /// A new exception with these values.
    ///
    /// # Errors
    /// [`Error::Type`] if the values are not of the types of the tag, [`Error::WrongStore`] if they
    /// belong to another store, [`Error::Memory`] if there is no memory for the values.
    ///
    /// # Panics
    /// If the tag belongs to another store.
    pub fn new(mut store: impl AsContextMut, tag: Tag, values: &[Val]) -> Result<Self, Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let vm = NonNull::from(tag.get(core));
        let ty = FuncType::from_id(tag.get(core).type_id);
        check_values("values of an exception", values, ty.params(), core)?;
        core.collect_externrefs(Point::Host);
        let this = Exception::make(core.id.number(), vm)?;
        for (i, value) in values.iter().enumerate() {
            let raw = value.to_raw(core)?;
            // SAFETY: there is room for as many values as the tag says; nobody else knows the
            // exception yet.
            unsafe { this.value(i).write(raw) };
        }
        // The store keeps the references in the exception from now on.
        core.exnref_to_raw(Some(&this))?;
        Ok(this)
    }

    /// The tag.
    ///
    /// # Panics
    /// All methods that take a store panic if the exception belongs to another store.
    pub fn tag(&self, store: impl AsContext) -> Tag {
        let store = store.as_context();
        let core = &store.0.core;
        let exception = self.get(core);
        // SAFETY: the store is borrowed, so nobody is writing.
        let tag = unsafe { (*exception.vm()).tag };
        match NonNull::new(tag.cast_mut()) {
            Some(tag) => Tag::from_raw(core, tag),
            None => unreachable!("made with a tag"),
        }
    }

    /// The values.
    pub fn values(&self, store: impl AsContext) -> Vec<Val> {
        let store = store.as_context();
        let core = &store.0.core;
        let ty = FuncType::from_id(self.get(core).type_id);
        let value = |(i, ty): (usize, &_)| {
            // SAFETY: the exception has as many values of these types, which belong to this store.
            unsafe { Val::from_raw(*ty, self.value(i).read(), core) }
        };
        ty.params().iter().enumerate().map(value).collect()
    }

    fn get(&self, core: &StoreCore) -> &Exception {
        let exception = self.exception();
        assert!(
            exception.store == core.id.number(),
            "an exception was used with a store that does not own it"
        );
        exception
    }

    /// The place of a value.
    fn value(&self, i: usize) -> *mut ValRaw {
        self.exception().vm().cast::<ValRaw>().wrapping_add(1 + i)
    }
}
