//! Modules of a few hundred bytes that declare large memories and tables. Their artifacts and
//! instances take memory in proportion to what they use.

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, Instance, Linker, Module, Store, StoreLimitsBuilder, Val};
use precast_tests::{ArtifactFile, artifact, module, strategies};

use crate::child::{case, passes_in_child};

/// The resident memory of this process in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4096
}

/// Runs `scenario` in a process of its own, so that no other test uses memory.
fn alone(test: &str, scenario: impl Fn(Strategy)) {
    match case() {
        Some(_) => strategies().into_iter().for_each(scenario),
        None => passes_in_child(&format!("small_modules::{test}"), "alone"),
    }
}

#[test]
fn artifacts_are_small() {
    let far_apart: String = (0..60_000)
        .map(|i| {
            format!(
                "(data (i32.const {}) \"x\")",
                (i * 65_536_u32).cast_signed()
            )
        })
        .collect();
    let modules = [
        "(table 10000000 funcref)".repeat(10),
        "(table 1000000 funcref)".repeat(10),
        "(table 4096 funcref)".repeat(100),
        "(memory 65536)".repeat(100),
        format!("(memory 65536) {far_apart}"),
        r#"(memory 65536) (data (i32.const -1) "x")"#.into(),
    ];
    for fields in modules {
        for strategy in strategies() {
            let text = format!("(module {fields})");
            let wasm = wat::parse_str(&text).unwrap().len();
            let found = artifact(&text, strategy).len();
            // Text and image begin on pages of their own, which have 64 KiB on other architectures.
            let fixed = if cfg!(target_arch = "x86_64") {
                64 << 10
            } else {
                256 << 10
            };
            let max = 64 * wasm + fixed;
            assert!(found <= max, "{found} bytes of {wasm}: {:.80}", text);
        }
    }
}

const TEN_TABLES: &str = r#"
    (table (export "t") 10000000 externref) (table 10000000 externref)
    (table 10000000 funcref) (table 10000000 funcref) (table 10000000 funcref)
    (table 10000000 funcref) (table 10000000 funcref) (table 10000000 funcref)
    (table 10000000 funcref) (table 10000000 funcref)
    (func (export "grow") (param i32) (result i32)
        (table.grow (ref.null extern) (local.get 0)))
    (func (export "set") (param i32) (table.set 1 (local.get 0) (table.get 0 (i32.const 5))))"#;

/// Ten tables of ten million null elements.
#[test]
fn elements_that_nobody_wrote_take_no_memory() {
    alone("elements_that_nobody_wrote_take_no_memory", |strategy| {
        let engine = Engine::default();
        let module = module(&engine, &format!("(module {TEN_TABLES})"), strategy);
        let error = Instance::new(Store::new(&engine, ()), &module, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "elements of all tables of a store: 100000000 asked for, the limit is 10000000"
        );
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let before = resident();
        let max = before + (20 << 20);
        // Repeated, because later instances come from the pool.
        for _ in 0..20 {
            let mut store = Store::new(&engine, ());
            let limits = StoreLimitsBuilder::new().total_table_elements(200_000_000);
            store.set_limits(limits.build());
            let instance = pre.instantiate(&mut store).unwrap();
            let set = instance
                .get_typed_func::<i32, ()>(&mut store, "set")
                .unwrap();
            for i in 0..10 {
                set.call(&mut store, i * 1_000_000 - i32::from(i > 0))
                    .unwrap();
            }
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, "grow")
                .unwrap();
            assert_eq!(grow.call(&mut store, 50_000_000).unwrap(), 10_000_000);
            let table = instance.get_table(&mut store, "t").unwrap();
            let null = Val::ExternRef(None);
            assert_eq!(
                table.grow(&mut store, 40_000_000, null).unwrap(),
                60_000_000
            );
            assert!(table.get(&store, 99_999_999).is_some());
            assert!(resident() <= max, "{} of {max}", resident());
        }
    });
}

/// A memory of more than a gigabyte moves, of which the guest has touched a few pages.
#[test]
fn memories_take_what_was_written_when_they_move() {
    let wat = r#"(module (memory i64 16384)
        (data (i64.const 70000) "some data")
        (func (export "f") (param i64) (result i64)
            (i64.store (i64.const 0x3ffffff8) (i64.const 77))
            (memory.grow (local.get 0)))
        (func (export "g") (result i64)
            (i64.add (i64.load (i64.const 70000)) (i64.load (i64.const 0x3ffffff8)))))"#;
    alone(
        "memories_take_what_was_written_when_they_move",
        |strategy| {
            let engine = Engine::default();
            let module = module(&engine, wat, strategy);
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let before = resident();
            let f = instance
                .get_typed_func::<i64, i64>(&mut store, "f")
                .unwrap();
            assert_eq!(f.call(&mut store, 100).unwrap(), 16384);
            assert_eq!(f.call(&mut store, 30_000).unwrap(), 16484);
            assert_eq!(f.call(&mut store, 100_000).unwrap(), 46484);
            let g = instance.get_typed_func::<(), i64>(&mut store, "g").unwrap();
            let data = i64::from_le_bytes(*b"some dat");
            assert_eq!(g.call(&mut store, ()).unwrap(), data + 77);
            let grown = resident().saturating_sub(before);
            assert!(grown < 20 << 20, "{grown} bytes more");
        },
    );
}

/// If the system has no more memory, the result is an error, whatever the module asks for.
#[test]
fn an_address_space_that_ends_is_an_error() {
    // An emulator does not apply this limit to its guest.
    if std::env::var_os("PRECAST_RUNNER").is_some() {
        eprintln!("skipped: the emulator does not apply RLIMIT_AS to its guest");
        return;
    }
    let test = "small_modules::an_address_space_that_ends_is_an_error";
    let globals = "(global (mut i64) (i64.const 0))".repeat(100_000);
    let modules = [
        format!(r#"(module {globals} (func (export "f")))"#),
        format!("(module {TEN_TABLES})"),
        "(module (table 10000000 funcref) (func (drop (table.get 0 (i32.const 0)))))".into(),
        "(module (memory i64 16384))".into(),
        format!("(module {})", "(memory 1)".repeat(100)),
    ];
    if let Some(path) = case() {
        return in_little_address_space(path.as_ref());
    }
    for text in modules {
        for strategy in strategies() {
            let file = ArtifactFile::new(&artifact(&text, strategy));
            passes_in_child(test, file.path().to_str().unwrap());
        }
    }
}

fn in_little_address_space(path: &std::path::Path) {
    let engine = Engine::default();
    // SAFETY: our own compiler wrote the file, and nobody writes to it any more.
    let module = unsafe { Module::open(&engine, path) }.unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
    let mut store = Store::new(&engine, ());
    let limits = StoreLimitsBuilder::new().total_table_elements(usize::MAX);
    store.set_limits(limits.build());
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let limit = libc::rlimit {
        rlim_cur: pages * 4096 + (64 << 10),
        rlim_max: libc::RLIM_INFINITY,
    };
    // Memory that the allocator has in reserve would hide the limit, so it is used up first.
    let mut reserve = Vec::new();
    // SAFETY: the limit is valid.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    for size in [1 << 20, 1 << 16] {
        loop {
            let mut block = Vec::<u8>::new();
            if reserve.len() >= 4096 || block.try_reserve_exact(size).is_err() {
                break;
            }
            reserve.push(block);
        }
    }
    let made = pre.instantiate(&mut store).map(drop);
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit is valid.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    drop(reserve);
    let error = made.unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error:?}");
    pre.instantiate(&mut store).unwrap();
}
