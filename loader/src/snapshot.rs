//! Snapshots: the state of one instance, for others to start with.

use std::sync::Arc;

use crate::module::Module;
use crate::vm::state::State;

/// The state of an instance at some moment: the content and size of its memories, its globals and
/// tables, and which of its segments were dropped.
/// [`InstancePre::from_snapshot`](crate::InstancePre::from_snapshot) makes instances start with it,
/// in any store and on any thread of this process.
///
/// This is for guests whose initialisation takes long: initialise one instance, take a snapshot,
/// and start every other instance with it. Memories are shared copy-on-write, and the instances are
/// [pooled](crate::InstancePre) like others.
///
/// Everything that the guest has derived from random numbers or clocks is in the snapshot too:
/// **every instance starts with the same state of a random number generator**, the same hash seeds,
/// the same clock readings. The guest must seed its generators again, for example in a function
/// that the host calls first in each instance. What the host keeps for the instance, such as open
/// files and the data of the store, is not in the snapshot.
///
/// Clones are cheap.
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
