//! Each instance of a guest gets its own `env`, an anonymous host module that a resolver returns.

use std::error::Error;

use precast_loader::runtime::{HostModule, InstanceConfig, Runtime, Target};
use precast_loader::{Engine, Module, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    let module = Module::embedded(&engine, include_artifact!("guest"))?;

    for i in 0..3 {
        let env = HostModule::builder("")
            .func("print", move || println!("out{i}: Module instance #{i}"))
            .instantiate(&runtime)?;
        let config = InstanceConfig::new().with_import_resolver(move |_, module, name| {
            (module == "env").then(|| Target::Instance(env.clone(), name.to_owned()))
        });
        // The guest prints in its start function.
        runtime.instantiate(&module, config)?;
    }
    Ok(())
}
