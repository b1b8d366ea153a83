//! An instance in a store of its own: what most tests begin with.

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, Instance, Linker, Store, Trap, Val, WasmParams, WasmResults};

use crate::module;

/// An instance of a module in the text format, in a store of its own.
///
/// ```
/// use precast_tests::{Guest, strategies};
///
/// for strategy in strategies() {
///     let wat = r#"(module (func (export "seven") (result i32) (i32.const 7)))"#;
///     let mut guest = Guest::new(wat, strategy);
///     assert_eq!(guest.call::<(), i32>("seven", ()).unwrap(), 7);
/// }
/// ```
#[derive(Debug)]
pub struct Guest<T: 'static = ()> {
    /// The store.
    pub store: Store<T>,
    /// The only instance in the store.
    pub instance: Instance,
}

impl Guest {
    /// Instantiates a module without imports.
    ///
    /// # Panics
    /// If the module does not compile, load or instantiate.
    pub fn new(wat: &str, strategy: Strategy) -> Self {
        Self::linked(wat, strategy, (), |_| {})
    }
}

impl<T: 'static> Guest<T> {
    /// Instantiates a module with what `define` defines in the linker. The store has the data
    /// `data`.
    ///
    /// # Panics
    /// If the module does not compile, load or instantiate.
    pub fn linked(
        wat: &str,
        strategy: Strategy,
        data: T,
        define: impl FnOnce(&mut Linker<T>),
    ) -> Self {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker = Linker::new(&engine);
        define(&mut linker);
        let mut store = Store::new(&engine, data);
        let instance = linker.instantiate(&mut store, &module);
        let instance = instance.expect("a module that can be instantiated");
        Self { store, instance }
    }

    /// Calls an exported function.
    ///
    /// # Errors
    /// Those of the call, such as traps; those of looking the function up.
    pub fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        params: P,
    ) -> Result<R, Error> {
        let func = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, name)?;
        func.call(&mut self.store, params)
    }

    /// Calls an exported function with values whose types are only known at run time.
    ///
    /// # Errors
    /// Those of the call, such as traps.
    ///
    /// # Panics
    /// If there is no such function.
    pub fn call_untyped(&mut self, name: &str, params: &[Val]) -> Result<Vec<Val>, Error> {
        let func = self.instance.get_func(&mut self.store, name);
        let func = func.unwrap_or_else(|| panic!("an exported function `{name}`"));
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, params, &mut results)?;
        Ok(results)
    }
}

/// Calls an exported function of an instance.
///
/// # Errors
/// Those of the call, such as traps.
///
/// # Panics
/// If there is no such function.
pub fn call<P: WasmParams, R: WasmResults>(
    store: &mut Store<impl Sized + 'static>,
    instance: Instance,
    name: &str,
    params: P,
) -> Result<R, Error> {
    let func = instance.get_typed_func::<P, R>(&mut *store, name);
    func.unwrap_or_else(|error| panic!("{error}"))
        .call(store, params)
}

/// The trap that a call ended with.
///
/// # Panics
/// If the call ended in another way.
#[track_caller]
pub fn trap<R: std::fmt::Debug>(result: Result<R, Error>) -> Trap {
    let error = result.expect_err("expected a trap");
    error
        .trap()
        .unwrap_or_else(|| panic!("expected a trap: {error}"))
}
