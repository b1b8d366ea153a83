//! The host of the guests that answer requests. `wasm` is precast-loader, or Wasmtime in
//! `tests/peers/edge`: the same code is compiled for both.

use std::time::Duration;

use edge_server::{Failure, Guests, MAX_OUTPUT, PAGES};

use super::wasm::{
    Caller, Engine, Error, Extern, InstancePre, Linker, Module, Store, StoreLimits,
    StoreLimitsBuilder, Trap,
};

/// The data of a store.
pub struct Guest {
    output: Vec<u8>,
    limits: StoreLimits,
}

impl Guest {
    fn print(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.output.len() + bytes.len() > MAX_OUTPUT {
            return Err(Error::msg("the answer is too long"));
        }
        self.output.extend(bytes);
        Ok(())
    }
}

/// A linked module of guests.
#[derive(Clone)]
pub struct OfRuntime(InstancePre<Guest>);

impl OfRuntime {
    /// Links a module with what guests may import.
    ///
    /// # Errors
    /// The module imports something else.
    pub fn new(engine: &Engine, module: &Module) -> Result<Self, Error> {
        let mut linker = Linker::new(engine);
        let print = |mut caller: Caller<'_, Guest>, at: u32, len: u32| -> Result<(), Error> {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.ok_or_else(|| Error::msg("the guest exports no memory"))?;
            let (bytes, guest) = memory.data_and_store_mut(&mut caller);
            let text = bytes
                .get(at as usize..)
                .and_then(|bytes| bytes.get(..len as usize));
            guest.print(text.ok_or_else(|| Error::msg("the text is outside of the memory"))?)
        };
        linker.func_wrap("edge", "print", print)?;
        linker.func_wrap(
            "edge",
            "number",
            |mut caller: Caller<'_, Guest>, number: i64| {
                caller.data_mut().print(number.to_string().as_bytes())
            },
        )?;
        linker.func_wrap_async(
            "edge",
            "sleep",
            |_: Caller<'_, Guest>, (milliseconds,): (u32,)| {
                Box::new(tokio::time::sleep(Duration::from_millis(
                    milliseconds.into(),
                )))
            },
        )?;
        Ok(Self(linker.instantiate_pre(module)?))
    }

    async fn run(&self, kind: i32, n: i32) -> Result<Vec<u8>, Error> {
        let limits = StoreLimitsBuilder::new().memory_size(PAGES << 16).build();
        let output = Vec::new();
        let mut store = Store::new(self.0.module().engine(), Guest { output, limits });
        store.limiter(|guest| &mut guest.limits);
        store.epoch_deadline_async_yield_and_update(1);
        super::set_deadline(&mut store)?;
        let instance = self.0.instantiate_async(&mut store).await?;
        let handle = instance.get_typed_func::<(i32, i32), ()>(&mut store, "handle")?;
        handle.call_async(&mut store, (kind, n)).await?;
        Ok(store.into_data().output)
    }
}

impl Guests for OfRuntime {
    async fn handle(&self, kind: i32, n: i32) -> Result<Vec<u8>, Failure> {
        self.run(kind, n)
            .await
            .map_err(|error| match error.downcast_ref::<Trap>() {
                Some(_) => Failure::Trap,
                None => Failure::Other(error.to_string()),
            })
    }
}
