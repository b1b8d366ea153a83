//! Rust types for the imports and exports of a module, as text of Rust.
//!
//! The exports of a module become methods of `Exports`, and its imported functions become functions
//! of the trait `Imports`, except for those of WASI, which `precast_wasi` defines. The host defines
//! imported memories, tables, globals and tags in the linker.
//!
//! A function with more than [`MAX_VALUES`] parameters or results is called with slices of values.
//! So is an exported function with a parameter for which Rust has no type: a reference to functions
//! of one type only, for instance. An imported function with such a parameter or result is not in
//! the trait: the host defines it in the linker with the type that the module's import has.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use precast_artifact::records::{ExternKind, ImportRecord, SHARED};
use precast_artifact::{Artifact, HeapType, RefType, ValType, shown};

use crate::identifier::Identifiers;

/// Maximum number of parameters or results for which the loader has Rust types.
const MAX_VALUES: usize = 16;

/// The modules whose functions belong to WASI.
const WASI: [&str; 3] = ["wasi_snapshot_preview1", "wasi_unstable", "wasi"];

/// The text that `include_bindings!` includes.
pub(crate) fn write(artifact: &Artifact<'_>, name: &str) -> String {
    let mut text = format!(
        "/// The module that the build script compiled.\n\
         ///\n\
         /// # Errors\n\
         /// As for [`Module::embedded`](::precast_loader::Module::embedded).\n\
         #[allow(dead_code, unreachable_pub)]\n\
         pub fn module(\n    \
             engine: &::precast_loader::Engine,\n\
         ) -> ::core::result::Result<::precast_loader::Module, ::precast_loader::Error> {{\n    \
             ::precast_loader::Module::embedded(engine, include!({:?}))\n\
         }}\n\n",
        format!("{name}.embedded.rs")
    );
    write_imports(&mut text, artifact);
    write_exports(&mut text, artifact);
    text
}

/// Names that methods for exports cannot have. The first three are those of the other methods. The
/// last two would be called in place of a method of that name, because they take `self` by value.
const RESERVED: [&str; 5] = ["new", "instance", "instantiate", "into", "try_into"];

/// What the text allows lints for: the module chooses the names and the types.
const ALLOW: &str = "#[allow(dead_code, non_snake_case, unreachable_pub, unused_variables, \
                     unused_results, clippy::all)]";

/// A function type, and its forms in Rust.
struct Signature {
    params: Vec<ValType>,
    results: Vec<ValType>,
}

impl Signature {
    fn of(artifact: &Artifact<'_>, index: u32) -> Option<Self> {
        let signature = artifact.signature(index)?;
        Some(Self {
            params: signature.params().collect(),
            results: signature.results().collect(),
        })
    }

    /// Whether a call has Rust types. The loader accepts a more general type for a result.
    fn is_typed(&self) -> bool {
        self.params.len() <= MAX_VALUES
            && self.results.len() <= MAX_VALUES
            && self.params.iter().all(|ty| is_exact(*ty))
    }

    /// Whether the host can define such a function from Rust types, or from value types without
    /// the module's function types.
    fn can_be_defined(&self) -> bool {
        self.params
            .iter()
            .chain(&self.results)
            .all(|ty| is_exact(*ty))
    }

    /// Parameters with their types, each with a comma in front.
    fn declared(&self) -> String {
        if !self.is_typed() {
            return ", params: &[::precast_loader::Val], results: &mut [::precast_loader::Val]"
                .to_owned();
        }
        let params = (0..).zip(&self.params);
        params
            .map(|(i, ty)| format!(", p{i}: {}", rust_type(*ty)))
            .collect()
    }

    /// Names of the parameters, with commas between them.
    fn passed(&self) -> String {
        let names: Vec<String> = (0..self.params.len()).map(|i| format!("p{i}")).collect();
        names.join(", ")
    }

    /// What a call returns.
    fn returned(&self) -> String {
        if !self.is_typed() {
            return "()".to_owned();
        }
        tuple(&self.results, false)
    }

    /// The type of the function that the loader has.
    fn func(&self) -> String {
        if !self.is_typed() {
            return "::precast_loader::Func".to_owned();
        }
        let (params, results) = (tuple(&self.params, true), tuple(&self.results, false));
        format!("::precast_loader::TypedFunc<{params}, {results}>")
    }

    /// The type in the notation of the text format.
    fn shown(&self) -> String {
        let names = |types: &[ValType]| {
            types
                .iter()
                .map(|ty| ty.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        format!("({}) -> ({})", names(&self.params), names(&self.results))
    }
}

/// Types as a tuple. A single type is a tuple only with `always`.
fn tuple(types: &[ValType], always: bool) -> String {
    let names: Vec<&str> = types.iter().map(|ty| rust_type(*ty)).collect();
    match &names[..] {
        [one] if always => format!("({one},)"),
        [one] => (*one).to_owned(),
        names => format!("({})", names.join(", ")),
    }
}

fn rust_type(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        ValType::V128 => "::precast_loader::V128",
        ValType::Ref(RefType { nullable, heap }) => match heap.top() {
            HeapType::Extern => "::core::option::Option<::precast_loader::ExternRef>",
            HeapType::Exn => "::core::option::Option<::precast_loader::ExnRef>",
            _ if nullable => "::core::option::Option<::precast_loader::Func>",
            _ => "::precast_loader::Func",
        },
    }
}

/// Whether [`rust_type`] is this type, and not a more general one.
fn is_exact(ty: ValType) -> bool {
    match ty {
        ValType::Ref(RefType { nullable, heap }) => match heap {
            HeapType::Func => true,
            HeapType::Extern | HeapType::Exn => nullable,
            _ => false,
        },
        _ => true,
    }
}

/// The type as a `ValType` of the loader. A heap type becomes the top of its hierarchy.
fn value_type(ty: ValType) -> String {
    match ty {
        ValType::Ref(RefType { nullable, heap }) => {
            let top = heap.top();
            format!(
                "::precast_loader::ValType::Ref(::precast_loader::RefType::new({nullable}, \
                 ::precast_loader::HeapType::{top:?}))"
            )
        }
        plain => format!("::precast_loader::ValType::{plain:?}"),
    }
}

/// The result type of a call.
fn result(of: &str) -> String {
    format!("::core::result::Result<{of}, ::precast_loader::Error>")
}

/// A name of the module as code in documentation. The name must not end that code or its line: the
/// rest of the name would be markup, and a block of code in it would be a test, which `cargo test`
/// of the host runs.
fn documented(name: &str) -> String {
    let name = shown(name).to_string();
    format!("`{}`", name.replace('`', "\\u{60}"))
}

/// Appends a line. Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($arguments:tt)*) => { writeln!($text, $($arguments)*).unwrap_or(()) };
}

/// A function that the host implements.
struct Import<'a> {
    module: &'a str,
    name: &'a str,
    identifier: String,
    signature: Signature,
}

/// The functions of the trait, and the names of those that the host defines by itself.
fn imports<'a>(artifact: &Artifact<'a>) -> (Vec<Import<'a>>, Vec<String>) {
    let functions = || {
        let records = artifact.imports().iter();
        let functions = records.filter(|record| record.kind == ExternKind::Func as u32);
        let names = |record: &'a ImportRecord| {
            let module = artifact.str(record.module).unwrap_or_default();
            (
                module,
                artifact.str(record.name).unwrap_or_default(),
                record.signature,
            )
        };
        let named = functions.map(names);
        named.filter(|(module, ..)| !WASI.contains(module))
    };
    // A name that several modules have gets the module's name in front.
    let (mut seen, mut ambiguous) = (HashSet::new(), HashSet::new());
    let mut first = HashMap::new();
    for (module, name, _) in functions() {
        if *first.entry(name).or_insert(module) != module {
            ambiguous.insert(name);
        }
        seen.insert((module, name));
    }
    let mut identifiers = Identifiers::new(&[]);
    let (mut listed, mut left) = (Vec::new(), Vec::new());
    for (module, name, signature) in functions() {
        // A function that is imported twice has one definition.
        let Some(signature) = seen
            .take(&(module, name))
            .and_then(|_| Signature::of(artifact, signature))
        else {
            continue;
        };
        if !signature.can_be_defined() {
            let item = format!("{module}.{name}");
            left.push(format!("{}: {}", documented(&item), signature.shown()));
            continue;
        }
        let identifier = match ambiguous.contains(name) {
            true => identifiers.give(&format!("{module}_{name}")),
            false => identifiers.give(name),
        };
        listed.push(Import {
            module,
            name,
            identifier,
            signature,
        });
    }
    (listed, left)
}

fn write_imports(text: &mut String, artifact: &Artifact<'_>) {
    let (imports, left) = imports(artifact);
    line!(
        text,
        "/// What the module imports: functions of the host, whose store's data implement this."
    );
    if !left.is_empty() {
        line!(
            text,
            "///\n/// Rust has no types for these, which the host defines with \
             [`Linker::func_new`](::precast_loader::Linker::func_new) and the types of the \
             module's imports:\n///"
        );
    }
    for item in left {
        line!(text, "#[doc = {:?}]", format!("- {item}"));
    }
    line!(text, "{ALLOW}");
    line!(text, "pub trait Imports: Sized + 'static {{");
    for Import {
        module,
        name,
        identifier,
        signature,
    } in &imports
    {
        let item = format!("{module}.{name}");
        let docs = format!("{}: {}", documented(&item), signature.shown());
        line!(text, "    #[doc = {docs:?}]");
        line!(
            text,
            "    ///\n    /// # Errors\n    /// An error ends the guest's call."
        );
        let (declared, returned) = (signature.declared(), result(&signature.returned()));
        line!(
            text,
            "    fn {identifier}(caller: ::precast_loader::Caller<'_, Self>{declared})"
        );
        line!(text, "    -> {returned};");
    }
    line!(text, "}}\n");
    line!(
        text,
        "/// Defines the functions of [`Imports`] in a linker."
    );
    line!(
        text,
        "///\n/// # Errors\n/// [`Error::Duplicate`](::precast_loader::Error::Duplicate)."
    );
    line!(text, "{ALLOW}");
    line!(text, "pub fn add_to_linker<T: Imports>(");
    line!(text, "    linker: &mut ::precast_loader::Linker<T>,");
    line!(text, ") -> {} {{", result("()"));
    for Import {
        module,
        name,
        identifier,
        signature,
    } in &imports
    {
        if signature.is_typed() {
            let (declared, passed) = (signature.declared(), signature.passed());
            let comma = if passed.is_empty() { "" } else { ", " };
            line!(text, "    linker.func_wrap({module:?}, {name:?},");
            line!(
                text,
                "        |caller: ::precast_loader::Caller<'_, T>{declared}|"
            );
            line!(
                text,
                "            T::{identifier}(caller{comma}{passed}))?;"
            );
        } else {
            let types = |types: &[ValType]| {
                let types = types.iter().map(|ty| value_type(*ty));
                types.collect::<Vec<_>>().join(", ")
            };
            let (params, results) = (types(&signature.params), types(&signature.results));
            line!(text, "    linker.func_new({module:?}, {name:?},");
            line!(
                text,
                "        ::precast_loader::FuncType::new(linker.engine(), [{params}], [{results}]),"
            );
            line!(text, "        T::{identifier})?;");
        }
    }
    line!(text, "    ::core::result::Result::Ok(())\n}}\n");
}

/// An item that the module exports.
struct Export<'a> {
    name: &'a str,
    identifier: String,
    item: ExportedItem,
}

enum ExportedItem {
    Func(Signature),
    Other(Other),
}

/// An item that is no function.
#[derive(Clone, Copy)]
struct Other {
    /// The type of the loader.
    ty: &'static str,
    /// The method of the loader's `Instance` that finds the item.
    method: &'static str,
    kind: &'static str,
}

impl Other {
    const fn new(ty: &'static str, method: &'static str, kind: &'static str) -> Self {
        Self { ty, method, kind }
    }

    const MEMORY: Self = Self::new("Memory", "get_memory", "memory");
    const SHARED_MEMORY: Self = Self::new("SharedMemory", "get_shared_memory", "shared memory");
    const TABLE: Self = Self::new("Table", "get_table", "table");
    const GLOBAL: Self = Self::new("Global", "get_global", "global");
    const TAG: Self = Self::new("Tag", "get_tag", "tag");
}

fn exports<'a>(artifact: &Artifact<'a>) -> Vec<Export<'a>> {
    let mut records: Vec<_> = artifact.exports().iter().collect();
    records.sort_by_key(|record| record.ordinal);
    let mut identifiers = Identifiers::new(&RESERVED);
    let mut listed = Vec::new();
    for record in records {
        let Some(name) = artifact.str(record.name) else {
            continue;
        };
        let item = match ExternKind::from_number(record.kind) {
            Some(ExternKind::Func) => match signature_of(artifact, record.index) {
                Some(signature) => ExportedItem::Func(signature),
                None => continue,
            },
            Some(ExternKind::Memory) => {
                let memory = artifact.memories().get(record.index as usize);
                ExportedItem::Other(match memory {
                    Some(memory) if memory.flags & SHARED != 0 => Other::SHARED_MEMORY,
                    _ => Other::MEMORY,
                })
            }
            Some(ExternKind::Table) => ExportedItem::Other(Other::TABLE),
            Some(ExternKind::Global) => ExportedItem::Other(Other::GLOBAL),
            Some(ExternKind::Tag) => ExportedItem::Other(Other::TAG),
            None => continue,
        };
        listed.push(Export {
            name,
            identifier: identifiers.give(name),
            item,
        });
    }
    listed
}

/// The type of the function with this index, imported or defined.
fn signature_of(artifact: &Artifact<'_>, index: u32) -> Option<Signature> {
    Signature::of(artifact, artifact.function_signature(index).ok()?)
}

fn write_exports(text: &mut String, artifact: &Artifact<'_>) {
    let exports = exports(artifact);
    let ty = |item: &ExportedItem| match item {
        ExportedItem::Func(signature) => signature.func(),
        ExportedItem::Other(Other { ty, .. }) => format!("::precast_loader::{ty}"),
    };
    line!(text, "/// What an instance of the module exports.");
    line!(text, "{ALLOW}");
    line!(text, "#[derive(Clone)]");
    line!(
        text,
        "pub struct Exports {{\n    instance: ::precast_loader::Instance,"
    );
    // Fields have numbers, so that they differ from the names of exports.
    for (i, export) in exports.iter().enumerate() {
        line!(text, "    f{i}: {},", ty(&export.item));
    }
    line!(text, "}}\n");
    // `Debug` is not derived, because long tuples do not implement it.
    text.push_str(
        "impl ::core::fmt::Debug for Exports {\n    \
         fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {\n        \
         f.debug_struct(\"Exports\").finish_non_exhaustive()\n    }\n}\n\n",
    );
    line!(text, "{ALLOW}");
    line!(text, "impl Exports {{");
    line!(
        text,
        "    /// Finds the exports of an instance.\n    ///\n    /// # Errors"
    );
    line!(
        text,
        "    /// [`Error::NoExport`](::precast_loader::Error::NoExport) or"
    );
    line!(
        text,
        "    /// [`Error::Type`](::precast_loader::Error::Type) for an instance of another module."
    );
    line!(text, "    #[allow(unused_mut, unused_variables)]");
    line!(text, "    pub fn new(");
    line!(
        text,
        "        mut store: impl ::precast_loader::AsContextMut,"
    );
    line!(text, "        instance: ::precast_loader::Instance,");
    line!(text, "    ) -> {} {{", result("Self"));
    for (i, Export { name, item, .. }) in exports.iter().enumerate() {
        match item {
            ExportedItem::Func(signature) if signature.is_typed() => {
                line!(
                    text,
                    "        let f{i} = instance.get_typed_func(&mut store, {name:?})?;"
                );
            }
            ExportedItem::Func(_) => write_search(text, i, name, "get_func", "func"),
            ExportedItem::Other(Other { method, kind, .. }) => {
                write_search(text, i, name, method, kind);
            }
        }
    }
    let fields: String = (0..exports.len()).map(|i| format!(", f{i}")).collect();
    line!(
        text,
        "        ::core::result::Result::Ok(Self {{ instance{fields} }})\n    }}\n"
    );
    line!(
        text,
        "    /// Makes an instance of the module.\n    ///\n    /// # Errors"
    );
    line!(
        text,
        "    /// As for [`Linker::instantiate`](::precast_loader::Linker::instantiate)."
    );
    line!(text, "    pub fn instantiate<T: 'static>(");
    line!(
        text,
        "        mut store: impl ::precast_loader::AsContextMut<Data = T>,"
    );
    line!(text, "        linker: &::precast_loader::Linker<T>,");
    line!(text, "        module: &::precast_loader::Module,");
    line!(text, "    ) -> {} {{", result("Self"));
    line!(
        text,
        "        let instance = linker.instantiate(&mut store, module)?;"
    );
    line!(text, "        Self::new(store, instance)\n    }}\n");
    line!(text, "    /// The instance.");
    line!(
        text,
        "    pub fn instance(&self) -> &::precast_loader::Instance {{\n        &self.instance\n    }}"
    );
    for (
        i,
        Export {
            name,
            identifier,
            item,
        },
    ) in exports.iter().enumerate()
    {
        match item {
            ExportedItem::Func(signature) => {
                let name = documented(name);
                let docs = format!("The function {name}: {}", signature.shown());
                line!(text, "\n    #[doc = {docs:?}]\n    ///\n    /// # Errors");
                line!(
                    text,
                    "    /// Those of [`Func::call`](::precast_loader::Func::call)."
                );
                let (declared, returned) = (signature.declared(), result(&signature.returned()));
                line!(
                    text,
                    "    pub fn {identifier}(&self, store: impl ::precast_loader::AsContextMut{declared})"
                );
                line!(text, "    -> {returned} {{");
                let passed = match (signature.is_typed(), signature.params.len()) {
                    (false, _) => "params, results".to_owned(),
                    (true, 1) => "(p0,)".to_owned(),
                    (true, _) => format!("({})", signature.passed()),
                };
                line!(text, "        self.f{i}.call(store, {passed})\n    }}");
            }
            ExportedItem::Other(Other { ty, kind, .. }) => {
                let docs = format!("The {kind} {}.", documented(name));
                line!(text, "\n    #[doc = {docs:?}]");
                line!(
                    text,
                    "    pub fn {identifier}(&self) -> &::precast_loader::{ty} {{"
                );
                line!(text, "        &self.f{i}\n    }}");
            }
        }
    }
    line!(text, "}}");
}

/// Writes code that finds an export without checking its type.
fn write_search(text: &mut String, number: usize, name: &str, method: &str, kind: &str) {
    line!(
        text,
        "        let ::core::option::Option::Some(f{number}) ="
    );
    line!(text, "            instance.{method}(&mut store, {name:?})");
    line!(text, "        else {{");
    line!(
        text,
        "            return ::core::result::Result::Err(::precast_loader::Error::NoExport {{"
    );
    line!(text, "                kind: {kind:?},");
    line!(
        text,
        "                name: ::std::string::String::from({name:?}),"
    );
    line!(text, "            }});");
    line!(text, "        }};");
}
