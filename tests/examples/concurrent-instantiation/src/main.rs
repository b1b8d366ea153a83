//! Fifty anonymous instances of one module, on several threads.

use std::error::Error;
use std::thread;

use precast_loader::{Engine, Linker, Module, Store, include_artifact};

const INSTANCES: i32 = 50;
const THREADS: i32 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let module = Module::embedded(&engine, include_artifact!("guest"))?;
    let linked = Linker::new(&engine).instantiate_pre(&module)?;

    let sums = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (engine, linked) = (&engine, &linked);
                scope.spawn(move || -> Result<i32, precast_loader::Error> {
                    let mut sum = 0;
                    for i in (thread..INSTANCES).step_by(THREADS as usize) {
                        let mut store = Store::new(engine, ());
                        let instance = linked.instantiate(&mut store)?;
                        let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
                        sum += add.call(&mut store, (i, 1))?;
                    }
                    Ok(sum)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect::<Result<Vec<_>, _>>()
    })?;
    println!("{INSTANCES} instances, sum {}", sums.iter().sum::<i32>());
    Ok(())
}
