//! Files of modules that did not change are not read again, and those that did are.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use precast_cache::{CompilationCache, Error, Options};
use precast_compiler::Settings;
use precast_loader::{Engine, Module};

use crate::guests::{check, key, wasm};
use crate::scratch::Scratch;

/// How long a file must not have changed before its digest is remembered.
const SETTLED: Duration = Duration::from_millis(3100);

fn get(cache: &CompilationCache, path: &Path) -> Module {
    let engine = Engine::default();
    let module = cache.get_or_compile_file(&engine, path, &Settings::default());
    module.unwrap()
}

/// A cache, and the file of a module whose digest the cache has remembered.
fn remembered(dir: &Scratch) -> (CompilationCache, PathBuf) {
    let cache = CompilationCache::open(dir.path().join("cache")).unwrap();
    let path = dir.path().join("module.wasm");
    // Compiling may take longer than a file must not have changed.
    let compiled = cache.get_or_compile(&Engine::default(), &wasm(0), &Settings::default());
    drop(compiled.unwrap());
    fs::write(&path, wasm(0)).unwrap();
    drop(get(&cache, &path));
    drop(get(&cache, &path));
    assert_eq!(
        (cache.stats().compilations, cache.stats().unread_hits),
        (1, 0)
    );
    assert_eq!(records(&cache).len(), 0, "the file has just been written");
    sleep(SETTLED);
    drop(get(&cache, &path));
    assert_eq!(records(&cache).len(), 1);
    drop(get(&cache, &path));
    assert_eq!(
        (cache.stats().compilations, cache.stats().unread_hits),
        (1, 1)
    );
    (cache, path)
}

fn records(cache: &CompilationCache) -> Vec<PathBuf> {
    let entries = cache.directory().unwrap().join("artifacts-1");
    let all = fs::read_dir(entries)
        .unwrap()
        .map(|file| file.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|name| name == "source"))
        .collect()
}

#[test]
fn a_file_that_did_not_change_is_not_read() {
    let dir = Scratch::in_memory("sources");
    let (cache, path) = remembered(&dir);

    // The digest is also known by another name, and in a cache that was opened later.
    let link = dir.path().join("link");
    fs::hard_link(&path, &link).unwrap();
    sleep(SETTLED);
    drop(get(&cache, &link));
    let later = Options::new().read_only(true);
    let later = later.open(cache.directory().unwrap()).unwrap();
    check(0, &get(&later, &path)).unwrap();
    assert_eq!((later.stats().unread_hits, later.stats().disk_hits), (1, 1));

    // The digest has no entry any more, so the file is read and compiled.
    let entries = cache.directory().unwrap().join("artifacts-1");
    fs::remove_file(entries.join(format!("{}.precast", key(0)))).unwrap();
    let before = cache.stats().compilations;
    check(0, &get(&cache, &path)).unwrap();
    assert_eq!(cache.stats().compilations, before + 1);

    cache.clear().unwrap();
    assert!(records(&cache).is_empty());
    check(0, &get(&cache, &path)).unwrap();
}

#[test]
fn a_file_that_changed_is_read() {
    let dir = Scratch::in_memory("changed");
    let (cache, path) = remembered(&dir);
    let times = |path: &Path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        FileTimes::new().set_modified(modified)
    };
    let lens = [0, 7, 14].map(|i| wasm(i).len());
    assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");

    // The file is written in place, and gets its old modification time back.
    let old = times(&path);
    fs::write(&path, wasm(7)).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_times(old)
        .unwrap();
    check(7, &get(&cache, &path)).unwrap();

    // Another file gets the same name, length and time.
    let (old, new) = (times(&path), dir.path().join("new"));
    fs::write(&new, wasm(14)).unwrap();
    File::options()
        .write(true)
        .open(&new)
        .unwrap()
        .set_times(old)
        .unwrap();
    fs::rename(&new, &path).unwrap();
    check(14, &get(&cache, &path)).unwrap();

    // The file is written again and again, faster than any clock ticks.
    for i in [0, 7, 14].into_iter().cycle().take(30) {
        fs::write(&path, wasm(i)).unwrap();
        check(i, &get(&cache, &path)).unwrap();
    }

    // A time in the future says nothing about the last change.
    let future = SystemTime::now() + Duration::from_hours(1);
    let future = FileTimes::new().set_modified(future);
    fs::write(&path, wasm(7)).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_times(future)
        .unwrap();
    sleep(SETTLED);
    let before = cache.stats().unread_hits;
    for _ in 0..2 {
        check(7, &get(&cache, &path)).unwrap();
    }
    assert_eq!(cache.stats().unread_hits, before);
}

#[test]
fn records_that_lie_are_not_believed() {
    let dir = Scratch::in_memory("records");
    let (cache, path) = remembered(&dir);
    let [record] = &records(&cache)[..] else {
        panic!("one record")
    };
    let good = fs::read(record).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(record, &bad).unwrap();
        check(0, &get(&cache, &path)).unwrap();
        assert_eq!(cache.stats().unread_hits, 1, "byte {at}");
        assert_eq!(fs::read(record).unwrap(), good, "written anew");
    }
    for len in [0, 10, good.len() - 1] {
        fs::write(record, &good[..len]).unwrap();
        check(0, &get(&cache, &path)).unwrap();
        assert_eq!(cache.stats().unread_hits, 1);
    }
    // Another user may have written the record.
    fs::set_permissions(record, Permissions::from_mode(0o666)).unwrap();
    check(0, &get(&cache, &path)).unwrap();
    assert_eq!(cache.stats().unread_hits, 1);
}

#[test]
fn paths_that_are_no_files() {
    let dir = Scratch::in_memory("paths");
    let cache = CompilationCache::open(dir.path().join("cache")).unwrap();
    let engine = Engine::default();
    let get = |path: &Path| cache.get_or_compile_file(&engine, path, &Settings::default());
    for path in [dir.path(), &dir.path().join("missing")] {
        let error = get(path).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for _ in 0..2 {
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&pipe, wasm(0)).unwrap());
            check(0, &get(&pipe).unwrap()).unwrap();
        });
    }
    assert!(records(&cache).is_empty());
    assert_eq!(cache.stats().compilations, 1);
}
