//! Who may take parked instances over, and how many a thread may keep.

use std::sync::atomic::{AtomicBool, Ordering};

use super::keep::Learned;

/// What a thread may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Instances.
    pub(crate) instances: usize,
    /// Bytes of the memories and tables of a thread's instances that stay resident.
    pub(crate) resident_per_thread: usize,
    /// Such bytes of all threads of the process together.
    pub(crate) resident_per_process: usize,
}

/// The identity of an [`InstancePre`](crate::InstancePre), which can take its parked instances over
/// until it closes this.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(super) limits: Limits,
    /// What is known of the writes of instances to the memories that they own, by memory.
    learned: Box<[Learned]>,
    closed: AtomicBool,
}

impl Owner {
    /// The owner of instances that have `memories` memories of their own.
    pub(crate) fn new(limits: Limits, memories: usize) -> Self {
        let learned = (0..memories).map(|_| Learned::new(limits.resident_per_thread));
        Self {
            limits,
            learned: learned.collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Ends the reuse of instances.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn learned(&self) -> &[Learned] {
        &self.learned
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}
