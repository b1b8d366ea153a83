//! The toolchain that builds a package: the host's, or the one of the package's toolchain file.
//!
//! Rustup sets `RUSTUP_TOOLCHAIN` for the cargo that it starts, and cargo sets `RUSTC` for build
//! scripts. With these variables, each tool that the script starts is one of the host's toolchain.
//! If the guest has a toolchain file that is not the host's too, rustup is asked again, without
//! these variables and in the guest's directory. Where rustup did not start cargo, toolchain files
//! mean nothing.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::Environment;

/// Names of toolchain files.
const FILES: [&str; 2] = ["rust-toolchain", "rust-toolchain.toml"];

/// The cargo and the rustc for a guest.
pub(crate) struct Toolchain<'a> {
    directory: &'a Path,
    tools: &'a [OsString; 2],
    /// Rustup chooses the tools by the guest's directory.
    is_guests: bool,
}

impl<'a> Toolchain<'a> {
    /// The toolchain for the package in a directory.
    pub(crate) fn of(directory: &'a Path, cargo: &'a Environment) -> Self {
        let host = place_of_file(&cargo.directory);
        let own = place_of_file(directory).filter(|place| Some(place) != host.as_ref());
        let proxies = cargo.proxies.as_ref().filter(|_| own.is_some());
        Self {
            directory,
            tools: proxies.unwrap_or(&cargo.tools),
            is_guests: proxies.is_some(),
        }
    }

    /// Cargo in the guest's directory, where it takes the guest's configuration and not the host's.
    pub(crate) fn cargo(&self) -> Command {
        self.command(&self.tools[0])
    }

    pub(crate) fn rustc(&self) -> Command {
        self.command(&self.tools[1])
    }

    fn command(&self, program: &OsString) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory);
        if self.is_guests {
            for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
                command.env_remove(variable);
            }
        }
        command
    }
}

/// The directory of the toolchain file that rustup finds for a directory.
fn place_of_file(directory: &Path) -> Option<PathBuf> {
    let directory = fs::canonicalize(directory).ok()?;
    let mut places = directory.ancestors();
    let place = places.find(|place| FILES.iter().any(|name| place.join(name).is_file()));
    place.map(Path::to_owned)
}

/// The files that configure cargo and rustup in a directory. Most of them are not there.
pub(crate) fn configuration(directory: &Path) -> Vec<PathBuf> {
    let names = [".cargo/config", ".cargo/config.toml"];
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let places = directory.ancestors();
    let mut files: Vec<PathBuf> = places
        .flat_map(|place| names.iter().chain(&FILES).map(|name| place.join(name)))
        .collect();
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    if let Some(home) = env::var_os("CARGO_HOME").map(PathBuf::from).or(home) {
        files.extend(["config", "config.toml"].map(|name| home.join(name)));
    }
    files
}
