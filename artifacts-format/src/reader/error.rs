//! What an artifact needs of its host, and why bytes cannot be used as an artifact.

use crate::HEADER_OFFSET;
use crate::target::{Arch, Os};

/// What the host offers. It is compared with what an artifact needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Architecture.
    pub arch: Arch,
    /// Operating system.
    pub os: Os,
    /// CPU features: bits as in [`Arch::features`].
    pub cpu_features: u64,
    /// Bytes of a page.
    pub page_size: u32,
}

/// One thing that an artifact needs and the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The artifact was compiled for an ABI that was withdrawn.
    #[error(
        "it was made for loader ABI {found}, and code made for ABI 1 and 2 can leave the sandbox: \
         compile it again with a precast of today"
    )]
    UnsafeAbi {
        /// The artifact's ABI.
        found: u32,
    },
    /// The artifact was compiled for another ABI of the loader.
    #[error(
        "it needs loader ABI {found}, this loader has {expected}: \
         compile it again with a precast of the same ABI"
    )]
    Abi {
        /// The artifact's ABI.
        found: u32,
        /// The loader's ABI.
        expected: u32,
    },
    /// The artifact was compiled for another architecture or operating system.
    #[error(
        "it was compiled for {found}, this host is {expected}: compile with --target {expected}"
    )]
    Target {
        /// The artifact's target.
        found: String,
        /// The host's target.
        expected: String,
    },
    /// The artifact uses CPU features that this CPU does not have.
    #[error(
        "it uses CPU features that this CPU lacks ({missing}): \
         compile with --cpu baseline, or without these"
    )]
    CpuFeatures {
        /// Names of these features, separated by commas.
        missing: String,
    },
    /// The artifact is laid out for smaller pages than the host's.
    #[error("it is laid out for pages of {found} bytes, this host has pages of {expected}")]
    PageSize {
        /// The artifact's page size.
        found: u32,
        /// The host's page size.
        expected: u32,
    },
}

/// What kind of file was found in place of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FoundFile {
    /// No bytes.
    Empty,
    /// A WebAssembly core module.
    WasmModule,
    /// A WebAssembly component.
    WasmComponent,
    /// WebAssembly text.
    WasmText,
    /// A file with several artifacts, see [`variants`](crate::variants).
    Variants,
    /// An ELF file that is no artifact. There may be an artifact in it.
    OtherElf,
    /// A file of another kind, with its first four bytes.
    Unknown([u8; 4]),
}

impl FoundFile {
    /// Guesses what `bytes` are, given that they are not an artifact.
    pub fn sniff(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Empty,
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => Self::WasmComponent,
            [0, b'a', b's', b'm', ..] => Self::WasmModule,
            _ if bytes.starts_with(&crate::variants::MAGIC) => Self::Variants,
            [0x7f, b'E', b'L', b'F', ..] => Self::OtherElf,
            _ if bytes.trim_ascii_start().starts_with(b"(module") => Self::WasmText,
            _ => {
                let mut first = [0; 4];
                let n = bytes.len().min(4);
                first[..n].copy_from_slice(&bytes[..n]);
                Self::Unknown(first)
            }
        }
    }
}

impl core::fmt::Display for FoundFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file"),
            Self::WasmModule => {
                f.write_str("a WebAssembly module: compile it first, with `precast compile`")
            }
            Self::WasmComponent => {
                f.write_str("a WebAssembly component: only core modules can be compiled")
            }
            Self::WasmText => f.write_str("WebAssembly text: compile it first"),
            Self::Variants => f.write_str(
                "a file with several artifacts, for several CPUs; expected one artifact: compile \
                 for each CPU by itself, sign what is to be signed, then use `precast join`",
            ),
            Self::OtherElf => f.write_str(
                "an ELF file that is no artifact; if it was made of one, by `precast exe` or \
                 `--emit obj`, use the artifact",
            ),
            Self::Unknown(b) => {
                write!(
                    f,
                    "a file that starts with {:02x} {:02x} {:02x} {:02x}",
                    b[0], b[1], b[2], b[3]
                )
            }
        }
    }
}

/// Why bytes cannot be used as an artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not an artifact.
    #[error("expected a precast artifact, found {0}")]
    NotArtifact(FoundFile),
    /// The bytes are shorter than their header says, or than any artifact.
    #[error("the artifact is truncated: {found} bytes, expected {expected}")]
    Truncated {
        /// Number of bytes found.
        found: u64,
        /// Number of bytes expected.
        expected: u64,
    },
    /// The bytes are longer than their header says, and what follows is no signature.
    #[error(
        "the artifact is {found} bytes long, but its header says {expected}: a tool such as \
         `strip` has changed it; an artifact must stay as precast wrote it"
    )]
    TrailingBytes {
        /// Number of bytes found.
        found: u64,
        /// Number of bytes expected.
        expected: u64,
    },
    /// The artifact is written in a format that this reader does not know.
    #[error(
        "the artifact has format {found}, this loader reads format {expected}: compile it again"
    )]
    Format {
        /// The artifact's format.
        found: u32,
        /// The reader's format.
        expected: u32,
    },
    /// None of the variants in a file fits this host.
    #[error(
        "the file has no variant for this host ({expected}, without CPU features that all of its \
         variants need); it has {}: compile for this host too",
        found.join("; ")
    )]
    NoVariant {
        /// What the variants are for.
        found: Vec<String>,
        /// The host.
        expected: String,
    },
    /// The artifact was made for another loader or host.
    #[error("the artifact does not fit this host: {}", list(.0))]
    Mismatch(Vec<Mismatch>),
    /// The header or the hot tables are damaged.
    #[error(
        "the artifact is damaged: checksum of its first {len} bytes from offset {HEADER_OFFSET} \
         is {found:#010x}, expected {expected:#010x}"
    )]
    Checksum {
        /// The checksum that was computed.
        found: u32,
        /// The checksum that the header holds.
        expected: u32,
        /// Number of bytes that the checksum covers.
        len: u32,
    },
    /// The file's digest is not the expected digest.
    #[error("the artifact's digest is {found}, expected {expected}")]
    Digest {
        /// The digest that was computed, in hexadecimal.
        found: String,
        /// The digest that was expected, in hexadecimal.
        expected: String,
    },
    /// A field has a value that no artifact can have.
    #[error("the artifact is damaged at offset {offset:#x}: {what}")]
    Damaged {
        /// File offset of the field, or of the start of its table.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The bytes in memory do not start at an address that records can be read from.
    #[error("the artifact's bytes are not aligned to {expected} bytes in memory")]
    Misaligned {
        /// The alignment that records need, in bytes.
        expected: u32,
    },
}

fn list(mismatches: &[Mismatch]) -> String {
    mismatches
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Names of CPU feature bits, separated by commas.
pub fn feature_names(arch: Arch, bits: u64) -> String {
    let known = arch.features();
    let mut names: Vec<String> = Vec::new();
    for bit in 0..64 {
        if bits & (1 << bit) != 0 {
            names.push(
                known
                    .get(bit)
                    .map_or_else(|| format!("unknown feature {bit}"), |n| (*n).into()),
            );
        }
    }
    names.join(", ")
}
