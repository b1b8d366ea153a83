//! WASI's functions as modules see them: their names and types, the memory, and the end of a
//! program.

mod deadlines;
mod depth;
mod fork;
mod full;
mod mounted;
mod streams;
mod suspend;
mod thread_limits;
mod threads;
mod unstable;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use precast_artifact::{Strategy, TrapCode};
use precast_loader::{Engine, Error, Instance, Linker, Store};
use precast_tests::{module, strategies};
use precast_wasi::{DirAccess, WasiCtx, WasiCtxBuilder, add_to_linker};

/// All functions with the types of their parameters, from the text of the snapshot.
const FUNCTIONS: &str = "
    args_get i32 i32
    args_sizes_get i32 i32
    environ_get i32 i32
    environ_sizes_get i32 i32
    clock_res_get i32 i32
    clock_time_get i32 i64 i32
    fd_advise i32 i64 i64 i32
    fd_allocate i32 i64 i64
    fd_close i32
    fd_datasync i32
    fd_fdstat_get i32 i32
    fd_fdstat_set_flags i32 i32
    fd_fdstat_set_rights i32 i64 i64
    fd_filestat_get i32 i32
    fd_filestat_set_size i32 i64
    fd_filestat_set_times i32 i64 i64 i32
    fd_pread i32 i32 i32 i64 i32
    fd_prestat_get i32 i32
    fd_prestat_dir_name i32 i32 i32
    fd_pwrite i32 i32 i32 i64 i32
    fd_read i32 i32 i32 i32
    fd_readdir i32 i32 i32 i64 i32
    fd_renumber i32 i32
    fd_seek i32 i64 i32 i32
    fd_sync i32
    fd_tell i32 i32
    fd_write i32 i32 i32 i32
    path_create_directory i32 i32 i32
    path_filestat_get i32 i32 i32 i32 i32
    path_filestat_set_times i32 i32 i32 i32 i64 i64 i32
    path_link i32 i32 i32 i32 i32 i32 i32
    path_open i32 i32 i32 i32 i32 i64 i64 i32 i32
    path_readlink i32 i32 i32 i32 i32 i32
    path_remove_directory i32 i32 i32
    path_rename i32 i32 i32 i32 i32 i32
    path_symlink i32 i32 i32 i32 i32
    path_unlink_file i32 i32 i32
    poll_oneoff i32 i32 i32 i32
    proc_exit i32
    proc_raise i32
    sched_yield
    random_get i32 i32
    sock_accept i32 i32 i32
    sock_recv i32 i32 i32 i32 i32 i32
    sock_send i32 i32 i32 i32 i32
    sock_shutdown i32 i32";

/// The data of a store whose WASI context is only a part of it.
struct Host {
    wasi: WasiCtx,
}

fn instantiate(
    wat: &str,
    strategy: Strategy,
    wasi: WasiCtx,
) -> Result<(Store<Host>, Instance), Error> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi)?;
    let mut store = Store::new(&engine, Host { wasi });
    let instance = linker.instantiate(&mut store, &module(&engine, wat, strategy))?;
    Ok((store, instance))
}

/// Calls `_start`.
fn run(wat: &str, strategy: Strategy, wasi: WasiCtx) -> Result<(), Error> {
    let (mut store, instance) = instantiate(wat, strategy, wasi)?;
    instance
        .get_typed_func::<(), ()>(&mut store, "_start")?
        .call(&mut store, ())
}

/// An output whose bytes can be seen only after they have been flushed.
#[derive(Clone, Default)]
struct Output {
    held: Vec<u8>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    fn seen(&self) -> String {
        String::from_utf8(self.seen.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.seen.lock().unwrap().append(&mut self.held);
        Ok(())
    }
}

#[test]
fn every_function_has_the_snapshots_type() {
    let mut imports = String::new();
    let mut count = 0;
    for line in FUNCTIONS.lines().filter(|line| !line.trim().is_empty()) {
        let (name, params) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let result = if name == "proc_exit" {
            ""
        } else {
            "(result i32)"
        };
        imports += &format!(
            "(import \"{}\" \"{name}\" (func (param {params}) {result}))\n",
            precast_wasi::MODULE
        );
        count += 1;
    }
    assert_eq!(count, 46);
    for strategy in strategies() {
        let wat = format!("(module {imports} (memory (export \"memory\") 1))");
        instantiate(&wat, strategy, WasiCtxBuilder::new().build()).unwrap();
    }
}

/// Writes "hello\n" to standard output.
const HELLO: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func $hello (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))"#;

#[test]
fn programs_end_in_three_ways_and_never_lose_output() {
    for strategy in strategies() {
        for (end, ends) in [
            ("", "returns"),
            ("(call $proc_exit (i32.const 42))", "exits"),
            ("unreachable", "traps"),
        ] {
            let wat = format!("(module {HELLO} (func (export \"_start\") (call $hello) {end}))");
            let output = Output::default();
            let wasi = WasiCtxBuilder::new().stdout(output.clone()).build();
            let result = run(&wat, strategy, wasi);
            match ends {
                "returns" => assert!(result.is_ok()),
                "exits" => assert!(matches!(result, Err(Error::Exit(42)))),
                _ => {
                    let error = result.unwrap_err();
                    assert_eq!(error.trap().unwrap(), TrapCode::UnreachableCodeReached);
                }
            }
            assert_eq!(output.seen(), "hello\n", "it {ends}");
        }
    }
}

#[test]
fn the_store_can_be_used_after_an_exit() {
    let wat = format!(
        "(module {HELLO} (func (export \"_start\") (call $hello) (call $proc_exit (i32.const 0))))"
    );
    let output = Output::default();
    let wasi = WasiCtxBuilder::new().stdout(output.clone()).build();
    let (mut store, instance) = instantiate(&wat, Strategy::Guarded, wasi).unwrap();
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .unwrap();
    for times in 1..=3 {
        let result = start.call(&mut store, ());
        assert!(matches!(result, Err(Error::Exit(0))));
        assert_eq!(output.seen(), "hello\n".repeat(times));
    }
}

#[test]
fn a_module_without_a_memory_is_told_so() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (func (export "_start") (drop (call $yield))))"#;
    let wasi = WasiCtxBuilder::new().build();
    let error = run(wat, Strategy::Guarded, wasi).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sched_yield of wasi_snapshot_preview1 was called by a module without an exported memory: \
         expected a memory that is exported as `memory`"
    );
    // `proc_exit` needs no memory.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func (export "_start") (call $exit (i32.const -1))))"#;
    let error = run(wat, Strategy::Guarded, WasiCtxBuilder::new().build()).unwrap_err();
    assert!(matches!(error, Error::Exit(-1)));
}

/// The memory may have moved or grown between two calls, so each call looks it up.
#[test]
fn memory_that_has_grown_is_all_there() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "random_get"
            (func $random_get (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "run") (result i32)
            (call $random_get (i32.const 65536) (i32.const 65536))
            (drop (memory.grow (i32.const 100)))
            (i32.mul (i32.const 100)
                (call $random_get (i32.const 65536) (i32.const 6553600)))
            (i32.mul (i32.const 10000)
                (call $random_get (i32.const 65537) (i32.const 6553600)))
            i32.add
            i32.add))"#;
    for strategy in strategies() {
        let wasi = WasiCtxBuilder::new().random(|bytes| bytes.fill(1)).build();
        let (mut store, instance) = instantiate(wat, strategy, wasi).unwrap();
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        // EFAULT, then success, then EFAULT.
        assert_eq!(run.call(&mut store, ()).unwrap(), 21 + 210_000);
    }
}

#[test]
fn paths_reach_the_preopened_directory() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path().join("preopened");
    std::fs::create_dir(&folder).unwrap();
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "path_create_directory"
            (func $mkdir (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "made../out")
        (func (export "inside") (result i32)
            (call $mkdir (i32.const 3) (i32.const 0) (i32.const 4)))
        (func (export "outside") (result i32)
            (call $mkdir (i32.const 3) (i32.const 4) (i32.const 6))))"#;
    for (access, inside) in [(DirAccess::ReadOnly, 69), (DirAccess::ReadWrite, 0)] {
        let wasi = WasiCtxBuilder::new()
            .preopened_dir(&folder, "/", access)
            .unwrap();
        let (mut store, instance) = instantiate(wat, Strategy::Guarded, wasi.build()).unwrap();
        for (name, expected) in [("inside", inside), ("outside", inside.max(63))] {
            let result = instance
                .get_typed_func::<(), i32>(&mut store, name)
                .unwrap()
                .call(&mut store, ());
            assert_eq!(result.unwrap(), expected, "{name} {access:?}");
        }
    }
    assert!(folder.join("made").is_dir());
    assert!(!around.path().join("out").exists());
}
