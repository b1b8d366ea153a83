//! The keys under which compiled modules are cached.

use std::fmt;
use std::str::FromStr;

use precast_artifact::reader::hex;
use precast_compiler::Identity;

/// Identifies one artifact: the BLAKE3 hash of the module and of everything else that the
/// artifact's bytes depend on.
///
/// The compiler lists what they depend on in its [`Identity`]: its version, its sources and
/// Cranelift's version; the format and ABI numbers; the target, the resolved CPU features and all
/// other settings. As text, a key is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// A request for a module: its key, and what the metadata of the artifact under that key must say.
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) source_digest: [u8; 32],
    pub(crate) identity: Identity,
}

impl Request {
    pub(crate) fn new(source_digest: [u8; 32], identity: Identity) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("precast compilation cache key, layout 1");
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(identity.producer);
        text(identity.sources);
        text(&identity.format.to_string());
        text(&identity.abi.to_string());
        text(&identity.target);
        for (name, value) in &identity.settings {
            text(name);
            text(value);
        }
        hasher.update(&source_digest);
        Self {
            key: Key(hasher.finalize().into()),
            source_digest,
            identity,
        }
    }
}

impl Key {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// The text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a key, which is 64 hexadecimal digits in lower case; found `{0}`")]
pub struct NotAKey(pub String);

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let wrong = || NotAKey(text.to_owned());
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(wrong()),
        };
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| wrong())?;
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use precast_compiler::{Compiler, OptLevel, Settings};

    use super::*;

    #[test]
    fn depends_on_module_and_settings() {
        let key = |wasm: &[u8], opt_level| {
            let settings = Settings {
                opt_level,
                ..Settings::default()
            };
            let identity = Compiler::new(settings).unwrap().identity();
            Request::new(blake3::hash(wasm).into(), identity).key
        };
        let base = key(b"a", OptLevel::Speed);
        assert_eq!(base, key(b"a", OptLevel::Speed));
        assert_ne!(base, key(b"b", OptLevel::Speed));
        assert_ne!(base, key(b"a", OptLevel::None));
    }

    #[test]
    fn reads_what_it_prints_and_nothing_else() {
        let key = Key(std::array::from_fn(|i| i as u8 * 8 + 1));
        assert_eq!(key.to_string().parse(), Ok(key));
        let text = key.to_string();
        for wrong in [
            String::new(),
            text[1..].to_owned(),
            text.to_uppercase(),
            format!("{text}0"),
            text.replace('9', "é"),
            text.replacen('0', "/", 1),
        ] {
            assert_eq!(wrong.parse::<Key>(), Err(NotAKey(wrong)));
        }
    }
}
