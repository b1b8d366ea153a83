//! Guests that write into a pipe, a socket or a terminal whose other side does not read. They wait
//! until all of their bytes are written, and are ended like other waiting guests.

use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy, TrapCode};
use precast_loader::{Config, Engine, Linker, Store};
use precast_tests::Source;
use precast_wasi::{DirAccess, SharedWasiCtx, WasiCtx, WasiCtxBuilder, WasiView, add_to_linker};

/// `write` writes 32 KiB to standard output, `poll` waits for room there or for a minute,
/// `open_and_write` writes the same to the file `pipe` of directory 3 again and again, and
/// `answer_at_once` makes standard output nonblocking.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "pipe")
  (data (i32.const 16) "\00\80\00\00\00\50\00\00\00\d0\00\00\00\30\00\00")
  ;; At 256: a clock, monotonic, in 60 s; at 304: writing to descriptor 1.
  (data (i32.const 256) "\01\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00\00\58\47\f8\0d\00\00\00")
  (data (i32.const 304) "\02\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\01\00\00\00")
  (func (export "write") (result i32)
    (call $write (i32.const 1) (i32.const 16) (i32.const 2) (i32.const 8)))
  (func (export "poll") (result i32)
    (call $poll (i32.const 256) (i32.const 512) (i32.const 2) (i32.const 8)))
  (func (export "answer_at_once") (result i32)
    (call $flags (i32.const 1) (i32.const 4)))
  (func (export "open_and_write") (result i32)
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
          (i64.const 0x40) (i64.const 0x40) (i32.const 0) (i32.const 8))
      (then (return (i32.const -1))))
    (loop $again
      (br_if $again (i32.eqz (call $write
        (i32.load (i32.const 8)) (i32.const 16) (i32.const 2) (i32.const 12)))))
    (i32.const -2)))"#;

/// Bytes that one call of `write` writes.
const LEN: usize = 0x8000;

/// Bytes that Linux keeps for the reader of a terminal.
const TERMINAL: i32 = 4095;

/// What a guest writes to, and the side that reads.
struct Sides {
    target: OwnedFd,
    reader: OwnedFd,
}

const KINDS: [&str; 4] = ["pipe", "named pipe", "terminal", "socket"];

impl Sides {
    fn new(kind: &str) -> Self {
        let (target, reader) = match kind {
            "pipe" => {
                let (reader, writer) = io::pipe().unwrap();
                (writer.into(), reader.into())
            }
            "named pipe" => {
                let (dir, reader) = named_pipe();
                let mut options = std::fs::File::options();
                let writer = options.write(true).open(dir.path().join("pipe")).unwrap();
                (writer.into(), reader)
            }
            "terminal" => terminal(),
            _ => {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                (ours.into(), theirs.into())
            }
        };
        Self { target, reader }
    }

    /// Writes until there is no room for another byte. The system moves bytes of a terminal on to
    /// its reader a little later, and there is room again until the reader's side is full.
    fn fill(&self) {
        let fd = self.target.as_raw_fd();
        let bytes = [b'.'; 4096];
        let write = |len| {
            // SAFETY: the bytes are only read.
            unsafe { libc::write(fd, bytes.as_ptr().cast(), len) > 0 }
        };
        // SAFETY: the descriptor is open.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
        loop {
            let is_moved = !self.target.is_terminal() || unread(&self.reader) == TERMINAL;
            let mut is_full = true;
            while write(bytes.len()) || write(1) {
                is_full = false;
            }
            if is_moved && is_full {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // SAFETY: as above.
        unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
    }

    fn stdout(&self) -> WasiCtxBuilder {
        WasiCtxBuilder::new().stdout_to(self.target.try_clone().unwrap())
    }
}

/// The number of bytes that a reader would get.
fn unread(reader: &OwnedFd) -> i32 {
    let mut bytes = 0;
    // SAFETY: the call only writes to a local variable.
    let done = unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    assert_eq!(done, 0);
    bytes
}

/// A directory with a named pipe, and the side of the pipe that reads.
fn named_pipe() -> (tempfile::TempDir, OwnedFd) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let c_path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
    // Opening both ends at once does not wait for another process.
    let mut options = std::fs::File::options();
    let both = options.read(true).write(true).open(&path).unwrap();
    let reader = std::fs::File::open(path).unwrap();
    drop(both);
    (dir, reader.into())
}

/// Both sides of a terminal that passes on bytes as they are.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut reader, mut target) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: the calls write to the two numbers and to the attributes, and the descriptors are
    // new.
    unsafe {
        let made = libc::openpty(&mut reader, &mut target, null, null.cast(), null.cast());
        assert_eq!(made, 0);
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(target, &mut attributes), 0);
        libc::cfmakeraw(&mut attributes);
        assert_eq!(libc::tcsetattr(target, libc::TCSANOW, &attributes), 0);
        (OwnedFd::from_raw_fd(target), OwnedFd::from_raw_fd(reader))
    }
}

fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

/// Calls a function of the guest. Another thread interrupts the guest after 20 ms.
fn interrupted<W: WasiView + 'static>(wasi: W, strategy: Strategy, name: &str) {
    let engine = engine();
    let source = Source::new(strategy).interruption(Interruption::Epoch);
    let module = source.module(&engine, GUEST);
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut W| wasi).unwrap();
    let mut store = Store::new(&engine, wasi);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let handle = store.interrupt_handle();
    let raised = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        handle.interrupt();
        Instant::now()
    });
    let func = instance.get_typed_func::<(), i32>(&mut store, name);
    let ended = func.unwrap().call(&mut store, ());
    let late = raised.join().unwrap().elapsed();
    let error = ended.unwrap_err();
    assert_eq!(error.trap().unwrap(), TrapCode::Interrupt, "{error}");
    assert!(late < Duration::from_secs(20), "{name}: {late:?} late");
}

#[test]
fn an_interrupt_ends_a_write_into_what_is_full() {
    for kind in KINDS {
        for name in ["write", "poll"] {
            let sides = Sides::new(kind);
            sides.fill();
            for strategy in precast_tests::strategies() {
                interrupted(sides.stdout().build(), strategy, name);
            }
            let shared = SharedWasiCtx::new(sides.stdout().build());
            interrupted(shared, Strategy::Guarded, name);
        }
    }
}

#[test]
fn an_interrupt_ends_writes_into_a_pipe_that_the_guest_opened() {
    let (dir, reader) = named_pipe();
    let wasi = || {
        let wasi = WasiCtxBuilder::new();
        let wasi = wasi.preopened_dir(dir.path(), "/", DirAccess::ReadWrite);
        wasi.unwrap().build()
    };
    interrupted(wasi(), Strategy::Guarded, "open_and_write");
    let shared = SharedWasiCtx::new(wasi());
    interrupted(shared, Strategy::Guarded, "open_and_write");
    drop(reader);
}

/// Opening a named pipe for writing waits for a reader.
#[test]
fn an_interrupt_ends_the_opening_of_a_pipe_that_nobody_reads() {
    let (dir, reader) = named_pipe();
    drop(reader);
    let wasi = WasiCtxBuilder::new();
    let wasi = wasi.preopened_dir(dir.path(), "/", DirAccess::ReadWrite);
    interrupted(wasi.unwrap().build(), Strategy::Guarded, "open_and_write");
}

fn instance(engine: &Engine, wasi: WasiCtx) -> (Store<WasiCtx>, precast_loader::Instance) {
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(engine, GUEST);
    let mut linker = Linker::new(engine);
    add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
    let mut store = Store::new(engine, wasi);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn a_slow_reader_gets_everything() {
    const CALLS: usize = 40;
    for kind in KINDS {
        let Sides { target, reader } = Sides::new(kind);
        let engine = engine();
        let (mut store, instance) =
            instance(&engine, WasiCtxBuilder::new().stdout_to(target).build());
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let text: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8 + 1).collect();
        memory.write(&mut store, 0x8000, &text[..0x5000]).unwrap();
        memory.write(&mut store, 0xd000, &text[0x5000..]).unwrap();
        let write = instance.get_typed_func::<(), i32>(&mut store, "write");
        let write = write.unwrap();
        let guest = thread::spawn(move || {
            for _ in 0..CALLS {
                assert_eq!(write.call(&mut store, ()).unwrap(), 0);
                let written = &memory.data(&store)[8..12];
                assert_eq!(written, (LEN as u32).to_le_bytes());
            }
            // The terminal keeps no bytes after its last user is gone.
            store
        });
        let mut reader = std::fs::File::from(reader);
        let mut got = Vec::new();
        while got.len() < CALLS * LEN {
            if got.len() % (LEN * 10) < 4096 {
                thread::sleep(Duration::from_millis(5));
            }
            let mut bytes = [0; 8191];
            let n = reader.read(&mut bytes).unwrap();
            assert_ne!(n, 0, "{kind}: the guest has closed its side");
            got.extend_from_slice(&bytes[..n]);
        }
        assert!(got == text.repeat(CALLS), "{kind}");
        guest.join().unwrap();
    }
}

/// A guest can ask for nonblocking writes. The host's descriptor, which others share, does not
/// change.
#[test]
fn a_guest_that_does_not_wait_is_told_so() {
    for kind in KINDS {
        let sides = Sides::new(kind);
        sides.fill();
        let engine = engine();
        let (mut store, instance) = instance(&engine, sides.stdout().build());
        let mut call = |name| {
            let func = instance.get_typed_func::<(), i32>(&mut store, name);
            func.unwrap().call(&mut store, ()).unwrap()
        };
        assert_eq!(call("answer_at_once"), 0);
        // `AGAIN`.
        assert_eq!(call("write"), 6, "{kind}");
        // SAFETY: the descriptor is open.
        let flags = unsafe { libc::fcntl(sides.target.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_NONBLOCK, 0, "{kind}");
        // As soon as there is room, the guest is told so.
        let reader = sides.reader.try_clone().unwrap();
        let taking = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            let mut reader = std::fs::File::from(reader);
            // SAFETY: the descriptor is open.
            unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            while reader.read(&mut [0; 4096]).is_ok() {}
        });
        let start = Instant::now();
        assert_eq!(call("poll"), 0);
        assert!(start.elapsed() < Duration::from_secs(20), "{kind}");
        taking.join().unwrap();
        assert_eq!(call("write"), 0, "{kind}");
        drop(sides);
    }
}

/// The reader is gone: writing is an error, not a wait.
#[test]
fn nobody_waits_for_a_reader_that_is_gone() {
    for kind in ["pipe", "named pipe", "socket"] {
        let Sides { target, reader } = Sides::new(kind);
        let sides = Sides {
            reader: target.as_fd().try_clone_to_owned().unwrap(),
            target,
        };
        sides.fill();
        drop(reader);
        let engine = engine();
        let (mut store, instance) = instance(&engine, sides.stdout().build());
        let write = instance.get_typed_func::<(), i32>(&mut store, "write");
        // `PIPE`. Rust's programs ignore the signal.
        let answer = write.unwrap().call(&mut store, ()).unwrap();
        assert_eq!(answer, 64, "{kind}");
    }
}
