//! Guests that try to change machine code: their own, which is running, or that of a later program,
//! in the cache. A guest is a module in the text format that takes steps. It prints the error
//! number of each step, then calls a function of its own that returns 7.

use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use precast_artifact::{Aligned, Artifact, HEADER_OFFSET};

use crate::{Dir, Ran};

/// `EROFS` of the snapshot, the error for changing a protected file.
const KEPT: u8 = 69;

/// One step of a guest. Paths are relative to its first directory.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// Opens a file with these `oflags`, for writing if the last field is set.
    Open(&'a str, u32, bool),
    /// Reads the open file to the end.
    Read,
    /// Writes other code at this offset of the open file.
    Write(u32),
    /// Writes everything that was read, with other code at this offset.
    WriteAll(u32),
    Resize(u32),
    Rename(&'a str, &'a str),
    Link(&'a str, &'a str),
    Unlink(&'a str),
    /// Sets the times of the second file to those of the first.
    CopyTimes(&'a str, &'a str),
}

use Step::*;

/// The instruction by which the function returns 7, and the one that would make it return 55.
#[cfg(target_arch = "x86_64")]
const CODE: [[u8; 5]; 2] = [[0xb8, 7, 0, 0, 0], [0xb8, 55, 0, 0, 0]];
#[cfg(target_arch = "aarch64")]
const CODE: [[u8; 4]; 2] = [[0xe0, 0, 0x80, 0x52], [0xe0, 6, 0x80, 0x52]];

/// A program that takes these steps, prints the error number of each, and exits with the result of
/// its function.
fn wat(steps: &[Step<'_>]) -> String {
    let mut data = String::new();
    let mut next = 4096;
    let mut text = |s: &str| {
        let at = next;
        data += &format!("(data (i32.const {at}) \"{s}\")");
        next += 128;
        assert!(s.len() < 128);
        format!("(i32.const {at}) (i32.const {})", s.len())
    };
    let mut body = String::new();
    for step in steps {
        // The stores before the call, and the call.
        let (stores, call) = match step {
            Open(path, oflags, write) => (
                String::new(),
                format!(
                    "(call $open (i32.const 3) (i32.const 1) {} (i32.const {oflags}) \
                     (i64.const {}) (i64.const 0) (i32.const 0) (i32.const 0))",
                    text(path),
                    if *write { 0x40_0044 } else { 2 }
                ),
            ),
            Read => (
                "(i32.store (i32.const 16) (i32.const 65536)) \
                 (i32.store (i32.const 20) (i32.const 1000000))"
                    .to_owned(),
                "(call $read (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 24))"
                    .to_owned(),
            ),
            Write(offset) => (
                format!(
                    "(i32.store (i32.const 16) (i32.const 3000)) \
                     (i32.store (i32.const 20) (i32.const {}))",
                    CODE[1].len()
                ),
                format!(
                    "(call $pwrite (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) \
                     (i64.const {offset}) (i32.const 28))"
                ),
            ),
            WriteAll(offset) => (
                format!(
                    "(memory.copy (i32.const {}) (i32.const 3000) (i32.const {})) \
                     (i32.store (i32.const 16) (i32.const 65536)) \
                     (i32.store (i32.const 20) (i32.load (i32.const 24)))",
                    65536 + offset,
                    CODE[1].len()
                ),
                "(call $write (i32.load (i32.const 0)) (i32.const 16) (i32.const 1) (i32.const 28))"
                    .to_owned(),
            ),
            Resize(size) => (
                String::new(),
                format!("(call $resize (i32.load (i32.const 0)) (i64.const {size}))"),
            ),
            Rename(from, to) => (
                String::new(),
                format!(
                    "(call $rename (i32.const 3) {} (i32.const 3) {})",
                    text(from),
                    text(to)
                ),
            ),
            Link(from, to) => (
                String::new(),
                format!(
                    "(call $link (i32.const 3) (i32.const 1) {} (i32.const 3) {})",
                    text(from),
                    text(to)
                ),
            ),
            Unlink(path) => (
                String::new(),
                format!("(call $unlink (i32.const 3) {})", text(path)),
            ),
            CopyTimes(from, to) => (
                format!(
                    "(drop (call $stat (i32.const 3) (i32.const 1) {} (i32.const 64)))",
                    text(from)
                ),
                format!(
                    "(call $times (i32.const 3) (i32.const 1) {} (i64.load (i32.const 104)) \
                     (i64.load (i32.const 112)) (i32.const 5))",
                    text(to)
                ),
            ),
        };
        body += &format!("{stores} (call $tell {call})\n");
    }
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $resize (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link"
    (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_set_times"
    (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 20)
  (data (i32.const 3000) "{}")
  {data}
  (func $seven (export "seven") (result i32) (i32.const 7))
  (table 1 funcref) (elem (i32.const 0) $seven)
  (func $tell (param i32)
    (i32.store8 (i32.const 40) (local.get 0))
    (i32.store (i32.const 32) (i32.const 40))
    (i32.store (i32.const 36) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 44))))
  (func (export "_start")
    {body}
    (call $exit (call_indirect (result i32) (i32.const 0)))))"#,
        CODE[1].map(|byte| format!("\\{byte:02x}")).concat()
    )
}

/// The offset in the file of an artifact of the instruction that returns 7.
fn code(artifact: &Path) -> u32 {
    let bytes = fs::read(artifact).expect("readable");
    let text = Artifact::parse(&Aligned::new(&bytes), None)
        .expect("an artifact")
        .header()
        .text;
    let start = HEADER_OFFSET + text.start as usize;
    let windows = bytes[start..].windows(CODE[0].len());
    let found: Vec<usize> = windows
        .enumerate()
        .filter_map(|(at, window)| (window == CODE[0]).then_some(start + at))
        .collect();
    assert_eq!(found.len(), 1, "the code is there once");
    found[0] as u32
}

impl Dir {
    /// Writes `app/app.precast`: a guest whose steps are made from the offset of its own code.
    fn attacker<'a>(&self, steps: impl Fn(u32) -> Vec<Step<'a>>) {
        fs::create_dir_all(self.path("app")).expect("writable");
        let mut offset = 1_000_000;
        loop {
            self.artifact("app/app", &wat(&steps(offset)));
            let found = code(&self.path("app/app.precast"));
            if found == offset {
                return;
            }
            offset = found;
        }
    }
}

impl Ran {
    /// The error numbers of the steps.
    fn errors(&self) -> &[u8] {
        &self.0.stdout
    }

    fn code(&self) -> Option<i32> {
        self.0.status.code()
    }
}

const SEALED: &str = "warning: the guest may write to a directory that leads to \
                      `app/app.precast`: its code runs from a sealed copy in memory\n";

#[test]
fn a_guest_does_not_rewrite_its_own_code() {
    // The guest's directory, the name of the artifact in it, and what is created beforehand.
    type Before = fn(&Dir);
    let ways: [(&str, &str, Before); 9] = [
        ("app", "app.precast", |_| {}),
        (".", "app/app.precast", |_| {}),
        ("..", "NAME/app/app.precast", |_| {}),
        (".", "link", |dir| {
            symlink("app/app.precast", dir.path("link")).expect("writable");
        }),
        (".", "dir/app.precast", |dir| {
            symlink("app", dir.path("dir")).expect("writable");
        }),
        ("guests", "hard", |dir| {
            fs::hard_link(dir.path("app/app.precast"), dir.path("guests/hard")).expect("writable");
        }),
        ("guests", "sub/hard", |dir| {
            fs::create_dir(dir.path("guests/sub")).expect("writable");
            let hard = dir.path("guests/sub/hard");
            fs::hard_link(dir.path("app/app.precast"), hard).expect("writable");
        }),
        ("to-app", "app.precast", |dir| {
            symlink("app", dir.path("to-app")).expect("writable");
        }),
        (".", "app/./../app//app.precast", |_| {}),
    ];
    for (given, name, before) in ways {
        let dir = Dir::new();
        fs::create_dir(dir.path("guests")).expect("writable");
        let own = dir.path("").canonicalize().expect("exists");
        let own = own
            .file_name()
            .and_then(|name| name.to_str())
            .expect("UTF-8");
        let name = &name.replace("NAME", own);
        let attack = |offset| {
            vec![
                Open(name, 0, true),
                Write(offset),
                Open(name, 8, true),
                Resize(0),
                CopyTimes(name, name),
                Unlink(name),
                Open(name, 0, false),
            ]
        };
        dir.attacker(attack);
        before(&dir);
        let artifact = dir.path("app/app.precast");
        let state = || {
            let data = fs::metadata(&artifact).expect("still there");
            let times = (data.mtime(), data.mtime_nsec());
            (fs::read(&artifact).expect("readable"), data.ino(), times)
        };
        let unchanged = state();
        // Steps 0, 2 and 4 are refused. Steps 1 and 3 have no open file.
        let ran = dir.precast(&["run", "--dir", given, "app/app.precast"]);
        assert_eq!(ran.stderr(), SEALED, "{given} {name}");
        let errors = ran.errors();
        for step in [0, 2, 4] {
            assert_eq!(
                errors[step], KEPT,
                "{given} {name}: step {step}: {errors:?}"
            );
        }
        // A symbolic link that the command line did not name the file by is the guest's to remove.
        let removed = if name == "link" { [0, 44] } else { [KEPT, 0] };
        assert_eq!(errors[5..], removed, "{given} {name}");
        assert_eq!(ran.code(), Some(7), "{given} {name}");
        assert!(state() == unchanged, "{given} {name}");

        // With a read-only directory there is no warning, and nothing changes.
        let read_only = format!("{given}::{given}::ro");
        let ran = dir.precast(&["run", "--dir", &read_only, "app/app.precast"]);
        assert_eq!(ran.stderr(), "", "{given} {name}");
        assert_eq!((ran.errors()[0], ran.code()), (KEPT, Some(7)));
        assert!(state() == unchanged, "{given} {name}");
    }
}

#[test]
fn no_other_file_takes_the_artifacts_place() {
    let dir = Dir::new();
    let moves = |_| {
        vec![
            Rename("other", "app/app.precast"),
            Rename("app/app.precast", "moved"),
            Rename("app", "moved"),
            Link("app/app.precast", "mine"),
            Open("app/new", 1, true),
            Rename("app/new", "app/app.precast"),
        ]
    };
    dir.attacker(moves);
    dir.write("other", "other");
    let ran = dir.precast(&["run", "--dir", ".", "app/app.precast"]);
    assert_eq!(ran.errors(), [KEPT, KEPT, KEPT, KEPT, 0, KEPT]);
    assert_eq!((ran.stderr().as_str(), ran.code()), (SEALED, Some(7)));
    // Another directory does not matter.
    fs::create_dir(dir.path("guests")).expect("writable");
    let ran = dir.precast(&["run", "--dir", "guests", "app/app.precast"]);
    assert_eq!((ran.stderr().as_str(), ran.code()), ("", Some(7)));
}

/// Whoever changes the file of a trusted key decides which code later runs accept.
#[test]
fn a_guest_does_not_choose_the_trusted_keys() {
    let dir = Dir::new();
    let attack = |_| {
        vec![
            Open("keys/a.pub", 0, true),
            Open("keys/a.pub", 8, true),
            Rename("mine.pub", "keys/a.pub"),
            Unlink("keys/a.pub"),
            Rename("keys", "moved"),
            Open("hard", 0, true),
            Open("mine.pub", 0, true),
        ]
    };
    dir.attacker(attack);
    fs::create_dir(dir.path("keys")).expect("writable");
    dir.precast(&["key", "keys/a"]);
    dir.precast(&["sign", "app/app.precast", "--key", "keys/a"])
        .is("", "", 0);
    dir.write("mine.pub", "another key");
    fs::hard_link(dir.path("keys/a.pub"), dir.path("hard")).expect("writable");
    let key = fs::read(dir.path("keys/a.pub")).expect("readable");
    let run = |key: &str| {
        let trusted = ["--trusted-key", key, "app/app.precast"];
        dir.precast(&[&["run", "--dir", "."], &trusted[..]].concat())
    };
    for name in ["keys/a.pub", "./keys/../keys/a.pub"] {
        let ran = run(name);
        let refused = [KEPT, KEPT, KEPT, KEPT, KEPT, KEPT, 0];
        assert_eq!(
            (ran.errors(), ran.code()),
            (&refused[..], Some(7)),
            "{name}"
        );
        assert!(fs::read(dir.path("keys/a.pub")).expect("still there") == key);
    }
}

/// A module that exits with 7.
const VICTIM: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (table 1 funcref) (elem (i32.const 0) $seven)
  (func $seven (export "seven") (result i32) (i32.const 7))
  (func (export "_start") (call $exit (call_indirect (result i32) (i32.const 0)))))"#;

/// Copies an entry, changes the code in the copy, gives it the times of the entry and renames it to
/// the entry. Then changes the code in the entry itself.
fn poison<'a>(entry: &'a str, offset: u32) -> Vec<Step<'a>> {
    vec![
        Open(entry, 0, false),
        Read,
        Open("copy", 9, true),
        WriteAll(offset),
        CopyTimes(entry, "copy"),
        Rename("copy", entry),
        Open(entry, 0, true),
        Write(offset),
    ]
}

#[test]
fn a_guest_does_not_write_into_the_cache() {
    let dir = Dir::new();
    dir.wasm("victim", VICTIM);
    let run = ["run", "victim.wasm"];
    assert_eq!(dir.cached(&run).code(), Some(7));
    let entry = dir.entry();
    let offset = code(&entry);
    let name = entry
        .file_name()
        .and_then(|name| name.to_str())
        .expect("UTF-8");
    symlink("cache", dir.path("link")).expect("writable");
    for (given, path) in [
        (".", format!("cache/artifacts-1/{name}")),
        ("cache", format!("artifacts-1/{name}")),
        ("cache/artifacts-1", name.to_owned()),
        ("link/artifacts-1", name.to_owned()),
        (".", format!("link/artifacts-1/{name}")),
    ] {
        dir.wasm("poison", &wat(&poison(&path, offset)));
        let place = dir.path("cache");
        let warning = format!(
            "warning: the guest may write to a directory that leads to the cache `{}`: the module \
             is compiled in memory, without the cache\n",
            place.display()
        );
        for no_cache in [false, true] {
            let options: &[&str] = if no_cache { &["--no-cache"] } else { &[] };
            let args = [&["run"], options, &["--dir", given, "poison.wasm"]].concat();
            let ran = dir.cached(&args);
            let warning = if no_cache { "" } else { &warning };
            assert_eq!((ran.stderr().as_str(), ran.code()), (warning, Some(7)));
            let errors = ran.errors();
            assert_eq!((errors[5], errors[6]), (KEPT, KEPT), "{given}: {errors:?}");
            assert_eq!(dir.json(&["stats"])["entries"], 1, "nothing was put there");
            assert_eq!(dir.cached(&run).code(), Some(7), "{given}");
        }
        fs::remove_file(dir.path("copy")).ok();
        // A guest that is run from an artifact cannot change the cache either.
        dir.precast(&["compile", "poison.wasm"]).is("", "", 0);
        let ran = dir.cached(&["run", "--dir", given, "poison.precast"]);
        assert_eq!((ran.errors()[5], ran.errors()[6]), (KEPT, KEPT));
        assert_eq!(dir.cached(&run).code(), Some(7), "{given}");
        fs::remove_file(dir.path("copy")).ok();
    }
    let required = ["run", "--require-cached", "--dir", ".", "victim.wasm"];
    let ran = dir.cached(&required);
    assert_eq!(ran.code(), Some(1));
    assert!(ran.stderr().contains("drop --require-cached"));
    // A read-only directory is harmless, and so is a directory elsewhere.
    fs::create_dir(dir.path("guests")).expect("writable");
    for given in [".::.::ro", "guests"] {
        let ran = dir.cached(&["run", "--require-cached", "--dir", given, "victim.wasm"]);
        assert_eq!((ran.stderr().as_str(), ran.code()), ("", Some(7)));
    }
}

#[test]
fn a_guest_does_not_make_the_cache() {
    let dir = Dir::new();
    dir.wasm(
        "make",
        &wat(&[Open("cache", 1, true), Rename("copy", "cache")]),
    );
    dir.write("copy", "copy");
    let ran = dir.cached(&["run", "--dir", ".", "make.wasm"]);
    assert_eq!(ran.errors(), [KEPT, KEPT]);
    assert!(!dir.path("cache").exists());
}

#[test]
fn entries_with_another_name_are_not_run() {
    let dir = Dir::new();
    dir.wasm("victim", VICTIM);
    let run = ["run", "victim.wasm"];
    dir.cached(&run);
    let entry = dir.entry();
    // A guest with that other name could write to the entry and restore its seal.
    let hard = dir.path("hard");
    fs::hard_link(&entry, &hard).expect("writable");
    let modified = fs::metadata(&hard).and_then(|data| data.modified());
    let mut bytes = fs::read(&hard).expect("readable");
    let at = code(&hard) as usize;
    bytes[at..at + CODE[1].len()].copy_from_slice(&CODE[1]);
    fs::set_permissions(&hard, Permissions::from_mode(0o600)).expect("ours");
    fs::write(&hard, bytes).expect("writable");
    let times = FileTimes::new().set_modified(modified.expect("known"));
    let file = fs::File::options().write(true).open(&hard).expect("ours");
    file.set_times(times).expect("ours");
    let ran = dir.cached(&run);
    assert_eq!(ran.code(), Some(7));
    assert!(ran.stderr().contains("it has 2 names"), "{}", ran.stderr());
    assert!(hard.exists());
    let ran = dir.cached(&run);
    assert_eq!((ran.stderr().as_str(), ran.code()), ("", Some(7)), "mended");
}
