//! Guides for hosts that move here from another runtime.

#[doc = include_str!("../MOVING-FROM-WASMTIME.md")]
pub mod from_wasmtime {}

#[doc = include_str!("../MOVING-FROM-WAZERO.md")]
pub mod from_wazero {}

#[doc = include_str!("../WASMTIME.md")]
pub mod wasmtime {}
