//! Copies of dispatches.

use super::*;

/// An interpreter of `operations` operations, each of which jumps back to the dispatch, and behind
/// them a jump to code that goes to the dispatch where a condition holds. `read` is an instruction
/// of three bytes that computes the index in the table. The results are the code, the offset of the
/// dispatch, and those of the blocks.
fn interpreter(operations: u8, read: [u8; 3]) -> (Vec<u8>, u32, Vec<u32>) {
    let mut code = vec![NOP];
    let head = code.len();
    code.extend(read);
    code.extend([0x3d, 9, 0, 0, 0]); // cmp eax, 9
    code.extend([0x0f, 0x87, 0, 0, 0, 0]); // ja trap
    let compared = code.len();
    code.extend([0x48, 0x8d, 0x0d, 0, 0, 0, 0]); // lea rcx, [rip + table]
    let address = code.len();
    code.extend([0x48, 0x63, 0x04, 0x81]); // movsxd rax, [rcx + 4 * rax]
    code.extend([0x48, 0x01, 0xc1, 0xff, 0xe1]); // add rcx, rax; jmp rcx
    let table = code.len();
    aim(&mut code, address, table);
    code.resize(table + 4 * usize::from(operations), 0);
    let mut blocks = Vec::new();
    for operation in 0..operations {
        let entry = table + 4 * usize::from(operation);
        let distance = (code.len() - table) as u32;
        code[entry..entry + 4].copy_from_slice(&distance.to_le_bytes());
        blocks.push(code.len() as u32);
        code.extend([0x83, 0xc2, operation]); // add edx, operation
        code.extend(JMP);
        let end = code.len();
        aim(&mut code, end, head);
    }
    let comparison = code.len();
    code.extend([0x39, 0xd6]); // cmp esi, edx
    code.extend(JE);
    let end = code.len();
    aim(&mut code, end, head);
    let trap = code.len();
    code.extend(UD2);
    aim(&mut code, compared, trap);
    let last = code.len();
    code.extend(JMP);
    let end = code.len();
    aim(&mut code, end, comparison);
    blocks.extend([comparison as u32, trap as u32, last as u32]);
    (code, head as u32, blocks)
}

/// `movzx eax, byte [rsi]`
const READ: [u8; 3] = [0x0f, 0xb6, 0x06];

const COPIED: Jumps = Jumps {
    short: true,
    copied: true,
};

/// The offsets at which the dispatch of an interpreter is copied.
fn copied(code: &[u8], head: u32, known: &Known<'_>) -> Vec<u32> {
    let new = rewrite(code, known, COPIED).unwrap();
    let of_head = new.copies.iter().filter(|(_, old)| *old == head);
    of_head.map(|(new, _)| *new).collect()
}

/// What is known of an interpreter of four operations.
fn of_four(blocks: &[u32]) -> Known<'_> {
    Known {
        blocks,
        tables: &[4],
        ..NOTHING
    }
}

#[test]
fn jumps_to_a_dispatch_become_copies() {
    let (code, head, blocks) = interpreter(4, READ);
    let known = of_four(&blocks);
    let new = rewrite(&code, &known, COPIED).unwrap();
    let copies = copied(&code, head, &known);
    let (&last, of_operations) = copies.split_last().unwrap();
    assert_eq!(of_operations.len(), 4);
    for (at, block) in of_operations.iter().zip(&blocks) {
        assert_eq!(*at, new.place(*block) + 3);
        assert_eq!(new.code[*at as usize..][..3], READ);
    }
    // The last jump is replaced by the comparison, too, and a jump where it does not hold.
    let comparison = new.place(blocks[6]) as usize;
    assert_eq!(new.code[comparison..][..4], [0x39, 0xd6, 0x0f, 0x85]);
    assert_eq!(last as usize, comparison + 8);
    // All use one table.
    let jumps = new.code.windows(2).filter(|bytes| *bytes == [0xff, 0xe1]);
    assert_eq!(jumps.count(), 6);
    // Without copies there are none.
    assert_eq!(short(&code, &known).unwrap().copies, []);
}

#[test]
fn other_code_is_not_copied() {
    let known = Known {
        tables: &[3, 4],
        ..NOTHING
    };
    let is_copied = |operations, read, relocs: &[Relocation]| {
        let (code, head, blocks) = interpreter(operations, read);
        let blocks = &blocks;
        let known = Known {
            blocks,
            relocs,
            ..known
        };
        !copied(&code, head, &known).is_empty()
    };
    assert!(is_copied(4, READ, &[]));
    // With the one behind the operations, there are four jumps, and then three.
    assert!(is_copied(3, READ, &[]));
    let (mut code, head, blocks) = interpreter(3, READ);
    let last = blocks[5] as usize;
    code.truncate(last);
    let known = Known {
        blocks: &blocks[..5],
        ..known
    };
    assert_eq!(copied(&code, head, &known), []);
    // The index is in a register, or on the stack.
    assert!(!is_copied(4, [0x0f, 0xb6, 0xc2], &[]));
    assert!(!is_copied(4, [0x8b, 0x04, 0x24], &[]));
    // A relocation is a part of the dispatch: of the comparison with 9.
    let reloc = Relocation {
        offset: 5,
        kind: Reloc::Abs4,
        target: Symbol::Stop,
        addend: 0,
    };
    assert!(!is_copied(4, READ, &[reloc]));
}

#[test]
fn the_check_finds_every_difference_in_copies() {
    let (code, _, blocks) = interpreter(4, READ);
    let known = of_four(&blocks);
    let read = Code::read(&code, &known).unwrap();
    let copies = dispatch::find(&code, &read, &[]);
    assert_eq!(copies.len(), 5);
    let good = write(&code, &read, &choose(&read, &copies), &copies, 16).unwrap();
    let is_same = |new: &Relaxed| check::is_same(&code, &read, new, &known);
    assert!(is_same(&good));
    for at in 0..good.code.len() {
        for bit in 0..8 {
            let mut new = good.clone();
            new.code[at] ^= 1 << bit;
            assert!(!is_same(&new), "bit {bit} of {at}");
        }
    }
    for i in 0..good.copies.len() {
        for change in [|c: &mut (u32, u32)| c.0 += 1, |c: &mut (u32, u32)| c.1 += 1] {
            let mut new = good.clone();
            change(&mut new.copies[i]);
            assert!(!is_same(&new), "copied instruction {i}");
        }
        let mut new = good.clone();
        new.copies.remove(i);
        assert!(!is_same(&new), "without copied instruction {i}");
    }
    for i in 0..good.ends.len() {
        for change in [|e: &mut (u32, u32)| e.0 += 1, |e: &mut (u32, u32)| e.1 += 1] {
            let mut new = good.clone();
            change(&mut new.ends[i]);
            assert!(!is_same(&new), "copy {i}");
        }
        let mut new = good.clone();
        new.ends.remove(i);
        assert!(!is_same(&new), "without copy {i}");
    }
    for len in 0..good.code.len() {
        let mut new = good.clone();
        new.code.truncate(len);
        assert!(!is_same(&new), "{len} bytes");
    }
}

#[test]
fn any_interpreter_is_harmless() {
    let (code, _, blocks) = interpreter(4, READ);
    let known = of_four(&blocks);
    for at in 0..code.len() {
        for byte in 0..=255 {
            let mut bad = code.clone();
            bad[at] = byte;
            let _: Option<Relaxed> = rewrite(&bad, &known, COPIED);
        }
    }
}

/// A loop of nothing but jumps that has a way to a dispatch has an end.
#[test]
fn jumps_in_a_circle_are_followed_once() {
    let (mut code, _, mut blocks) = interpreter(4, READ);
    for _ in 0..5_000 {
        blocks.push(code.len() as u32);
        code.extend(JMP);
        let end = code.len();
        aim(&mut code, end, end - 5);
    }
    let known = of_four(&blocks);
    assert_eq!(rewrite(&code, &known, COPIED).unwrap().ends.len(), 5);
}
