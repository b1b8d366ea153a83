//! `precast compile`.

use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Compiler, Cpu, OptLevel, Settings};

use crate::progress::Progress;
use crate::{Failure, files, usage_error};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The WebAssembly module; `-` for standard input
    input: PathBuf,
    /// Where to write the artifact; `-` for standard output [default: INPUT with the extension
    /// `.precast`]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// What to optimise for: none, speed or size
    #[arg(long, value_name = "LEVEL", default_value = "speed")]
    opt_level: OptLevel,
    /// Target, such as aarch64-unknown-linux-gnu [default: this machine]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// CPU to compile for: baseline, native, x86-64-v2, x86-64-v3 or x86-64-v4, followed by any
    /// number of `,+feature` and `,-feature`
    #[arg(long, default_value = "baseline", allow_hyphen_values = true)]
    cpu: Cpu,
    /// How memory accesses are kept in bounds: `guarded` by guard pages and signals, `checked` by
    /// explicit checks
    #[arg(long, default_value = "guarded", value_parser = strategy)]
    strategy: Strategy,
    /// How the host can stop running code: `none`, `fuel` (the code counts its operators) or
    /// `epoch` (the code checks whether a deadline has passed)
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = interruption)]
    interruption: Interruption,
    /// Threads to compile with [default: one for each CPU]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Print how long each phase took
    #[arg(long)]
    time: bool,
}

pub(crate) fn strategy(text: &str) -> Result<Strategy, String> {
    Strategy::ALL
        .iter()
        .copied()
        .find(|strategy| strategy.text() == text)
        .ok_or_else(|| "expected guarded or checked".to_owned())
}

pub(crate) fn interruption(text: &str) -> Result<Interruption, String> {
    Interruption::ALL
        .iter()
        .copied()
        .find(|interruption| interruption.text() == text)
        .ok_or_else(|| "expected none, fuel or epoch".to_owned())
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let output = match args.output {
        Some(output) => output,
        None if args.input == Path::new("-") => usage_error(
            "compile",
            "standard input has no name to derive the output's from: give --output".to_owned(),
        ),
        None => args.input.with_extension("precast"),
    };
    let compiler = Compiler::new(Settings {
        opt_level: args.opt_level,
        target: args.target,
        cpu: args.cpu,
        strategy: args.strategy,
        interruption: args.interruption,
        threads: args.threads.map(NonZero::get),
    })?;

    let start = Instant::now();
    let wasm = files::read(&args.input)?;
    let mut times = vec![("read", start.elapsed())];
    let progress = Progress::new();
    let compiled =
        compiler.compile_with_progress(&wasm, &|done, total| progress.functions(done, total));
    progress.finish();
    let compiled =
        compiled.with_context(|| format!("cannot compile `{}`", args.input.display()))?;
    times.extend(compiled.timings.phases());
    let writing = Instant::now();
    files::write(&output, &compiled.artifact)?;
    times.push(("write", writing.elapsed()));
    times.push(("total", start.elapsed()));
    if args.time {
        let lines: String = times
            .iter()
            .map(|(phase, time)| format!("{phase:<8}{:>12.3} ms\n", time.as_secs_f64() * 1e3))
            .collect();
        io::stderr().write_all(lines.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
