//! Gets the module of a guest: reads the module, or runs the tools that build it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use precast_artifact::shown_lines;

use crate::Error;
use crate::environment::{Environment, is_of_the_host};
use crate::toolchain::{Toolchain, configuration};

/// The target of guests in Rust, unless another one is chosen.
pub(crate) const WASI: &str = "wasm32-wasip1";

/// Where a module comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file in the binary or in the text format.
    File(PathBuf),
    /// A package that cargo builds.
    Crate {
        directory: PathBuf,
        target: String,
        binary: Option<String>,
    },
    /// A file that rustc compiles.
    Rust {
        file: PathBuf,
        target: String,
        edition: String,
    },
    /// A file that a command compiles.
    C { file: PathBuf, command: Vec<String> },
}

/// A module, and the files that it depends on.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) wasm: Vec<u8>,
    pub(crate) files: Vec<PathBuf>,
    /// Environment variables that the module depends on.
    pub(crate) variables: BTreeSet<String>,
}

impl Source {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path)
            | Self::Crate {
                directory: path, ..
            }
            | Self::Rust { file: path, .. }
            | Self::C { file: path, .. } => path,
        }
    }

    /// The name of the file or directory, without its extension.
    pub(crate) fn stem(&self) -> String {
        let stem = match self {
            Self::Crate { directory, .. } => directory.file_name(),
            Self::File(file) | Self::Rust { file, .. } | Self::C { file, .. } => file.file_stem(),
        };
        stem.unwrap_or_default().to_string_lossy().into_owned()
    }

    fn check_manifest(&self) -> Result<(), Error> {
        match self {
            Self::Crate { directory, .. } => read(&directory.join("Cargo.toml")).map(drop),
            Self::File(_) | Self::Rust { .. } | Self::C { .. } => Ok(()),
        }
    }

    /// Checks that Rust's standard library for the guest's target is there: without it, every file
    /// would fail to compile with an error that does not say what to do.
    pub(crate) fn check_target(&self, cargo: &Environment) -> Result<(), Error> {
        match self {
            Self::File(_) | Self::C { .. } => Ok(()),
            Self::Crate {
                directory, target, ..
            } => check_target(Toolchain::of(directory, cargo).rustc(), directory, target),
            Self::Rust { file, target, .. } => {
                check_target(Command::new(&cargo.tools[1]), file, target)
            }
        }
    }

    pub(crate) fn not_compiled(&self, source: precast_compiler::Error) -> Error {
        Error::Compile {
            path: self.path().to_owned(),
            source,
        }
    }
}

/// Gets the module. `name` is for files in `OUT_DIR`.
pub(crate) fn build(source: &Source, name: &str, cargo: &Environment) -> Result<Guest, Error> {
    source.check_manifest()?;
    source.check_target(cargo)?;
    match source {
        Source::File(path) => of_file(path),
        Source::Crate {
            directory,
            target,
            binary,
        } => of_crate(directory, target, binary.as_deref(), name, cargo),
        Source::Rust {
            file,
            target,
            edition,
        } => of_rust(file, target, edition, name, cargo),
        Source::C { file, command } => of_c(file, command, name, cargo),
    }
}

fn of_file(path: &Path) -> Result<Guest, Error> {
    let bytes = read(path)?;
    let parsed = wat::Parser::new().parse_bytes(Some(path), &bytes);
    let wasm = parsed.map_err(|error| Error::Text {
        path: path.to_owned(),
        // The message quotes the text.
        message: shown_lines(&error.to_string()).to_string(),
    })?;
    Ok(Guest {
        wasm: wasm.into_owned(),
        files: vec![path.to_owned()],
        variables: BTreeSet::new(),
    })
}

fn of_crate(
    directory: &Path,
    target: &str,
    binary: Option<&str>,
    name: &str,
    cargo: &Environment,
) -> Result<Guest, Error> {
    // The guest has a target directory of its own, because the host's is locked while this script
    // runs.
    let built = cargo.out_dir.join(format!("{name}-guest"));
    let modules = built.join(target).join("release");
    // Cargo leaves modules there that the package does not have any more. It puts the others back,
    // also if it compiles nothing.
    for old in modules_in(&modules) {
        fs::remove_file(&old).map_err(|source| Error::File {
            action: "remove",
            path: old,
            source,
        })?;
    }
    let toolchain = Toolchain::of(directory, cargo);
    // The lock file and the profiles are those of the guest's workspace.
    let mut command = toolchain.cargo();
    command.args(["locate-project", "--workspace", "--message-format=plain"]);
    let root = PathBuf::from(run(&mut command, directory)?.trim_end());
    let lock = root.with_extension("lock");
    let was_locked = lock.is_file();
    let mut command = toolchain.cargo();
    command.args(["build", "--release", "--target", target]);
    command.arg("--target-dir").arg(&built);
    // The configuration may name another directory for what cargo does not give to users.
    command.env("CARGO_BUILD_BUILD_DIR", &built);
    let ran = run(&mut command, directory);
    if !was_locked {
        make_as_old(&lock, &root);
    }
    ran?;
    let mut found: Vec<String> = modules_in(&modules)
        .into_iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    found.sort();
    let one = match (binary, &found[..]) {
        (None, [one]) => Some(one),
        (None, _) => None,
        (Some(name), _) => {
            // Cargo replaces `-` by `_` in the names of libraries.
            let of_library = name.replace('-', "_");
            let named = |name: &str| found.iter().find(|found| *found == name);
            named(name).or_else(|| named(&of_library))
        }
    };
    let Some(one) = one else {
        return Err(Error::Binaries {
            path: directory.to_owned(),
            binary: binary.map(str::to_owned),
            found,
        });
    };
    let wasm = modules.join(one).with_extension("wasm");
    let mut files = vec![directory.join("Cargo.toml"), lock, root];
    files.extend(configuration(directory));
    // Cargo would run the script again each time for a file that does not exist.
    files.retain(|file| file.is_file());
    files.extend(dependencies(&wasm.with_extension("d")));
    Ok(Guest {
        wasm: read(&wasm)?,
        files,
        variables: variables_of_build(&[built.join("release"), modules]),
    })
}

/// Gives a lock file that the guest's cargo has just made the time of the manifest. If a file is
/// newer than the start of this script, the host's cargo runs the script once more. If this
/// function fails, cargo does that, and all is well.
fn make_as_old(lock: &Path, manifest: &Path) {
    let time = fs::metadata(manifest).and_then(|found| found.modified());
    let lock = fs::OpenOptions::new().write(true).open(lock);
    if let (Ok(time), Ok(lock)) = (time, lock) {
        lock.set_modified(time).ok();
    }
}

fn of_rust(
    file: &Path,
    target: &str,
    edition: &str,
    name: &str,
    cargo: &Environment,
) -> Result<Guest, Error> {
    let wasm = cargo.out_dir.join(format!("{name}.guest.wasm"));
    let deps = wasm.with_extension("d");
    // Without WASI, nothing calls `main`, so the guest is a library that the host calls into.
    let kind = if target.contains("wasi") {
        "bin"
    } else {
        "cdylib"
    };
    let mut command = Command::new(&cargo.tools[1]);
    command.args([
        "--target",
        target,
        "--edition",
        edition,
        "--crate-type",
        kind,
    ]);
    command.args(["--crate-name", "guest"]);
    command.args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols"]);
    command.arg(format!(
        "--emit=link={},dep-info={}",
        wasm.display(),
        deps.display()
    ));
    run(command.arg(file), file)?;
    let mut files = dependencies(&deps);
    files.push(file.to_owned());
    Ok(Guest {
        wasm: read(&wasm)?,
        files,
        variables: variables(&deps),
    })
}

fn of_c(file: &Path, command: &[String], name: &str, cargo: &Environment) -> Result<Guest, Error> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Error::Command {
            path: file.to_owned(),
            command: String::new(),
            reason: "names no compiler: expected one such as `clang`".to_owned(),
        });
    };
    let wasm = cargo.out_dir.join(format!("{name}.guest.wasm"));
    let deps = wasm.with_extension("d");
    let mut command = Command::new(program);
    command.args(arguments).arg("-MD").arg("-MF").arg(&deps);
    run(command.arg(file).arg("-o").arg(&wasm), file)?;
    let mut files = dependencies(&deps);
    files.push(file.to_owned());
    Ok(Guest {
        wasm: read(&wasm)?,
        files,
        variables: BTreeSet::new(),
    })
}

fn check_target(mut rustc: Command, path: &Path, target: &str) -> Result<(), Error> {
    rustc.args(["--print", "target-libdir", "--target", target]);
    let printed = run(&mut rustc, path)?;
    match Path::new(printed.trim()).is_dir() {
        true => Ok(()),
        false => Err(Error::MissingTarget {
            path: path.to_owned(),
            target: target.to_owned(),
        }),
    }
}

/// Runs a command that builds the guest at `path`, and returns what it prints.
fn run(command: &mut Command, path: &Path) -> Result<String, Error> {
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(is_of_the_host) {
            command.env_remove(&variable);
        }
    }
    let output = command.stdin(Stdio::null()).output();
    let reason = match output {
        Ok(output) if output.status.success() => {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stderr);
            format!("failed ({}):\n{}", output.status, printed.trim_end())
        }
        Err(error) => format!("could not be started: {error}"),
    };
    Err(Error::Command {
        path: path.to_owned(),
        command: command.get_program().to_string_lossy().into_owned(),
        reason,
    })
}

/// The dependencies that are listed in a file in make's format. The result is empty if the file
/// cannot be read, because not every compiler writes it.
fn dependencies(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut files: Vec<PathBuf> = Vec::new();
    let text = text.replace("\\\n", " ");
    for rule in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, inputs)) = rule.split_once(": ") else {
            continue;
        };
        // In a name, a space has a backslash in front.
        let inputs = inputs.replace("\\ ", "\0");
        let inputs = inputs.split_whitespace();
        files.extend(inputs.map(|input| PathBuf::from(input.replace('\0', " "))));
    }
    files.sort();
    files.dedup();
    files
}

/// The environment variables that rustc names in comments of such a file. A guest does not see
/// those of the host's build.
fn variables(file: &Path) -> BTreeSet<String> {
    let named = |line: &str| {
        let variable = line.strip_prefix("# env-dep:")?;
        variable.split('=').next().map(str::to_owned)
    };
    names_in(file, named)
}

/// The environment variables that a build by cargo depends on: those that its crates read, and
/// those that its build scripts name. `places` are the directories for the host and for the target.
fn variables_of_build(places: &[PathBuf; 2]) -> BTreeSet<String> {
    let named = |line: &str| {
        let directive = line.strip_prefix("cargo:")?.trim_start_matches(':');
        directive
            .strip_prefix("rerun-if-env-changed=")
            .map(str::to_owned)
    };
    let mut all = BTreeSet::new();
    for place in places {
        let notes = files_in(&place.join("deps"));
        let notes = notes.filter(|path| path.extension() == Some(OsStr::new("d")));
        all.extend(notes.flat_map(|path| variables(&path)));
        let scripts = files_in(&place.join("build")).map(|script| script.join("output"));
        all.extend(scripts.flat_map(|output| names_in(&output, named)));
    }
    all
}

/// The names that `named` finds in the lines of a file, which may not exist, but for variables of
/// the host's build.
fn names_in(file: &Path, named: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(named);
    names.filter(|name| !is_of_the_host(name)).collect()
}

/// The modules in a directory.
fn modules_in(directory: &Path) -> Vec<PathBuf> {
    files_in(directory)
        .filter(|path| path.extension() == Some(OsStr::new("wasm")))
        .collect()
}

/// What is in a directory, which may not exist.
fn files_in(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}
