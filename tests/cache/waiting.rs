//! Which threads and processes wait for which. A test fails after some minutes, so that a deadlock
//! does not hang.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::time::Duration;

use precast_cache::CompilationCache;
use precast_compiler::Settings;
use precast_loader::{Engine, Module};
use precast_tests::{child, child_process};

use crate::guests::{self, check, get};
use crate::scratch::Scratch;

/// Runs `test` for at most five minutes. Only on a busy machine it needs more than a moment.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match wait.recv_timeout(Duration::from_secs(300)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a deadlock"),
        _ => thread.join().unwrap(),
    }
}

fn get_with(cache: &CompilationCache, i: usize, progress: &(dyn Fn() + Sync)) -> Module {
    let module = cache
        .get_or_compile_with_progress(
            &Engine::default(),
            &guests::wasm(i),
            &Settings::default(),
            &|_, _| progress(),
        )
        .unwrap();
    check(i, &module).unwrap();
    module
}

#[test]
fn a_thread_compiles_while_all_workers_of_the_global_pool_wait_for_it() {
    in_time(|| {
        let cache = CompilationCache::in_memory();
        let workers = rayon::current_num_threads();
        let (begun, waiting) = (Barrier::new(2), Barrier::new(workers + 1));
        let first = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                get_with(&cache, 13, &|| {
                    if first.fetch_add(1, Ordering::SeqCst) == 0 {
                        begun.wait();
                        waiting.wait();
                        // Long enough for all workers to be waiting in the cache.
                        std::thread::sleep(Duration::from_millis(100));
                    }
                })
            });
            begun.wait();
            rayon::scope(|scope| {
                for _ in 0..workers {
                    scope.spawn(|_| {
                        waiting.wait();
                        drop(get(&cache, 13));
                    });
                }
            });
            thread.join().unwrap();
        });
        assert_eq!(cache.stats().compilations, 1);
    });
}

#[test]
fn a_progress_callback_can_ask_for_its_own_module() {
    in_time(|| {
        let dir = Scratch::new("callback");
        for cache in [
            CompilationCache::in_memory(),
            CompilationCache::open(dir.path()).unwrap(),
        ] {
            for threads in [None, Some(1), Some(4)] {
                let settings = Settings {
                    threads,
                    ..Settings::default()
                };
                cache.clear().unwrap();
                let asked = AtomicUsize::new(0);
                let progress = |_, _| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    drop(get_with(&cache, 13, &|| {
                        panic!("no progress of a second try")
                    }));
                };
                let module = cache.get_or_compile_with_progress(
                    &Engine::default(),
                    &guests::wasm(13),
                    &settings,
                    &progress,
                );
                check(13, &module.unwrap()).unwrap();
                assert_eq!(asked.into_inner(), 37, "once for each function");
            }
        }
    });
}

#[test]
fn callbacks_of_two_compilations_can_ask_for_each_others_modules() {
    in_time(|| {
        let dir = Scratch::new("callbacks");
        for cache in [
            CompilationCache::in_memory(),
            CompilationCache::open(dir.path()).unwrap(),
        ] {
            let both = Barrier::new(2);
            let ask = |own: usize, other: usize| {
                let first = AtomicUsize::new(0);
                get_with(&cache, own, &|| {
                    if first.fetch_add(1, Ordering::SeqCst) == 0 {
                        both.wait();
                        drop(get(&cache, other));
                        both.wait();
                    }
                })
            };
            std::thread::scope(|scope| {
                scope.spawn(|| ask(5, 6));
                scope.spawn(|| ask(6, 5));
            });
            // The two outer requests compile. So do the two inner ones, because they do not wait
            // for the outer ones.
            assert_eq!(cache.stats().compilations, 4);
        }
    });
}

#[test]
fn a_panic_in_a_callback_leaves_nothing_locked() {
    in_time(|| {
        let cache = CompilationCache::in_memory();
        let caught = std::panic::catch_unwind(|| get_with(&cache, 3, &|| panic!("of the host")));
        assert_eq!(
            caught.unwrap_err().downcast_ref::<&str>(),
            Some(&"of the host")
        );
        drop(get(&cache, 3));
    });
}

/// A thread that compiles a module while another one forks holds the module's slot, and is not in
/// the child.
#[test]
fn a_child_compiles_what_a_thread_of_its_parent_was_compiling() {
    if child::case().is_none() {
        let name = "waiting::a_child_compiles_what_a_thread_of_its_parent_was_compiling";
        return child::passes_in_child(name, "fork");
    }
    let cache = CompilationCache::in_memory();
    // A module that the parent has is one that the child has.
    let kept = get(&cache, 7);
    let compilations = cache.stats().compilations;
    let begun = Barrier::new(2);
    let first = AtomicUsize::new(0);
    // The thread goes on when the sender is gone, also if the child hangs and this test fails.
    let (sender, forked) = mpsc::channel::<()>();
    let forked = Mutex::new(forked);
    std::thread::scope(|scope| {
        let sender = sender;
        let thread = scope.spawn(|| {
            get_with(&cache, 13, &|| {
                if first.fetch_add(1, Ordering::SeqCst) == 0 {
                    begun.wait();
                    forked.lock().unwrap().recv().unwrap_err();
                }
            })
        });
        begun.wait();
        let passed = child_process(0, || {
            let same = get(&cache, 7);
            let again = cache.stats().compilations == compilations;
            let module = get(&cache, 13);
            again && check(7, &same).is_ok() && check(13, &module).is_ok()
        });
        drop(sender);
        thread.join().unwrap();
        assert_eq!(passed, Some(true));
    });
    drop(kept);
}
