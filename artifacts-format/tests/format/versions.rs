//! A change to anything that old artifacts or old machine code rely on needs a new number.
//!
//! Each test has a hash of everything that a number stands for. If a test fails because old
//! artifacts would be read wrongly, raise `FORMAT`; if old machine code would be served wrongly,
//! raise `ABI`. Then put the new hash beside the new number. Something that was only added, such as
//! a CPU feature that no old artifact uses, needs the new hash but no new number.

use std::fmt::Write;
use std::mem::{offset_of, size_of};

use precast_artifact::abi::{GUARDED_OFFSET_LIMIT, GUARDED_RESERVATION, MASKED_OFFSET_LIMIT};
use precast_artifact::counters::CountersRecord;
use precast_artifact::executable::{self, PayloadRecord};
use precast_artifact::profile::{self, Profile, Target};
use precast_artifact::promises::Promise;
use precast_artifact::records::*;
use precast_artifact::signature::{INTERNED_TYPE_ID, MAX_ENCODED_VALUES, MAX_NATIVE_PARAMS};
use precast_artifact::target::{Arch, Os};
use precast_artifact::trailer::{self, FileSignature};
use precast_artifact::variants::{self, Piece, VariantRecord};
use precast_artifact::vm::*;
use precast_artifact::{
    ABI, Builtin, FORMAT, Feature, HEADER_OFFSET, Header, Interruption, LibCall, MAGIC, Strategy,
    TrapCode, ValType,
};

/// Writes one line for each field (type, name, offset) and one for the size of each type.
macro_rules! layout {
    ($out:ident, $($Type:ident { $($field:ident),* $(,)? })*) => {
        $(
            $(
                let (name, field) = (stringify!($Type), stringify!($field));
                writeln!($out, "{name} {field} {}", offset_of!($Type, $field)).unwrap();
            )*
            writeln!($out, "{} size {}", stringify!($Type), size_of::<$Type>()).unwrap();
        )*
    };
}

#[track_caller]
fn unchanged(what: &str, number: u32, description: &str, known: &[(u32, &str)]) {
    let hash = blake3::hash(description.as_bytes()).to_hex();
    let expected = known.iter().find(|(n, _)| *n == number).map(|k| k.1);
    assert_eq!(
        Some(&hash[..16]),
        expected,
        "what {what} {number} stands for has changed; it is now:\n{description}"
    );
}

#[test]
fn format() {
    let mut out = String::new();
    writeln!(out, "{MAGIC:?} at {HEADER_OFFSET}").unwrap();
    layout!(out,
        Header {
            magic, format, abi, checksum, hot_len, digest, file_len, arch, os, cpu_features,
            page_size, pointer_width, strategy, start_function, vm, interruption, features, strings, types,
            signatures, type_records, imports, exports, memories, tables, globals, tags, const_ops,
            table_inits,
            elements, data, images, got_records, template, rodata, text, got, image, element_items,
            segments, functions, traps, handlers, addresses, metadata, symtab, strtab,
            custom_sections, order, counters,
        }
        Slice { offset, len }
        Run { first, count }
        SignatureRecord {
            type_id, types, params, results, native_entry, array_entry, native_exit, array_exit,
        }
        TypeRecord { signature, supertype, group, group_len, flags }
        ImportRecord { module, name, kind, index, signature, funcref }
        ExportRecord { hash, ordinal, name, kind, index }
        MemoryRecord { min, max, flags, vm_offset, page_shift, reserved }
        TableRecord { min, max, element, flags, vm_offset, frozen }
        GlobalRecord { ty, flags, vm_offset, init, init_len, reserved }
        TagRecord { signature, flags, vm_offset, reserved }
        FunctionRecord { text_offset, text_len, signature, funcref }
        ConstOp { op, index, bits }
        DataRecord { segment, memory, offset, bytes, len }
        ElementRecord { segment, table, offset, items }
        TableInitRecord { table, reserved, value }
        ImageRecord { memory, reserved, guest, offset, len }
        GotRecord { kind, index }
        CountersRecord { module, vm_offset, places, sites, reserved }
    );
    writeln!(
        out,
        "flags {IMPORTED} {MUTABLE} {FROZEN} {INDEX64} {SHARED} none {NONE}"
    )
    .unwrap();
    for n in 0..32 {
        let kind = ExternKind::from_number(n).map(ExternKind::name);
        let op = ConstOpcode::from_number(n);
        let (got, arch) = (GotKind::from_number(n), Arch::from_number(n));
        let os = Os::from_number(n).map(Os::name);
        writeln!(out, "{n} {kind:?} {op:?} {got:?} {arch:?} {os:?}").unwrap();
        if let Some(arch) = arch {
            writeln!(
                out,
                "{} {} {:?}",
                arch.name(),
                arch.page_size(),
                arch.features()
            )
            .unwrap();
        }
    }
    writeln!(out, "hash {:#x}", precast_artifact::name_hash("memory")).unwrap();
    // Some tables have no records, so the bytes of an example stand for their encoding.
    let traps = precast_artifact::traps::encode(&[
        (1, TrapCode::UnreachableCodeReached),
        (515, TrapCode::OutOfFuel),
    ]);
    let handler = precast_artifact::handlers::Handler {
        code: 7,
        frame: 513,
    };
    let handlers = precast_artifact::handlers::encode(&[(1, handler)]);
    let mut addresses = precast_artifact::addresses::AddressMapBuilder::new(1);
    let body = Some(precast_artifact::addresses::Location {
        function: 1,
        wasm: 400,
    });
    let change = |position, body| precast_artifact::addresses::Change { position, body };
    let changes = [change(301, body), change(309, None)];
    addresses.function(&[(0, 300), (2, 303), (600, 1)], &changes);
    addresses.function(&[], &[]);
    let custom = precast_artifact::custom_sections::encode([("name", &b"bytes"[..])]);
    let metadata = crate::sample::full().metadata.encode();
    writeln!(
        out,
        "{traps:?} {handlers:?} {:?} {metadata:?} {custom:?}",
        addresses.finish()
    )
    .unwrap();
    unchanged("FORMAT", FORMAT, &out, &[(1, "51fe50cbf6191a6f")]);
}

#[test]
fn abi() {
    let mut out = String::new();
    layout!(out,
        VmLayout {
            size, func_imports, func_import_count, funcrefs, funcref_count, data_dropped,
            elem_dropped,
        }
        VmStoreContext {
            stack_limit, fuel, interrupt, exit_fp, exit_sp, entry_fp, entry_sp, entry_handler,
            trapped, builtins,
        }
        VmContextHeader { store, instance }
        VmMemory { base, len, mask }
        VmTable { base, len }
        VmFuncImport { code, ctx, shim, data, owner, store }
        VmFuncRef { code, ctx, type_id, array_entry, native_entry }
        VmTag { type_id, values }
        VmException { tag, reference }
        ValRaw { i32, i64, f32, f64, v128, funcref, externref, exnref }
        FrozenEntry { code, signature }
    );
    for builtin in Builtin::ALL {
        writeln!(
            out,
            "{builtin} {} {}",
            *builtin as u32,
            builtin.takes_vmctx()
        )
        .unwrap();
    }
    for libcall in LibCall::ALL {
        writeln!(out, "{libcall} {}", *libcall as u32).unwrap();
    }
    for trap in TrapCode::ALL {
        writeln!(out, "{trap} {}", *trap as u32).unwrap();
    }
    for strategy in Strategy::ALL {
        let guards = [(false, 16), (true, 16), (false, 0), (true, 0)];
        let guards = guards.map(|(memory64, shift)| strategy.guards(memory64, shift));
        writeln!(out, "{strategy} {} {guards:?}", *strategy as u32).unwrap();
    }
    for feature in Feature::ALL {
        writeln!(out, "{feature} {:#x}", feature.bit()).unwrap();
    }
    for interruption in Interruption::ALL {
        writeln!(out, "{interruption} {}", *interruption as u32).unwrap();
    }
    let heap_types = (0..16).flat_map(|n| [n | 1 << 31, n | 3 << 30, n | 5 << 29]);
    for ty in (0..16).chain(heap_types).filter_map(ValType::from_number) {
        writeln!(out, "{ty} {:#x}", ty.number()).unwrap();
    }
    for promise in Promise::ALL {
        let (lifetime, address) = (promise.lifetime(), promise.address());
        writeln!(out, "{promise:?} {lifetime:?} {address:?}").unwrap();
    }
    writeln!(
        out,
        "{GUARDED_RESERVATION} {GUARDED_OFFSET_LIMIT} {MASKED_OFFSET_LIMIT}"
    )
    .unwrap();
    writeln!(
        out,
        "{INTERNED_TYPE_ID} {MAX_ENCODED_VALUES} {MAX_NATIVE_PARAMS}"
    )
    .unwrap();
    unchanged("ABI", ABI, &out, &[(4, "ab6bb4819593c2d2")]);
}

#[test]
fn profiles() {
    let target = Target {
        index: 1,
        votes: 300,
    };
    let profile = Profile::of([7; 32], [(1, 2), (500, 70_000)], [(9, target)]);
    let out = format!("{:?}", profile.encode());
    unchanged(
        "a profile's VERSION",
        profile::VERSION,
        &out,
        &[(1, "5816193e863584c5")],
    );
}

/// Signatures behind artifacts, and files of several artifacts, have numbers of their own.
#[test]
fn trailers_and_variants() {
    let mut out = String::new();
    let message = trailer::message(&[1; 32]);
    writeln!(
        out,
        "{:?} {} {message:?}",
        trailer::MAGIC,
        trailer::MAX_SIGNATURES
    )
    .unwrap();
    layout!(out, FileSignature { key, signature });
    unchanged(
        "version of signatures",
        trailer::VERSION,
        &out,
        &[(1, "c8965007c3a773d7")],
    );

    let mut out = String::new();
    writeln!(out, "{:?} {}", variants::MAGIC, variants::MAX_VARIANTS).unwrap();
    layout!(out,
        VariantRecord { cpu_features, arch, os, page_size, pieces, piece }
        Piece { start, len }
    );
    unchanged(
        "version of variants",
        variants::VERSION,
        &out,
        &[(1, "eb7a38c4836bd638")],
    );

    let mut out = format!("{:?}\n", executable::PAYLOAD_MAGIC);
    layout!(
        out,
        PayloadRecord {
            magic,
            version,
            arch,
            format,
            abi,
            artifact,
            artifact_len,
            options,
            options_len,
        }
    );
    unchanged(
        "version of executables",
        executable::PAYLOAD_VERSION,
        &out,
        &[(1, "2ef3ddc1619dc898")],
    );
}
