//! Artifacts whose records are wrong although the checksum is right. These faults can only be found
//! when the loader instantiates: the result is an error that says where the fault is. The faults
//! that opening finds are tested with the format.

use std::mem::offset_of;
use std::os::unix::fs::FileExt;

use precast_artifact::records::{
    ConstOp, ConstOpcode, FunctionRecord, ImageRecord, NONE, SignatureRecord,
};
use precast_artifact::{Artifact, HEADER_OFFSET, Header, Section, Strategy, reader};
use precast_loader::{
    Engine, Error, Extern, Global, GlobalType, Instance, Linker, Module, Store, Val, ValType,
};
use precast_tests::{ArtifactFile, artifact, strategies};

/// A module with a global and a table of references, an empty start function, two runs of data, and
/// an import that is exported again.
const WAT: &str = r#"(module
    (import "h" "f" (func $h (param i64) (result i64)))
    (global $imported (import "h" "g") i32)
    (memory 3)
    (table (export "t") 4 funcref)
    (func $start)
    (func $two (export "two") (param i32) (result i32) (local.get 0))
    (global funcref (ref.func $two))
    (elem (offset (global.get $imported)) func $two $start $h)
    (export "h" (func $h))
    (start $start)
    (data (i32.const 0) "a") (data (i32.const 131072) "b"))"#;

/// An artifact whose records are changed.
struct Lie(Vec<u8>);

impl Lie {
    fn header(&self) -> Header {
        let header = &self.0[HEADER_OFFSET..][..size_of::<Header>()];
        bytemuck::pod_read_unaligned(header)
    }

    fn put(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Sets a field of record `i` in a table.
    fn set<T>(&mut self, table: fn(&Header) -> Section, i: usize, field: usize, value: u32) {
        let start = HEADER_OFFSET + table(&self.header()).start as usize;
        self.put(start + i * size_of::<T>() + field, value);
    }

    /// Corrects the checksum, opens the artifact and makes an instance, which must fail with an
    /// error about `what` in that section.
    #[track_caller]
    fn assert_found(mut self, section: fn(&Header) -> Section, what: &str) {
        let hot = self.header().hot_len as usize;
        let checksum = reader::checksum(&self.0[HEADER_OFFSET..][..hot]);
        self.put(HEADER_OFFSET + offset_of!(Header, checksum), checksum);
        let error = instantiate(&self.0).map(drop).expect_err(what);
        let Error::Artifact(precast_artifact::Error::Damaged {
            offset,
            what: found,
        }) = error
        else {
            panic!("{what}: {error}");
        };
        let Section { start, len } = section(&self.header());
        let start = HEADER_OFFSET as u64 + start;
        assert!(
            found.contains(what) && (start..start + len).contains(&offset),
            "expected `{what}` at {start:#x}, {len} bytes, found `{found}` at {offset:#x}"
        );
    }
}

fn instantiate(bytes: &[u8]) -> Result<(Store<()>, Instance), Error> {
    let engine = Engine::default();
    // SAFETY: the code is from our own compiler. The wrong records are what is tested.
    let module = unsafe { Module::from_bytes(&engine, bytes) }.expect("it opens");
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    let ty = GlobalType::new(ValType::I32, false);
    let global = Global::new(&mut store, ty, Val::I32(1))?;
    linker.define(&store, "h", "g", global)?;
    linker.func_wrap("h", "f", |x: i64| x)?;
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

fn lies() -> impl Iterator<Item = Lie> {
    strategies().into_iter().map(|s| Lie(artifact(WAT, s)))
}

#[test]
fn the_truth_is_taken() {
    for lie in lies() {
        let (mut store, instance) = instantiate(&lie.0).unwrap();
        let table = instance.get_table(&mut store, "t").unwrap();
        let element = table.get(&store, 3).unwrap();
        assert!(format!("{element:?}").contains("Func"), "{element:?}");
    }
}

#[test]
fn start_functions_of_other_types() {
    // Function 0 is the import, 2 is `$two`.
    for function in [0, 2] {
        for mut lie in lies() {
            let at = HEADER_OFFSET + offset_of!(Header, start_function);
            lie.put(at, function);
            let header = |_: &Header| Section {
                start: 0,
                len: size_of::<Header>() as u64,
            };
            lie.assert_found(header, "start function");
        }
    }
}

#[test]
fn functions_that_are_elsewhere() {
    let two = 1;
    for (field, value) in [
        (offset_of!(FunctionRecord, text_offset), 1 << 20),
        (offset_of!(FunctionRecord, text_len), 1 << 20),
        (offset_of!(FunctionRecord, text_len), 0),
        (offset_of!(FunctionRecord, signature), 3),
        (offset_of!(FunctionRecord, funcref), 3),
    ] {
        for mut lie in lies() {
            lie.set::<FunctionRecord>(|h| h.functions, two, field, value);
            lie.assert_found(|h| h.functions, "a function's record");
        }
    }
    // The global needs the function's reference.
    for mut lie in lies() {
        let field = offset_of!(FunctionRecord, funcref);
        lie.set::<FunctionRecord>(|h| h.functions, two, field, NONE);
        lie.assert_found(|h| h.functions, "without a slot");
    }
}

/// If two functions shared a slot, the second one's reference would be the first one's, whose type
/// may be another.
#[test]
fn functions_with_one_slot() {
    let (start, two) = (0, 1);
    for mut lie in lies() {
        let artifact = Artifact::parse(&lie.0, None).unwrap();
        let slot = artifact.function(two).unwrap().funcref;
        assert_ne!(slot, artifact.function(start).unwrap().funcref);
        let field = offset_of!(FunctionRecord, funcref);
        lie.set::<FunctionRecord>(|h| h.functions, start as usize, field, slot);
        lie.assert_found(|h| h.functions, "the same slot");
    }
}

#[test]
fn elements_that_are_forged() {
    for (op, index) in [
        (ConstOpcode::Const as u32, 0),
        (ConstOpcode::RefFunc as u32, 3),
        // Global 0 is an i32.
        (ConstOpcode::GlobalGet as u32, 0),
        (ConstOpcode::GlobalGet as u32, 2),
        (ConstOpcode::I64Add as u32, 0),
        (10, 0),
    ] {
        for mut lie in lies() {
            lie.set::<ConstOp>(|h| h.element_items, 1, offset_of!(ConstOp, op), op);
            lie.set::<ConstOp>(|h| h.element_items, 1, offset_of!(ConstOp, index), index);
            lie.set::<ConstOp>(|h| h.element_items, 1, offset_of!(ConstOp, bits), 0x1000);
            lie.assert_found(|h| h.element_items, "an element of another type");
        }
    }
}

#[test]
fn signatures_without_trampolines() {
    for field in [
        offset_of!(SignatureRecord, array_entry),
        offset_of!(SignatureRecord, array_exit),
    ] {
        for mut lie in lies() {
            for signature in 0..lie.header().signatures.len as usize / size_of::<SignatureRecord>()
            {
                lie.set::<SignatureRecord>(|h| h.signatures, signature, field, NONE);
            }
            lie.assert_found(|h| h.signatures, "without the trampoline");
        }
    }
}

#[test]
fn images_outside_of_their_memory() {
    // On other architectures the pages of an artifact are 64 KiB, and the module's two runs are
    // one.
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: the module's two runs of pages are one here");
        return;
    }
    for (field, value) in [
        (offset_of!(ImageRecord, guest), 3 << 16),
        (offset_of!(ImageRecord, guest), 0),
        (offset_of!(ImageRecord, guest), 1),
        (offset_of!(ImageRecord, guest) + 4, 1 << 31),
        (offset_of!(ImageRecord, offset), 1 << 20),
        (offset_of!(ImageRecord, len), 1 << 20),
        (offset_of!(ImageRecord, len), 0),
        (offset_of!(ImageRecord, memory), 1),
    ] {
        for mut lie in lies() {
            lie.set::<ImageRecord>(|h| h.images, 1, field, value);
            lie.assert_found(|h| h.images, "a run of the memory image");
        }
    }
}

/// An exported function whose record is damaged is not found. The others can be called.
#[test]
fn exports_of_damaged_functions() {
    let wat = r#"(module (func (export "f") (result i32) (i32.const 7))
        (func (export "g") (result i32) (i32.const 8)))"#;
    for strategy in strategies() {
        let mut lie = Lie(artifact(wat, strategy));
        let field = offset_of!(FunctionRecord, text_offset);
        lie.set::<FunctionRecord>(|h| h.functions, 0, field, u32::MAX);
        let artifact = Artifact::parse(&lie.0, None).map(drop);
        assert!(artifact.is_ok(), "functions are not hot");
        let engine = Engine::default();
        // SAFETY: the code that is called is from our own compiler.
        let module = unsafe { Module::from_bytes(&engine, &lie.0) }.unwrap();
        let mut store = Store::new(&engine, ());
        let linker = Linker::new(&engine);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        assert!(instance.get_func(&mut store, "f").is_none());
        let g = instance.get_typed_func::<(), i32>(&mut store, "g").unwrap();
        assert_eq!(g.call(&mut store, ()).unwrap(), 8);
        assert_eq!(module.exports().count(), 2);
    }
}

/// If somebody writes to the file, against the contract of opening it, the loader still uses the
/// records that it has checked, however many there are.
#[test]
fn hot_tables_are_those_that_were_checked() {
    for count in [1, 3000] {
        let global = |i| format!("(global (export \"number {i}\") i32 (i32.const {i}))");
        let globals: String = (0..count).map(global).collect();
        let lie = Lie(artifact(&format!("(module {globals})"), Strategy::Guarded));
        let hot = lie.header().hot_len as usize;
        assert!(count == 1 || hot > 65536, "{hot} bytes of hot tables");
        let artifact = ArtifactFile::new(&lie.0);
        let engine = Engine::default();
        let module = artifact.open(&engine);
        let file = std::fs::File::options().write(true).open(artifact.path());
        let file = file.unwrap();
        // The artifact has no code that could change.
        file.write_all_at(&vec![0xff; hot], HEADER_OFFSET as u64)
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate(&mut store, &module);
        let exports = instance.unwrap().exports(&mut store);
        let values = exports.map(|e| match e.into_extern() {
            Extern::Global(global) => global.get(&store).i32(),
            other => panic!("{other:?}"),
        });
        assert!(values.eq((0..count).map(Some)), "{count} globals");
    }
}
