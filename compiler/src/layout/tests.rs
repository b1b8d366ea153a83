//! Compares relocated code with encodings worked out by hand from the architectures' manuals.

use precast_artifact::{LibCall, addresses};

use super::*;
use crate::codegen::Relocation;
use crate::starts::Starts;
use crate::symbol::{DefinedFuncIndex, SigIndex};

/// All code is equally hot.
const EQUAL: &dyn Fn(Symbol) -> Heat = &|_| Heat::Warm;

fn function(symbol: Symbol, code: &[u8], relocs: &[(u32, Reloc, Symbol, i64)]) -> CompiledFunction {
    CompiledFunction {
        symbol,
        code: code.into(),
        starts: Starts::multiples(16),
        relocs: relocs
            .iter()
            .map(|&(offset, kind, target, addend)| Relocation {
                offset,
                kind,
                target,
                addend,
            })
            .collect(),
        traps: Box::new([]),
        handlers: Box::new([]),
        changes: Box::default(),
        addresses: Box::new([]),
    }
}

fn defined(i: u32) -> Symbol {
    Symbol::Function(DefinedFuncIndex::from_u32(i))
}

/// Lays out one function at offset 0 and a second one at 0x20 for `arch`, with the GOT at
/// 0x1000 (one page after the start) and 40 bytes of rodata before the text.
fn lay_out_two(arch: Arch, code: &[u8], relocs: &[(u32, Reloc, Symbol, i64)]) -> Vec<u8> {
    let mut code = code.to_vec();
    code.resize(0x20, 0);
    let functions = vec![
        function(defined(0), &code, relocs),
        function(defined(1), &[0; 4], &[]),
    ];
    let got = vec![
        GotEntry::LibCall(LibCall::FmaF64),
        GotEntry::TypeId(SigIndex::from_u32(3)),
    ];
    let rodata = RodataLayout {
        tables: vec![(TableIndex::from_u32(7), 8)],
        len: 40,
    };
    let placed = lay_out(CompiledModule { functions, got }, arch, &rodata, EQUAL).expect("small");
    assert_eq!(placed.find(defined(1)).map(|p| p.offset), Some(0x20));
    placed.text
}

fn table() -> Symbol {
    Symbol::FrozenTable(TableIndex::from_u32(7))
}

fn slot() -> Symbol {
    Symbol::GotSlot(GotEntry::TypeId(SigIndex::from_u32(3)))
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[test]
fn x86_64() {
    let code = [
        0xe8, 0, 0, 0, 0, 0x48, 0x8d, 5, 0, 0, 0, 0, 0x48, 0x8d, 5, 0, 0, 0, 0,
    ];
    let relocs = [
        (1, Reloc::X86CallPCRel4, defined(1), -4),
        (8, Reloc::X86PCRel4, table(), -4),
        (15, Reloc::X86CallPCRel4, slot(), -4),
    ];
    let text = lay_out_two(Arch::X86_64, &code, &relocs);
    assert_eq!(text[1..5], (0x20_i32 - 5).to_le_bytes());
    assert_eq!(
        text[8..12],
        (-48 + 8 - 12_i32).to_le_bytes(),
        "rodata is 16-byte aligned"
    );
    assert_eq!(text[15..19], (0x1008_i32 - 19).to_le_bytes());
    assert_eq!(text[0x20..], [0; 4]);
}

#[test]
fn aarch64() {
    // bl; adrp x3; add x3, x3
    let code: Vec<u8> = [0x9400_0000_u32, 0x9000_0003, 0x9100_0063]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let relocs = |symbol| {
        [
            (0, Reloc::Arm64Call, defined(1), 0),
            (4, Reloc::Aarch64AdrPrelPgHi21, symbol, 0),
            (8, Reloc::Aarch64AddAbsLo12Nc, symbol, 0),
        ]
    };
    let forward = words(&lay_out_two(Arch::Aarch64, &code, &relocs(slot())));
    assert_eq!(
        forward[..3],
        [0x9400_0008, 0x9000_0083, 0x9100_2063],
        "a page of 64 KiB on, which adrp counts as 16, and eight bytes"
    );
    let back = words(&lay_out_two(Arch::Aarch64, &code, &relocs(table())));
    assert_eq!(
        back[..3],
        [0x9400_0008, 0xf0ff_ffe3, 0x913f_6063],
        "one page back, 0xfd8 bytes"
    );
}

#[test]
fn riscv64() {
    // auipc ra; jalr ra, ra; auipc a0; addi a0, a0
    let code: Vec<u8> = [0x0000_0097_u32, 0x0000_80e7, 0x0000_0517, 0x0005_0513]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let relocs = |symbol| {
        [
            (0, Reloc::RiscvCallPlt, defined(1), 0),
            (8, Reloc::RiscvPCRelHi20, symbol, 0),
            (12, Reloc::RiscvPCRelLo12I, defined(0), 8),
        ]
    };
    let forward = words(&lay_out_two(Arch::Riscv64, &code, &relocs(slot())));
    assert_eq!(
        forward[..4],
        [0x0000_0097, 0x0200_80e7, 0x0000_1517, 0x0005_0513],
        "0x1000"
    );
    let back = words(&lay_out_two(Arch::Riscv64, &code, &relocs(table())));
    assert_eq!(
        back[..4],
        [0x0000_0097, 0x0200_80e7, 0x0000_0517, 0xfd05_0513],
        "-0x30"
    );
}

#[test]
fn s390x() {
    // brasl %r14; larl %r1
    let code = [0xc0, 0xe5, 0, 0, 0, 0, 0xc0, 0x10, 0, 0, 0, 0];
    let relocs = [
        (2, Reloc::S390xPLTRel32Dbl, defined(1), 2),
        (8, Reloc::S390xPCRel32Dbl, table(), 2),
    ];
    let text = lay_out_two(Arch::S390x, &code, &relocs);
    assert_eq!(text[2..6], 0x10_i32.to_be_bytes());
    assert_eq!(text[8..12], (-(40 + 6) / 2_i32).to_be_bytes());
}

#[test]
fn limits_of_reach() {
    for (kind, limit) in [
        (Reloc::X86CallPCRel4, 1 << 31),
        (Reloc::Arm64Call, 1 << 27),
        (Reloc::Aarch64AdrPrelPgHi21, 1 << 32),
        (Reloc::S390xPLTRel32Dbl, 1 << 32),
    ] {
        let apply = |to| relocate::apply(&mut [0; 8], kind, Reference { at: 0, from: 0, to });
        assert_eq!(apply(limit - 4), Ok(()), "{kind:?}");
        assert_eq!(apply(limit), Err(limit), "{kind:?}");
        assert_eq!(apply(-limit), Ok(()), "{kind:?}");
        assert_eq!(apply(-limit - 4096), Err(limit), "{kind:?}");
    }
    let apply = |to| {
        relocate::apply(
            &mut [0; 8],
            Reloc::RiscvCallPlt,
            Reference { at: 0, from: 0, to },
        )
    };
    assert_eq!(apply((1 << 31) - 0x802), Ok(()));
    assert_eq!(apply((1 << 31) - 0x800), Err(1 << 31));
    assert_eq!(apply(-(1 << 31) - 0x800), Ok(()));
}

#[test]
fn out_of_reach_says_what_and_how_far() {
    let functions = vec![function(
        defined(0),
        &[0; 8],
        &[(0, Reloc::Arm64Call, Symbol::TextStart, 1 << 30)],
    )];
    let module = CompiledModule {
        functions,
        got: vec![],
    };
    let error =
        lay_out(module, Arch::Aarch64, &RodataLayout::default(), EQUAL).expect_err("too far");
    let LayoutError::OutOfReach {
        distance,
        limit,
        arch,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((distance, limit, arch), (1 << 30, 1 << 27, "aarch64"));
}

#[test]
#[should_panic(expected = "does not exist")]
fn unresolved_symbols_are_bugs() {
    lay_out_two(
        Arch::X86_64,
        &[0; 4],
        &[(0, Reloc::X86PCRel4, defined(2), 0)],
    );
}

#[test]
#[should_panic(expected = "Abs8 relocation")]
fn absolute_addresses_are_bugs() {
    lay_out_two(Arch::X86_64, &[0; 8], &[(0, Reloc::Abs8, defined(1), 0)]);
}

#[test]
fn gaps_trap_and_tables_are_in_text_offsets() {
    let mut first = function(defined(0), &[0x90], &[]);
    first.traps = Box::new([(0, TrapCode::UnreachableCodeReached)]);
    first.addresses = Box::new([(0, 50)]);
    let mut second = function(defined(1), &[0x90; 3], &[]);
    second.traps = Box::new([(0, TrapCode::IntegerOverflow), (2, TrapCode::NullReference)]);
    second.addresses = Box::new([(0, 60), (2, 66)]);
    let entry = function(Symbol::NativeEntry(SigIndex::from_u32(0)), &[0xc3], &[]);
    let module = CompiledModule {
        functions: vec![first, second, entry],
        got: vec![],
    };
    let placed = lay_out(module, Arch::X86_64, &RodataLayout::default(), EQUAL).expect("small");
    assert_eq!(placed.text.len(), 33);
    assert!(placed.text[1..16].iter().all(|b| *b == 0xcc));
    assert_eq!(
        placed.traps,
        [
            (0, TrapCode::UnreachableCodeReached),
            (16, TrapCode::IntegerOverflow),
            (18, TrapCode::NullReference)
        ]
    );
    let location = addresses::Location {
        function: 1,
        wasm: 66,
    };
    assert_eq!(addresses::lookup(&placed.addresses, 1, 2), [location]);
    assert_eq!(addresses::lookup(&placed.addresses, 2, 0), []);
    assert_eq!(
        placed
            .find(Symbol::NativeEntry(SigIndex::from_u32(0)))
            .map(|p| p.offset),
        Some(32)
    );
    assert_eq!(
        placed.find(Symbol::NativeEntry(SigIndex::from_u32(1))),
        None
    );
}

#[test]
fn hot_functions_come_first_and_cold_ones_last() {
    let entry = Symbol::NativeEntry(SigIndex::from_u32(0));
    let call = (1, Reloc::X86CallPCRel4, defined(0), -4);
    let mut functions = vec![
        function(defined(0), &[0x90; 5], &[]),
        function(defined(1), &[0xe8, 0, 0, 0, 0], &[call]),
        function(defined(2), &[0xe8, 0, 0, 0, 0], &[call]),
        function(entry, &[0xc3], &[]),
    ];
    for (i, function) in (0..).zip(&mut functions) {
        function.traps = Box::new([(i, TrapCode::NullReference)]);
        function.addresses = Box::new([(0, 50 + i)]);
    }
    let module = CompiledModule {
        functions,
        got: vec![],
    };
    let heat = |symbol| match symbol {
        Symbol::Function(f) if f.as_u32() == 0 => Heat::Cold,
        Symbol::Function(f) if f.as_u32() == 2 => Heat::Hot,
        _ => Heat::Warm,
    };
    let placed = lay_out(module, Arch::X86_64, &RodataLayout::default(), &heat).expect("small");
    let offsets: Vec<u32> = placed.pieces.iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [48, 16, 0, 32]);
    assert_eq!(placed.find(entry).map(|p| p.offset), Some(32));
    assert_eq!(words(&placed.text[1..]).first(), Some(&(48 - 5)));
    assert_eq!(words(&placed.text[17..]).first(), Some(&(48 - 21)));
    let traps: Vec<u32> = placed.traps.iter().map(|(at, _)| *at).collect();
    assert_eq!(traps, [2, 17, 35, 48]);
    for (i, wasm) in (0..3).zip(50..) {
        let location = addresses::Location { function: i, wasm };
        assert_eq!(addresses::lookup(&placed.addresses, i, 0), [location]);
    }
}

#[test]
fn branches_between_groups_go_through_veneers() {
    // Each function has a `bl` to each of the others in turn.
    let call = 0x9400_0000_u32.to_le_bytes();
    let caller = |i: u32, targets: &[u32]| {
        let relocs: Vec<_> = targets
            .iter()
            .enumerate()
            .map(|(n, t)| (4 * n as u32, Reloc::Arm64Call, defined(*t), 0))
            .collect();
        let mut code = call.repeat(targets.len());
        code.resize(16, 0);
        function(defined(i), &code, &relocs)
    };
    let functions = vec![
        caller(0, &[1, 2, 3]),
        caller(1, &[0, 3]),
        caller(2, &[0, 3]),
        caller(3, &[3]),
    ];
    let islands = island::plan_groups(&functions, 64);
    let groups: Vec<_> = islands.iter().map(|i| i.group.clone()).collect();
    assert_eq!(groups, [0..2, 2..4]);
    let module = CompiledModule {
        functions,
        got: vec![],
    };
    let rodata = RodataLayout::default();
    let placed = lay_out_with_islands(module, islands, Arch::Aarch64, &rodata).expect("small");
    // The text: functions 0 and 1, veneers to 2 and 3, padding, functions 2 and 3, a veneer to 0.
    assert_eq!(placed.islands, [(32, 24), (96, 12)]);
    let offsets: Vec<u32> = placed.pieces.iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [0, 16, 64, 80]);
    let words = words(&placed.text);
    let branch = |at: usize| (4 * at as u32 + 4 * (words[at] & 0x03ff_ffff)) & 0x0fff_ffff;
    assert_eq!([branch(0), branch(1), branch(2)], [16, 32, 44]);
    assert_eq!([branch(4), branch(5)], [0, 44]);
    assert_eq!([branch(16), branch(17), branch(20)], [96, 80, 80]);
    // adrp x16, 0; add x16, x16, 64; br x16
    assert_eq!(words[8..11], [0x9000_0010, 0x9101_0210, 0xd61f_0200]);
    assert_eq!(words[11..14], [0x9000_0010, 0x9101_4210, 0xd61f_0200]);
    assert_eq!(words[24..27], [0x9000_0010, 0x9100_0210, 0xd61f_0200]);
}

#[test]
fn small_texts_have_no_islands() {
    let functions = vec![function(defined(0), &[0; 16], &[])];
    assert_eq!(island::plan(&functions, Arch::Aarch64), []);
}
