//! Checks of types that refer to types, and subtyping between types of one artifact.
//!
//! Every type refers only to types of its own recursive group and of earlier ones, and every
//! supertype comes before its subtypes. So a loader that goes through the groups in their order
//! knows everything that a group refers to, and no chain of supertypes has a cycle.

use super::check::{at, damaged};
use super::{Artifact, Error};
use crate::records::*;
use crate::types::{HeapType, RefType, ValType};

/// Maximum length of a chain of supertypes, which is the limit of WebAssembly.
const MAX_DEPTH: u32 = 63;

impl<'a> Artifact<'a> {
    /// What distinguishes the type of this signature from others with the same parameters and
    /// results.
    pub fn type_record(&self, signature: u32) -> Option<&'a TypeRecord> {
        let records = self.type_records();
        let i = records
            .binary_search_by_key(&signature, |r| r.signature)
            .ok()?;
        Some(&records[i])
    }

    /// The recursive group of this signature: its first signature, and the number of signatures.
    pub fn type_group(&self, signature: u32) -> (u32, u32) {
        self.type_record(signature)
            .map_or((signature, 1), |r| (r.group, r.group_len))
    }

    /// Whether any signature, table or global refers to the type of a signature, or any type has a
    /// record. Only then does the loader need a registry of types.
    pub fn refers_to_types(&self) -> bool {
        let is_concrete = |n: u32| {
            ValType::from_number(n)
                .and_then(ValType::concrete)
                .is_some()
        };
        !self.type_records().is_empty()
            || self.types().iter().any(|n| is_concrete(*n))
            || self.tables().iter().any(|t| is_concrete(t.element))
            || self.globals().iter().any(|g| is_concrete(g.ty))
    }

    /// Whether every value of the type `sub` is one of the type `of`
    /// (<https://webassembly.github.io/spec/core/valid/matching.html>).
    pub fn is_subtype(&self, sub: ValType, of: ValType) -> bool {
        match (sub, of) {
            (ValType::Ref(sub), ValType::Ref(of)) => self.is_ref_subtype(sub, of),
            (sub, of) => sub == of,
        }
    }

    fn is_ref_subtype(&self, sub: RefType, of: RefType) -> bool {
        (of.nullable || !sub.nullable)
            && match (sub.heap, of.heap) {
                (sub, of) if sub == of || of == sub.top() => true,
                (sub, of) if sub.is_bottom() => sub.top() == of.top(),
                (HeapType::Concrete(sub), HeapType::Concrete(of)) => self.descends(sub, of),
                _ => false,
            }
    }

    /// Whether the type of the signature `sub` is that of `of`, or has it as a supertype. The
    /// search ends at the greatest depth, so that types that are not checked yet cannot make it
    /// long.
    fn descends(&self, sub: u32, of: u32) -> bool {
        let above = |signature: &u32| self.supertype(*signature);
        std::iter::successors(Some(sub), above)
            .take(MAX_DEPTH as usize + 1)
            .any(|signature| signature == of)
    }

    /// The supertype of a signature's type. It comes before the signature.
    pub fn supertype(&self, signature: u32) -> Option<u32> {
        let above = self.type_record(signature)?.supertype;
        (above < signature).then_some(above)
    }

    /// Checks the types of all signatures. `check_signatures` has found that each signature's types
    /// are in the table.
    pub(super) fn check_types(&self) -> Result<(), Error> {
        let h = self.header;
        self.check_records()?;
        for (i, s) in (0_u32..).zip(self.signatures()) {
            let start = s.types as usize;
            let types = &self.types()[start..start + s.params as usize + s.results as usize];
            let refers_to = types
                .iter()
                .filter_map(|n| ValType::from_number(*n)?.concrete());
            let Some(last) = refers_to.max() else {
                continue;
            };
            let (group, len) = self.type_group(i);
            if last >= group + len {
                return Err(damaged(
                    at::<SignatureRecord>(h.signatures, i as usize),
                    "a signature refers to a type behind its recursive group",
                ));
            }
        }
        self.check_supertypes()
    }

    /// Checks that the records are in order and that groups are whole.
    fn check_records(&self) -> Result<(), Error> {
        let h = self.header;
        let (count, records) = (self.signatures().len() as u64, self.type_records());
        let same_group = |a: &TypeRecord, b: Option<&TypeRecord>, signature: u32| {
            b.is_some_and(|b| {
                (b.signature, b.group, b.group_len) == (signature, a.group, a.group_len)
            })
        };
        let mut next = 0;
        for (i, r) in records.iter().enumerate() {
            let end = u64::from(r.group) + u64::from(r.group_len);
            let before = i.checked_sub(1).map(|i| &records[i]);
            let is_first = r.signature == r.group;
            let is_last = u64::from(r.signature) + 1 == end;
            let says_something = r.group_len > 1 || r.supertype != NONE || r.flags != FINAL;
            let good = r.signature >= next
                && r.group <= r.signature
                && u64::from(r.signature) < end
                && end <= count
                && r.flags & !FINAL == 0
                && says_something
                && (is_first || same_group(r, before, r.signature - 1))
                && (is_last || same_group(r, records.get(i + 1), r.signature + 1));
            if !good {
                return Err(damaged(
                    at::<TypeRecord>(h.type_records, i),
                    "a type's record is out of order, says nothing, or its group is not whole",
                ));
            }
            next = r.signature + 1;
        }
        Ok(())
    }

    /// Checks that each type may have its supertype: the supertype is open for subtypes, and the
    /// parameters and results match.
    fn check_supertypes(&self) -> Result<(), Error> {
        for (i, r) in self.type_records().iter().enumerate() {
            if r.supertype == NONE {
                continue;
            }
            let is_open = self
                .type_record(r.supertype)
                .is_some_and(|above| above.flags & FINAL == 0);
            let mut depth = 0;
            let mut above = self.supertype(r.signature);
            while let Some(signature) = above.filter(|_| depth <= MAX_DEPTH) {
                depth += 1;
                above = self.supertype(signature);
            }
            let good = r.supertype < r.signature
                && is_open
                && depth <= MAX_DEPTH
                && self.signature_matches(r.signature, r.supertype);
            if !good {
                return Err(damaged(
                    at::<TypeRecord>(self.header.type_records, i),
                    "a type cannot have its supertype: final, too deep, not before it, or of another form",
                ));
            }
        }
        Ok(())
    }

    /// Whether functions of signature `sub` can be used as functions of signature `of`.
    fn signature_matches(&self, sub: u32, of: u32) -> bool {
        let (Some(sub), Some(of)) = (self.signature(sub), self.signature(of)) else {
            return false;
        };
        let is = |(sub, of)| self.is_subtype(sub, of);
        sub.params().len() == of.params().len()
            && sub.results().len() == of.results().len()
            && of.params().zip(sub.params()).all(is)
            && sub.results().zip(of.results()).all(is)
    }
}
