//! Interpreters on Wasmtime.

use wasmtime as wasm;

#[path = "host.rs"]
mod host;

use super::Runtime;
use crate::Result;
use crate::peers::{Peer, Wasmtime};
use crate::subjects::Subject;

impl Runtime for Wasmtime {
    type Linked = host::OfRuntime;

    fn open_interpreter(&self, subject: &Subject) -> Result<host::OfRuntime> {
        let module = self.open(&subject.artifact(Self::EXTENSION)?)?;
        host::OfRuntime::new(module.engine(), &module)
    }
}
