//! Runs a plug-in from a file that anybody could have written, because its vendor has signed it.
//! There is no `unsafe` here: what runs is what was signed, whatever happens to the file.

use std::error::Error;

use precast_loader::{Engine, Instance, Module, PublicKey, Store, TrustedKeys};

/// The public key of the vendor, which is a part of this program.
const VENDOR: &str = include_str!(concat!(env!("OUT_DIR"), "/vendor.pub"));

/// The plug-in as it was delivered.
const DELIVERED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/plugin.precast"));

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let trusted = TrustedKeys::new([PublicKey::from_pem(VENDOR)?]);
    let path = std::env::temp_dir().join(format!("plugin-{}.precast", std::process::id()));
    std::fs::write(&path, DELIVERED)?;

    let module = Module::open_signed(&engine, &path, &trusted)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let answer = instance.get_typed_func::<(), i32>(&mut store, "answer")?;
    let signers = module.signers().len();
    println!(
        "signed by {signers} trusted key; the answer is {}",
        answer.call(&mut store, ())?
    );

    let mut changed = DELIVERED.to_vec();
    changed[4096] ^= 1;
    std::fs::write(&path, changed)?;
    let refused = Module::open_signed(&engine, &path, &trusted).is_err();
    std::fs::remove_file(&path)?;
    println!(
        "changed by one bit: {}",
        if refused { "refused" } else { "accepted" }
    );
    Ok(())
}
