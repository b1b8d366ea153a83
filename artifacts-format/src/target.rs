//! Targets and CPU features, as numbers in the header.
//!
//! A feature bit has a meaning only together with the architecture. Bits are never reused.

/// Architecture of the machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Arch {
    /// x86-64.
    X86_64 = 1,
    /// 64-bit Arm.
    Aarch64 = 2,
    /// 64-bit RISC-V with at least the extensions `gc`.
    Riscv64 = 3,
    /// IBM Z.
    S390x = 4,
}

impl Arch {
    /// The architecture with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::X86_64,
            2 => Self::Aarch64,
            3 => Self::Riscv64,
            4 => Self::S390x,
            _ => return None,
        })
    }

    /// Name as in target triples.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64gc",
            Self::S390x => "s390x",
        }
    }

    /// Page size that artifacts for this architecture are aligned for, unless they say otherwise:
    /// the largest that its operating systems commonly use.
    pub const fn page_size(self) -> u32 {
        match self {
            Self::Aarch64 => 65536,
            _ => 4096,
        }
    }

    /// Names of the CPU features, bit 0 first.
    pub const fn features(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &X86_64_FEATURES,
            Self::Aarch64 => &AARCH64_FEATURES,
            Self::Riscv64 => &RISCV64_FEATURES,
            Self::S390x => &S390X_FEATURES,
        }
    }
}

/// Makes the table of an architecture's CPU features and, in programs for that architecture, the
/// function that finds which of them this machine has.
macro_rules! features {
    ($(#[$doc:meta])* $table:ident, $arch:literal, $has:ident, [$($name:tt),* $(,)?]) => {
        $(#[$doc])*
        pub static $table: [&str; [$($name),*].len()] = [$($name),*];

        #[cfg(target_arch = $arch)]
        fn detect() -> u64 {
            let all = [$(std::arch::$has!($name)),*];
            all.iter().rev().fold(0, |bits, has| bits << 1 | u64::from(*has))
        }
    };
}

features!(
    /// CPU features of x86-64, in the spelling of Rust's `target_feature`.
    X86_64_FEATURES, "x86_64", is_x86_feature_detected, [
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "bmi1",
        "bmi2",
        "lzcnt",
        "cmpxchg16b",
        "avx512f",
        "avx512bitalg",
        "avx512dq",
        "avx512vl",
        "avx512vbmi",
        "f16c",
    ]
);

features!(
    /// CPU features of aarch64.
    AARCH64_FEATURES, "aarch64", is_aarch64_feature_detected,
    ["lse", "paca", "fp16", "dotprod", "fcma"]
);

/// The CPU features of the machine that this program runs on, as bits of the architecture's table.
/// `None` if this program is for another architecture.
pub fn native_features(arch: Arch) -> Option<u64> {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::X86_64 => Some(detect()),
        #[cfg(target_arch = "aarch64")]
        Arch::Aarch64 => Some(detect()),
        _ => None,
    }
}

/// CPU features of riscv64 beyond `gc`.
pub static RISCV64_FEATURES: [&str; 24] = [
    "v", "zca", "zcb", "zcd", "zba", "zbb", "zbc", "zbs", "zbkb", "zicond", "zfa", "zfh", "zfhmin",
    "zvfh", "zvl32b", "zvl64b", "zvl128b", "zvl256b", "zvl512b", "zvl1024b", "zvl2048b",
    "zvl4096b", "zicsr", "zifencei",
];

/// CPU features of s390x beyond those of z14.
pub static S390X_FEATURES: [&str; 3] = ["mie3", "mie4", "vxrs_ext2"];

/// Operating system, as far as calling conventions and page handling depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Os {
    /// Linux.
    Linux = 1,
}

impl Os {
    /// The system with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        match n {
            1 => Some(Self::Linux),
            _ => None,
        }
    }

    /// Name as in target triples.
    pub const fn name(self) -> &'static str {
        "linux"
    }
}
