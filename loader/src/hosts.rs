#![doc = include_str!("../HOSTS.md")]

use std::fmt;

use crate::vm::signal;

pub use crate::vm::signal::SignalFault;

/// The signals by which guarded code could not trap on a thread, see [`check_signals`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalFaults(Vec<(i32, SignalFault)>);

impl SignalFaults {
    /// Numbers of the signals, and what is wrong with each.
    pub fn iter(&self) -> impl Iterator<Item = (i32, SignalFault)> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for SignalFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("traps of modules with guarded memories do not work on this thread:")?;
        for (i, (signal, fault)) in self.iter().enumerate() {
            let name = match signal {
                libc::SIGSEGV => "SIGSEGV",
                libc::SIGBUS => "SIGBUS",
                libc::SIGILL => "SIGILL",
                _ => "SIGFPE",
            };
            let what = match fault {
                SignalFault::Replaced => {
                    "has another handler, which must pass on what it does not know to the one before"
                }
                SignalFault::Blocked => "is blocked",
            };
            write!(f, "{} {name} {what}", if i == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SignalFaults {}

/// Whether traps of modules with guarded memories work on this thread. Installs the loader's signal
/// handlers if that has not been done. For hosts to call when everything is installed.
///
/// # Errors
/// What is wrong, if anything. A handler that was installed later counts, since nobody can tell whether it
/// passes on what it does not know.
pub fn check_signals() -> Result<(), SignalFaults> {
    let faults = signal::faults();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(SignalFaults(faults))
    }
}
