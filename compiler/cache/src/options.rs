//! What the user may choose about a cache.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Environment variable that names the directory of caches of which nothing else says it.
pub const DIRECTORY_VARIABLE: &str = "PRECAST_CACHE_DIR";

/// How a cache behaves. The default reads and writes, and keeps at most 4 GiB of entries that were
/// used in the last 90 days.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) read_only: bool,
    pub(crate) require_hit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: Some(4 << 30),
            max_age: Some(Duration::from_hours(90 * 24)),
            read_only: false,
            require_hit: false,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes of artifacts to keep, `None` for no limit: beyond that, those that were used
    /// least recently go. Modules in use do not suffer: only the cache forgets them.
    #[must_use]
    pub fn max_bytes(mut self, bytes: Option<u64>) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How long to keep artifacts that nobody uses, `None` for ever. The day of the last use is
    /// known, not the minute, because hits write nothing more often than that.
    #[must_use]
    pub fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }

    /// Write nothing into the directory: no entry, no time of use, no lock. Misses are compiled and
    /// kept in memory.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Never compile: a miss is [`Error::Missing`](crate::Error::Missing).
    #[must_use]
    pub fn require_hit(mut self, on: bool) -> Self {
        self.require_hit = on;
        self
    }
}

/// Where caches are that nobody gave a place: the directory named by [`DIRECTORY_VARIABLE`], else
/// `precast` in `$XDG_CACHE_HOME`, else `.cache/precast` in `$HOME`. `None` when none of these is
/// set to an absolute path; a cache can then be [in
/// memory](crate::CompilationCache::in_memory).
pub fn default_directory() -> Option<PathBuf> {
    choose(|name| env::var_os(name))
}

fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // Asked for by name, it may be relative; the others are ignored then, as the XDG base directory
    // specification wants.
    if let Some(path) = variable(DIRECTORY_VARIABLE).filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let absolute = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let home = || absolute("HOME").filter(|home| home != Path::new("/"));
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(home()?.join(".cache")))
        .map(|caches| caches.join("precast"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_directory_follows_the_environment() {
        let with = |variables: &[(&str, &str)]| {
            choose(|name| {
                let found = variables.iter().find(|(n, _)| *n == name)?;
                Some(found.1.into())
            })
        };
        let (home, xdg, own) = (
            ("HOME", "/home/a"),
            ("XDG_CACHE_HOME", "/x"),
            (DIRECTORY_VARIABLE, "here"),
        );
        assert_eq!(with(&[home, xdg, own]), Some("here".into()));
        assert_eq!(with(&[home, xdg]), Some("/x/precast".into()));
        assert_eq!(with(&[home]), Some("/home/a/.cache/precast".into()));
        assert_eq!(
            with(&[home, ("XDG_CACHE_HOME", "x"), (DIRECTORY_VARIABLE, "")]),
            Some("/home/a/.cache/precast".into())
        );
        // As service managers have it for users without a home.
        assert_eq!(with(&[("HOME", "/")]), None);
        assert_eq!(with(&[("HOME", "")]), None);
        assert_eq!(with(&[]), None);
    }
}
