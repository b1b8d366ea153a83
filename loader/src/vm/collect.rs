//! The values that a store keeps for machine code: turning them into numbers and back, and dropping
//! those whose number nothing holds any more. See [`externrefs`](super::externrefs).

use super::activation;
use super::ending::for_all;
use super::externrefs::{ExternRefs, Point};
use super::store::StoreCore;
use crate::error::Error;
use crate::exception::{Exception, ExnRef};
use crate::externref::ExternRef;

impl StoreCore {
    /// Returns the number of an external reference, which the store keeps from now on.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn externref_to_raw(&mut self, value: Option<&ExternRef>) -> Result<u64, Error> {
        match value {
            None => Ok(0),
            Some(value) => self.externrefs.get_or_insert_default().insert(value),
        }
    }

    pub(crate) fn externref_from_raw(&self, raw: u64) -> Option<ExternRef> {
        self.externrefs.as_ref()?.get(raw)
    }

    /// Returns the number of an exception, which the store keeps from now on.
    ///
    /// # Errors
    /// [`Error::WrongStore`] for an exception of another store, [`Error::Limit`].
    pub(crate) fn exnref_to_raw(&mut self, value: Option<&ExnRef>) -> Result<u64, Error> {
        let Some(value) = value else {
            return Ok(0);
        };
        let exception = value.exception();
        if exception.store != self.id.number() {
            return Err(Error::WrongStore {
                what: "the exception",
            });
        }
        let reference = self.externref_to_raw(Some(&value.0))?;
        // SAFETY: the store is borrowed exclusively, so nobody else uses it.
        unsafe { (*exception.vm()).reference = reference };
        Ok(reference)
    }

    pub(crate) fn exnref_from_raw(&self, raw: u64) -> Option<ExnRef> {
        let value = self.externref_from_raw(raw)?;
        Exception::of(&value).is_some().then_some(ExnRef(value))
    }

    /// Drops the references that nothing holds, if a collection is due. Only tables, globals and
    /// frames of machine code hold numbers at this point. The drop of a value may panic.
    #[inline]
    pub(crate) fn collect_externrefs(&mut self, point: Point) {
        if self.externrefs.as_ref().is_some_and(|refs| refs.is_due()) {
            self.collect(point);
        }
    }

    /// Like [`StoreCore::collect_externrefs`], but also if no collection is due: the new exceptions
    /// must be large enough to justify one.
    pub(super) fn collect_externrefs_early(&mut self, point: Point) {
        let pays = |refs: &ExternRefs| refs.pays();
        if self.externrefs.as_deref().is_some_and(pays) {
            self.collect(point);
        }
    }

    /// Allows the next [`StoreCore::collect_externrefs_early`] to collect, whatever that costs.
    pub(crate) fn allow_early_collection(&mut self) {
        if let Some(refs) = &mut self.externrefs {
            refs.allow_early_collection();
        }
    }

    /// Drops the references that nothing holds, for a host that holds no raw value.
    pub(crate) fn collect_externrefs_now(&mut self) {
        self.collect(Point::Host);
    }

    #[cold]
    #[inline(never)]
    fn collect(&mut self, point: Point) {
        let Some(mut refs) = self.externrefs.take() else {
            return;
        };
        let mut words = 0;
        let mut mark = |word: u64| {
            words += 1;
            refs.mark(word);
        };
        // SAFETY: the store's machine code is not running, and `self` is what it would use.
        let all_found = unsafe { activation::visit_words(self, point, &mut mark) };
        if all_found {
            for instance in &self.instances {
                instance.visit_externrefs(&mut mark);
            }
            if let Some(made) = &self.made {
                for table in &made.tables {
                    table.visit_externrefs(&mut mark);
                }
                for global in &made.globals {
                    global.visit_externref(&mut mark);
                }
            }
            refs.mark_what_exceptions_hold();
        }
        // After the last generation, values are kept for ever.
        let gone = if all_found && refs.generation < u32::MAX {
            refs.sweep()
        } else {
            Vec::new()
        };
        refs.wait(words);
        self.externrefs = Some(refs);
        self.settle_exceptions();
        // Dropping the values runs code of the host, which may use the table, so the table was put
        // back first.
        for_all(gone, drop);
    }
}
