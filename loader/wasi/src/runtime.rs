//! WASI for the guests of a [`Runtime`].

use precast_loader::runtime::{HostModule, Runtime, State};
use precast_loader::{Error, Linker};

use crate::ctx::WasiCtx;
use crate::linker::{MODULE, UNSTABLE_MODULE, add_to_linker, add_unstable_to_linker};

/// Makes the host modules of WASI in a runtime, so that its guests find them: preview 1 and the
/// snapshot before it. `get` returns the guest's [`WasiCtx`] from the data of the store.
///
/// ```
/// use precast_loader::runtime::Runtime;
/// use precast_loader::{Engine, Error};
/// use precast_wasi::{WasiCtx, WasiCtxBuilder};
///
/// let runtime: Runtime<WasiCtx> =
///     Runtime::with_data(&Engine::default(), || WasiCtxBuilder::new().build());
/// precast_wasi::instantiate(&runtime, |wasi| wasi)?;
/// assert!(runtime.instance("wasi_snapshot_preview1").is_some());
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::AlreadyInstantiated`] if the runtime has them already, and [`Error::Closed`].
pub fn instantiate<T: Send + 'static>(
    runtime: &Runtime<T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    let mut linker: Linker<State<T>> = Linker::new(runtime.engine());
    add_to_linker(&mut linker, move |state| get(state))?;
    add_unstable_to_linker(&mut linker, move |state| get(state))?;
    for module in [MODULE, UNSTABLE_MODULE] {
        HostModule::builder(module)
            .funcs_of(&linker, module)
            .instantiate(runtime)?;
    }
    Ok(())
}
