//! Benchmark of interpreters that evaluate a script of ten lines for each request:
//! `interpreter-bench [--rounds N] [--settings] [FILTER]`.
//!
//! `interpreters::measure` says what the rows are.

use precast_peers::Result;
use precast_peers::interpreters::{cases, measure};
use precast_peers::peers::{Precast, Wasmtime, settings};
use precast_peers::table::Table;

fn main() -> Result<()> {
    let mut table = Table::of_args(&["precast", "wasmtime"])?;
    table.head();
    let (pooled, fresh) = (Precast::pooled(), Precast::fresh());
    let wasmtimes: Vec<Wasmtime> = settings()
        .into_iter()
        .map(Wasmtime::new)
        .collect::<Result<_>>()?;
    for case in &cases() {
        if case.subject.is_there() {
            measure(&mut table, case, &pooled, &fresh, &wasmtimes)?;
        } else {
            println!("without {}, which was not fetched", case.subject.name);
        }
    }
    Ok(())
}
