//! What reads the DWARF, within limits. DWARF comes from the module, which nobody trusts, and
//! [`addr2line`] has no limits: units may share one list of ranges, files may share one long name,
//! and inlined functions may be in each other as deep as the section is long.
//!
//! So each read is counted. All that is ever parsed for one [`Symbols`](crate::Symbols) reads at
//! most [`RATIO`] times the bytes of the sections and [`GRACE`] more, which bounds both time and
//! memory, because everything that `addr2line` keeps was read. What `addr2line` found once is kept
//! and not read again. Two things are not seen by counting bytes:
//!
//! - recursion: each read looks at how much stack there is between the lookup and itself, at most
//!   [`STACK`] bytes;
//! - attributes that take no bytes: an abbreviation has at most [`ATTRIBUTES`] of them, which
//!   [`check_abbreviations`] looks at before anything else. Abbreviations are a small part of the
//!   sections.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use gimli::{DebugAbbrevOffset, Dwarf, Error, LittleEndian, ReaderOffsetId, Result, constants};

/// How many times the sections' bytes are read at most. SQLite, QuickJS and
/// guests in Rust need less than 3 for all their functions together.
const RATIO: u64 = 16;

/// Bytes that are read in addition, for small sections.
const GRACE: u64 = 1 << 20;

/// Bytes of stack that the reads of a lookup are away from its start at most, which is half of what
/// a thread needs to run a small guest. An inlined function takes about 600 with optimised code,
/// about four times as much without.
const STACK: usize = 128 << 10;

/// Attributes that an abbreviation has at most. Real ones have less than 30.
const ATTRIBUTES: usize = 256;

/// The error of a read beyond the limits. There is no other use of this kind here.
pub(crate) const EXCESSIVE: Error = Error::Io;

/// How much may still be read.
pub(crate) struct Meter {
    left: AtomicU64,
    /// An address in the frame of the lookup.
    stack: AtomicUsize,
}

impl Meter {
    /// The limit for sections that have this many bytes together.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            left: AtomicU64::new((bytes as u64).saturating_mul(RATIO).saturating_add(GRACE)),
            stack: AtomicUsize::new(0),
        }
    }

    /// A lookup starts here. Only one is active at a time.
    pub(crate) fn start(&self) {
        self.stack.store(stack(), Relaxed);
    }

    /// Counts bytes. A call that reads none counts as one byte.
    fn take(&self, bytes: usize) -> Result<()> {
        let left = self.left.load(Relaxed).checked_sub(bytes.max(1) as u64);
        self.left.store(left.unwrap_or(0), Relaxed);
        match left {
            Some(_) if stack().abs_diff(self.stack.load(Relaxed)) <= STACK => Ok(()),
            _ => Err(EXCESSIVE),
        }
    }
}

/// About where the stack of this thread ends.
fn stack() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(black_box(&here)).addr()
}

/// A section, and the limit of all sections.
struct Counted {
    bytes: Arc<[u8]>,
    meter: Arc<Meter>,
}

/// A range of a section.
#[derive(Clone)]
pub(crate) struct Reader {
    section: Arc<Counted>,
    start: usize,
    end: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Arc<[u8]>, meter: &Arc<Meter>) -> Self {
        let end = bytes.len();
        let meter = Arc::clone(meter);
        Self {
            section: Arc::new(Counted { bytes, meter }),
            start: 0,
            end,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.section.bytes[self.start..self.end]
    }

    /// The first bytes as text, perhaps with a part of a character at the end. They are not
    /// counted, because a name is not read when it is parsed, but each time that it is shown.
    pub(crate) fn text(&self, at_most: usize) -> Cow<'_, str> {
        let bytes = self.bytes();
        String::from_utf8_lossy(&bytes[..bytes.len().min(at_most)])
    }

    /// The bytes, which are counted.
    fn counted(&self) -> Result<&[u8]> {
        self.section.meter.take(self.end - self.start)?;
        Ok(self.bytes())
    }

    /// Moves the start over this many bytes. Returns where the start was.
    fn advance(&mut self, len: usize) -> Result<usize> {
        let start = self.start;
        match start.checked_add(len) {
            Some(end) if end <= self.end => self.start = end,
            _ => return Err(Error::UnexpectedEof(gimli::Reader::offset_id(self))),
        }
        Ok(start)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}..{})", self.start, self.end)
    }
}

impl gimli::Reader for Reader {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    fn empty(&mut self) {
        self.end = self.start;
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        match self.start.checked_add(len) {
            Some(end) if end <= self.end => self.end = end,
            _ => return Err(Error::UnexpectedEof(self.offset_id())),
        }
        Ok(())
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.start.saturating_sub(base.start)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId((self.section.bytes.as_ptr().addr() + self.start) as u64)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        let offset = id.0.checked_sub(self.offset_id().0)?;
        usize::try_from(offset).ok().filter(|at| *at <= self.len())
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = self.bytes().iter().position(|other| *other == byte);
        let scanned = found.unwrap_or(self.end - self.start);
        self.section.meter.take(scanned)?;
        found.ok_or(Error::UnexpectedEof(self.offset_id()))
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.section.meter.take(0)?;
        self.advance(len).map(drop)
    }

    /// The bytes of the part are counted, because a count in it makes room for what follows.
    fn split(&mut self, len: usize) -> Result<Self> {
        self.section.meter.take(len.min(self.len()))?;
        let start = self.advance(len)?;
        Ok(Self {
            section: Arc::clone(&self.section),
            start,
            end: self.start,
        })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.counted().map(Cow::Borrowed)
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        let text = std::str::from_utf8(self.counted()?);
        text.map(Cow::Borrowed).map_err(|_| Error::BadUtf8)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        self.counted().map(String::from_utf8_lossy)
    }

    fn read_slice(&mut self, to: &mut [u8]) -> Result<()> {
        self.section.meter.take(to.len())?;
        let start = self.advance(to.len())?;
        to.copy_from_slice(&self.section.bytes[start..self.start]);
        Ok(())
    }
}

/// Checks that each abbreviation has at most [`ATTRIBUTES`] attributes.
pub(crate) fn check_abbreviations(dwarf: &Dwarf<Reader>) -> Result<()> {
    let mut tables = Vec::new();
    let mut units = dwarf.units();
    while let Some(unit) = units.next()? {
        tables.push(unit.debug_abbrev_offset());
    }
    tables.sort_unstable_by_key(|at: &DebugAbbrevOffset| at.0);
    tables.dedup();
    for DebugAbbrevOffset(at) in tables {
        let mut rest = gimli::Section::reader(&dwarf.debug_abbrev).clone();
        // The unit of a table that does not exist, or that is damaged, is left out later.
        if let Err(EXCESSIVE) = rest.advance(at).and_then(|_| check_table(&mut rest)) {
            return Err(EXCESSIVE);
        }
    }
    Ok(())
}

/// ```text
///   table:  { code: leb128, tag: leb128, has children: u8, attributes, 0, 0 }*, 0
/// ```
fn check_table(rest: &mut Reader) -> Result<()> {
    use gimli::Reader as _;
    while !rest.is_empty() && rest.read_uleb128()? != 0 {
        rest.skip_leb128()?;
        rest.skip(1)?;
        let mut attributes = 0;
        loop {
            let (name, form) = (rest.read_uleb128_u16()?, rest.read_uleb128_u16()?);
            if form == constants::DW_FORM_implicit_const.0 {
                rest.skip_leb128()?;
            }
            if (name, form) == (0, 0) {
                break;
            }
            attributes += 1;
            if attributes > ATTRIBUTES {
                return Err(EXCESSIVE);
            }
        }
    }
    Ok(())
}
