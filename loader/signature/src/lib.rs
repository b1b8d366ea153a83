//! Signatures of artifacts: who vouches for an artifact's machine code.
//!
//! A signature is an ed25519 signature (RFC 8032) of an artifact's BLAKE3 digest. It follows the
//! artifact in its file, so that the artifact and its digest stay the same, and a file may have
//! several. [`TrustedKeys`] checks them. `Module::open_signed` of `precast-loader` (feature
//! `signatures`) runs only what trusted keys have signed.
//!
//! | module | what |
//! |---|---|
//! | `keys` | public keys, and their ids |
//! | `trust` | which keys are trusted, and whether enough of them have signed an artifact |
//! | `pem` | the text form of keys, which OpenSSL reads and writes too |
//! | `secret` (feature `sign`) | secret keys, and signing |
//!
//! # What a signature says
//! The owner of the key has signed this very artifact: each bit of it, and so its target, its
//! settings and the digest of the WebAssembly module that it was made of. A signature has no date.
//! A program that shall not accept a key any longer stops trusting it, and one that shall not
//! accept an old artifact must know the digest or the number of the new one.
//!
//! # Strictness
//! A signature is accepted only in its one canonical form, and public keys of small order, for
//! which signatures of many messages can be made without a secret key, are refused as keys. So
//! nobody but the owner of the key can make another valid signature out of a given one. The key in
//! a signature's record is never used: only its id is compared, and the key itself comes from
//! [`TrustedKeys`].

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
