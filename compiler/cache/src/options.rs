//! The options of a cache.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use precast_artifact::{Aligned, Artifact};
use precast_loader::TrustedKeys;
use precast_signature::SecretKey;

use crate::Error;

/// Environment variable that names the [default directory](default_directory) of caches.
pub const DIRECTORY_VARIABLE: &str = "PRECAST_CACHE_DIR";

/// How a cache behaves. The default reads and writes, and keeps at most 4 GiB of entries that were
/// used in the last 90 days.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) read_only: bool,
    pub(crate) require_hit: bool,
    pub(crate) trusted: Option<TrustedKeys>,
    pub(crate) secret: Option<Arc<SecretKey>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: Some(4 << 30),
            max_age: Some(Duration::from_hours(90 * 24)),
            read_only: false,
            require_hit: false,
            trusted: None,
            secret: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maximum number of bytes of artifacts to keep, `None` for no limit. Beyond the limit, the
    /// least recently used artifacts are evicted. Evicted modules that are in use keep working.
    #[must_use]
    pub fn max_bytes(mut self, bytes: Option<u64>) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How long to keep artifacts that nobody uses, `None` for ever. The last use is known to a day
    /// only, because a hit writes the time of use at most once a day.
    #[must_use]
    pub fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }

    /// Whether to write nothing into the directory: no entry, no time of use, no lock. Modules that
    /// are not in the directory are then compiled and kept in memory.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Whether to never compile. A miss is then the error
    /// [`Error::Missing`](crate::Error::Missing).
    #[must_use]
    pub fn require_hit(mut self, on: bool) -> Self {
        self.require_hit = on;
        self
    }

    /// Use entries of the directory only if trusted keys have signed them, for a directory that
    /// others can write to. Each entry is then read in full, and its code runs from a sealed copy,
    /// so nobody can change it after the check: see `Module::open_signed` of `precast-loader`.
    /// Remembered digests of modules' files are not trusted either. An entry without such a
    /// signature is a miss. What is compiled is stored only if the cache can [sign](Self::sign) it,
    /// and kept in memory otherwise.
    ///
    /// The directory must still belong to this user or to root.
    #[must_use]
    pub fn require_signatures(mut self, keys: TrustedKeys) -> Self {
        self.trusted = Some(keys);
        self
    }

    /// Sign each entry that the cache writes, with this key. If
    /// [signatures are required](Self::require_signatures), a signature of this key must be enough.
    ///
    /// To change the key of a directory, first trust the new key in all processes that use the
    /// directory, beside the old one. When all do, sign with the new key. When all sign with it,
    /// let none trust the old key any more: entries that only the old key has signed are then
    /// compiled again. Caches that do not trust each other's keys replace each other's entries.
    #[must_use]
    pub fn sign(mut self, key: SecretKey) -> Self {
        self.secret = Some(Arc::new(key));
        self
    }

    /// Checks that the cache can use what it signs. One that is only read signs nothing.
    pub(crate) fn check_key(&self) -> Result<(), Error> {
        let (Some(secret), Some(trusted)) = (&self.secret, &self.trusted) else {
            return Ok(());
        };
        if self.read_only {
            return Ok(());
        }
        let key = secret.public().id();
        let reason = if !trusted.ids().any(|id| id == key) {
            "the key is not trusted; add its public key to those of `require_signatures`"
        } else if trusted.required().get() > 1 {
            "signatures of several keys are required, and a cache signs with one; require one"
        } else {
            return Ok(());
        };
        Err(Error::Untrusted { key, reason })
    }

    /// The artifact as it is stored: signed, if there is a key. `None` if it must not be stored,
    /// because nobody could use it.
    pub(crate) fn stored<'a>(&self, artifact: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let Some(secret) = &self.secret else {
            return self.trusted.is_none().then_some(artifact.into());
        };
        let aligned = Aligned::new(artifact);
        let parsed = Artifact::parse(&aligned, None).ok()?;
        secret.sign_file(&parsed).ok().map(Cow::Owned)
    }
}

/// Returns the directory for a cache whose directory nobody chose: the one named by
/// [`DIRECTORY_VARIABLE`], else `precast` in `$XDG_CACHE_HOME`, else `.cache/precast` in `$HOME`.
/// `None` if the first is not set and the other two are not set to an absolute path, or `$HOME` is
/// the root directory. A cache can then be [in memory](crate::CompilationCache::in_memory).
pub fn default_directory() -> Option<PathBuf> {
    choose(|name| env::var_os(name))
}

fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // This variable may hold a relative path. The other two are ignored if they do, as the XDG base
    // directory specification demands.
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
        // Service managers set this for users without a home directory.
        assert_eq!(with(&[("HOME", "/")]), None);
        assert_eq!(with(&[("HOME", "")]), None);
        assert_eq!(with(&[]), None);
    }
}
