//! Signatures of artifacts: who vouches for an artifact's machine code.
//!
//! A signature is an ed25519 signature (RFC 8032) of an artifact's BLAKE3 digest. It follows the
//! artifact in its file, so that the artifact and its digest stay the same, and a file may have
//! several. [`TrustedKeys`] checks them. `Module::open_signed` of `precast-loader` (feature
//! `signatures`) runs only what trusted keys have signed.
//!
//! # What a signature says
//! The owner of the key has signed this very artifact: each bit of it, and so its target, its
//! settings and the digest of the WebAssembly module that it was made of. A signature has no date.
//! A program that must not accept a key any longer stops trusting the key. A program that must not
//! accept an old artifact needs other means, such as the digest of the new one.
//!
//! # Strictness
//! A signature is accepted only in its one canonical form. Public keys of small order, for which
//! signatures of many messages can be made without a secret key, are refused. So only the owner of
//! the key can make another valid signature out of a given one. A signature's record names its key
//! by the id only: the key itself comes from [`TrustedKeys`].

// Where things are, for those who change the crate:
//
// | module | what |
// |---|---|
// | `keys` | public keys, and their ids |
// | `trust` | which keys are trusted, and whether enough of them have signed an artifact |
// | `pem` | the text form of keys, which OpenSSL reads and writes too |
// | `secret` (feature `sign`) | secret keys, and signing |

mod keys;
mod pem;
#[cfg(feature = "sign")]
mod secret;
mod trust;

pub use keys::{KeyId, PublicKey};
pub use pem::NotAKey;
#[cfg(feature = "sign")]
pub use secret::SecretKey;
pub use trust::{Error, State, TrustedKeys};
