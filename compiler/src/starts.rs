//! Where functions may start in the text, so that their loops run fast.
//!
//! A CPU fetches code by *lines* of 64 bytes. A short loop that is in two lines where one would do
//! takes up to twice the time, and the number of lines depends only on where the loop's function
//! starts. So a function with loops starts where the loops take the fewest lines, and inner loops
//! count more than outer ones. No instruction is added: the space in front of the function gets
//! larger or smaller.
//!
//! The constants of a function follow its code and need their alignment, so only starts with that
//! alignment are considered.

/// Bytes of a line of the instruction cache.
const LINE: u32 = 64;
/// Number of bytes that are fetched together. A loop should start at a multiple of this number.
const FETCH: u32 = 32;
/// Maximum length of a loop whose place counts. A longer loop takes many lines anyway.
const MAX_LOOP: u32 = 4 * LINE;
/// Estimated number of times that a loop runs for each run of the loop around it.
const OFTEN: u64 = 8;
/// The instruction that returns.
const RETURN: u8 = 0xc3;
/// Loops that are nested deeper than this count as if they had this depth.
const MAX_DEPTH: usize = 6;

/// The text offsets where a function may start: bit `n` is set if a function may start at an offset
/// whose remainder modulo [`LINE`] is `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Starts(u64);

impl Starts {
    /// The multiples of a power of two, which is at most the length of a line.
    pub(crate) fn multiples(align: u32) -> Self {
        assert!(
            align.is_power_of_two() && align <= LINE,
            "code needs an alignment of at most {LINE} bytes, not {align}"
        );
        let starts = (0..LINE).step_by(align as usize);
        Self(starts.fold(0, |bits, start| bits | 1 << start))
    }

    /// The first of these offsets that is not before `end`.
    pub(crate) fn next(self, end: u64) -> u64 {
        let before = (end % u64::from(LINE)) as u32;
        end + u64::from(self.0.rotate_right(before).trailing_zeros())
    }

    /// Maximum number of bytes between any offset and the next start.
    pub(crate) fn max_gap(self) -> u64 {
        let ends = 0..u64::from(LINE);
        ends.map(|end| self.next(end) - end).max().unwrap_or(0)
    }

    /// The starts, at multiples of `align`, with which the loops of this code take the fewest
    /// lines. Returns `self` unchanged if the code has no short loops. `blocks` are the offsets
    /// where blocks of the code start.
    pub(crate) fn best(self, align: u32, blocks: &mut [u32], code: &[u8]) -> Self {
        blocks.sort_unstable();
        let loops = loops(blocks, code);
        if loops.is_empty() {
            return self;
        }
        let (mut best, mut least) = (0, u64::MAX);
        for start in (0..LINE).step_by(align as usize) {
            let cost = loops.iter().map(|found| found.cost(start)).sum();
            if cost < least {
                (best, least) = (0, cost);
            }
            if cost == least {
                best |= 1 << start;
            }
        }
        Self(best)
    }
}

/// A loop in the code of a function: the code between a jump back and its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loop {
    start: u32,
    end: u32,
    /// Number of loops around this one.
    depth: usize,
}

impl Loop {
    /// The cost of the loop's place if the function starts at the offset `start` in a line.
    fn cost(&self, start: u32) -> u64 {
        let first = (start + self.start % LINE) % LINE;
        let len = self.end - self.start;
        let more = (first + len).div_ceil(LINE) - len.div_ceil(LINE);
        let is_late = !first.is_multiple_of(FETCH);
        let weight = OFTEN.pow(self.depth.min(MAX_DEPTH) as u32);
        weight * (4 * u64::from(more) + u64::from(is_late))
    }
}

/// The loops whose place counts, by their starts. `blocks` are the offsets where blocks of the code
/// start, ascending.
///
/// Cranelift also lists the successors of blocks, but some entries are wrong in functions that have
/// cold blocks. So jumps are read from the code: in front of the next block. Other bytes that look
/// like a jump to the start of a block do no harm.
fn loops(blocks: &[u32], code: &[u8]) -> Vec<Loop> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    // The end of the last return before the present block.
    let mut returned = 0;
    let mut block = 0;
    for &end in blocks {
        let mut at = end;
        // Only jumps within the block that ends here are read. Going further back for each block
        // would take quadratic time if many blocks are a single jump.
        while let Some((start, target)) = jump_before(code, at).filter(|jump| jump.0 >= block) {
            // A long way back over a return is that of a cold block, which follows all other code.
            let is_way_back = target < returned && end - target > MAX_LOOP;
            if target <= start && !is_way_back && blocks.binary_search(&target).is_ok() {
                ranges.push((target, end));
            }
            at = start;
        }
        if end > 0 && code.get(end as usize - 1) == Some(&RETURN) {
            returned = end;
        }
        block = end;
    }
    // Of loops with the same start, the longest comes first.
    ranges.sort_unstable_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
    ranges.dedup_by_key(|(start, _)| *start);
    let (mut loops, mut open) = (Vec::new(), Vec::<u32>::new());
    for (start, end) in ranges {
        while open.pop_if(|outer| *outer <= start).is_some() {}
        if end - start <= MAX_LOOP {
            let depth = open.len();
            loops.push(Loop { start, end, depth });
        }
        open.push(end);
    }
    loops
}

/// The offset and the target of the jump that ends at an offset, if there is one.
fn jump_before(code: &[u8], end: u32) -> Option<(u32, u32)> {
    let before = code.get(..end as usize)?;
    let to = |distance| end.checked_add_signed(distance);
    let long = before.split_last_chunk().and_then(|(rest, distance)| {
        let len = match rest {
            [.., 0x0f, 0x80..=0x8f] => 6,
            [.., 0xe9] => 5,
            _ => return None,
        };
        Some((end - len, to(i32::from_le_bytes(*distance))?))
    });
    // Bytes that only end like a long jump go far outside of the code.
    if let Some((start, target)) = long.filter(|jump| jump.1 as usize <= code.len()) {
        return Some((start, target));
    }
    match before {
        [.., 0x70..=0x7f | 0xeb, distance] => {
            Some((end - 2, to(i32::from(distance.cast_signed()))?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, OpKind};
    use precast_artifact::Artifact;

    use super::*;
    use crate::{Compiler, Passes, Settings};

    #[test]
    fn starts_are_multiples_of_the_alignment() {
        for align in [1, 2, 4, 16, 32, 64] {
            let starts = Starts::multiples(align);
            for end in [0, 1, 31, 32, 33, 63, 64, 65, u64::from(u32::MAX)] {
                assert_eq!(starts.next(end), end.next_multiple_of(align.into()));
            }
        }
        assert_eq!(Starts::multiples(1).max_gap(), 0);
        assert_eq!(Starts::multiples(16).max_gap(), 15);
        assert_eq!(Starts(1 << 7 | 1 << 20).max_gap(), 50);
        assert_eq!(Starts(1 << 7 | 1 << 20).next(64), 71);
        assert_eq!(Starts(1 << 7 | 1 << 20).next(72), 84);
        assert_eq!(Starts(1 << 7 | 1 << 20).next(85), 135);
    }

    /// Code of `len` bytes with these jumps: end, target, and whether the jump is conditional.
    fn code(len: usize, jumps: &[(usize, i32, bool)]) -> Vec<u8> {
        let mut code = vec![0x90; len];
        for &(end, target, is_conditional) in jumps {
            code[end - 4..end].copy_from_slice(&(target - end as i32).to_le_bytes());
            match is_conditional {
                true => code[end - 6..end - 4].copy_from_slice(&[0x0f, 0x85]),
                false => code[end - 5] = 0xe9,
            }
        }
        code
    }

    fn found(blocks: &[u32], code: &[u8]) -> Vec<(u32, u32, usize)> {
        let loops = loops(blocks, code);
        loops.iter().map(|l| (l.start, l.end, l.depth)).collect()
    }

    #[test]
    fn loops_are_between_a_jump_back_and_its_target() {
        // An outer loop from 10 to 90 with an inner one from 20 to 40, two jumps at the end of one
        // block, one that is its own loop, and a jump ahead.
        let blocks = [0, 10, 20, 40, 90, 110, 130, 150];
        let jumps = [
            (40, 20, true),
            (90, 10, false),
            (104, 90, true),
            (110, 150, true),
            (130, 110, false),
        ];
        let code = code(150, &jumps);
        let expected = [(10, 90, 0), (20, 40, 1), (90, 110, 0), (110, 130, 0)];
        assert_eq!(found(&blocks, &code), expected);
    }

    /// Jumps whose distances have one byte make loops as well.
    #[test]
    fn short_jumps_make_loops_too() {
        let blocks = [0, 10, 20, 40, 90, 110];
        let mut code = vec![0x90; 110];
        for (end, target, opcode) in [(40, 20, 0x75), (90, 10, 0xeb), (108, 90, 0x7f)] {
            code[end - 2] = opcode;
            code[end - 1] = (target - end as i32) as u8;
        }
        // A short jump behind something that looks like the start of a long one, and one in front
        // of a long one.
        code[36..38].copy_from_slice(&[0x0f, 0x84]);
        code[108..].copy_from_slice(&[0xeb, 0xfe]);
        let expected = [(10, 90, 0), (20, 40, 1), (90, 110, 0), (108, 110, 1)];
        let found = found(&[&blocks[..5], &[108, 110]].concat(), &code);
        assert_eq!(
            found,
            [&expected[..2], &[(90, 108, 0), (108, 110, 0)]].concat()
        );
    }

    #[test]
    fn loops_that_are_long_count_for_those_inside_only() {
        let code = code(600, &[(40, 20, true), (500, 0, false)]);
        assert_eq!(found(&[0, 20, 40, 500], &code), [(20, 40, 1)]);
    }

    #[test]
    fn cold_code_at_the_end_makes_no_loops() {
        let blocks = [0, 10, 20, 40, 400, 450];
        let mut code = code(450, &[(40, 20, true), (450, 10, false)]);
        assert_eq!(found(&blocks, &code), [(20, 40, 1)]);
        code[399] = RETURN;
        assert_eq!(found(&blocks, &code), [(20, 40, 0)]);
    }

    #[test]
    fn each_block_that_is_one_jump_is_a_loop_of_its_own() {
        let count = 200_000;
        let blocks: Vec<u32> = (0..=count).map(|i| 5 * i).collect();
        let code = [0xe9, 0xfb, 0xff, 0xff, 0xff].repeat(count as usize);
        let expected: Vec<_> = (0..count).map(|i| (5 * i, 5 * i + 5, 0)).collect();
        assert!(found(&blocks, &code) == expected);
    }

    #[test]
    fn what_is_no_jump_to_a_block_is_no_loop() {
        let blocks = [0, 20, 40];
        for jump in [
            (40, 19, true),
            (40, 40, false),
            (40, -1, true),
            (39, 20, true),
        ] {
            assert_eq!(found(&blocks, &code(60, &[jump])), [], "{jump:?}");
        }
        assert_eq!(found(&[0, 3, 4, 5, 70, u32::MAX], &code(60, &[])), []);
        assert_eq!(found(&blocks, &[]), []);
        assert_eq!(found(&[0, 5], &code(5, &[(5, 0, false)])), [(0, 5, 0)]);
    }

    #[test]
    fn loops_cost_what_they_take_of_lines() {
        let inner = Loop {
            start: 100,
            end: 160,
            depth: 1,
        };
        // In one line, from its first byte on.
        assert_eq!(inner.cost(28), 0);
        assert_eq!(inner.cost(29), OFTEN);
        assert_eq!(inner.cost(32), OFTEN);
        assert_eq!(inner.cost(33), 5 * OFTEN);
        assert_eq!(inner.cost(60), 4 * OFTEN);
        let deep = Loop {
            depth: 1000,
            ..inner
        };
        assert_eq!(deep.cost(29), OFTEN.pow(6));
    }

    /// Whether the only loop of each function of a module is in one line. The functions compute
    /// more and more before the loop, which counts down.
    fn are_in_one_line(loops: bool) -> Vec<bool> {
        let before = |count| "(local.set 0 (i32.rotl (local.get 0) (local.get 1)))\n".repeat(count);
        let functions: String = (0..24)
            .map(|i| {
                format!(
                    "(func (export \"{i}\") (param i32 i32) (result i32) {}
                       (loop $l
                         (local.set 1 (i32.xor (i32.mul (local.get 0) (local.get 1)) (local.get 1)))
                         (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                       (local.get 1))",
                    before(i)
                )
            })
            .collect();
        let passes = Passes {
            loops,
            ..Passes::default()
        };
        let settings = Settings {
            target: Some("x86_64-unknown-linux-gnu".to_owned()),
            passes,
            ..Settings::default()
        };
        let wasm = wat::parse_str(format!("(module {functions})")).unwrap();
        let compiled = Compiler::new(settings).unwrap().compile(&wasm).unwrap();
        let artifact = Artifact::parse(&compiled.artifact, None).unwrap();
        let text = artifact.section(artifact.header().text);
        let line = |at: u32| at / LINE;
        artifact.functions()[..24]
            .iter()
            .map(|function| {
                let (start, end) = (
                    function.text_offset,
                    function.text_offset + function.text_len,
                );
                let code = &text[start as usize..end as usize];
                let instructions = Decoder::with_ip(64, code, start.into(), DecoderOptions::NONE);
                let mut ranges = instructions.into_iter().filter_map(|instruction| {
                    let is_jump = instruction.op0_kind() == OpKind::NearBranch64;
                    let (first, last) = (instruction.near_branch_target(), instruction.next_ip());
                    let is_loop = is_jump && first <= instruction.ip();
                    is_loop.then_some((first as u32, last as u32 - 1))
                });
                let (first, last) = ranges.next().expect("a loop");
                line(first) == line(last)
            })
            .collect()
    }

    #[test]
    fn a_loop_is_in_one_line_wherever_it_is_in_its_function() {
        assert!(are_in_one_line(true).iter().all(|is_in_one| *is_in_one));
        // That is so only because the starts are chosen.
        assert!(!are_in_one_line(false).iter().all(|is_in_one| *is_in_one));
    }
}
