//! Types that refer to types, and values of such types.

use precast_artifact::records::*;
use precast_artifact::signature::type_id;
use precast_artifact::writer::ArtifactBuilder;
use precast_artifact::{Aligned, Artifact, HeapType, RefType, ValType};

use super::{Change, SectionOf, refused};
use crate::sample::{HOST, full};

/// The artifact after a change.
fn changed(change: impl FnOnce(&mut ArtifactBuilder<'_>)) -> Aligned {
    let mut b = full();
    change(&mut b);
    Aligned::new(&b.finish().expect("small"))
}

fn concrete(nullable: bool, signature: u32) -> ValType {
    ValType::Ref(RefType::new(nullable, HeapType::Concrete(signature)))
}

#[test]
fn types_that_refer_to_types() {
    let signatures: SectionOf = |h| h.signatures;
    let records: SectionOf = |h| h.type_records;
    // A signature refers to itself, to a type behind its group, and to one that does not exist.
    refused(
        |b| {
            b.signature(&[concrete(true, 6)], &[]);
        },
        signatures,
        "unknown value type",
    );
    refused(
        |b| {
            b.signature(&[concrete(true, 5)], &[]);
            b.signature(&[], &[]);
        },
        signatures,
        "behind its recursive group",
    );
    let bytes = changed(|b| {
        b.signature(&[concrete(true, 4)], &[]);
    });
    assert!(Artifact::parse(&bytes, Some(&HOST)).is_ok());
    refused(|b| b.signatures[2].type_id = 1, signatures, "type id");

    let out_of_order = "out of order, says nothing";
    let changes: [Change; 10] = [
        |b| b.type_records[0].signature = 1,
        |b| b.type_records[1].signature = 2,
        |b| b.type_records[1].signature = 4,
        |b| b.type_records[0].group = 3,
        |b| b.type_records[1].group = 3,
        |b| b.type_records[1].group_len = 3,
        |b| b.type_records[0].group_len = u32::MAX,
        |b| b.type_records[0].flags = 2,
        |b| {
            b.type_records.pop();
        },
        |b| {
            // The record of a type that is as it would be without one.
            b.signature(&[], &[]);
            b.type_record(TypeRecord {
                signature: 4,
                supertype: NONE,
                group: 4,
                group_len: 1,
                flags: FINAL,
            });
        },
    ];
    for change in changes {
        let change = |b: &mut ArtifactBuilder<'_>| {
            change(b);
            b.signatures[3].type_id = type_id(&[ValType::FUNCREF], &[]).expect("short");
            for record in &b.type_records {
                if let Some(signature) = b.signatures.get_mut(record.signature as usize) {
                    signature.type_id = 0;
                }
            }
        };
        refused(change, records, out_of_order);
    }
    let none = "a type cannot have its supertype";
    refused(|b| b.type_records[1].supertype = 3, records, none);
    refused(|b| b.type_records[1].supertype = 9, records, none);
    refused(|b| b.type_records[1].supertype = 1, records, none);
    refused(|b| b.type_records[0].flags = FINAL, records, none);
    // The other way round, the parameters do not match.
    refused(
        |b| {
            let types = [b.signatures[2].types, b.signatures[3].types];
            [b.signatures[3].types, b.signatures[2].types] = types;
        },
        records,
        none,
    );
    // Chains that are too long.
    let chain = |b: &mut ArtifactBuilder<'_>, len: u32| {
        for i in 0..len {
            let signature = b.signature(&[], &[]);
            b.type_record(TypeRecord {
                signature,
                supertype: if i == 0 { NONE } else { signature - 1 },
                group: signature,
                group_len: 1,
                flags: 0,
            });
        }
    };
    let bytes = changed(|b| chain(b, 64));
    assert!(Artifact::parse(&bytes, Some(&HOST)).is_ok());
    refused(|b| chain(b, 65), records, none);
}

#[test]
fn values_of_concrete_types() {
    let (tables, globals): (SectionOf, SectionOf) = (|h| h.tables, |h| h.globals);
    let ops: SectionOf = |h| h.const_ops;
    refused(
        |b| b.globals[1].ty = concrete(true, 4).number(),
        globals,
        "unknown type",
    );
    refused(
        |b| b.tables[1].element = concrete(true, 4).number(),
        tables,
        "a table's record",
    );
    // Function 1 has signature 0. References to it are of no other type.
    let of = |nullable, signature| {
        let bytes = changed(|b| b.globals[1].ty = concrete(nullable, signature).number());
        Artifact::parse(&bytes, Some(&HOST)).map(drop)
    };
    assert_eq!((of(true, 0), of(false, 0)), (Ok(()), Ok(())));
    refused(
        |b| b.globals[1].ty = concrete(true, 1).number(),
        ops,
        "of another type",
    );
    // Null where there is none: without an initial value, and with null.
    refused(
        |b| {
            b.globals[1].ty = concrete(false, 0).number();
            (b.globals[1].init, b.globals[1].init_len) = (NONE, 0);
        },
        globals,
        "unknown type",
    );
    refused(
        |b| {
            b.globals[1].ty = concrete(false, 0).number();
            b.const_ops[b.globals[1].init as usize].op = ConstOpcode::RefNull as u32;
        },
        ops,
        "of another type",
    );
    refused(
        |b| {
            b.tables[1].element = concrete(false, 0).number();
            b.table_inits.clear();
        },
        tables,
        "a table's record",
    );
    let bytes = changed(|b| b.tables[1].element = concrete(true, 0).number());
    let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
    // Function 2 has signature 1.
    assert!(a.element_item(0, concrete(true, 0)).is_err());
    assert!(a.element_item(0, concrete(false, 1)).is_ok());
    assert!(a.element_item(1, concrete(true, 0)).is_ok());
    assert!(a.element_item(1, concrete(false, 0)).is_err());
    assert!(a.refers_to_types());
}
