//! The host functions and globals that the harness gives to modules, the same in both engines.

use precast_loader::ValType;

use super::value::Value;

/// After how many calls a call of a host function fails.
const FAILS_AT: u32 = 40;

/// The calls of all host functions.
#[derive(Debug, Default)]
pub struct HostLog(Vec<Vec<Value>>);

impl HostLog {
    /// Logs a call with these arguments. Returns values of the types `results`, or `None` if this
    /// call must fail.
    pub fn call(&mut self, args: Vec<Value>, results: &[ValType]) -> Option<Vec<Value>> {
        self.0.push(args);
        let n = self.0.len() as u32;
        let values = results.iter().map(|ty| Value::of_host(*ty, n));
        (!n.is_multiple_of(FAILS_AT)).then(|| values.collect())
    }

    /// The arguments of all calls.
    pub fn calls(&self) -> &[Vec<Value>] {
        &self.0
    }
}

/// The initial value of a global that the harness makes.
pub fn global(ty: ValType) -> Value {
    Value::of_host(ty, 2)
}
