//! Modules are compiled once and mapped once for all users of a cache; what the options do.

use std::fs::{self, File, FileTimes};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use precast_cache::{CompilationCache, Error, Options};
use precast_compiler::{OptLevel, Settings};
use precast_loader::{Config, Engine};
use rayon::prelude::*;

use crate::guests::{check, get, key, wasm};
use crate::scratch::Scratch;

#[test]
fn many_threads_and_engines_share_one_compilation_and_one_mapping() {
    let dir = Scratch::new("share");
    let cache = CompilationCache::open(dir.path()).unwrap();
    // The same directory by another name, as another part of a program may have it.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let other = CompilationCache::open(&link).unwrap();

    let modules: Vec<_> = (0..16)
        .into_par_iter()
        .map(|n| {
            let engine = Engine::new(Config::new().max_wasm_stack((n + 1) << 16)).unwrap();
            let cache = if n % 2 == 0 { &cache } else { &other };
            let module = cache
                .get_or_compile(&engine, &wasm(3), &Settings::default())
                .unwrap();
            check(3, &module).unwrap();
            module
        })
        .collect();
    assert_eq!(modules.len(), 16);
    let (a, b) = (cache.stats(), other.stats());
    assert_eq!(
        (a.compilations + b.compilations, a.stores + b.stores),
        (1, 1)
    );
    assert_eq!(a.memory_hits + b.memory_hits, 15);

    let name = dir.entry(&key(3)).into_os_string().into_string().unwrap();
    let executable = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let of_entry = maps.lines().filter(|line| line.ends_with(&name));
        of_entry.filter(|line| line.contains(" r-xp ")).count()
    };
    assert_eq!(executable(), 1);

    // The mapping goes with the last module. It does not go with the cache or the entry.
    drop((cache, other));
    fs::remove_file(dir.entry(&key(3))).unwrap();
    check(3, &modules[15]).unwrap();
    drop(modules);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains(&name), "{maps}");
}

#[test]
fn entries_are_found_by_module_and_settings() {
    let dir = Scratch::new("keys");
    let cache = CompilationCache::open(dir.path()).unwrap();
    let engine = Engine::default();
    let size = Settings {
        opt_level: OptLevel::Size,
        ..Settings::default()
    };
    for _ in 0..2 {
        drop(get(&cache, 0));
        drop(get(&cache, 1));
        drop(cache.get_or_compile(&engine, &wasm(0), &size).unwrap());
    }
    let stats = cache.stats();
    assert_eq!(
        (stats.misses, stats.compilations, stats.disk_hits),
        (3, 3, 3)
    );
    assert_eq!((stats.full_checks, stats.damaged, stats.waits), (0, 0, 0));
    let usage = cache.usage().unwrap();
    assert_eq!((usage.entries, usage.temporaries), (3, 0));
    assert_eq!(usage.bytes * 2, stats.bytes);
    assert_eq!(dir.names().len(), 3, "no locks left: {:?}", dir.names());
    let entries = cache.entries().unwrap();
    let source_lens: Vec<u64> = entries
        .iter()
        .map(|entry| cache.describe(entry).unwrap().source_len)
        .collect();
    assert!(source_lens.contains(&(wasm(1).len() as u64)));
}

#[test]
fn a_module_that_is_wrong_is_an_error_and_not_an_entry() {
    let dir = Scratch::new("wrong");
    let cache = CompilationCache::open(dir.path()).unwrap();
    let (engine, settings) = (Engine::default(), Settings::default());
    let mut bad = wasm(0);
    bad.truncate(20);
    for _ in 0..2 {
        let error = cache.get_or_compile(&engine, &bad, &settings).unwrap_err();
        assert!(matches!(error, Error::Compile(_)), "{error}");
    }
    assert_eq!((cache.stats().misses, cache.stats().compilations), (2, 0));
    assert!(dir.names().is_empty(), "{:?}", dir.names());
    // Another target's code cannot be mapped here. That is an error too, and the entry is not
    // damaged.
    let foreign = if cfg!(target_arch = "x86_64") {
        "aarch64-unknown-linux-gnu"
    } else {
        "x86_64-unknown-linux-gnu"
    };
    let settings = Settings {
        target: Some(foreign.to_owned()),
        ..settings
    };
    for _ in 0..2 {
        let error = cache.get_or_compile(&engine, &wasm(0), &settings);
        assert!(matches!(error, Err(Error::Load(_))));
    }
    assert_eq!((cache.stats().compilations, cache.stats().damaged), (1, 0));
}

#[test]
fn in_memory_modules_stay_until_the_cache_goes() {
    let cache = CompilationCache::in_memory();
    drop(get(&cache, 0));
    let kept = get(&cache, 0);
    assert_eq!(cache.stats().compilations, 1);
    assert_eq!(cache.usage().unwrap().entries, 1);
    drop(cache);
    check(0, &kept).unwrap();

    let cache = Options::new().max_bytes(Some(1)).in_memory();
    cache.pin(&key(1)).unwrap();
    let modules = [get(&cache, 0), get(&cache, 1)];
    assert_eq!(cache.usage().unwrap().entries, 1, "the pinned one");
    assert_eq!(cache.stats().evictions, 1);
    check(0, &modules[0]).unwrap();
    assert!(matches!(cache.entries(), Err(Error::InMemory(_))));
}

#[test]
fn rayon_threads_do_not_wait_for_themselves() {
    let (done, wait) = mpsc::channel();
    let test = std::thread::spawn(move || {
        let cache = CompilationCache::in_memory();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        pool.install(|| {
            (0..64)
                .into_par_iter()
                .for_each(|n| drop(get(&cache, n % 4)))
        });
        assert_eq!(cache.stats().compilations, 4);
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(300))
        .expect("a deadlock, or a panic above");
    test.join().unwrap();
}

#[test]
fn budgets_take_the_least_recently_used_and_no_pinned_ones() {
    let dir = Scratch::new("budget");
    let unlimited = Options::new().max_bytes(None).max_age(None);
    let cache = unlimited.open(dir.path()).unwrap();
    let days = |n: u64| Duration::from_hours(24 * n);
    let used = |i: usize, age: Duration| {
        let file = File::open(dir.entry(&key(i))).unwrap();
        let times = FileTimes::new().set_accessed(SystemTime::now() - age);
        file.set_times(times).unwrap();
    };
    let keys: Vec<_> = (0..6).map(key).collect();
    for i in 0..6 {
        drop(get(&cache, i));
        used(i, days(60 - 10 * i as u64));
    }
    let left = || -> Vec<usize> {
        let entries = cache.entries().unwrap();
        let position = |entry: &precast_cache::Entry| keys.iter().position(|k| *k == entry.key);
        entries.iter().filter_map(position).collect()
    };
    assert_eq!(left(), [0, 1, 2, 3, 4, 5]);
    cache.pin(&keys[0]).unwrap();

    // A hit updates the time of use of an entry that has not been used for long.
    drop(get(&cache, 1));
    assert_eq!(left(), [0, 2, 3, 4, 5, 1]);
    assert_eq!(cache.prune(None, Some(days(35))).unwrap().entries, 1);
    assert_eq!(left(), [0, 3, 4, 5, 1]);
    let sizes: u64 = cache
        .entries()
        .unwrap()
        .iter()
        .map(|entry| entry.bytes)
        .sum();
    assert_eq!(cache.prune(Some(sizes - 1), None).unwrap().entries, 1);
    assert_eq!(left(), [0, 4, 5, 1]);
    assert_eq!(cache.prune(Some(0), None).unwrap().entries, 3);
    assert_eq!(left(), [0]);
    assert_eq!(cache.usage().unwrap().pinned, 1);
    cache.unpin(&keys[0]).unwrap();
    assert_eq!(cache.prune(Some(0), None).unwrap().entries, 1);
    assert_eq!(cache.stats().evictions, 6);

    // With these options, storing an entry prunes the directory without a call of `prune`.
    let cache = Options::new().max_bytes(Some(0)).open(dir.path()).unwrap();
    let module = get(&cache, 0);
    assert_eq!(cache.usage().unwrap().entries, 0);
    check(0, &module).unwrap();
}

#[test]
fn read_only_and_require_hit() {
    let dir = Scratch::new("modes");
    let reader = Options::new()
        .read_only(true)
        .open(dir.path().join("not/there"))
        .unwrap();
    drop(get(&reader, 0));
    drop(get(&reader, 0));
    assert_eq!(reader.stats().compilations, 1, "kept in memory");
    assert!(!dir.path().join("not").exists());

    drop(get(&CompilationCache::open(dir.path()).unwrap(), 0));
    let before = dir.names();
    let reader = Options::new()
        .read_only(true)
        .require_hit(true)
        .open(dir.path())
        .unwrap();
    drop(get(&reader, 0));
    let (engine, settings) = (Engine::default(), Settings::default());
    let error = reader
        .get_or_compile(&engine, &wasm(1), &settings)
        .unwrap_err();
    let Error::Missing { key: found, looked } = &error else {
        panic!("{error}");
    };
    assert_eq!(*found, key(1));
    assert!(looked.contains(dir.path().to_str().unwrap()), "{looked}");
    assert!(error.to_string().contains(&key(1).to_string()), "{error}");
    assert_eq!(reader.stats().compilations, 0);
    assert!(reader.prune(Some(0), None).is_err() && reader.clear().is_err());
    assert_eq!(dir.names(), before);
}

#[test]
fn artifacts_are_read_without_being_mapped() {
    let dir = Scratch::new("artifact");
    let cache = CompilationCache::open(dir.path()).unwrap();
    let foreign = if cfg!(target_arch = "x86_64") {
        "aarch64-unknown-linux-gnu"
    } else {
        "x86_64-unknown-linux-gnu"
    };
    let of = |target: Option<&str>| {
        let settings = Settings {
            target: target.map(str::to_owned),
            ..Settings::default()
        };
        cache.artifact(&wasm(0), &settings).unwrap()
    };
    let (own, other) = (of(None), of(Some(foreign)));
    assert_ne!(own, other);
    assert_eq!((of(None), of(Some(foreign))), (own.clone(), other));
    let stats = cache.stats();
    assert_eq!((stats.compilations, stats.disk_hits), (2, 2));
    // The entries are those of everybody else.
    check(0, &get(&cache, 0)).unwrap();
    assert_eq!(cache.stats().compilations, 2);

    // A damaged entry is replaced, and one that is not ours is kept.
    let entry = dir.entry(&key(0));
    let mut damaged = own.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::remove_file(&entry).unwrap();
    fs::write(&entry, &damaged).unwrap();
    assert_eq!(of(None), own);
    assert_eq!((cache.stats().damaged, cache.stats().compilations), (1, 3));
    fs::remove_file(&entry).unwrap();
    fs::write(&entry, "notes").unwrap();
    assert_eq!(of(None), own);
    let names = dir.names();
    assert_eq!(names.len(), 3, "{names:?}");
    let memory = CompilationCache::in_memory();
    assert_eq!(
        memory.artifact(&wasm(0), &Settings::default()).unwrap(),
        own
    );
}
