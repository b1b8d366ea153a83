//! Three ways to end a guest that would run for ever: a deadline passes, the context is cancelled,
//! or the instance is closed with an exit code. The error has a different text and variant for
//! each.

use std::error::Error;
use std::thread;
use std::time::Duration;

use precast_loader::runtime::{Context, Instance, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, Error as LoaderError, Module, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    // This engine refuses modules whose loops cannot be stopped.
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let runtime: Runtime = Runtime::new(&engine);
    let module = Module::embedded(&engine, include_artifact!("guest"))?;
    let instantiate = || runtime.instantiate(&module, InstanceConfig::new());

    let instance = instantiate()?;
    let context = Context::with_timeout(Duration::from_millis(100));
    let error = run(&instance, &context)?;
    println!("{error}");
    assert!(matches!(error, LoaderError::DeadlineExceeded));
    // The instance is closed. Later calls fail, whatever their context is.
    assert_eq!(
        run(&instance, &Context::new())?.to_string(),
        error.to_string()
    );

    let instance = instantiate()?;
    let context = Context::new();
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            context.cancel();
        });
        run(&instance, &context)
    })?;
    println!("{error}");
    assert!(matches!(error, LoaderError::Canceled));

    let instance = instantiate()?;
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            instance.close_with_exit_code(1);
        });
        run(&instance, &Context::new())
    })?;
    println!("{error}");
    assert!(matches!(error, LoaderError::Closed { exit_code: 1, .. }));
    Ok(())
}

/// Calls the function that never returns, and returns the error that ended it.
fn run(instance: &Instance, context: &Context) -> Result<LoaderError, Box<dyn Error>> {
    match instance
        .with_context(context)
        .call_typed::<(), ()>("infinite_loop", ())
    {
        Ok(()) => Err("the loop has ended".into()),
        Err(error) => Ok(error),
    }
}
