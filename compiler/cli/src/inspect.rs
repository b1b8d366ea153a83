//! `precast inspect`: prints what an artifact is for and what is in it, as text or JSON.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use precast_artifact::header::{HOT, SECTIONS};
use precast_artifact::metadata::Metadata;
use precast_artifact::reader::{feature_names, hex};
use precast_artifact::records::{ExternKind, FROZEN};
use precast_artifact::target::{Arch, Os};
use precast_artifact::{Artifact, Feature, custom_sections, shown};
use serde_json::{Map, Value, json};

use crate::artifact::{Bytes, defined, function_type, item_type};
use crate::{Failure, files, join};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact, or a WebAssembly module, which is compiled first; `-` for standard input
    file: PathBuf,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Print only the bytes of the module's custom sections with this name, as far as they are kept
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    custom_section: Option<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let bytes = Bytes::read(&args.file)?;
    if let Some(text) = join::inspect(&bytes, &args.file, args.json)? {
        files::print(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let artifact = bytes.parse(&args.file)?;
    if let Some(name) = &args.custom_section {
        print_custom_section(&artifact, name)
            .with_context(|| format!("cannot print from `{}`", args.file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let function_imports = artifact.scattered_function_imports();
    let artifact = artifact.with_function_imports(&function_imports);
    let report = Report::new(&artifact, bytes.all().len())?;
    let text = if args.json {
        crate::json::text(&report.json())
    } else {
        report.text(&args.file.display().to_string())
    };
    files::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the bytes of the custom sections with this name.
fn print_custom_section(artifact: &Artifact<'_>, name: &str) -> Result<()> {
    let table = artifact.section(artifact.header().custom_sections);
    let mut found = custom_sections::entries(table)
        .filter(|(other, _)| *other == name)
        .peekable();
    if found.peek().is_none() {
        bail!(
            "the artifact keeps no custom section `{}`: compile the module, if it has one, with \
             --keep-custom-sections",
            shown(name)
        );
    }
    for (_, bytes) in found {
        files::print(bytes)?;
    }
    Ok(())
}

/// The type of an item.
struct Type {
    kind: &'static str,
    /// The type in the notation of the text format.
    text: String,
    /// Parameters and results of a function.
    function: Option<[Vec<String>; 2]>,
}

impl Type {
    fn new(artifact: &Artifact<'_>, kind: u32, index: u32) -> Self {
        let kind = ExternKind::from_number(kind).unwrap_or(ExternKind::Func);
        Self {
            kind: kind.name(),
            text: item_type(artifact, kind, index),
            function: match kind {
                ExternKind::Func => function_type(artifact, index),
                ExternKind::Table | ExternKind::Memory | ExternKind::Global | ExternKind::Tag => {
                    None
                }
            },
        }
    }

    fn json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("kind".to_owned(), json!(self.kind));
        object.insert("type".to_owned(), json!(self.text));
        if let Some([params, results]) = &self.function {
            object.insert("params".to_owned(), json!(params));
            object.insert("results".to_owned(), json!(results));
        }
        object
    }
}

/// What the command prints.
struct Report<'a> {
    artifact: &'a Artifact<'a>,
    /// Size of the file in bytes, with its signatures.
    file_size: usize,
    metadata: Metadata,
    target: String,
    cpu_features: String,
    /// Module name, item name and type of each import.
    imports: Vec<(&'a str, &'a str, Type)>,
    /// Name and type of each export, in the module's order.
    exports: Vec<(&'a str, Type)>,
    /// The name of each kind of item, and how many the artifact has.
    counts: Vec<(&'static str, usize)>,
    /// Name and size in bytes of each custom section of the module that is kept.
    custom_sections: Vec<(&'a str, usize)>,
    /// Name and size in bytes of each section, in the order of the file.
    sections: Vec<(&'static str, u64)>,
    /// Whether the digest matches the file.
    intact: bool,
    /// Ids of the keys that the file's signatures name. Nothing is checked.
    signatures: Vec<String>,
}

impl<'a> Report<'a> {
    /// The names of the proposals that the module uses.
    fn proposals(&self) -> Vec<&'static str> {
        let used = Feature::of_bits(self.artifact.header().features);
        used.map(Feature::text).collect()
    }

    fn new(artifact: &'a Artifact<'a>, file_size: usize) -> Result<Self> {
        let h = artifact.header();
        let arch = Arch::from_number(h.arch);
        let os = Os::from_number(h.os).map_or("unknown", Os::name);
        let name = |slice| artifact.str(slice).unwrap_or("?");
        let mut exports: Vec<_> = artifact.exports().iter().collect();
        exports.sort_by_key(|e| e.ordinal);
        let tables = artifact.tables();
        Ok(Self {
            artifact,
            file_size,
            metadata: Metadata::decode(artifact.section(h.metadata))?,
            target: format!("{}-{os}", arch.map_or("unknown", Arch::name)),
            cpu_features: match arch {
                Some(arch) if h.cpu_features != 0 => feature_names(arch, h.cpu_features),
                _ => "baseline".to_owned(),
            },
            imports: artifact
                .imports()
                .iter()
                .map(|i| {
                    let ty = Type::new(artifact, i.kind, i.index);
                    (name(i.module), name(i.name), ty)
                })
                .collect(),
            exports: exports
                .iter()
                .map(|e| (name(e.name), Type::new(artifact, e.kind, e.index)))
                .collect(),
            counts: vec![
                ("functions", artifact.functions().len()),
                ("signatures", artifact.signatures().len()),
                (
                    "memories",
                    defined(artifact.memories().iter().map(|m| m.flags)),
                ),
                ("tables", defined(tables.iter().map(|t| t.flags))),
                (
                    "frozen tables",
                    tables.iter().filter(|t| t.flags & FROZEN != 0).count(),
                ),
                (
                    "globals",
                    defined(artifact.globals().iter().map(|g| g.flags)),
                ),
                ("run-time data segments", artifact.data().len()),
                ("run-time element segments", artifact.elements().len()),
                ("image runs", artifact.images().len()),
                ("GOT slots", artifact.got_records().len()),
            ],
            custom_sections: custom_sections::entries(artifact.section(h.custom_sections))
                .map(|(name, bytes)| (name, bytes.len()))
                .collect(),
            sections: sections(artifact),
            intact: artifact.verify_digest(None).is_ok(),
            signatures: artifact
                .file_signatures()?
                .iter()
                .map(|signature| hex(&signature.key))
                .collect(),
        })
    }

    fn text(&self, file: &str) -> String {
        let (h, m) = (self.artifact.header(), &self.metadata);
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            writeln!(out, "{:<13}{}", shown(name).to_string(), shown(&value)).ok();
        };
        line("file", format!("{file}, {} bytes", self.file_size));
        line("format", format!("{}, ABI {}", h.format, h.abi));
        line("producer", m.producer.clone());
        line(
            "target",
            format!("{}, pages of {} bytes", m.target, h.page_size),
        );
        line("cpu", self.cpu_features.clone());
        line("strategy", self.artifact.strategy().to_string());
        line("interruption", self.artifact.interruption().to_string());
        let settings: Vec<String> = m.settings.iter().map(|(n, v)| format!("{n}={v}")).collect();
        line("settings", settings.join(" "));
        line("proposals", self.proposals().join(" "));
        line(
            "module",
            m.module_name
                .clone()
                .unwrap_or_else(|| "(without a name)".to_owned()),
        );
        line(
            "source",
            format!("{} bytes, BLAKE3 {}", m.source_len, hex(&m.source_digest)),
        );
        let state = if self.intact {
            "matches"
        } else {
            "DOES NOT MATCH THE FILE"
        };
        line("digest", format!("{} ({state})", hex(&h.digest)));
        let debug = if self.artifact.is_stripped() {
            " (without names and addresses: stripped)"
        } else {
            ""
        };
        line(
            "build id",
            format!("{}{debug}", hex(&self.artifact.build_id())),
        );
        for id in &self.signatures {
            line("signature", format!("key {id}, not checked"));
        }
        line("context", format!("{} bytes for each instance", h.vm.size));
        for (field, values) in &m.producers {
            let values: Vec<String> = values
                .iter()
                .map(|(n, v)| format!("{n} {v}").trim_end().to_owned())
                .collect();
            line(field, values.join(", "));
        }

        writeln!(out, "\nimports ({})", self.imports.len()).ok();
        for (module, name, Type { kind, text, .. }) in &self.imports {
            writeln!(out, "  {kind:<7}{}.{} {text}", shown(module), shown(name)).ok();
        }
        writeln!(out, "\nexports ({})", self.exports.len()).ok();
        for (name, Type { kind, text, .. }) in &self.exports {
            writeln!(out, "  {kind:<7}{} {text}", shown(name)).ok();
        }
        writeln!(out, "\nnumbers").ok();
        for (what, count) in self.counts.iter().filter(|(_, count)| *count != 0) {
            writeln!(out, "  {what:<26}{count:>10}").ok();
        }
        if !self.custom_sections.is_empty() {
            writeln!(out, "\ncustom sections (bytes)").ok();
        }
        for (name, size) in &self.custom_sections {
            writeln!(out, "  {:<26}{size:>10}", shown(name).to_string()).ok();
        }
        writeln!(out, "\nsections (bytes)").ok();
        for (name, size) in &self.sections {
            writeln!(out, "  {name:<26}{size:>10}").ok();
        }
        out
    }

    fn json(&self) -> Value {
        let (h, m) = (self.artifact.header(), &self.metadata);
        let object =
            |pairs: &mut dyn Iterator<Item = (String, Value)>| Value::Object(pairs.collect());
        let key = |name: &str| name.replace([' ', '-'], "_");
        json!({
            "file_size": self.file_size,
            "format": h.format,
            "abi": h.abi,
            "producer": m.producer,
            "target": m.target,
            "architecture": self.target,
            "page_size": h.page_size,
            "cpu_features": self.cpu_features,
            "strategy": self.artifact.strategy().text(),
            "interruption": self.artifact.interruption().text(),
            "settings": object(&mut m.settings.iter().map(|(n, v)| (n.clone(), json!(v)))),
            "wasm_features": self.proposals(),
            "module_name": m.module_name,
            "source": { "size": m.source_len, "blake3": hex(&m.source_digest) },
            "digest": { "blake3": hex(&h.digest), "matches": self.intact },
            "build_id": hex(&self.artifact.build_id()),
            "stripped": self.artifact.is_stripped(),
            "signatures": self.signatures.iter().map(|id| json!({ "key": id })).collect::<Value>(),
            "context_size": h.vm.size,
            "producers": object(&mut m.producers.iter().map(|(field, values)| {
                let values = values.iter().map(|(n, v)| json!({ "name": n, "version": v }));
                (field.clone(), values.collect())
            })),
            "imports": self.imports.iter().map(|(module, name, ty)| {
                let mut import = ty.json();
                import.insert("module".to_owned(), json!(module));
                import.insert("name".to_owned(), json!(name));
                Value::Object(import)
            }).collect::<Value>(),
            "exports": self.exports.iter().map(|(name, ty)| {
                let mut export = ty.json();
                export.insert("name".to_owned(), json!(name));
                Value::Object(export)
            }).collect::<Value>(),
            "custom_sections": self.custom_sections.iter().map(|(name, size)| {
                json!({ "name": name, "size": size })
            }).collect::<Value>(),
            "counts": object(&mut self.counts.iter().map(|(n, c)| (key(n), json!(c)))),
            "sections": object(&mut self.sections.iter().map(|(n, s)| (key(n), json!(s)))),
        })
    }
}

/// Sections with content, in the order of the file.
fn sections(artifact: &Artifact<'_>) -> Vec<(&'static str, u64)> {
    let header = artifact.header();
    let mut sections: Vec<_> = SECTIONS[HOT..]
        .iter()
        .map(|info| (info.title, info.of(header)))
        .filter(|(_, section)| section.len != 0)
        .collect();
    sections.sort_by_key(|(_, section)| section.start);
    let hot = [("header and hot tables", u64::from(header.hot_len))];
    let others = sections
        .into_iter()
        .map(|(title, section)| (title, section.len));
    hot.into_iter().chain(others).collect()
}
