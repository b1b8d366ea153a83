//! Secret keys, and signing.
//!
//! A secret key is wiped from memory when it is dropped, and is never printed or put into an error.

use std::fmt;
use std::io;

use ed25519_dalek::{Signer, SigningKey};
use precast_artifact::Artifact;
use precast_artifact::trailer::{self, FileSignature, MAX_SIGNATURES, message};
use zeroize::Zeroizing;

use crate::keys::{KeyId, PublicKey};
use crate::pem::{self, NotAKey};
use crate::trust::Error;

/// A secret key, which signs artifacts.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Makes a new key from the system's random numbers.
    ///
    /// # Errors
    /// The system's.
    pub fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(io::Error::other)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of this secret seed, of RFC 8032.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a secret key from text: PEM with an ed25519 key in PKCS #8 (RFC 8410), without a
    /// password, as `precast key` and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    /// [`NotAKey`] for anything else.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        let seed = Zeroizing::new(pem::decode_secret(text)?);
        Ok(Self::from_seed(&seed))
    }

    /// The key's text form, which [`from_pem`](Self::from_pem) reads. It is wiped from memory when
    /// it is dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(self.0.to_bytes());
        Zeroizing::new(pem::encode_secret(&seed))
    }

    /// The public key that belongs to this key.
    pub fn public(&self) -> PublicKey {
        self.0.verifying_key().into()
    }

    /// Signs an artifact, after computing its digest. Signatures are deterministic.
    ///
    /// # Errors
    /// [`Error::Artifact`] if the artifact does not have the digest in its header.
    pub fn sign(&self, artifact: &Artifact<'_>) -> Result<FileSignature, Error> {
        artifact.verify_digest(None)?;
        let digest = &artifact.header().digest;
        Ok(FileSignature {
            key: self.public().id().0,
            signature: self.0.sign(&message(digest)).to_bytes(),
        })
    }

    /// The file of an artifact with a signature of this key. Other signatures in the file stay, and
    /// one of the same key is replaced.
    ///
    /// # Errors
    /// As for [`sign`](Self::sign), and [`Error::TooMany`].
    pub fn sign_file(&self, artifact: &Artifact<'_>) -> Result<Vec<u8>, Error> {
        let own = self.public().id();
        let mut all = artifact.file_signatures()?.to_vec();
        all.retain(|signature| KeyId::of(signature) != own);
        if all.len() >= MAX_SIGNATURES {
            return Err(Error::TooMany);
        }
        all.push(self.sign(artifact)?);
        let header = artifact.header();
        let mut file = artifact.bytes().to_vec();
        file.extend(trailer::encode(header.file_len, header.page_size, &all));
        Ok(file)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}
