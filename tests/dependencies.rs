//! The loader goes into every program that runs artifacts, so it must stay small: nothing of the
//! compiler, and none of the crates that a command line or a configuration file needs.

use std::env;
use std::process::Command;

/// No package of which the name starts so.
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

/// Names of the packages that `package` depends on, itself included.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--package",
            package,
            "--edges",
            "normal",
        ])
        .args([
            "--all-features",
            "--target",
            "all",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
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
    let names = dependencies(package);
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

#[test]
fn the_compiler_would_be_noticed() {
    let found = forbidden("precast-compiler");
    assert!(
        found.iter().any(|name| name.starts_with("cranelift")),
        "{found:?}"
    );
    assert!(found.iter().any(|name| name == "wasmparser"), "{found:?}");
}
