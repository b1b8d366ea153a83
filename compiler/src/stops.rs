//! Stops: how checked code calls the loader where a check fails. This module rewrites machine code.
//!
//! Under the checked strategy nothing may rely on a signal, so a check that fails calls the
//! loader's `raise_trap`. A branch to a block with that call would split the block of the check,
//! for each access to memory, and compiling a function takes time quadratic in its blocks if a
//! value is live in all of them. So a check is Cranelift's conditional trap: a conditional jump to
//! an instruction that faults. There is one such instruction for each check, behind the function's
//! code. [`rewrite`] replaces these instructions by its *stops*:
//!
//! - *aarch64*: a stop is a call, which has the same size, of a few instructions behind the
//!   function's code. These make a tail call of the thunk of `raise_trap`. The return address
//!   identifies the stop.
//! - *x86-64*: the faulting instruction has two bytes, too few for a call. So the jump is changed
//!   to go to a stop of one byte, a `push`, in a row of stops. Execution falls through the rest of
//!   the row into a call. The number of bytes pushed identifies the stop, and [`routine`] makes the
//!   address after that stop the return address.
//!
//! ```text
//!     50        stop           one for each check with this trap code, at most `ROW`
//!     50        stop
//!     6a code   push code
//!     e8 …      call end
//!   end:                       one for each function
//!     48 8d …   lea rax, [rbp - frame]
//!     48 8b …   mov rdi, [rbp - …]      the VM context, from its slot in the frame
//!     e9 …      jmp routine
//! ```
//!
//! A jump is only changed if it certainly is one: it must be in the code of the conditional trap,
//! which has a source location of its own ([`location`]), and its target must be the stop's old
//! place. If this cannot be established for every stop, the function is compiled again with a block
//! for each check.

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::SourceLoc;
use cranelift_codegen::{Final, MachSrcLoc};
use precast_artifact::{Builtin, Strategy, TrapCode};
use target_lexicon::Architecture;

use crate::codegen::{CompiledFunction, Relocation};
use crate::starts::Starts;
use crate::symbol::Symbol;
use crate::translate::Env;

/// The bit that marks the source location of a check; the other bits are the check's number in its
/// function.
const CHECK: u32 = 1 << 31;

/// Maximum number of stops in a row. Each may push 8 bytes, together much less than the stack that
/// a thunk may take.
const ROW: usize = 64;

/// On x86-64: number of bytes of the push and the call at the end of a row.
const HUB: usize = 7;
/// On x86-64: maximum number of bytes of the code at the end of the function, which rows call.
const END: usize = 19;

/// The instructions that Cranelift's conditional traps jump to.
const UD2: [u8; 2] = [0x0f, 0x0b];
const UDF: [u8; 4] = 0xc11f_u32.to_le_bytes();

/// Whether conditional traps can be made stops. Code that counts fuel stores its count before it
/// traps, so it needs blocks.
pub(crate) fn are_possible(env: &Env<'_>) -> bool {
    env.strategy == Strategy::Checked
        && !env.interruption.counts_fuel()
        && matches!(
            env.isa.triple().architecture,
            Architecture::X86_64 | Architecture::Aarch64(_)
        )
}

/// The source location of the check with this number, or `None` if there are too many.
pub(crate) fn location(number: usize) -> Option<SourceLoc> {
    let number = u32::try_from(number).ok().filter(|n| *n < CHECK - 1)?;
    Some(SourceLoc::new(CHECK | number))
}

/// The number of the check that a source location belongs to.
fn number(location: SourceLoc) -> Option<usize> {
    let bits = location.bits();
    (!location.is_default() && bits & CHECK != 0).then_some((bits & !CHECK) as usize)
}

/// Whether an instruction at this offset belongs to a check.
pub(crate) fn is_stop(srclocs: &[MachSrcLoc<Final>], at: u32) -> bool {
    let behind = srclocs.partition_point(|range| range.start <= at);
    let range = srclocs[..behind].last().filter(|range| at < range.end);
    range.is_some_and(|range| number(range.loc).is_some())
}

/// A conditional trap, as Cranelift made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// Offset of the instruction that faults.
    pub(crate) offset: u32,
    pub(crate) code: TrapCode,
}

/// The frame of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Bytes from the stack pointer to the frame pointer.
    pub(crate) size: u32,
    /// Offset of the VM context from the stack pointer.
    pub(crate) vmctx: u32,
}

/// Machine code with stops.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) code: Vec<u8>,
    /// Additional relocations.
    pub(crate) relocs: Vec<Relocation>,
    /// Offset of each stop, and the number of its check.
    pub(crate) places: Vec<(u32, usize)>,
}

/// Replaces the conditional traps in a function's code by stops. Returns `None` if the code does
/// not have the expected form.
pub(crate) fn rewrite(
    architecture: Architecture,
    code: &[u8],
    stops: &[Stop],
    srclocs: &[MachSrcLoc<Final>],
    frame: Frame,
) -> Option<Rewritten> {
    let code = code.to_vec();
    match architecture {
        Architecture::X86_64 => x86_64(code, stops, srclocs, frame),
        Architecture::Aarch64(_) => aarch64(code, stops, srclocs, frame),
        _ => None,
    }
}

/// The stops of one trap code, with the numbers of their checks.
type Group = (TrapCode, Vec<(u32, usize)>);

/// Groups stops by trap code. Returns `None` unless each is a whole range of code with the location
/// of a check.
fn groups(stops: &[Stop], srclocs: &[MachSrcLoc<Final>]) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for stop in stops {
        let at = srclocs.partition_point(|range| range.start < stop.offset);
        let range = srclocs
            .get(at)
            .filter(|range| range.start == stop.offset && range.start < range.end)?;
        let entry = (stop.offset, number(range.loc)?);
        match groups.iter_mut().find(|(code, _)| *code == stop.code) {
            Some((_, group)) => group.push(entry),
            None => groups.push((stop.code, vec![entry])),
        }
    }
    Some(groups)
}

fn aarch64(
    mut code: Vec<u8>,
    stops: &[Stop],
    srclocs: &[MachSrcLoc<Final>],
    frame: Frame,
) -> Option<Rewritten> {
    // This is the range of an `ldr`.
    if !frame.vmctx.is_multiple_of(8) || frame.vmctx >= 8 << 12 {
        return None;
    }
    let (mut relocs, mut places) = (Vec::new(), Vec::new());
    code.resize(code.len().next_multiple_of(4), 0);
    for (trap, group) in groups(stops, srclocs)? {
        let end = code.len();
        for &(offset, number) in &group {
            let here = offset as usize;
            let there = i32::try_from(end.checked_sub(here)?).ok()? / 4;
            let place = code.get_mut(here..here + 4)?;
            if *place != UDF || there >= 1 << 25 {
                return None;
            }
            place.copy_from_slice(&(0x9400_0000 | there.cast_unsigned()).to_le_bytes()); // bl end
            places.push((offset, number));
        }
        // In the convention `tail`, parameters start at x2.
        let movz = 0x5280_0003 | (trap as u32) << 5; // mov w3, code
        let ldr = 0xf940_03e2 | (frame.vmctx / 8) << 10; // ldr x2, [sp, vmctx]
        for word in [movz, ldr, 0x1400_0000] {
            code.extend_from_slice(&u32::to_le_bytes(word));
        }
        relocs.push(Relocation {
            offset: u32::try_from(end + 8).ok()?, // b thunk
            kind: Reloc::Arm64Call,
            target: Symbol::BuiltinThunk(Builtin::RaiseTrap),
            addend: 0,
        });
    }
    Some(Rewritten {
        code,
        relocs,
        places,
    })
}

fn x86_64(
    mut code: Vec<u8>,
    stops: &[Stop],
    srclocs: &[MachSrcLoc<Final>],
    frame: Frame,
) -> Option<Rewritten> {
    let jumps = jumps(&code, stops, srclocs)?;
    let groups = groups(stops, srclocs)?;
    // No jump goes to the old places any more. The stops are written there, unless constants are
    // behind them and would have to move.
    let first = stops.first()?.offset as usize;
    let room = stops.len() * UD2.len();
    let rows: Vec<_> = groups
        .iter()
        .flat_map(|(trap, group)| group.chunks(ROW).map(|row| (*trap, row)))
        .collect();
    let size = stops.len() + rows.len() * HUB + END;
    // Other instructions that fault, such as those of divisions, may be between the old places.
    // They must stay, because the tables of traps and positions have their offsets.
    let places = (first..).step_by(UD2.len());
    let are_together = stops
        .iter()
        .map(|stop| stop.offset as usize)
        .eq(places.take(stops.len()));
    let constants = if code[first..].len() == room {
        code.truncate(first);
        Vec::new()
    } else if size <= room && are_together {
        let constants = code.split_off(first + room);
        code.truncate(first);
        constants
    } else {
        Vec::new()
    };
    let (mut places, mut calls) = (Vec::new(), Vec::new());
    for (trap, row) in rows {
        for &(offset, number) in row {
            let stop = i32::try_from(code.len()).ok()?;
            code.push(0x50); // push rax
            places.push((stop.cast_unsigned(), number));
            let start = jumps.partition_point(|(target, _)| *target < offset);
            let to_here = jumps[start..].iter().take_while(|(to, _)| *to == offset);
            for &(_, at) in to_here {
                let from = i32::try_from(at + JUMP).ok()?;
                code[at + 2..at + JUMP].copy_from_slice(&(stop - from).to_le_bytes());
            }
        }
        code.extend_from_slice(&[0x6a, trap as u8, 0xe8]); // push code; call end
        calls.push(code.len());
        code.extend_from_slice(&[0; 4]);
    }
    let end = i32::try_from(code.len()).ok()?;
    for call in calls {
        let from = i32::try_from(call + 4).ok()?;
        code[call..call + 4].copy_from_slice(&(end - from).to_le_bytes());
    }
    let size = i32::try_from(frame.size).ok()?;
    let vmctx = i32::try_from(frame.vmctx).ok()?;
    below_rbp(&mut code, [0x48, 0x8d, 0x45], size); // lea rax, [rbp - size]
    below_rbp(&mut code, [0x48, 0x8b, 0x7d], size - vmctx); // mov rdi, [rbp - …]
    code.push(0xe9); // jmp routine
    let offset = u32::try_from(code.len()).ok()?;
    code.extend_from_slice(&[0; 4]);
    if !constants.is_empty() {
        code.resize(first + room, 0xcc);
        code.extend_from_slice(&constants);
    }
    let relocs = vec![Relocation {
        offset,
        kind: Reloc::X86CallPCRel4,
        target: Symbol::Stop,
        addend: -4,
    }];
    Some(Rewritten {
        code,
        relocs,
        places,
    })
}

/// Appends an instruction with the operand `[rbp - distance]`, given in its form with a
/// displacement of one byte.
fn below_rbp(code: &mut Vec<u8>, [prefix, opcode, operand]: [u8; 3], distance: i32) {
    match i8::try_from(-distance) {
        Ok(distance) => code.extend_from_slice(&[prefix, opcode, operand, distance as u8]),
        Err(_) => {
            code.extend_from_slice(&[prefix, opcode, operand + 0x40]);
            code.extend_from_slice(&(-distance).to_le_bytes());
        }
    }
}

/// Bytes of a conditional jump.
const JUMP: usize = 6;

/// The target of the conditional jump at this offset of the code, if there is one.
fn target(code: &[u8], at: usize) -> Option<i64> {
    let jump: [u8; JUMP] = code.get(at..at + JUMP)?.try_into().ok()?;
    let [0x0f, 0x80..=0x8f, distance @ ..] = jump else {
        return None;
    };
    Some((at + JUMP) as i64 + i64::from(i32::from_le_bytes(distance)))
}

/// The jumps to the stops: for each the offset of the stop and of the jump, in the order of the
/// stops. Returns `None` if they are not certain: for each stop there must be one range of its
/// check's code with jumps to the stop, either a single jump or two, one directly behind the other.
fn jumps(code: &[u8], stops: &[Stop], srclocs: &[MachSrcLoc<Final>]) -> Option<Vec<(u32, usize)>> {
    let mut checks: Vec<_> = srclocs
        .iter()
        .filter_map(|range| Some((number(range.loc)?, range.start, range.end)))
        .collect();
    checks.sort_unstable();
    let mut jumps = Vec::with_capacity(stops.len());
    for stop in stops {
        let offset = stop.offset as usize;
        if code.get(offset..offset + 2)? != UD2 {
            return None;
        }
        let behind = srclocs.partition_point(|range| range.start <= stop.offset);
        let number = number(srclocs[..behind].last()?.loc)?;
        let first = checks.partition_point(|check| check.0 < number);
        let mut found = 0;
        for &(_, start, end) in checks[first..].iter().take_while(|c| c.0 == number) {
            let (start, end) = (start as usize, end as usize);
            let is_jump = |at: &usize| target(code, *at) == Some(offset as i64);
            let last = (start..(end + 1).saturating_sub(JUMP)).rev().find(is_jump);
            let Some(last) = last else { continue };
            found += 1;
            jumps.push((stop.offset, last));
            let before = last.checked_sub(JUMP).filter(|at| *at >= start);
            jumps.extend(before.filter(is_jump).map(|at| (stop.offset, at)));
        }
        if found != 1 {
            return None;
        }
    }
    jumps.sort_unstable();
    Some(jumps)
}

/// The code of [`Symbol::Stop`] on x86-64, behind the jump at the end of a function:
///
/// - `rax` is the value that `rsp` had where the function stopped, and `rdi` is its VM context;
/// - the stack holds the address behind the row's call, the trap code and the values that the row
///   pushed.
///
/// The routine makes a tail call of the thunk of `raise_trap`, `(vmctx, code)`, as if the stop's
/// byte had called it.
pub(crate) fn routine() -> CompiledFunction {
    let code = [
        0x48, 0x29, 0xe0, // sub rax, rsp
        0x48, 0xc1, 0xe8, 0x03, // shr rax, 3     stops from this one on, and 2
        0x5a, // pop rdx                          behind the call
        0x5e, // pop rsi                          the code
        0x48, 0x29, 0xc2, // sub rdx, rax
        0x48, 0x83, 0xea,
        0x04, // sub rdx, 4     the push and the call are 7 bytes, the stop is 1
        0x48, 0x83, 0xe4, 0xf0, // and rsp, -16
        0x52, // push rdx
        0xe9, 0, 0, 0, 0, // jmp thunk
    ];
    let relocs = [Relocation {
        offset: code.len() as u32 - 4,
        kind: Reloc::X86CallPCRel4,
        target: Symbol::BuiltinThunk(Builtin::RaiseTrap),
        addend: -4,
    }];
    CompiledFunction {
        symbol: Symbol::Stop,
        code: code.into(),
        starts: Starts::multiples(1),
        relocs: relocs.into(),
        traps: Box::default(),
        handlers: Box::default(),
        addresses: Box::default(),
        changes: Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        size: 0x30,
        vmctx: 8,
    };

    fn range(start: u32, end: u32, check: usize) -> MachSrcLoc<Final> {
        let loc = location(check).unwrap();
        MachSrcLoc { start, end, loc }
    }

    fn stop(offset: u32) -> Stop {
        let code = TrapCode::MemoryOutOfBounds;
        Stop { offset, code }
    }

    /// `cmp; ja stop; ret; ud2`, followed by `behind`.
    fn one(behind: &[u8]) -> (Vec<u8>, Vec<MachSrcLoc<Final>>) {
        let mut code = vec![0x39, 0xd1, 0x0f, 0x87, 1, 0, 0, 0, 0xc3, 0x0f, 0x0b];
        code.extend_from_slice(behind);
        (code, vec![range(0, 8, 7), range(9, 11, 7)])
    }

    /// `count` jumps, followed by their traps.
    fn many(count: usize) -> (Vec<u8>, Vec<MachSrcLoc<Final>>, Vec<Stop>) {
        let (mut code, mut srclocs, mut stops) = (Vec::new(), Vec::new(), Vec::new());
        let tail = count * JUMP;
        for i in 0..count {
            let distance = (tail + 2 * i - (i + 1) * JUMP) as i32;
            code.extend_from_slice(&[0x0f, 0x82]);
            code.extend_from_slice(&distance.to_le_bytes());
            srclocs.push(range((i * JUMP) as u32, ((i + 1) * JUMP) as u32, i));
        }
        for i in 0..count {
            let at = code.len() as u32;
            code.extend_from_slice(&UD2);
            srclocs.push(range(at, at + 2, i));
            stops.push(stop(at));
        }
        (code, srclocs, stops)
    }

    #[test]
    fn a_stop_takes_the_place_of_the_trap() {
        let (code, srclocs) = one(&[]);
        let new = rewrite(Architecture::X86_64, &code, &[stop(9)], &srclocs, FRAME).unwrap();
        assert_eq!(new.places, [(9, 7)]);
        assert_eq!(new.code[..10], [&code[..9], &[0x50]].concat());
        assert_eq!(new.code[10..17], [0x6a, 2, 0xe8, 0, 0, 0, 0]);
        let end = [0x48, 0x8d, 0x45, 0xd0, 0x48, 0x8b, 0x7d, 0xd8, 0xe9];
        assert_eq!(new.code[17..26], end);
        assert_eq!(new.code.len(), 30);
    }

    #[test]
    fn constants_stay_where_they_are() {
        let (code, srclocs) = one(&[0xaa; 5]);
        let new = rewrite(Architecture::X86_64, &code, &[stop(9)], &srclocs, FRAME).unwrap();
        assert_eq!(new.places, [(16, 7)]);
        assert_eq!(new.code[4..8], [8, 0, 0, 0]);
        assert_eq!(new.code[8..17], [&code[8..], &[0x50]].concat());
    }

    #[test]
    fn many_stops_have_room_before_the_constants() {
        let (mut code, srclocs, stops) = many(40);
        let len = code.len();
        code.extend_from_slice(&[0xaa; 16]);
        let new = rewrite(Architecture::X86_64, &code, &stops, &srclocs, FRAME).unwrap();
        assert_eq!(new.code.len(), len + 16);
        assert_eq!(new.code[len..], [0xaa; 16]);
        assert_eq!(new.places[0].0, 40 * JUMP as u32);
    }

    /// An instruction of another operator, such as a signed division, may be among the traps.
    #[test]
    fn another_operators_trap_stays_where_it_is() {
        let (mut code, mut srclocs, mut stops) = many(40);
        code.extend_from_slice(&[0xaa; 16]);
        let other = stops.remove(1);
        srclocs.retain(|range| number(range.loc) != Some(1));
        let new = rewrite(Architecture::X86_64, &code, &stops, &srclocs, FRAME).unwrap();
        let at = other.offset as usize;
        assert_eq!(new.code[at..at + 2], UD2);
        assert_eq!(target(&new.code, JUMP), Some(i64::from(other.offset)));
        assert_eq!(new.code[code.len() - 16..code.len()], [0xaa; 16]);
        assert_eq!(new.places.len(), 39);
        assert!(
            new.places
                .iter()
                .all(|(place, _)| *place as usize >= code.len())
        );
    }

    #[test]
    fn moves_after_the_jump_do_not_matter() {
        let mut code = vec![0x0f, 0x87, 4, 0, 0, 0, 0x48, 0x89, 0xd8, 0xc3, 0x0f, 0x0b];
        let srclocs = [range(0, 9, 0), range(10, 12, 0)];
        let new = rewrite(Architecture::X86_64, &code, &[stop(10)], &srclocs, FRAME).unwrap();
        code.truncate(10);
        assert_eq!(new.code[..10], code[..]);
    }

    #[test]
    fn jumps_that_are_not_certain_are_refused() {
        let try_it = |code: &[u8], srclocs: &[_], at| {
            rewrite(Architecture::X86_64, code, &[stop(at)], srclocs, FRAME).is_some()
        };
        let (code, srclocs) = one(&[]);
        assert!(try_it(&code, &srclocs, 9));
        // There is no jump, a jump to another place, a jump outside of the check's code, or no
        // trap.
        let mut other = code.clone();
        other[3] = 0x77;
        assert!(!try_it(&other, &srclocs, 9));
        other[3] = 0x87;
        other[4] = 0;
        assert!(!try_it(&other, &srclocs, 9));
        assert!(!try_it(&code, &[range(0, 7, 7), range(9, 11, 7)], 9));
        assert!(!try_it(&code, &[range(0, 8, 6), range(9, 11, 7)], 9));
        other.clone_from(&code);
        other[10] = 0x0c;
        assert!(!try_it(&other, &srclocs, 9));
        assert!(!try_it(&code, &srclocs, 8));
        // Two ranges have a jump to one stop.
        let twice = [&code[..8], &[0x0f, 0x87, 1, 0, 0, 0, 0xc3, 0x0f, 0x0b]].concat();
        let mut twice = twice;
        twice[4] = 7;
        let ranges = [range(0, 8, 7), range(8, 14, 7), range(15, 17, 7)];
        assert!(!try_it(&twice, &ranges, 15));
    }

    #[test]
    fn rows_end_where_a_push_would_be_one_too_many() {
        for count in [ROW, ROW + 1, 5 * ROW] {
            let (code, srclocs, stops) = many(count);
            let new = rewrite(Architecture::X86_64, &code, &stops, &srclocs, FRAME).unwrap();
            assert_eq!(new.places.len(), count);
            for &(at, number) in &new.places {
                assert_eq!(target(&new.code, number * JUMP), Some(i64::from(at)));
                let row = &new.code[at as usize..];
                let pushes = row.iter().take_while(|byte| **byte == 0x50).count();
                assert!((1..=ROW).contains(&pushes));
                assert_eq!(row[pushes..pushes + 3], [0x6a, 2, 0xe8]);
            }
        }
    }

    #[test]
    fn calls_take_the_place_of_traps_on_aarch64() {
        let arch = Architecture::Aarch64(target_lexicon::Aarch64Architecture::Aarch64);
        let code = [[0; 4], UDF, UDF].concat();
        let stops = [stop(4), stop(8)];
        let srclocs = [range(0, 4, 1), range(4, 8, 1), range(8, 12, 3)];
        let new = rewrite(arch, &code, &stops, &srclocs, FRAME).unwrap();
        let words: Vec<_> = new
            .code
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        let end = [0x5280_0043, 0xf940_07e2, 0x1400_0000];
        assert_eq!(words[..3], [0, 0x9400_0002, 0x9400_0001]);
        assert_eq!(words[3..], end);
        assert_eq!(new.places, [(4, 1), (8, 3)]);
        let far = Frame {
            vmctx: 8 << 12,
            ..FRAME
        };
        assert!(rewrite(arch, &code, &stops, &srclocs, far).is_none());
    }
}
