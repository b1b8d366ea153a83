//! Calls guests through the Rust types that the build script made: a guest whose types change makes
//! this host an error of the compiler.

use std::error::Error;

use precast_loader::{Caller, Engine, Linker, Store};

mod shop {
    precast_loader::include_bindings!("shop");
}
mod exchange {
    precast_loader::include_bindings!("exchange");
}

/// What this host keeps in its store.
struct Till {
    notes: Vec<String>,
}

impl shop::Imports for Till {
    fn note(
        mut caller: Caller<'_, Self>,
        pieces: i32,
        cents: i64,
    ) -> Result<(), precast_loader::Error> {
        let note = format!("{pieces} for {cents} cents each");
        caller.data_mut().notes.push(note);
        Ok(())
    }

    fn discount(caller: Caller<'_, Self>) -> Result<f64, precast_loader::Error> {
        Ok(if caller.data().notes.len() > 1 {
            0.5
        } else {
            1.0
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    shop::add_to_linker(&mut linker)?;
    let mut store = Store::new(&engine, Till { notes: Vec::new() });
    let shop = shop::Exports::instantiate(&mut store, &linker, &shop::module(&engine)?)?;
    for (pieces, cents) in [(3, 250), (2, 100)] {
        let (price, sold) = shop.sell(&mut store, pieces, cents)?;
        println!("{price} cents, {sold} sold");
    }
    println!("notes: {}", store.data().notes.join("; "));
    println!("level: {:?}", shop.sold().get(&store).i32());

    let module = exchange::module(&engine)?;
    let exchange = exchange::Exports::instantiate(&mut store, &linker, &module)?;
    println!("100 cents are {} yen", exchange.to_yen(&mut store, 100)?);
    Ok(())
}
