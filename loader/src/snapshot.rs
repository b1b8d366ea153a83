//! Snapshots: what one instance has become, for others to start with.

use std::sync::Arc;

use crate::module::Module;
use crate::vm::state::State;

/// The state of an instance at some moment: content and size of its memories, its globals and tables,
/// which of its segments were dropped. [`InstancePre::from_snapshot`](crate::InstancePre::from_snapshot)
/// makes instances start with it, in any store and on any thread of this process.
///
/// For guests that take long to initialise themselves: do that once, take a snapshot, and every
/// further instance is where that one was. Memories are shared copy-on-write, and such instances are
/// [pooled](crate::InstancePre) as others are.
///
/// Whatever the guest has made of chance or time is in the snapshot too: **every instance starts with the
/// same state of a random number generator**, the same hash seeds, the same clock readings. To seed
/// again is the guest's affair, or that of a function which the host calls in each instance first. What
/// the host keeps for the instance (open files, data of the store) is not in the snapshot.
///
/// Cheap to clone.
///
/// ```no_run
/// # use precast_loader::{Engine, Error, InstancePre, Store};
/// # fn example(engine: &Engine, pre: &InstancePre<()>) -> Result<(), Error> {
/// let mut store = Store::new(engine, ());
/// let first = pre.instantiate(&mut store)?;
/// let init = first.get_typed_func::<(), ()>(&mut store, "_initialize")?;
/// init.call(&mut store, ())?;
/// let snapshot = first.snapshot(&mut store)?;
/// let ready = InstancePre::from_snapshot(pre, &snapshot)?;
/// let mut store = Store::new(engine, ());
/// let second = ready.instantiate(&mut store)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) module: Module,
    pub(crate) state: Arc<State>,
}

impl Snapshot {
    /// The module of the instance.
    pub fn module(&self) -> &Module {
        &self.module
    }
}
