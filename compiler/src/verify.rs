//! An independent verifier of finished artifacts.
//!
//! The verifier works from the bytes alone, like any program that opens the file: it checks the
//! loader's view through [`Artifact`], the view of ELF tools through the `object` crate, and that
//! both agree. Except for [`TextLayout`], it shares no code with what computed the layout. The
//! reader only makes sure that damage is harmless; the verifier makes sure that there is none: the
//! reader refuses nothing, neither at opening nor later, tables are sorted, and every offset points
//! at the start of what it should.
//!
//! It runs on every artifact that a debug build writes, and on many artifacts that tests make.

mod elf;

use precast_artifact::metadata::Metadata;
use precast_artifact::records::{ConstOpcode, FROZEN, FrozenEntry, FunctionRecord, NONE};
use precast_artifact::target::Arch;
use precast_artifact::writer::TextLayout;
use precast_artifact::{Artifact, Header, ValType, addresses, handlers, traps};

/// All problems that were found in an artifact, each with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the artifact is broken: {}", .problems.join("; "))]
#[non_exhaustive]
pub struct VerifyError {
    /// A sentence for each problem.
    pub problems: Vec<String>,
}

/// Checks a whole artifact.
///
/// # Errors
/// [`VerifyError`] with all problems, if there are any.
pub fn verify(bytes: &[u8]) -> Result<(), VerifyError> {
    let fatal = |problem: String| VerifyError {
        problems: vec![problem],
    };
    let artifact = Artifact::parse(bytes, None).map_err(|e| fatal(e.to_string()))?;
    artifact
        .verify_digest(None)
        .map_err(|e| fatal(e.to_string()))?;
    let function_imports = artifact.scattered_function_imports();
    let artifact = artifact.with_function_imports(&function_imports);
    let mut check = Check {
        artifact,
        header: artifact.header(),
        problems: Vec::new(),
    };
    check.sections();
    let code = elf::check(&mut check);
    check.functions(&code);
    check.signatures(&code);
    check.traps(&code);
    check.handlers();
    check.addresses();
    check.frozen_tables(&code);
    check.counters();
    check.exports();
    check.images();
    check.references();
    if check.problems.is_empty() {
        Ok(())
    } else {
        Err(VerifyError {
            problems: check.problems,
        })
    }
}

/// A piece of code, as the symbol table describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Code {
    start: u64,
    len: u64,
}

/// An artifact and the problems found so far.
struct Check<'a> {
    artifact: Artifact<'a>,
    header: &'a Header,
    problems: Vec<String>,
}

impl Check<'_> {
    /// Records a problem unless `ok`, up to a limit, so that a damaged table does not fill the
    /// memory.
    fn expect(&mut self, ok: bool, problem: impl FnOnce() -> String) {
        if !ok && self.problems.len() < 20 {
            self.problems.push(problem());
        }
    }

    /// Expects that parts, each a start, a length and a name, do not overlap.
    fn disjoint(&mut self, what: &str, mut parts: Vec<(u64, u64, String)>) {
        parts.sort();
        for pair in parts.windows(2) {
            let [(start, len, first), (next, _, second)] = pair else {
                continue;
            };
            self.expect(start + len <= *next, || {
                format!("{what}: {first} overlaps {second}")
            });
        }
    }

    fn sections(&mut self) {
        let h = self.header;
        let layout = TextLayout {
            page_size: h.page_size,
            rodata_len: h.rodata.len,
            text_len: h.text.len,
        };
        let rodata = h.text.start.checked_sub(layout.rodata_before_text());
        // Without code, it does not matter where the rodata is.
        let no_code = h.rodata.len == 0 || h.text.len == 0;
        self.expect(no_code || Some(h.rodata.start) == rodata, || {
            format!(
                "rodata at {:#x} is not where the text expects it",
                h.rodata.start
            )
        });
        let got = h.text.start + layout.got_after_text();
        self.expect(h.got.len == 0 || h.got.start == got, || {
            format!("GOT at {:#x} is not where the text expects it", h.got.start)
        });
        let slots = self.artifact.section(h.got);
        self.expect(slots.iter().all(|b| *b == 0), || {
            "the GOT is not zero".to_owned()
        });
        let metadata = Metadata::decode(self.artifact.section(h.metadata));
        self.expect(metadata.is_ok(), || {
            "the metadata cannot be read".to_owned()
        });
    }

    fn functions(&mut self, code: &[Code]) {
        let functions = self.artifact.functions();
        self.expect(functions.len() <= code.len(), || {
            "fewer symbols than functions".to_owned()
        });
        for (i, (function, symbol)) in functions.iter().zip(code).enumerate() {
            let (start, len) = (function.text_offset.into(), function.text_len.into());
            self.expect(*symbol == Code { start, len }, || {
                format!("function {i} is at {start:#x}, {len} bytes, but its symbol is {symbol:x?}")
            });
        }
        let order = self.artifact.order();
        let start = |i: &u32| functions.get(*i as usize).map(|f| f.text_offset);
        let is_right = match order.is_empty() {
            true => functions.is_sorted_by_key(|f| f.text_offset),
            // If the list is as long as the table of functions and the offsets of the code ascend
            // strictly, it names every function once.
            false => {
                order.len() == functions.len()
                    && order.is_sorted_by(|a, b| start(a).is_some() && start(a) < start(b))
            }
        };
        self.expect(is_right, || {
            "functions are not in the order of their code".to_owned()
        });
        let imported = self.artifact.imports().iter().map(|i| i.funcref);
        let mut slots: Vec<u32> = functions
            .iter()
            .map(|f| f.funcref)
            .chain(imported)
            .filter(|s| *s != NONE)
            .collect();
        slots.sort_unstable();
        self.expect(
            slots.iter().copied().eq(0..self.header.vm.funcref_count),
            || "funcref slots do not have one function each".to_owned(),
        );
        for i in 0..functions.len() {
            let damaged = self.artifact.function(i as u32).err();
            self.expect(damaged.is_none(), || format!("function {i}: {damaged:?}"));
        }
    }

    /// Expects that pieces of code do not overlap, and that trampolines start where code starts.
    fn signatures(&mut self, code: &[Code]) {
        let named = |i: usize, c: &Code| (c.start, c.len, format!("symbol {}", i + 1));
        self.disjoint(
            "code",
            code.iter().enumerate().map(|(i, c)| named(i, c)).collect(),
        );
        let starts = starts(code);
        for (i, s) in self.artifact.signatures().iter().enumerate() {
            for trampoline in [s.native_entry, s.array_entry, s.native_exit, s.array_exit] {
                let ok = trampoline == NONE || starts.binary_search(&trampoline.into()).is_ok();
                self.expect(ok, || {
                    format!("signature {i}: no code starts at {trampoline:#x}")
                });
            }
        }
    }

    fn traps(&mut self, code: &[Code]) {
        let table = self.artifact.section(self.header.traps);
        let entries: Vec<_> = traps::entries(table).collect();
        self.expect(5 * entries.len() == table.len(), || {
            "unreadable trap table".to_owned()
        });
        self.expect(entries.is_sorted_by(|a, b| a.0 < b.0), || {
            "unsorted trap table".to_owned()
        });
        let mut places: Vec<Code> = code.to_vec();
        places.sort_by_key(|c| c.start);
        for (at, trap) in entries {
            let at = u64::from(at);
            let i = places.partition_point(|c| c.start <= at);
            let inside = i > 0 && at < places[i - 1].start + places[i - 1].len;
            self.expect(inside, || format!("trap `{trap}` at {at:#x} is in no code"));
        }
    }

    /// Expects that a call and the handler of its exceptions are in the same function.
    fn handlers(&mut self) {
        let table = self.artifact.section(self.header.handlers);
        let entries: Vec<_> = handlers::entries(table).collect();
        self.expect(12 * entries.len() == table.len(), || {
            "unreadable table of handlers".to_owned()
        });
        self.expect(entries.is_sorted_by(|a, b| a.0 < b.0), || {
            "unsorted table of handlers".to_owned()
        });
        // The alignment of the stack pointer, by the conventions of each architecture.
        let align = match Arch::from_number(self.header.arch) {
            Some(Arch::S390x) => 8,
            Some(Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64) | None => 16,
        };
        for (call, handler) in entries {
            // The return address of a call may be the end of the function.
            let function = |at: u32| self.artifact.function_at(at).map(|(i, _)| i);
            let caller = call.checked_sub(1).and_then(function);
            let ok = caller.is_some() && caller == function(handler.code);
            self.expect(ok && handler.frame.is_multiple_of(align), || {
                format!("the call before {call:#x} has the handler {handler:x?}")
            });
        }
    }

    fn addresses(&mut self) {
        let map = self.artifact.section(self.header.addresses);
        let functions = self.artifact.functions();
        let count = map
            .first_chunk::<4>()
            .map(|n| u32::from_le_bytes(*n) as usize);
        self.expect(count.unwrap_or(0) == functions.len(), || {
            "the address map has another number of functions".to_owned()
        });
        for (i, function) in functions.iter().enumerate() {
            let entries: Vec<_> = addresses::entries(map, i as u32).collect();
            let sorted = entries.is_sorted_by(|a, b| a.0 < b.0);
            let inside = entries.last().is_none_or(|e| e.0 < function.text_len);
            self.expect(sorted && inside, || format!("address map of function {i}"));
            // Each body that starts inside of the function ends inside of it.
            let (mut depth, mut last, mut nested) = (1, 0, true);
            for change in addresses::changes(map, i as u32) {
                let known = change
                    .body
                    .is_none_or(|b| (b.function as usize) < functions.len());
                depth = if change.body.is_some() {
                    depth + 1
                } else {
                    depth - 1
                };
                nested &= known && change.position >= last;
                nested &= (1..=addresses::MAX_DEPTH).contains(&depth);
                last = change.position;
                if !nested {
                    break;
                }
            }
            self.expect(nested && depth == 1, || {
                format!("inlined calls of function {i}")
            });
        }
    }

    fn frozen_tables(&mut self, code: &[Code]) {
        let starts = starts(code);
        let rodata = self.artifact.section(self.header.rodata);
        let mut functions: Vec<_> = self.artifact.functions().iter().collect();
        functions.sort_by_key(|function| function.text_offset);
        let mut parts = Vec::new();
        for (i, table) in self.artifact.tables().iter().enumerate() {
            if table.flags & FROZEN == 0 {
                continue;
            }
            let count = table.min + 1;
            let len = count * size_of::<FrozenEntry>() as u64;
            parts.push((table.frozen.into(), len, format!("table {i}")));
            let entries = rodata
                .get(table.frozen as usize..)
                .and_then(|r| r.get(..len as usize));
            let (entries, _) = entries.unwrap_or(&[]).as_chunks::<8>();
            self.expect(entries.len() as u64 == count, || {
                format!("table {i} is cut off")
            });
            for (at, entry) in entries.iter().enumerate() {
                let [a, b, c, d, signature @ ..] = *entry;
                let offset = u32::from_le_bytes([a, b, c, d]);
                let signature = u32::from_le_bytes(signature);
                let ok = match function_at(&functions, offset) {
                    _ if signature == NONE => offset == 0,
                    // Code reads the entry behind the last element for indices out of bounds, so it
                    // must be null.
                    _ if at as u64 == table.min => false,
                    Some(function) => function.signature == signature,
                    // The element may be the thunk of an imported function.
                    None => {
                        starts.binary_search(&offset.into()).is_ok()
                            && (signature as usize) < self.artifact.signatures().len()
                    }
                };
                self.expect(ok, || {
                    format!("element {at} of table {i}: code {offset:#x}, signature {signature}")
                });
            }
        }
        self.disjoint("frozen tables", parts);
    }

    /// Expects that the counters are the last part of the VM context, and that each has one place.
    fn counters(&mut self) {
        let section = self.artifact.section(self.header.counters);
        let counters = self.artifact.counters();
        self.expect(counters.is_ok(), || format!("counters: {counters:?}"));
        let Ok(Some(counters)) = counters else {
            return;
        };
        let end = u64::from(counters.vm_offset()) + 8 * counters.words() as u64;
        let size = u64::from(self.header.vm.size);
        self.expect(end.next_multiple_of(16) == size, || {
            format!("the counters end at {end} in a context of {size} bytes")
        });
        // The record has 48 bytes; the numbers of places and sites are the third and second to last
        // words.
        let words: Vec<u32> = section
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let (places, sites) = words[12..].split_at((words[9] as usize).min(words.len() - 12));
        for (what, list) in [("places", places), ("sites", sites)] {
            self.expect(list.is_sorted_by(|a, b| a < b), || {
                format!("the {what} of counters are not ascending")
            });
        }
        let metadata = Metadata::decode(self.artifact.section(self.header.metadata));
        let source = metadata.map(|metadata| metadata.source_digest);
        let is_of_module = source.is_ok_and(|source| section.starts_with(&source));
        self.expect(is_of_module, || {
            "the counters are of another module".to_owned()
        });
    }

    fn exports(&mut self) {
        let a = self.artifact;
        let exports = a.exports();
        let name = |e: &precast_artifact::records::ExportRecord| a.str(e.name).unwrap_or("?");
        self.expect(
            exports.is_sorted_by(|a, b| (a.hash, name(a)) < (b.hash, name(b))),
            || "exports are not sorted, or two have the same name".to_owned(),
        );
        let mut ordinals: Vec<u32> = exports.iter().map(|e| e.ordinal).collect();
        ordinals.sort_unstable();
        self.expect(ordinals.into_iter().eq(0..exports.len() as u32), || {
            "the ordinals of exports are not 0, 1, 2, …".to_owned()
        });
        for e in exports {
            let found = a.export(name(e)) == Some(e);
            self.expect(found, || format!("export `{}`", name(e)));
        }
    }

    fn images(&mut self) {
        let damaged = self.artifact.image_runs().find_map(Result::err);
        self.expect(damaged.is_none(), || format!("image: {damaged:?}"));
        let images = self.artifact.images();
        let part = |i: usize, start, len| (start, len, format!("run {i}"));
        let in_file = images
            .iter()
            .enumerate()
            .map(|(i, r)| part(i, r.offset, r.len))
            .collect();
        self.disjoint("pages of the image", in_file);
        for memory in 0..self.artifact.memories().len() as u32 {
            let runs = images
                .iter()
                .enumerate()
                .filter(|(_, r)| r.memory == memory);
            let in_memory = runs.map(|(i, r)| part(i, r.guest, r.len)).collect();
            self.disjoint("the image in a memory", in_memory);
        }
    }

    /// Checks references between records, as the loader does at instantiation.
    fn references(&mut self) {
        let (a, vm) = (self.artifact, self.header.vm);
        let mut damage = Vec::new();
        let escaping = |f: &u32| a.funcref_slot(*f).is_ok();
        let functions = a.function_count() as u32;
        let start = a.start_function();
        damage.extend(start.clone().err());
        for f in (0..functions).filter(escaping).chain(start.ok().flatten()) {
            let entry = a.function_signature(f);
            damage.extend(entry.and_then(|s| a.signature_with_entry(s)).err());
        }
        for f in 0..vm.func_import_count {
            let exit = a.function_signature(f);
            damage.extend(exit.and_then(|s| a.signature_with_exit(s)).err());
        }
        for segment in a.elements() {
            let items = segment.items.first..segment.items.first + segment.items.count;
            // The type of a segment is known only from its table.
            let table = a.tables().get(segment.table as usize);
            let is_of = |ty: ValType| {
                let mut items = items.clone();
                items.all(|i| a.element_item(i as usize, ty).is_ok())
            };
            let ok = match table {
                Some(table) => a.val_type(table.element).is_some_and(is_of),
                None => [ValType::FUNCREF, ValType::EXTERNREF, ValType::EXNREF]
                    .into_iter()
                    .any(is_of),
            };
            self.expect(ok, || format!("elements of segment {}", segment.segment));
            for item in items.filter_map(|i| a.element_items().get(i as usize)) {
                if item.op == ConstOpcode::RefFunc as u32 {
                    damage.extend(a.funcref_slot(item.index).err());
                }
            }
        }
        for op in a.const_ops() {
            if op.op == ConstOpcode::RefFunc as u32 {
                damage.extend(a.funcref_slot(op.index).err());
            }
        }
        self.expect(damage.is_empty(), || format!("{damage:?}"));
    }
}

/// The offsets at which code starts, ascending.
fn starts(code: &[Code]) -> Vec<u64> {
    let mut starts: Vec<u64> = code.iter().map(|c| c.start).collect();
    starts.sort_unstable();
    starts
}

fn function_at<'a>(functions: &[&'a FunctionRecord], offset: u32) -> Option<&'a FunctionRecord> {
    let i = functions
        .binary_search_by_key(&offset, |f| f.text_offset)
        .ok()?;
    Some(functions[i])
}

#[cfg(test)]
mod tests;
