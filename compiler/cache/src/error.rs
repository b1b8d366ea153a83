//! The error type: one variant for each thing that the caller can do about an error.

use std::path::PathBuf;

use precast_loader::KeyId;

use crate::Key;

/// Why a module could not be loaded or compiled, or why a cache could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module cannot be compiled, or the settings are wrong.
    #[error(transparent)]
    Compile(#[from] precast_compiler::Error),

    /// The artifact is complete but cannot be used here, for instance because it is for another CPU
    /// or there is not enough memory.
    #[error(transparent)]
    Load(#[from] precast_loader::Error),

    /// The module is not in the cache, and [`Options::require_hit`](crate::Options::require_hit)
    /// forbids to compile it.
    #[error(
        "the module is not in the cache: no usable entry {key} in {looked}; compile it once with a \
         cache that may compile, by the same precast and with the same settings"
    )]
    Missing {
        /// The key that was looked up.
        key: Key,
        /// Where the cache looked: the directory, or "memory".
        looked: String,
    },

    /// The system allows code to be mapped neither from files in the directory nor from memory.
    #[error(
        "the system lets code be mapped neither from the cache `{}` nor from a copy in memory: use \
         a directory of a file system that is not mounted `noexec`, or allow executable memory \
         files (`vm.memfd_noexec`, or the policy that forbids them)",
        directory.display()
    )]
    NoCode {
        /// The directory of the cache.
        directory: PathBuf,
        /// The system's error for the copy in memory.
        source: std::io::Error,
    },

    /// The directory cannot be used as a cache.
    #[error("cannot use `{}` as a cache: found {found}, expected {expected}", path.display())]
    Directory {
        /// The directory, or the file that is in its place or in the place of a parent directory.
        path: PathBuf,
        /// What was found there.
        found: String,
        /// What was expected there.
        expected: &'static str,
    },

    /// The cache would not use what it stores, and would compile each module again in each process.
    #[error("a cache that signs with key {key} could not use what it stores: {reason}")]
    Untrusted {
        /// The id of the key that the cache signs with.
        key: KeyId,
        /// Why its signature is not enough, and what to do.
        reason: &'static str,
    },

    /// An operation on a file or directory failed.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What the cache tried to do.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// The operation needs a directory, and this cache is in memory.
    #[error("the cache is in memory: it has no directory to {0}")]
    InMemory(&'static str),
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
