//! Taking the [`State`] of an instance, and starting another instance with it.
//!
//! References to functions of the instance become the numbers of the functions. Any other reference
//! leads to an item of the store, which instances in other stores cannot have. So an instance that
//! holds one has no snapshot.

use std::ptr::NonNull;

use precast_artifact::Artifact;
use precast_artifact::records::{IMPORTED, NONE};
use precast_artifact::vm::{VmContextHeader, VmFuncRef};

use super::images::{Images, Origin, Part};
use super::instance::InstanceData;
use super::item_types::global_type;
use super::state::{State, TableState};
use crate::error::Error;
use crate::sys::map::page_size;
use crate::types::{HeapType, ValType};

/// Maximum number of pages in one part of the image of a memory.
const PART: usize = 256;

impl State {
    /// The state of an instance whose code is idle.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] for state that instances in other stores cannot have;
    /// [`Error::Memory`] and [`Error::File`] if the system refuses.
    pub(crate) fn of(instance: &InstanceData) -> Result<Self, Error> {
        let artifact = instance.module.artifact();
        let is_imported = |flags: u32| flags & IMPORTED != 0;
        let imports = [
            (
                "memory",
                artifact.memories().iter().any(|r| is_imported(r.flags)),
            ),
            (
                "table",
                artifact.tables().iter().any(|r| is_imported(r.flags)),
            ),
            (
                "global",
                artifact.globals().iter().any(|r| is_imported(r.flags)),
            ),
        ];
        if let Some((kind, _)) = imports.iter().find(|(_, imported)| *imported) {
            return Err(unsuitable(format!(
                "it imports a {kind}, whose state is another instance's or the host's"
            )));
        }

        let functions = Functions::new(instance);
        let mut funcref_globals = Vec::new();
        for (i, record) in (0_u32..).zip(artifact.globals()) {
            let Some(ty) = global_type(&instance.module, i) else {
                continue;
            };
            if ty.content.is_ref() {
                // SAFETY: the parser checked the place; a reference is 8 bytes.
                let value = unsafe { instance.at::<u64>(record.vm_offset).read() };
                if value != 0 {
                    let what = || format!("its global {i}");
                    let function = functions.find(ty.content, value, what)?;
                    funcref_globals.push((record.vm_offset, function));
                }
            }
        }
        let mut tables = Vec::with_capacity(instance.tables.len());
        for (i, table) in instance.tables.iter().enumerate() {
            let elements = table.elements_ref().iter().enumerate();
            let mut found = Vec::new();
            for (at, value) in elements.filter(|(_, value)| **value != 0) {
                let what = || format!("element {at} of its table {i}");
                let function = functions.find(table.ty().element, *value, what)?;
                found.push((at, function));
            }
            tables.push(TableState {
                len: table.len(),
                elements: found.into(),
            });
        }

        let vm = &artifact.header().vm;
        let globals = vm.func_imports as usize - size_of::<VmContextHeader>();
        let bytes = |at: u32, len: usize| {
            // SAFETY: the parser checked that these parts are inside the context, whose code is
            // idle.
            let bytes = unsafe { std::slice::from_raw_parts(instance.byte(at).as_ptr(), len) };
            Box::<[u8]>::from(bytes)
        };
        let pages = instance
            .memories
            .iter()
            .map(|memory| memory.ty().pages(memory.len() as u64));
        let mut globals = bytes(size_of::<VmContextHeader>() as u32, globals);
        for (at, _) in &funcref_globals {
            let at = *at as usize - size_of::<VmContextHeader>();
            globals[at..at + size_of::<u64>()].fill(0);
        }
        Ok(Self {
            pages: pages.collect(),
            images: images(instance)?,
            globals,
            funcref_globals: funcref_globals.into(),
            tables: tables.into(),
            data_dropped: bytes(vm.data_dropped, artifact.data().len()),
            elem_dropped: bytes(vm.elem_dropped, artifact.elements().len()),
        })
    }

    /// Takes the place of initialisation in an instance that starts with this state and is in its
    /// final place.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no room for tables, [`Error::Artifact`] for damage.
    ///
    /// # Safety
    /// `instance` is of the same module, and nobody else uses its store.
    pub(crate) unsafe fn restore(&self, instance: &mut InstanceData) -> Result<(), Error> {
        if let Some(images) = &self.images {
            instance.copy_content(images);
        }
        for (at, function) in &self.funcref_globals {
            let func_ref = instance.func_ref(*function)?;
            // SAFETY: the place of a global of this type.
            unsafe { instance.at::<*mut VmFuncRef>(*at).write(func_ref.as_ptr()) };
        }
        for (i, state) in self.tables.iter().enumerate() {
            let more = state.len.saturating_sub(instance.tables[i].len());
            if more > 0 {
                instance.tables[i].grow(more as u64, 0)?;
            }
            for (at, function) in &state.elements {
                let func_ref = instance.func_ref(*function)?;
                instance.tables[i].elements()[*at] = func_ref.as_ptr() as u64;
            }
        }
        let vm = instance.module.artifact().header().vm;
        let flags = [
            (vm.data_dropped, &self.data_dropped),
            (vm.elem_dropped, &self.elem_dropped),
        ];
        for (at, flags) in flags {
            // SAFETY: the parser checked that there is a flag for each record inside the context.
            unsafe {
                let from = NonNull::from(&**flags).cast::<u8>();
                instance
                    .byte(at)
                    .copy_from_nonoverlapping(from, flags.len());
            }
        }
        Ok(())
    }
}

/// The pages of an instance's memories that are not zero.
fn images(instance: &InstanceData) -> Result<Option<Images>, Error> {
    let size = page_size();
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (number, memory) in instance.memories.iter().enumerate() {
        let len = memory.len().next_multiple_of(size);
        // SAFETY: accessible bytes of a memory that nobody writes to now. The rest of its last page
        // is zero.
        let bytes = unsafe { std::slice::from_raw_parts(memory.base(), len) };
        let mut run = 0..0;
        let mut add = |run: std::ops::Range<usize>| {
            if !run.is_empty() {
                let pieces = [(0, &bytes[run.clone()])];
                parts.push(Part {
                    memory: number,
                    guest: run.start,
                    len: run.len(),
                    pieces: pieces.into(),
                });
            }
        };
        for (i, page) in bytes.chunks(size).enumerate() {
            let zero = page.iter().all(|byte| *byte == 0);
            if !zero && run.end == i * size && run.len() < PART * size {
                run.end += page.len();
            } else if !zero {
                add(std::mem::replace(&mut run, i * size..i * size + page.len()));
            }
        }
        add(run);
    }
    Images::new(&parts, Origin::Snapshot).map_err(|source| {
        let action = "put the memories of the instance into a memory file";
        Error::refused(action, source)
    })
}

/// The functions of an instance, by the references that lead to them.
struct Functions<'a> {
    instance: &'a InstanceData,
    /// The functions, by slot.
    functions: Box<[u32]>,
}

impl<'a> Functions<'a> {
    fn new(instance: &'a InstanceData) -> Self {
        let artifact: Artifact<'_> = instance.module.artifact();
        let vm = &artifact.header().vm;
        let mut functions = vec![NONE; vm.funcref_count as usize];
        let count = vm.func_import_count + artifact.functions().len() as u32;
        for function in 0..count {
            let slot = artifact.funcref_slot(function).ok();
            if let Some(slot) = slot.and_then(|slot| functions.get_mut(slot as usize)) {
                *slot = function;
            }
        }
        let functions = functions.into();
        Self {
            instance,
            functions,
        }
    }

    /// The function of a reference that is not null. `what` says in errors what holds the
    /// reference.
    fn find(&self, ty: ValType, value: u64, what: impl Fn() -> String) -> Result<u32, Error> {
        if ty.top() != Some(HeapType::Func) {
            return Err(unsuitable(format!(
                "{} refers to a value of the host, which belongs to the store: let the guest drop \
                 the reference before",
                what()
            )));
        }
        let slots = self.instance.module.artifact().header().vm.funcrefs;
        let first = self.instance.byte(slots).as_ptr() as u64;
        let slot = value.wrapping_sub(first) / size_of::<VmFuncRef>() as u64;
        let function = usize::try_from(slot).ok();
        let function = function.and_then(|slot| self.functions.get(slot));
        match function {
            Some(function) if *function != NONE => Ok(*function),
            _ => Err(unsuitable(format!(
                "{} refers to a function of the host or of another instance, which belongs to \
                 the store: let the guest drop the reference before",
                what()
            ))),
        }
    }
}

fn unsuitable(why: String) -> Error {
    Error::Unsuitable {
        action: "take a snapshot of the instance",
        why,
    }
}
