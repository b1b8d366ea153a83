//! A file or directory in the place of an entry that is not this entry is a miss. It is never an
//! error, it is never run, and it is deleted only if precast wrote it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

use precast_cache::{CompilationCache, Options};

use crate::guests::{get, key, wasm};
use crate::scratch::{Scratch, is_root};

/// A name, whether the cache must move the file aside, and a function that changes or replaces
/// entry 0.
type Damage = (&'static str, bool, fn(&Scratch, &Path));

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, with: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, with).unwrap();
}

const DAMAGES: [Damage; 15] = [
    ("empty", false, |_, path| overwrite(path, Vec::clear)),
    ("cut in the ELF header", false, |_, path| {
        overwrite(path, |b| b.truncate(100));
    }),
    ("cut in half", false, |_, path| {
        overwrite(path, |b| b.truncate(b.len() / 2));
    }),
    ("longer", false, |_, path| overwrite(path, |b| b.push(0))),
    ("a bit of the header", false, |_, path| {
        overwrite(path, |b| b[600] ^= 1);
    }),
    ("a bit of the code", false, |_, path| {
        overwrite(path, |b| b[4096 + 1] ^= 0x10);
    }),
    ("a bit of the metadata", false, |_, path| {
        overwrite(path, |b| {
            let last = b.len() - 1;
            b[last] ^= 0x80;
        });
    }),
    ("another entry", false, |dir, path| {
        fs::rename(dir.entry(&key(1)), path).unwrap();
    }),
    ("a copy of another entry", false, |dir, path| {
        replace(path, &fs::read(dir.entry(&key(1))).unwrap());
    }),
    ("a module", true, |_, path| replace(path, &wasm(0))),
    ("a text", true, |_, path| replace(path, b"my diary")),
    ("a directory", true, |_, path| {
        fs::remove_file(path).unwrap();
        fs::create_dir_all(path.join("with/things")).unwrap();
    }),
    ("a link", true, |dir, path| {
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(path, &elsewhere).unwrap();
        symlink(&elsewhere, path).unwrap();
    }),
    ("a pipe", true, |_, path| {
        fs::remove_file(path).unwrap();
        let status = std::process::Command::new("mkfifo").arg(path).status();
        assert!(status.unwrap().success());
    }),
    ("writable for others", true, |_, path| {
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    }),
];

#[test]
fn every_damage_is_a_miss_once() {
    for (name, foreign, damage) in DAMAGES {
        let dir = Scratch::new("damage");
        let path = dir.entry(&key(0));
        let cache = CompilationCache::open(dir.path()).unwrap();
        drop((get(&cache, 0), get(&cache, 1)));
        damage(&dir, &path);

        let reader = Options::new().read_only(true).open(dir.path()).unwrap();
        drop(get(&reader, 0));
        let stats = reader.stats();
        assert_eq!((stats.damaged, stats.compilations), (1, 1), "{name}");
        // The reader keeps its modules in memory, and the next cache would share them.
        drop(reader);

        let cache = CompilationCache::open(dir.path()).unwrap();
        for hits in 0..2 {
            drop(get(&cache, 0));
            let stats = cache.stats();
            let found = (stats.damaged, stats.compilations, stats.disk_hits);
            assert_eq!(found, (1, 1, hits), "{name}");
        }
        let usage = cache.usage().unwrap();
        assert_eq!(usage.foreign, u64::from(foreign), "{name}");
        if foreign {
            cache.clear().unwrap();
            let aside = format!("{}.foreign-0", key(0));
            assert_eq!(dir.names(), [aside], "{name}");
        }
    }
}

#[test]
fn what_only_looks_different_is_read_once() {
    let dir = Scratch::new("reseal");
    let cache = CompilationCache::open(dir.path()).unwrap();
    drop(get(&cache, 0));
    // The file is as after a restore from a backup that does not keep times.
    let path = dir.entry(&key(0));
    let bytes = fs::read(&path).unwrap();
    replace(&path, &bytes);
    for hits in 1..3 {
        drop(get(&cache, 0));
        let stats = cache.stats();
        assert_eq!(
            (stats.disk_hits, stats.full_checks, stats.damaged),
            (hits, 1, 0)
        );
    }
}

#[test]
fn verify_sees_below_the_seals() {
    let dir = Scratch::new("verify");
    let cache = CompilationCache::open(dir.path()).unwrap();
    drop((get(&cache, 0), get(&cache, 1), get(&cache, 2)));
    // The file is as if the disk had lost a bit: its times stay the same.
    let path = dir.entry(&key(1));
    let times = fs::metadata(&path).unwrap();
    overwrite(&path, |b| b[4096 + 1] ^= 0x10);
    let restore = fs::FileTimes::new()
        .set_modified(times.modified().unwrap())
        .set_accessed(SystemTime::now());
    File::open(&path).unwrap().set_times(restore).unwrap();
    fs::write(dir.entry(&key(3)), "not from here").unwrap();

    for cache in [
        Options::new().read_only(true).open(dir.path()).unwrap(),
        cache,
    ] {
        let mut faults: Vec<_> = cache
            .verify()
            .unwrap()
            .into_iter()
            .filter(|entry| entry.fault.is_some())
            .map(|entry| (entry.key, entry.fault.unwrap(), entry.removed))
            .collect();
        faults.sort_by_key(|(found, ..)| *found != key(1));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].1.contains("digest"), "{faults:?}");
        assert_eq!(faults[1].0, key(3));
        let removes = faults[0].2;
        assert_eq!(faults[1].2, removes);
        assert_eq!(path.exists(), !removes);
    }
    let aside = fs::read(dir.entries().join(format!("{}.foreign-0", key(3))));
    assert_eq!(aside.unwrap(), b"not from here");
}

#[test]
fn entries_of_another_user_are_foreign() {
    if !is_root() {
        eprintln!("skipped entries_of_another_user_are_foreign: only root can give files away");
        return;
    }
    let dir = Scratch::new("owner");
    let cache = CompilationCache::open(dir.path()).unwrap();
    drop(get(&cache, 0));
    std::os::unix::fs::chown(dir.entry(&key(0)), Some(12345), None).unwrap();
    drop(get(&cache, 0));
    assert_eq!(
        (cache.stats().damaged, cache.usage().unwrap().foreign),
        (1, 1)
    );
}
