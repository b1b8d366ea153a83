//! `precast cache`, and `precast run` of modules.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::{ADD, Dir, Ran};

impl Dir {
    /// Runs the program with a cache in this directory.
    #[track_caller]
    pub(crate) fn cached(&self, args: &[&str]) -> Ran {
        let mut command = self.command(args);
        command.env("PRECAST_CACHE_DIR", self.path("cache"));
        Ran(command.output().expect("runs"))
    }

    #[track_caller]
    pub(crate) fn json(&self, verb: &[&str]) -> Value {
        let args = [&["cache", "--json"], verb].concat();
        let ran = self.cached(&args);
        serde_json::from_slice(&ran.0.stdout).expect("JSON")
    }

    pub(crate) fn entry(&self) -> std::path::PathBuf {
        let list = self.json(&["list"]);
        list[0]["path"].as_str().expect("an entry").into()
    }
}

const RUN: [&str; 6] = ["run", "--invoke", "add", "add.wasm", "7", "9"];

#[test]
fn a_module_is_compiled_once() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.cached(&["cache", "stats"]);
    assert!(!dir.path("cache").exists(), "looking makes nothing");

    dir.cached(&RUN).is("16\n", "", 0);
    let stats = dir.json(&["stats"]);
    assert_eq!(
        (stats["entries"].as_u64(), stats["foreign"].as_u64()),
        (Some(1), Some(0))
    );
    let list = dir.json(&["list"]);
    assert_eq!(list[0]["bytes"], stats["bytes"]);
    assert_eq!(list[0]["settings"]["strategy"], "guarded");
    let key = list[0]["key"].as_str().expect("a key");
    let human = dir.cached(&["cache", "list"]);
    assert!(String::from_utf8_lossy(&human.0.stdout).starts_with(key));

    let required = [&["run", "--require-cached"], &RUN[1..]].concat();
    dir.cached(&required).is("16\n", "", 0);
    dir.cached(&["cache", "clear"]).is(
        &format!(
            "removed 1 entries ({} bytes) and 0 left-over files\n",
            stats["bytes"]
        ),
        "",
        0,
    );
    let place = dir.path("cache/artifacts-1");
    let place = place.display();
    dir.cached(&required).is(
        "",
        &format!(
            "error: cannot run `add.wasm`\nCaused by:\n    the module is not in the cache: no \
             usable entry {key} in `{place}`; compile it once with a cache that may compile, by \
             the same precast and with the same settings\n"
        ),
        1,
    );
    let none = [&["run", "--no-cache"], &RUN[1..]].concat();
    dir.cached(&none).is("16\n", "", 0);
    assert_eq!(dir.json(&["stats"])["entries"], 0);
    let elsewhere = [&["run", "--cache-dir", "other"], &RUN[1..]].concat();
    dir.cached(&elsewhere).is("16\n", "", 0);
    assert!(dir.path("other/artifacts-1").is_dir());
}

#[test]
fn damage_is_told_and_mended() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.cached(&RUN).is("16\n", "", 0);
    let damage = || {
        let path = dir.entry();
        let mut bytes = fs::read(&path).expect("readable");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        fs::write(&path, bytes).expect("writable");
        path
    };
    let path = damage();
    let ran = dir.cached(&RUN);
    assert_eq!(ran.0.stdout, b"16\n");
    let warning = ran.stderr();
    let expected = format!(
        "warning: an entry of the cache is not used: {}: \"the artifact's digest is ",
        path.display()
    );
    assert!(warning.starts_with(&expected), "{warning}");
    dir.cached(&RUN).is("16\n", "", 0);

    damage();
    let verified = dir.json(&["verify"]);
    assert_eq!(verified["damaged"][0]["removed"], true);
    assert_eq!(dir.cached(&["cache", "verify"]).0.status.code(), Some(0));
    assert_eq!(dir.json(&["stats"])["entries"], 0);
}

/// The older precast that wrote it may share the directory.
#[test]
fn an_entry_of_another_abi_is_told_and_stays() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.cached(&RUN).is("16\n", "", 0);
    let old = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../artifacts-format/tests/format/golden/1-2.precast"
    );
    let entry = dir.entry().with_file_name("5a".repeat(32) + ".precast");
    fs::copy(old, &entry).expect("writable");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o400)).expect("ours");
    let verified = dir.json(&["verify"]);
    let fault = verified["damaged"][0]["fault"].as_str().expect("a fault");
    assert!(fault.contains("it was made for loader ABI 2, "), "{fault}");
    assert_eq!(verified["damaged"][0]["removed"], false);
    assert!(entry.exists());
}

#[test]
fn prune_wants_to_know_what() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.cached(&RUN).is("16\n", "", 0);
    assert_eq!(dir.cached(&["cache", "prune"]).0.status.code(), Some(2));
    let wrong = dir.cached(&["cache", "prune", "--older-than", "30"]);
    assert!(
        wrong
            .stderr()
            .contains("expected a number with s, m, h, d or w")
    );
    assert_eq!(dir.json(&["prune", "--older-than", "1d"])["entries"], 0);
    assert_eq!(dir.json(&["prune", "--max-bytes", "1K"])["entries"], 1);
}

#[test]
fn without_a_usable_place_it_runs_in_memory() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    let homeless = |args: &[&str]| {
        let mut command = dir.command(args);
        for name in ["PRECAST_CACHE_DIR", "XDG_CACHE_HOME", "HOME"] {
            command.env_remove(name);
        }
        Ran(command.output().expect("runs"))
    };
    homeless(&RUN).is("16\n", "", 0);
    let nowhere = "error: no directory is known for the cache: give --cache-dir, or set \
                   PRECAST_CACHE_DIR, XDG_CACHE_HOME or HOME to an absolute path\n";
    homeless(&["cache", "path"]).is("", nowhere, 1);

    dir.write("file", "precious");
    let file = dir.path("file");
    let mut command = dir.command(&RUN);
    command
        .env_remove("PRECAST_CACHE_DIR")
        .env("XDG_CACHE_HOME", &file);
    let ran = Ran(command.output().expect("runs"));
    let found = format!(
        "cannot use `{}` as a cache: found a file, expected a directory, or a path at which one \
         can be made",
        file.display()
    );
    ran.is("16\n", &format!("warning: no cache: {found}\n"), 0);
    // The warning says why. A variable without a value chooses nothing.
    let ran = dir
        .command(&RUN)
        .env("PRECAST_CACHE_DIR", "")
        .env("XDG_CACHE_HOME", "/proc/none")
        .output();
    Ran(ran.expect("runs")).is(
        "16\n",
        "warning: no cache: cannot create the directory `/proc/none/precast`: No such file or \
         directory (os error 2)\n",
        0,
    );
    // If the user chose the directory, it is an error.
    let asked = [&["run", "--cache-dir", "file"], &RUN[1..]].concat();
    let expected = format!("error: cannot run `add.wasm`\nCaused by:\n    {found}\n");
    dir.cached(&asked).is("", &expected, 1);
    assert_eq!(dir.names(), ["add.wasm", "file"]);
}

#[test]
fn pinned_entries_outlive_the_budget() {
    let dir = Dir::new();
    dir.wasm("add", ADD);
    dir.cached(&RUN).is("16\n", "", 0);
    let key = dir.json(&["list"])[0]["key"]
        .as_str()
        .expect("a key")
        .to_owned();
    dir.cached(&["cache", "pin", &key])
        .is(&format!("{key}  pinned\n"), "", 0);
    dir.cached(&["cache", "prune", "--max-bytes", "0"]);
    assert_eq!(dir.json(&["list"])[0]["pinned"], true);
    dir.cached(&["cache", "unpin", &key])
        .is(&format!("{key}  not pinned\n"), "", 0);
    dir.cached(&["cache", "prune", "--max-bytes", "0"]);
    assert_eq!(dir.json(&["list"]).as_array().map(Vec::len), Some(0));
    dir.cached(&["cache", "pin", &key]).is(
        "",
        &format!(
            "error: there is no entry {key} in the cache; `precast cache list` prints those there \
             are\n"
        ),
        1,
    );
    dir.cached(&["cache", "pin", "xyz"]).is(
        "",
        "error: `xyz` is neither a file nor a key of 4 to 64 hexadecimal digits, as `precast cache list` \
         prints them\n",
        1,
    );
    // The entry is named by the beginning of its key, and by the module.
    dir.cached(&RUN).is("16\n", "", 0);
    let pinned = format!("{key}  pinned\n");
    dir.cached(&["cache", "pin", &key[..8]]).is(&pinned, "", 0);
    dir.cached(&["cache", "unpin", "add.wasm"])
        .is(&format!("{key}  not pinned\n"), "", 0);
    dir.wasm("other", "(module)");
    dir.cached(&["cache", "pin", "other.wasm"]).is(
        "",
        "error: there is no entry of the module `other.wasm` in the cache\n",
        1,
    );
}

#[test]
fn names_of_modules_are_escaped_and_keys_may_have_capitals() {
    let dir = Dir::new();
    // The text format has no such names: the module's name is in its `name` section.
    let mut wasm = wat::parse_str(r#"(module (func (export "f")))"#).expect("valid text");
    let name = "a\u{1b}[2J\n\u{202e}";
    let len = name.len() as u8;
    wasm.extend([0, len + 8, 4]);
    wasm.extend(b"name");
    wasm.extend([0, len + 1, len]);
    wasm.extend(name.as_bytes());
    dir.write("evil.wasm", wasm);
    dir.cached(&["run", "--invoke", "f", "evil.wasm"])
        .is("", "", 0);
    let list = dir.cached(&["cache", "list"]).stdout();
    assert!(list.ends_with("  a\\u{1b}[2J\\u{a}\\u{202e}\n"), "{list:?}");
    let key = list[..64].to_owned();
    let capitals = key[..20].to_uppercase();
    dir.cached(&["cache", "pin", &capitals])
        .is(&format!("{key}  pinned\n"), "", 0);
}

#[test]
fn names_in_scripts_are_escaped() {
    let dir = Dir::new();
    let script = "(module)\n(assert_return (invoke \"\\1b[2J\\e2\\80\\ae\"))\n";
    dir.write("\u{1b}.wast", script);
    let ran = dir.precast(&["wast", "--strategy", "checked", "\u{1b}.wast"]);
    let text = ran.stdout();
    assert!(
        text.starts_with("\\u{1b}.wast:2: assert_return: "),
        "{text:?}"
    );
    let is_line = |c: char| !c.is_control() || c == '\n';
    assert!(
        text.chars().all(is_line) && !text.contains('\u{202e}'),
        "{text:?}"
    );
    assert_eq!(ran.0.status.code(), Some(1));
}

/// A report of a thread is lost if its name is given to another thread.
#[test]
fn threads_of_a_script_have_names_of_their_own() {
    let dir = Dir::new();
    let thread = |value| {
        format!(
            r#"(thread $T (module (func (export "f") (result i32) (i32.const 1)))
                 (assert_return (invoke "f") (i32.const {value})))"#
        )
    };
    let script = [
        "(module)".to_owned(),
        thread(2),
        thread(1),
        "(wait $T)".to_owned(),
    ];
    let script = script.join("\n");
    dir.write("threads.wast", script);
    let ran = dir.precast(&["wast", "--strategy", "checked", "threads.wast"]);
    let text = ran.stdout();
    assert!(text.contains("another thread `T` that runs"), "{text}");
    assert!(
        text.contains("assert_return") && text.ends_with(" 2 failed\n"),
        "{text}"
    );
    // When the first one has ended, its name is free.
    let script = thread(1) + "(wait $T)";
    let script = format!("(module){script}{script}");
    dir.write("threads.wast", script);
    let ran = dir.precast(&["wast", "--strategy", "checked", "threads.wast"]);
    assert!(ran.stdout().ends_with(" 0 failed\n"), "{}", ran.stdout());
}

/// A script that is older than a proposal says that modules of that proposal are invalid.
#[test]
fn scripts_can_be_older_than_proposals() {
    let dir = Dir::new();
    let script = r#"(assert_invalid (module (memory 1) (memory 1)) "multiple memories")
        (assert_invalid (module (tag (result i32))) "non-empty tag result type")"#;
    dir.write("old.wast", script);
    let args = ["wast", "--strategy", "checked", "old.wast"];
    let expected = "old.wast:1: assert_invalid: the module compiled, expected \"multiple memories\" \
                    (checked)\n1 passed, 1 failed\n";
    dir.precast(&args).is(expected, "", 1);
    let args = [&args[..], &["--features", "-multi-memory"]].concat();
    dir.precast(&args).is("2 passed, 0 failed\n", "", 0);
    // A module is not invalid because it uses a proposal that is not supported.
    let script = r#"(assert_invalid (module (type (struct))) "another reason")"#;
    dir.write("other.wast", script);
    let ran = dir.precast(&["wast", "--strategy", "checked", "other.wast"]);
    assert!(ran.stdout().contains("gc proposal"), "{}", ran.stdout());
    assert_eq!(ran.0.status.code(), Some(1));
}
