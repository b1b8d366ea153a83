//! `precast compile`.

use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use precast_artifact::Interruption;
use precast_compiler::{Compiler, Cpu, Settings};
use precast_object::System;

use crate::progress::Progress;
use crate::{Failure, files, join, program, settings, strip, usage_error};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The WebAssembly module, binary or text; `-` for standard input
    input: PathBuf,
    /// Where to write the artifact; `-` for standard output [default: INPUT with the extension
    /// `.precast`, or `.o` for an object file]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// What to write: an artifact, or an object file with it, which a linker puts into an
    /// executable
    #[arg(long, value_name = "KIND", default_value = "artifact")]
    emit: Emit,
    /// The global symbol of the artifact in the object file
    #[arg(long, value_name = "NAME", default_value = "GUEST")]
    symbol: String,
    /// Target, such as aarch64-unknown-linux-gnu; with `--emit obj` also x86_64-apple-darwin,
    /// aarch64-apple-darwin, x86_64-pc-windows-msvc and aarch64-pc-windows-msvc [default: this
    /// machine]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    #[command(flatten)]
    settings: settings::Args,
    /// Compile for this CPU too, into the same file; may be repeated. The best variant that a
    /// machine can run is picked when the file is opened. CPU is as for --cpu, for another target
    /// with its triple in front
    #[arg(long = "variant", value_name = "[TRIPLE/]CPU", allow_hyphen_values = true,
        value_parser = variant)]
    variants: Vec<Variant>,
    /// How the host can stop running code: `none`, `fuel` (the code counts its operators), `epoch`
    /// (the code checks whether a deadline has passed) or `fuel+epoch`
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = settings::interruption)]
    interruption: Interruption,
    /// Generate code that counts how often it runs, for `precast run --profile-out`; such code is
    /// slower
    #[arg(long)]
    counters: bool,
    /// Write an artifact without names and address map, which is smaller: see `precast strip`
    #[arg(long)]
    strip: bool,
    /// Like --strip, and write the artifact with names and address map to this file
    #[arg(long, value_name = "FILE")]
    split_debug: Option<PathBuf>,
    /// Threads to compile with [default: one for each CPU]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    threads: Option<NonZero<usize>>,
    /// Print how long each phase took
    #[arg(long)]
    time: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    Artifact,
    Obj,
}

impl Emit {
    /// The extension of files of this kind.
    fn extension(self) -> &'static str {
        match self {
            Self::Artifact => "precast",
            Self::Obj => "o",
        }
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let output = match args.output {
        Some(output) => output,
        None if args.input == Path::new("-") => usage_error(
            "compile",
            "standard input has no name to derive the output's from: give --output".to_owned(),
        ),
        None => args.input.with_extension(args.emit.extension()),
    };
    if !args.variants.is_empty() && (args.emit == Emit::Obj || args.split_debug.is_some()) {
        let message = "--variant makes a file of several artifacts, which has neither an object \
                       file nor one debug file: compile each by itself, then use `precast join`";
        usage_error("compile", message.to_owned());
    }
    let (target, system) = object_target(args.emit, args.target);
    let settings = Settings {
        target,
        threads: args.threads.map(NonZero::get),
        counters: args.counters,
        ..args.settings.settings(args.interruption)?
    };
    let others = args.variants.iter().map(|variant| {
        Compiler::new(Settings {
            target: variant.target.clone().or_else(|| settings.target.clone()),
            cpu: variant.cpu.clone(),
            ..settings.clone()
        })
    });
    let others = others.collect::<Result<Vec<_>, _>>()?;
    let compiler = Compiler::new(settings.clone())?;

    let start = Instant::now();
    let wasm = program::read_module(&args.input)?;
    // Anything else is no module, which the compiler's error says better.
    if wasm.starts_with(b"\0asm") {
        let mut outputs = vec![("the artifact", output.as_path())];
        outputs.extend(
            args.split_debug
                .as_deref()
                .map(|path| ("the debug file", path)),
        );
        let mut inputs = vec![("the module", args.input.as_path())];
        inputs.extend(args.settings.inputs());
        files::check_outputs("compile", &inputs, &outputs);
    }
    let mut times = vec![("read", start.elapsed())];
    let progress = Progress::new();
    let compiled =
        compiler.compile_with_progress(&wasm, &|done, total| progress.functions(done, total));
    progress.finish();
    let compiled =
        compiled.with_context(|| format!("cannot compile `{}`", args.input.display()))?;
    times.extend(compiled.timings.phases());
    let mut artifact = compiled.artifact;
    if !others.is_empty() {
        let mut all = vec![artifact];
        for compiler in &others {
            let compiled = compiler
                .compile(&wasm)
                .with_context(|| format!("cannot compile `{}`", args.input.display()))?;
            all.push(compiled.artifact);
        }
        if args.strip {
            all = all
                .into_iter()
                .map(strip::strip)
                .collect::<anyhow::Result<_>>()?;
        }
        artifact = join::join(&all)?;
    }
    let writing = Instant::now();
    if let Some(debug) = &args.split_debug {
        files::write(debug, &artifact)?;
    }
    if others.is_empty() && (args.strip || args.split_debug.is_some()) {
        artifact = strip::strip(artifact)?;
    }
    let bytes = match args.emit {
        Emit::Artifact => artifact,
        Emit::Obj => precast_object::object_file_for(&artifact, &args.symbol, system)
            .context("cannot write an object file")?,
    };
    files::write(&output, &bytes)?;
    times.push(("write", writing.elapsed()));
    times.push(("total", start.elapsed()));
    tracing::info!(
        "compiled `{}` to `{}`: {} bytes in {:.1?}",
        args.input.display(),
        output.display(),
        bytes.len(),
        start.elapsed()
    );
    if args.time {
        let lines: String = times
            .iter()
            .map(|(phase, time)| format!("{phase:<8}{:>12.3} ms\n", time.as_secs_f64() * 1e3))
            .collect();
        io::stderr().write_all(lines.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A CPU, and its target if that differs from the command's.
#[derive(Debug, Clone)]
struct Variant {
    target: Option<String>,
    cpu: Cpu,
}

fn variant(text: &str) -> Result<Variant, String> {
    let (target, cpu) = match text.split_once('/') {
        Some((target, cpu)) => (Some(target.to_owned()), cpu),
        None => (None, text),
    };
    let cpu = cpu.parse().map_err(|error| format!("{error}"))?;
    Ok(Variant { target, cpu })
}

/// The target to compile for, and the system of the object file. Machine code is the same for all
/// systems of an architecture, so it is compiled for Linux even if the object file is for another
/// system.
fn object_target(emit: Emit, target: Option<String>) -> (Option<String>, System) {
    let Some(triple) = target.as_deref().filter(|_| emit == Emit::Obj) else {
        return (target, System::Linux);
    };
    match System::of_triple(triple) {
        Some((system, linux)) => (Some(linux.to_owned()), system),
        None => (target, System::Linux),
    }
}
