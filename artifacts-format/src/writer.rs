//! Writing artifacts: fill in an [`ArtifactBuilder`], get the bytes of the file.
//!
//! The builder knows the layout of the file and nothing of WebAssembly. Its user is responsible for
//! records that make sense: the compiler makes them from a module, and tests of the loader make
//! them by hand, without a compiler.
//!
//! Rodata, text and GOT have fixed distances from each other, so that machine code can refer
//! to them before anything else is known; [`TextLayout`] says where they are. Large pieces (text,
//! data) are borrowed, or dropped as soon as they are copied, so there is one extra copy at most.

mod elf;
mod join;
mod output;

use std::borrow::Cow;

pub use join::join;

use crate::metadata::Metadata;
use crate::reader::Artifact;
use crate::records::*;
use crate::signature::type_id;
use crate::target::{Arch, Os};
use crate::{Interruption, Strategy, ValType, name_hash};

/// Why an artifact cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A part is too large for the numbers that refer to it.
    #[error("{what} would be {found} bytes long; an artifact holds at most {limit}")]
    TooLarge {
        /// The part.
        what: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Artifacts that cannot be in one file.
    #[error("cannot join the artifacts: {0}")]
    Variants(&'static str),
    /// Artifacts that would not behave alike on all machines.
    #[error(
        "cannot join the artifacts: the setting `{name}` is {} in one and {} in another, and all \
         settings but the CPU must be the same",
        .values[0].as_deref().unwrap_or("not there"),
        .values[1].as_deref().unwrap_or("not there")
    )]
    VariantSettings {
        /// The name of the setting.
        name: String,
        /// Its value in two of the artifacts.
        values: [Option<String>; 2],
    },
    /// An artifact for an architecture that this writer does not know.
    #[error("the artifact is for an unknown architecture: its number is {found}")]
    Target {
        /// The architecture's number.
        found: u32,
    },
    /// An artifact that is damaged.
    #[error(transparent)]
    Artifact(#[from] crate::Error),
}

/// Returns the artifact without what only people and tools read: the names of functions, the
/// address map, and the [custom sections](crate::custom_sections::is_debug) of debuggers. The
/// stripped artifact runs in the same way, but its backtraces have numbers in place of names, and
/// no offsets in the module. Its [build id](Artifact::build_id) stays the same, so names and
/// offsets can be found in the artifact that was stripped. Its digest differs, and signatures are
/// left out.
///
/// # Errors
/// [`WriteError::Target`], and [`WriteError::Artifact`] if the digest is not that of the artifact's
/// bytes: the new digest would make damaged code look whole.
pub fn strip(artifact: &Artifact<'_>) -> Result<Vec<u8>, WriteError> {
    artifact.verify_digest(None)?;
    elf::strip(artifact)
}

/// Where the pieces that machine code refers to are, relative to the start of the text:
///
/// ```text
///   … rodata │ text … │ GOT …
///            ^0       ^text length, rounded up to a page
/// ```
///
/// The rodata ends where the text starts, up to alignment, so its distance from the text depends
/// only on its own length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLayout {
    /// Bytes of a page.
    pub page_size: u32,
    /// Bytes of rodata.
    pub rodata_len: u64,
    /// Bytes of text.
    pub text_len: u64,
}

impl TextLayout {
    /// Alignment of the first byte of the rodata.
    pub const RODATA_ALIGN: u64 = 16;

    /// Distance from the start of the text back to the start of the rodata.
    pub fn rodata_before_text(&self) -> u64 {
        self.rodata_len.next_multiple_of(Self::RODATA_ALIGN)
    }

    /// Distance from the start of the text to the start of the GOT.
    pub fn got_after_text(&self) -> u64 {
        self.text_len.next_multiple_of(u64::from(self.page_size))
    }
}

/// A symbol of the ELF symbol table.
#[derive(Debug, Clone)]
pub struct Symbol<'a> {
    /// Name of the symbol.
    pub name: Cow<'a, str>,
    /// Text offset of the first byte.
    pub text_offset: u32,
    /// Number of bytes.
    pub text_len: u32,
}

/// Collects the parts of an artifact.
#[derive(Debug)]
pub struct ArtifactBuilder<'a> {
    /// Architecture of the text.
    pub arch: Arch,
    /// Operating system.
    pub os: Os,
    /// CPU features that the text uses: bits as in [`Arch::features`].
    pub cpu_features: u64,
    /// Page size that sections are aligned for.
    pub page_size: u32,
    /// How memory accesses are kept in bounds.
    pub strategy: Strategy,
    /// Start function, in the function index space.
    pub start_function: Option<u32>,
    /// Layout of the VM context.
    pub vm: VmLayout,
    /// How the host can stop running code.
    pub interruption: Interruption,
    /// Proposals that the module uses: the bits of [`Feature`](crate::Feature)s.
    pub features: u64,

    strings: Vec<u8>,
    types: Vec<u32>,
    /// Signatures, see [`signature`](Self::signature).
    pub signatures: Vec<SignatureRecord>,
    /// What distinguishes types from others with the same signature, see
    /// [`type_record`](Self::type_record).
    pub type_records: Vec<TypeRecord>,
    /// Imports, see [`import`](Self::import).
    pub imports: Vec<ImportRecord>,
    exports: Vec<ExportRecord>,
    /// Memories.
    pub memories: Vec<MemoryRecord>,
    /// Tables.
    pub tables: Vec<TableRecord>,
    /// Globals.
    pub globals: Vec<GlobalRecord>,
    /// Tags of exceptions.
    pub tags: Vec<TagRecord>,
    /// Operations of constant expressions, see [`const_expr`](Self::const_expr).
    pub const_ops: Vec<ConstOp>,
    /// Initial values of tables.
    pub table_inits: Vec<TableInitRecord>,
    /// Element segments.
    pub elements: Vec<ElementRecord>,
    /// Elements of the element segments.
    pub element_items: Vec<ConstOp>,
    /// Data segments, see [`data_segment`](Self::data_segment).
    pub data: Vec<DataRecord>,
    segments: Vec<Cow<'a, [u8]>>,
    segments_len: u64,
    /// Runs of the memory image.
    pub images: Vec<ImageRecord>,
    /// Bytes of the image: offset in the `image` section, and the bytes. They are copied into
    /// zeroed pages in this order, so a later piece overwrites an earlier one.
    pub image_pieces: Vec<(u64, Cow<'a, [u8]>)>,
    /// Slots of the GOT.
    pub got_records: Vec<GotRecord>,
    /// First bytes of a VM context.
    pub template: Vec<u8>,
    /// Frozen tables.
    pub rodata: Vec<u8>,
    /// Machine code.
    pub text: Vec<u8>,
    /// Defined functions, in index order. Their code may be in another order.
    pub functions: Vec<FunctionRecord>,
    /// Symbols: those of the defined functions first, in index order.
    pub symbols: Vec<Symbol<'a>>,
    /// Trap table, see [`traps::encode`](crate::traps::encode).
    pub traps: Vec<u8>,
    /// Handlers of calls, see [`handlers::encode`](crate::handlers::encode).
    pub handlers: Vec<u8>,
    /// Address map, see [`AddressMapBuilder`](crate::addresses::AddressMapBuilder).
    pub addresses: Vec<u8>,
    /// Cold metadata.
    pub metadata: Metadata,
    /// Custom sections, see [`custom_sections::encode`](crate::custom_sections::encode).
    pub custom_sections: Vec<u8>,
    /// Counters, see [`counters::encode`](crate::counters::encode).
    pub counters: Vec<u8>,
}

impl<'a> ArtifactBuilder<'a> {
    /// An artifact without any parts.
    pub fn new(arch: Arch, os: Os, strategy: Strategy) -> Self {
        Self {
            arch,
            os,
            cpu_features: 0,
            page_size: arch.page_size(),
            strategy,
            start_function: None,
            vm: VmLayout {
                size: 16,
                func_imports: 16,
                func_import_count: 0,
                funcrefs: 16,
                funcref_count: 0,
                data_dropped: 16,
                elem_dropped: 16,
            },
            interruption: Interruption::None,
            features: 0,
            strings: Vec::new(),
            types: Vec::new(),
            signatures: Vec::new(),
            type_records: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            tags: Vec::new(),
            const_ops: Vec::new(),
            table_inits: Vec::new(),
            elements: Vec::new(),
            element_items: Vec::new(),
            data: Vec::new(),
            segments: Vec::new(),
            segments_len: 0,
            images: Vec::new(),
            image_pieces: Vec::new(),
            got_records: Vec::new(),
            template: Vec::new(),
            rodata: Vec::new(),
            text: Vec::new(),
            functions: Vec::new(),
            symbols: Vec::new(),
            traps: Vec::new(),
            handlers: Vec::new(),
            addresses: Vec::new(),
            metadata: Metadata::default(),
            custom_sections: Vec::new(),
            counters: Vec::new(),
        }
    }

    /// Adds a signature without trampolines (set their offsets in the record) and returns its
    /// index.
    pub fn signature(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let types = self.types.len() as u32;
        self.types
            .extend(params.iter().chain(results).map(|t| t.number()));
        self.signatures.push(SignatureRecord {
            type_id: type_id(params, results).unwrap_or(0),
            types,
            params: params.len() as u16,
            results: results.len() as u16,
            native_entry: NONE,
            array_entry: NONE,
            native_exit: NONE,
            array_exit: NONE,
        });
        self.signatures.len() as u32 - 1
    }

    /// Adds a record about a signature that was added before. Records must be added in the order of
    /// the signatures.
    pub fn type_record(&mut self, record: TypeRecord) {
        // The id of a type with a record comes from the loader.
        self.signatures[record.signature as usize].type_id = 0;
        self.type_records.push(record);
    }

    /// Adds an import that is not a function.
    pub fn import(&mut self, module: &str, name: &str, kind: ExternKind, index: u32) {
        let (module, name) = (self.string(module), self.string(name));
        let kind = kind as u32;
        self.imports.push(ImportRecord {
            module,
            name,
            kind,
            index,
            signature: NONE,
            funcref: NONE,
        });
    }

    /// Adds an import of a function.
    pub fn import_func(
        &mut self,
        module: &str,
        name: &str,
        index: u32,
        signature: u32,
        funcref: Option<u32>,
    ) {
        self.import(module, name, ExternKind::Func, index);
        if let Some(record) = self.imports.last_mut() {
            record.signature = signature;
            record.funcref = funcref.unwrap_or(NONE);
        }
    }

    /// Adds an export. Exports may come in any order; `finish` sorts them.
    pub fn export(&mut self, name: &str, kind: ExternKind, index: u32) {
        let record = ExportRecord {
            hash: name_hash(name),
            ordinal: self.exports.len() as u32,
            name: self.string(name),
            kind: kind as u32,
            index,
        };
        self.exports.push(record);
    }

    /// Adds the operations of a constant expression.
    pub fn const_expr(&mut self, ops: &[ConstOp]) -> Run {
        let first = self.const_ops.len() as u32;
        self.const_ops.extend_from_slice(ops);
        Run {
            first,
            count: ops.len() as u32,
        }
    }

    /// Adds a data segment that is copied at run time. `memory` is `None` for a passive segment.
    pub fn data_segment(
        &mut self,
        segment: u32,
        memory: Option<u32>,
        offset: Run,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) {
        let bytes = bytes.into();
        self.data.push(DataRecord {
            segment,
            memory: memory.unwrap_or(NONE),
            offset,
            bytes: self.segments_len,
            len: bytes.len() as u64,
        });
        self.segments_len += bytes.len() as u64;
        self.segments.push(bytes);
    }

    /// Adds a defined function and its symbol. Functions must be added in index order.
    pub fn function(&mut self, name: impl Into<Cow<'a, str>>, record: FunctionRecord) {
        let FunctionRecord {
            text_offset,
            text_len,
            ..
        } = record;
        debug_assert_eq!(
            self.functions.len(),
            self.symbols.len(),
            "functions' symbols come first"
        );
        self.functions.push(record);
        self.symbols.push(Symbol {
            name: name.into(),
            text_offset,
            text_len,
        });
    }

    fn string(&mut self, text: &str) -> Slice {
        // Names of import modules repeat: most imports have the same module as the one before.
        if let Some(last) = self.imports.last().map(|i| i.module) {
            let (from, len) = (last.offset as usize, last.len as usize);
            if self.strings.get(from..from + len) == Some(text.as_bytes()) {
                return last;
            }
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        Slice {
            offset,
            len: text.len() as u32,
        }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`].
    pub fn finish(mut self) -> Result<Vec<u8>, WriteError> {
        let strings = &self.strings;
        let name = |slice: Slice| &strings[slice.offset as usize..][..slice.len as usize];
        let mut exports = core::mem::take(&mut self.exports);
        exports.sort_unstable_by(|a, b| (a.hash, name(a.name)).cmp(&(b.hash, name(b.name))));
        self.exports = exports;
        elf::write(self)
    }
}
