//! Writes the bytes of an artifact from the plan and the machine code.
//!
//! Nothing is decided here except the form: every record states a decision of the plan in the
//! artifact's format.

mod image;
mod template;

use std::collections::HashMap;

use bytemuck::bytes_of;
use cranelift_entity::EntityRef;
use precast_artifact::metadata::Metadata;
use precast_artifact::records::{
    ConstOp, ElementRecord, ExternKind, FINAL, FROZEN, FrozenEntry, FunctionRecord, GlobalRecord,
    GotKind, GotRecord, IMPORTED, INDEX64, MUTABLE, MemoryRecord, NONE, Run, SHARED,
    TableInitRecord, TableRecord, TagRecord, TypeRecord,
};
use precast_artifact::writer::{ArtifactBuilder, Symbol as NamedCode};
use precast_artifact::{Feature, custom_sections, handlers, traps};
use wasmparser::{BinaryReader, ProducersSectionReader};

use crate::counters::Counters;
use crate::error::feature_name;
use crate::layout::{PlacedText, RodataLayout};
use crate::module::{ElementMode, Extern, Module, Signature};
use crate::plan::Plan;
use crate::settings::Settings;
use crate::symbol::{FuncIndex, GotEntry, SigIndex, Symbol};
use crate::target::Target;
use crate::verify::verify;
use crate::{Error, identity};

/// What identifies the bytes of a module.
pub(crate) struct Source {
    pub(crate) len: u64,
    /// BLAKE3 of the bytes.
    pub(crate) digest: [u8; 32],
}

/// Writes the artifact of `module`, whose bytes are `source` and whose code is `placed`.
#[expect(clippy::too_many_arguments, reason = "the results of all phases")]
pub(crate) fn emit(
    source: Source,
    module: &Module<'_>,
    plan: &Plan,
    counters: Option<&Counters>,
    target: &Target,
    settings: &Settings,
    rodata: &RodataLayout,
    placed: PlacedText,
) -> Result<Vec<u8>, Error> {
    let mut b = ArtifactBuilder::new(target.arch, target.os, settings.strategy);
    b.cpu_features = target.cpu_features;
    b.start_function = module.start.map(FuncIndex::as_u32);
    b.vm = plan.vm;
    b.interruption = settings.interruption;
    b.features = features(module);
    b.template = template::template(module, plan, target.isa.endianness());
    if let Some(counters) = counters {
        b.counters = counters.section(source.digest);
    }
    b.metadata = metadata(source, module, target, settings);
    let kept = module.custom_sections.iter().copied();
    let kept = kept.filter(|(name, _)| settings.custom_sections.includes(name));
    // Addresses in DWARF count from this offset, so it goes in front of the debugging information.
    let code_start = module.code_start.to_le_bytes();
    let code_start = (custom_sections::CODE_START, &code_start[..]);
    let with_start = kept.flat_map(|section| {
        let is_dwarf = section.0 == custom_sections::DEBUG_INFO;
        is_dwarf.then_some(code_start).into_iter().chain([section])
    });
    b.custom_sections = custom_sections::encode(with_start);

    signatures(&mut b, module, &placed);
    imports_and_exports(&mut b, module, plan);
    memories(&mut b, module, plan);
    tables(&mut b, module, plan, rodata);
    globals(&mut b, module, plan);
    tags(&mut b, module, plan);
    segments(&mut b, module, plan);
    image::add(&mut b, module, plan);
    b.rodata = frozen_tables(module, plan, &placed);
    functions(&mut b, module, plan, &placed);
    b.got_records = placed.got.iter().map(|entry| got_record(*entry)).collect();
    b.traps = traps::encode(&placed.traps);
    b.handlers = handlers::encode(&placed.handlers);
    b.addresses = placed.addresses;
    b.text = placed.text;
    let bytes = b.finish()?;
    if cfg!(debug_assertions) {
        verify(&bytes)?;
    }
    Ok(bytes)
}

fn frozen_tables(module: &Module<'_>, plan: &Plan, placed: &PlacedText) -> Vec<u8> {
    let entry = |element: Option<FuncIndex>| {
        let Some(index) = element else {
            return FrozenEntry {
                code: 0,
                signature: NONE,
            };
        };
        let symbol = module
            .defined(index)
            .map_or(Symbol::ImportThunk(index), Symbol::Function);
        let code = placed
            .find(symbol)
            .expect("code for every element of a frozen table");
        FrozenEntry {
            code: code.offset,
            signature: module.functions[index].as_u32(),
        }
    };
    let elements = plan
        .tables
        .values()
        .filter_map(|t| t.frozen.as_ref())
        .flat_map(|t| t.elements.iter().copied().chain([None]));
    elements
        .flat_map(|element| bytes_of(&entry(element)).to_vec())
        .collect()
}

fn signatures(b: &mut ArtifactBuilder<'_>, module: &Module<'_>, placed: &PlacedText) {
    for (index, signature) in module.signatures.iter() {
        let record = b.signature(&signature.params, &signature.results) as usize;
        let offset = |symbol| placed.find(symbol).map_or(NONE, |code| code.offset);
        if let Some(kind) = signature.kind {
            b.type_record(TypeRecord {
                signature: index.as_u32(),
                supertype: kind.supertype.map_or(NONE, SigIndex::as_u32),
                group: kind.group.as_u32(),
                group_len: kind.group_len,
                flags: flag(kind.is_final, FINAL),
            });
        }
        let record = &mut b.signatures[record];
        record.native_entry = offset(Symbol::NativeEntry(index));
        record.array_entry = offset(Symbol::ArrayEntry(index));
        record.native_exit = offset(Symbol::NativeExit(index));
        record.array_exit = offset(Symbol::ArrayExit(index));
    }
}

fn imports_and_exports(b: &mut ArtifactBuilder<'_>, module: &Module<'_>, plan: &Plan) {
    for import in &module.imports {
        if let Extern::Func(index) = import.item {
            let signature = module.functions[index].as_u32();
            let funcref = Some(plan.funcrefs[index]).filter(|slot| *slot != NONE);
            b.import_func(
                import.module,
                import.name,
                index.as_u32(),
                signature,
                funcref,
            );
        } else {
            let (kind, index) = kind_and_index(import.item);
            b.import(import.module, import.name, kind, index);
        }
    }
    for export in &module.exports {
        let (kind, index) = kind_and_index(export.item);
        b.export(export.name, kind, index);
    }
}

fn kind_and_index(item: Extern) -> (ExternKind, u32) {
    match item {
        Extern::Func(i) => (ExternKind::Func, i.as_u32()),
        Extern::Table(i) => (ExternKind::Table, i.as_u32()),
        Extern::Memory(i) => (ExternKind::Memory, i.as_u32()),
        Extern::Global(i) => (ExternKind::Global, i.as_u32()),
        Extern::Tag(i) => (ExternKind::Tag, i.as_u32()),
    }
}

/// `bit` if `set`, else zero.
fn flag(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

fn memories(b: &mut ArtifactBuilder<'_>, module: &Module<'_>, plan: &Plan) {
    for (index, memory) in module.memories.iter() {
        b.memories.push(MemoryRecord {
            min: memory.min,
            max: match memory.max {
                // `u64::MAX` stands for no maximum, and no memory has as many pages.
                Some(max) if memory.shared => max.min(u64::MAX - 1),
                max => max.unwrap_or(u64::MAX),
            },
            flags: flag(module.is_imported_memory(index), IMPORTED)
                | flag(memory.index64, INDEX64)
                | flag(memory.shared, SHARED),
            vm_offset: plan.memories[index].offset,
            page_shift: memory.page_shift,
            reserved: 0,
        });
    }
}

fn tables(b: &mut ArtifactBuilder<'_>, module: &Module<'_>, plan: &Plan, rodata: &RodataLayout) {
    for (index, table) in module.tables.iter() {
        let frozen = rodata.tables.iter().find(|t| t.0 == index).map(|t| t.1);
        b.tables.push(TableRecord {
            min: table.min,
            max: table.max.unwrap_or(u64::MAX),
            element: table.element.number(),
            flags: flag(module.is_imported_table(index), IMPORTED)
                | flag(frozen.is_some(), FROZEN)
                | flag(table.index64, INDEX64),
            vm_offset: plan.tables[index].offset,
            frozen: frozen.unwrap_or(NONE),
        });
        let init = table.init.as_ref().filter(|init| !init.is_null());
        if let Some(init) = init.filter(|_| frozen.is_none()) {
            let value = const_expr(b, init.ops());
            b.table_inits.push(TableInitRecord {
                table: index.as_u32(),
                reserved: 0,
                value,
            });
        }
    }
}

fn globals(b: &mut ArtifactBuilder<'_>, module: &Module<'_>, plan: &Plan) {
    for (index, global) in module.globals.iter() {
        let waiting = global
            .init
            .as_ref()
            .filter(|_| plan.globals[index].init.is_none());
        let init = waiting.map(|expr| const_expr(b, expr.ops()));
        b.globals.push(GlobalRecord {
            ty: global.ty.number(),
            flags: flag(module.is_imported_global(index), IMPORTED) | flag(global.mutable, MUTABLE),
            vm_offset: plan.globals[index].offset,
            init: init.map_or(NONE, |run| run.first),
            init_len: init.map_or(0, |run| run.count),
            reserved: 0,
        });
    }
}

fn tags(b: &mut ArtifactBuilder<'_>, module: &Module<'_>, plan: &Plan) {
    for (index, signature) in module.tags.iter() {
        b.tags.push(TagRecord {
            signature: signature.as_u32(),
            flags: flag(module.is_imported_tag(index), IMPORTED),
            vm_offset: plan.tags[index],
            reserved: 0,
        });
    }
}

fn const_expr(b: &mut ArtifactBuilder<'_>, ops: impl Iterator<Item = ConstOp>) -> Run {
    b.const_expr(&ops.collect::<Vec<_>>())
}

/// Adds the segments that need a record, with what the loader evaluates or copies.
fn segments<'a>(b: &mut ArtifactBuilder<'a>, module: &Module<'a>, plan: &Plan) {
    const EMPTY: Run = Run { first: 0, count: 0 };
    for &index in &plan.data_records {
        let segment = &module.data[index];
        let (memory, offset) = match &segment.active {
            Some((memory, offset)) => (Some(memory.as_u32()), const_expr(b, offset.ops())),
            None => (None, EMPTY),
        };
        b.data_segment(index.as_u32(), memory, offset, segment.bytes);
    }
    for &index in &plan.element_records {
        let segment = &module.elements[index];
        let (table, offset) = match &segment.mode {
            ElementMode::Active { table, offset } => (table.as_u32(), const_expr(b, offset.ops())),
            ElementMode::Passive | ElementMode::Declared => (NONE, EMPTY),
        };
        let first = b.element_items.len() as u32;
        // Each item is a single operation, because arithmetic does not apply to references.
        b.element_items.extend(
            segment
                .items
                .iter()
                .flat_map(|item| item.ops().collect::<Vec<_>>()),
        );
        let items = Run {
            first,
            count: b.element_items.len() as u32 - first,
        };
        b.elements.push(ElementRecord {
            segment: index.as_u32(),
            table,
            offset,
            items,
        });
    }
}

/// Adds functions with their names, then symbols for all other code.
fn functions<'a>(
    b: &mut ArtifactBuilder<'a>,
    module: &Module<'a>,
    plan: &Plan,
    placed: &PlacedText,
) {
    let exported: HashMap<FuncIndex, &'a str> = module
        .exports
        .iter()
        .filter_map(|export| match export.item {
            Extern::Func(index) => Some((index, export.name)),
            _ => None,
        })
        .collect();
    for code in &placed.pieces {
        let (text_offset, text_len) = (code.offset, code.len);
        let Symbol::Function(defined) = code.symbol else {
            let name = symbol_name(module, code.symbol).into();
            b.symbols.push(NamedCode {
                name,
                text_offset,
                text_len,
            });
            continue;
        };
        let index = module.func_index(defined);
        let signature = module.functions[index].as_u32();
        let funcref = plan.funcrefs[index];
        let record = FunctionRecord {
            text_offset,
            text_len,
            signature,
            funcref,
        };
        let name = module
            .names
            .function(index)
            .or_else(|| exported.get(&index).copied());
        match name.filter(|name| !name.is_empty()) {
            Some(name) => b.function(name, record),
            None => b.function(format!("wasm-function[{}]", index.as_u32()), record),
        }
    }
    for &(text_offset, text_len) in &placed.islands {
        let name = "precast.veneers".into();
        b.symbols.push(NamedCode {
            name,
            text_offset,
            text_len,
        });
    }
}

/// Name in disassembly and profiles of code that is not one of the module's functions.
fn symbol_name(module: &Module<'_>, symbol: Symbol) -> String {
    let of = |what, sig: SigIndex| {
        let signature = &module.signatures[sig];
        let number = signature
            .kind
            .map_or(String::new(), |_| format!("#{}", sig.as_u32()));
        format!("precast.{what}[{}{number}]", text(signature))
    };
    match symbol {
        Symbol::NativeEntry(sig) => of("native_entry", sig),
        Symbol::ArrayEntry(sig) => of("array_entry", sig),
        Symbol::NativeExit(sig) => of("native_exit", sig),
        Symbol::ArrayExit(sig) => of("array_exit", sig),
        Symbol::ImportThunk(index) => format!("precast.import[{}]", index.index()),
        Symbol::BuiltinThunk(builtin) => format!("precast.builtin[{builtin}]"),
        Symbol::Raise(code) => format!("precast.raise[{}]", code.text().replace(' ', "_")),
        Symbol::Stop => "precast.stop".to_owned(),
        Symbol::LibCallThunk(libcall) => format!("precast.libcall[{libcall}]"),
        Symbol::Round(how, ty) => format!("precast.round[{how:?},{ty:?}]").to_lowercase(),
        other => unreachable!("{other:?} is not code of the artifact's own"),
    }
}

/// The text of a signature, such as `i32,i64->f32`. It has no spaces, because profilers cut names
/// at spaces. Types that the signature refers to are numbers.
fn text(signature: &Signature) -> String {
    let names = |types: &[precast_artifact::ValType]| {
        types
            .iter()
            .map(|ty| ty.to_string().replace(' ', "_"))
            .collect::<Vec<_>>()
            .join(",")
    };
    format!(
        "{}->{}",
        names(&signature.params),
        names(&signature.results)
    )
}

fn got_record(entry: GotEntry) -> GotRecord {
    let (kind, index) = match entry {
        GotEntry::LibCall(libcall) => (GotKind::LibCall, libcall as u32),
        GotEntry::TypeId(signature) => (GotKind::TypeId, signature.as_u32()),
    };
    GotRecord {
        kind: kind as u32,
        index,
    }
}

fn metadata(source: Source, module: &Module<'_>, target: &Target, settings: &Settings) -> Metadata {
    Metadata {
        producer: identity::PRODUCER.to_owned(),
        target: target.isa.triple().to_string(),
        module_name: module.names.module.map(str::to_owned),
        settings: identity::settings(target, settings),
        producers: producers(module).unwrap_or_default(),
        source_len: source.len,
        source_digest: source.digest,
    }
}

/// The bits of the proposals that the module uses.
fn features(module: &Module<'_>) -> u64 {
    let used = module.features();
    let features = used.iter_names().map(|(name, _)| {
        let name = feature_name(name);
        Feature::from_name(&name).unwrap_or_else(|| panic!("`{name}` has no bit in the header"))
    });
    features.fold(0, |bits, feature| bits | feature.bit())
}

type Producers = Vec<(String, Vec<(String, String)>)>;

/// The producers section. It is only informative, so one that cannot be read is left out.
fn producers(module: &Module<'_>) -> Option<Producers> {
    let (_, bytes) = module
        .custom_sections
        .iter()
        .find(|(name, _)| *name == "producers")?;
    let mut producers = Vec::new();
    for field in ProducersSectionReader::new(BinaryReader::new(bytes, 0)).ok()? {
        let field = field.ok()?;
        let mut values = Vec::new();
        for value in field.values {
            let value = value.ok()?;
            values.push((value.name.to_owned(), value.version.to_owned()));
        }
        producers.push((field.name.to_owned(), values));
    }
    Some(producers)
}

#[cfg(test)]
mod tests {
    use precast_artifact::Artifact;

    use super::*;
    use crate::Compiler;

    /// The header has a bit for each proposal that the compiler accepts.
    #[test]
    fn every_proposal_has_a_bit() {
        for (name, _) in crate::parse::features().iter_names() {
            let name = feature_name(name);
            // Parts of the first version of WebAssembly have no bit.
            let is_old = matches!(&*name, "mutable-global" | "floats" | "gc-types");
            assert!(is_old || Feature::from_name(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_artifact_names_the_proposals_that_its_module_uses() {
        for (wat, expected) in [
            (
                "(module (memory 1) (table 1 funcref) (func (param i32) (result i32) (local.get 0)))",
                "",
            ),
            ("(module (tag))", "exceptions"),
            ("(module (func try catch_all end))", "legacy-exceptions"),
            (
                "(module (func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2))))",
                "multi-value wide-arithmetic",
            ),
            (
                "(module (memory i64 1) (memory 1))",
                "multi-memory memory64",
            ),
            ("(module (func $f (return_call $f)))", "tail-call"),
            (
                "(module (global externref (ref.null extern)))",
                "reference-types",
            ),
            ("(module (func (param v128)))", "simd"),
            (
                "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
                "function-references",
            ),
            ("(module (type (sub (func))))", "function-references"),
            (
                "(module (type $t (func)) (global (ref null $t) (ref.null $t)))",
                "function-references reference-types",
            ),
            (
                "(module (func $f) (table 1 (ref func) (ref.func $f)))",
                "function-references reference-types",
            ),
        ] {
            let wasm = wat::parse_str(wat).expect("valid text");
            let compiler = Compiler::new(Settings::default()).expect("the default");
            let compiled = compiler.compile(&wasm).expect("a valid module");
            let artifact = Artifact::parse(&compiled.artifact, None).expect("an artifact");
            let found = Feature::of_bits(artifact.header().features);
            let mut found: Vec<_> = found.map(Feature::text).collect();
            found.sort_unstable();
            let mut expected: Vec<_> = expected.split_whitespace().collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{wat}");
        }
    }
}
