//! Address map: from code to offsets in the WebAssembly module, for backtraces and disassembly.
//!
//! ```text
//!   u32 n            number of defined functions
//!   u32 scale        base-two logarithm of the unit of code offsets
//!   u32 len          bytes of entries
//!   u32 start × n    where each function's entries start, in bytes from the end of this array
//!   entries          each function's entries end where the next function's start
//!   u32 m            number of functions with inlined calls
//!   (u32 function, u32 start) × m    ascending by function; start of its changes, in bytes from
//!                    the end of this array
//!   changes          each function's changes end where the next function's start
//! ```
//!
//! An entry means "from this code offset on, until the next entry, code comes from this position".
//! Code offsets count from the function's first byte, in units. Each entry holds the differences
//! from the entry before it (from zero for the first):
//! ```text
//!   cccc wwww                    code += c, position += w
//!   0000 wwww, ULEB128           the code difference follows: it is 0 or above 15
//!   cccc 0000, SLEB128           the position difference follows: it is negative or above 15
//!   0000 0000, ULEB128, SLEB128  both
//! ```
//!
//! An entry exists only where the position changes, and the compiler makes entries only for code
//! that can fault or that calls: backtraces see no other code, and the code between two entries
//! counts as part of the first. Address maps are more than half of the files of other runtimes;
//! here an entry takes about one and a half bytes and the map a tenth of the file.
//!
//! A position is the offset from the module's first byte, unless the compiler put the code of
//! callees in the place of calls. Then it is the offset that there would be if each callee's body
//! were inserted behind the first byte of its call. A change says where such a body starts or ends:
//! ```text
//!   ULEB128 position             difference from the change before it (from zero for the first)
//!   ULEB128 1 + function         a body of this defined function starts
//!   ULEB128 offset               where the body is in the module
//! or
//!   ULEB128 position, 0          the innermost body ends
//! ```

use core::iter;

/// Maximum number of bodies that are inside of each other, including the function's own. A reader
/// goes no deeper.
pub const MAX_DEPTH: usize = 16;

/// A location in the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Index among the defined functions.
    pub function: u32,
    /// Offset from the module's first byte.
    pub wasm: u32,
}

/// Where the body of an inlined callee starts or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The first position of the body, or the first position behind it.
    pub position: u32,
    /// The function, and where its body is in the module. `None` where the innermost body ends.
    pub body: Option<Location>,
}

/// The locations that the code at `code_offset` of defined function `function` comes from: the
/// innermost first, then the call that it was inlined for, and so on. There is none if the map does
/// not know the code.
pub fn lookup(map: &[u8], function: u32, code_offset: u32) -> Vec<Location> {
    let last = entries(map, function)
        .take_while(|e| e.0 <= code_offset)
        .last();
    last.map_or_else(Vec::new, |(_, position)| locations(map, function, position))
}

/// The locations that a position in a defined function stands for, innermost first.
pub fn locations(map: &[u8], function: u32, position: u32) -> Vec<Location> {
    /// A body around the position: an offset in the module is a position minus the shift.
    struct Body {
        function: u32,
        start: i64,
        shift: i64,
    }
    let (start, shift) = (0, 0);
    let mut bodies = vec![Body {
        function,
        start,
        shift,
    }];
    for change in changes(map, function).take_while(|change| change.position <= position) {
        let at = i64::from(change.position);
        match change.body {
            Some(_) if bodies.len() == MAX_DEPTH => break,
            Some(body) => bodies.push(Body {
                function: body.function,
                start: at,
                shift: at - i64::from(body.wasm),
            }),
            None if bodies.len() == 1 => break,
            None => {
                let ended = bodies.pop().map_or(at, |body| body.start);
                if let Some(body) = bodies.last_mut() {
                    body.shift += at - ended;
                }
            }
        }
    }
    let mut at = i64::from(position);
    let mut locations = Vec::with_capacity(bodies.len());
    for body in bodies.into_iter().rev() {
        let Ok(wasm) = u32::try_from(at - body.shift) else {
            break;
        };
        let function = body.function;
        locations.push(Location { function, wasm });
        // The call starts one byte before the body.
        at = body.start - 1;
    }
    locations
}

/// The entries of one function: code offset and position. The iterator ends early where the
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

/// The changes of one function, in the order of their positions. The iterator ends early where the
/// bytes make no sense, and is empty for a function without inlined calls.
pub fn changes(map: &[u8], function: u32) -> impl Iterator<Item = Change> + '_ {
    let mut run = changes_run(map, function).unwrap_or(&[]);
    let mut position = 0_u32;
    iter::from_fn(move || {
        position = position.checked_add(uleb(&mut run)?)?;
        let body = match uleb(&mut run)? {
            0 => None,
            number => Some(Location {
                function: number - 1,
                wasm: uleb(&mut run)?,
            }),
        };
        Some(Change { position, body })
    })
}

/// Builds an address map, function by function in index order.
#[derive(Debug)]
pub struct AddressMapBuilder {
    scale: u32,
    starts: Vec<u32>,
    entries: Vec<u8>,
    /// Functions with changes, and where these start.
    changed: Vec<(u32, u32)>,
    changes: Vec<u8>,
}

impl AddressMapBuilder {
    /// Starts a map for code whose instructions are aligned to `1 << scale` bytes.
    pub fn new(scale: u32) -> Self {
        Self {
            scale,
            starts: Vec::new(),
            entries: Vec::new(),
            changed: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Adds the entries of the next function: pairs of code offset and position. Code offsets are
    /// ascending and multiples of the unit. `changes` are ascending by their positions.
    ///
    /// # Panics
    /// If a code offset is not a multiple of the unit or not greater than the offset before it, or
    /// if the position of a change is below that of the change before it.
    pub fn function(&mut self, pairs: &[(u32, u32)], changes: &[Change]) {
        if !changes.is_empty() {
            let function = self.starts.len() as u32;
            self.changed.push((function, length(&self.changes)));
            let mut last = 0;
            for change in changes {
                let delta = change.position.checked_sub(last);
                push_uleb(&mut self.changes, delta.expect("changes are ascending"));
                last = change.position;
                push_uleb(&mut self.changes, change.body.map_or(0, |b| b.function + 1));
                if let Some(body) = change.body {
                    push_uleb(&mut self.changes, body.wasm);
                }
            }
        }
        self.starts.push(length(&self.entries));
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
        let heads = HEAD + 4 * self.starts.len() + 4 + 8 * self.changed.len();
        let mut map = Vec::with_capacity(heads + self.entries.len() + self.changes.len());
        map.extend((self.starts.len() as u32).to_le_bytes());
        map.extend(self.scale.to_le_bytes());
        map.extend(length(&self.entries).to_le_bytes());
        map.extend(self.starts.iter().flat_map(|s| s.to_le_bytes()));
        map.extend(self.entries);
        map.extend((self.changed.len() as u32).to_le_bytes());
        for (function, start) in self.changed {
            map.extend(function.to_le_bytes());
            map.extend(start.to_le_bytes());
        }
        map.extend(self.changes);
        map
    }
}

/// Bytes in front of the array of starts.
const HEAD: usize = 12;

/// Number of bytes. The number saturates at 4 GiB, which the writer of the artifact refuses.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
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
    let entries = parts(map)?.0;
    let start = word(map, i + 3)? as usize;
    let end = if function + 1 == n {
        entries.len()
    } else {
        word(map, i + 4)? as usize
    };
    entries.get(start..end)
}

/// The entries of all functions, and what is behind them.
fn parts(map: &[u8]) -> Option<(&[u8], &[u8])> {
    let n = word(map, 0)? as usize;
    let rest = map.get(n.checked_mul(4)?.checked_add(HEAD)?..)?;
    rest.split_at_checked(word(map, 2)? as usize)
}

/// The bytes of the changes of a function, which is empty if the function has none.
fn changes_run(map: &[u8], function: u32) -> Option<&[u8]> {
    let rest = parts(map)?.1;
    let (m, rest) = rest.split_first_chunk::<4>()?;
    let size = (u32::from_le_bytes(*m) as usize).checked_mul(8)?;
    let (heads, changes) = rest.split_at_checked(size)?;
    let (heads, _) = heads.as_chunks::<8>();
    let number = |head: &[u8; 8]| u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let start = |head: &[u8; 8]| u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let i = heads.binary_search_by_key(&function, number).ok()?;
    let end = heads.get(i + 1).map_or(changes.len(), start);
    changes.get(start(&heads[i])..end)
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
        functions.iter().for_each(|f| builder.function(f, &[]));
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
            let location = |function, wasm| vec![Location { function, wasm }];
            assert_eq!(lookup(&map, 0, 3), location(0, 100));
            assert_eq!(lookup(&map, 0, 4), location(0, 104));
            assert_eq!(lookup(&map, 0, u32::MAX), location(0, 99));
            assert_eq!(lookup(&map, 1, 0), []);
            assert_eq!(lookup(&map, 2, 3), []);
            assert_eq!(lookup(&map, 6, 0), []);
        }
    }

    #[test]
    fn keeps_only_changes_and_packs_small_ones() {
        let map = map(
            0,
            &[&[(1, 5), (3, 5), (5, 5), (7, 9), (9, 9), (12, 8), (40, 9)]],
        );
        assert!(entries(&map, 0).eq([(1, 5), (7, 9), (12, 8), (40, 9)]));
        assert_eq!(map.len(), HEAD + 4 + 4 + 1 + 1 + 2 + 2);
    }

    /// Function 0 calls function 2, into which function 1 is inlined, and then function 1.
    const CHANGES: [Change; 6] = [
        entered(101, 2, 500),
        entered(106, 1, 400),
        ended(126),
        ended(131),
        entered(134, 1, 400),
        ended(154),
    ];

    const fn entered(position: u32, function: u32, wasm: u32) -> Change {
        let body = Some(Location { function, wasm });
        Change { position, body }
    }

    const fn ended(position: u32) -> Change {
        let body = None;
        Change { position, body }
    }

    #[test]
    fn positions_in_inlined_calls_have_several_locations() {
        let mut builder = AddressMapBuilder::new(0);
        builder.function(&[(0, 100), (4, 107)], &CHANGES);
        builder.function(&[(0, 400)], &[]);
        builder.function(&[(0, 500), (9, 508)], &[entered(506, 1, 400), ended(526)]);
        let map = builder.finish();
        assert!(changes(&map, 0).eq(CHANGES));
        assert_eq!(changes(&map, 1).count(), 0);
        assert_eq!(changes(&map, 3).count(), 0);
        for (function, position, expected) in [
            (0, 100, &[(0, 100)][..]),
            (0, 101, &[(2, 500), (0, 100)]),
            (0, 105, &[(2, 504), (0, 100)]),
            (0, 106, &[(1, 400), (2, 504), (0, 100)]),
            (0, 125, &[(1, 419), (2, 504), (0, 100)]),
            (0, 126, &[(2, 505), (0, 100)]),
            (0, 131, &[(0, 101)]),
            (0, 133, &[(0, 103)]),
            (0, 134, &[(1, 400), (0, 103)]),
            (0, 154, &[(0, 104)]),
            (0, 254, &[(0, 204)]),
            (1, 131, &[(1, 131)]),
            (2, 525, &[(1, 419), (2, 505)]),
        ] {
            let found: Vec<_> = locations(&map, function, position)
                .iter()
                .map(|location| (location.function, location.wasm))
                .collect();
            assert_eq!(found, expected, "{function}, {position}");
        }
        assert_eq!(
            lookup(&map, 0, 4)[2],
            Location {
                function: 0,
                wasm: 100
            }
        );
    }

    #[test]
    fn readers_go_to_a_fixed_depth() {
        let deep: Vec<_> = (1..50).map(|i| entered(i * 2, i, i * 1000)).collect();
        let mut builder = AddressMapBuilder::new(0);
        builder.function(&[(0, 1)], &deep);
        builder.function(&[(0, 1)], &[ended(0), ended(0), entered(5, 0, u32::MAX)]);
        let map = builder.finish();
        assert_eq!(locations(&map, 0, 1000).len(), MAX_DEPTH);
        assert_eq!(locations(&map, 1, 7).len(), 1);
    }

    #[test]
    fn any_bytes_are_harmless() {
        let mut builder = AddressMapBuilder::new(2);
        builder.function(&[(0, 100), (4, 104)], &CHANGES);
        builder.function(&[(8, u32::MAX), (12, 0)], &[]);
        builder.function(&[(0, 1 << 20)], &CHANGES[..2]);
        let good = builder.finish();
        let read = |map: &[u8], function| {
            assert!(entries(map, function).count() <= map.len());
            assert!(changes(map, function).count() <= map.len());
            for position in [0, 120, u32::MAX] {
                assert!(locations(map, function, position).len() <= MAX_DEPTH);
            }
        };
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                for function in [0, 1, 2, 3, u32::MAX] {
                    read(&bad, function);
                }
            }
            for function in [0, 1, 2] {
                read(&good[..at], function);
            }
        }
    }
}
