//! A system that refuses descriptors, threads, and code from files of a directory or from memory.

use std::fs;
use std::time::{Duration, Instant};

use precast_cache::{CompilationCache, Error};
use precast_compiler::{Compiler, Settings};
use precast_loader::Engine;
use precast_tests::{child, refuse};

use crate::guests::{self, check, get, key};
use crate::scratch::Scratch;

/// Runs `work` on a thread in which these system calls fail.
fn without<R: Send>(calls: &[libc::c_long], errno: i32, work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            refuse(calls, errno);
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn where_no_thread_can_be_started_the_calling_one_compiles() {
    let (clone, clone3) = (libc::SYS_clone, libc::SYS_clone3);
    let expected = Compiler::new(Settings::default()).unwrap();
    let expected = expected.compile(&guests::wasm(13)).unwrap().artifact;
    without(&[clone, clone3], libc::EAGAIN, || {
        let started = std::thread::Builder::new().spawn(|| {});
        assert!(started.is_err(), "no thread can be started");
        for threads in [None, Some(1), Some(8)] {
            let settings = Settings {
                threads,
                ..Settings::default()
            };
            let compiler = Compiler::new(settings).unwrap();
            assert!(compiler.compile(&guests::wasm(13)).unwrap().artifact == expected);
        }
        drop(get(&CompilationCache::in_memory(), 13));
    });
}

#[test]
fn out_of_descriptors_entries_stay_where_they_are() {
    if let Some(dir) = child::case() {
        return out_of_descriptors(&dir);
    }
    let dir = Scratch::new("descriptors");
    let cache = CompilationCache::open(dir.path()).unwrap();
    for i in 0..4 {
        drop(get(&cache, i));
    }
    let before = dir.names();
    child::passes_in_child(
        "refused::out_of_descriptors_entries_stay_where_they_are",
        dir.path().to_str().unwrap(),
    );
    assert_eq!(dir.names(), before);
    assert_eq!(cache.usage().unwrap().foreign, 0);
}

/// Uses the cache in `dir` in a process that has none or too few descriptors left.
fn out_of_descriptors(dir: &str) {
    let cache = CompilationCache::open(dir).unwrap();
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: the structure is valid.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0);
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
    }
    // At first no descriptor is left, later one too few, and in the end enough.
    let mut found = 0;
    for _ in 0..6 {
        for i in 0..4 {
            let module =
                cache.get_or_compile(&Engine::default(), &guests::wasm(i), &Settings::default());
            match module {
                Ok(module) => {
                    check(i, &module).unwrap();
                    found += 1;
                }
                // The code cannot be put into a memory file either.
                Err(Error::Load(precast_loader::Error::File { source, .. })) => {
                    assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
                }
                Err(Error::File { source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        match cache.verify() {
            Ok(all) => assert!(all.iter().all(|entry| !entry.removed), "{all:?}"),
            Err(Error::File { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
            }
            Err(error) => panic!("{error:?}"),
        }
        taken.pop();
    }
    assert!(found >= 4, "{found}");
    drop(taken);
    for i in 0..4 {
        drop(get(&cache, i));
    }
    assert!(
        cache
            .verify()
            .unwrap()
            .iter()
            .all(|entry| entry.fault.is_none())
    );
}

fn fifo(path: &std::path::Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn pipes_in_the_place_of_files_make_nobody_wait() {
    let dir = Scratch::new("pipes");
    let cache = CompilationCache::open(dir.path()).unwrap();
    let (first, second) = (key(0), key(1));
    fifo(&dir.entries().join(format!("{first}.lock")));
    fifo(&dir.entries().join("prune.lock"));
    fifo(&dir.entries().join(format!("{second}.pin")));
    fifo(&dir.entry(&second));
    let start = Instant::now();
    drop(get(&cache, 0));
    drop(get(&cache, 1));
    cache.pin(&second).unwrap_err();
    cache.prune(Some(1 << 30), None).unwrap();
    cache.verify().unwrap();
    cache.usage().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(cache.stats().stores, 2);
}

#[test]
fn a_directory_without_execution_serves_copies() {
    let Some(disk) = Scratch::disk("noexec", 4000) else {
        return;
    };
    let cache = CompilationCache::open(disk.path()).unwrap();
    drop(get(&cache, 0));
    disk.remount("noexec");
    for _ in 0..2 {
        let cache = CompilationCache::open(disk.path()).unwrap();
        drop((get(&cache, 0), get(&cache, 1)));
        drop((get(&cache, 0), get(&cache, 1)));
        let stats = cache.stats();
        assert_eq!(stats.damaged + stats.store_failures, 0, "{stats:?}");
        assert_eq!(stats.compilations, stats.stores, "kept on disk: {stats:?}");
    }
    let cache = CompilationCache::open(disk.path()).unwrap();
    drop((get(&cache, 0), get(&cache, 1)));
    assert_eq!(cache.stats().disk_hits, 2);

    // Code from memory is refused too.
    let error = without(&[libc::SYS_memfd_create], libc::EACCES, || {
        cache.get_or_compile(&Engine::default(), &guests::wasm(0), &Settings::default())
    });
    let Err(error @ Error::NoCode { .. }) = error else {
        panic!("{error:?}");
    };
    let text = error.to_string();
    assert!(text.contains(disk.path().to_str().unwrap()), "{text}");
    assert!(
        text.contains("noexec") && text.contains("vm.memfd_noexec"),
        "{text}"
    );
    disk.remount("exec");
    drop(get(&CompilationCache::open(disk.path()).unwrap(), 0));
}
