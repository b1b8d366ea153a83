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
    let refused = "Caused by:\n    expected a precast artifact, found a file with several artifacts, \
                   for several CPUs; expected one artifact: compile for each CPU by itself, sign \
                   what is to be signed, then use `precast join`\n";
    dir.precast(&["join", "both", "x", "-o", "z"]).is(
        "",
        &format!("error: cannot use `both`\n{refused}"),
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

/// Each variant is an artifact of its own, with its digest and its signatures.
#[test]
fn each_variant_has_a_digest_and_signatures() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let [x, a] = [("x", "x86_64"), ("a", "aarch64")].map(|(name, arch)| {
        let target = format!("{arch}-unknown-linux-gnu");
        dir.precast(&["compile", "add.wasm", "--target", &target, "-o", name])
            .is("", "", 0);
        format!("{arch}-linux")
    });
    let [one, two] = ["one", "two"].map(|key| {
        let id = dir.precast(&["key", key]).stdout();
        id.trim().to_owned()
    });
    let sign = |file, key| dir.precast(&["sign", file, "--key", key]).is("", "", 0);
    let join = || dir.precast(&["join", "x", "a", "-o", "both"]).is("", "", 0);
    let verify = |key| dir.precast(&["verify", "both", "--trusted-key", key]);
    sign("x", "one");
    join();
    let refused = verify("one.pub");
    let expected = format!("error: cannot trust `both ({a})`\nCaused by:\n    the artifact is not");
    assert!(
        refused.stderr().starts_with(&expected),
        "{}",
        refused.stderr()
    );
    assert_eq!(
        (refused.stdout().as_str(), refused.0.status.code()),
        ("", Some(1))
    );

    sign("a", "one");
    sign("a", "two");
    join();
    verify("one.pub").is(&format!("{one}  both ({x})\n{one}  both ({a})\n"), "", 0);
    assert_eq!(verify("two.pub").0.status.code(), Some(1));
    let digest = |file| dir.precast(&["digest", file]).stdout();
    let alone = [("x", &x), ("a", &a)].map(|(file, name)| {
        digest(file).replace(
            file_end(file).as_str(),
            &file_end(&format!("both ({name})")),
        )
    });
    assert_eq!(digest("both"), alone.concat());

    let shown = dir.precast(&["inspect", "both"]).stdout();
    let count = |id: &str| {
        shown
            .matches(&format!("    signature of key {id}, not checked\n"))
            .count()
    };
    assert_eq!((count(&one), count(&two)), (2, 1), "{shown}");
    let json = dir.precast(&["inspect", "--json", "both"]).stdout();
    assert_eq!(json.matches(&one).count(), 2, "{json}");

    // The records are not signed: one that names the other artifact's target is refused.
    let mut bytes = std::fs::read(dir.path("both")).expect("there");
    let arch = 16 + 8;
    bytes[arch] ^= 3;
    dir.write("both", &bytes);
    let refused = verify("one.pub").stderr();
    assert!(
        refused.contains("for another target or CPU than the file says"),
        "{refused}"
    );
    // What is right with the file is shown all the same.
    let shown = dir.precast(&["inspect", "both"]);
    assert_eq!(shown.0.status.code(), Some(0));
    let shown = shown.stdout();
    assert!(shown.contains("than the file says\n"), "{shown}");
    assert_eq!(shown.matches(&one).count(), 1, "{shown}");
    let json = dir.precast(&["inspect", "--json", "both"]).stdout();
    assert_eq!(json.matches("\"error\"").count(), 1, "{json}");
    let damaged = dir.precast(&["digest", "both"]);
    assert_eq!(
        (damaged.stdout().as_str(), damaged.0.status.code()),
        ("", Some(1))
    );
}

/// The end of the line of a file that `precast digest` prints.
fn file_end(name: &str) -> String {
    format!("  {name}\n")
}
