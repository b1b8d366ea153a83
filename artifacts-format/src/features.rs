//! The proposals that a module may use beyond the first version of WebAssembly.
//!
//! The header has a bit for each proposal that the module uses, so that a loader can refuse an
//! artifact whose proposals its host has turned off.

use crate::abi::numbered;

numbered! {
    /// A proposal. Its number is that of its bit in
    /// [`Header::features`](crate::Header::features).
    ///
    /// ```
    /// use precast_artifact::Feature;
    ///
    /// assert_eq!(Feature::from_name("tail-call"), Some(Feature::TailCall));
    /// assert_eq!(Feature::TailCall.to_string(), "tail-call");
    /// ```
    #[non_exhaustive]
    pub enum Feature {
        /// Operators that extend the sign of narrower integers.
        SignExtension = 0 "sign-extension",
        /// Conversions of floats to integers that do not trap.
        SaturatingFloatToInt = 1 "saturating-float-to-int",
        /// Several results, and blocks with parameters.
        MultiValue = 2 "multi-value",
        /// Operators on ranges of memories and tables.
        BulkMemory = 3 "bulk-memory",
        /// References to functions and to values of the host.
        ReferenceTypes = 4 "reference-types",
        /// Vectors.
        Simd = 5 "simd",
        /// Vector operators whose results depend on the CPU.
        RelaxedSimd = 6 "relaxed-simd",
        /// Calls that replace their caller.
        TailCall = 7 "tail-call",
        /// Arithmetic in constant expressions.
        ExtendedConst = 8 "extended-const",
        /// Several memories.
        MultiMemory = 9 "multi-memory",
        /// Memories and tables with 64-bit indices.
        Memory64 = 10 "memory64",
        /// Exceptions.
        Exceptions = 11 "exceptions",
        /// The former encoding of exceptions.
        LegacyExceptions = 12 "legacy-exceptions",
        /// Arithmetic with 128-bit integers.
        WideArithmetic = 13 "wide-arithmetic",
        /// Atomic operators and shared memories.
        Threads = 14 "threads",
        /// References to functions of one type.
        FunctionReferences = 15 "function-references",
        /// Memories with pages of other sizes.
        CustomPageSizes = 16 "custom-page-sizes",
    }
}

impl Feature {
    /// The proposal with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|f| f.text() == name)
    }

    /// The bit of the proposal.
    pub const fn bit(self) -> u64 {
        1 << self as u32
    }

    /// The proposals whose bits are set.
    pub fn of_bits(bits: u64) -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(move |f| bits & f.bit() != 0)
    }
}

/// The bits of all proposals that exist.
pub const ALL: u64 = {
    let (mut bits, mut i) = (0, 0);
    while i < Feature::ALL.len() {
        bits |= Feature::ALL[i].bit();
        i += 1;
    }
    bits
};
