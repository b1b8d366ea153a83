//! Files for several CPUs and targets.

use crate::{ADD, Dir};

#[test]
fn one_file_for_several_cpus_and_targets() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let compile = [
        "compile",
        "add.wasm",
        "--target",
        "x86_64-unknown-linux-gnu",
        "--variant",
        "x86-64-v3",
        "--variant",
        "aarch64-unknown-linux-gnu/baseline",
        "-o",
        "all",
    ];
    dir.precast(&compile).is("", "", 0);
    let shown = dir.precast(&["inspect", "all"]).stdout();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("variants     3, "), "{shown}");
    assert!(
        lines[1].starts_with("  x86_64-linux with sse3, ssse3"),
        "{shown}"
    );
    assert!(
        lines[2..]
            .iter()
            .any(|l| l.starts_with("  aarch64-linux: ")),
        "{shown}"
    );
    assert!(
        lines[2..].iter().any(|l| l.starts_with("  x86_64-linux: ")),
        "{shown}"
    );
    let arm = [
        "compile",
        "add.wasm",
        "--target",
        "aarch64-unknown-linux-gnu",
        "--variant",
        "aarch64-unknown-linux-gnu/armv9-a",
        "--variant",
        "armv8.1-a,+dotprod",
        "-o",
        "arm",
    ];
    dir.precast(&arm).is("", "", 0);
    let shown = dir.precast(&["inspect", "arm"]).stdout();
    for features in [" with lse, fp16, dotprod: ", " with lse, dotprod: ", ": "] {
        assert!(
            shown.contains(&format!("  aarch64-linux{features}")),
            "{shown}"
        );
    }
    let json = dir.precast(&["inspect", "--json", "all"]).stdout();
    assert!(json.contains("\"variants\": ["), "{json}");

    for (name, target) in [
        ("x", "x86_64-unknown-linux-gnu"),
        ("a", "aarch64-unknown-linux-gnu"),
    ] {
        dir.precast(&["compile", "add.wasm", "--target", target, "-o", name])
            .is("", "", 0);
    }
    dir.precast(&["join", "x", "a", "-o", "both"]).is("", "", 0);
    for file in ["all", "both"] {
        dir.precast(&["run", "--invoke", "add", file, "3", "4"])
            .is("7\n", "", 0);
    }
    // Through a pipe, which cannot be mapped.
    let piped = dir.precast(&["join", "x", "a", "-o", "-"]);
    assert!(piped.0.stdout.starts_with(b"precvar\n"));
    dir.precast(&["digest", "both"]).is(
        "",
        "error: cannot use `both`\nCaused by:\n    expected a precast artifact, found a file with \
         several artifacts, for several CPUs: expected one of them, as it was before `precast \
         join`\n",
        1,
    );
    let mut longer = std::fs::read(dir.path("both")).expect("there");
    longer.push(b'x');
    dir.write("longer", &longer);
    for args in [
        &["run", "--invoke", "add", "longer", "3", "4"][..],
        &["inspect", "longer"],
    ] {
        let ran = dir.precast(args);
        assert!(ran.stderr().contains("bytes long, but"), "{}", ran.stderr());
        assert_eq!(ran.0.status.code(), Some(1));
    }
    let ran = dir.precast(&["compile", "both", "-o", "z"]);
    assert!(
        ran.stderr().contains("it is compiled already"),
        "{}",
        ran.stderr()
    );
    dir.precast(&["join", "x", "x", "-o", "twice"]).is(
        "",
        "error: cannot join the artifacts: two artifacts are for the same target and CPU\n",
        1,
    );
}
