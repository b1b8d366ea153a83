//! The error type.

use std::fmt;
use std::path::PathBuf;

/// Why a guest could not be compiled in a build script.
///
/// The `Debug` form is the message, because Rust prints that form when the `main` of a build script
/// returns an error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not a build script that cargo started.
    #[error("the variable {variable} is not set: expected to be called in a build script by cargo")]
    NoBuildScript {
        /// The variable that cargo sets.
        variable: &'static str,
    },

    /// The name cannot be used for a file and in a symbol.
    #[error(
        "`{}` is not a valid module name: expected letters, digits, `_`, `-` and `.`; give another by \
         `Module::name`",
        precast_artifact::shown(found)
    )]
    Name {
        /// The name.
        found: String,
    },

    /// Another module of the build script has the name.
    #[error(
        "two modules have the name `{}`, so that one would replace the other: give one another \
         name by `Module::name`",
        precast_artifact::shown(name)
    )]
    TakenName {
        /// The name.
        name: String,
    },

    /// A file or directory could not be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// What the build script tried to do, such as "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// The text of a module is not valid.
    #[error("cannot parse `{}`: {message}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },

    /// The module cannot be compiled.
    #[error("cannot compile the guest `{}`: {source}", path.display())]
    Compile {
        /// The file or directory of the guest.
        path: PathBuf,
        /// The compiler's error.
        source: precast_compiler::Error,
    },

    /// Rust's standard library for the guest's target is not installed.
    #[error(
        "cannot build the guest `{}`: Rust's standard library for {target} is not installed; run \
         `rustup target add {target}`, in the guest's directory if that has a toolchain file",
        path.display()
    )]
    MissingTarget {
        /// The file or directory of the guest.
        path: PathBuf,
        /// The guest's target.
        target: String,
    },

    /// A compiler for guests could not be started, or failed.
    #[error("cannot build the guest `{}`: `{command}` {reason}", path.display())]
    Command {
        /// The file or directory of the guest.
        path: PathBuf,
        /// The command.
        command: String,
        /// What happened, with all that the command printed to its standard error.
        reason: String,
    },

    /// The package has no program that could be the guest, or several, or not the chosen one.
    #[error("the package `{}` {}", path.display(), binaries(binary.as_deref(), found))]
    Binaries {
        /// The directory of the package.
        path: PathBuf,
        /// The name that was chosen by [`Module::binary`](crate::Module::binary).
        binary: Option<String>,
        /// Names of the modules that it has.
        found: Vec<String>,
    },

    /// The artifact that the compiler has just made cannot be read.
    #[error(transparent)]
    Artifact(#[from] precast_artifact::Error),

    /// The artifact cannot be made an object file.
    #[error(transparent)]
    Object(#[from] precast_object::Error),
}

/// What the package has, and what to do about it.
fn binaries(chosen: Option<&str>, found: &[String]) -> String {
    let list = || found.join(", ");
    match chosen {
        _ if found.is_empty() => "has nothing that could be the guest; expected a program, or a \
                                  library with `crate-type = [\"cdylib\"]`"
            .to_owned(),
        Some(name) => format!(
            "has no `{}` that could be the guest, but {}; choose one of these by `Module::binary`",
            precast_artifact::shown(name),
            list()
        ),
        None => format!(
            "has {} that could be the guest; choose one by `Module::binary`",
            list()
        ),
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
