use super::*;
use crate::parse::parse;

fn plan<T>(wat: &str, look: impl FnOnce(&Plan, &Module<'_>) -> T) -> T {
    let wasm = wat::parse_str(wat).unwrap();
    let module = parse(&wasm).unwrap();
    look(&Plan::new(&module).unwrap(), &module)
}

/// Whether the only table of a module with these additions is frozen.
fn frozen(fields: &str) -> bool {
    let wat = format!("(module {fields} (func $f) (type $t (func)))");
    plan(&wat, |plan, _| {
        plan.tables[TableIndex::new(0)].frozen.is_some()
    })
}

#[test]
fn tables_that_nothing_changes_are_frozen() {
    assert!(frozen("(table 2 funcref) (elem (i32.const 0) $f)"));
    assert!(frozen(
        "(table 2 funcref) (elem (i32.const 0) funcref (ref.null func) (ref.func $f))"
    ));
    assert!(frozen(
        "(table 2 funcref) (func (call_indirect (type $t) (table.size))) (elem (i32.const 0) $f)"
    ));
}

#[test]
fn tables_that_something_may_change_are_not() {
    for fields in [
        "(table (export \"t\") 2 funcref)",
        "(import \"\" \"\" (table 2 funcref))",
        "(table 2 externref)",
        "(table 5000 funcref) (elem (i32.const 0) $f)",
        "(table 2 funcref) (func (table.set (i32.const 0) (ref.null func)))",
        "(table 2 funcref) (func (drop (table.get (i32.const 0))))",
        "(table 2 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))",
        "(table 2 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(table 2 funcref) (elem $e func $f)
         (func (table.init $e (i32.const 0) (i32.const 0) (i32.const 0)))",
        // These segments have offsets that are not constant, or not in bounds.
        "(table 2 funcref) (elem (i32.const 2) $f)",
        "(table 2 funcref) (elem (i32.const -1) $f $f)",
    ] {
        assert!(!frozen(fields), "{fields}");
    }
    let imported =
        "(module (import \"\" \"\" (global $g i32)) (import \"\" \"r\" (global $r funcref))
        (table 2 funcref) (table 2 funcref) (func $f)
        (elem (table 0) (global.get $g) func $f)
        (elem (table 1) (i32.const 0) funcref (global.get $r)))";
    plan(imported, |plan, _| {
        assert!(plan.tables.values().all(|table| table.frozen.is_none()));
        assert_eq!(plan.element_records.len(), 2);
    });
}

#[test]
fn frozen_tables_are_in_proportion_to_their_segments() {
    let tables = |fields: &str| {
        plan(&format!("(module (func $f) {fields})"), |plan, _| {
            let frozen = plan.tables.values().map(|table| table.frozen.is_some());
            frozen.collect::<Vec<_>>()
        })
    };
    // Tables at the bound and beyond it; what one table uses is not available to the others.
    assert_eq!(tables("(table 4096 funcref)"), [true]);
    assert_eq!(tables("(table 4097 funcref)"), [false]);
    assert_eq!(
        tables("(table 4098 funcref) (elem (i32.const 9) $f)"),
        [true]
    );
    assert_eq!(
        tables("(table 4099 funcref) (elem (i32.const 9) $f)"),
        [false]
    );
    assert_eq!(
        tables("(table 3000 funcref) (table 3000 funcref) (table 1096 funcref)"),
        [true, false, true]
    );
    let items = "$f ".repeat(50_000);
    assert_eq!(
        tables(&format!(
            "(table 100001 funcref) (elem (i32.const 0) {items})"
        )),
        [true]
    );
    assert_eq!(tables(&"(table 10000000 funcref)".repeat(10)), [false; 10]);
}

#[test]
fn images_are_in_proportion_to_their_segments() {
    let in_image = |segments: &str| {
        plan(
            &format!("(module (memory 65536) {segments})"),
            |plan, module| {
                assert_eq!(
                    plan.image.len() + plan.data_records.len(),
                    module.data.len()
                );
                plan.image.len()
            },
        )
    };
    let at = |place: u64, len: usize| {
        format!(
            "(data (i32.const {}) \"{}\")",
            place as u32 as i32,
            "x".repeat(len)
        )
    };
    let scattered = |count: u64, distance: u64, len: usize| {
        (0..count)
            .map(|i| at(i * distance, len))
            .collect::<String>()
    };
    // A page for each byte is allowed up to a limit; a segment across a page boundary takes two.
    assert_eq!(in_image(&scattered(256, 4096, 1)), 256);
    assert_eq!(in_image(&scattered(300, 4096, 1)), 0);
    assert_eq!(in_image(&scattered(300, 4096, 256)), 300);
    assert_eq!(
        in_image(&(scattered(127, 8192, 1) + &at(4_000_000, 16) + &at(4_095, 2))),
        129
    );
    // The number of mappings is limited, whatever they hold.
    assert_eq!(in_image(&scattered(1024, 70_000, 256)), 1024);
    assert_eq!(in_image(&scattered(1025, 70_000, 256)), 0);
    // Many segments that are close together share one page.
    assert_eq!(in_image(&scattered(4000, 1, 1)), 4000);
    // The limits are those of each memory, so one memory may have an image and another none.
    let two = format!(
        "(memory $b 1) (data (memory $b) (i32.const 5) \"x\") {}",
        scattered(300, 4096, 1)
    );
    assert_eq!(in_image(&two), 1);
}

/// Facts about an index apply to that item and not to another with a lower or higher index.
#[test]
fn facts_apply_to_the_items_that_code_names() {
    let wat = "(module (type $t (func)) (func $a (param i64)) (func $b) (func $c (param i32))
        (table 2 funcref) (table $t1 2 funcref) (data $d \"x\") (data $e \"y\")
        (elem $p func $a) (elem $q func $a) (elem declare func $b)
        (memory 1) (func (table.set $t1 (i32.const 0) (ref.func $b))
            (data.drop $e) (elem.drop $q)))";
    plan(wat, |plan, module| {
        let frozen: Vec<_> = plan.tables.values().map(|t| t.frozen.is_some()).collect();
        assert_eq!(frozen, [true, false]);
        assert_eq!(
            (plan.data_records.len(), plan.element_records.len()),
            (1, 1)
        );
        let slots: Vec<_> = plan.funcrefs.values().map(|slot| *slot != NONE).collect();
        // `$a` is in a segment that has a record.
        assert_eq!(slots, [true, true, false, false]);
        let signature = |f| module.functions[FuncIndex::new(f)];
        assert_eq!(plan.entries, BTreeSet::from([signature(0), signature(1)]));
    });
}

#[test]
fn later_segments_win_in_frozen_tables() {
    let wat = "(module (func $a) (func $b (param i32)) (table 3 funcref)
        (elem (i32.const 0) func $a $a) (elem (i32.const 1) func $b)
        (elem (i32.const 0) funcref (ref.null func)))";
    plan(wat, |plan, _| {
        let table = plan.tables[TableIndex::new(0)].frozen.as_ref().unwrap();
        assert_eq!(table.elements, [None, Some(FuncIndex::new(1)), None]);
        assert_eq!(table.signature, Some(SigIndex::new(1)));
        assert!(plan.entries.is_empty(), "nothing escapes");
    });
}

#[test]
fn memory_image_keeps_the_order_of_segments() {
    let wat = "(module (import \"\" \"\" (global $g i32)) (memory 1) (memory 1)
        (data (memory 0) (i32.const 65534) \"ab\")
        (data (memory 0) (global.get $g) \"c\")
        (data (memory 0) (i32.const 1) \"d\")
        (data (memory 1) (i32.const 2) \"e\")
        (data (memory 1) (i32.const 65536) \"f\")
        (data $named \"g\") (data \"h\")
        (func (data.drop $named)))";
    plan(wat, |plan, _| {
        let image: Vec<_> = plan
            .image
            .iter()
            .map(|(m, at, d)| (m.index(), *at, d.index()))
            .collect();
        assert_eq!(image, [(0, 65534, 0), (1, 2, 3)]);
        let plans: Vec<_> = plan.data.values().copied().collect();
        use SegmentPlan::{Dropped, Record, Unused};
        assert_eq!(
            plans,
            [
                Dropped,
                Record(0),
                Record(1),
                Dropped,
                Record(2),
                Record(3),
                Unused
            ]
        );
    });
}

/// Behind a segment that can fail, nothing is frozen or in the image, but only if somebody may hold
/// a function of the instance then.
#[test]
fn what_comes_behind_a_failing_segment_waits_for_it() {
    let waits = |segments: &str| {
        let wat = format!(
            "(module (import \"\" \"\" (table $t 4 funcref)) (import \"\" \"\" (memory $m 1))
            (import \"\" \"\" (global $g i32)) (memory $own 1) (table $first 2 funcref)
            (table $last 2 funcref) (func $f) (elem (table $first) (i32.const 0) func $f)
            {segments} (elem (table $last) (i32.const 0) func $f)
            (data (memory $own) (i32.const 65533) \"abc\"))"
        );
        plan(&wat, |plan, _| {
            let frozen = |i| plan.tables[TableIndex::new(i)].frozen.is_some();
            assert!(frozen(1), "{segments}");
            (!frozen(2), plan.image.is_empty())
        })
    };
    let escapes = "(elem (table $t) (global.get $g) func $f)";
    for (then, expected) in [
        ("", (false, false)),
        ("(elem (table $t) (i32.const 3) func $f)", (false, false)),
        ("(elem (table $t) (i32.const 4) func)", (false, false)),
        ("(elem (table $t) (i32.const 4) func $f)", (true, true)),
        ("(elem (table $t) (i32.const -1) func $f)", (true, true)),
        ("(elem (table $t) (global.get $g) func $f)", (true, true)),
        ("(data (memory $m) (i32.const 65535) \"x\")", (false, false)),
        ("(data (memory $m) (i32.const 65536) \"x\")", (false, true)),
        ("(data (memory $m) (global.get $g) \"\")", (false, true)),
    ] {
        assert_eq!(waits(&format!("{escapes} {then}")), expected, "{then}");
        // The same segment is the first that puts a function into the imported table, or nothing
        // does.
        assert_eq!(waits(then), (false, false), "{then}");
    }
}

#[test]
fn constants_are_folded_and_initial_values_known() {
    let wat = "(module (import \"\" \"\" (global $i i32))
        (global $a i32 (i32.const -2)) (global $b (mut i64) (i64.const 5))
        (global $c i32 (i32.mul (i32.const -2) (i32.const 3)))
        (global $d i32 (global.get $i)) (global $e v128 (v128.const i64x2 1 2)))";
    plan(wat, |plan, _| {
        let global = |i| plan.globals[GlobalIndex::new(i)];
        assert_eq!(global(1).constant, Some(ConstValue(0xffff_fffe)));
        assert_eq!(
            (global(2).constant, global(2).init),
            (None, Some(ConstValue(5)))
        );
        assert_eq!(global(3).constant, Some(ConstValue(0xffff_fffa)));
        assert_eq!((global(4).constant, global(4).init), (None, None));
        assert_eq!(global(5).offset % 16, 0);
        assert_eq!(global(5).init, Some(ConstValue(2 << 64 | 1)));
    });
}

#[test]
fn parts_of_the_vm_context_do_not_overlap() {
    let wat = "(module (import \"\" \"f\" (func $f)) (import \"\" \"m\" (memory 1))
        (memory 1) (table (export \"t\") 1 funcref) (global (mut v128) (v128.const i64x2 0 0))
        (data $d \"x\") (elem $e func $f) (export \"f\" (func $f))
        (func (data.drop $d) (elem.drop $e)))";
    plan(wat, |plan, module| {
        let vm = plan.vm;
        let mut parts = vec![
            (0, 16),
            (plan.globals[GlobalIndex::new(0)].offset, 16),
            (plan.memories[MemoryIndex::new(0)].offset, 8),
            (plan.memories[MemoryIndex::new(1)].offset, 16),
            (plan.tables[TableIndex::new(0)].offset, 16),
            (vm.func_imports, 48),
            (vm.funcrefs, 40 * vm.funcref_count),
            (vm.data_dropped, 1),
            (vm.elem_dropped, 1),
            (vm.size, 0),
        ];
        parts.sort_unstable();
        assert!(parts.is_sorted_by(|a, b| a.0 + a.1 <= b.0), "{parts:?}");
        assert_eq!(vm.size % 16, 0);
        assert_eq!(vm.funcref_count, 1);
        assert_eq!(plan.entries.len(), 1, "the exported import's");
        assert_eq!(
            plan.exits.iter().copied().collect::<Vec<_>>(),
            [module.functions[FuncIndex::new(0)]]
        );
    });
}
