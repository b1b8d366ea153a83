//! Requests that evaluate a script of ten lines.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Case, Interpreter, Linked, Runtime};
use crate::Result;
use crate::peers::{Precast, Wasmtime};
use crate::table::{Row, Table};

const PRECAST: usize = 0;
const WASMTIME: usize = 1;

/// A sample is of several requests, as a server has them.
const SAMPLE: Duration = Duration::from_millis(5);

/// An interpreter on one side.
struct Side<'a, L> {
    setting: &'static str,
    case: &'a Case,
    linked: L,
}

impl<'a, L: Linked> Side<'a, L> {
    fn new(
        runtime: &impl Runtime<Linked = L>,
        setting: &'static str,
        case: &'a Case,
    ) -> Result<Self> {
        let linked = runtime.open_interpreter(&case.subject)?;
        let this = Self {
            setting,
            case,
            linked,
        };
        this.check()?;
        Ok(this)
    }

    /// Compares what the script prints, with a new instance and with one that is used again.
    fn check(&self) -> Result<()> {
        let mut interpreter = self.linked.start()?;
        for _ in 0..if self.case.is_reactor { 3 } else { 1 } {
            let found = interpreter.evaluate(self.case.script)?;
            if found != self.case.prints {
                let expected = self.case.prints;
                return Err(format!("found {found:?}, expected {expected:?}").into());
            }
        }
        Ok(())
    }

    fn requests(&self, n: u32) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..n {
            let mut interpreter = self.linked.start()?;
            black_box(interpreter.evaluate(self.case.script)?);
        }
        Ok(start.elapsed())
    }

    fn warm(&self, n: u32) -> Result<Duration> {
        let mut interpreter = self.linked.start()?;
        interpreter.evaluate(self.case.script)?;
        let start = Instant::now();
        for _ in 0..n {
            black_box(interpreter.evaluate(self.case.script)?);
        }
        Ok(start.elapsed())
    }
}

/// Adds the rows of an interpreter to the table.
///
/// Before anything is measured, precast and Wasmtime evaluate the same script, and what it prints
/// must be equal. The rows:
///
/// | row | what |
/// |---|---|
/// | request, pooled | makes an instance, evaluates the script, drops it |
/// | request, fresh | the same without a pool |
/// | request, warm | evaluates the script with the instance that has evaluated the one before |
///
/// # Errors
/// Those of the runtimes, or a script prints something else.
pub fn measure(
    table: &mut Table,
    case: &Case,
    pooled: &Precast,
    fresh: &Precast,
    wasmtimes: &[Wasmtime],
) -> Result<()> {
    let name = &case.subject.name;
    let pooled = Side::new(pooled, "", case)?;
    let fresh = Side::new(fresh, "", case)?;
    let theirs: Vec<_> = wasmtimes
        .iter()
        .map(|wasmtime| Side::new(wasmtime, wasmtime.setting.name, case))
        .collect::<Result<_>>()?;
    let (on_demand, pools) = theirs.split_at(1);

    let request = |how: &str| Row::new(format!("request, {how}, {name}")).floor(SAMPLE);
    let mut row = request("pooled").with(PRECAST, "", |n| pooled.requests(n));
    for side in pools {
        row = row.with(WASMTIME, side.setting, |n| side.requests(n));
    }
    table.measure(row)?;
    let mut row = request("fresh").with(PRECAST, "", |n| fresh.requests(n));
    for side in on_demand {
        row = row.with(WASMTIME, side.setting, |n| side.requests(n));
    }
    table.measure(row)?;
    if !case.is_reactor {
        return Ok(());
    }
    let mut row = request("warm").with(PRECAST, "", |n| pooled.warm(n));
    for side in &theirs[..2] {
        row = row.with(WASMTIME, side.setting, |n| side.warm(n));
    }
    table.measure(row)
}
