//! Holes between the initial content of a memory take no memory, or little, however guests use
//! them.

use std::fmt::Write;
use std::os::linux::fs::MetadataExt;

use precast_artifact::Strategy;
use precast_loader::{Engine, Instance, InstancePre, Linker, Store};
use precast_tests::{call, mappings, module, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::emulated;

const PAGE: usize = 4096;

/// Bytes that the memory files of this process take.
fn in_files() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|file| {
        let target = std::fs::read_link(file);
        target.is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:"))
    });
    let blocks = files.map(|file| std::fs::metadata(file).map_or(0, |file| file.st_blocks()));
    blocks.sum::<u64>() as usize * 512
}

/// A module with a memory that has so many bytes at each of these places. `sum` reads a byte of
/// each page, and `mark` writes one.
fn bytes_at(pages: usize, places: &[usize], count: usize) -> String {
    let mut data = String::new();
    let bytes = "\\01".repeat(count);
    for at in places {
        write!(data, "(data (i32.const {at}) \"{bytes}\")").unwrap();
    }
    format!(
        r#"(module (memory (export "m") {pages} {pages}) {data}
    (func (export "sum") (result i32) (local $sum i32) (local $at i32)
        (loop $l
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const {PAGE})))
            (br_if $l (i32.lt_u (local.get $at) (i32.const {}))))
        (local.get $sum))
    (func (export "mark") (param i32) (i32.store8 (local.get 0) (i32.const 0xaa)))
    (func (export "fill") (param $count i32) (param $step i32)
        (loop $l
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (i32.store8 (i32.mul (local.get $count) (local.get $step)) (i32.const 1))
            (br_if $l (local.get $count)))))"#,
        pages * 65536
    )
}

fn pre(strategy: Strategy, wat: &str) -> InstancePre<()> {
    let engine = Engine::default();
    let module = module(&engine, wat, strategy);
    Linker::new(&engine).instantiate_pre(&module).unwrap()
}

/// Tenants find a byte at each of the places, and nothing else. They read each page and write to
/// some of them.
fn tenants(pre: &InstancePre<()>, places: &[usize]) {
    let check = |store: &mut Store<()>, instance: Instance| {
        let sum = call::<_, i32>(store, instance, "sum", ()).unwrap();
        assert_eq!(sum as usize, places.len());
        let memory = instance.get_memory(&mut *store, "m").unwrap();
        let bytes = memory.data(&*store);
        assert!(places.iter().all(|at| bytes[*at] == 1));
    };
    for round in 0..6 {
        let mut store = Store::new(pre.module().engine(), ());
        let instance = pre.instantiate(&mut store).unwrap();
        check(&mut store, instance);
        if round % 3 == 0 {
            continue;
        }
        for (i, at) in places.iter().step_by(places.len() / 5 + 1).enumerate() {
            for at in [at + (i % 2) * PAGE, *at] {
                call::<_, ()>(&mut store, instance, "mark", at as i32).unwrap();
            }
        }
        instance.reset(&mut store).unwrap();
        check(&mut store, instance);
        call::<_, ()>(&mut store, instance, "mark", places[0] as i32).unwrap();
    }
}

/// Large holes are in no piece, and all others take no more than a bound, in the files of modules
/// as in those of snapshots. Beyond that, content is copied.
#[test]
fn holes_take_little_memory() {
    const NAME: &str = "holes::holes_take_little_memory";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "holes");
        }
        return;
    }
    let pages = 4096;
    // Few and large holes, more than pieces can end at, and many small ones.
    for (count, step, max) in [
        (11, 24 << 20, 1 << 20),
        (32, 8 << 20, 66 << 20),
        (4096, 16 * PAGE, (64 << 20) + 4096 * PAGE),
    ] {
        let places: Vec<usize> = (0..count).map(|i| i * step).collect();
        for strategy in strategies() {
            let (files, maps) = (in_files(), mappings());
            let wat = bytes_at(pages, &places, 1);
            let linked = pre(strategy, &wat);
            tenants(&linked, &places);
            let taken = in_files() - files;
            assert!(taken > 0 && taken <= max, "{strategy}: {step}: {taken}");
            assert!(mappings() < maps + 50);
            drop(linked);

            let empty = pre(strategy, &bytes_at(pages, &[], 0));
            let mut store = Store::new(empty.module().engine(), ());
            let instance = empty.instantiate(&mut store).unwrap();
            let made = (count as i32, step as i32);
            call::<_, ()>(&mut store, instance, "fill", made).unwrap();
            let files = in_files();
            let snapshot = instance.snapshot(&mut store).unwrap();
            let linked = InstancePre::from_snapshot(&empty, &snapshot).unwrap();
            tenants(&linked, &places);
            let taken = in_files() - files;
            assert!(taken > 0 && taken <= max, "{strategy}: {step}: {taken}");
        }
    }
}

/// However much content of a module is behind holes, they take no more than their bound, and an
/// instance has few mappings.
#[test]
fn long_content_behind_many_holes_is_copied() {
    const NAME: &str = "holes::long_content_behind_many_holes_is_copied";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "beyond");
        }
        return;
    }
    // The compiler makes runs of pages of such segments, of 28 MiB together.
    let places: Vec<usize> = (0..1000_usize)
        .flat_map(|i| (0..7).map(move |page| (i << 18) + page * PAGE))
        .collect();
    for strategy in strategies() {
        let linked = pre(strategy, &bytes_at(4096, &places, 256));
        let files = in_files();
        tenants(&linked, &places);
        let taken = in_files() - files;
        assert!(taken <= (64 + 28) << 20, "{strategy}: {taken}");
        let maps = mappings();
        let mut store = Store::new(linked.module().engine(), ());
        linked.instantiate(&mut store).unwrap();
        assert!(mappings() <= maps + 40, "{strategy}");
    }
}
