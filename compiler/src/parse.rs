//! Parses bytes into a validated [`Module`].
//!
//! Sections are read and validated in order. Function bodies are validated in parallel afterwards,
//! and the same pass gathers the [`Facts`] that decisions depend on (is a table ever changed? is a
//! segment ever named?). So every error in the module is known before any code is generated, and
//! the translator sees only valid code. If several functions are invalid, the error is about the
//! first of them, whatever the number of threads.

mod bodies;
pub(crate) mod types;

use std::collections::HashMap;

use cranelift_entity::PrimaryMap;
use wasmparser::{
    DataKind, Encoding, ExternalKind, KnownCustom, Name, NameSectionReader, Parser, Payload,
    RecGroup, RefType, TableInit, TypeRef, ValidPayload, Validator, WasmFeatures,
};

use crate::Error;
use crate::const_expr::ConstExpr;
use crate::features::of_type;
use crate::module::{
    Data, Element, ElementItems, ElementMode, Export, Extern, Facts, Global, Import, Memory,
    Module, Names, PAGE_SHIFT, Signature, Table,
};
use crate::symbol::{
    FuncIndex, GlobalIndex, MemoryIndex, SigIndex, TableIndex, TagIndex, TypeIndex,
};
use crate::workers::Workers;

use bodies::validate_bodies;
use types::Types;

/// WebAssembly 2.0 and the other proposals that this compiler implements.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::THREADS
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::FUNCTION_REFERENCES
}

/// What the validator is asked to accept. Recursive groups, subtypes and heap types without values
/// are parts of the garbage collection proposal that need no objects, so they come with function
/// references. This parser refuses the rest of that proposal.
fn validated(allowed: WasmFeatures) -> WasmFeatures {
    let with_types = allowed.contains(WasmFeatures::FUNCTION_REFERENCES);
    let mut validated = allowed;
    validated.set(WasmFeatures::GC, with_types);
    validated
}

/// Parses and validates a module that may use all [`features`].
#[cfg(test)]
pub(crate) fn parse(wasm: &[u8]) -> Result<Module<'_>, Error> {
    parse_with(features(), wasm, Workers::new(Some(1)))
}

/// Parses and validates a module that may use `allowed`, a subset of [`features`].
pub(crate) fn parse_with(
    allowed: WasmFeatures,
    wasm: &[u8],
    workers: Workers,
) -> Result<Module<'_>, Error> {
    sniff(wasm)?;
    let mut reader = Reader::new();
    let mut validator = Validator::new_with_features(validated(allowed));
    let mut parser = Parser::new(0);
    parser.set_features(validated(features()));
    let mut functions = Vec::new();
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => functions.push((function, body)),
            _ => {
                let start = payload.as_section().map_or(0, |(_, range)| range.start);
                reader.section(payload).map_err(|error| error.at(start))?;
            }
        }
    }
    let mut module = reader.module;
    module.facts.merge(validate_bodies(&functions, workers)?);
    module.bodies = functions.into_iter().map(|(_, body)| body).collect();
    Ok(module)
}

/// Recognises bytes that are no WebAssembly module at all, so that the error can say what to do.
fn sniff(wasm: &[u8]) -> Result<(), Error> {
    let not_a_module = |found, remedy| Err(Error::NotAModule { found, remedy });
    if wasm.is_empty() {
        return not_a_module("nothing (0 bytes)", "check how the file was made");
    }
    if wasm.starts_with(b"\0asm") {
        return match wasm.get(4..8) {
            Some([0x0d, 0, 1, 0]) => not_a_module(
                "a component",
                "components are not supported: extract its core module, or build a core module",
            ),
            _ => Ok(()),
        };
    }
    if wasm.starts_with(b"\x7fELF") {
        return not_a_module(
            "an ELF file",
            "if it is a precast artifact, it is compiled already",
        );
    }
    if wasm.starts_with(&precast_artifact::variants::MAGIC) {
        return not_a_module(
            "a file with several artifacts, for several CPUs",
            "it is compiled already",
        );
    }
    let text = wasm
        .iter()
        .position(|b| !b.is_ascii_whitespace())
        .unwrap_or(0);
    if wasm[text..].starts_with(b"(") || wasm[text..].starts_with(b";;") {
        return not_a_module(
            "WebAssembly text",
            "convert it with `wasm-tools parse` or `wat2wasm`",
        );
    }
    not_a_module(
        "bytes that do not start with `\\0asm`",
        "check that it is a .wasm file",
    )
}

struct Reader<'a> {
    module: Module<'a>,
    /// The first signature of each recursive group.
    groups: HashMap<Vec<Signature>, SigIndex>,
}

impl<'a> Reader<'a> {
    fn new() -> Self {
        let module = Module {
            types: PrimaryMap::new(),
            signatures: PrimaryMap::new(),
            imports: Vec::new(),
            functions: PrimaryMap::new(),
            imported_functions: 0,
            tables: PrimaryMap::new(),
            imported_tables: 0,
            memories: PrimaryMap::new(),
            imported_memories: 0,
            globals: PrimaryMap::new(),
            imported_globals: 0,
            tags: PrimaryMap::new(),
            imported_tags: 0,
            exports: Vec::new(),
            start: None,
            elements: PrimaryMap::new(),
            data: PrimaryMap::new(),
            bodies: PrimaryMap::new(),
            names: Names::default(),
            branch_hints: HashMap::new(),
            custom_sections: Vec::new(),
            code_start: 0,
            facts: Facts::default(),
        };
        Self {
            module,
            groups: HashMap::new(),
        }
    }

    /// Adds the types of a recursive group. If a group with the same structure is known, the types
    /// are those of that group.
    fn group(&mut self, group: &RecGroup) -> Result<(), Error> {
        let module = &mut self.module;
        if group.is_explicit_rec_group() {
            // The signature does not tell a group of one type from that type without a group.
            let feature = Some(WasmFeatures::FUNCTION_REFERENCES);
            module.facts.add_features(feature);
        }
        let types = Types::new(&module.types);
        let len = u32::try_from(group.types().len()).expect("fewer types than 2^32");
        let members = group
            .types()
            .map(|ty| types.signature(ty, len))
            .collect::<Result<Vec<_>, _>>()?;
        let first = match self.groups.get(&members) {
            Some(first) => *first,
            None => {
                let first = module.signatures.next_key();
                for member in &members {
                    module.signatures.push(types::placed(member, first));
                }
                self.groups.insert(members, first);
                first
            }
        };
        for i in 0..len {
            module.types.push(SigIndex::from_u32(first.as_u32() + i));
        }
        Ok(())
    }

    /// Adds the content of a validated section to the module.
    fn section(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        let module = &mut self.module;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            }
            | Payload::DataCountSection { .. }
            | Payload::End(_) => {}
            // The cast is right: a module is shorter than 4 GiB.
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => module.code_start = unchecked_range.start as u32,
            Payload::TypeSection(section) => {
                for group in section {
                    self.group(&group?)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(import?)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    let signature = module.types[TypeIndex::from_u32(ty?)];
                    module.functions.push(signature);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let init = match table.init {
                        TableInit::RefNull => None,
                        TableInit::Expr(init) => Some(ConstExpr::parse(&init)?),
                    };
                    let table = self::table(&table.ty, init, &Types::new(&module.types))?;
                    module.tables.push(table);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    module.memories.push(self::memory(&memory?)?);
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    let signature = module.types[TypeIndex::from_u32(tag?.func_type_idx)];
                    module.tags.push(signature);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    module.globals.push(Global {
                        ty: Types::new(&module.types).val_type(global.ty.content_type)?,
                        mutable: global.ty.mutable,
                        init: Some(ConstExpr::parse(&global.init_expr)?),
                    });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let item = match export.kind {
                        ExternalKind::Func => Extern::Func(FuncIndex::from_u32(export.index)),
                        ExternalKind::Table => Extern::Table(TableIndex::from_u32(export.index)),
                        ExternalKind::Memory => Extern::Memory(MemoryIndex::from_u32(export.index)),
                        ExternalKind::Global => Extern::Global(GlobalIndex::from_u32(export.index)),
                        ExternalKind::Tag => Extern::Tag(TagIndex::from_u32(export.index)),
                        ExternalKind::FuncExact => {
                            return Err(unexpected("an export of an unknown kind"));
                        }
                    };
                    module.exports.push(Export {
                        name: export.name,
                        item,
                    });
                }
            }
            Payload::StartSection { func, .. } => module.start = Some(FuncIndex::from_u32(func)),
            Payload::ElementSection(section) => {
                for element in section {
                    module.elements.push(self::element(element?)?);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let active = match data.kind {
                        DataKind::Passive => None,
                        DataKind::Active {
                            memory_index,
                            offset_expr,
                        } => Some((
                            MemoryIndex::from_u32(memory_index),
                            ConstExpr::parse(&offset_expr)?,
                        )),
                    };
                    module.data.push(Data {
                        active,
                        bytes: data.data,
                    });
                }
            }
            Payload::CustomSection(section) => {
                // A custom section that is malformed does not make the module invalid.
                match section.as_known() {
                    KnownCustom::Name(names) => module.names = self::names(names),
                    KnownCustom::BranchHints(functions) => {
                        module.branch_hints = branch_hints(functions);
                    }
                    _ => {}
                }
                let section = (section.name(), section.data());
                module.custom_sections.push(section);
            }
            _ => return Err(unexpected("a section of an unknown kind")),
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'a>) -> Result<(), Error> {
        let module = &mut self.module;
        let item = match import.ty {
            TypeRef::Func(ty) => {
                module.imported_functions += 1;
                let signature = module.types[TypeIndex::from_u32(ty)];
                Extern::Func(module.functions.push(signature))
            }
            TypeRef::Table(ty) => {
                module.imported_tables += 1;
                let table = table(&ty, None, &Types::new(&module.types))?;
                Extern::Table(module.tables.push(table))
            }
            TypeRef::Memory(ty) => {
                module.imported_memories += 1;
                Extern::Memory(module.memories.push(memory(&ty)?))
            }
            TypeRef::Global(ty) => {
                module.imported_globals += 1;
                Extern::Global(module.globals.push(Global {
                    ty: Types::new(&module.types).val_type(ty.content_type)?,
                    mutable: ty.mutable,
                    init: None,
                }))
            }
            TypeRef::Tag(ty) => {
                module.imported_tags += 1;
                let signature = module.types[TypeIndex::from_u32(ty.func_type_idx)];
                Extern::Tag(module.tags.push(signature))
            }
            TypeRef::FuncExact(_) => {
                return Err(unexpected("an import of an unknown kind"));
            }
        };
        module.imports.push(Import {
            module: import.module,
            name: import.name,
            item,
        });
        Ok(())
    }
}

fn table(
    ty: &wasmparser::TableType,
    init: Option<ConstExpr>,
    types: &Types<'_>,
) -> Result<Table, Error> {
    Ok(Table {
        element: types.val_type(wasmparser::ValType::Ref(ty.element_type))?,
        init,
        min: ty.initial,
        max: ty.maximum,
        index64: ty.table64,
    })
}

fn memory(ty: &wasmparser::MemoryType) -> Result<Memory, Error> {
    Ok(Memory {
        min: ty.initial,
        max: ty.maximum,
        index64: ty.memory64,
        shared: ty.shared,
        page_shift: ty.page_size_log2.unwrap_or(PAGE_SHIFT),
    })
}

fn element(element: wasmparser::Element<'_>) -> Result<Element, Error> {
    let mode = match element.kind {
        wasmparser::ElementKind::Passive => ElementMode::Passive,
        wasmparser::ElementKind::Declared => ElementMode::Declared,
        wasmparser::ElementKind::Active {
            table_index,
            offset_expr,
        } => ElementMode::Active {
            table: TableIndex::from_u32(table_index.unwrap_or(0)),
            offset: ConstExpr::parse(&offset_expr)?,
        },
    };
    let features = match element.items {
        wasmparser::ElementItems::Expressions(ty, _) if ty != RefType::FUNCREF => {
            of_type(wasmparser::ValType::Ref(ty))?
        }
        _ => WasmFeatures::empty(),
    };
    let items = match element.items {
        wasmparser::ElementItems::Functions(items) => ElementItems::Functions(
            items
                .into_iter()
                .map(|f| Ok(FuncIndex::from_u32(f?)))
                .collect::<Result<_, Error>>()?,
        ),
        wasmparser::ElementItems::Expressions(_, items) => ElementItems::Expressions(
            items
                .into_iter()
                .map(|e| ConstExpr::parse(&e?))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Element {
        mode,
        items,
        features,
    })
}

/// The names in the `name` section, up to the first that cannot be read.
fn names<'a>(section: NameSectionReader<'a>) -> Names<'a> {
    let mut names = Names::default();
    for subsection in section {
        match subsection {
            Ok(Name::Module { name, .. }) => names.module = Some(name),
            Ok(Name::Function(functions)) if names.functions.is_empty() => {
                let named = functions.map_while(Result::ok);
                names.functions = named
                    .map(|n| (FuncIndex::from_u32(n.index), n.name))
                    .collect();
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    names
}

/// The hints in the section of branch hints, if the whole section can be read; otherwise none.
/// A hint that is not at a branch is never looked up.
fn branch_hints(
    section: wasmparser::BranchHintSectionReader<'_>,
) -> HashMap<FuncIndex, Box<[(u32, bool)]>> {
    let read = || -> wasmparser::Result<_> {
        let mut hints = HashMap::new();
        for function in section {
            let function = function?;
            let of_function: Box<[_]> = function
                .hints
                .into_iter()
                .map(|hint| hint.map(|hint| (hint.func_offset, hint.taken)))
                .collect::<wasmparser::Result<_>>()?;
            // The specification requires the hints in order, with each offset once.
            if of_function.is_sorted_by(|a, b| a.0 < b.0) {
                hints.insert(FuncIndex::from_u32(function.func), of_function);
            }
        }
        Ok(hints)
    };
    read().unwrap_or_default()
}

/// The error for something that the validator should have refused, as no enabled feature has it.
fn unexpected(what: &str) -> Error {
    Error::Unsupported {
        proposal: "unknown".to_owned(),
        offset: 0,
        message: format!("found {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn section(id: u8, bytes: &[u8]) -> Vec<u8> {
        let mut section = vec![id, u8::try_from(bytes.len()).unwrap()];
        section.extend(bytes);
        section
    }

    fn module(sections: &[Vec<u8>]) -> Vec<u8> {
        [EMPTY.to_vec(), sections.concat()].concat()
    }

    #[test]
    fn errors_say_what_the_bytes_are() {
        for (bytes, expected) in [
            (&b""[..], "nothing (0 bytes)"),
            (b"\x7fELF\x02", "an ELF file"),
            (
                b"precvar\n",
                "a file with several artifacts, for several CPUs",
            ),
            (b"\0asm\x0d\0\x01\0", "a component"),
            (b"  (module)", "WebAssembly text"),
            (b"MZ", "bytes that do not start with `\\0asm`"),
        ] {
            match parse(bytes) {
                Err(Error::NotAModule { found, .. }) => assert_eq!(found, expected),
                other => panic!("{expected}: {:?}", other.err()),
            }
        }
        assert!(parse(EMPTY).is_ok());
        assert!(matches!(
            parse(b"\0asm\x02\0\0\0"),
            Err(Error::Invalid { offset: 4, .. })
        ));
        assert!(matches!(parse(b"\0asm\x01"), Err(Error::Invalid { .. })));
    }

    #[test]
    fn equal_types_are_one_signature() {
        let types = section(1, &[3, 0x60, 1, 0x7f, 0, 0x60, 0, 0, 0x60, 1, 0x7f, 0]);
        let bytes = module(&[types]);
        let module = parse(&bytes).unwrap();
        assert_eq!(module.signatures.len(), 2);
        let types: Vec<_> = module.types.values().copied().collect();
        assert_eq!(types[0], types[2]);
        assert_ne!(types[0], types[1]);
    }

    #[test]
    fn errors_name_the_missing_proposal() {
        // (type (struct))
        let bytes = module(&[section(1, &[1, 0x5f, 0])]);
        match parse(&bytes) {
            Err(Error::Unsupported { proposal, .. }) => assert_eq!(proposal, "gc"),
            other => panic!("{:?}", other.err()),
        }
    }

    #[test]
    fn reports_the_first_invalid_function() {
        // There are two functions of type [] -> [], each with `i32.const 0` and no drop.
        let types = section(1, &[1, 0x60, 0, 0]);
        let functions = section(3, &[2, 0, 0]);
        let code = section(10, &[2, 4, 0, 0x41, 0, 0x0b, 4, 0, 0x41, 0, 0x0b]);
        let bytes = module(&[types, functions, code]);
        let first_end = u64::try_from(bytes.len() - 6).unwrap();
        match parse(&bytes) {
            Err(Error::Invalid { offset, .. }) => assert_eq!(offset, first_end),
            other => panic!("{:?}", other.err()),
        }
    }
}
