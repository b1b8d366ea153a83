//! Initial content of memories that is in many places costs an instance one mapping, and a reused
//! instance nothing: many runs of pages, and segments that are too scattered for runs.

use precast_artifact::Strategy;
use precast_loader::{
    Engine, Error, InstancePre, Linker, Memory, MemoryType, Module, Store, StoreLimitsBuilder, Trap,
};
use precast_tests::{ArtifactFile, artifact, faults, mappings, module, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Call, Kernel, Refusal, emulated, names, quiet_allocator};

/// A module with `count` segments of `len` bytes, `step` bytes apart.
fn segments(pages: usize, count: usize, step: usize, len: usize) -> (String, Vec<u8>) {
    let (mut data, mut expected) = (String::new(), vec![0; pages * 65536]);
    for i in 0..count {
        let text = format!("piece {i:4}").repeat(len.div_ceil(10));
        data += &format!("(data (i32.const {}) \"{}\")", 500 + i * step, &text[..len]);
        expected[500 + i * step..][..len].copy_from_slice(&text.as_bytes()[..len]);
    }
    let wat = format!(
        "(module (memory (export \"m\") {pages}) {data}
            (func (export \"store\") (param i32) (i64.store (local.get 0) (i64.const -1))))"
    );
    (wat, expected)
}

/// Segments that the artifact has as many runs of pages, and segments that it has no pages for.
fn runs_and_segments() -> [(&'static str, String, Vec<u8>); 2] {
    [("runs", 300), ("segments", 10)].map(|(what, len)| {
        let (wat, expected) = segments(1200, 1000, 64 << 10, len);
        (what, wat, expected)
    })
}

fn linked(module: &Module) -> InstancePre<()> {
    let engine = module.engine();
    Linker::new(engine).instantiate_pre(module).unwrap()
}

/// Makes an instance and compares its memory.
#[track_caller]
fn assert_content(pre: &InstancePre<()>, expected: &[u8]) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    assert!(memory.data(&store) == expected, "not as new");
}

/// Tenants that write to 100 places find everything as new.
fn tenants(pre: &InstancePre<()>, expected: &[u8], most_mappings: usize) {
    for round in 0..10 {
        let mut store = Store::new(pre.module().engine(), ());
        let before = mappings();
        let instance = pre.instantiate(&mut store).unwrap();
        let more = mappings().saturating_sub(before);
        assert!(more <= most_mappings, "{more}");
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert!(memory.data(&store) == expected, "not as new");
        let write = instance.get_typed_func::<i32, ()>(&mut store, "store");
        let write = write.unwrap();
        for i in 0..100 {
            let at = 400 + i * ((360 << 10) + round);
            write.call(&mut store, at).unwrap();
        }
    }
}

/// Content in many places of a memory is one mapping, unless there are no memory files.
#[test]
fn images_in_many_pieces_are_one_mapping() {
    const NAME: &str = "images::images_in_many_pieces_are_one_mapping";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "pieces");
        }
        return;
    }
    for (what, wat, expected) in runs_and_segments() {
        for strategy in strategies() {
            let file = ArtifactFile::new(&artifact(&wat, strategy));
            let pre = || linked(&file.open(&Engine::default()));
            tenants(&pre(), &expected, 4);
            Kernel::with(|kernel| {
                let answer = |call: &Call| {
                    (call.number == libc::SYS_memfd_create).then_some(-i64::from(libc::ENOSYS))
                };
                let ((), calls) = kernel.answer(answer, || tenants(&pre(), &expected, 2100));
                let asked = names(&calls).iter().any(|name| name == "memfd_create");
                assert!(asked, "{strategy}: {what}");
            });
        }
    }
}

/// Runs are counted for all memories of a module together: each memory's are one mapping.
#[test]
fn runs_in_many_memories_are_few_mappings() {
    const NAME: &str = "images::runs_in_many_memories_are_few_mappings";
    if case().is_none() {
        return passes_in_child(NAME, "memories");
    }
    let (mut body, mut expected) = (String::new(), vec![0; 8 * 65536]);
    for memory in 0..6 {
        body += &format!("(memory $m{memory} (export \"{memory}\") 8)");
        for run in 0..6 {
            let (at, text) = (run * 70_000 + 500, "a run of pages".repeat(50));
            body += &format!("(data (memory $m{memory}) (i32.const {at}) \"{text}\")");
            expected[at..][..text.len()].copy_from_slice(text.as_bytes());
        }
    }
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = linked(&module(&engine, &format!("(module {body})"), strategy));
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let before = mappings();
            let instance = pre.instantiate(&mut store).unwrap();
            let more = mappings().saturating_sub(before);
            assert!(more <= 6 * 4 + 4, "{strategy}: {more}");
            for memory in 0..6 {
                let memory = instance.get_memory(&mut store, &memory.to_string());
                assert!(memory.unwrap().data(&store) == expected, "{strategy}");
            }
        }
    }
}

/// A slot whose tenant wrote nothing is reused without a system call, wherever its content is.
#[test]
fn what_was_not_written_costs_nothing() {
    const NAME: &str = "images::what_was_not_written_costs_nothing";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "nothing");
        }
        return;
    }
    quiet_allocator(64 << 20);
    Kernel::with(|kernel| {
        for (what, wat, expected) in runs_and_segments() {
            for strategy in strategies() {
                let file = ArtifactFile::new(&artifact(&wat, strategy));
                let pre = linked(&file.open(&Engine::default()));
                assert_content(&pre, &expected);
                let before = faults();
                for _ in 0..10 {
                    let ((), calls) = kernel.watch(|| {
                        let mut store = Store::new(pre.module().engine(), ());
                        pre.instantiate(&mut store).unwrap();
                    });
                    assert_eq!(names(&calls), [""; 0], "{strategy}: {what}");
                }
                assert!(faults() - before < 10, "{strategy}: {what}");
            }
        }
    });
}

/// The system refuses memory at each call while the first instance gathers its content. The next
/// instance is right, and so are later ones of the same module.
#[test]
fn refusals_while_content_is_gathered() {
    const NAME: &str = "images::refusals_while_content_is_gathered";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "refusals");
        }
        return;
    }
    const CALLS: &[libc::c_long] = &[
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_munmap,
        libc::SYS_memfd_create,
        libc::SYS_ftruncate,
        libc::SYS_pwrite64,
        libc::SYS_fcntl,
    ];
    quiet_allocator(64 << 20);
    let (wat, expected) = segments(300, 290, 64 << 10, 10);
    Kernel::with(|kernel| {
        for strategy in strategies() {
            let file = ArtifactFile::new(&artifact(&wat, strategy));
            for count in [1, usize::MAX] {
                for from in 0.. {
                    assert!(from < 600, "no end");
                    let pre = linked(&file.open(&Engine::default()));
                    let refusal = Refusal {
                        calls: CALLS,
                        from,
                        count,
                    };
                    let (made, calls) = kernel.refuse(refusal, || {
                        let mut store = Store::new(pre.module().engine(), ());
                        pre.instantiate(&mut store).map(drop)
                    });
                    if let Err(error) = made {
                        assert!(matches!(error, Error::Memory { .. }), "{error}");
                    }
                    assert_content(&pre, &expected);
                    assert_content(&pre, &expected);
                    if !calls.iter().any(|call| call.refused) {
                        break;
                    }
                }
            }
        }
    });
}

/// 300 short segments in as many pages, which the artifact has no pages for.
fn scattered(memory: &str) -> String {
    let one = |i: usize| {
        format!(
            "(data (memory {memory}) (i32.const {}) \"{i}\")",
            i * 65536 + 7
        )
    };
    (0..300).map(one).collect()
}

fn content_of_scattered(pages: usize) -> Vec<u8> {
    let mut bytes = vec![0; pages * 65536];
    for i in 0..300 {
        let text = i.to_string();
        bytes[i * 65536 + 7..][..text.len()].copy_from_slice(text.as_bytes());
    }
    bytes
}

/// Whether the first instance of a module makes a memory file.
fn gathers(kernel: &Kernel, pre: &InstancePre<()>) -> bool {
    let mut store = Store::new(pre.module().engine(), ());
    let (_, calls) = kernel.watch(|| pre.instantiate(&mut store).map(drop));
    names(&calls).iter().any(|name| name == "memfd_create")
}

/// Some content is gathered and some is not. The initial content of an instance is the same in both
/// cases.
#[test]
fn segments_keep_their_order_and_their_bounds() {
    const NAME: &str = "images::segments_keep_their_order_and_their_bounds";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "order");
        }
        return;
    }
    quiet_allocator(64 << 20);
    let data = scattered("0");
    let later = "(data (i32.const 65536) \"abcdefghij\") (data (i32.const 65538) \"\\00\\00\")";
    let expected = content_of_scattered(320);
    let mut overlaps = expected.clone();
    overlaps[65536..65546].copy_from_slice(b"ab\0\0efghij");
    let memory = "(memory (export \"m\") 320)";
    let mut far = expected.clone();
    far[3 * 65536 + 7] = b'x';
    let end = 320 * 65536;
    let cases = [
        (
            "plain",
            format!("{memory} {data}"),
            true,
            Some(expected.clone()),
        ),
        (
            "overlaps",
            format!("{memory} {data} {later}"),
            true,
            Some(overlaps),
        ),
        (
            "an offset that is known at instantiation, which overwrites",
            format!(
                "(global $g (import \"h\" \"g\") i32) {memory} {data}
                 (data (global.get $g) \"x\")"
            ),
            false,
            Some(far),
        ),
        (
            "an empty segment at the end",
            format!("{memory} {data} (data (i32.const {end}) \"\")"),
            true,
            Some(expected.clone()),
        ),
        (
            "an empty segment past the end",
            format!("{memory} {data} (data (i32.const {}) \"\")", end + 1),
            false,
            None,
        ),
        (
            "a segment past the end",
            format!("{memory} {data} (data (i32.const {}) \"12\")", end - 1),
            false,
            None,
        ),
        (
            "another memory with a run of pages, and one with a segment for instantiation",
            format!(
                "(global $g (import \"h\" \"g\") i32) (memory 1) {memory} (memory 4)
                 (data (memory 0) (i32.const 8) \"a run\") {}
                 (data (memory 2) (global.get $g) \"x\")
                 (func (export \"check\") (result i32)
                    (i32.add (i32.load8_u 0 (i32.const 8)) (i32.load8_u 2 (global.get $g))))",
                scattered("1")
            ),
            true,
            Some(expected.clone()),
        ),
    ];
    Kernel::with(|kernel| {
        for strategy in strategies() {
            for (what, body, is_gathered, expected) in &cases {
                let what = format!("{strategy}: {what}");
                let engine = Engine::default();
                let module = module(&engine, &format!("(module {body})"), strategy);
                let mut linker = Linker::new(&engine);
                let mut store = Store::new(&engine, ());
                let at = precast_loader::Val::I32(3 * 65536 + 7);
                let ty = precast_loader::GlobalType::new(precast_loader::ValType::I32, false);
                let global = precast_loader::Global::new(&mut store, ty, at).unwrap();
                linker.define(&store, "h", "g", global).unwrap();
                let pre = linker.instantiate_pre(&module).unwrap();
                let (first, calls) = kernel.watch(|| pre.instantiate(&mut store));
                let asked = names(&calls).iter().any(|name| name == "memfd_create");
                assert_eq!(asked, *is_gathered, "{what}");
                let Some(expected) = expected else {
                    let error = first.unwrap_err();
                    assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds), "{what}");
                    continue;
                };
                for _ in 0..3 {
                    let instance = pre.instantiate(&mut store).unwrap();
                    let memory = instance.get_memory(&mut store, "m").unwrap();
                    assert!(memory.data(&store) == expected, "{what}");
                    memory.data_mut(&mut store).fill(0xaa);
                    // A checked memory moves for this.
                    memory.grow(&mut store, 200).unwrap();
                    instance.reset(&mut store).unwrap();
                    assert!(memory.data(&store) == expected, "{what}: reset");
                    if let Ok(check) = instance.get_typed_func::<(), i32>(&mut store, "check") {
                        let sum = u32::from(b'a') + u32::from(b'x');
                        assert_eq!(check.call(&mut store, ()).unwrap(), sum as i32, "{what}");
                    }
                }
            }
        }
    });
}

/// Gathered segments are dropped after instantiation like others, and again after each reset.
#[test]
fn gathered_segments_are_dropped() {
    for strategy in strategies() {
        let engine = Engine::default();
        let named =
            "(func (export \"again\") (memory.init 5 (i32.const 0) (i32.const 0) (i32.const 1)))";
        let wat = format!(
            "(module (memory (export \"m\") 320) {} {named})",
            scattered("0")
        );
        let pre = linked(&module(&engine, &wat, strategy));
        for _ in 0..3 {
            assert_content(&pre, &content_of_scattered(320));
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            for _ in 0..2 {
                let again = instance.get_typed_func::<(), ()>(&mut store, "again");
                let error = again.unwrap().call(&mut store, ()).unwrap_err();
                assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
                instance.reset(&mut store).unwrap();
            }
        }
    }
}

/// Segments of an imported memory are written to it each time, and a shared memory of the
/// instance's own starts with its content.
#[test]
fn imported_and_shared_memories() {
    for strategy in strategies() {
        let engine = Engine::default();
        let wat = format!(
            "(module (import \"h\" \"m\" (memory 300)) {})",
            scattered("0")
        );
        let imports = module(&engine, &wat, strategy);
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, MemoryType::new(320, None)).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define(&store, "h", "m", memory).unwrap();
        for _ in 0..2 {
            memory.data_mut(&mut store).fill(0);
            linker.instantiate(&mut store, &imports).unwrap();
            assert!(memory.data(&store) == content_of_scattered(320));
        }
        let wat = format!(
            "(module (memory (export \"m\") 320 400 shared) {}
                (func (export \"load\") (param i32) (result i32) (i32.load8_u (local.get 0))))",
            scattered("0")
        );
        let pre = linked(&module(&engine, &wat, strategy));
        for _ in 0..2 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            let load = instance.get_typed_func::<i32, i32>(&mut store, "load");
            let load = load.unwrap();
            for (at, value) in [
                (7, b'0'),
                (65536 + 7, b'1'),
                (65536 + 8, 0),
                (99 * 65536 + 8, b'9'),
            ] {
                assert_eq!(load.call(&mut store, at).unwrap(), i32::from(value));
            }
        }
    }
}

/// The file stays as long as the module. So it holds no more pages of segments than a bound, and
/// none before an instance is allowed.
#[test]
fn what_is_gathered_has_a_bound() {
    const NAME: &str = "images::what_is_gathered_has_a_bound";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "bound");
        }
        return;
    }
    quiet_allocator(64 << 20);
    let max_count = (16 << 20) / 4096;
    let wat = |count: usize| {
        let one = |i: usize| format!("(data (i32.const {}) \"x\")", i * 4096);
        let data: String = (0..count).map(one).collect();
        format!("(module (memory (export \"m\") 257) {data})")
    };
    Kernel::with(|kernel| {
        for (count, is_gathered) in [(max_count, true), (max_count + 1, false)] {
            let engine = Engine::default();
            let pre = linked(&module(&engine, &wat(count), Strategy::Guarded));
            let mut store = Store::new(&engine, ());
            store.set_limits(StoreLimitsBuilder::new().memory_size(65536).build());
            let (made, calls) = kernel.watch(|| pre.instantiate(&mut store).map(drop));
            assert!(matches!(made, Err(Error::Limit { .. })), "{made:?}");
            assert!(!names(&calls).iter().any(|name| name == "memfd_create"));
            assert_eq!(gathers(kernel, &pre), is_gathered, "{count}");
            let mut expected = vec![0; 257 * 65536];
            (0..count).for_each(|i| expected[i * 4096] = b'x');
            assert_content(&pre, &expected);
        }
    });
}
