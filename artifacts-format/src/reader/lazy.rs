//! Checks of the tables that [`Artifact::parse`] does not read, because their size grows with the
//! module's. Each check is made where a record is read, and returns a copy of what was checked.

use super::check::{at, damaged, field};
use super::{Artifact, Error};
use crate::counters::{self, Counters, CountersRecord};
use crate::records::*;

/// Up to this number of other imports, a search costs less than the memory for positions.
const FEW: usize = 16;

impl<'a> Artifact<'a> {
    /// The record of defined function `index`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is no such function, or its record refers outside of a table.
    pub fn function(&self, index: u32) -> Result<FunctionRecord, Error> {
        let h = self.header;
        let in_text = |f: &FunctionRecord| {
            let end = u64::from(f.text_offset) + u64::from(f.text_len);
            f.text_len > 0 && end <= h.text.len
        };
        match self.functions().get(index as usize) {
            Some(f)
                if in_text(f)
                    && (f.signature as usize) < self.signatures().len()
                    && (f.funcref == NONE || f.funcref < h.vm.funcref_count) =>
            {
                Ok(*f)
            }
            _ => Err(damaged(
                at::<FunctionRecord>(h.functions, index as usize),
                "a function's record refers to code, a signature or a slot that does not exist",
            )),
        }
    }

    /// The counters of code that makes profiles; `None` if the code counts nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] if they are not behind all other parts of the VM context, or if their
    /// number is another one than the section's.
    pub fn counters(&self) -> Result<Option<Counters<'a>>, Error> {
        let h = self.header;
        let bytes = self.section(h.counters);
        if bytes.is_empty() {
            return Ok(None);
        }
        let bad = || {
            damaged(
                h.counters.start as usize,
                "the counters are not where an instance has room for them",
            )
        };
        let (record, offsets) = bytes
            .split_at_checked(size_of::<CountersRecord>())
            .ok_or_else(bad)?;
        let record: CountersRecord = *bytemuck::try_from_bytes(record).map_err(|_| bad())?;
        let offsets: &[u32] = bytemuck::try_cast_slice(offsets).map_err(|_| bad())?;
        let flags = u64::from(h.vm.elem_dropped) + self.elements().len() as u64;
        let words = counters::words(record.places, record.sites);
        let start = u64::from(record.vm_offset);
        let good = record.reserved == 0
            && start.is_multiple_of(8)
            && start >= flags
            && start + 8 * words <= h.vm.size.into()
            && offsets.len() as u64 == u64::from(record.places) + u64::from(record.sites);
        let counters = Counters { record, offsets };
        good.then_some(Some(counters)).ok_or_else(bad)
    }

    /// The import of function `index` of the index space, if that function is imported.
    ///
    /// Without the positions that [`Artifact::with_function_imports`] takes, the time grows with
    /// the number of imports that are not functions.
    pub fn imported_function(&self, index: u32) -> Option<&'a ImportRecord> {
        let imports = self.imports();
        let is_it = |i: &&ImportRecord| i.kind == ExternKind::Func as u32 && i.index == index;
        // Indices of functions ascend among the imports, and most modules import functions first.
        let first = index as usize;
        match self.function_imports.get(first) {
            Some(at) => imports.get(*at as usize).filter(is_it),
            None => {
                let places = self.imports_of_others().saturating_add(1);
                imports.get(first..)?.iter().take(places).find(is_it)
            }
        }
    }

    /// The number of imports that are not functions.
    fn imports_of_others(&self) -> usize {
        let functions = self.header.vm.func_import_count as usize;
        self.imports().len().saturating_sub(functions)
    }

    /// The positions of imported functions among the imports, for
    /// [`Artifact::with_function_imports`]. The result is empty if few imports are something else,
    /// because [`Artifact::imported_function`] finds functions quickly then.
    pub fn scattered_function_imports(&self) -> Vec<u32> {
        if self.imports_of_others() <= FEW {
            return Vec::new();
        }
        let imports = (0_u32..).zip(self.imports());
        let functions = imports.filter(|(_, import)| import.kind == ExternKind::Func as u32);
        functions.map(|(at, _)| at).collect()
    }

    /// The view with these positions of imported functions among the imports, so that
    /// [`Artifact::imported_function`] does not have to search. With wrong positions, imports are
    /// not found.
    #[must_use]
    pub fn with_function_imports(self, function_imports: &'a [u32]) -> Self {
        Self {
            function_imports,
            ..self
        }
    }

    /// Index of the signature of function `index` of the index space.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is no such function, or its record is damaged.
    pub fn function_signature(&self, index: u32) -> Result<u32, Error> {
        match index.checked_sub(self.header.vm.func_import_count) {
            Some(defined) => Ok(self.function(defined)?.signature),
            None => self
                .imported_function(index)
                .map(|import| import.signature)
                .ok_or(damaged(
                    field!(imports),
                    "the number of imported functions differs from the imports",
                )),
        }
    }

    /// The funcref slot of function `index` of the index space, for a reference to it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the function has no slot, or its record is damaged.
    pub fn funcref_slot(&self, index: u32) -> Result<u32, Error> {
        let h = self.header;
        let (slot, record) = match index.checked_sub(h.vm.func_import_count) {
            Some(defined) => (
                self.function(defined)?.funcref,
                at::<FunctionRecord>(h.functions, defined as usize),
            ),
            None => (
                self.imported_function(index).map_or(NONE, |i| i.funcref),
                h.imports.start as usize,
            ),
        };
        if slot == NONE {
            return Err(damaged(
                record,
                "a function without a slot for its reference",
            ));
        }
        Ok(slot)
    }

    /// The start function, which has neither parameters nor results.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its signature is another one, or its record is damaged.
    pub fn start_function(&self) -> Result<Option<u32>, Error> {
        let start = self.header.start_function;
        if start == NONE {
            return Ok(None);
        }
        let signature = self.function_signature(start)?;
        let record = self.signatures().get(signature as usize);
        match record {
            Some(r) if r.params == 0 && r.results == 0 => Ok(Some(start)),
            _ => Err(damaged(
                field!(start_function),
                "a start function with parameters or results",
            )),
        }
    }

    /// The record of signature `index`, with the array entry that the host needs to call functions
    /// of this signature.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is no such signature, or it has no array entry.
    pub fn signature_with_entry(&self, index: u32) -> Result<&'a SignatureRecord, Error> {
        self.signature_with(index, |record| record.array_entry)
    }

    /// The record of signature `index`, with the array exit that wasm code needs to call host
    /// functions of this signature.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is no such signature, or it has no array exit.
    pub fn signature_with_exit(&self, index: u32) -> Result<&'a SignatureRecord, Error> {
        self.signature_with(index, |record| record.array_exit)
    }

    fn signature_with(
        &self,
        index: u32,
        trampoline: impl Fn(&SignatureRecord) -> u32,
    ) -> Result<&'a SignatureRecord, Error> {
        let record = self.signatures().get(index as usize);
        record.filter(|r| trampoline(r) != NONE).ok_or(damaged(
            at::<SignatureRecord>(self.header.signatures, index as usize),
            "a signature without the trampoline that its functions need",
        ))
    }

    /// The runs of pages of the memory image. They are in ascending order of memories and, in each
    /// memory, of addresses, and do not overlap.
    ///
    /// # Errors
    /// [`Error::Damaged`] in place of each run that is damaged.
    pub fn image_runs(&self) -> impl Iterator<Item = Result<ImageRecord, Error>> + use<'a> {
        let h = self.header;
        let memories = self.memories();
        let mut from = (0, 0);
        self.images().iter().enumerate().map(move |(i, r)| {
            let run = *r;
            let aligned = [run.guest, run.offset, run.len]
                .iter()
                .all(|n| n.is_multiple_of(u64::from(h.page_size)));
            let in_file = run.offset.checked_add(run.len);
            let in_memory = run.guest.checked_add(run.len);
            let initial = memories
                .get(run.memory as usize)
                .filter(|m| m.flags & IMPORTED == 0)
                // A memory's minimum may be more bytes than a u64 can count: the module is valid,
                // though no instance of it can ever be made. The last page of the system may be
                // longer than the memory.
                .map(|m| m.min.saturating_mul(1 << m.page_shift))
                .and_then(|bytes| bytes.checked_next_multiple_of(u64::from(h.page_size)));
            let good = aligned
                && run.len > 0
                && run.reserved == 0
                && (run.memory, run.guest) >= from
                && in_file.is_some_and(|end| end <= h.image.len)
                && in_memory.is_some_and(|end| initial.is_some_and(|initial| end <= initial));
            from = (run.memory, run.guest.saturating_add(run.len));
            good.then_some(run).ok_or_else(|| {
                damaged(
                    at::<ImageRecord>(h.images, i),
                    "a run of the memory image is out of bounds or out of order",
                )
            })
        })
    }
}
