//! The guest imports from `env`, which does not exist. The import comes from another host module.

use std::error::Error;

use precast_loader::runtime::{Caller, HostModule, InstanceConfig, Runtime};
use precast_loader::{Engine, Error as LoaderError, Module, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    let module = Module::embedded(&engine, include_artifact!("guest"))?;

    // The signature is that of AssemblyScript's runtime: message, file, line and column. This host
    // uses none of them.
    let abort =
        |mut caller: Caller<'_>, _: i32, _: i32, _: i32, _: i32| -> Result<(), LoaderError> {
            Err(caller.exit(255))
        };
    HostModule::builder("assemblyscript")
        .func("abort", abort)
        .instantiate(&runtime)?;

    let config = InstanceConfig::new().with_import("env", "abort", "assemblyscript", "abort");
    let instance = runtime.instantiate(&module, config)?;
    match instance.call_typed::<(i32, i32, i32, i32), ()>("abort", (0, 0, 0, 0)) {
        Ok(()) => Err("the guest goes on".into()),
        Err(error) => {
            println!("{error}");
            Ok(())
        }
    }
}
