//! The cases on Wasmtime.

use wasmtime as wasm;

#[path = "../../../../../edge-server/src/costs.rs"]
pub mod costs;
