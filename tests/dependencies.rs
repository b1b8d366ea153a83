//! The loader is part of every program that runs artifacts, so it must stay small. It must not
//! depend on the compiler, or on crates for command lines and configuration files.
//!
//! Every public type and function of it has an example, also those that other packages define and
//! it gives out. Every package that is published contains its licence.
//! What its files import from each other is checked by `tests/import-graph.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The loader depends on no package whose name starts with one of these.
const FORBIDDEN: [&str; 8] = [
    "cranelift",
    "regalloc2",
    "wasmparser",
    "clap",
    "serde",
    "rayon",
    "indicatif",
    "precast-compiler",
];

/// The names of `package` and of all packages that it depends on.
fn dependencies(package: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal"])
        .args(["--target", "all", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn forbidden(package: &str) -> Vec<String> {
    let names = dependencies(package, &["--all-features"]);
    assert!(names.iter().any(|name| name == package), "{names:?}");
    names
        .into_iter()
        .filter(|name| FORBIDDEN.iter().any(|f| name.starts_with(f)))
        .collect()
}

#[test]
fn the_loader_has_no_compiler() {
    assert_eq!(forbidden("precast-loader"), [""; 0]);
}

/// With the default features, these are all packages that a program gets by embedding the loader.
/// Backtraces with names of functions need no other features.
#[test]
fn the_tree_of_the_loader_is_short_and_known() {
    let mut names = dependencies("precast-loader", &["--edges", "no-proc-macro"]);
    names.sort();
    names.dedup();
    let known = [
        "arrayvec",
        "blake3",
        "bytemuck",
        "cfg-if",
        "constant_time_eq",
        "cpufeatures",
        "crc32fast",
        "libc",
        "memmap2",
        "precast-artifact",
        "precast-loader",
        "smallvec",
        "thiserror",
    ];
    assert_eq!(names, known);
}

/// The feature `signatures` adds one library of cryptography, and what that library needs. A
/// host that only checks signatures has no code for secret keys.
#[test]
fn what_signatures_add_is_known() {
    let features = |list| ["--edges", "no-proc-macro", "--features", list];
    let mut names = dependencies("precast-loader", &features("signatures"));
    let without = dependencies("precast-loader", &["--edges", "no-proc-macro"]);
    names.retain(|name| !without.contains(name));
    names.sort();
    names.dedup();
    let known = [
        "block-buffer",
        "crypto-common",
        "curve25519-dalek",
        "digest",
        "ed25519",
        "ed25519-dalek",
        "fiat-crypto",
        "hybrid-array",
        "precast-signature",
        "sha2",
        "signature",
        "subtle",
        "typenum",
    ];
    assert_eq!(names, known);
}

#[test]
fn the_compiler_would_be_noticed() {
    let found = forbidden("precast-compiler");
    assert!(
        found.iter().any(|name| name.starts_with("cranelift")),
        "{found:?}"
    );
    assert!(found.iter().any(|name| name == "wasmparser"), "{found:?}");
}

/// The Rust files in a folder and in all folders below it.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the loader's source is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file, and its text.
type Page = (PathBuf, String);

fn pages(folder: &Path) -> Vec<Page> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a file of the folder");
        (path, text)
    };
    rust_files(folder).into_iter().map(read).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What a page gives out by `pub use`, unless it is hidden: the path of a module, and the name that
/// an item has there.
fn given_out(page: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let is_use = |line: &&str| line.trim_start().starts_with("pub use ");
    let mut of_blocks = page.lines().filter(is_use);
    assert_eq!(of_blocks.find(|line| line.starts_with(' ')), None);
    for (at, start) in page.match_indices("\npub use ") {
        if page[..at].ends_with("#[doc(hidden)]") {
            continue;
        }
        let statement = page[at + start.len()..].split(';').next().expect("a part");
        let check = |is_known: bool| assert!(is_known, "`pub use {statement};` is not understood");
        check(statement.contains("::"));
        let (module, names) = statement.rsplit_once("::").expect("checked");
        let in_braces = names.strip_prefix('{').and_then(|n| n.strip_suffix('}'));
        let names = in_braces
            .unwrap_or(names)
            .trim_end_matches([',', ' ', '\n']);
        for name in names.split(',') {
            let name = name.trim();
            let name = name.split_once(" as ").map_or(name, |(name, _)| name);
            check(is_word(name) && module.split("::").all(is_word));
            all.push((module.to_owned(), name.to_owned()));
        }
    }
    all
}

/// Kind and name of the public item that is defined on this line of a file. Items of a macro are
/// indented; methods and constants of types are no items.
fn item(line: &str) -> Option<(&str, &str)> {
    let is_indented = line.starts_with("    pub ");
    let rest = line.trim_start_matches("    ").strip_prefix("pub ")?;
    let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let rest = match rest.strip_prefix("const ") {
        Some(function) if function.starts_with("fn ") => function,
        _ => rest,
    };
    let (kind, rest) = rest.split_once(' ')?;
    let kinds: &[_] = match is_indented {
        true => &["struct", "enum", "union", "trait"],
        false => &["struct", "enum", "union", "trait", "type", "fn", "const"],
    };
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &rest[..end.unwrap_or(rest.len())];
    kinds.contains(&kind).then_some((kind, name))
}

/// Whether the lines of a file in front of an item have an example of it, which is compiled.
fn has_example(before: &[&str]) -> bool {
    let lines = before.iter().rev().map(|line| line.trim_start());
    // Only documentation and attributes, some of which take several lines, belong to the item.
    let mut is_inside = false;
    let own = lines.take_while(|line| {
        is_inside = match is_inside {
            true => !line.starts_with("#["),
            false => line.starts_with(")]"),
        };
        is_inside || line.starts_with("///") || line.starts_with("#[")
    });
    let own: Vec<_> = own.collect();
    let fences = own.iter().rev().filter_map(|l| l.strip_prefix("/// ```"));
    // The other fences end examples.
    fences.step_by(2).any(|kind| ["", "no_run"].contains(&kind))
}

/// Adds the public items of a page of the loader to `items`, and those of its public modules: where
/// each is defined, and its name.
fn add_public_items(root: &Path, module: &str, items: &mut Vec<(PathBuf, String)>) {
    let folder = root.join("loader/src").join(module);
    let file = folder.with_extension("rs");
    let file = [folder.join("lib.rs"), folder.join("mod.rs"), file];
    let file = file.iter().find(|file| file.is_file()).expect("a module");
    let page = fs::read_to_string(file).expect("a file of the loader");
    for (path, name) in given_out(&page) {
        let (first, rest) = path.split_once("::").unwrap_or((&path, ""));
        let place = match first {
            "precast_artifact" => root.join("artifacts-format/src"),
            "precast_signature" => root.join("loader/signature/src"),
            "crate" => root.join("loader/src").join(rest.replace("::", "/")),
            _ => folder.join(path.replace("::", "/")),
        };
        items.push((place, name));
    }
    let own = page.lines().filter_map(item);
    items.extend(own.map(|(_, name)| (file.clone(), name.to_owned())));
    for line in page.lines() {
        let Some(module) = line.trim_start().strip_prefix("pub mod ") else {
            continue;
        };
        match module.strip_suffix(';') {
            Some(module) => add_public_items(root, module, items),
            // A page of documentation.
            None => assert!(module.ends_with(" {}"), "`{line}` is not understood"),
        }
    }
}

#[test]
fn every_public_type_and_function_of_the_loader_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["loader/src", "loader/signature/src", "artifacts-format/src"] {
        files.extend(pages(&root.join(folder)));
    }
    let mut items = Vec::new();
    add_public_items(&root, "", &mut items);
    let mut without = Vec::new();
    for (place, name) in &items {
        let file = place.with_extension("rs");
        let files = files
            .iter()
            .filter(|(path, _)| *path == file || path.starts_with(place));
        let mut definitions = Vec::new();
        for (_, code) in files {
            let lines: Vec<_> = code.lines().collect();
            for (i, line) in lines.iter().enumerate() {
                if let Some((kind, _)) = item(line).filter(|(_, found)| found == name) {
                    definitions.push(kind == "const" || has_example(&lines[..i]));
                }
            }
        }
        match definitions[..] {
            [true] => {}
            [false] => without.push(name),
            _ => panic!("{} definitions of `{name}` in {place:?}", definitions.len()),
        }
    }
    assert!(items.len() > 80, "{} items", items.len());
    assert_eq!(without, [""; 0]);
}

/// The check above sees what it should see.
#[test]
fn items_without_examples_would_be_noticed() {
    let page = "\npub use a::{\n    B,\n    C as D,\n};\npub use e::f::G;\n";
    let found = given_out(page);
    let found: Vec<_> = found.iter().map(|(m, n)| format!("{m}::{n}")).collect();
    assert_eq!(found, ["a::B", "a::C", "e::f::G"]);
    for unknown in ["a::*", "a::{b::C, D}", "{a::B, c::D}", "a"] {
        let page = format!("\npub use {unknown};\n");
        assert!(std::panic::catch_unwind(|| given_out(&page)).is_err());
    }
    let example = [
        "/// One.",
        "/// ```",
        "/// a();",
        "/// ```",
        "#[derive(Debug)]",
    ];
    assert!(has_example(&example));
    let other = [&example[..], &["pub struct One;", "/// Two."]].concat();
    assert!(!has_example(&other));
    assert!(!has_example(&["/// ```text", "/// 1", "/// ```"]));
}

/// What `loader/WASMTIME.md` calls present is there, and no page links to what is not.
#[test]
fn the_list_of_items_of_wasmtime_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader");
    let code = pages(&root.join("src"));
    let blocks: Vec<_> = code.iter().flat_map(|(_, code)| blocks(code)).collect();
    let list = fs::read_to_string(root.join("WASMTIME.md")).expect("a page of the loader");
    let (mut missing, mut count, mut of) = (Vec::new(), 0, "");
    for line in list.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            of = heading.trim_matches('`');
        }
        let Some(names) = line.strip_prefix("Present: ") else {
            continue;
        };
        let is_of = |head: &str| head.split(|c: char| !c.is_alphanumeric()).any(|w| w == of);
        let own: Vec<_> = blocks.iter().filter(|block| is_of(block.0)).collect();
        for name in names.trim_end_matches('.').split(", ") {
            let name = name.trim_matches('`');
            count += 1;
            let is_in = |body: &str| {
                let what = [format!("fn {name}"), format!(" {name}: ")];
                // A variant.
                let variant = [format!(" {name},"), format!(" {name}(")];
                what.iter().chain(&variant).any(|what| body.contains(what))
            };
            // Some methods are made by macros, from a list of their names.
            let listed = [format!(" {name} "), format!(" {name}: ")];
            let is_listed = |line: &str| {
                let is_code = !line.trim_start().starts_with("//");
                is_code && listed.iter().any(|listed| line.contains(listed))
            };
            let by_macro = || code.iter().any(|(_, code)| code.lines().any(is_listed));
            if !own.iter().any(|block| is_in(block.1)) && !by_macro() {
                missing.push(format!("{of}: {name}"));
            }
        }
    }
    assert!(count > 150, "{count} items");
    assert_eq!(missing, [""; 0]);
}

/// The heads and the bodies of the `impl`s and of the public types and traits of a file.
fn blocks(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let starts = [
        "\nimpl",
        "\nunsafe impl",
        "\npub trait",
        "\npub enum",
        "\npub struct",
    ];
    let starts = starts
        .into_iter()
        .flat_map(|start| code.match_indices(start));
    starts.filter_map(|(at, _)| {
        let block = &code[at..];
        let block = &block[..block.find("\n}")?];
        block.split_once('{')
    })
}

#[test]
fn every_published_package_carries_its_licence_and_its_readme() {
    for package in [
        "precast",
        "precast-artifact",
        "precast-build",
        "precast-cache",
        "precast-compiler",
        "precast-loader",
        "precast-object",
        "precast-runner",
        "precast-signature",
        "precast-symbols",
        "precast-wasi",
        "precast-wast",
    ] {
        let output = Command::new(env!("CARGO"))
            .args([
                "package",
                "--list",
                "--offline",
                "--allow-dirty",
                "--package",
                package,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo starts");
        let files = String::from_utf8_lossy(&output.stdout);
        for file in ["LICENSE", "README.md"] {
            assert!(
                files.lines().any(|line| line == file),
                "{package} without {file}"
            );
        }
    }
}
