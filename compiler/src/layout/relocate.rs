//! Applies relocations: writes distances into instructions, for each architecture.
//!
//! All kinds of relocations here are relative to the place of an instruction. Positions count from
//! the start of the text, which is page aligned, so arithmetic on pages is right as well. Any other
//! kind means an absolute address or thread-local storage, which this compiler's code never
//! contains.

use cranelift_codegen::binemit::Reloc;

/// An instruction that refers to something. All positions are in bytes from the start of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// Position of the bytes to fill in.
    pub(super) at: u32,
    /// Position that the distance is counted from. This is `at`, except for
    /// [`Reloc::RiscvPCRelLo12I`], for which it is that of the `auipc` that holds the upper bits.
    pub(super) from: i64,
    /// Position of what the instruction refers to, including the addend.
    pub(super) to: i64,
}

/// Fills in one reference. The error is the number of bytes that this kind of relocation reaches.
///
/// # Panics
/// For a kind that position-independent code never has, and for a misaligned target.
pub(super) fn apply(text: &mut [u8], kind: Reloc, reference: Reference) -> Result<(), i64> {
    let Reference { at, from, to } = reference;
    let bytes = &mut text[at as usize..];
    let distance = to - from;
    match kind {
        Reloc::X86PCRel4 | Reloc::X86CallPCRel4 | Reloc::X86CallPLTRel4 => {
            reach(distance, 31)?;
            bytes[..4].copy_from_slice(&(distance as i32).to_le_bytes());
        }

        Reloc::Arm64Call => {
            aligned(distance, 4);
            reach(distance, 27)?;
            replace(bytes, 0x03ff_ffff, (distance >> 2) as u32);
        }
        Reloc::Aarch64AdrPrelPgHi21 => {
            let pages = ((to & !0xfff) - (from & !0xfff)) >> 12;
            reach(pages << 12, 32)?;
            let (low, high) = (pages as u32 & 3, pages as u32 >> 2 & 0x7_ffff);
            replace(bytes, 0x60ff_ffe0, low << 29 | high << 5);
        }
        Reloc::Aarch64AddAbsLo12Nc => replace(bytes, 0x003f_fc00, (to as u32 & 0xfff) << 10),

        Reloc::RiscvCallPlt => {
            let (high, low) = riscv_halves(distance)?;
            replace(bytes, 0xffff_f000, high);
            replace(&mut bytes[4..], 0xfff0_0000, low << 20);
        }
        Reloc::RiscvPCRelHi20 => replace(bytes, 0xffff_f000, riscv_halves(distance)?.0),
        Reloc::RiscvPCRelLo12I => replace(bytes, 0xfff0_0000, riscv_halves(distance)?.1 << 20),

        Reloc::S390xPCRel32Dbl | Reloc::S390xPLTRel32Dbl => {
            aligned(distance, 2);
            reach(distance, 32)?;
            bytes[..4].copy_from_slice(&((distance >> 1) as i32).to_be_bytes());
        }

        other => panic!("machine code has a {other:?} relocation at {at:#x} of the text"),
    }
    Ok(())
}

/// Checks that a distance fits a signed number of `bits` bits plus a sign bit.
fn reach(distance: i64, bits: u32) -> Result<(), i64> {
    let limit = 1 << bits;
    if (-limit..limit).contains(&distance) {
        Ok(())
    } else {
        Err(limit)
    }
}

fn aligned(distance: i64, to: i64) {
    assert!(
        distance % to == 0,
        "distance {distance:#x} between instructions is not aligned"
    );
}

/// Replaces the masked bits of a little-endian instruction.
fn replace(bytes: &mut [u8], mask: u32, value: u32) {
    let old = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes[..4].copy_from_slice(&(old & !mask | value & mask).to_le_bytes());
}

/// The upper 20 bits of a distance, in place, and the lower 12 bits. The lower bits are signed, so
/// the upper bits are rounded.
fn riscv_halves(distance: i64) -> Result<(u32, u32), i64> {
    reach(distance + 0x800, 31)?;
    let high = (distance + 0x800) as u32 & 0xffff_f000;
    Ok((high, (distance as u32).wrapping_sub(high) & 0xfff))
}
