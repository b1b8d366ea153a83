//! Directories with unexpected contents or permissions, and disks that are full or read-only.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use precast_cache::{CompilationCache, Error, Options};

use crate::guests::{get, key};
use crate::scratch::{Scratch, is_root};

fn refused(result: Result<CompilationCache, Error>) -> String {
    match result.expect_err("not a place for a cache") {
        error @ Error::Directory { .. } => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_that_are_no_directories_are_named() {
    let dir = Scratch::new("file");
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    for path in [file.clone(), file.join("cache")] {
        let message = refused(CompilationCache::open(&path));
        let expected = format!("cannot use `{}` as a cache: found a file,", file.display());
        assert!(message.starts_with(&expected), "{message}");
        refused(Options::new().read_only(true).open(&path));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let taken = dir.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("artifacts-1"), "precious").unwrap();
    assert!(refused(CompilationCache::open(&taken)).contains("found a file"));
    std::os::unix::fs::symlink("/tmp", dir.path().join("artifacts-1")).unwrap();
    assert!(refused(CompilationCache::open(dir.path())).contains("a symbolic link"));
}

#[test]
fn directories_that_others_can_write_to_are_refused() {
    let dir = Scratch::new("trust");
    drop(get(&CompilationCache::open(dir.path()).unwrap(), 0));
    // Other users may write to the directory around the cache's own.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
    drop(get(&CompilationCache::open(dir.path()).unwrap(), 0));
    fs::set_permissions(dir.entries(), Permissions::from_mode(0o770)).unwrap();
    let message = refused(CompilationCache::open(dir.path()));
    assert!(message.contains("may write to it (mode 770)"), "{message}");
    fs::set_permissions(dir.entries(), Permissions::from_mode(0o755)).unwrap();
    drop(get(&CompilationCache::open(dir.path()).unwrap(), 0));
    if is_root() {
        std::os::unix::fs::chown(dir.entries(), Some(12345), None).unwrap();
        let message = refused(CompilationCache::open(dir.path()));
        assert!(message.contains("it belongs to user 12345"), "{message}");
    } else {
        eprintln!("skipped another user's directory: only root can give it away");
    }
}

#[test]
fn other_files_are_left_alone() {
    let dir = Scratch::new("guests");
    let cache = CompilationCache::open(dir.path()).unwrap();
    drop(get(&cache, 0));
    let key = key(0);
    let others = [
        "notes.txt".to_owned(),
        "app.precast".to_owned(),
        ".cache.tmp".to_owned(),
        format!("{key}.precast.bak"),
        format!("{key}.foreign-7"),
    ];
    for name in &others {
        fs::write(dir.entries().join(name), "not from here").unwrap();
    }
    fs::write(dir.path().join("0.precast"), "nor this").unwrap();
    // A crash leaves a lock that no process holds, and half an entry.
    fs::write(dir.entries().join(format!("{key}.lock")), "").unwrap();
    let half = dir.entries().join(format!(".{key}.4711-0.tmp"));
    fs::write(&half, "\u{7f}ELF").unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let times = fs::FileTimes::new().set_modified(hour_ago);
    File::open(&half).unwrap().set_times(times).unwrap();
    drop(CompilationCache::open(dir.path()).unwrap());
    assert!(!half.exists(), "swept");

    cache.prune(Some(0), None).unwrap();
    let removed = cache.clear().unwrap();
    assert_eq!((removed.entries, removed.leftovers), (0, 0));
    let mut expected = others.to_vec();
    expected.sort();
    assert_eq!(dir.names(), expected);
    assert!(dir.path().join("0.precast").exists());
}

#[test]
fn a_directory_that_is_removed_comes_back() {
    let dir = Scratch::new("removed");
    let cache = CompilationCache::open(dir.path().join("cache")).unwrap();
    let module = get(&cache, 0);
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    drop(get(&cache, 0));
    drop(get(&cache, 1));
    drop(module);
    drop(get(&cache, 0));
    drop(get(&cache, 1));
    let stats = cache.stats();
    assert_eq!(
        (stats.compilations, stats.stores, stats.disk_hits),
        (3, 3, 1)
    );
    let mode = fs::metadata(dir.path().join("cache/artifacts-1")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_full_disk_means_memory() {
    let Some(disk) = Scratch::disk("full-disk", 400) else {
        return;
    };
    let cache = CompilationCache::open(disk.path()).unwrap();
    drop(get(&cache, 0));
    let mut ballast = File::create(disk.path().join("ballast")).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
    for i in [1, 2, 1, 2, 0] {
        drop(get(&cache, i));
    }
    let stats = cache.stats();
    assert_eq!((stats.compilations, stats.store_failures), (3, 2));
    assert_eq!((stats.memory_hits, stats.disk_hits), (2, 1));
    let temporaries = cache.usage().unwrap().temporaries;
    assert_eq!(temporaries, 0);
    // A damaged entry on a full disk cannot be replaced, and that does no harm.
    drop((cache, ballast));
    fs::remove_file(disk.path().join("ballast")).unwrap();
    let cache = CompilationCache::open(disk.path()).unwrap();
    drop(get(&cache, 1));
    assert_eq!(cache.stats().stores, 1, "there is room again");
}

#[test]
fn a_read_only_disk_serves_what_it_has() {
    let Some(disk) = Scratch::disk("read-only-disk", 4000) else {
        return;
    };
    drop(get(&CompilationCache::open(disk.path()).unwrap(), 0));
    disk.remount("ro");
    let cache = CompilationCache::open(disk.path()).unwrap();
    for i in [0, 1, 0, 1] {
        drop(get(&cache, i));
    }
    let stats = cache.stats();
    assert_eq!((stats.disk_hits, stats.memory_hits), (2, 1));
    assert_eq!((stats.compilations, stats.store_failures), (1, 1));
    // A directory that would have to be created on the read-only disk is an error.
    let none = CompilationCache::open(disk.path().join("none"));
    assert!(matches!(none, Err(Error::File { .. })), "{none:?}");
    disk.remount("rw");
    let again = CompilationCache::open(disk.path()).unwrap();
    drop(get(&again, 2));
    assert_eq!(again.stats().stores, 1);
}

/// The environment variable that names the directory to a process of another user.
const USER: &str = "PRECAST_OTHER_USER";

/// Not a test of its own: this is what the other user does with the directory.
#[test]
#[ignore = "the next test starts it as a process of another user"]
fn as_another_user() {
    let Ok(dir) = std::env::var(USER) else {
        return;
    };
    assert!(!is_root());
    let dir = std::path::Path::new(&dir);
    let counts = |cache: &CompilationCache, i: usize| {
        drop(get(cache, i));
        drop(get(cache, i));
        let stats = cache.stats();
        (stats.disk_hits, stats.compilations, stats.damaged)
    };
    // Root's cache, which other users cannot read: an entry that cannot be read counts as damaged,
    // and modules are only kept in memory.
    let cache = CompilationCache::open(dir.join("closed")).unwrap();
    assert_eq!(counts(&cache, 0), (0, 1, 1));
    // Root's cache, which other users can read: its readable entries are used.
    let cache = CompilationCache::open(dir.join("shared")).unwrap();
    assert_eq!(counts(&cache, 0), (2, 0, 0));
    let (_, compiled, _) = counts(&cache, 1);
    assert_eq!(compiled, 1);
    // There is no such directory, and it cannot be created.
    let none = CompilationCache::open(dir.join("none"));
    let Err(Error::File { path, source, .. }) = none else {
        panic!("{none:?}");
    };
    assert_eq!(path, dir.join("none"));
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
    // Whether there is a cache cannot be seen.
    let hidden = CompilationCache::open(dir.join("hidden"));
    assert!(matches!(hidden, Err(Error::File { .. })), "{hidden:?}");
    // The cache of a third user.
    let message = refused(CompilationCache::open(dir.join("foreign")));
    let expected = "it belongs to user 54321, and this is user 12345";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn caches_of_another_user() {
    if !is_root() {
        eprintln!("skipped caches_of_another_user: only root can change to another user");
        return;
    }
    let dir = Scratch::new("user");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    for name in ["closed", "shared", "foreign"] {
        let root = dir.path().join(name);
        let cache = CompilationCache::open(&root).unwrap();
        // What was written while the directory was private stays private.
        drop(get(&cache, 1));
        if name == "shared" {
            let readable = Permissions::from_mode(0o755);
            fs::set_permissions(root.join("artifacts-1"), readable).unwrap();
        }
        drop(get(&cache, 0));
        fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
    }
    let mode = |file: String| fs::metadata(dir.path().join(file)).unwrap().permissions();
    let mode = |name, i| mode(format!("{name}/artifacts-1/{}.precast", key(i))).mode() & 0o777;
    let modes = [("closed", 0), ("shared", 1), ("shared", 0)].map(|(name, i)| mode(name, i));
    assert_eq!(modes, [0o400, 0o400, 0o444]);
    let foreign = dir.path().join("foreign/artifacts-1");
    std::os::unix::fs::chown(&foreign, Some(54321), None).unwrap();
    fs::create_dir(dir.path().join("hidden")).unwrap();
    fs::set_permissions(dir.path().join("hidden"), Permissions::from_mode(0o700)).unwrap();
    let before = listing(dir.path());

    let mut command = std::process::Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::uid(&mut command, 12345);
    let output = command
        .args(["--exact", "directories::as_another_user", "--ignored"])
        .arg("--nocapture")
        .env(USER, dir.path())
        .current_dir("/")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(listing(dir.path()), before, "nothing made, nothing deleted");
}

/// The paths and sizes of all files below a directory.
fn listing(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            found.extend(listing(&path));
        }
        found.push((path, data.len()));
    }
    found.sort();
    found
}

#[test]
fn names_of_directories_that_are_unusual() {
    use std::os::unix::ffi::OsStrExt;
    let dir = Scratch::new("names");
    // A name that is not UTF-8, one with a line break, and one of the maximal length.
    let long = "n".repeat(255);
    for name in [&b"\xff\xfe"[..], b"line\nbreak", b" ", long.as_bytes()] {
        let path = dir.path().join(std::ffi::OsStr::from_bytes(name));
        let cache = CompilationCache::open(&path).unwrap();
        drop((get(&cache, 0), cache));
        let cache = CompilationCache::open(&path).unwrap();
        drop(get(&cache, 0));
        assert_eq!(cache.stats().disk_hits, 1, "{path:?}");
    }
    // A longer name, an empty one, and one with a NUL.
    let nul = std::ffi::OsStr::from_bytes(b"a\0b");
    for path in [
        dir.path().join("n".repeat(256)),
        dir.path().join("n/".repeat(3000)),
        std::path::PathBuf::new(),
        dir.path().join(nul),
    ] {
        let error = CompilationCache::open(&path).expect_err("no such directory can be");
        let Error::File { path: named, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*named, path);
    }
}
