//! Many runtimes and many threads share mappings, and none waits for another for ever.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use precast_cache::CompilationCache;
use precast_compiler::Settings;
use precast_loader::Engine;
use precast_loader::runtime::{InstanceConfig, Runtime};

use crate::guests::{self, check, get, key};
use crate::scratch::Scratch;

/// A mapping in `/proc/self/smaps`: its permissions and its sizes in KiB by name.
struct Area {
    permissions: String,
    lines: Vec<String>,
}

impl Area {
    fn of_file(name: &str) -> Vec<Self> {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut areas: Vec<(bool, Self)> = Vec::new();
        for line in smaps.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[0].ends_with(':') {
                areas.last_mut().unwrap().1.lines.push(line.to_owned());
            } else {
                let permissions = words[1].to_owned();
                let lines = Vec::new();
                areas.push((line.ends_with(name), Self { permissions, lines }));
            }
        }
        let ours = areas.into_iter().filter(|(ours, _)| *ours);
        ours.map(|(_, area)| area).collect()
    }

    fn kib(&self, name: &str) -> u64 {
        let line = self.lines.iter().find(|line| line.starts_with(name));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        words[1].parse().unwrap()
    }
}

#[test]
fn ten_runtimes_have_one_mapping() {
    let dir = Scratch::new("runtimes");
    let cache = CompilationCache::open(dir.path()).unwrap();
    let name = dir.entry(&key(9)).into_os_string().into_string().unwrap();
    let mut alive = Vec::new();
    for n in 1..=10 {
        let engine = Engine::default();
        let module = cache
            .get_or_compile(&engine, &guests::wasm(9), &Settings::default())
            .unwrap();
        let runtime: Runtime = Runtime::new(&engine);
        for i in 0..3 {
            let config = InstanceConfig::new().with_name(format!("guest{i}"));
            let instance = runtime.instantiate(&module, config).unwrap();
            let result = instance.call_typed::<i32, i32>("f", 7).unwrap();
            alive.push((runtime.clone(), instance, result));
        }
        let areas = Area::of_file(&name);
        let count = |what: &str| areas.iter().filter(|a| a.permissions == what).count();
        // The artifact is mapped once: its text, and the parts before and after that are only read.
        // Besides, each instance has a copy-on-write mapping of its image.
        assert_eq!(count("r-xp"), 1, "text, with {n} runtimes");
        assert_eq!(count("rw-p"), 3 * n, "images");
        assert!(areas.len() <= 3 * n + 4, "{}", areas.len());
        for text in areas.iter().filter(|a| a.permissions == "r-xp") {
            let private = (text.kib("Private_Dirty:"), text.kib("Anonymous:"));
            assert_eq!(
                private,
                (0, 0),
                "pages of the text that are this process's own"
            );
        }
    }
    assert_eq!(cache.stats().compilations, 1);
    assert!(alive.windows(2).all(|pair| pair[0].2 == pair[1].2));
    let patched: u64 = Area::of_file(&name)
        .iter()
        .filter(|area| area.permissions == "r--p")
        .map(|area| area.kib("Private_Dirty:"))
        .sum();
    assert!(patched <= 4, "KiB of the GOT: {patched}");
    drop((alive, cache));
    assert!(Area::of_file(&name).is_empty());
}

/// Two threads run instances all the time while other threads get, run and drop modules from memory
/// and from disk, until the two have made progress beside each of them.
#[test]
fn modules_come_and_go_while_others_run() {
    const ROUNDS: usize = 60;
    let (done, wait) = mpsc::channel();
    let test = std::thread::spawn(move || {
        let dir = Scratch::new("come-and-go");
        let cache = CompilationCache::open(dir.path()).unwrap();
        let (over, calls) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
        let long = get(&cache, 20);
        std::thread::scope(|scope| {
            for calls in &calls {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        check(20, &long).unwrap();
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let loaders: Vec<_> = (0..4)
                .map(|thread| {
                    let (cache, calls) = (&cache, &calls);
                    scope.spawn(move || {
                        let at = |i: usize| calls[i].load(Ordering::Relaxed);
                        let before = [at(0), at(1)];
                        let mut kept = Vec::new();
                        let others_went_on = || (0..2).all(|i| at(i) > before[i]);
                        // On a busy machine, other threads may not get a processor for a while.
                        for round in (0..).take_while(|n| *n < ROUNDS || !others_went_on()) {
                            kept.push(get(cache, (round * 7 + thread) % 10));
                            if round % 5 == thread {
                                kept.clear();
                            }
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = loaders.into_iter().map(|t| t.join()).collect();
            over.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|ended| ended.unwrap());
        });
        let stats = cache.stats();
        assert_eq!(stats.compilations, 11);
        assert!(stats.disk_hits > 0 && stats.memory_hits > 0, "{stats:?}");
        done.send(()).unwrap();
    });
    let in_time = wait.recv_timeout(Duration::from_secs(300));
    if in_time == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("not done after five minutes: somebody waits for somebody");
    }
    test.join().unwrap();
}
