//! Tests that the verifier finds what is broken: each breaks one thing in a good artifact.

use precast_artifact::records::*;
use precast_artifact::target::{Arch, Os};
use precast_artifact::writer::{ArtifactBuilder, Symbol};
use precast_artifact::{Strategy, TrapCode, ValType, traps};

use super::*;

fn good() -> ArtifactBuilder<'static> {
    let mut b = ArtifactBuilder::new(Arch::X86_64, Os::Linux, Strategy::Guarded);
    let signature = b.signature(&[ValType::I32], &[]);
    b.text = vec![0xc3; 48];
    for text_offset in [0, 16] {
        let name = format!("function at {text_offset}");
        b.function(
            name,
            FunctionRecord {
                text_offset,
                text_len: 10,
                signature,
                funcref: NONE,
            },
        );
    }
    b.symbols.push(Symbol {
        name: "entry".into(),
        text_offset: 32,
        text_len: 16,
    });
    b.signatures[0].native_entry = 32;
    b.tables.push(TableRecord {
        min: 3,
        max: 3,
        element: ValType::FUNCREF.number(),
        flags: FROZEN,
        vm_offset: NONE,
        frozen: 0,
    });
    b.rodata = [0, 0, 0, NONE, 16, 0, 0, NONE]
        .iter()
        .flat_map(|n: &u32| n.to_le_bytes())
        .collect();
    b.traps = traps::encode(&[(3, TrapCode::UnreachableCodeReached)]);
    let mut addresses = precast_artifact::addresses::AddressMapBuilder::new(0);
    addresses.function(&[(0, 100)], &[]);
    addresses.function(&[(0, 200), (9, 205)], &[]);
    b.addresses = addresses.finish();
    b.export("f", ExternKind::Func, 0);
    b.export("g", ExternKind::Func, 1);
    b.got_records = vec![GotRecord {
        kind: GotKind::LibCall as u32,
        index: precast_artifact::LibCall::FmaF64 as u32,
    }];
    b
}

#[track_caller]
fn finds(expected: &str, break_it: impl FnOnce(&mut ArtifactBuilder<'_>)) {
    let mut b = good();
    break_it(&mut b);
    let error = verify(&b.finish().expect("small")).expect_err(expected);
    assert!(
        error.problems.iter().any(|p| p.contains(expected)),
        "{error}"
    );
}

#[test]
fn accepts_good_artifacts() {
    assert_eq!(verify(&good().finish().expect("small")), Ok(()));
    let empty = ArtifactBuilder::new(Arch::Aarch64, Os::Linux, Strategy::Checked);
    assert_eq!(verify(&empty.finish().expect("small")), Ok(()));
}

#[test]
fn finds_what_is_broken() {
    finds("code: symbol 1 overlaps symbol 2", |b| {
        b.functions[0].text_len = 17;
        b.symbols[0].text_len = 17;
    });
    finds("its symbol is", |b| b.functions[1].text_offset = 17);
    finds("symbol 3 is not a function with a name in the text", |b| {
        b.symbols[2].text_len = 17
    });
    finds("no code starts at 0x21", |b| {
        b.signatures[0].native_entry = 33
    });
    finds("trap `unreachable` at 0xa is in no code", |b| {
        b.traps = traps::encode(&[(10, TrapCode::UnreachableCodeReached)]);
    });
    finds("unsorted trap table", |b| {
        b.traps = vec![9, 0, 0, 0, 3, 0, 0, 0, 1, 1]
    });
    finds("unreadable trap table", |b| b.traps[4] = 99);
    finds("address map of function 1", |b| b.functions[1].text_len = 9);
    finds("another number of functions", |b| b.addresses.clear());
    finds("element 2 of table 0", |b| b.rodata[16] = 15);
    finds("element 2 of table 0", |b| b.rodata[20] = 1);
    finds("element 3 of table 0", |b| b.rodata[28..].fill(0));
    finds("damaged at offset", |b| {
        b.functions.pop();
        b.symbols.remove(1);
    });
    finds("function 0: Some(Damaged", |b| b.functions[0].signature = 1);
    finds("two have the same name", |b| {
        b.export("f", ExternKind::Func, 1)
    });
    finds("funcref slots", |b| b.functions[0].funcref = 1);
    let reference = |b: &mut ArtifactBuilder<'_>| {
        b.functions[0].funcref = 0;
        b.vm = VmLayout {
            size: 64,
            funcrefs: 16,
            funcref_count: 1,
            data_dropped: 56,
            elem_dropped: 56,
            ..b.vm
        };
    };
    finds("without the trampoline", reference);
    finds("overlaps what is before it", |b| {
        reference(b);
        b.vm.funcrefs = 8;
    });
    finds("without the trampoline", |b| {
        b.import_func("h", "f", 0, 0, None);
        b.vm.func_import_count = 1;
        (b.vm.funcrefs, b.vm.data_dropped, b.vm.elem_dropped) = (64, 64, 64);
        b.vm.size = 64;
    });
    finds("a start function with parameters", |b| {
        b.start_function = Some(0)
    });
    let elements = |b: &mut ArtifactBuilder<'_>, items: &[(ConstOpcode, u32)]| {
        let op = |(op, index): &(ConstOpcode, u32)| ConstOp {
            op: *op as u32,
            index: *index,
            bits: 0,
        };
        b.element_items = items.iter().map(op).collect();
        b.elements.push(ElementRecord {
            segment: 0,
            table: NONE,
            offset: Run { first: 0, count: 0 },
            items: Run {
                first: 0,
                count: items.len() as u32,
            },
        });
        (b.vm.size, b.vm.func_imports) = (32, 16);
    };
    finds("elements of segment 0", |b| {
        elements(b, &[(ConstOpcode::RefNull, 0), (ConstOpcode::Const, 0)]);
    });
    finds("elements of segment 0", |b| {
        elements(b, &[(ConstOpcode::RefFunc, 2)]);
    });
    finds("a function without a slot", |b| {
        elements(b, &[(ConstOpcode::RefFunc, 1)]);
    });
}

#[test]
fn finds_bytes_changed_afterwards() {
    let mut bytes = good().finish().expect("small");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let error = verify(&bytes).expect_err("the digest must differ");
    assert!(error.to_string().contains("digest"), "{error}");
}
