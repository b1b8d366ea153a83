//! Which proposals, beyond the first version of WebAssembly, a module uses.
//!
//! The artifact records the proposals, and a host can refuse them. So the result must be exact: a
//! module is valid if exactly these proposals are allowed, and invalid if any of them is not.
//! Operators bring their own proposals (see [`Class`](crate::operator::Class)); this module adds
//! those of types, segments and constant expressions.

use precast_artifact::{HeapType, RefType, ValType};
use wasmparser::{BlockType, Operator, WasmFeatures};

use crate::const_expr::ConstExpr;
use crate::module::{ElementItems, ElementMode, Facts, Module, PAGE_SHIFT, Signature};
use crate::{Error, parse};

/// The proposal that a type belongs to.
///
/// # Errors
/// [`Error::Unsupported`], without an offset, for types of objects of garbage collection.
pub(crate) fn of_type(ty: wasmparser::ValType) -> Result<WasmFeatures, Error> {
    // All references to function types belong to the same proposal, whatever the type's index is.
    let known = parse::types::val_type(ty, |_| Ok(0))?;
    Ok(of_known(known))
}

/// The proposal that a type of an artifact belongs to.
fn of_known(ty: ValType) -> WasmFeatures {
    match ty {
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => WasmFeatures::empty(),
        ValType::V128 => WasmFeatures::SIMD,
        ValType::FUNCREF | ValType::EXTERNREF => WasmFeatures::REFERENCE_TYPES,
        ValType::Ref(RefType {
            heap: HeapType::Exn | HeapType::NoExn,
            ..
        }) => WasmFeatures::EXCEPTIONS,
        ValType::Ref(_) => WasmFeatures::FUNCTION_REFERENCES,
    }
}

impl Facts {
    /// Records a type that a body names: of locals, blocks, or selected values.
    ///
    /// # Errors
    /// Those of [`of_type`].
    pub(crate) fn record_type(&mut self, ty: wasmparser::ValType) -> Result<(), Error> {
        self.add_features(Some(of_type(ty)?));
        Ok(())
    }

    /// Records the types that an operator names, if it [names
    /// types](crate::operator::Class::names_types).
    ///
    /// # Errors
    /// Those of [`of_type`].
    pub(crate) fn record_types_of(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        let block = match operator {
            Operator::Block { blockty }
            | Operator::Loop { blockty }
            | Operator::If { blockty }
            | Operator::Try { blockty } => *blockty,
            Operator::TryTable { try_table } => try_table.ty,
            Operator::TypedSelect { ty } => return self.record_type(*ty),
            Operator::RefNull { hty } => {
                return match wasmparser::RefType::new(true, *hty) {
                    Some(ty) => self.record_type(wasmparser::ValType::Ref(ty)),
                    None => Ok(()),
                };
            }
            other => unreachable!("the types that {other:?} names are not recorded"),
        };
        match block {
            BlockType::Empty => {}
            BlockType::Type(ty) => self.record_type(ty)?,
            BlockType::FuncType(_) => self.add_features(Some(WasmFeatures::MULTI_VALUE)),
        }
        Ok(())
    }
}

impl Module<'_> {
    /// The proposals, beyond the first version, that the module uses.
    pub(crate) fn features(&self) -> WasmFeatures {
        let mut used: WasmFeatures = self.facts.features.into_iter().collect();
        let signatures = || self.signatures.values();
        let types = signatures().flat_map(|s: &Signature| s.params.iter().chain(&s.results));
        let types = types.chain(self.globals.values().map(|global| &global.ty));
        types.for_each(|ty| used |= of_known(*ty));
        for table in self.tables.values() {
            // The first version of WebAssembly has tables of functions.
            if table.element != ValType::FUNCREF {
                used |= of_known(table.element);
            }
            if table.init.is_some() {
                used |= WasmFeatures::FUNCTION_REFERENCES;
            }
        }
        for element in self.elements.values() {
            used |= element.features;
        }
        used |= self.of_expressions();
        let mut note =
            |is_used: bool, feature| used.set(feature, is_used || used.contains(feature));
        note(
            signatures().any(|s| s.results.len() > 1),
            WasmFeatures::MULTI_VALUE,
        );
        note(
            signatures().any(|s| s.kind.is_some()),
            WasmFeatures::FUNCTION_REFERENCES,
        );
        note(self.tables.len() > 1, WasmFeatures::REFERENCE_TYPES);
        note(!self.tags.is_empty(), WasmFeatures::EXCEPTIONS);
        let is_not_active =
            |mode: &ElementMode| matches!(mode, ElementMode::Passive | ElementMode::Declared);
        note(
            self.data.values().any(|data| data.active.is_none())
                || self.elements.values().any(|e| is_not_active(&e.mode)),
            WasmFeatures::BULK_MEMORY,
        );
        note(self.memories.len() > 1, WasmFeatures::MULTI_MEMORY);
        let is_wide =
            self.memories.values().any(|m| m.index64) || self.tables.values().any(|t| t.index64);
        note(is_wide, WasmFeatures::MEMORY64);
        let memories = || self.memories.values();
        note(memories().any(|m| m.shared), WasmFeatures::THREADS);
        note(
            memories().any(|m| m.page_shift != PAGE_SHIFT),
            WasmFeatures::CUSTOM_PAGE_SIZES,
        );
        used
    }

    /// The proposals of constant expressions.
    fn of_expressions(&self) -> WasmFeatures {
        let mut used = WasmFeatures::empty();
        let mut add = |expr: &ConstExpr| used |= expr.features(self.imported_globals);
        for global in self.globals.values() {
            global.init.iter().for_each(&mut add);
        }
        for table in self.tables.values() {
            table.init.iter().for_each(&mut add);
        }
        for data in self.data.values() {
            data.active.iter().for_each(|(_, offset)| add(offset));
        }
        for element in self.elements.values() {
            if let ElementMode::Active { offset, .. } = &element.mode {
                add(offset);
            }
            if let ElementItems::Expressions(items) = &element.items {
                items.iter().for_each(&mut add);
            }
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse_with;
    use crate::workers::Workers;

    /// Modules that use one proposal in a place that is easily forgotten, and mixed ones.
    const MODULES: &[&str] = &[
        "",
        "(memory 1) (table 1 funcref) (func (param i32) (result i32) (local.get 0))",
        "(memory 1) (data (i32.const 0) \"a\")",
        "(memory 1) (data \"a\")",
        "(table 1 funcref) (func $f) (elem (i32.const 0) $f)",
        "(func $f) (elem func $f)",
        "(func $f) (elem declare func $f)",
        "(table 1 funcref) (func $f) (elem (i32.const 0) funcref (ref.func $f))",
        "(table 1 funcref) (elem (i32.const 0) funcref (ref.null func))",
        "(table 2 externref)",
        "(elem externref)",
        "(elem exnref)",
        "(type $t (func)) (elem (ref null $t) (ref.null $t))",
        "(table 1 funcref) (table 1 funcref)",
        "(func (local v128))",
        "(func (local externref))",
        "(func (local exnref))",
        "(type $t (func)) (func (local (ref null $t)))",
        "(func (local (ref null nofunc)))",
        "(func (drop (block (result v128) (unreachable))))",
        "(func (drop (block (result externref) (unreachable))))",
        "(func (i32.const 1) (block (param i32) (drop)))",
        "(func (i32.const 1) (loop (param i32) (drop)))",
        "(func (i32.const 1) (if (param) (then)))",
        "(func (result i32) (i32.const 1) (i32.const 2) (i32.const 3) (select (result i32)))",
        "(func (drop (ref.null func)))",
        "(func (drop (ref.null nofunc)))",
        "(func (drop (ref.null exn)))",
        "(func (drop (ref.null noexn)))",
        "(func (drop (ref.null noextern)))",
        "(func (local (ref exn)))",
        "(func (local (ref null noexn)))",
        "(func (local (ref null noextern)))",
        "(func (param (ref exn)))",
        "(elem (ref null noexn))",
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
        "(memory 1) (data (i32.sub (i32.const 1) (i32.const 1)) \"a\")",
        "(import \"m\" \"g\" (global $g i32)) (global i32 (global.get $g))",
        "(global $g i32 (i32.const 1)) (global i32 (global.get $g))",
        "(global v128 (v128.const i64x2 0 0))",
        "(global funcref (ref.null func))",
        "(func $f) (global funcref (ref.func $f))",
        "(import \"m\" \"f\" (func (param v128)))",
        "(import \"m\" \"t\" (table 1 externref))",
        "(import \"m\" \"t\" (tag))",
        "(import \"m\" \"m\" (memory 1 1 shared))",
        "(import \"m\" \"m\" (memory i64 1))",
        "(table i64 1 funcref)",
        "(tag $t) (func (throw $t))",
        "(tag $t) (func try catch $t end)",
        "(func try catch_all end)",
        "(func (try_table))",
        "(rec (type (func)) (type (func)))",
        "(rec (type (func)))",
        "(rec)",
        "(type (sub (func)))",
        "(func $f) (table 1 (ref func) (ref.func $f))",
        "(type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))",
        "(func (param funcref) (br_on_null 0 (local.get 0)) (drop))",
        "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
        "(func (atomic.fence))",
        "(memory 1 (pagesize 1))",
        "(func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2)))",
        "(func $f (return_call $f))",
        "(type $t (func)) (func (param (ref $t)) (return_call_ref $t (local.get 0)))",
        "(tag (param v128))",
        "(tag $t) (func (drop (block (result exnref) (try_table (catch_all_ref 0)) (unreachable))))",
        "(table i64 1 funcref) (elem (i64.const 0) funcref (ref.null func))",
        "(memory 1) (memory 1) (func (drop (i32.load 1 (i32.const 0))))",
        "(import \"m\" \"f\" (func (param (ref func))))",
        "(memory 1) (func (data.drop 0)) (data \"a\")",
        "(func $f) (func (drop (ref.is_null (ref.func $f)))) (elem declare func $f)",
        "(func (param f32) (drop (i32.trunc_sat_f32_s (local.get 0))))",
        "(func (param i32) (drop (i32.extend8_s (local.get 0))))",
        "(func (param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0))))",
        "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(table 1 funcref) (func (drop (table.size 0)))",
    ];

    /// Proposals that mean nothing without another one, or that wasmparser treats as part of it.
    fn with_needed(features: WasmFeatures) -> WasmFeatures {
        let mut all = features;
        all.set(
            WasmFeatures::REFERENCE_TYPES,
            features.intersects(
                WasmFeatures::REFERENCE_TYPES
                    | WasmFeatures::EXCEPTIONS
                    | WasmFeatures::FUNCTION_REFERENCES,
            ),
        );
        all.set(
            WasmFeatures::SIMD,
            features.intersects(WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD),
        );
        all
    }

    /// A module is valid with the proposals that were found, and invalid without any one of them.
    #[test]
    fn what_is_found_is_exact() {
        let all = crate::parse::features();
        let rest = WasmFeatures::MUTABLE_GLOBAL | WasmFeatures::GC_TYPES | WasmFeatures::FLOATS;
        let workers = || Workers::new(Some(1));
        for wat in MODULES {
            let wasm = wat::parse_str(format!("(module {wat})")).expect("valid text");
            let used = parse_with(all, &wasm, workers()).expect("a valid module");
            let used = used.features();
            let allowed = with_needed(used) | all & rest;
            if let Err(error) = parse_with(allowed, &wasm, workers()) {
                panic!("{wat}: uses more than was found: {error}");
            }
            for (name, feature) in used.iter_names() {
                let without = all - feature;
                let found = parse_with(without, &wasm, workers()).map(drop);
                assert!(found.is_err(), "{wat}: does not use {name}");
            }
        }
    }

    /// Objects of garbage collection are refused wherever a module names their types.
    #[test]
    fn types_of_objects_are_refused_everywhere() {
        for heap in ["any", "eq", "i31", "struct", "array", "none"] {
            for wat in [
                "(func (param (ref null HEAP)))",
                "(func (result (ref HEAP)) (unreachable))",
                "(func (local i32 (ref null HEAP)))",
                "(func (drop (ref.null HEAP)))",
                "(func (drop (block (result (ref HEAP)) (unreachable))))",
                "(func (loop (result (ref HEAP)) (unreachable)) (drop))",
                "(func (if (result (ref null HEAP)) (i32.const 1) (then (unreachable))
                   (else (unreachable))) (drop))",
                "(func (try_table (result (ref HEAP)) (unreachable)) (drop))",
                "(func try (result (ref HEAP)) unreachable end drop)",
                "(func (unreachable) (select (result (ref null HEAP))) (drop))",
                "(global (ref null HEAP) (ref.null HEAP))",
                "(import \"m\" \"g\" (global (ref null HEAP)))",
                "(table 1 (ref null HEAP))",
                "(import \"m\" \"t\" (table 1 (ref null HEAP)))",
                "(tag (param (ref null HEAP)))",
                "(elem (ref null HEAP))",
                "(elem declare (ref null HEAP) (ref.null HEAP))",
            ] {
                let wat = format!("(module {})", wat.replace("HEAP", heap));
                let wasm = wat::parse_str(&wat).expect("valid text");
                match parse::parse(&wasm) {
                    Err(Error::Unsupported {
                        proposal,
                        offset,
                        message,
                    }) => {
                        assert_eq!(proposal, "gc", "{wat}");
                        assert!(offset > 8, "{wat}: at byte {offset}");
                        let found = message.to_lowercase();
                        assert_eq!(found, format!("found the heap type {heap}"), "{wat}");
                    }
                    other => panic!("{wat}: {:?}", other.err()),
                }
            }
        }
    }
}
