//! Custom sections that an artifact keeps.

use std::fs;

use crate::Dir;

const WITH_SECTIONS: &str = r#"(module $named
  (@custom "config" "a=1\n")
  (func $f (export "f"))
  (@custom ".debug_info" "dwarf")
  (@custom "config" "b=2\n")
  (@custom "other" "\00\ff"))"#;

/// Name and size of the custom sections in an artifact.
fn kept(dir: &Dir, file: &str) -> Vec<(String, u64)> {
    let shown = dir.precast(&["inspect", "--json", file]).stdout();
    let json: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let sections = json["custom_sections"].as_array().expect("a list").iter();
    sections
        .map(|section| {
            let name = section["name"].as_str().expect("a name").to_owned();
            (name, section["size"].as_u64().expect("a size"))
        })
        .collect()
}

#[test]
fn an_artifact_keeps_the_custom_sections_that_were_asked_for() {
    let dir = Dir::new();
    dir.wasm("m", WITH_SECTIONS);
    let compile = |output: &str, options: &[&str]| {
        dir.precast(&[&["compile", "m.wasm", "-o", output], options].concat())
            .is("", "", 0);
    };
    let is = |file: &str, expected: &[(&str, u64)]| {
        let expected = expected.iter().map(|(n, size)| ((*n).to_owned(), *size));
        assert_eq!(kept(&dir, file), expected.collect::<Vec<_>>(), "{file}");
    };
    compile("none", &[]);
    is("none", &[]);
    compile("two", &["--keep-custom-sections", "config,missing"]);
    is("two", &[("config", 4), ("config", 4)]);
    compile("all", &["--keep-custom-sections", "all"]);
    let rest = [
        ("config", 4),
        ("precast.code-start", 4),
        (".debug_info", 5),
        ("config", 4),
        ("other", 2),
    ];
    let [all @ .., name] = &kept(&dir, "all")[..] else {
        panic!("the artifact keeps no section");
    };
    assert_eq!(name.0, "name");
    assert!(all.iter().map(|(n, size)| (&**n, *size)).eq(rest));

    let shown = dir.precast(&["inspect", "two"]).stdout();
    let line = format!("\ncustom sections (bytes)\n  config{:>30}\n", 4);
    assert!(shown.contains(&line), "{shown}");
    assert!(
        !dir.precast(&["inspect", "none"])
            .stdout()
            .contains("custom")
    );
    dir.precast(&["inspect", "all", "--custom-section", "config"])
        .is("a=1\nb=2\n", "", 0);
    dir.precast(&["inspect", "two", "--custom-section", "other"]).is(
        "",
        "\
error: cannot print from `two`
Caused by:
    the artifact keeps no custom section `other`: compile the module, if it has one, with --keep-custom-sections
",
        1,
    );

    // Sections that debuggers read are debugging information, and the others are not.
    dir.precast(&["strip", "all", "-o", "stripped", "--split-debug", "debug"])
        .is("", "", 0);
    is("stripped", &[("config", 4), ("config", 4), ("other", 2)]);
    let bytes = |name: &str| fs::read(dir.path(name)).expect("there");
    assert_eq!(bytes("debug"), bytes("all"));
    dir.precast(&["run", "--invoke", "f", "stripped"])
        .is("", "", 0);
}
