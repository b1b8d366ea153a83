use cranelift_codegen::binemit::Reloc;
use iced_x86::{Decoder, DecoderOptions, OpKind};
use precast_artifact::{Artifact, Interruption, Strategy};

use super::*;
use crate::symbol::Symbol;
use crate::{Compiler, Passes, Settings};

mod copies;

const JE: [u8; 6] = [0x0f, 0x84, 0, 0, 0, 0];
const JMP: [u8; 5] = [0xe9, 0, 0, 0, 0];
const NOP: u8 = 0x90;
const RET: u8 = 0xc3;
const UD2: [u8; 2] = [0x0f, 0x0b];

const NOTHING: Known<'static> = Known {
    blocks: &[],
    places: &[],
    tables: &[],
    relocs: &[],
    align: 16,
};

/// The code with short jumps.
fn short(code: &[u8], known: &Known<'_>) -> Option<Relaxed> {
    let jumps = Jumps {
        short: true,
        copied: false,
    };
    rewrite(code, known, jumps)
}

/// Writes the distance of the instruction that ends at `end`.
fn aim(code: &mut [u8], end: usize, target: usize) {
    let distance = target as i32 - end as i32;
    code[end - 4..end].copy_from_slice(&distance.to_le_bytes());
}

/// A `je`, then `distance` bytes, then the `ret` that the `je` goes to.
fn ahead(distance: usize) -> Vec<u8> {
    let mut code = [&JE[..], &vec![NOP; distance], &[RET]].concat();
    aim(&mut code, 6, 6 + distance);
    code
}

#[test]
fn near_jumps_become_short() {
    let mut code = [&JE[..], &[NOP], &JMP, &[RET]].concat();
    aim(&mut code, 6, 12);
    aim(&mut code, 12, 6);
    let new = short(&code, &NOTHING).unwrap();
    assert_eq!(new.code, [0x74, 3, NOP, 0xeb, 0xfd, RET]);
    let places: Vec<_> = [0, 6, 7, 12, 13].map(|at| new.place(at)).into();
    assert_eq!(places, [0, 2, 3, 5, 6]);
}

#[test]
fn each_condition_is_kept() {
    for condition in 0..16 {
        let mut code = ahead(3);
        code[1] = 0x80 | condition;
        let new = short(&code, &NOTHING).unwrap();
        assert_eq!(new.code, [0x70 | condition, 3, NOP, NOP, NOP, RET]);
    }
}

#[test]
fn short_jumps_go_as_far_as_they_can() {
    for distance in [0, 1, 127] {
        let new = short(&ahead(distance), &NOTHING).unwrap();
        assert_eq!(new.code[..2], [0x74, distance as u8]);
    }
    assert_eq!(short(&ahead(128), &NOTHING), None);
    // Backwards, the jump's own bytes count.
    for (between, is_short) in [(0, true), (126, true), (127, false), (200, false)] {
        let mut code = [&vec![NOP; between][..], &JMP].concat();
        let end = code.len();
        aim(&mut code, end, 0);
        let new = short(&code, &NOTHING);
        assert_eq!(new.is_some(), is_short, "{between}");
        if let Some(new) = new {
            assert_eq!(new.code[between..], [0xeb, (-2 - between as i32) as u8]);
        }
    }
}

/// A jump may become near only because those that it crosses are short.
#[test]
fn jumps_bring_others_closer_together() {
    let mut code = ahead(140);
    for i in 0..10 {
        code[6 + 6 * i..][..6].copy_from_slice(&JE);
        aim(&mut code, 12 + 6 * i, 6 + 140);
    }
    let new = short(&code, &NOTHING).unwrap();
    assert_eq!(new.code.len(), code.len() - 11 * 4);
    assert_eq!(new.code[..4], [0x74, 100, 0x74, 98]);
}

#[test]
fn many_jumps_take_linear_time() {
    // Each goes over the next 21, so a round makes only the last ones short.
    let count = 200_000;
    let mut code = JE.repeat(count);
    code.push(RET);
    for i in 0..count {
        aim(&mut code, 6 * i + 6, (6 * i + 6 + 6 * 22).min(6 * count));
    }
    // In the square of the jumps, this would take minutes.
    assert!(short(&code, &NOTHING).is_some());
}

/// A function with a jump table of two entries, a constant of 16 bytes, a call to another function,
/// a call and a jump to itself, and a trap in front of the constant or behind. The results are the
/// code, what is known and the relocations.
fn everything(is_behind: bool) -> (Vec<u8>, Vec<u32>, Vec<Relocation>) {
    let mut code = JE.to_vec(); // je trap
    code.extend([0x48, 0x8d, 0x05, 0, 0, 0, 0]); // lea rax, [rip + table]
    code.extend([0x48, 0x63, 0x0c, 0xb8]); // movsxd rcx, [rax + 4 * rdi]
    code.extend([0x48, 0x01, 0xc8, 0xff, 0xe0]); // add rax, rcx; jmp rax
    let table = code.len();
    aim(&mut code, 13, table);
    code.extend([0; 8]);
    let first = code.len();
    code.extend([0x66, 0x0f, 0x6f, 0x05, 0, 0, 0, 0]); // movdqa xmm0, [rip + constant]
    let load = code.len();
    code.extend(JMP); // jmp second
    let second = code.len();
    aim(&mut code, second, second);
    code.extend([0xe8, 0, 0, 0, 0]); // call other
    let called = code.len();
    code.extend([0xe8, 0, 0, 0, 0]); // call first
    let called_self = code.len();
    aim(&mut code, called_self, first);
    code.extend([0x83, 0x3d, 0, 0, 0, 0, 7]); // cmp dword [rip + constant], 7
    let compared = code.len();
    code.push(RET);
    if !is_behind {
        let trap = code.len();
        aim(&mut code, 6, trap);
        code.extend(UD2);
    }
    code.resize(code.len().next_multiple_of(16), 0);
    let constant = code.len();
    code.extend(100..116);
    if is_behind {
        let trap = code.len();
        aim(&mut code, 6, trap);
        code.extend(UD2);
    }
    aim(&mut code, load, constant);
    aim(&mut code, compared - 1, constant - 1);
    for (i, target) in [first, second].into_iter().enumerate() {
        let entry = table + 4 * i;
        let distance = (target - table) as i32;
        code[entry..entry + 4].copy_from_slice(&distance.to_le_bytes());
    }
    let relocs = vec![Relocation {
        offset: called as u32 - 4,
        kind: Reloc::X86CallPCRel4,
        target: Symbol::Stop,
        addend: -4,
    }];
    let blocks = vec![second as u32, 0, first as u32];
    (code, blocks, relocs)
}

fn known<'a>(blocks: &'a [u32], relocs: &'a [Relocation]) -> Known<'a> {
    Known {
        blocks,
        tables: &[2, 5],
        relocs,
        ..NOTHING
    }
}

#[test]
fn tables_constants_and_calls_go_where_they_went() {
    for is_behind in [false, true] {
        let (code, blocks, relocs) = everything(is_behind);
        let new = short(&code, &known(&blocks, &relocs)).unwrap();
        // The trap follows the code now, wherever it was.
        assert_eq!(new.code[..2], [0x74, 52]);
        assert_eq!(new.code[54..56], UD2);
        let [second, _, first] = blocks[..] else {
            panic!("three blocks")
        };
        let table = new.place(22);
        for (entry, target) in [(table, first), (table + 4, second)] {
            let distance = (new.place(target) - table) as i32;
            assert_eq!(word(&new.code, entry), Some(distance));
        }
        let call = new.place(relocs[0].offset) as usize - 1;
        assert_eq!(new.code[call..call + 5], [0xe8, 0, 0, 0, 0]);
        let constant = new.code.len() - 16;
        assert!(constant.is_multiple_of(16));
        assert!(new.code[constant..].iter().copied().eq(100..116));
        assert!(new.code.len() <= code.len());
    }
}

/// Whatever is different in the new code, the check finds it.
#[test]
fn the_check_finds_every_difference() {
    for is_behind in [false, true] {
        check_finds_every_difference(is_behind);
    }
}

fn check_finds_every_difference(is_behind: bool) {
    let (code, blocks, relocs) = everything(is_behind);
    let known = known(&blocks, &relocs);
    let read = Code::read(&code, &known).unwrap();
    let copies = Copies::new();
    let good = write(&code, &read, &choose(&read, &copies), &copies, 16).unwrap();
    let is_same = |new: &Relaxed| check::is_same(&code, &read, new, &known);
    assert!(is_same(&good));
    let places = read.instructions.iter().map(|at| good.place(*at));
    let last = places.max().unwrap() as usize;
    let padding = last
        + good.code[last..]
            .iter()
            .take_while(|b| **b != FILLER)
            .count();
    let padding = padding..good.code.len() - 16;
    for at in (0..good.code.len()).filter(|at| !padding.contains(at)) {
        for bit in 0..8 {
            let mut new = good.clone();
            new.code[at] ^= 1 << bit;
            assert!(!is_same(&new), "bit {bit} of {at}");
        }
    }
    for &instruction in &read.instructions {
        let mut new = good.clone();
        new.places[instruction as usize] += 1;
        assert!(!is_same(&new), "{instruction}");
    }
    for len in 0..good.code.len() {
        let mut new = good.clone();
        new.code.truncate(len);
        assert!(!is_same(&new), "{len} bytes");
    }
}

#[test]
fn code_that_is_not_certain_stays_as_it_is() {
    let (code, blocks, relocs) = everything(false);
    let is_read = |code: &[u8], known: &Known<'_>| Code::read(code, known).is_some();
    let good = known(&blocks, &relocs);
    assert!(is_read(&code, &good));
    // A table of another length, or one whose end is unknown.
    let tables: &[usize] = &[1, 3];
    assert!(!is_read(&code, &Known { tables, ..good }));
    assert!(!is_read(
        &code,
        &Known {
            blocks: &[],
            ..good
        }
    ));
    // A block in the middle of an instruction, in data, or nowhere.
    for place in [1, 23, code.len() as u32 - 1, code.len() as u32, u32::MAX] {
        let places = &[place];
        assert!(!is_read(&code, &Known { places, ..good }), "{place}");
    }
    // A relocation that is no field of an instruction.
    for offset in [relocs[0].offset - 1, relocs[0].offset + 1, 1, 24] {
        let relocs = &[Relocation {
            offset,
            ..relocs[0]
        }];
        assert!(!is_read(&code, &Known { relocs, ..good }), "{offset}");
    }
    // Constants that nothing uses, and bytes that are neither code nor constants.
    let more = [&code[..], &[1, 2, 3]].concat();
    assert!(is_read(&more, &good));
    assert!(!is_read(&[RET, 0, 0, 0], &NOTHING));
    let padded = code.iter().rposition(|byte| *byte == 0x0b).unwrap() + 1;
    assert!(padded < code.len() - 16);
    let mut other = code.clone();
    other[padded] = 1;
    assert!(!is_read(&other, &good));
    // A jump out of the function, into an instruction, or with a prefix.
    let mut out = ahead(3);
    aim(&mut out, 6, 100);
    assert!(!is_read(&out, &NOTHING));
    aim(&mut out, 6, 2);
    assert!(!is_read(&out, &NOTHING));
    let hinted = [&[0x3e][..], &ahead(3)].concat();
    assert!(!is_read(&hinted, &NOTHING));
    // An instruction that is cut off, and none at all.
    assert!(!is_read(&code[..3], &NOTHING));
    assert!(!is_read(&[0x06], &NOTHING));
}

#[test]
fn any_bytes_are_harmless() {
    for (code, blocks, relocs) in [everything(false), everything(true)] {
        let known = known(&blocks, &relocs);
        for at in 0..code.len() {
            for byte in 0..=255 {
                let mut bad = code.clone();
                bad[at] = byte;
                let _: Option<Relaxed> = short(&bad, &known);
            }
            let _: Option<Relaxed> = short(&code[..at], &known);
        }
    }
}

/// The long jumps of the module's functions that could be short, and how many jumps there are.
fn long_jumps(wat: &str, settings: Settings) -> (usize, usize) {
    let wasm = wat::parse_str(wat).unwrap();
    let compiled = Compiler::new(settings).unwrap().compile(&wasm).unwrap();
    let artifact = Artifact::parse(&compiled.artifact, None).unwrap();
    let text = artifact.section(artifact.header().text);
    let (mut long, mut all) = (0, 0);
    for function in artifact.functions() {
        let start = function.text_offset as usize;
        let code = &text[start..start + function.text_len as usize];
        let end = start + code.len();
        for instruction in Decoder::with_ip(64, code, start as u64, DecoderOptions::NONE) {
            let is_jump = instruction.op0_kind() == OpKind::NearBranch64
                && instruction.mnemonic() != iced_x86::Mnemonic::Call;
            // Tail calls go to other functions, whose place is not known yet.
            let target = instruction.near_branch_target();
            if !is_jump || !(start as u64..end as u64).contains(&target) {
                continue;
            }
            let distance = target.wrapping_sub(instruction.ip() + 2).cast_signed();
            all += 1;
            long += usize::from(instruction.len() > 2 && i8::try_from(distance).is_ok());
        }
    }
    (long, all)
}

/// Jump tables, constants, traps, calls and handlers under all settings: each function is read, so
/// no jump is long that need not be.
#[test]
fn every_function_is_read() {
    let cases: String = (0..40).map(|i| format!("(block $b{i} ")).collect();
    let ends: String = (0..40)
        .rev()
        .map(|i| format!(") (local.set 1 (f64.add (local.get 1) (f64.const {i}.5)))"))
        .collect();
    let labels: String = (0..40).map(|i| format!("$b{i} ")).collect();
    let wat = format!(
        "(module (memory 1) (tag $t) (table 2 funcref) (type $f (func))
           (func $other (export \"other\") (param i32) (result i32)
             (if (i32.eqz (local.get 0)) (then (throw $t)))
             (i32.div_s (i32.load (local.get 0)) (i32.load8_u (local.get 0))))
           (func (export \"f\") (param i32) (result f64) (local f64 i32)
             (loop $again
               {cases} (br_table {labels} $b0 (local.get 0)) {ends}
               (local.set 2 (call $other (local.get 0)))
               (call_indirect (type $f) (local.get 2))
               (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
             (block $h (try_table (catch $t $h) (local.set 2 (call $other (local.get 2)))))
             (local.get 1))
           (func (export \"t\") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
           (func (export \"v\") (param v128 i32) (result v128)
             (loop $again
               (local.set 0 (i8x16.shl (f32x4.convert_i32x4_u (local.get 0)) (local.get 1)))
               (br_if $again (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
             (i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31
               (local.get 0) (i8x16.popcnt (local.get 0)))))"
    );
    let settings = |strategy, interruption, jumps| Settings {
        target: Some("x86_64-unknown-linux-gnu".to_owned()),
        strategy,
        interruption,
        passes: Passes {
            jumps,
            ..Passes::default()
        },
        ..Settings::default()
    };
    for interruption in [Interruption::None, Interruption::Fuel, Interruption::Epoch] {
        for strategy in [Strategy::Guarded, Strategy::Checked] {
            let (long, all) = long_jumps(&wat, settings(strategy, interruption, true));
            assert_eq!(long, 0, "of {all}, {strategy:?} {interruption:?}");
            let (long, _) = long_jumps(&wat, settings(strategy, interruption, false));
            assert!(long > all / 4, "{long} of {all}");
        }
    }
}
