//! A module as its instances use it: its artifact and the addresses of its code.

use std::fmt;
use std::sync::{Arc, OnceLock};

use precast_artifact::handlers::{self, Handler};
use precast_artifact::reader::function_name;
use precast_artifact::records::{NONE, SignatureRecord};
use precast_artifact::{Artifact, TrapCode, addresses, module_name, traps};

use super::counting::Counted;
use super::gather::Gathered;
use crate::backtrace::{FrameInfo, FrameModule, MAX_NAME};
use crate::mapping::Mapping;
use crate::types::{ConcreteFunc, FuncType};

/// A mapped artifact with the addresses of its code.
#[derive(Debug)]
pub(crate) struct MappedModule {
    mapping: Mapping,
    text: usize,
    text_len: usize,
    /// Made together with the first instance.
    gathered: OnceLock<Option<Gathered>>,
    /// Names and addresses of an artifact that was stripped of them, once they are loaded.
    debug: OnceLock<DebugData>,
    /// Read at the first use.
    name: OnceLock<Option<String>>,
    /// What its instances have counted, if its code counts.
    counted: Counted,
}

impl FrameModule for MappedModule {
    fn name(&self) -> Option<&str> {
        let name = || {
            let artifact = self.artifact();
            let metadata = artifact.section(artifact.header().metadata);
            module_name(metadata).map(|name| cut(name.as_bytes()))
        };
        self.name.get_or_init(name).as_deref()
    }
}

/// Names and addresses for backtraces, from the unstripped artifact of the same code.
pub(crate) struct DebugData {
    symtab: Box<[u8]>,
    strtab: Box<[u8]>,
    addresses: Box<[u8]>,
}

/// Shows how much there is, not all of it.
impl fmt::Debug for DebugData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugData")
            .field("symtab_len", &self.symtab.len())
            .field("strtab_len", &self.strtab.len())
            .field("addresses_len", &self.addresses.len())
            .finish()
    }
}

impl DebugData {
    pub(crate) fn of(artifact: &Artifact<'_>) -> Self {
        let h = artifact.header();
        let copy = |section| Box::from(artifact.section(section));
        Self {
            symtab: copy(h.symtab),
            strtab: copy(h.strtab),
            addresses: copy(h.addresses),
        }
    }
}

impl MappedModule {
    pub(crate) fn new(mapping: Mapping) -> Self {
        let (text, text_len) = (mapping.text(), mapping.header().text.len as usize);
        Self {
            mapping,
            text,
            text_len,
            gathered: OnceLock::new(),
            debug: OnceLock::new(),
            name: OnceLock::new(),
            counted: Counted::new(),
        }
    }

    /// Uses these names and addresses from now on, unless there are some already.
    pub(crate) fn set_debug(&self, data: DebugData) {
        self.debug.get_or_init(|| data);
    }

    /// What its instances have counted.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// The content of memories that was gathered because it is in many places.
    pub(crate) fn gathered(&self) -> Option<&Gathered> {
        let gathered = self.gathered.get_or_init(|| Gathered::of(&self.artifact()));
        gathered.as_ref()
    }

    #[inline]
    pub(crate) fn artifact(&self) -> Artifact<'_> {
        self.mapping.artifact()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The types of its signatures, if the module refers to types, else nothing.
    pub(crate) fn types(&self) -> &[ConcreteFunc] {
        self.mapping.types()
    }

    /// Address range of the text.
    pub(crate) fn text(&self) -> (usize, usize) {
        (self.text, self.text + self.text_len)
    }

    /// Address of a text offset from a record; null for [`NONE`].
    pub(crate) fn code(&self, offset: u32) -> *const u8 {
        if offset == NONE || offset as usize >= self.text_len {
            return std::ptr::null();
        }
        (self.text + offset as usize) as *const u8
    }

    /// The record of a signature with exits for functions of type `ty`, if the module has one. Code
    /// passes all references alike, so the signature may be of another type.
    pub(crate) fn exits_for(&self, ty: &FuncType) -> Option<&SignatureRecord> {
        let artifact = self.artifact();
        (0_u32..)
            .zip(artifact.signatures())
            .find_map(|(i, record)| {
                let fits = record.array_exit != NONE && ty.is_passed_as(artifact.signature(i)?);
                fits.then_some(record)
            })
    }

    /// Looks an address up in the trap table. A signal handler calls this.
    pub(crate) fn trap_at(&self, pc: usize) -> Option<TrapCode> {
        let artifact = self.artifact();
        let offset = u32::try_from(pc.checked_sub(self.text)?).ok()?;
        traps::lookup(artifact.section(artifact.header().traps), offset)
    }

    /// The handler of the call that returns to `pc`, an address in the text or at its end.
    pub(crate) fn handler_at(&self, pc: usize) -> Option<Handler> {
        let artifact = self.artifact();
        let offset = u32::try_from(pc.checked_sub(self.text)?).ok()?;
        handlers::lookup(artifact.section(artifact.header().handlers), offset)
    }

    /// The name of a function by its index, if the artifact or its debug file has names.
    pub(crate) fn name_of(&self, index: u32) -> Option<&[u8]> {
        let artifact = self.artifact();
        let defined = index.checked_sub(artifact.header().vm.func_import_count)?;
        match self.debug.get() {
            None => artifact.function_name(defined),
            Some(data) => function_name(&data.symtab, &data.strtab, defined),
        }
    }

    /// The frames that an address in the text stands for, innermost first, without where they were
    /// called from: that of its function, and before it those of calls that are inlined there.
    /// There are at most [`MAX_DEPTH`](addresses::MAX_DEPTH).
    pub(crate) fn frames_at(this: &Arc<Self>, pc: usize) -> Vec<FrameInfo> {
        let artifact = this.artifact();
        let offset = pc.checked_sub(this.text);
        let offset = offset.and_then(|offset| u32::try_from(offset).ok());
        let found = offset.and_then(|offset| Some((offset, artifact.function_at(offset)?)));
        let Some((offset, (defined, function))) = found else {
            return Vec::new();
        };
        let debug = this.debug.get();
        let map = match debug {
            None => artifact.section(artifact.header().addresses),
            Some(data) => &*data.addresses,
        };
        let frame = |defined: u32, wasm_offset| {
            let index = defined.saturating_add(artifact.header().vm.func_import_count);
            FrameInfo {
                function: index,
                name: match this.name_of(index) {
                    Some(name) => cut(name),
                    None => format!("wasm-function[{index}]"),
                },
                wasm_offset,
                by_host: false,
                module: Arc::clone(this) as Arc<dyn FrameModule>,
            }
        };
        let places = addresses::lookup(map, defined, offset - function.text_offset);
        if places.is_empty() {
            return vec![frame(defined, None)];
        }
        places
            .iter()
            .map(|place| frame(place.function, Some(place.wasm)))
            .collect()
    }
}

/// A name of a module for backtraces, of at most [`MAX_NAME`] bytes: a module may have a name of
/// any length, and a backtrace many copies of one.
fn cut(name: &[u8]) -> String {
    // A character that begins before the bound is whole.
    let start = &name[..name.len().min(MAX_NAME + 3)];
    let mut text = String::from_utf8_lossy(start).into_owned();
    text.truncate(text.floor_char_boundary(MAX_NAME));
    text
}
