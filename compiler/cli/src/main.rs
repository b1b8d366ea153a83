//! `precast`: compiles WebAssembly modules ahead of time, shows what is in the artifacts, and runs
//! them.
//!
//! Each command has a file of its own. A command that fails returns a [`Failure`], and only this
//! file prints errors, in one form. The exit code is
//!
//! - the guest's own for `run`,
//! - 134 for a trap, as for a native program that aborts,
//! - 124 for `run --timeout`, as with timeout(1),
//! - 1 for errors and 2 for wrong usage.
//!
//! A closed pipe is not an error: the reader wanted no more output.

mod artifact;
mod cache;
mod compile;
mod digest;
mod ending;
mod exe;
mod exposure;
mod files;
mod held;
mod inspect;
mod join;
mod json;
mod limits;
#[cfg(feature = "disassembler")]
mod objdump;
mod profile;
mod program;
mod progress;
mod quantity;
mod redirect;
mod run;
mod settings;
mod signing;
mod strip;
mod trace;
mod value;
mod warnings;
mod wast;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::Styles;
use clap::{CommandFactory, Parser, Subcommand};

/// Compiles WebAssembly modules ahead of time to native artifacts that start in microseconds.
#[derive(Parser)]
#[command(name = "precast", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    messages: warnings::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Compile a WebAssembly module to an artifact
    Compile(compile::Args),
    /// Make an executable of a WASI program, without a linker
    Exe(exe::Args),
    /// Show what an artifact is for and what is in it
    Inspect(inspect::Args),
    /// Disassemble an artifact, with the offsets in the WebAssembly module that code comes from
    #[cfg(feature = "disassembler")]
    Objdump(objdump::Args),
    /// Print the digests of artifacts, by which they can be verified when they are opened
    Digest(digest::Args),
    /// Remove the names and the address map of an artifact, which only backtraces and tools use
    Strip(strip::Args),
    /// Put artifacts of one module for several CPUs and targets into one file; when the file is
    /// opened, the best of them is picked
    Join(join::Args),
    /// Make a pair of keys: one to sign artifacts with, one to check signatures with
    Key(signing::KeyArgs),
    /// Sign an artifact, in addition to the signatures that it has
    Sign(signing::SignArgs),
    /// Check that trusted keys have signed artifacts, and print the ids of these keys
    Verify(signing::VerifyArgs),
    /// Run an artifact or a WebAssembly module: a WASI program, or one of its functions
    Run(run::Args),
    /// Show and manage the cache of compiled modules
    Cache(cache::Args),
    /// Run scripts of the WebAssembly specification's test suite
    Wast(wast::Args),
    /// Print completions for a shell
    Completions {
        /// The shell to print completions for
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, `precast.1` and one for each command, into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

/// Why a command failed, and its exit code.
struct Failure {
    error: anyhow::Error,
    code: u8,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            code: 1,
        }
    }
}

fn main() -> ExitCode {
    // A copy of this program can be an executable that `precast exe` made.
    if let Some(code) = precast_runner::program() {
        return code;
    }
    let cli = Cli::parse();
    cli.messages.show();
    leave_file_sizes_to_errors();
    let result = match cli.command {
        Command::Compile(args) => compile::run(args),
        Command::Exe(args) => exe::run(args),
        Command::Inspect(args) => inspect::run(args),
        #[cfg(feature = "disassembler")]
        Command::Objdump(args) => objdump::run(args),
        Command::Digest(args) => digest::run(args),
        Command::Strip(args) => strip::run(args),
        Command::Join(args) => join::run(args),
        Command::Key(args) => signing::make(args),
        Command::Sign(args) => signing::sign(args),
        Command::Verify(args) => signing::verify(args),
        Command::Run(args) => run::run(args),
        Command::Cache(args) => cache::run(args),
        Command::Wast(args) => wast::run(args),
        Command::Completions { shell } => completions(shell),
        Command::Man { directory } => manual(&directory),
    };
    match result {
        Ok(code) => code,
        Err(failure) if is_closed_pipe(&failure.error) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure.error);
            ExitCode::from(failure.code)
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "precast", &mut script);
    files::print(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn manual(directory: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write the manual into `{}`", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Ignores SIGXFSZ. A write beyond the allowed size of a file (`ulimit -f`) is then an error, for
/// this program and for the guest. By default, the signal would end the process.
fn leave_file_sizes_to_errors() {
    // SAFETY: the call installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether the process ignores a signal. Its parent may have asked for that.
fn is_ignored(signal: i32) -> bool {
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the call installs no handler, and writes to `old`, which is as large as it should be.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) };
    // SAFETY: all bytes are zero or were written by the system, which are valid values.
    let old = unsafe { old.assume_init() };
    asked == 0 && old.sa_sigaction == libc::SIG_IGN
}

/// Exits with a usage error, in clap's form, for a mistake on the command line that clap cannot
/// find by itself.
fn usage_error(command: &str, message: String) -> ! {
    let mut cli = Cli::command();
    cli.build();
    let command = cli
        .find_subcommand_mut(command)
        .expect("a subcommand of this program");
    command
        .error(clap::error::ErrorKind::ValueValidation, message)
        .exit()
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints what a command finds out about each file. A file for which that fails is reported, does
/// not keep the command from the others, and makes the exit code 1.
fn of_each(
    files: &[PathBuf],
    find: impl Fn(&Path) -> anyhow::Result<String>,
) -> Result<ExitCode, Failure> {
    let (mut text, mut code) = (String::new(), ExitCode::SUCCESS);
    for file in files {
        match find(file) {
            Ok(found) => text += &found,
            Err(error) => {
                report(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    // A reader that has gone away does not make a failure a success.
    match files::print(text) {
        Err(error) if !is_closed_pipe(&error) => Err(error.into()),
        _ => Ok(code),
    }
}

/// Prints an error and its causes, in clap's colours. Only this function prints errors. If printing
/// fails, there is nowhere to report that.
fn report(error: &anyhow::Error) {
    let mut text = error.to_string();
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    if !causes.is_empty() {
        text += "\nCaused by:";
        for cause in causes {
            text += &format!("\n    {}", cause.replace('\n', "\n    "));
        }
    }
    warnings::print("error", *Styles::styled().get_error(), &text);
}
