//! Errors of the compiler, typed by what the caller can do about them.

use precast_artifact::shown;
use wasmparser::WasmFeatures;

/// Why a module was not compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a valid WebAssembly module: the toolchain that made them must be fixed.
    #[error("invalid WebAssembly module: {} (at byte {offset:#x})", shown(message))]
    Invalid {
        /// Byte offset from the start of the module.
        offset: u64,
        /// What was found and what was expected.
        message: String,
    },

    /// The bytes are not a WebAssembly module at all.
    #[error("expected a WebAssembly module, found {found}; {remedy}")]
    NotAModule {
        /// What the bytes look like.
        found: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },

    /// The module needs a proposal that this compiler does not implement.
    #[error(
        "the module uses the {proposal} proposal, which is not supported: {} \
         (at byte {offset:#x}); turn that feature off in the toolchain that made the module",
        shown(message)
    )]
    Unsupported {
        /// Name of the proposal.
        proposal: String,
        /// Byte offset of the first use, from the start of the module.
        offset: u64,
        /// What was found there.
        message: String,
    },

    /// The module needs a proposal that this compiler implements and the settings forbid.
    #[error(
        "the module uses the {proposal} proposal, which the settings forbid: {} \
         (at byte {offset:#x})",
        shown(message)
    )]
    Forbidden {
        /// Name of the proposal.
        proposal: String,
        /// Byte offset of the first use, from the start of the module.
        offset: u64,
        /// What was found there.
        message: String,
    },

    /// A limit of this compiler is exceeded.
    #[error("the module is too large: {what} is {found}, at most {limit} is supported")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        found: u64,
        /// The limit.
        limit: u64,
    },

    /// The module exceeds one of the [`Limits`](crate::Limits) that were set.
    #[error("the module exceeds the limit `{name}`: {what} is {found}, at most {max} is allowed")]
    Limit {
        /// The limit's name.
        name: &'static str,
        /// What exceeds the limit.
        what: String,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        max: u64,
    },

    /// A setting names something unknown, or does not fit the other settings.
    #[error("{setting} `{found}` is not supported; expected {expected}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The setting's value.
        found: String,
        /// Values that are supported.
        expected: String,
    },

    /// The code generator refused a function that is valid.
    #[error("cannot generate code for {symbol}: {message}")]
    Codegen {
        /// The function or trampoline.
        symbol: String,
        /// What the code generator said.
        message: String,
    },

    /// The machine code cannot be laid out in an artifact.
    #[error("cannot lay out the machine code")]
    Layout(#[from] crate::LayoutError),

    /// The compiled module cannot be written as an artifact.
    #[error("cannot write the artifact")]
    Write(#[from] precast_artifact::writer::WriteError),

    /// The profile is of another module.
    #[error("cannot use the profile")]
    Profile(#[from] precast_artifact::ProfileError),

    /// The artifact that was written is not correct: a fault of this compiler.
    #[error("the artifact is not correct, which is a fault of precast")]
    Verify(#[from] crate::VerifyError),
}

impl Error {
    /// The same error, at this byte if the error has no offset yet.
    pub(crate) fn at(mut self, byte: u64) -> Self {
        if let Self::Unsupported { offset, .. } = &mut self
            && *offset == 0
        {
            *offset = byte;
        }
        self
    }
}

impl From<wasmparser::Error> for Error {
    fn from(error: wasmparser::Error) -> Self {
        let (offset, message) = (error.offset(), error.message().to_owned());
        match error.missing_wasm_feature() {
            Some(features) => Self::Unsupported {
                proposal: proposal_name(features),
                offset,
                message,
            },
            None => Self::Invalid { offset, message },
        }
    }
}

/// The proposal's own name: `function-references` for wasmparser's `FUNCTION_REFERENCES`.
pub(crate) fn proposal_name(features: WasmFeatures) -> String {
    let names: Vec<_> = features
        .iter_names()
        .map(|(name, _)| feature_name(name))
        .collect();
    names.join(" and ")
}

/// The name of a proposal in the usual spelling, from wasmparser's name.
pub(crate) fn feature_name(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_have_their_own_names() {
        assert_eq!(
            proposal_name(WasmFeatures::FUNCTION_REFERENCES),
            "function-references"
        );
        assert_eq!(proposal_name(WasmFeatures::THREADS), "threads");
    }
}
