//! WASI's functions need less stack than the loader reserves for host functions.

use std::collections::BTreeSet;

use precast_artifact::Strategy;
use precast_loader::{Engine, Linker, Store, Trap};
use precast_tests::{child, module, on_stack_of};
use precast_wasi::{DirAccess, WasiCtx, WasiCtxBuilder, add_to_linker};

/// Calls everything that takes paths, lists of buffers or lists of subscriptions at every depth,
/// until the stack is full. Path 0 is long and leads through directories and symbolic links.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link"
    (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "down/link/down/link/down/link/file")
  (data (i32.const 64) "down/link/other")
  (global $all (mut i32) (i32.const 0))
  (func $note (param $bit i32) (param $errno i32)
    (if (i32.eqz (local.get $errno))
      (then (global.set $all
        (i32.or (global.get $all) (i32.shl (i32.const 1) (local.get $bit)))))))
  (func (export "all") (result i32) (global.get $all))
  (func $down (export "down") (param i32) (result i32)
    (call $note (i32.const 0)
      (call $open (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 34) (i32.const 0)
        (i64.const 0x42) (i64.const 0x42) (i32.const 0) (i32.const 128)))
    ;; 1,024 buffers of no bytes from 4096 on.
    (call $note (i32.const 1)
      (call $write (i32.load (i32.const 128)) (i32.const 4096) (i32.const 1024) (i32.const 136)))
    (call $note (i32.const 2)
      (call $read (i32.load (i32.const 128)) (i32.const 4096) (i32.const 1024) (i32.const 136)))
    (call $note (i32.const 3) (call $close (i32.load (i32.const 128))))
    (call $note (i32.const 4)
      (call $readdir (i32.const 3) (i32.const 65536) (i32.const 4096) (i64.const 0) (i32.const 136)))
    (call $note (i32.const 5)
      (call $stat (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 34) (i32.const 200)))
    (call $note (i32.const 6)
      (call $rename (i32.const 3) (i32.const 0) (i32.const 34)
        (i32.const 3) (i32.const 64) (i32.const 15)))
    (call $note (i32.const 7)
      (call $link (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 15)
        (i32.const 3) (i32.const 0) (i32.const 34)))
    (call $note (i32.const 8)
      (call $unlink (i32.const 3) (i32.const 64) (i32.const 15)))
    ;; 1,000 clocks that have passed.
    (call $note (i32.const 9)
      (call $poll (i32.const 131072) (i32.const 180000) (i32.const 1000) (i32.const 136)))
    (call $note (i32.const 10) (call $random (i32.const 65536) (i32.const 4096)))
    (call $note (i32.const 11)
      (call $write (i32.const 1) (i32.const 4096) (i32.const 1024) (i32.const 136)))
    (i32.add (i32.const 1) (call $down (local.get 0)))))"#;

#[test]
fn wasi_runs_on_the_stack_that_host_functions_have() {
    let test = "depth::wasi_runs_on_the_stack_that_host_functions_have";
    if child::case().is_none() {
        // A host function that needs more ends the process.
        return child::passes_in_child(test, "at the end");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("down")).unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("down/link")).unwrap();
    std::fs::write(dir.path().join("file"), "text").unwrap();
    let names = |of: &std::path::Path| -> BTreeSet<_> {
        let entries = std::fs::read_dir(of).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names(dir.path());
    let engine = Engine::default();
    let module = module(&engine, GUEST, Strategy::Guarded);
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let wasi = WasiCtxBuilder::new().inherit_stdout();
    let wasi = wasi.preopened_dir(dir.path(), "/", DirAccess::ReadWrite);
    let wasi = wasi.unwrap().build();
    on_stack_of(256 << 10, move || {
        let mut store = Store::new(pre.module().engine(), wasi);
        let instance = pre.instantiate(&mut store).unwrap();
        let down = instance.get_typed_func::<i32, i32>(&mut store, "down");
        let error = down.unwrap().call(&mut store, 0).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::StackOverflow));
        let all = instance.get_typed_func::<(), i32>(&mut store, "all");
        let all = all.unwrap().call(&mut store, ()).unwrap();
        assert_eq!(all, (1 << 12) - 1, "{all:b}: not every call succeeded");
    });
    assert_eq!(names(dir.path()), before);
}
