//! The function listener of a store, and the active functions that the listener knows.
//!
//! Machine code that is compiled for listeners calls a builtin at the entry of a function and where
//! it returns. The functions between are kept in a list, because one that ends early calls nothing:
//! the list tells which ones are over when an exception has found its handler, or an activation has
//! ended. An entry has the frame pointer of its function, and that of the entry of its activation.

use std::ptr::NonNull;

use precast_artifact::vm::{ValRaw, VmStoreContext};

use super::module::MappedModule;
use crate::error::Error;

/// A function that has begun.
pub(crate) struct Active {
    /// Its module, which an instance of the store holds.
    pub(crate) module: NonNull<MappedModule>,
    /// Its index in the module.
    pub(crate) function: u32,
    fp: usize,
    entry_fp: usize,
}

// SAFETY: a module can be used by all threads, and the store that holds it moves with the list.
unsafe impl Send for Active {}

/// Is told when functions begin and end. The function in question is the last of the active ones.
pub(crate) trait Listen: Send {
    /// # Safety
    /// The values are the function's parameters, and the store holds the modules of `active`.
    unsafe fn before(&mut self, active: &[Active], params: &RawValues<'_>);

    /// # Safety
    /// The values are the function's results, and the store holds the modules of `active`.
    unsafe fn after(&mut self, active: &[Active], results: Option<&RawValues<'_>>);

    /// # Safety
    /// The store holds the modules of `active`.
    unsafe fn abort(&mut self, active: &[Active], error: Option<&Error>);
}

/// Parameters or results of a function, as machine code has them.
pub(crate) struct RawValues<'a> {
    /// The store, which lives as long as this.
    pub(crate) store: *const VmStoreContext,
    pub(crate) module: &'a MappedModule,
    pub(crate) function: u32,
    pub(crate) values: *const ValRaw,
}

/// A listener and what it was told of.
pub(crate) struct Listeners {
    listener: Box<dyn Listen>,
    active: Vec<Active>,
    /// The frame pointer of the entry of the activation that has ended early last.
    ended_entry: usize,
}

impl Listeners {
    pub(crate) fn new(listener: Box<dyn Listen>) -> Self {
        Self {
            listener,
            active: Vec::new(),
            ended_entry: 0,
        }
    }

    /// Notes that an activation ends early. A signal handler calls this.
    pub(crate) fn note_end(&mut self, entry_fp: usize) {
        self.ended_entry = entry_fp;
    }

    /// Notes a function that begins, and tells the listener.
    ///
    /// # Safety
    /// The function is one of an instance of the store, and `params` are its parameters.
    pub(super) unsafe fn begin(&mut self, fp: usize, entry_fp: usize, params: &RawValues<'_>) {
        self.active.push(Active {
            module: NonNull::from(params.module),
            function: params.function,
            fp,
            entry_fp,
        });
        // SAFETY: by this function's contract.
        unsafe { self.listener.before(&self.active, params) };
    }

    /// Tells the listener of the end of a function, which is not active any more then. For a
    /// function that ends by a tail call, `results` need not be valid.
    ///
    /// # Safety
    /// As for [`Listeners::begin`], with its results.
    pub(super) unsafe fn end(&mut self, fp: usize, results: &RawValues<'_>) {
        let active = &mut self.active;
        let is_last = |last: &Active| last.fp == fp && last.function == results.function;
        // A listener that was set after the function had begun does not know the function.
        if !active.last().is_some_and(is_last) {
            return;
        }
        let keep = active.len() - 1;
        let ended = Ended { active, keep };
        let results = (!results.values.is_null()).then_some(results);
        // SAFETY: by this function's contract.
        unsafe { self.listener.after(ended.active, results) };
    }

    /// Ends the functions of the activation that has ended early last.
    pub(super) fn abort_ended(&mut self, error: Option<&Error>) {
        let entry_fp = self.ended_entry;
        self.abort(error, |active| active.entry_fp == entry_fp);
    }

    /// Ends the functions of an activation inside of the frame in which an exception is handled.
    pub(super) fn unwound_to(&mut self, entry_fp: usize, fp: usize) {
        let is_over = |active: &Active| active.entry_fp == entry_fp && active.fp < fp;
        self.abort(None, is_over);
    }

    /// Ends the innermost functions for which `is_over` holds.
    fn abort(&mut self, error: Option<&Error>, is_over: impl Fn(&Active) -> bool) {
        let over = self
            .active
            .iter()
            .rev()
            .take_while(|active| is_over(active));
        let keep = self.active.len() - over.count();
        // All of them are gone, even if the listener panics.
        let ended = Ended {
            active: &mut self.active,
            keep,
        };
        for len in (keep + 1..=ended.active.len()).rev() {
            // SAFETY: the store holds the modules of all.
            unsafe { self.listener.abort(&ended.active[..len], error) };
        }
    }
}

/// Removes the innermost functions when it is dropped, except so many.
struct Ended<'a> {
    active: &'a mut Vec<Active>,
    keep: usize,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.active.truncate(self.keep);
    }
}
