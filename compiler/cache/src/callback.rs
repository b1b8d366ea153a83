//! Code of the host that the cache calls: progress callbacks, and the subscriber of events. A
//! thread that runs such code must not wait for another compilation.
//!
//! A progress callback runs in the middle of a compilation, while the slot and the lock of the
//! module are held. If the callback asks a cache for a module that is being compiled, that
//! compilation may be the one that called the callback, or one whose own callback asks for this
//! module. So a request inside of a callback does not wait, and works without the slot or the lock.
//! The same is true of an event, which its subscriber gets at once: [`event`] sends all events.

use std::cell::Cell;

thread_local! {
    static RUNNING: Cell<u32> = const { Cell::new(0) };
}

/// Sends an event of `tracing`.
macro_rules! event {
    ($level:ident, $($event:tt)*) => {
        $crate::callback::run(|| tracing::$level!($($event)*))
    };
}
pub(crate) use event;

/// Whether this thread is running a callback.
pub(crate) fn is_running() -> bool {
    RUNNING.get() > 0
}

/// Runs a callback.
pub(crate) fn run(callback: impl FnOnce()) {
    struct Running;
    impl Drop for Running {
        fn drop(&mut self) {
            RUNNING.set(RUNNING.get() - 1);
        }
    }
    RUNNING.set(RUNNING.get() + 1);
    let _running = Running;
    callback();
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use precast_compiler::Settings;
    use precast_loader::Engine;
    use tracing::field::{Field, Visit};
    use tracing::span;

    use crate::CompilationCache;
    use crate::lock::{FileLock, Locked};

    const WASM: &[u8] = b"\0asm\x01\0\0\0";

    /// Calls a function with the message of each event.
    struct Subscriber(Box<dyn Fn(String) + Send + Sync>);

    impl tracing::Subscriber for Subscriber {
        fn enabled(&self, event: &tracing::Metadata<'_>) -> bool {
            event.target().starts_with("precast_cache")
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            struct Message(String);
            impl Visit for Message {
                fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                    if field.name() == "message" {
                        self.0 = format!("{value:?}");
                    }
                }
            }
            let mut message = Message(String::new());
            event.record(&mut message);
            (self.0)(message.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    fn get(cache: &CompilationCache) {
        let module = cache.get_or_compile(&Engine::default(), WASM, &Settings::default());
        assert!(module.is_ok(), "{module:?}");
    }

    /// Gets the module in a thread with a subscriber. Fails after some minutes, so that a deadlock
    /// does not hang.
    fn get_with(cache: &CompilationCache, subscriber: impl Fn(String) + Send + Sync + 'static) {
        let (done, wait) = mpsc::channel();
        let cache = cache.clone();
        std::thread::spawn(move || {
            let subscriber = Subscriber(Box::new(subscriber));
            tracing::subscriber::with_default(subscriber, || get(&cache));
            done.send(()).ok();
        });
        wait.recv_timeout(Duration::from_secs(200))
            .expect("neither a deadlock nor a panic");
    }

    #[test]
    fn a_subscriber_can_ask_for_the_module_that_the_event_is_about() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CompilationCache::open(dir.path()).unwrap();
        let key = CompilationCache::key(WASM, &Settings::default()).unwrap();
        let directory = cache.0.directory.as_ref().unwrap();
        std::fs::write(directory.entry(&key), "damaged").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (asked, log) = (cache.clone(), Arc::clone(&heard));
        get_with(&cache, move |message| {
            log.lock().unwrap().push(message);
            get(&asked);
        });
        let heard = heard.lock().unwrap();
        assert!(
            heard.contains(&"an entry of the cache is not used".to_owned()),
            "{heard:?}"
        );
        // One is that of the request, the other that of the request inside of its callback.
        assert_eq!(cache.stats().compilations, 2);
    }

    #[test]
    fn a_wait_for_another_process_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CompilationCache::open(dir.path()).unwrap();
        let key = CompilationCache::key(WASM, &Settings::default()).unwrap();
        let path = cache.0.directory.as_ref().unwrap().lock(&key);
        // The lock belongs to an open file, so it is as if another process had it.
        let Ok(Locked::Yes(lock, _)) = FileLock::take(&path, Duration::ZERO) else {
            panic!("nobody has it");
        };
        let lock = Mutex::new(Some(lock));
        get_with(&cache, move |message| {
            if message == "waiting for another process that compiles the same module" {
                lock.lock().unwrap().take();
            }
        });
        let stats = cache.stats();
        assert_eq!((stats.waits, stats.compilations, stats.stores), (1, 1, 1));
    }
}
