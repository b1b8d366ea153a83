//! DWARF that is made to take much more than its size, or to look like something else.

use std::time::{Duration, Instant};

use super::*;
use crate::sections::{write_custom, write_leb128};

const NO_CHILDREN: u8 = 0;
const CHILDREN: u8 = 1;

/// Tags and attributes with their forms, as numbers of the standard.
const COMPILE_UNIT: u8 = 0x11;
const SUBPROGRAM: u8 = 0x2e;
const INLINED: u8 = 0x1d;
const NAME: [u8; 2] = [0x03, 0x08];
const LOW_PC: [u8; 2] = [0x11, 0x01];
const HIGH_PC: [u8; 2] = [0x12, 0x06];
const RANGES: [u8; 2] = [0x55, 0x17];
const STMT_LIST: [u8; 2] = [0x10, 0x17];
const NAME_IN_STR: [u8; 2] = [0x03, 0x0e];
/// `DW_AT_external` as `DW_FORM_flag_present`, which takes no bytes.
const EXTERNAL: [u8; 2] = [0x3f, 0x19];

/// From 0 to 1000.
const WHOLE: [u8; 8] = [0, 0, 0, 0, 0xe8, 3, 0, 0];

fn abbreviation(code: u8, tag: u8, children: u8, attributes: &[[u8; 2]]) -> Vec<u8> {
    [&[code, tag, children], attributes.as_flattened(), &[0, 0]].concat()
}

/// A unit of DWARF 4 with the abbreviations at the start of their section.
fn unit(entries: &[u8]) -> Vec<u8> {
    let header = [4, 0, 0, 0, 0, 0, 4];
    let len = (header.len() + entries.len()) as u32;
    [&len.to_le_bytes(), &header[..], entries].concat()
}

fn module(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0\x0a\x05\x01\x03\0\0\x0b".to_vec();
    for (name, bytes) in sections {
        write_custom(&mut wasm, name, bytes);
    }
    wasm
}

/// One function from 0 to 1000 with this content.
fn function(inside: &[u8], abbreviations: &[u8]) -> Vec<u8> {
    let abbreviations = [
        &abbreviation(1, COMPILE_UNIT, CHILDREN, &[LOW_PC, HIGH_PC])[..],
        &abbreviation(2, SUBPROGRAM, CHILDREN, &[LOW_PC, HIGH_PC, NAME]),
        abbreviations,
        &[0],
    ]
    .concat();
    let start = [&[1], &WHOLE[..], &[2], &WHOLE, b"f\0"].concat();
    let entries = [&start, inside, &[0, 0]].concat();
    module(&[
        (".debug_abbrev", &abbreviations),
        (".debug_info", &unit(&entries)),
    ])
}

/// `depth` functions that are each inlined into the one before.
fn nested(depth: usize) -> Vec<u8> {
    let inlined = abbreviation(3, INLINED, CHILDREN, &[LOW_PC, HIGH_PC]);
    let starts = [&[3], &WHOLE[..]].concat().repeat(depth);
    function(&[starts, vec![0; depth]].concat(), &inlined)
}

/// Looks up an offset in the function.
fn look(wasm: &[u8]) -> Result<Vec<Symbol>, DebugInfoError> {
    let start = Instant::now();
    let symbols = Symbols::of_module(wasm).unwrap();
    let found = symbols.at(symbols.sections.code + 5);
    assert!(start.elapsed() < Duration::from_secs(20));
    found
}

fn assert_excessive(wasm: &[u8]) {
    let found = look(wasm);
    assert!(matches!(found, Err(DebugInfoError::Excessive)), "{found:?}");
}

#[test]
fn functions_that_are_inlined_deeply_are_refused_before_the_stack_ends() {
    let found = look(&nested(50)).unwrap();
    assert_eq!(found.len(), 51);
    let names: Vec<_> = found
        .iter()
        .filter_map(|symbol| symbol.name.as_deref())
        .collect();
    assert_eq!(names, ["f"]);
    for depth in [5_000, 200_000] {
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let looked = thread.spawn(move || assert_excessive(&nested(depth)));
        looked.unwrap().join().unwrap();
    }
}

#[test]
fn ranges_that_units_share_are_bounded() {
    let units = |count: usize| {
        let abbreviations = abbreviation(1, COMPILE_UNIT, NO_CHILDREN, &[RANGES]);
        let ranges = [[1, 0, 0, 0], [0xe8, 3, 0, 0]]
            .as_flattened()
            .repeat(20_000);
        module(&[
            (".debug_abbrev", &[&abbreviations[..], &[0]].concat()),
            (".debug_info", &unit(&[1, 0, 0, 0, 0]).repeat(count)),
            (".debug_ranges", &[&ranges[..], &[0; 8]].concat()),
        ])
    };
    assert_eq!(look(&units(5)).unwrap(), []);
    assert_excessive(&units(10_000));
}

#[test]
fn files_that_share_a_long_name_are_bounded() {
    let files = |count: usize| {
        let abbreviations =
            abbreviation(1, COMPILE_UNIT, NO_CHILDREN, &[LOW_PC, HIGH_PC, STMT_LIST]);
        let entries = [&[1], &WHOLE[..], &[0; 4]].concat();
        let mut header = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
        // One directory, then the files, each with `DW_LNCT_path` as `DW_FORM_line_strp`.
        header.extend([1, 1, 0x1f, 1, 0, 0, 0, 0, 1, 1, 0x1f]);
        write_leb128(&mut header, count);
        header.extend(vec![0; 4 * count]);
        // Address 0, a row, 1000 further, the end.
        let program = [0, 5, 2, 0, 0, 0, 0, 1, 2, 0xe8, 7, 0, 1, 1];
        let len = (header.len() as u32).to_le_bytes();
        let rest = [&[5, 0, 4, 0], &len[..], &header, &program].concat();
        let line = [&(rest.len() as u32).to_le_bytes()[..], &rest].concat();
        let name = [&b"/"[..], &[b'A'; 500_000], &[0]].concat();
        module(&[
            (".debug_abbrev", &[&abbreviations[..], &[0]].concat()),
            (".debug_info", &unit(&entries)),
            (".debug_line", &line),
            (".debug_line_str", &name),
        ])
    };
    let found = look(&files(2)).unwrap();
    assert_eq!(found[0].file.as_ref().map(String::len), Some(MAX_NAME));
    assert_excessive(&files(5_000));
}

#[test]
fn names_that_functions_share_are_bounded() {
    let inlined = abbreviation(3, INLINED, CHILDREN, &[LOW_PC, HIGH_PC, NAME_IN_STR]);
    let names = |depth: usize, character: &str| {
        let starts = [&[3], &WHOLE[..], &[0; 4]].concat().repeat(depth);
        let mut wasm = function(&[starts, vec![0; depth]].concat(), &inlined);
        write_custom(
            &mut wasm,
            ".debug_str",
            &[character.repeat(4_200 / character.len()).as_bytes(), &[0]].concat(),
        );
        look(&wasm)
    };
    let found = names(63, "n").unwrap();
    let lengths: Vec<_> = found
        .iter()
        .flat_map(|symbol| &symbol.name)
        .map(String::len)
        .collect();
    assert_eq!(lengths, [&[MAX_NAME; 63][..], &[1]].concat());
    let found = names(1, "€").unwrap();
    assert_eq!(found[0].name, Some("€".repeat(MAX_NAME / 3)));
    assert!(matches!(names(64, "n"), Err(DebugInfoError::Excessive)));
}

/// The mangled name of a function whose type argument is a tuple of two references back to a
/// tuple of two references back, and so on. Each reference back has an upper letter after the `B`.
fn tuples_in_tuples(depth: usize) -> String {
    let mut name = "INvC1a1bThhE".to_owned();
    let mut last = name.len() - "ThhE".len();
    for _ in 0..depth {
        let next = name.len();
        let place = u32::try_from(last - 1).unwrap();
        let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let [high, low] = [place / 62, place % 62].map(|n| char::from(digits[n as usize]));
        let reference = match place / 62 {
            0 => format!("B{low}_"),
            _ => format!("B{high}{low}_"),
        };
        name += &format!("T{reference}{reference}E");
        last = next;
    }
    format!("_R{name}E")
}

#[test]
fn a_short_name_that_stands_for_a_very_long_one_is_cut() {
    let (short, long) = (tuples_in_tuples(1), tuples_in_tuples(20));
    assert_eq!(demangled(&short), "a::b::<(u8, u8), ((u8, u8), (u8, u8))>");
    assert!(long.len() < 250);
    let shown = demangled(&long);
    assert!(shown.starts_with("a::b::<(u8, u8), ((u8, u8), (u8, u8)), ("));
    assert!((MAX_NAME - 3..=MAX_NAME).contains(&shown.len()));
    // What is no name of Rust, and names in another script.
    assert_eq!(demangled("_Z1fv"), "_Z1fv");
    assert_eq!(demangled(&"\u{20ac}".repeat(2000)).len(), MAX_NAME / 3 * 3);
    let start = Instant::now();
    for _ in 0..1000 {
        demangled(&long);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn entries_whose_attributes_take_no_bytes_are_bounded() {
    let entries = |attributes: usize| {
        let many = abbreviation(3, 0x34, NO_CHILDREN, &vec![EXTERNAL; attributes]);
        function(&[3; 500_000], &many)
    };
    assert_eq!(look(&entries(256)).unwrap().len(), 1);
    assert_excessive(&entries(257));
    assert_excessive(&entries(500_000));
}

/// What cannot be parsed is an error of every lookup, and the same one.
#[test]
fn what_was_refused_stays_refused() {
    let wasm = nested(200_000);
    let symbols = Symbols::of_module(&wasm).unwrap();
    for offset in [15, 15, 16, 400] {
        let found = symbols.at(symbols.sections.code + offset);
        assert!(matches!(found, Err(DebugInfoError::Excessive)), "{found:?}");
    }
}

#[test]
fn names_and_files_cannot_forge_lines() {
    let symbol = Symbol {
        name: Some("f\n   1: g\u{1b}[2J\u{202e}".to_owned()),
        file: Some("a\r\n   2: h\u{2028}".to_owned()),
        line: Some(3),
        column: None,
    };
    let expected = "f\\u{a}   1: g\\u{1b}[2J\\u{202e}\n             \
                    at a\\u{d}\\u{a}   2: h\\u{2028}:3";
    assert_eq!(symbol.to_string(), expected);
}
