//! What can go wrong, typed by what the caller can do about it.

use std::path::PathBuf;

use crate::Key;

/// Why there is no module, or no cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module cannot be compiled, or the settings are wrong.
    #[error(transparent)]
    Compile(#[from] precast_compiler::Error),

    /// The artifact is whole, but cannot be used here: it is for another CPU, say, or memory is
    /// short.
    #[error(transparent)]
    Load(#[from] precast_loader::Error),

    /// The module is not in the cache, and compiling is ruled out
    /// ([`Options::require_hit`](crate::Options::require_hit)).
    #[error(
        "the module is not in the cache: no usable entry {key} in {looked}; compile it once with a \
         cache that may compile, by the same precast and with the same settings"
    )]
    Missing {
        /// What was looked for.
        key: Key,
        /// Where.
        looked: String,
    },

    /// The system lets code be mapped neither from files in the directory nor from memory.
    #[error(
        "the system lets code be mapped neither from the cache `{}` nor from a copy in memory: use a \
         directory of a file system that is not mounted `noexec`, or allow executable memory files \
         (`vm.memfd_noexec`, or the policy that forbids them)",
        directory.display()
    )]
    NoCode {
        /// The cache.
        directory: PathBuf,
        /// The system's answer for the copy in memory.
        source: std::io::Error,
    },

    /// The directory cannot be used as a cache.
    #[error("cannot use `{}` as a cache: found {found}, expected {expected}", path.display())]
    Directory {
        /// The directory, or what is in the way of it.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },

    /// The system refused something that the caller asked for by name.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },

    /// The operation is about a directory, and this cache is in memory.
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
