//! The snapshot before preview 1, whose names old programs import.

use precast_loader::{Engine, Instance, Linker, Store};
use precast_tests::{module, strategies};
use precast_wasi::{DirAccess, WasiCtx, WasiCtxBuilder, add_to_linker, add_unstable_to_linker};

/// Descriptor 3 is a directory. Results are written from address 1024 on.
const WAT: &str = r#"(module
    (import "wasi_unstable" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_unstable" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_unstable" "fd_filestat_get" (func $fstat (param i32 i32) (result i32)))
    (import "wasi_unstable" "path_filestat_get"
        (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_unstable" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "name")
    (data (i32.const 16) "\08\00\00\00\05\00\00\00")
    (func (export "open") (result i32)
        (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1)
            (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 64))
        (if (then (return (i32.const 1))))
        (call $write (i32.load (i32.const 64)) (i32.const 16) (i32.const 1) (i32.const 68)))
    (func (export "seek") (param i64 i32) (result i64)
        (if (result i64)
            (call $seek (i32.load (i32.const 64)) (local.get 0) (local.get 1) (i32.const 72))
            (then (i64.const -1))
            (else (i64.load (i32.const 72)))))
    (func (export "fstat") (result i32)
        (call $fstat (i32.load (i32.const 64)) (i32.const 1024)))
    (func (export "stat") (result i32)
        (call $stat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1024)))
    ;; A clock that is over at once, behind one that would take an hour.
    (func (export "poll") (result i32)
        (i64.store (i32.const 200) (i64.const 1))
        (i64.store (i32.const 216) (i64.const 0xabcdef))
        (i32.store (i32.const 224) (i32.const 1))
        (i64.store (i32.const 232) (i64.const 3600000000000))
        (i64.store (i32.const 256) (i64.const 2))
        (i64.store (i32.const 272) (i64.const 0x123456))
        (i32.store (i32.const 280) (i32.const 1))
        (call $poll (i32.const 200) (i32.const 400) (i32.const 2) (i32.const 500))))"#;

#[test]
fn old_programs_find_the_forms_of_their_time() {
    for strategy in strategies() {
        let directory = tempfile::tempdir().unwrap();
        let wasi = WasiCtxBuilder::new();
        let wasi = wasi
            .preopened_dir(directory.path(), "/", DirAccess::ReadWrite)
            .unwrap();
        let engine = Engine::default();
        let module = module(&engine, WAT, strategy);
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
        add_unstable_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
        let mut store = Store::new(&engine, wasi.build());
        let instance: Instance = linker.instantiate(&mut store, &module).unwrap();
        let call = |store: &mut Store<WasiCtx>, name: &str| {
            let func = instance
                .get_typed_func::<(), i32>(&mut *store, name)
                .unwrap();
            func.call(store, ()).unwrap()
        };
        assert_eq!(call(&mut store, "open"), 0);
        // Five bytes were written. `whence` is 0 for the current position, 1 for the end and 2 for
        // the start.
        let seek = instance
            .get_typed_func::<(i64, i32), i64>(&mut store, "seek")
            .unwrap();
        for (offset, whence, expected) in [(0, 0, 5), (-3, 1, 2), (1, 0, 3), (4, 2, 4), (0, 3, -1)]
        {
            assert_eq!(seek.call(&mut store, (offset, whence)).unwrap(), expected);
        }
        for name in ["fstat", "stat"] {
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            memory.write(&mut store, 1024, &[0xaa; 64]).unwrap();
            assert_eq!(call(&mut store, name), 0);
            let mut stat = [0; 64];
            memory.read(&store, 1024, &mut stat).unwrap();
            // A regular file with one link and five bytes; nothing is written behind 56 bytes.
            assert_eq!(
                (stat[16], &stat[20..32]),
                (4, &[1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0][..])
            );
            assert_eq!(stat[56..], [0xaa; 8]);
        }
        assert_eq!(call(&mut store, "poll"), 0);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let mut words = [0; 104];
        memory.read(&store, 400, &mut words).unwrap();
        assert_eq!(
            (words[0], words[100]),
            (2, 1),
            "the second clock, one event"
        );
    }
}
