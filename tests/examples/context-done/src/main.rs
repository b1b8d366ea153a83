//! Three ways to end a guest that would run for ever: a deadline passes, somebody cancels, somebody
//! closes the instance with an exit code. Each error says which it was, as a text and as a variant.

use std::error::Error;
use std::thread;
use std::time::Duration;

use precast_loader::runtime::{Context, Instance, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, Error as LoaderError, Module};

static GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.precast"));

fn main() -> Result<(), Box<dyn Error>> {
    // A module whose loops cannot be stopped would be an error, not a surprise.
    let engine = Engine::new(Config::new().epoch_interruption(true));
    let runtime: Runtime = Runtime::new(&engine);
    // SAFETY: the build script wrote it, with the compiler of this very version.
    let module = unsafe { Module::from_bytes(&engine, GUEST)? };
    let instantiate = || runtime.instantiate(&module, InstanceConfig::new());

    let instance = instantiate()?;
    let context = Context::with_timeout(Duration::from_millis(100));
    let error = run(&instance, &context)?;
    println!("{error}");
    assert!(matches!(error, LoaderError::DeadlineExceeded));
    // The instance is closed, whatever the context of later calls.
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

/// Calls the function that never returns, and gives what ended it.
fn run(instance: &Instance, context: &Context) -> Result<LoaderError, Box<dyn Error>> {
    match instance
        .with_context(context)
        .call_typed::<(), ()>("infinite_loop", ())
    {
        Ok(()) => Err("the loop has ended".into()),
        Err(error) => Ok(error),
    }
}
