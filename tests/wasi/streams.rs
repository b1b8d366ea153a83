//! Streams that the host reads and writes while the guest runs, replaced clocks, and WASI in a
//! runtime.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{Context, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, Error, Val};
use precast_tests::Source;
use precast_wasi::{OutputPipe, WasiCtx, WasiCtxBuilder};

/// Copies lines from the input to the output until the input ends.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $next
      (i32.store (i32.const 0) (i32.const 64))
      (i32.store (i32.const 4) (i32.const 1000))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (if (i32.load (i32.const 8)) (then
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (br $next))))))"#;

fn runtime(make: impl Fn() -> WasiCtx + Send + Sync + 'static) -> Runtime<WasiCtx> {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let runtime = Runtime::with_data(&engine, make);
    precast_wasi::instantiate(&runtime, |wasi| wasi).unwrap();
    runtime
}

fn module(runtime: &Runtime<WasiCtx>, wat: &str) -> precast_loader::Module {
    Source::new(Strategy::Guarded)
        .interruption(Interruption::Epoch)
        .module(runtime.engine(), wat)
}

/// As the page about moving from wazero says.
#[test]
fn a_runtime_tells_how_a_command_ended() {
    let runtime = runtime(|| WasiCtxBuilder::new().build());
    for code in [0, 3] {
        let wat = format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (func (export "_start") (call $exit (i32.const {code}))))"#
        );
        let ended = runtime.instantiate(&module(&runtime, &wat), InstanceConfig::new());
        match code {
            0 => assert_eq!(ended.unwrap().exit_code(), Some(0)),
            _ => assert!(matches!(ended, Err(Error::Closed { exit_code: 3, .. }))),
        }
    }
}

#[test]
fn a_host_talks_with_a_running_guest() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let output = OutputPipe::new(1 << 16);
    let pipe = output.clone();
    let runtime = runtime(move || {
        let stdin = reader.try_clone().unwrap();
        WasiCtxBuilder::new()
            .stdin_from(stdin)
            .stdout(pipe.writer())
            .build()
    });
    assert!(
        precast_wasi::instantiate(&runtime, |wasi| wasi).is_err(),
        "they are there already"
    );
    let module = module(&runtime, ECHO);
    let guest = thread::spawn(move || {
        let config = InstanceConfig::new().with_start_functions(["_start"]);
        runtime.instantiate(&module, config).map(drop)
    });
    for line in ["one", "two", "three"] {
        writer.write_all(line.as_bytes()).unwrap();
        let answer = output
            .wait(Duration::from_secs(30))
            .expect("the guest answers in time");
        assert_eq!(answer.as_deref(), Some(line.as_bytes()));
    }
    drop(writer);
    guest.join().unwrap().unwrap();
    // The guest's store is gone, and with it the last writer.
    assert_eq!(output.wait(Duration::from_secs(30)).unwrap(), None);
}

#[test]
fn a_guest_that_waits_for_a_pipe_ends_at_its_deadline() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let runtime = runtime(move || {
        WasiCtxBuilder::new()
            .stdin_from(reader.try_clone().unwrap())
            .build()
    });
    let module = module(&runtime, ECHO);
    let config = InstanceConfig::new().with_start_functions([]);
    let guest = runtime.instantiate(&module, config).unwrap();
    let context = Context::with_timeout(Duration::from_millis(50));
    let start = Instant::now();
    let error = guest
        .with_context(&context)
        .call("_start", &[])
        .unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn each_clock_is_replaced_for_itself() {
    let runtime = runtime(|| {
        let mut monotonic = 0;
        WasiCtxBuilder::new()
            .wall_clock(|| Duration::from_nanos(1_000_000_007))
            .monotonic_clock(move || {
                monotonic += 5;
                Duration::from_nanos(monotonic)
            })
            .sleep(|_| {})
            .build()
    });
    let wat = r#"(module
      (import "wasi_snapshot_preview1" "clock_time_get"
        (func $time (param i32 i64 i32) (result i32)))
      (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "now") (param i32) (result i64)
        (if (call $time (local.get 0) (i64.const 0) (i32.const 8)) (then unreachable))
        (i64.load (i32.const 8)))
      (func (export "sleep") (result i32)
        (i32.store (i32.const 80) (i32.const 1))
        (i64.store (i32.const 88) (i64.const 3600000000000))
        (call $poll (i32.const 64) (i32.const 200) (i32.const 1) (i32.const 300))))"#;
    let guest = runtime
        .instantiate(&module(&runtime, wat), InstanceConfig::new())
        .unwrap();
    let now = |clock: i32| guest.call("now", &[Val::I32(clock)]).unwrap()[0].unwrap_i64();
    assert_eq!(
        [now(0), now(1), now(0), now(1)],
        [1_000_000_007, 5, 1_000_000_007, 10]
    );
    let start = Instant::now();
    assert_eq!(guest.call("sleep", &[]).unwrap()[0].unwrap_i32(), 0);
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "an hour passed at once"
    );
}
