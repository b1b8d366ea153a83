//! What a host decides when a deadline has passed.

/// What happens to code whose deadline has passed, see
/// [`Store::epoch_deadline_callback`](crate::Store::epoch_deadline_callback).
///
/// ```
/// use precast_loader::{Store, UpdateDeadline};
///
/// /// Code may run for ten more epochs as often as it likes, but not for ever.
/// fn ten_times(store: &mut Store<u32>) {
///     store.epoch_deadline_callback(|mut store| {
///         *store.data_mut() += 1;
///         Ok(match *store.data() {
///             1..=10 => UpdateDeadline::Continue(10),
///             _ => UpdateDeadline::Interrupt,
///         })
///     });
/// }
/// ```
#[non_exhaustive]
pub enum UpdateDeadline {
    /// The code ends with [`Trap::Interrupt`](crate::Trap::Interrupt).
    Interrupt,
    /// The code goes on, and has a new deadline, this number of epochs from now.
    Continue(u64),
    /// The code is suspended, so that other tasks of the executor have a turn, and has a new
    /// deadline. The call ends with [`Error::NotAsync`](crate::Error::NotAsync) if it cannot be
    /// suspended.
    #[cfg(feature = "async")]
    Yield(u64),
    /// The code is suspended until the future is ready, and has a new deadline.
    #[cfg(feature = "async")]
    YieldCustom(u64, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl std::fmt::Debug for UpdateDeadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interrupt => f.write_str("Interrupt"),
            Self::Continue(ticks) => write!(f, "Continue({ticks})"),
            #[cfg(feature = "async")]
            Self::Yield(ticks) => write!(f, "Yield({ticks})"),
            #[cfg(feature = "async")]
            Self::YieldCustom(ticks, _) => write!(f, "YieldCustom({ticks}, ..)"),
        }
    }
}
