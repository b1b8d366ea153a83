//! `precast exe`: makes an executable of a WASI program, without a linker. The executable is a copy
//! of a runner with the artifact in it.
//!
//! The runner is, in this order: the file of `--runner`; `precast-runner-TARGET` or, for this
//! machine, `precast-runner` beside this program; this program itself, which is a runner too, but a
//! large one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use precast_artifact::executable::{Directory, Options};
use precast_artifact::records::ExternKind;
use precast_artifact::target::Arch;
use precast_artifact::{Artifact, Interruption, shown};
use precast_compiler::{Compiler, Settings};
use precast_wasi::UNSTABLE_MODULE;

use crate::artifact::{Bytes, function_type};
use crate::files;
use crate::program::Program;
use crate::run::GuestDir;
use crate::{Failure, run, settings, usage_error};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The WASI program: a WebAssembly module, binary or text, or an artifact
    input: PathBuf,
    /// Where to write the executable [default: INPUT without its extension]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Give the guest a directory, under its own or another name; with `::ro`, the guest can only
    /// read it. A relative path is relative to the directory in which the executable is started
    #[arg(long = "dir", value_name = "HOST[::GUEST][::ro|::rw]", value_parser = run::directory)]
    dirs: Vec<GuestDir>,
    /// Set an environment variable of the guest; without VALUE, pass on the value that the
    /// executable has when it is started
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Give the guest an argument, in front of the arguments that the executable is started with
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    args: Vec<String>,
    /// The name of the program that the guest sees [default: the name that the executable is
    /// started by]
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    /// The runner to copy [default: `precast-runner` beside this program, or else this program]
    #[arg(long, value_name = "FILE")]
    runner: Option<PathBuf>,
    /// Target of a module, such as aarch64-unknown-linux-gnu [default: this machine]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    #[command(flatten, next_help_heading = "Compilation of modules")]
    settings: settings::Args,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None if args.input.extension().is_none() => usage_error(
            "exe",
            "the executable would replace its input: give --output".to_owned(),
        ),
        None => args.input.with_extension(""),
    };
    let context = || format!("cannot make an executable of `{}`", args.input.display());
    let artifact = Bytes::aligned(&artifact(&args).with_context(context)?);
    let artifact = artifact.parse_whole(&args.input)?;
    check_program(&artifact).with_context(context)?;
    for variable in &args.env {
        if variable.starts_with('=') || variable.is_empty() {
            usage_error("exe", format!("--env {variable}: the name is empty"));
        }
    }
    let options = Options {
        argv0: args.argv0,
        args: args.args,
        env: args.env,
        dirs: args.dirs.into_iter().map(GuestDir::baked).collect(),
    };
    let runner = find_runner(args.runner, args.target.as_deref(), &artifact)?;
    let mut inputs = vec![
        ("the program", args.input.as_path()),
        ("the runner", &runner),
    ];
    inputs.extend(args.settings.inputs());
    files::check_outputs("exe", &inputs, &[("the executable", &output)]);
    let bytes = files::read(&runner)?;
    let executable = precast_object::executable(&bytes, artifact.bytes(), &options)
        .with_context(|| format!("cannot put the program into `{}`", runner.display()))?;
    files::write_executable(&output, &executable)?;
    tracing::info!(
        "wrote `{}`: {} bytes, {} of them the artifact",
        output.display(),
        executable.len(),
        artifact.bytes().len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The artifact's bytes. A module is compiled.
fn artifact(args: &Args) -> Result<Vec<u8>> {
    let bytes = match Program::open(&args.input)? {
        Program::Module(wasm) => {
            let compiler = Compiler::new(Settings {
                target: args.target.clone(),
                ..args.settings.settings(Interruption::None)?
            })?;
            return Ok(compiler.compile(&wasm.read()?)?.artifact);
        }
        Program::File(path) => files::read(&path)?,
        Program::Bytes(bytes) => bytes,
    };
    let target = args.target.as_ref().map(|_| "--target");
    if let Some(option) = target.or(args.settings.given()) {
        bail!("it is compiled already; {option} is for modules");
    }
    Ok(bytes)
}

/// Checks what the runner would find out only when the executable starts.
fn check_program(artifact: &Artifact<'_>) -> Result<()> {
    let start = artifact.export("_start");
    let start = start.filter(|export| export.kind == ExternKind::Func as u32);
    let Some(start) = start else {
        bail!("it is not a WASI program: it does not export a function `_start`");
    };
    let ty = function_type(artifact, start.index);
    if ty.is_some_and(|[params, results]| !params.is_empty() || !results.is_empty()) {
        bail!("it is not a WASI program: its `_start` has parameters or results");
    }
    let known = ["wasi_snapshot_preview1", UNSTABLE_MODULE];
    let modules = artifact
        .imports()
        .iter()
        .map(|import| artifact.str(import.module));
    let unknown = modules
        .map(Option::unwrap_or_default)
        .find(|module| !known.contains(module));
    if let Some(module) = unknown {
        bail!(
            "it imports from `{}`, which an executable does not have; expected imports of WASI \
             preview 1 only",
            shown(module)
        );
    }
    if artifact.interruption() != Interruption::None {
        tracing::warn!(
            "the code is compiled for interruption, which makes it slower: an executable runs its \
             program to the end"
        );
    }
    Ok(())
}

fn find_runner(
    given: Option<PathBuf>,
    target: Option<&str>,
    artifact: &Artifact<'_>,
) -> Result<PathBuf> {
    if let Some(runner) = given {
        return Ok(runner);
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let arch = Arch::from_number(artifact.header().arch);
    let here = arch.is_some_and(|arch| arch.name() == std::env::consts::ARCH);
    let beside = |name: &str| Some(own.with_file_name(name)).filter(|path| path.is_file());
    let of_target = target.and_then(|target| beside(&format!("precast-runner-{target}")));
    if let Some(runner) = of_target.or_else(|| beside("precast-runner").filter(|_| here)) {
        return Ok(runner);
    }
    if !here {
        let arch = arch.map_or("its machine", Arch::name);
        bail!(
            "there is no runner for {arch}: build `precast-runner` for it, and give its file by --runner"
        );
    }
    tracing::warn!(
        "there is no `precast-runner` beside `{}`: the executable is a copy of this program, which is \
         much larger",
        own.display()
    );
    Ok(own)
}

impl GuestDir {
    fn baked(self) -> Directory {
        Directory {
            read_only: self.is_read_only(),
            host: self.host,
            guest: self.guest,
        }
    }
}
