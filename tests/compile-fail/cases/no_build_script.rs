//! A host whose crate has no build script.

use precast_loader::{Engine, Module, include_artifact};

mod guest {
    precast_loader::include_bindings!("guest");
}

fn main() {
    Module::embedded(&Engine::default(), include_artifact!("guest")).unwrap();
}
