//! External references: values of the host that wasm code can hold and pass on, but not look into.

use std::any::Any;
use std::sync::Arc;

/// A value of the host that wasm code can hold and pass on, but not look into.
///
/// A store keeps the references that its wasm code got for as long as the code may hold them: in
/// tables, in globals, and in active functions. When their number has doubled, the store drops
/// those that nothing holds, at the moment when it gets the next one. On a stack that the program
/// made itself, for a coroutine, references of host functions that call wasm code stay until the
/// outermost call is over.
///
/// ```
/// use precast_loader::{Engine, Error, ExternRef, Func, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let len = |text: Option<ExternRef>| -> u32 {
///     let text = text.as_ref().and_then(|text| text.data().downcast_ref::<String>());
///     text.map_or(0, |text| text.len() as u32)
/// };
/// let len = Func::wrap(&mut store, len).typed::<Option<ExternRef>, u32>(&store)?;
/// let text = ExternRef::new(String::from("hello"));
/// assert_eq!(len.call(&mut store, Some(text))?, 5);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ExternRef(Arc<dyn Any + Send + Sync>);

impl ExternRef {
    /// Wraps a value.
    pub fn new(value: impl Any + Send + Sync) -> Self {
        Self(Arc::new(value))
    }

    /// The value.
    pub fn data(&self) -> &(dyn Any + Send + Sync) {
        &*self.0
    }

    /// Whether both are the same reference.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether anything but the store holds it.
    pub(crate) fn is_held_by_host(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// A number that no other reference has while this one exists. The counts of the `Arc` are in
    /// front of the value, so even values without bytes have different addresses.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }
}

impl std::fmt::Debug for ExternRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExternRef({:p})", Arc::as_ptr(&self.0))
    }
}
