#![doc = include_str!("../HOSTS.md")]

use std::fmt;

use crate::vm::signal;

pub use crate::vm::signal::SignalFault;

/// The signals that would not become traps on a thread, see [`check_signals`].
///
/// ```
/// use precast_loader::hosts::SignalFaults;
///
/// fn report(faults: &SignalFaults) {
///     for (signal, fault) in faults.iter() {
///         eprintln!("signal {signal}: {fault:?}");
///     }
/// }
/// ```
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
                    "has another handler, which must pass on the faults that it does not handle"
                }
                SignalFault::Blocked => "is blocked",
            };
            write!(f, "{} {name} {what}", if i == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SignalFaults {}

/// Checks that traps of modules with guarded memories work on this thread. Installs the loader's
/// signal handlers if they are not installed yet. Hosts call this after they have installed all
/// handlers of their own.
///
/// ```
/// use precast_loader::hosts::check_signals;
///
/// std::thread::spawn(check_signals).join().expect("the thread does not panic")?;
/// # Ok::<(), precast_loader::hosts::SignalFaults>(())
/// ```
///
/// # Errors
/// The signals that would not become traps. A signal whose handler was installed after the loader's
/// counts as such a signal, since the loader cannot tell whether that handler passes faults on.
pub fn check_signals() -> Result<(), SignalFaults> {
    let faults = signal::faults();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(SignalFaults(faults))
    }
}
