//! An artifact made by hand that has something in every table, for the other tests here.

use precast_artifact::addresses::{AddressMapBuilder, Change, Location};
use precast_artifact::handlers::{self, Handler};
use precast_artifact::records::*;
use precast_artifact::target::{Arch, Os};
use precast_artifact::writer::{ArtifactBuilder, Symbol};
use precast_artifact::{
    Aligned, HeapType, Host, LibCall, RefType, Strategy, TrapCode, ValType, custom_sections, traps,
};

/// The host that [`full`] is for.
pub const HOST: Host = Host {
    arch: Arch::X86_64,
    os: Os::Linux,
    cpu_features: 0b1111,
    page_size: 4096,
};

/// The parts of an artifact that has something in every table.
pub fn full() -> ArtifactBuilder<'static> {
    let mut b = ArtifactBuilder::new(Arch::X86_64, Os::Linux, Strategy::Guarded);
    b.cpu_features = 0b11;
    b.start_function = Some(1);
    let binary = b.signature(&[ValType::I32, ValType::I32], &[ValType::I32]);
    let nullary = b.signature(&[], &[]);
    // Two types of one group: what the second takes is more general, so it is a subtype.
    let to_binary = ValType::Ref(RefType::new(true, HeapType::Concrete(binary)));
    let open = b.signature(&[to_binary], &[]);
    let below = b.signature(&[ValType::FUNCREF], &[]);
    let record = |signature, supertype, flags| TypeRecord {
        signature,
        supertype,
        group: open,
        group_len: 2,
        flags,
    };
    b.type_record(record(open, NONE, 0));
    b.type_record(record(below, open, FINAL));
    b.import_func("env", "host", 0, binary, Some(0));
    b.import("env", "memory", ExternKind::Memory, 0);
    b.export("add", ExternKind::Func, 1);
    b.export("run", ExternKind::Func, 2);
    b.export("table", ExternKind::Table, 1);
    b.export("", ExternKind::Global, 0);
    b.vm = VmLayout {
        size: 336,
        func_imports: 176,
        func_import_count: 1,
        funcrefs: 224,
        funcref_count: 2,
        data_dropped: 320,
        elem_dropped: 322,
    };
    let memory = |min, flags, vm_offset| MemoryRecord {
        min,
        max: 3,
        flags,
        vm_offset,
        page_shift: 16,
        reserved: 0,
    };
    b.memories = vec![memory(1, IMPORTED, 16), memory(2, 0, 24)];
    let table = |flags, vm_offset, frozen| TableRecord {
        min: 3,
        max: 3,
        element: ValType::FUNCREF.number(),
        flags,
        vm_offset,
        frozen,
    };
    b.tables = vec![table(FROZEN, NONE, 0), table(0, 128, NONE)];
    b.rodata.extend(
        [0_u32, 0, 0, NONE, 16, 1, 0, NONE]
            .iter()
            .flat_map(|n| n.to_le_bytes()),
    );
    b.globals = vec![
        GlobalRecord {
            ty: ValType::I32.number(),
            flags: MUTABLE,
            vm_offset: 144,
            init: NONE,
            init_len: 0,
            reserved: 0,
        },
        GlobalRecord {
            ty: ValType::FUNCREF.number(),
            flags: 0,
            vm_offset: 160,
            init: NONE,
            init_len: 0,
            reserved: 0,
        },
    ];
    b.tags = vec![TagRecord {
        signature: nullary,
        flags: 0,
        vm_offset: 304,
        reserved: 0,
    }];
    let op = |op: ConstOpcode, index, bits| ConstOp {
        op: op as u32,
        index,
        bits,
    };
    let reference = [op(ConstOpcode::RefFunc, 1, 0)];
    let offset = [op(ConstOpcode::Const, 0, 0)];
    let value = b.const_expr(&reference);
    b.globals[1].init = value.first;
    b.globals[1].init_len = value.count;
    b.table_inits = vec![TableInitRecord {
        table: 1,
        reserved: 0,
        value: b.const_expr(&reference),
    }];
    b.elements = vec![ElementRecord {
        segment: 0,
        table: 1,
        offset: b.const_expr(&offset),
        items: Run { first: 0, count: 2 },
    }];
    b.element_items = vec![
        op(ConstOpcode::RefFunc, 2, 0),
        op(ConstOpcode::RefNull, 0, 0),
    ];
    let place = b.const_expr(&offset);
    b.data_segment(1, Some(0), place, &b"hello"[..]);
    b.data_segment(2, None, Run { first: 0, count: 0 }, &b"passive"[..]);
    b.images = vec![
        ImageRecord {
            memory: 1,
            reserved: 0,
            guest: 0,
            offset: 0,
            len: 4096,
        },
        ImageRecord {
            memory: 1,
            reserved: 0,
            guest: 0x1_f000,
            offset: 4096,
            len: 4096,
        },
    ];
    b.image_pieces = vec![
        (1, b"page one"[..].into()),
        (6, b"TWO"[..].into()),
        (8190, b"\x01\x02"[..].into()),
    ];
    b.got_records = vec![GotRecord {
        kind: GotKind::LibCall as u32,
        index: LibCall::FmaF64 as u32,
    }];
    b.template = vec![0; 148];
    b.template[144] = 42;

    // lea eax, [rsi + rdx]; ret   and   ud2, each padded to 16 bytes
    b.text = vec![0xcc; 48];
    b.text[..4].copy_from_slice(&[0x8d, 0x04, 0x16, 0xc3]);
    b.text[16..18].copy_from_slice(&[0x0f, 0x0b]);
    b.text[32] = 0xc3;
    b.function(
        "add",
        FunctionRecord {
            text_offset: 0,
            text_len: 4,
            signature: binary,
            funcref: 1,
        },
    );
    b.function(
        "run",
        FunctionRecord {
            text_offset: 16,
            text_len: 2,
            signature: nullary,
            funcref: NONE,
        },
    );
    b.symbols.push(Symbol {
        name: "trampoline".into(),
        text_offset: 32,
        text_len: 1,
    });
    b.signatures[nullary as usize].native_entry = 32;
    b.traps = traps::encode(&[(16, TrapCode::UnreachableCodeReached)]);
    b.handlers = handlers::encode(&[(3, Handler { code: 2, frame: 16 })]);
    let mut addresses = AddressMapBuilder::new(0);
    addresses.function(&[(0, 100), (3, 103)], &[]);
    let body = Some(Location {
        function: 0,
        wasm: 100,
    });
    let change = |position, body| Change { position, body };
    addresses.function(&[(0, 112)], &[change(111, body), change(117, None)]);
    b.addresses = addresses.finish();
    b.metadata.producer = "precast test".into();
    b.metadata.module_name = Some("sample".into());
    let sections = [("config", &b"a=1"[..]), (".debug_info", b"dwarf")];
    b.custom_sections = custom_sections::encode(sections);
    b
}

/// The bytes of [`full`], aligned as a mapping would be.
pub fn full_bytes() -> Aligned {
    Aligned::new(&full().finish().expect("small enough"))
}
