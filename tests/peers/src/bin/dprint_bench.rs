//! Benchmark of a host of dprint's formatter plug-ins: `dprint-bench [--rounds N] [--settings]
//! [FILTER]`.
//!
//! Before anything is measured, precast and Wasmtime format the same documents, and the results
//! must be equal. The rows:
//!
//! | row | what |
//! |---|---|
//! | start | opens the artifact, links it, makes an instance with a configuration, drops all |
//! | request, pooled | makes an instance, looks up its exports, gives it a configuration, formats the document, drops it |
//! | request, fresh | the same without a pool |
//! | request, warm | formats the document with the instance that has formatted the one before |
//!
//! At last, private memory of a process with some instances, each of which has formatted its
//! document once.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use precast_peers::dprint::{Case, Formatter, Linked, Plugin, Runtime, cases, no_others};
use precast_peers::peers::{Precast, Wasmtime, settings};
use precast_peers::subjects::Subject;
use precast_peers::table::{Row, Table};
use precast_peers::{Result, private_kib};

const PRECAST: usize = 0;
const WASMTIME: usize = 1;

/// A sample is of several requests, as a server has them. After the other runtimes' turns, the
/// first one finds nothing of its own in the processor's caches.
const SAMPLE: Duration = Duration::from_millis(5);

/// The first argument of a process whose memory is measured.
const CHILD: &str = "memory-of";

/// How many instances such a process has.
const INSTANCES: u64 = 50;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [CHILD, side, name] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return memory_of(side, name);
    }
    let mut table = Table::of_args(&["precast", "wasmtime"])?;
    let cases = cases();
    if let Some(missing) = cases.iter().find(|case| !case.subject.is_there()) {
        let name = &missing.subject.name;
        println!("without dprint's plug-ins: `tests/programs/fetch.sh {name}` was not run");
        return Ok(());
    }
    let (pooled, fresh) = (Precast::pooled(), Precast::fresh());
    let wasmtimes: Vec<Wasmtime> = settings()
        .into_iter()
        .map(Wasmtime::new)
        .collect::<Result<_>>()?;
    check(&pooled, &wasmtimes[0], &cases)?;

    table.head();
    for case in &cases {
        measure(&mut table, case, &pooled, &fresh, &wasmtimes)?;
    }
    println!("private memory of {INSTANCES} instances that have formatted one document, KiB each");
    for case in &cases {
        memory(&case.subject)?;
    }
    Ok(())
}

/// Formats every document on both sides and compares the results, also those of texts with errors.
fn check(ours: &Precast, theirs: &Wasmtime, cases: &[Case]) -> Result<()> {
    fn outcomes(runtime: &impl Runtime, cases: &[Case]) -> Result<Vec<String>> {
        let others = formatter(runtime, cases)?;
        let mut outcomes = Vec::new();
        for case in cases {
            let linked = runtime.open_subject(&case.subject, Arc::clone(&others))?;
            let mut plugin = linked.start()?;
            let formatted = plugin
                .format(case.path, &case.text)?
                .ok_or("the document was formatted already")?;
            let again = plugin.format(case.path, &formatted)?;
            if let Some(again) = again {
                return Err(format!("{}: not stable: {again}", case.path).into());
            }
            outcomes.push(formatted);
            // Markdown knows no errors of syntax, so it keeps the text.
            outcomes.push(match plugin.format(case.path, "{\"a\": [= ") {
                Ok(formatted) => format!("formatted: {formatted:?}"),
                Err(error) => format!("error: {error}"),
            });
        }
        Ok(outcomes)
    }
    let (ours, theirs) = (outcomes(ours, cases)?, outcomes(theirs, cases)?);
    if let Some(i) = (0..ours.len()).find(|&i| ours[i] != theirs[i]) {
        let text = format!("precast: {}\nWasmtime: {}", ours[i], theirs[i]);
        return Err(format!("the results differ\n{text}").into());
    }
    // The plug-in for Markdown had the host format the code.
    let markdown = &ours[0];
    for code in [
        "{ \"command\": 7, \"options\": [1, 2, 3] }",
        "name = \"command\"",
    ] {
        if !markdown.contains(code) {
            return Err(format!("the code is not formatted: {markdown}").into());
        }
    }
    println!("both format {} documents alike", cases.len());
    Ok(())
}

/// Formats code by the plug-in whose document has the same extension.
fn formatter(runtime: &impl Runtime, cases: &[Case]) -> Result<Formatter> {
    let mut linked = Vec::new();
    for case in cases {
        let extension = case.path.rsplit('.').next().unwrap_or_default();
        linked.push((extension, runtime.open_subject(&case.subject, no_others())?));
    }
    Ok(Arc::new(move |path, text| {
        let extension = path.rsplit('.').next().unwrap_or_default();
        match linked.iter().find(|(known, _)| *known == extension) {
            Some((_, linked)) => linked
                .start()
                .and_then(|mut plugin| plugin.format(path, text))
                .map_err(|error| error.to_string()),
            None => Ok(None),
        }
    }))
}

/// A plug-in on one side.
struct Side<'a, R: Runtime> {
    runtime: &'a R,
    setting: &'static str,
    case: &'a Case,
    linked: R::Linked,
}

impl<'a, R: Runtime> Side<'a, R> {
    fn new(runtime: &'a R, setting: &'static str, case: &'a Case) -> Result<Self> {
        let linked = runtime.open_subject(&case.subject, no_others())?;
        Ok(Self {
            runtime,
            setting,
            case,
            linked,
        })
    }

    fn starts(&self, n: u32) -> Result<Duration> {
        per(n, || {
            let linked = self.runtime.open_anew(&self.case.subject, no_others())?;
            black_box(linked.start()?);
            Ok(())
        })
    }

    fn requests(&self, n: u32) -> Result<Duration> {
        per(n, || {
            let mut plugin = self.linked.start()?;
            black_box(plugin.format(self.case.path, &self.case.text)?);
            Ok(())
        })
    }

    fn warm(&self, n: u32) -> Result<Duration> {
        let mut plugin = self.linked.start()?;
        plugin.format(self.case.path, &self.case.text)?;
        per(n, || {
            black_box(plugin.format(self.case.path, &self.case.text)?);
            Ok(())
        })
    }
}

fn per(n: u32, mut f: impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..n {
        f()?;
    }
    Ok(start.elapsed())
}

fn measure(
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

    let mut row = Row::new(format!("start, {name}")).with(PRECAST, "", |n| fresh.starts(n));
    for side in &theirs[..2] {
        row = row.with(WASMTIME, side.setting, |n| side.starts(n));
    }
    table.measure(row)?;
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
    let mut row = request("warm").with(PRECAST, "", |n| pooled.warm(n));
    for side in &theirs[..2] {
        row = row.with(WASMTIME, side.setting, |n| side.warm(n));
    }
    table.measure(row)
}

/// Prints the memory of each side, in processes of their own.
fn memory(subject: &Subject) -> Result<()> {
    print!("{:<40}", subject.name);
    let sides = ["precast".to_owned()].into_iter();
    for side in sides.chain(settings().iter().take(2).map(|s| s.name.to_owned())) {
        let output = Command::new(std::env::current_exe()?)
            .args([CHILD, &side, &subject.name])
            .output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{side} ended with {}: {error}", output.status).into());
        }
        print!("  {side} {}", String::from_utf8(output.stdout)?.trim());
    }
    println!();
    Ok(())
}

fn memory_of(side: &str, name: &str) -> Result<()> {
    fn print(runtime: &impl Runtime, case: &Case) -> Result<()> {
        let linked = runtime.open_subject(&case.subject, no_others())?;
        let mut plugins = Vec::new();
        let before = private_kib()?;
        for _ in 0..INSTANCES {
            let mut plugin = linked.start()?;
            plugin.format(case.path, &case.text)?;
            plugins.push(plugin);
        }
        println!("{}", private_kib()?.saturating_sub(before) / INSTANCES);
        Ok(())
    }
    let cases = cases();
    let case = cases.iter().find(|case| case.subject.name == name);
    let case = case.ok_or("there is no such plug-in")?;
    if side == "precast" {
        return print(&Precast::pooled(), case);
    }
    let setting = settings().into_iter().find(|known| known.name == side);
    print(&Wasmtime::new(setting.ok_or("no such setting")?)?, case)
}
