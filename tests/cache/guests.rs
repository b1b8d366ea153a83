//! Small modules that differ in their code, their data and their size.

use precast_compiler::Settings;
use precast_loader::{Engine, Error, Instance, Module, Store};

/// The number of modules.
pub(crate) const COUNT: usize = 50;

/// Module `i`. Its `f(x)` goes through a chain of functions, and the last one reads a word of
/// memory.
pub(crate) fn wasm(i: usize) -> Vec<u8> {
    let chain = 1 + i % 7 * 6;
    let mut text = String::from("(module (memory 2)");
    text += &format!("(data (i32.const 65536) \"{}\")", word(i));
    for n in 0..chain {
        let next = if n + 1 == chain {
            "(i32.add (local.get 0) (i32.load (i32.const 65536)))".to_owned()
        } else {
            format!("(call {} (local.get 0))", n + 1)
        };
        text += &format!(
            "(func (param i32) (result i32)
                (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const {})) (i32.const {n})))
                {next})",
            2 * i + 3
        );
    }
    text += "(export \"f\" (func 0)))";
    wat::parse_str(&text).expect("valid text")
}

fn word(i: usize) -> String {
    (i as u32 ^ 0x5a5a_0000)
        .to_le_bytes()
        .iter()
        .map(|b| format!("\\{b:02x}"))
        .collect()
}

/// The result of `f(x)` of module `i`.
fn expected(i: usize, mut x: i32) -> i32 {
    for n in 0..1 + i % 7 * 6 {
        x = x.wrapping_mul(2 * i as i32 + 3).wrapping_add(n as i32);
    }
    x.wrapping_add((i as u32 ^ 0x5a5a_0000).cast_signed())
}

/// Runs module `i`, and returns what is wrong with it.
pub(crate) fn check(i: usize, module: &Module) -> Result<(), String> {
    let call = |x: i32| -> Result<i32, Error> {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, module, &[])?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        f.call(&mut store, x)
    };
    for x in [0, 7, -1] {
        match call(x) {
            Ok(found) if found == expected(i, x) => {}
            Ok(found) => return Err(format!("f({x}) of {i} is {found}, not {}", expected(i, x))),
            Err(error) => return Err(format!("f({x}) of {i}: {error}")),
        }
    }
    Ok(())
}

/// Gets module `i` and runs it.
#[track_caller]
pub(crate) fn get(cache: &precast_cache::CompilationCache, i: usize) -> Module {
    let module = cache
        .get_or_compile(&Engine::default(), &wasm(i), &Settings::default())
        .unwrap();
    check(i, &module).unwrap();
    module
}

/// The key of module `i`.
pub(crate) fn key(i: usize) -> precast_cache::Key {
    precast_cache::CompilationCache::key(&wasm(i), &Settings::default()).unwrap()
}
