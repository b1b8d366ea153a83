//! A compiled guest that uses file systems made by the host.

use precast_loader::{Engine, Error, Linker, Store};
use precast_tests::{module, strategies};
use precast_wasi::fs::{EmbeddedFs, FileSystem, HostFs, MemoryFs, Overlay};
use precast_wasi::{DirAccess, WasiCtx, WasiCtxBuilder, add_to_linker};

/// Reads the file `in` of directory 3, appends `!`, writes that to `out/result`, whose directory it
/// makes, and returns the error of the first call that fails, else the number of bytes read.
const WAT: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "in")
  (data (i32.const 110) "out/result")
  (func (export "run") (result i32) (local $error i32) (local $n i32)
    (if (local.tee $error (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 2)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
      (then (return (i32.sub (i32.const 0) (local.get $error)))))
    (i32.store (i32.const 8) (i32.const 1024))
    (i32.store (i32.const 12) (i32.const 1000))
    (if (local.tee $error
        (call $read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 4)))
      (then (return (i32.sub (i32.const 0) (local.get $error)))))
    (drop (call $close (i32.load (i32.const 0))))
    (local.set $n (i32.load (i32.const 4)))
    (i32.store8 (i32.add (i32.const 1024) (local.get $n)) (i32.const 33))
    (if (local.tee $error (call $mkdir (i32.const 3) (i32.const 110) (i32.const 3)))
      (then (return (i32.sub (i32.const 0) (local.get $error)))))
    (if (local.tee $error (call $open (i32.const 3) (i32.const 1) (i32.const 110) (i32.const 10)
        (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))
      (then (return (i32.sub (i32.const 0) (local.get $error)))))
    (i32.store (i32.const 12) (i32.add (local.get $n) (i32.const 1)))
    (if (local.tee $error
        (call $write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 4)))
      (then (return (i32.sub (i32.const 0) (local.get $error)))))
    (drop (call $close (i32.load (i32.const 0))))
    (local.get $n)))"#;

const ROFS: i32 = 69;
const NOSPC: i32 = 51;

#[test]
fn a_guest_uses_each_file_system() -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), "of the host").unwrap();
    let embedded = || EmbeddedFs::new(&[("in", b"embedded")]).unwrap();
    let of_host = || HostFs::new(folder.path()).unwrap();
    for strategy in strategies() {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
        let pre = linker.instantiate_pre(&module(&engine, WAT, strategy))?;
        let run = |wasi: WasiCtxBuilder| {
            let mut store = Store::new(&engine, wasi.build());
            let instance = pre.instantiate(&mut store)?;
            let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
            run.call(&mut store, ())
        };
        let mounted =
            |fs: Box<dyn Fn(WasiCtxBuilder) -> WasiCtxBuilder>| run(fs(WasiCtxBuilder::new()));
        fn of(fs: impl FileSystem + 'static) -> Box<dyn Fn(WasiCtxBuilder) -> WasiCtxBuilder> {
            let fs = std::sync::Arc::new(fs);
            Box::new(move |wasi| wasi.mount("/", fs.clone(), DirAccess::ReadWrite).unwrap())
        }

        let memory = MemoryFs::new(4096);
        memory.write("in", b"in memory").unwrap();
        assert_eq!(mounted(of(memory.clone()))?, 9);
        assert_eq!(memory.read("out/result").unwrap(), b"in memory!");
        let used = memory.used();
        let read_only = WasiCtxBuilder::new().mount("/", memory.clone(), DirAccess::ReadOnly);
        assert_eq!(run(read_only.unwrap())?, -ROFS);
        assert_eq!(memory.used(), used);

        assert_eq!(mounted(of(embedded()))?, -ROFS);
        assert_eq!(mounted(of(of_host()))?, -ROFS);
        let small = MemoryFs::new(700);
        small.write("in", &[7; 200]).unwrap();
        assert_eq!(mounted(of(small))?, -NOSPC);

        let upper = MemoryFs::new(4096);
        assert_eq!(mounted(of(Overlay::new(upper.clone(), embedded())))?, 8);
        assert_eq!(upper.read("out/result").unwrap(), b"embedded!");
        let upper = MemoryFs::new(4096);
        assert_eq!(mounted(of(Overlay::new(upper.clone(), of_host())))?, 11);
        assert_eq!(upper.read("out/result").unwrap(), b"of the host!");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        // A second guest sees what the first one wrote, and the same name is there already.
        assert_eq!(mounted(of(Overlay::new(upper.clone(), of_host())))?, -20);
        let wasi = WasiCtxBuilder::new().preopened_dir(folder.path(), "/", DirAccess::ReadOnly);
        assert_eq!(run(wasi.unwrap())?, -ROFS);
    }
    Ok(())
}
