//! Compares the result of a guest's call with that of the model's.

use std::fmt::Debug;

use super::model::{Errno, LEADS_OUT};
use crate::Case;

pub const BADF: Errno = 8;
pub const EXIST: Errno = 20;
pub const INVAL: Errno = 28;
pub const ISDIR: Errno = 31;
pub const NOENT: Errno = 44;
pub const NOTDIR: Errno = 54;
pub const ROFS: Errno = 69;
pub const NOTCAPABLE: Errno = 76;

/// Errors that a path itself can cause.
const OF_PATHS: [Errno; 11] = [2, 10, 20, 28, 31, 32, 44, 54, 55, 63, 75];

/// Whether a call can have several faults at once. The guest's call and the model's may then report
/// different ones, because they look for them in a different order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    One,
    Several,
}

impl Faults {
    /// The faults of a call with one path. A path that ends in a slash or a dot must also name a
    /// directory, which can be a second fault.
    pub fn of(path: &str) -> Self {
        match path.is_empty() || path.ends_with(['/', '.']) {
            true => Self::Several,
            false => Self::One,
        }
    }

    /// Whether the guest may get the error `found` where the model expects `expected`. If a call is
    /// refused whatever its path is, the guest may get an error of the path instead.
    fn allow(self, found: Errno, expected: Errno) -> bool {
        let either = OF_PATHS.contains(&found) && OF_PATHS.contains(&expected);
        found == expected
            || [LEADS_OUT, ROFS, NOTCAPABLE].contains(&expected)
            || (self == Self::Several && either)
    }
}

/// Checks that both calls succeeded or failed alike. Returns the model's answer if they succeeded.
pub fn agree<R>(
    case: &Case,
    what: &str,
    faults: Faults,
    found: Errno,
    expected: Result<R, Errno>,
) -> Result<Option<R>, String> {
    let number = expected.as_ref().err().copied().unwrap_or(0);
    case.show(|| format!("{what}: {found}, expected {number}"));
    match (found, expected) {
        (0, Ok(answer)) => Ok(Some(answer)),
        (0, Err(LEADS_OUT)) => Err(format!("{what}: succeeded, but the path leads out")),
        (0, Err(errno)) => Err(format!("{what}: succeeded, expected error {errno}")),
        (errno, Ok(_)) => Err(format!("{what}: error {errno}, expected success")),
        (errno, Err(number)) => match faults.allow(errno, number) {
            true => Ok(None),
            false => Err(format!("{what}: error {errno}, expected error {number}")),
        },
    }
}

/// Checks that two values are equal.
pub fn same<V: PartialEq + Debug>(what: &str, found: V, expected: V) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: expected {expected:?}, found {found:?}")),
    }
}
