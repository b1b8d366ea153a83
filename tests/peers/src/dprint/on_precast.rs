//! Plug-ins on precast.

use precast_loader as wasm;

#[path = "host.rs"]
mod host;

use std::path::Path;

use super::{Formatter, Runtime};
use crate::Result;
use crate::peers::{Peer, Precast};
use crate::subjects::Subject;

impl Runtime for Precast {
    type Linked = host::OfRuntime;

    fn open_plugin(&self, artifact: &Path, others: Formatter) -> Result<host::OfRuntime> {
        let module = self.open(artifact)?;
        host::OfRuntime::new(module.engine(), &module, others)
    }

    fn open_subject(&self, subject: &Subject, others: Formatter) -> Result<host::OfRuntime> {
        self.open_plugin(&subject.other_name(Self::EXTENSION)?, others)
    }

    fn open_anew(&self, subject: &Subject, others: Formatter) -> Result<host::OfRuntime> {
        self.open_plugin(&subject.artifact(Self::EXTENSION)?, others)
    }
}
