//! The errors of [`WasiCtxBuilder`](crate::WasiCtxBuilder).

use std::path::PathBuf;

/// Why [`WasiCtxBuilder`](crate::WasiCtxBuilder) cannot give a guest what the host asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An argument contains a NUL byte.
    #[error("argument {index} has a NUL byte: {arg:?}; arguments end at the first NUL")]
    Arg {
        /// The index of the argument, from 0.
        index: usize,
        /// The argument.
        arg: String,
    },
    /// An environment variable has a name or value that no environment can hold.
    #[error("environment variable {key:?}: {what}")]
    Env {
        /// The name of the variable.
        key: String,
        /// What is wrong with the variable.
        what: &'static str,
    },
    /// A directory cannot be opened.
    #[error("cannot open directory {} for the guest's {guest:?}", host.display())]
    Preopen {
        /// The host's directory.
        host: PathBuf,
        /// The guest's name for the directory.
        guest: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The guest's name for a directory is not a valid path.
    #[error("the guest's name {guest:?} of directory {}: {what}", host.display())]
    GuestPath {
        /// The host's directory.
        host: PathBuf,
        /// The guest's name for the directory.
        guest: String,
        /// What is wrong with the name.
        what: &'static str,
    },
    /// The guest's name for a mounted file system is not a valid path.
    #[error("the guest's name {guest:?} of a file system: {what}")]
    MountPath {
        /// The guest's name for the file system.
        guest: String,
        /// What is wrong with the name.
        what: &'static str,
    },
    /// The system cannot tell which files to protect.
    #[error("cannot protect {} from the guest", path.display())]
    Protect {
        /// The file or directory to protect.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The guest has more directories than there are descriptors.
    #[error("{wanted} preopened directories, at most {limit} are possible")]
    TooManyPreopens {
        /// How many directories were given.
        wanted: usize,
        /// The maximum number of directories of a guest.
        limit: usize,
    },
}
