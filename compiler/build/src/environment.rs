//! What cargo tells a build script.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::Error;

/// The variables that cargo sets for a build script.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The triple that the host is compiled for.
    pub(crate) target: String,
    /// CPU features that the host is compiled for, separated by commas.
    pub(crate) features: String,
    /// The directory for what the script writes.
    pub(crate) out_dir: PathBuf,
    /// The name of the package, which makes symbols unique.
    pub(crate) package: String,
    /// The package's directory.
    pub(crate) directory: PathBuf,
    /// The cargo and the rustc that build the host.
    pub(crate) tools: [OsString; 2],
    /// The cargo and the rustc of rustup, which start those of the toolchain of their directory.
    /// `None` if it was not rustup that started cargo.
    pub(crate) proxies: Option<[OsString; 2]>,
}

impl Environment {
    pub(crate) fn of_cargo() -> Result<Self, Error> {
        let text = |variable: &'static str| {
            env::var(variable).map_err(|_| Error::NoBuildScript { variable })
        };
        Ok(Self {
            target: text("TARGET")?,
            // The variable is not set for a target without features.
            features: env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default(),
            out_dir: text("OUT_DIR")?.into(),
            package: text("CARGO_PKG_NAME")?,
            directory: env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default().into(),
            tools: [("CARGO", "cargo"), ("RUSTC", "rustc")]
                .map(|(variable, name)| env::var_os(variable).unwrap_or_else(|| name.into())),
            proxies: env::var_os("RUSTUP_TOOLCHAIN").map(|_| ["cargo", "rustc"].map(Into::into)),
        })
    }

    /// Writes a file into the directory for what the script writes.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.out_dir.join(name);
        match std::fs::write(&path, bytes) {
            Ok(()) => Ok(path),
            Err(source) => Err(Error::File {
                action: "write",
                path,
                source,
            }),
        }
    }
}

/// Whether a variable describes the host's build. The build of a guest must not see such a
/// variable.
pub(crate) fn is_of_the_host(variable: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "DEP_",
    ];
    const NAMES: [&str; 17] = [
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MAKEFLAGS",
        "CARGO_TARGET_DIR",
        "DEBUG",
        "HOST",
        "MAKEFLAGS",
        "MFLAGS",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC_LINKER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "TARGET",
    ];
    NAMES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}
