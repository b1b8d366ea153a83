//! An artifact that is made without the compiler, for tests that run no code.

use precast_artifact::records::{ExternKind, FunctionRecord, MemoryRecord, NONE, Run, VmLayout};
use precast_artifact::target::{Arch, Os};
use precast_artifact::vm::{VmContextHeader, VmFuncImport, VmMemory};
use precast_artifact::writer::ArtifactBuilder;
use precast_artifact::{Strategy, custom_sections};

/// The bytes of a small artifact for this machine: an imported and an exported function, a memory,
/// a data segment, and custom sections. Its machine code must not be run.
///
/// # Panics
/// If the artifact cannot be written.
pub fn handmade() -> Vec<u8> {
    let arch = if cfg!(target_arch = "x86_64") {
        Arch::X86_64
    } else {
        Arch::Aarch64
    };
    let mut b = ArtifactBuilder::new(arch, Os::Linux, Strategy::Guarded);
    let nullary = b.signature(&[], &[]);
    b.import_func("a", "b", 0, nullary, None);
    b.export("f", ExternKind::Func, 1);
    // The context has its header, the memory, the imported function, and a flag for the data
    // segment.
    let memory = size_of::<VmContextHeader>() as u32;
    let func_imports = memory + size_of::<VmMemory>() as u32;
    let flags = func_imports + size_of::<VmFuncImport>() as u32;
    b.vm = VmLayout {
        size: (flags + 1).next_multiple_of(16),
        func_imports,
        func_import_count: 1,
        funcrefs: flags,
        funcref_count: 0,
        data_dropped: flags,
        elem_dropped: flags + 1,
    };
    b.memories = vec![MemoryRecord {
        min: 1,
        max: u64::MAX,
        flags: 0,
        vm_offset: memory,
        page_shift: 16,
        reserved: 0,
    }];
    b.data_segment(0, None, Run { first: 0, count: 0 }, &b"passive"[..]);
    b.text = vec![0xcc; 16];
    b.function(
        "f",
        FunctionRecord {
            text_offset: 0,
            text_len: 16,
            signature: nullary,
            funcref: NONE,
        },
    );
    let sections = [("config", &b"a=1"[..]), ("other", b""), ("config", b"b=2")];
    b.custom_sections = custom_sections::encode(sections);
    b.metadata.producer = "precast test".into();
    b.finish().expect("a small artifact")
}
