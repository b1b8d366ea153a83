//! The cases on precast.

use precast_loader as wasm;

#[path = "../../../../../edge-server/src/costs.rs"]
pub mod costs;
