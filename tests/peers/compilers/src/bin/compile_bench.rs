//! Compiles one module with precast and with Wasmtime in alternation, each in a process of its own.
//!
//! Both compile from a file to a file, for the baseline of the architecture, with optimisation for
//! speed and with their other defaults. Wasmtime runs in a child of this program
//! (`Engine::precompile_module`), with the same Cranelift as precast. Each round runs every
//! compiler with every number of threads once, and each round starts with a different one.

use precast_peers::Result;
use precast_peers::child::{self, Cost};
use precast_peers::stats::Samples;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: compile-bench [--rounds N] [--threads N,N…] [--precast FILE] [MODULE.wasm]
Compares `precast compile` with Wasmtime's compiler on one module (default: the CPython that tests/programs/fetch.sh fetches).
  --rounds N      how often each is run (default 5)
  --threads N,N…  numbers of threads to compile with (default 1,2)
  --precast FILE  the command line to measure (default target/release/precast of this project)";

/// The first argument of the child process that runs Wasmtime.
const CHILD: &str = "compile-with-wasmtime";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.as_slice() {
        [child, from, to] if child == CHILD => compile_with_wasmtime(from.as_ref(), to.as_ref()),
        _ => Options::parse(args.into_iter()).and_then(|options| bench(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    rounds: usize,
    threads: Vec<usize>,
    precast: PathBuf,
    module: PathBuf,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            rounds: 5,
            threads: vec![1, 2],
            precast: precast_peers::default_precast(),
            module: precast_peers::program("python"),
        };
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| format!("{arg} needs a value\n{USAGE}"))
            };
            match arg.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--threads" => {
                    options.threads = value()?
                        .split(',')
                        .map(str::parse)
                        .collect::<std::result::Result<_, _>>()?;
                }
                "--precast" => options.precast = value()?.into(),
                "-h" | "--help" => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                _ if arg.starts_with('-') => {
                    return Err(format!("unknown option {arg}\n{USAGE}").into());
                }
                _ => options.module = arg.into(),
            }
        }
        if options.rounds == 0 || options.threads.is_empty() || options.threads.contains(&0) {
            return Err("rounds and threads must be at least 1".into());
        }
        for (file, remedy) in [
            (
                &options.module,
                "tests/programs/fetch.sh python fetches the default one",
            ),
            (
                &options.precast,
                "`cargo build --release -p precast` builds the default one",
            ),
        ] {
            std::fs::metadata(file)
                .map_err(|error| format!("{}: {error} ({remedy})", file.display()))?;
        }
        Ok(options)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Compiler {
    Precast,
    Wasmtime,
}

/// One compiler with one number of threads, and the costs of its runs.
struct Contender {
    compiler: Compiler,
    threads: usize,
    /// Wall times in seconds.
    wall: Samples,
    /// CPU times in seconds.
    cpu: Samples,
    /// Maximal resident sets in MiB.
    peak_rss: Samples,
    /// Sizes of the artifact in MiB.
    artifact: Samples,
}

impl Contender {
    fn name(&self) -> String {
        let name = if self.compiler == Compiler::Precast {
            "precast"
        } else {
            "wasmtime"
        };
        format!(
            "{name}, {} thread{}",
            self.threads,
            if self.threads == 1 { "" } else { "s" }
        )
    }

    fn run(&mut self, options: &Options, artifact: &Path) -> Result<()> {
        let mut command = match self.compiler {
            Compiler::Precast => {
                let mut command = Command::new(&options.precast);
                command
                    .arg("compile")
                    .arg(&options.module)
                    .arg("-o")
                    .arg(artifact);
                command.arg("--threads").arg(self.threads.to_string());
                command
            }
            Compiler::Wasmtime => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(CHILD).arg(&options.module).arg(artifact);
                command.env("RAYON_NUM_THREADS", self.threads.to_string());
                command
            }
        };
        let Cost {
            wall,
            cpu,
            peak_rss,
        } = child::measure(&mut command)?;
        const MIB: f64 = 1024.0 * 1024.0;
        self.wall.push(wall.as_secs_f64());
        self.cpu.push(cpu.as_secs_f64());
        self.peak_rss.push(peak_rss as f64 / MIB);
        self.artifact
            .push(std::fs::metadata(artifact)?.len() as f64 / MIB);
        std::fs::remove_file(artifact)?;
        Ok(())
    }
}

fn bench(options: &Options) -> Result<()> {
    let module = std::fs::metadata(&options.module)?.len();
    println!("{}", precast_peers::machine());
    println!(
        "{}: {:.1} MiB, {} rounds; min / median / max",
        options.module.display(),
        module as f64 / 1024.0 / 1024.0,
        options.rounds
    );
    let mut contenders = Vec::new();
    for &threads in &options.threads {
        for compiler in [Compiler::Precast, Compiler::Wasmtime] {
            contenders.push(Contender {
                compiler,
                threads,
                wall: Samples::default(),
                cpu: Samples::default(),
                peak_rss: Samples::default(),
                artifact: Samples::default(),
            });
        }
    }
    let artifact = std::env::temp_dir().join(format!("compile-bench-{}", std::process::id()));
    for round in 0..options.rounds {
        let count = contenders.len();
        for turn in 0..count {
            let contender = &mut contenders[(round + turn) % count];
            contender.run(options, &artifact)?;
        }
        eprintln!("round {} of {} done", round + 1, options.rounds);
    }
    println!(
        "{:<20} {:>24} {:>24} {:>24} {:>24}",
        "", "wall, s", "cpu, s", "peak resident set, MiB", "artifact, MiB"
    );
    for contender in &contenders {
        println!(
            "{:<20} {:>24.2} {:>24.2} {:>24.1} {:>24.1}",
            contender.name(),
            contender.wall,
            contender.cpu,
            contender.peak_rss,
            contender.artifact
        );
    }
    for pair in contenders.chunks_exact(2) {
        let [precast, wasmtime] = pair else { continue };
        let ratio = |of: fn(&Contender) -> &Samples| of(precast).median() / of(wasmtime).median();
        println!(
            "precast / wasmtime, {} thread{}: wall {:.2}, cpu {:.2}, peak resident set {:.2}, artifact {:.2}",
            precast.threads,
            if precast.threads == 1 { "" } else { "s" },
            ratio(|c| &c.wall),
            ratio(|c| &c.cpu),
            ratio(|c| &c.peak_rss),
            ratio(|c| &c.artifact),
        );
    }
    Ok(())
}

/// Runs in the child. The number of threads comes from the environment, which rayon's global pool
/// reads.
fn compile_with_wasmtime(from: &Path, to: &Path) -> Result<()> {
    let mut config = wasmtime::Config::new();
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    // With an explicit target, Wasmtime compiles for its baseline and not for the features of this
    // processor.
    config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    let engine = wasmtime::Engine::new(&config)?;
    let artifact = engine.precompile_module(&std::fs::read(from)?)?;
    std::fs::write(to, artifact)?;
    Ok(())
}
