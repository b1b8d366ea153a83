//! The loader is part of every program that runs artifacts, so it must stay small. It must not
//! depend on the compiler, or on crates for command lines and configuration files.
//!
//! Every public type of it has an example. Every package that is published contains its licence.
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

/// The documentation of the public item with this name, as lines of the code.
fn documentation<'a>(code: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let lines: Vec<_> = code.lines().collect();
    let defines = |line: &str| {
        [
            "pub struct",
            "pub enum",
            "pub trait",
            "pub unsafe trait",
            "pub type",
        ]
        .iter()
        .filter_map(|start| line.strip_prefix(start))
        .filter_map(|rest| rest.trim_start().strip_prefix(name))
        .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let at = lines.iter().position(|line| defines(line))?;
    let docs = lines[..at].iter().rev();
    let docs = docs.skip_while(|line| !line.starts_with("///"));
    Some(
        docs.take_while(|line| line.starts_with("///"))
            .copied()
            .collect(),
    )
}

#[test]
fn every_public_type_of_the_loader_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader/src");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file of the loader");
    let mut without = Vec::new();
    let mut count = 0;
    for (page, folder) in [("lib.rs", ""), ("runtime/mod.rs", "runtime/")] {
        for line in read(page).lines() {
            let Some(given_out) = line
                .strip_prefix("pub use ")
                .and_then(|l| l.strip_suffix(';'))
            else {
                continue;
            };
            let (module, names) = given_out.rsplit_once("::").expect("items of a module");
            if ["precast_artifact", "precast_signature"].contains(&module) {
                continue;
            }
            let code = read(&format!("{folder}{}.rs", module.replace("::", "/")));
            let names = names.trim_matches(['{', '}']).split(',').map(str::trim);
            // Functions are no types.
            for name in names.filter(|name| !name.starts_with(char::is_lowercase)) {
                let Some(docs) = documentation(&code, name) else {
                    assert!(
                        !name.contains(char::is_lowercase),
                        "`{name}` is not in {module}"
                    );
                    continue;
                };
                count += 1;
                if !docs.iter().any(|line| line.contains("```")) {
                    without.push(name.to_owned());
                }
            }
        }
    }
    assert!(count > 40, "{count} types");
    assert_eq!(without, [""; 0]);
}

/// What `loader/WASMTIME.md` calls present is there, and no page links to what is not.
#[test]
fn the_list_of_items_of_wasmtime_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader");
    let files = rust_files(&root.join("src"));
    let code: Vec<_> = files
        .iter()
        .map(|path| fs::read_to_string(path).expect("a file of the folder"))
        .collect();
    let blocks: Vec<_> = code.iter().flat_map(|code| blocks(code)).collect();
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
            let by_macro = || code.iter().any(|code| code.lines().any(is_listed));
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
