//! Which keys are trusted, and whether enough of them have signed an artifact.

use std::fmt::Write;
use std::num::NonZero;

use precast_artifact::Artifact;
use precast_artifact::trailer::{FileSignature, MAX_SIGNATURES};

use crate::keys::{KeyId, PublicKey};

/// Why an artifact is not trusted.
///
/// ```
/// use precast_signature::{Error, State};
///
/// /// How many signatures in a file that was refused are of keys that are not trusted.
/// fn unknown(error: &Error) -> usize {
///     match error {
///         Error::NotTrusted { found, .. } => {
///             found.iter().filter(|(_, state)| *state == State::Unknown).count()
///         }
///         _ => 0,
///     }
/// }
/// # assert_eq!(unknown(&Error::NotSigned), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not an artifact, or a damaged one.
    #[error(transparent)]
    Artifact(#[from] precast_artifact::Error),

    /// The file has no signature.
    #[error(
        "the artifact is not signed; expected a signature of a trusted key: use `precast sign`"
    )]
    NotSigned,

    /// Too few trusted keys have signed the artifact.
    #[error(
        "the artifact has valid signatures of {} trusted {}, expected {expected}:{}",
        count(found), if count(found) == 1 { "key" } else { "keys" }, lines(found)
    )]
    NotTrusted {
        /// The key and the state of each signature in the file.
        found: Vec<(KeyId, State)>,
        /// Number of trusted keys that must have signed the artifact.
        expected: usize,
    },

    /// The file has as many signatures as it can have.
    #[error("the file has {MAX_SIGNATURES} signatures already, and can have no more")]
    TooMany,
}

/// The result of checking a signature in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A trusted key has signed this artifact.
    Valid,
    /// The signature names a trusted key, but that key has not signed this artifact.
    Invalid,
    /// The signature names a key that is not trusted. It was not checked.
    Unknown,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "not a signature of this artifact by this key",
            Self::Unknown => "not a trusted key",
        }
    }
}

fn count(found: &[(KeyId, State)]) -> usize {
    valid(found).len()
}

/// The keys with a valid signature, each once.
fn valid(found: &[(KeyId, State)]) -> Vec<KeyId> {
    let is_valid = |(id, state): &(KeyId, State)| (*state == State::Valid).then_some(*id);
    let mut ids: Vec<KeyId> = found.iter().filter_map(is_valid).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn lines(found: &[(KeyId, State)]) -> String {
    let mut text = String::new();
    for (id, state) in found {
        // Writing to a string cannot fail.
        write!(text, "\n  signature of key {id}: {}", state.text()).ok();
    }
    text
}

/// The public keys whose owners may sign code that this program runs.
///
/// ```
/// use precast_signature::{NotAKey, PublicKey, TrustedKeys};
///
/// fn trusted() -> Result<TrustedKeys, NotAKey> {
///     let release = PublicKey::from_pem(
///         "-----BEGIN PUBLIC KEY-----\n\
///          MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
///          -----END PUBLIC KEY-----\n",
///     )?;
///     Ok(TrustedKeys::new([release]))
/// }
/// # assert_eq!(trusted().unwrap().ids().count(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
    required: NonZero<usize>,
}

impl TrustedKeys {
    /// Trusts the owner of each of these keys: a signature of any one of them is enough. Without a
    /// key, nothing is trusted.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let mut all: Vec<PublicKey> = Vec::new();
        for key in keys {
            if !all.contains(&key) {
                all.push(key);
            }
        }
        Self {
            keys: all,
            required: NonZero::<usize>::MIN,
        }
    }

    /// Requires signatures of this many different keys. The default is one.
    #[must_use]
    pub fn require(mut self, keys: NonZero<usize>) -> Self {
        self.required = keys;
        self
    }

    /// How many different keys must have signed.
    pub fn required(&self) -> NonZero<usize> {
        self.required
    }

    /// The ids of the keys.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().map(PublicKey::id)
    }

    /// Computes the digest of an artifact, and checks that enough trusted keys have signed it.
    /// Returns the ids of all trusted keys that have, in ascending order.
    ///
    /// The result is about the bytes that `artifact` is a view of, at the time of the call.
    ///
    /// # Errors
    /// [`Error`], except for [`Error::TooMany`].
    pub fn verify(&self, artifact: &Artifact<'_>) -> Result<Vec<KeyId>, Error> {
        let signatures = artifact.file_signatures()?;
        if signatures.is_empty() {
            return Err(Error::NotSigned);
        }
        artifact.verify_digest(None)?;
        let digest = &artifact.header().digest;
        let state = |signature: &FileSignature| {
            let id = KeyId::of(signature);
            let of_id = self.keys.iter().filter(|key| key.id() == id);
            let checks: Vec<bool> = of_id
                .map(|key| key.has_signed(digest, &signature.signature))
                .collect();
            let state = match checks.contains(&true) {
                true => State::Valid,
                false if checks.is_empty() => State::Unknown,
                false => State::Invalid,
            };
            (id, state)
        };
        let found: Vec<(KeyId, State)> = signatures.iter().map(state).collect();
        let valid = valid(&found);
        let expected = self.required.get();
        if valid.len() < expected {
            return Err(Error::NotTrusted { found, expected });
        }
        Ok(valid)
    }
}
