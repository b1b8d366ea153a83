//! Modules that run because a trusted key has signed them (feature `signatures`).

use std::path::Path;

use precast_signature::{KeyId, TrustedKeys};

use crate::engine::Engine;
use crate::error::Error;
use crate::mapping::{Mapping, Trust};
use crate::module::Module;

impl Module {
    /// Maps a sealed copy of the artifact at `path` if enough trusted keys have signed it.
    ///
    /// Everything is as for [`Module::open_verified`]: the digest and the signatures are those of
    /// the sealed copy, which nobody can change, so the code that runs is the code that was signed,
    /// whatever happens to the file. A file with fs-verity is mapped without a copy.
    ///
    /// A signature says who made the artifact, and not when or what for. A program that must not
    /// accept a key any longer opens modules without that key among the trusted ones, or looks at
    /// [`Module::signers`]. An old artifact stays signed.
    ///
    /// ```
    /// use precast_loader::{Engine, Error, Module, PublicKey, TrustedKeys};
    ///
    /// fn plugin(engine: &Engine, path: &str, key: &PublicKey) -> Result<Module, Error> {
    ///     let trusted = TrustedKeys::new([key.clone()]);
    ///     let module = Module::open_signed(engine, path, &trusted)?;
    ///     println!("signed by {:?}", module.signers());
    ///     Ok(module)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Signature`] if too few trusted keys have signed the artifact or the digest is not
    /// that of the header, [`Error::Artifact`] if it is damaged or does not fit this host, and
    /// [`Error::File`], also when the system refuses memory files or code in them.
    pub fn open_signed(
        engine: &Engine,
        path: impl AsRef<Path>,
        keys: &TrustedKeys,
    ) -> Result<Self, Error> {
        let mapping = Mapping::open(path.as_ref(), Trust::Signed(keys))?;
        Self::new(engine, mapping)
    }

    /// [`Module::open_signed`] for bytes in memory: an artifact and its signatures.
    ///
    /// # Errors
    /// As for [`Module::open_signed`].
    pub fn from_bytes_signed(
        engine: &Engine,
        bytes: &[u8],
        keys: &TrustedKeys,
    ) -> Result<Self, Error> {
        let mapping = Mapping::from_bytes(bytes, Trust::Signed(keys))?;
        Self::new(engine, mapping)
    }

    /// The trusted keys that have signed the artifact, in ascending order. The list is empty if the
    /// module was opened in a way that checks no signatures.
    pub fn signers(&self) -> &[KeyId] {
        &self.code.mapping().signers
    }
}
