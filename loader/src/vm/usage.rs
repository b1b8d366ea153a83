//! Counts what the items of a store take, and what an item would add to that.

use precast_artifact::Artifact;
use precast_artifact::records::{FROZEN, IMPORTED};

use super::state::State;
use crate::types::{MemoryType, TableType};

/// What the items of a store take. The number of instances is the length of their list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(super) memories: usize,
    pub(super) tables: usize,
    pub(super) memory_bytes: u64,
    pub(super) table_elements: u64,
}

impl Usage {
    /// Adds an instance, or an item that the host made.
    pub(crate) fn add(&mut self, demand: &Demand) {
        self.memories += demand.memories;
        self.tables += demand.tables;
        self.memory_bytes += demand.memory_bytes;
        self.table_elements += demand.table_elements;
    }

    /// Replaces the sizes that an instance had by those that it has now: the bytes of its memories
    /// and the elements of its tables.
    pub(crate) fn resize(&mut self, before: (u64, u64), after: (u64, u64)) {
        let change = |sum: u64, before, after| sum.saturating_sub(before).saturating_add(after);
        self.memory_bytes = change(self.memory_bytes, before.0, after.0);
        self.table_elements = change(self.table_elements, before.1, after.1);
    }

    /// Subtracts the bytes of a memory whose pages were released.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.memory_bytes -= bytes;
    }

    /// Subtracts the elements that a table has given up.
    pub(crate) fn release_elements(&mut self, elements: u64) {
        self.table_elements = self.table_elements.saturating_sub(elements);
    }
}

/// What an instance of a module or an item of the host takes when it is made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demand {
    pub(super) instances: usize,
    pub(super) memories: usize,
    pub(super) tables: usize,
    pub(super) memory_bytes: u64,
    pub(super) table_elements: u64,
    pub(super) largest_memory: u64,
    pub(super) largest_table: u64,
}

impl Demand {
    /// The demand of an instance, which may start with the state of a snapshot.
    pub(crate) fn of(artifact: &Artifact<'_>, state: Option<&State>) -> Self {
        let mut this = Self {
            instances: 1,
            ..Self::default()
        };
        for memory in artifact.memories() {
            if memory.flags & IMPORTED == 0 {
                let pages = state.map_or(memory.min, |state| state.pages(this.memories));
                this.add_memory(pages.saturating_mul(1 << memory.page_shift));
            }
        }
        for table in artifact.tables() {
            if table.flags & IMPORTED == 0 {
                let min = elements(table.min, table.flags);
                let elements = state.map_or(min, |state| state.elements(this.tables));
                this.add_table(elements);
            }
        }
        this
    }

    pub(super) fn of_memory(ty: MemoryType) -> Self {
        let mut this = Self::default();
        this.add_memory(ty.bytes(ty.min));
        this
    }

    pub(super) fn of_table(ty: TableType) -> Self {
        let mut this = Self::default();
        this.add_table(ty.min);
        this
    }

    fn add_memory(&mut self, bytes: u64) {
        self.memories += 1;
        self.memory_bytes = self.memory_bytes.saturating_add(bytes);
        self.largest_memory = self.largest_memory.max(bytes);
    }

    fn add_table(&mut self, elements: u64) {
        self.tables += 1;
        self.table_elements = self.table_elements.saturating_add(elements);
        self.largest_table = self.largest_table.max(elements);
    }
}

/// Initial elements of a table. An instance has none of a frozen table, whose elements machine code
/// reads in the artifact.
fn elements(min: u64, flags: u32) -> u64 {
    if flags & FROZEN == 0 { min } else { 0 }
}
