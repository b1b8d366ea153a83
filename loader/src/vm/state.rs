//! The state of an instance, which others can start with: what a snapshot consists of.
//!
//! The state is everything of an instance that wasm code can change: the content and size of its
//! memories, its globals, its tables, and which segments were dropped. Memories are in a file that
//! instances map copy-on-write, so a page that nobody writes to exists once, unless it is one of
//! those that are copied (see [`images`](super::images)). How a state is made and restored is in
//! [`snapshot`](super::snapshot).

use super::images::Images;

/// The state of an instance.
#[derive(Debug)]
pub(crate) struct State {
    /// The sizes of the memories that the instance owns, in pages of wasm.
    pub(super) pages: Box<[u64]>,
    /// The content of the memories; `None` if all of it is zero.
    pub(super) images: Option<Images>,
    /// The VM context between its header and the import slots.
    pub(super) globals: Box<[u8]>,
    /// Globals that refer to functions: their offset and the function.
    pub(super) funcref_globals: Box<[(u32, u32)]>,
    pub(super) tables: Box<[TableState]>,
    pub(super) data_dropped: Box<[u8]>,
    pub(super) elem_dropped: Box<[u8]>,
}

/// The state of a table.
#[derive(Debug)]
pub(super) struct TableState {
    pub(super) len: usize,
    /// The elements that are not null: their index and the function.
    pub(super) elements: Box<[(usize, u32)]>,
}

impl State {
    /// The initial pages of wasm of a memory that an instance owns.
    pub(crate) fn pages(&self, memory: usize) -> u64 {
        self.pages.get(memory).copied().unwrap_or_default()
    }

    /// The initial elements of a table that an instance owns.
    pub(crate) fn elements(&self, table: usize) -> u64 {
        self.tables.get(table).map_or(0, |table| table.len as u64)
    }

    pub(super) fn images(&self) -> Option<&Images> {
        self.images.as_ref()
    }

    pub(super) fn globals(&self) -> &[u8] {
        &self.globals
    }
}
