//! Address map: from code to offsets in the WebAssembly module, for backtraces and disassembly.
//!
//! ```text
//!   u32 n            number of defined functions
//!   u32 scale        base-two logarithm of the unit of code offsets
//!   u32 start × n    where each function's entries start, in bytes from the end of this array
//!   entries          each function's entries end where the next function's start
//! ```
//!
//! An entry means "from this code offset on, until the next entry, code comes from this wasm
//! offset". Code offsets count from the function's first byte, in units; wasm offsets count from
//! the module's first byte. Each entry holds the differences from the entry before it (from zero
//! for the first):
//! ```text
//!   cccc wwww                    code += c, wasm += w
//!   0000 wwww, ULEB128           the code difference follows: it is 0 or above 15
//!   cccc 0000, SLEB128           the wasm difference follows: it is negative or above 15
//!   0000 0000, ULEB128, SLEB128  both
//! ```
//!
//! An entry exists only where the wasm offset changes, and the compiler makes entries only for code
//! that can fault or that calls: backtraces see no other code, and the code between two entries
//! counts as part of the first. Address maps are more than half of the files of other runtimes;
//! here an entry takes about one and a half bytes and the map a tenth of the file.

use core::iter;

/// The wasm offset that the code at `code_offset` of defined function `function` comes from.
pub fn lookup(map: &[u8], function: u32, code_offset: u32) -> Option<u32> {
    entries(map, function)
        .take_while(|e| e.0 <= code_offset)
        .last()
        .map(|e| e.1)
}

/// The entries of one function: code offset and wasm offset. The iterator ends early where the
/// bytes make no sense, and is empty for a function that is not in the map.
pub fn entries(map: &[u8], function: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut run = run(map, function).unwrap_or(&[]);
    let scale = word(map, 1).unwrap_or(0);
    let (mut code, mut wasm) = (0_u32, 0_u32);
    iter::from_fn(move || {
        let first = take(&mut run)?;
        let code_delta = match first >> 4 {
            0 => uleb(&mut run)?,
            short => short.into(),
        };
        let wasm_delta = match first & 15 {
            0 => sleb(&mut run)?,
            short => short.into(),
        };
        code = code.checked_add(code_delta)?;
        wasm = u32::try_from(i64::from(wasm).checked_add(wasm_delta)?).ok()?;
        let offset = u64::from(code).checked_shl(scale)?;
        Some((u32::try_from(offset).ok()?, wasm))
    })
}

/// Builds an address map, function by function in index order.
#[derive(Debug)]
pub struct AddressMapBuilder {
    scale: u32,
    starts: Vec<u32>,
    entries: Vec<u8>,
}

impl AddressMapBuilder {
    /// Starts a map for code whose instructions are aligned to `1 << scale` bytes.
    pub fn new(scale: u32) -> Self {
        Self {
            scale,
            starts: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Adds the entries of the next function: pairs of code offset and wasm offset. Code offsets
    /// are ascending and multiples of the unit.
    ///
    /// # Panics
    /// If a code offset is not a multiple of the unit, or not greater than the one before.
    pub fn function(&mut self, pairs: &[(u32, u32)]) {
        // The offset saturates when there are 4 GiB of entries, which `finish` reports.
        self.starts
            .push(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let (mut code, mut wasm, mut first) = (0, 0, true);
        for &(pair_code, pair_wasm) in pairs {
            if !first && pair_wasm == wasm {
                continue;
            }
            let unit = pair_code >> self.scale;
            assert!(
                unit << self.scale == pair_code,
                "code offset {pair_code:#x} is not aligned"
            );
            assert!(first || unit > code, "code offsets are not ascending");
            self.entry(unit - code, i64::from(pair_wasm) - i64::from(wasm));
            (code, wasm, first) = (unit, pair_wasm, false);
        }
    }

    fn entry(&mut self, code: u32, wasm: i64) {
        let short_code = u8::try_from(code).ok().filter(|c| *c <= 15).unwrap_or(0);
        let short_wasm = u8::try_from(wasm).ok().filter(|w| *w <= 15).unwrap_or(0);
        self.entries.push(short_code << 4 | short_wasm);
        if short_code == 0 {
            push_uleb(&mut self.entries, code);
        }
        if short_wasm == 0 {
            push_sleb(&mut self.entries, wasm);
        }
    }

    /// The bytes of the map.
    pub fn finish(self) -> Vec<u8> {
        let mut map = Vec::with_capacity(8 + 4 * self.starts.len() + self.entries.len());
        map.extend((self.starts.len() as u32).to_le_bytes());
        map.extend(self.scale.to_le_bytes());
        map.extend(self.starts.iter().flat_map(|s| s.to_le_bytes()));
        map.extend(self.entries);
        map
    }
}

fn word(map: &[u8], i: usize) -> Option<u32> {
    let (words, _) = map.as_chunks::<4>();
    words.get(i).map(|bytes| u32::from_le_bytes(*bytes))
}

fn run(map: &[u8], function: u32) -> Option<&[u8]> {
    let (n, i) = (word(map, 0)?, function as usize);
    if function >= n {
        return None;
    }
    let entries = map.get((n as usize).checked_add(2)?.checked_mul(4)?..)?;
    let start = word(map, i + 2)? as usize;
    let end = if function + 1 == n {
        entries.len()
    } else {
        word(map, i + 3)? as usize
    };
    entries.get(start..end)
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn uleb(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = take(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(value).ok();
        }
    }
    None
}

fn sleb(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_i64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = take(bytes)?;
        value |= i64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let unused = 64 - 7 - shift;
            return Some(value << unused >> unused);
        }
    }
    None
}

fn push_uleb(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn push_sleb(out: &mut Vec<u8>, mut value: i64) {
    while !(-64..64).contains(&value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(scale: u32, functions: &[&[(u32, u32)]]) -> Vec<u8> {
        let mut builder = AddressMapBuilder::new(scale);
        functions.iter().for_each(|f| builder.function(f));
        builder.finish()
    }

    #[test]
    fn reads_what_was_written() {
        let big = 0xffff_fff0;
        let functions: [&[(u32, u32)]; 6] = [
            &[(0, 100), (4, 104), (8, 100), (12, 99)],
            &[],
            &[(4, 7)],
            &[(0, 0), (big, u32::MAX)],
            &[
                (8, u32::MAX),
                (12, 0),
                (16, 64),
                (20, 0),
                (24, 63),
                (28, 12_345_678),
            ],
            &[(0, 5), (60, 16), (120, 12), (184, 27), (188, 22)],
        ];
        for scale in [0, 2] {
            let map = map(scale, &functions);
            for (i, expected) in functions.iter().enumerate() {
                let found: Vec<(u32, u32)> = entries(&map, i as u32).collect();
                assert_eq!(found, *expected, "function {i}, scale {scale}");
            }
            assert_eq!(lookup(&map, 0, 3), Some(100));
            assert_eq!(lookup(&map, 0, 4), Some(104));
            assert_eq!(lookup(&map, 0, u32::MAX), Some(99));
            assert_eq!(lookup(&map, 1, 0), None);
            assert_eq!(lookup(&map, 2, 3), None);
            assert_eq!(lookup(&map, 6, 0), None);
        }
    }

    #[test]
    fn keeps_only_changes_and_packs_small_ones() {
        let map = map(
            0,
            &[&[(1, 5), (3, 5), (5, 5), (7, 9), (9, 9), (12, 8), (40, 9)]],
        );
        assert!(entries(&map, 0).eq([(1, 5), (7, 9), (12, 8), (40, 9)]));
        assert_eq!(map.len(), 12 + 1 + 1 + 2 + 2);
    }

    #[test]
    fn any_bytes_are_harmless() {
        let good = map(
            2,
            &[
                &[(0, 100), (4, 104)],
                &[(8, u32::MAX), (12, 0)],
                &[(0, 1 << 20)],
            ],
        );
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                for function in [0, 1, 2, 3, u32::MAX] {
                    assert!(entries(&bad, function).count() <= bad.len());
                }
            }
            for function in [0, 1, 2] {
                let _: usize = entries(&good[..at], function).count();
            }
        }
    }
}
