//! A checked view of an artifact's bytes.
//!
//! Whatever the bytes say, reading them is harmless, and so is everything that a loader does with
//! them until the first instruction of the artifact's machine code runs: code is trusted, records
//! are not. The checksum protects against accidents only, because an attacker can correct it.
//!
//! These are checked at opening, in this order:
//!
//! | what | where |
//! |---|---|
//! | magic, format, ABI, target, CPU features, page size, checksum | `check` |
//! | what follows the artifact: nothing, or signatures; not whether they are valid | [`trailer`] |
//! | sections: inside the file, disjoint, aligned | `sections` |
//! | hot tables: every index, run, name, flag and type id; order of imports | `tables` |
//! | types: recursive groups, supertypes, references to signatures | `types` |
//! | VM context: parts disjoint and aligned, no pointer in the template | `context` |
//! | constant expressions: types, globals, functions | `expr` |
//!
//! The rest is checked when it is used:
//!
//! - Functions (code, signature, funcref slot), entries and exits of signatures, and the type of
//!   the start function: in `lazy`, where the loader makes a reference or an import slot, or calls
//!   the start function.
//! - Elements (types, functions, globals): in `expr`, where an element is put into a table.
//! - Runs of the image (inside image and memory, disjoint): in `lazy`, where they are mapped.
//! - Counters: in `lazy`, where an instance gets them.
//! - Order of exports with equal hashes, of functions, traps, handlers, addresses, names, metadata,
//!   custom sections: in their readers, for which damage means "not found". The loader checks where
//!   a handler is when an exception is thrown.
//! - Frozen tables (rodata), bytes of segments, pages of the image: nowhere. Only machine code
//!   reads frozen tables, and any bytes are valid for the others.
//!
//! The cost of opening grows with imports, exports, globals and tables, not with functions. Hot
//! tables must not change between check and use, so a loader checks and uses the same copy. Checks
//! made later return a copy of the record that was checked.
//!
//! Accessors of whole tables return slices of the bytes; they copy and allocate nothing.

mod check;
mod context;
mod error;
mod expr;
mod lazy;
mod sections;
mod tables;
mod types;

use bytemuck::Pod;

pub use error::{Error, FoundFile, Host, Mismatch, feature_names};

use crate::records::*;
use crate::trailer::{self, FileSignature};
use crate::{HEADER_OFFSET, Header, Interruption, Section, Strategy, ValType};

/// A signature of an artifact: parameters and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    types: &'a [u32],
    params: usize,
}

impl<'a> Signature<'a> {
    /// Types of the parameters.
    pub fn params(
        self,
    ) -> impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator + Clone + 'a {
        self.types[..self.params]
            .iter()
            .map(|n| ValType::from_number(*n).unwrap_or(ValType::I32))
    }

    /// Types of the results.
    pub fn results(
        self,
    ) -> impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator + Clone + 'a {
        self.types[self.params..]
            .iter()
            .map(|n| ValType::from_number(*n).unwrap_or(ValType::I32))
    }
}

/// A checked view of an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Artifact<'a> {
    /// The start of the file, if possible up to the end of the hot tables.
    hot: &'a [u8],
    bytes: &'a [u8],
    header: &'a Header,
    /// See [`Artifact::with_function_imports`].
    function_imports: &'a [u32],
}

impl<'a> Artifact<'a> {
    /// Checks `bytes` and, where `host` is given, that the artifact fits it. Without a host, an
    /// artifact of another ABI is read if it has the tables that this reader knows.
    ///
    /// # Errors
    /// Everything but [`Error::Digest`].
    pub fn parse(bytes: &'a [u8], host: Option<&Host>) -> Result<Self, Error> {
        Self::parse_parts(bytes, bytes, host)
    }

    /// Like [`Artifact::parse`], with a copy of the file's start in `hot`. If `hot` reaches to the
    /// end of the hot tables, which [`Artifact::hot_end`] returns, neither this function nor
    /// accessors of hot tables read from `bytes`.
    ///
    /// # Errors
    /// Everything but [`Error::Digest`].
    pub fn parse_parts(hot: &'a [u8], bytes: &'a [u8], host: Option<&Host>) -> Result<Self, Error> {
        let this = Self {
            hot,
            bytes,
            header: check::header(hot, bytes.len())?,
            function_imports: &[],
        };
        if let Some(host) = host {
            this.check_host(host)?;
        }
        let expected = this.header.file_len;
        let found = bytes.len() as u64;
        if found < expected {
            return Err(Error::Truncated { found, expected });
        }
        this.check_checksum()?;
        this.file_signatures()?;
        let checked = this.check_sections().and_then(|()| this.check_tables());
        match (checked, this.abi_mismatch()) {
            (Ok(()), _) => Ok(this),
            // Another ABI may have other tables: what this reader finds wrong with them is no
            // damage.
            (Err(_), Some(mismatch)) => Err(Error::Mismatch(vec![mismatch])),
            (Err(error), None) => Err(error),
        }
    }

    /// Makes the view of parts that were checked before, without checking them again.
    ///
    /// If the bytes were never checked, results may be wrong, but nothing worse happens: impossible
    /// slices are empty.
    #[inline]
    pub fn reopen(hot: &'a [u8], bytes: &'a [u8]) -> Option<Self> {
        let header = hot.get(HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>())?;
        Some(Self {
            hot,
            bytes,
            header: bytemuck::try_from_bytes(header).ok()?,
            function_imports: &[],
        })
    }

    /// The length in bytes of an artifact that starts with `start`, as its header says.
    ///
    /// # Errors
    /// [`Error::NotArtifact`], [`Error::Format`], [`Error::Truncated`] if `start` ends before the
    /// header does, and [`Error::Misaligned`].
    pub fn file_len(start: &[u8]) -> Result<usize, Error> {
        let header = check::header(start, start.len())?;
        Ok(usize::try_from(header.file_len).unwrap_or(usize::MAX))
    }

    /// Offset of the end of the hot tables in a file that starts with `start`, if it is an
    /// artifact.
    pub fn hot_end(start: &[u8]) -> Option<usize> {
        let header = check::header(start, start.len()).ok()?;
        HEADER_OFFSET.checked_add(header.hot_len as usize)
    }

    /// Computes the digest of the whole artifact and compares it with the header's and with
    /// `expected`.
    ///
    /// # Errors
    /// [`Error::Digest`] if it differs from either of them.
    pub fn verify_digest(&self, expected: Option<&[u8; 32]>) -> Result<(), Error> {
        let found = digest(self.bytes());
        for expected in [Some(&self.header.digest), expected].into_iter().flatten() {
            if found != *expected {
                return Err(Error::Digest {
                    found: hex(&found),
                    expected: hex(expected),
                });
            }
        }
        Ok(())
    }

    /// The header.
    #[inline]
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// All bytes of the artifact, without signatures that follow it in its file.
    pub fn bytes(&self) -> &'a [u8] {
        self.split().0
    }

    /// The signatures behind the artifact. They are not checked, and may be any bytes.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`] and [`Error::Damaged`], only for parts that were never checked.
    pub fn file_signatures(&self) -> Result<&'a [FileSignature], Error> {
        let tail = self.split().1;
        trailer::decode(tail, self.header.file_len, self.header.page_size)
    }

    /// The bytes of the artifact, and those that follow in its file.
    fn split(&self) -> (&'a [u8], &'a [u8]) {
        let len = usize::try_from(self.header.file_len).unwrap_or(usize::MAX);
        self.bytes
            .split_at_checked(len)
            .unwrap_or((self.bytes, &[]))
    }

    /// How memory accesses are kept in bounds.
    #[inline]
    pub fn strategy(&self) -> Strategy {
        Strategy::from_number(self.header.strategy).unwrap_or(Strategy::Checked)
    }

    /// How the host can stop running code.
    #[inline]
    pub fn interruption(&self) -> Interruption {
        Interruption::from_number(self.header.interruption).unwrap_or(Interruption::None)
    }

    /// The bytes of a section; empty if the section is not inside the file.
    #[inline]
    pub fn section(&self, section: Section) -> &'a [u8] {
        let start = (HEADER_OFFSET as u64).saturating_add(section.start);
        let end = start.saturating_add(section.len);
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
            return &[];
        };
        let hot = self.hot.get(start..end);
        hot.or_else(|| self.bytes.get(start..end)).unwrap_or(&[])
    }

    #[inline]
    fn records<T: Pod>(&self, section: Section) -> &'a [T] {
        bytemuck::try_cast_slice(self.section(section)).unwrap_or(&[])
    }

    /// The name that a record refers to.
    pub fn str(&self, s: Slice) -> Option<&'a str> {
        core::str::from_utf8(self.name_bytes(s)?).ok()
    }

    /// The bytes of such a name.
    fn name_bytes(&self, s: Slice) -> Option<&'a [u8]> {
        let end = (s.offset as usize).checked_add(s.len as usize)?;
        self.section(self.header.strings)
            .get(s.offset as usize..end)
    }

    /// Signatures.
    #[inline]
    pub fn signatures(&self) -> &'a [SignatureRecord] {
        self.records(self.header.signatures)
    }

    /// Parameters and results of signature `index`.
    pub fn signature(&self, index: u32) -> Option<Signature<'a>> {
        let record = self.signatures().get(index as usize)?;
        let params = record.params as usize;
        let start = record.types as usize;
        let end = start + params + record.results as usize;
        Some(Signature {
            types: self.types().get(start..end)?,
            params,
        })
    }

    /// Value types of all signatures.
    pub(crate) fn types(&self) -> &'a [u32] {
        self.records(self.header.types)
    }

    /// What distinguishes types from others with the same signature, in the order of signatures.
    pub fn type_records(&self) -> &'a [TypeRecord] {
        self.records(self.header.type_records)
    }

    /// Imports, in the module's order.
    pub fn imports(&self) -> &'a [ImportRecord] {
        self.records(self.header.imports)
    }

    /// Exports, sorted by hash; those of equal hashes by name, if the artifact was not damaged.
    #[inline]
    pub fn exports(&self) -> &'a [ExportRecord] {
        self.records(self.header.exports)
    }

    /// The export with this name.
    pub fn export(&self, name: &str) -> Option<&'a ExportRecord> {
        self.exports().get(self.export_position(name)?)
    }

    /// Where the export with this name is among [`Artifact::exports`]. Names of equal hashes are
    /// easily made, so the search goes by both.
    pub fn export_position(&self, name: &str) -> Option<usize> {
        let (hash, bytes) = (crate::name_hash(name), Some(name.as_bytes()));
        let order = |e: &ExportRecord| {
            let by_hash = e.hash.cmp(&hash);
            by_hash.then_with(|| self.name_bytes(e.name).cmp(&bytes))
        };
        self.exports().binary_search_by(order).ok()
    }

    /// Memories, in index space order.
    #[inline]
    pub fn memories(&self) -> &'a [MemoryRecord] {
        self.records(self.header.memories)
    }

    /// Tables, in index space order.
    #[inline]
    pub fn tables(&self) -> &'a [TableRecord] {
        self.records(self.header.tables)
    }

    /// Globals, in index space order.
    #[inline]
    pub fn globals(&self) -> &'a [GlobalRecord] {
        self.records(self.header.globals)
    }

    /// Tags of exceptions, in index space order.
    #[inline]
    pub fn tags(&self) -> &'a [TagRecord] {
        self.records(self.header.tags)
    }

    /// Operations of constant expressions.
    pub fn const_ops(&self) -> &'a [ConstOp] {
        self.records(self.header.const_ops)
    }

    /// Initial values of tables.
    #[inline]
    pub fn table_inits(&self) -> &'a [TableInitRecord] {
        self.records(self.header.table_inits)
    }

    /// Element segments.
    #[inline]
    pub fn elements(&self) -> &'a [ElementRecord] {
        self.records(self.header.elements)
    }

    /// Elements of element segments.
    pub fn element_items(&self) -> &'a [ConstOp] {
        self.records(self.header.element_items)
    }

    /// Data segments.
    #[inline]
    pub fn data(&self) -> &'a [DataRecord] {
        self.records(self.header.data)
    }

    /// Runs of the memory image.
    pub fn images(&self) -> &'a [ImageRecord] {
        self.records(self.header.images)
    }

    /// GOT records, one for each slot of the GOT.
    pub fn got_records(&self) -> &'a [GotRecord] {
        self.records(self.header.got_records)
    }

    /// Defined functions.
    #[inline]
    pub fn functions(&self) -> &'a [FunctionRecord] {
        self.records(self.header.functions)
    }

    /// The defined function whose code contains this text offset: its index and its record.
    pub fn function_at(&self, text_offset: u32) -> Option<(u32, &'a FunctionRecord)> {
        let functions = self.functions();
        let order = self.order();
        let i = if order.is_empty() {
            let after = functions.partition_point(|f| f.text_offset <= text_offset);
            after.checked_sub(1)? as u32
        } else {
            let starts_before = |i: &u32| {
                let function = functions.get(*i as usize);
                function.is_some_and(|f| f.text_offset <= text_offset)
            };
            let after = order.partition_point(starts_before);
            order[after.checked_sub(1)?]
        };
        let function = functions.get(i as usize)?;
        let distance = text_offset.checked_sub(function.text_offset)?;
        (distance < function.text_len).then_some((i, function))
    }

    /// Indices of the defined functions in the order of their code; empty if the order of their
    /// code is that of their indices.
    pub fn order(&self) -> &'a [u32] {
        self.records(self.header.order)
    }

    /// Symbol name of defined function `index`. It is not always UTF-8.
    pub fn function_name(&self, index: u32) -> Option<&'a [u8]> {
        let (symbols, names) = (self.header.symtab, self.header.strtab);
        function_name(self.section(symbols), self.section(names), index)
    }

    /// Whether the artifact has neither names nor an address map, though it has functions; see
    /// `writer::strip`.
    pub fn is_stripped(&self) -> bool {
        let h = self.header;
        h.functions.len != 0 && h.symtab.len == 0 && h.addresses.len == 0
    }

    /// Identifies the machine code: a hash of the text and of where the functions are in it. An
    /// artifact has the same build id with and without names, so the id of a stripped artifact
    /// leads to the artifact with names.
    pub fn build_id(&self) -> [u8; 20] {
        let mut hasher = blake3::Hasher::new_derive_key("precast build id, version 1");
        hasher.update(&self.header.text.len.to_le_bytes());
        hasher.update(self.section(self.header.text));
        hasher.update(self.section(self.header.functions));
        let mut id = [0; 20];
        hasher.finalize_xof().fill(&mut id);
        id
    }
}

/// The name of defined function `index` in a symbol table and its strings.
pub fn function_name<'a>(symtab: &[u8], strtab: &'a [u8], index: u32) -> Option<&'a [u8]> {
    // Elf64_Sym: st_name is the first field; symbol 0 is the null symbol.
    let at = (index as usize).checked_add(1)?.checked_mul(24)?;
    let name = symtab.get(at..at.checked_add(4)?)?;
    let name = u32::from_le_bytes(name.try_into().ok()?) as usize;
    let strings = strtab.get(name..)?;
    strings.get(..strings.iter().position(|b| *b == 0)?)
}

/// CRC-32 of header and hot tables, with the checksum field taken as zero. `covered` starts at the
/// header.
pub fn checksum(covered: &[u8]) -> u32 {
    let at = core::mem::offset_of!(Header, checksum);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&covered[..at]);
    crc.update(&[0; 4]);
    crc.update(&covered[at + 4..]);
    crc.finalize()
}

/// The digest of an artifact: BLAKE3 of the whole file, with the checksum and digest fields of its
/// header taken as zero. `precast digest` prints it, `Compiled::digest` of `precast-compiler` holds
/// it, and `Module::open_verified` of `precast-loader` asks for it.
///
/// Bytes that are too short to be an artifact are hashed unchanged.
pub fn digest(file: &[u8]) -> [u8; 32] {
    let sum = HEADER_OFFSET + core::mem::offset_of!(Header, checksum);
    let dig = HEADER_OFFSET + core::mem::offset_of!(Header, digest);
    let mut hasher = blake3::Hasher::new();
    if file.len() < dig + 32 {
        return hasher.update(file).finalize().into();
    }
    hasher.update(&file[..sum]);
    hasher.update(&[0; 4]);
    hasher.update(&file[sum + 4..dig]);
    hasher.update(&[0; 32]);
    hasher.update(&file[dig + 32..]);
    hasher.finalize().into()
}

/// Hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const _: () = assert!(
    cfg!(target_endian = "little"),
    "artifacts are read in place: little-endian"
);
