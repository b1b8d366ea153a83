//! Guests that wait for the system are ended as quickly as guests that compute: by a deadline, by
//! an interrupt handle, by cancelling, and by closing.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy, TrapCode};
use precast_loader::runtime::{Context, HostModule, InstanceConfig, Runtime, State};
use precast_loader::{Config, Engine, Error, InterruptHandle, Linker, Store, UpdateDeadline};
use precast_tests::executor::block_on;
use precast_tests::{Source, child, refuse};
use precast_wasi::{DirAccess, WasiCtx, WasiCtxBuilder, add_to_linker, add_to_linker_async};
use tempfile::TempDir;

/// A module with functions that wait. `sleep` takes a minute, `read` reads standard input,
/// `read_on` does so for ever, `poll` waits for standard input or a minute, `read_pipe` opens and
/// reads the file `pipe` of directory 3, and `poll_pipe` waits for that file.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "pipe")
  (data (i32.const 16) "\40\00\00\00\10\00\00\00")
  ;; At 256: a clock, monotonic, in 60 s; at 304: reading from descriptor 0.
  (data (i32.const 256) "\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\00\58\47\f8\0d\00\00\00")
  (data (i32.const 304) "\02\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00")
  (func (export "sleep") (result i32)
    (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 8)))
  (func (export "read") (result i32)
    (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 8)))
  (func (export "read_on") (result i32) (local $errno i32)
    (loop $next
      (local.set $errno (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 8)))
      (br_if $next (i32.eqz (local.get $errno))))
    (local.get $errno))
  (func (export "poll") (result i32)
    (call $poll (i32.const 256) (i32.const 512) (i32.const 2) (i32.const 8)))
  (func $open_pipe
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
          (i64.const 0x200002) (i64.const 0x200002) (i32.const 0) (i32.const 8))
      (then unreachable)))
  (func (export "read_pipe") (result i32)
    (call $open_pipe)
    (call $read (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 8)))
  (func (export "poll_pipe") (result i32)
    (call $open_pipe)
    (i32.store (i32.const 320) (i32.load (i32.const 8)))
    (call $poll (i32.const 256) (i32.const 512) (i32.const 2) (i32.const 8))))"#;

const CALLS: [&str; 5] = ["sleep", "read", "poll", "read_pipe", "poll_pipe"];

fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

/// A directory with a pipe, and an open end of the pipe for writing, to which nothing is written.
struct Pipe {
    dir: TempDir,
    _writer: std::fs::File,
}

impl Pipe {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let c_path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is a C string.
        assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
        // Opening both ends at once does not wait for another process.
        let mut options = std::fs::File::options();
        let _writer = options.read(true).write(true).open(path).unwrap();
        Self { dir, _writer }
    }

    fn wasi(&self) -> WasiCtx {
        let wasi = WasiCtxBuilder::new().inherit_stdin();
        wasi.preopened_dir(self.dir.path(), "/", DirAccess::ReadWrite)
            .unwrap()
            .build()
    }
}

/// Runs a test of this file in a process whose standard input is a pipe to which nothing is
/// written. Returns whether this is that process.
fn with_a_silent_input(test: &str) -> bool {
    if child::case().is_some() {
        return true;
    }
    let (input, _writer) = io::pipe().unwrap();
    child::passes_in_child_with(&format!("deadlines::{test}"), "silent input", |command| {
        command.stdin(input);
    });
    false
}

fn linker<T: 'static>(
    engine: &Engine,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
) -> Linker<T> {
    let mut linker = Linker::new(engine);
    add_to_linker(&mut linker, get).unwrap();
    linker
}

/// Much longer than any call here should go on, and much shorter than what the guests wait for.
const SOON: Duration = Duration::from_secs(20);

/// The median of the delays with which calls ended. The machine may be busy with other tests, so
/// single delays may be long.
fn median(mut late: Vec<Duration>) -> Duration {
    late.sort();
    late[late.len() / 2]
}

#[test]
fn an_interrupt_ends_every_waiting_call() {
    if !with_a_silent_input("an_interrupt_ends_every_waiting_call") {
        return;
    }
    let (engine, pipe) = (engine(), Pipe::new());
    for strategy in precast_tests::strategies() {
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let module = source.module(&engine, GUEST);
        let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
        let ended = |name, by| {
            let mut store = Store::new(&engine, pipe.wasi());
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let handle = store.interrupt_handle();
            if by == 4 {
                store.set_epoch_deadline(1).unwrap();
            }
            let raised = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                if by == 4 {
                    engine.increment_epoch();
                } else {
                    handle.interrupt();
                }
                Instant::now()
            });
            let func = instance
                .get_typed_func::<(), i32>(&mut store, name)
                .unwrap();
            let error = func.call(&mut store, ()).unwrap_err();
            let late = raised.join().unwrap().elapsed();
            assert_eq!(error.trap().unwrap(), TrapCode::Interrupt, "{error}");
            late
        };
        for name in CALLS {
            // A guest that looked only from time to time would be late each time. Threads of a
            // machine that does much else are late sometimes.
            let late = || median((0..5).map(|by| ended(name, by)).collect());
            let least = (0..20)
                .map(|_| late())
                .find(|late| *late < Duration::from_millis(50));
            assert!(least.is_some(), "{name}: always late");
        }
    }
}

/// Several guests wait for the same pipe. All see input, and only one of them gets it.
#[test]
fn a_guest_whose_input_another_reader_takes_can_be_ended() {
    let (input, mut writer) = io::pipe().unwrap();
    let engine = engine();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    let (send, receive) = std::sync::mpsc::channel();
    let handles: Vec<_> = (0..8)
        .map(|_| {
            let wasi = WasiCtxBuilder::new().stdin_from(input.try_clone().unwrap());
            let mut store = Store::new(&engine, wasi.build());
            let handle = store.interrupt_handle();
            let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
            let (module, send) = (module.clone(), send.clone());
            thread::spawn(move || {
                let instance = linker.instantiate(&mut store, &module).unwrap();
                let func = instance
                    .get_typed_func::<(), i32>(&mut store, "read_on")
                    .unwrap();
                let ended = func.call(&mut store, ()).unwrap_err().trap();
                send.send(ended).unwrap();
            });
            handle
        })
        .collect();
    for _ in 0..100 {
        writer.write_all(b"x").unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    handles.iter().for_each(InterruptHandle::interrupt);
    for _ in handles {
        let ended = receive.recv_timeout(SOON).unwrap();
        assert_eq!(ended, Some(TrapCode::Interrupt));
    }
}

/// A guest that has used up the descriptors of the process leaves none for the event that wakes it.
#[test]
fn an_interrupt_ends_every_waiting_call_without_descriptors() {
    if !with_a_silent_input("an_interrupt_ends_every_waiting_call_without_descriptors") {
        return;
    }
    let (engine, pipe) = (engine(), Pipe::new());
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: the limit is a valid pointer.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0);
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
    for name in CALLS {
        let mut store = Store::new(&engine, pipe.wasi());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let handle = store.interrupt_handle();
        let func = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        let mut all: Vec<_> =
            std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        assert!(handle.wait(|_| ()).is_err(), "there is a descriptor left");
        if name.ends_with("_pipe") {
            // The descriptor that the guest opens.
            all.pop();
        }
        let raised = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            handle.interrupt();
            Instant::now()
        });
        let error = func.call(&mut store, ()).unwrap_err();
        let late = raised.join().unwrap().elapsed();
        assert_eq!(error.trap().unwrap(), TrapCode::Interrupt, "{error}");
        assert!(late < SOON, "{name}: {late:?} late");
    }
}

/// Makes the system refuse to start threads for this thread.
fn refuse_threads() {
    refuse(&[libc::SYS_clone, libc::SYS_clone3], libc::EAGAIN);
    assert!(thread::Builder::new().spawn(|| ()).is_err());
}

/// A guest that is suspended without a thread to wake it sleeps with the thread of its executor.
#[test]
fn an_interrupt_ends_a_suspended_call_without_threads() {
    let test = "deadlines::an_interrupt_ends_a_suspended_call_without_threads";
    if child::case().is_none() {
        return child::passes_in_child(test, "no threads");
    }
    let engine = engine();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    let mut linker = Linker::new(&engine);
    add_to_linker_async(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
    let mut store = Store::new(&engine, WasiCtxBuilder::new().build());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let sleep = instance
        .get_typed_func::<(), i32>(&mut store, "sleep")
        .unwrap();
    let handle = store.interrupt_handle();
    let raised = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        handle.interrupt();
        Instant::now()
    });
    refuse_threads();
    let error = block_on(sleep.call_async(&mut store, ())).unwrap_err();
    let late = raised.join().unwrap().elapsed();
    assert_eq!(error.trap().unwrap(), TrapCode::Interrupt, "{error}");
    assert!(late < SOON, "{late:?} late");
}

/// A host that interrupts a guest and takes that back at once has not ended anything.
#[test]
fn an_interrupt_that_is_taken_back_does_not_end_a_wait() {
    if !with_a_silent_input("an_interrupt_that_is_taken_back_does_not_end_a_wait") {
        return;
    }
    let (engine, pipe) = (engine(), Pipe::new());
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
    for name in ["sleep", "poll", "poll_pipe"] {
        let mut store = Store::new(&engine, pipe.wasi());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let time = Duration::from_millis(200);
        let nanoseconds = (time.as_nanos() as u64).to_le_bytes();
        memory.write(&mut store, 256 + 24, &nanoseconds).unwrap();
        let handle = store.interrupt_handle();
        let func = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        let start = Instant::now();
        let raised = thread::spawn(move || {
            for _ in 0..5 {
                thread::sleep(Duration::from_millis(20));
                handle.interrupt();
                handle.clear();
            }
        });
        let result = func.call(&mut store, ());
        // The guest ends if it is faster than the host.
        let is_ended = result.is_err_and(|error| error.trap() == Some(TrapCode::Interrupt));
        assert!(
            is_ended || start.elapsed() >= time,
            "{name}: {:?}",
            start.elapsed()
        );
        raised.join().unwrap();
    }
}

#[test]
fn deadlines_cancelling_and_closing_end_every_waiting_call() {
    if !with_a_silent_input("deadlines_cancelling_and_closing_end_every_waiting_call") {
        return;
    }
    let (engine, pipe) = (engine(), Pipe::new());
    let linker = linker(&engine, |state: &mut State<Option<WasiCtx>>| {
        state.data_mut().as_mut().unwrap()
    });
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    for name in CALLS {
        for way in ["deadline", "cancel", "close", "close the runtime"] {
            let runtime: Runtime<Option<WasiCtx>> = Runtime::with_data(&engine, || None);
            HostModule::builder("wasi_snapshot_preview1")
                .funcs_of(&linker, "wasi_snapshot_preview1")
                .instantiate(&runtime)
                .unwrap();
            let config = InstanceConfig::new().with_data(Some(pipe.wasi()));
            let instance = runtime.instantiate(&module, config).unwrap();
            let context = match way {
                "deadline" => Context::with_timeout(Duration::from_millis(20)),
                _ => Context::new(),
            };
            let start = Barrier::new(2);
            let error = thread::scope(|scope| {
                let call = scope.spawn(|| {
                    start.wait();
                    instance.with_context(&context).call(name, &[]).unwrap_err()
                });
                start.wait();
                thread::sleep(Duration::from_millis(20));
                match way {
                    "deadline" => {}
                    "cancel" => context.cancel(),
                    "close" => instance.close(),
                    _ => runtime.close(),
                }
                let end = Instant::now();
                let error = call.join().unwrap();
                let late = end.elapsed();
                assert!(late < SOON, "{name}, {way}: {late:?} late");
                error
            });
            let expected = match way {
                "deadline" => matches!(error, Error::DeadlineExceeded),
                "cancel" => matches!(error, Error::Canceled),
                _ => matches!(error, Error::Closed { .. }),
            };
            assert!(expected, "{name}, {way}: {error}");
        }
    }
}

/// Whether a pipe has bytes that nobody has read.
fn is_unread(pipe: &io::PipeReader) -> bool {
    let mut bytes = 0;
    // SAFETY: the call only writes to a local variable.
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    assert_eq!(done, 0);
    bytes > 0
}

#[test]
fn input_that_comes_ends_the_waiting() {
    if child::case().is_none() {
        let (input, mut writer) = io::pipe().unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (unread, is_over) = (input.try_clone().unwrap(), &is_over);
            scope.spawn(move || {
                for _ in 0..2 {
                    thread::sleep(Duration::from_millis(100));
                    writer.write_all(b"0123456789abcdef").unwrap();
                    // The guest, which may be slow, expects no more than this at once.
                    while is_unread(&unread) && !is_over.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
            let test = "deadlines::input_that_comes_ends_the_waiting";
            let ran = child::in_child_with(test, "input", |command| {
                command.stdin(input);
            });
            is_over.store(true, Ordering::Relaxed);
            assert!(ran.status.success(), "{ran:?}");
        });
        return;
    }
    let engine = engine();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
    let mut store = Store::new(&engine, WasiCtxBuilder::new().inherit_stdin().build());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    for name in ["poll", "read", "poll", "read"] {
        let func = instance
            .get_typed_func::<(), i32>(&mut store, name)
            .unwrap();
        assert_eq!(func.call(&mut store, ()).unwrap(), 0, "{name}");
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        if name == "read" {
            let got = &memory.data(&store)[64..80];
            assert_eq!(got, b"0123456789abcdef");
        } else {
            // The single event says that 16 bytes can be read.
            assert_eq!(memory.data(&store)[8], 1);
            assert_eq!(memory.data(&store)[512..514], [2, 0]);
            assert_eq!(memory.data(&store)[528], 16);
        }
    }
}

/// A deadline with a callback of the host does not end a wait: the guest continues to wait, and the
/// callback runs afterwards.
#[test]
fn a_deadline_that_the_host_decides_about_ends_no_wait() {
    if !with_a_silent_input("a_deadline_that_the_host_decides_about_ends_no_wait") {
        return;
    }
    let (engine, pipe) = (engine(), Pipe::new());
    for strategy in precast_tests::strategies() {
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let module = source.module(&engine, GUEST);
        let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
        for name in ["sleep", "poll", "poll_pipe"] {
            for passed_before in [false, true] {
                let mut store = Store::new(&engine, pipe.wasi());
                store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(u64::MAX)));
                let instance = linker.instantiate(&mut store, &module).unwrap();
                let memory = instance.get_memory(&mut store, "memory").unwrap();
                let time = Duration::from_millis(40);
                let nanoseconds = (time.as_nanos() as u64).to_le_bytes();
                memory.write(&mut store, 256 + 24, &nanoseconds).unwrap();
                let func = instance
                    .get_typed_func::<(), i32>(&mut store, name)
                    .unwrap();
                store.set_epoch_deadline(1).unwrap();
                if passed_before {
                    engine.increment_epoch();
                }
                thread::scope(|scope| {
                    scope.spawn(|| {
                        thread::sleep(Duration::from_millis(10));
                        engine.increment_epoch();
                    });
                    let start = Instant::now();
                    assert_eq!(func.call(&mut store, ()).unwrap(), 0, "{name}");
                    assert!(start.elapsed() >= time, "{name}: {:?}", start.elapsed());
                });
            }
        }
    }
}

/// Random numbers for a whole memory take seconds: a guest that asks for them ends in between.
#[test]
fn a_guest_ends_while_it_gets_random_numbers() {
    let engine = engine();
    for shared in ["", "shared"] {
        let wat = format!(
            r#"(module
              (import "wasi_snapshot_preview1" "random_get"
                (func $random (param i32 i32) (result i32)))
              (memory (export "memory") 8192 8192 {shared})
              (func (export "run") (result i32)
                (call $random (i32.const 0) (i32.const 0x20000000))))"#
        );
        let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
        let module = source.module(&engine, &wat);
        let linker = linker(&engine, |wasi: &mut WasiCtx| wasi);
        let bytes = Arc::new(AtomicUsize::new(0));
        let handle = Arc::<OnceLock<InterruptHandle>>::default();
        let (count, within) = (Arc::clone(&bytes), Arc::clone(&handle));
        // The guest is interrupted while it gets the second MiB.
        let wasi = WasiCtxBuilder::new().random(move |piece| {
            if count.fetch_add(piece.len(), Ordering::Relaxed) > 1 << 20 {
                within.get().unwrap().interrupt();
            }
        });
        let mut store = Store::new(&engine, wasi.build());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        handle.set(store.interrupt_handle()).unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.trap().unwrap(), TrapCode::Interrupt);
        let bytes = bytes.load(Ordering::Relaxed);
        assert!(bytes < 0x2000_0000, "{bytes} random bytes");
    }
}

/// A host function of the embedder waits for a socket, and is ended with the guest.
#[test]
fn host_functions_of_others_can_wait_so_too() {
    let engine = engine();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let socket = OwnedFd::from(ours);
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap(
            "net",
            "wait",
            move |mut caller: precast_loader::Caller<'_, ()>| {
                let handle =
                    precast_loader::AsContextMut::as_context_mut(&mut caller).interrupt_handle();
                let waited = handle.wait(|interrupt| {
                    let pollfd = |fd| libc::pollfd {
                        fd,
                        events: libc::POLLIN,
                        revents: 0,
                    };
                    let mut fds = [pollfd(socket.as_raw_fd()), pollfd(interrupt.as_raw_fd())];
                    // SAFETY: the array has two elements.
                    unsafe { libc::poll(fds.as_mut_ptr(), 2, 60_000) };
                });
                assert!(waited.is_ok());
                i32::from(handle.is_interrupted())
            },
        )
        .unwrap();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let wat = r#"(module (import "net" "wait" (func $wait (result i32)))
        (func (export "run") (result i32) (call $wait)))"#;
    let module = source.module(&engine, wat);
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .unwrap();
    let handle = store.interrupt_handle();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            handle.interrupt();
        });
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.trap().unwrap(), TrapCode::Interrupt);
    });
    assert!(start.elapsed() < SOON);
    handle.clear();
    (&theirs).write_all(b"!").unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), 0);
}
