//! What an engine must offer for precast to be compared with it.

use precast_loader::ValType;

use super::scenario::{Features, Machine};

/// The engine that precast is compared with.
pub trait Oracle {
    /// What the engine has. precast is compared with itself in scenarios that need more.
    const FEATURES: Features;
    /// A module that the engine has compiled or parsed.
    type Module;
    /// The engine in the middle of a scenario with these modules.
    type Machine<'m>: Machine
    where
        Self: 'm;

    /// The modules of a scenario.
    ///
    /// # Errors
    /// If the engine refuses a module. The generators make valid modules only.
    fn modules(&self, modules: &[Vec<u8>]) -> Result<Vec<Self::Module>, String>;

    /// The names and parameters of the functions that a module exports.
    fn exported_functions(&self, module: &Self::Module) -> Vec<(String, Vec<ValType>)>;

    /// The engine when it has not instantiated any module yet.
    fn machine<'m>(&'m self, modules: &'m [Self::Module]) -> Self::Machine<'m>;
}
