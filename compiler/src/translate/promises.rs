//! Reads values that the loader maintains for machine code, with the flags that [`Promise`] allows.
//! This is the only place where a load becomes read-only, movable or hoisted.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, StackSlot, Type, Value};
use precast_artifact::promises::{Lifetime, Promise};

use super::FuncTranslator;
use super::state::{Region, vm_offset};

/// Adds to `flags` those that the promise allows.
pub(super) fn with_promise(mut flags: MemFlagsData, promise: Promise) -> MemFlagsData {
    if promise.is_constant() {
        flags = flags.with_readonly();
    }
    if promise.can_move() {
        flags = flags.with_can_move();
    }
    flags
}

/// Flags of a load of an aligned value that cannot fault if its address is valid.
pub(super) fn flags(promise: Promise) -> MemFlagsData {
    with_promise(MemFlagsData::trusted(), promise)
}

impl Region {
    /// The alias region of a value. Loads of globals and memories choose a region of their own.
    fn of(promise: Promise) -> Self {
        match promise {
            Promise::StorePointer
            | Promise::Builtins
            | Promise::StackLimit
            | Promise::GuardedMemoryBase
            | Promise::FixedMemoryBase
            | Promise::SharedMemoryBase
            | Promise::FixedMemoryLen
            | Promise::MemoryMinimum
            | Promise::ImportedMemory
            | Promise::ImportedTable
            | Promise::ImportedGlobal
            | Promise::FuncRefCode
            | Promise::FuncRefContext
            | Promise::FuncRefType
            | Promise::FuncRefSlot
            | Promise::ImportCode
            | Promise::ImportContext
            | Promise::ContextOffsets
            | Promise::ImportedTag
            | Promise::Exception
            | Promise::DroppedFlags => Self::Vm,
            Promise::InterruptWord => Self::Interrupt,
            Promise::Fuel => Self::Fuel,
            Promise::Counters => Self::Counters,
            Promise::MovingMemoryBase
            | Promise::GrowingMemoryLen
            | Promise::SharedMemoryLen
            | Promise::MemoryMask => Self::MemoryHead,
            Promise::FixedTableBase
            | Promise::FixedTableLen
            | Promise::GrowingTableBase
            | Promise::GrowingTableLen => Self::TableHead,
            Promise::TableElements => Self::TableElements,
            Promise::FrozenElements | Promise::GotSlots => Self::Artifact,
            Promise::MemoryBytes => Self::SharedMemory,
            Promise::MutableGlobal | Promise::ImmutableGlobal | Promise::FoldedGlobal => {
                Self::SharedGlobal
            }
        }
    }
}

impl FuncTranslator<'_, '_> {
    /// Flags of a load of this value, with its region.
    pub(super) fn read_flags(&mut self, promise: Promise) -> MemFlagsData {
        let region = self.region(Region::of(promise));
        flags(promise).with_alias_region(Some(region))
    }

    /// Reads a value of 64 bits at `base + offset`.
    pub(super) fn read(&mut self, promise: Promise, base: Value, offset: usize) -> Value {
        self.read_as(I64, promise, base, offset)
    }

    /// Reads the low 32 bits of a value of 64 bits at `base + offset`.
    pub(super) fn read_low(&mut self, promise: Promise, base: Value, offset: usize) -> Value {
        let offset = self.low_half(offset);
        self.read_as(I32, promise, base, offset)
    }

    /// Like [`FuncTranslator::read_low`], for a value to which a constant is added. The load is an
    /// instruction of its own, because an addition that loads an operand has no room for a
    /// constant.
    pub(super) fn read_low_apart(&mut self, promise: Promise, base: Value, offset: usize) -> Value {
        let offset = vm_offset(self.low_half(offset));
        self.forget_if_momentary(promise);
        let flags = self.read_flags(promise);
        let wide = self.builder.ins().uload32(flags, base, offset);
        self.builder.ins().ireduce(I32, wide)
    }

    /// Reads a value of 32 bits at `base + offset`.
    pub(super) fn read_word(&mut self, promise: Promise, base: Value, offset: usize) -> Value {
        self.read_as(I32, promise, base, offset)
    }

    /// The offset of the low half of a value of 64 bits.
    fn low_half(&self, offset: usize) -> usize {
        match self.env.isa.endianness() {
            ir::Endianness::Big => offset + 4,
            ir::Endianness::Little => offset,
        }
    }

    /// Keeps Cranelift from reusing the result of an earlier load of a value that another thread
    /// may write. The sequence point costs no instruction.
    fn forget_if_momentary(&mut self, promise: Promise) {
        if promise.lifetime() == Lifetime::Moment {
            self.builder.ins().sequence_point();
        }
    }

    fn read_as(&mut self, ty: Type, promise: Promise, base: Value, offset: usize) -> Value {
        self.forget_if_momentary(promise);
        let flags = self.read_flags(promise);
        self.builder.ins().load(ty, flags, base, vm_offset(offset))
    }

    /// Reads a value at the end of a chain of pointers that starts at the VM context, with these
    /// offsets. All loads of the chain can move, so they are put at the start of the function, and
    /// the result can be used anywhere in it. Cranelift moves the loads to where they are needed.
    pub(super) fn read_hoisted(&mut self, path: &[(Promise, usize)]) -> Value {
        let path: Vec<_> = path
            .iter()
            .map(|(promise, offset)| {
                assert!(promise.can_move(), "{promise:?} is read where it is used");
                (self.read_flags(*promise), vm_offset(*offset))
            })
            .collect();
        let mut cursor = FuncCursor::new(self.builder.func).at_first_insertion_point(self.entry);
        path.into_iter().fold(self.vmctx, |base, (flags, offset)| {
            cursor.ins().load(I64, flags, base, offset)
        })
    }

    /// Stores the VM context into a stack slot, at the start of the function.
    pub(super) fn keep_vmctx(&mut self, slot: StackSlot) {
        let mut cursor = FuncCursor::new(self.builder.func).at_first_insertion_point(self.entry);
        cursor.ins().stack_store(I64, self.vmctx, slot, 0);
    }

    /// Writes a value at `base + offset`.
    pub(super) fn write(&mut self, promise: Promise, value: Value, base: Value, offset: usize) {
        let region = self.region(Region::of(promise));
        let flags = MemFlagsData::trusted().with_alias_region(Some(region));
        let offset = vm_offset(offset);
        self.builder.ins().store(flags, value, base, offset);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Collects every file of Rust code below a directory.
    fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn no_other_file_makes_loads_constant_or_movable() {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        assert!(files.len() > 20);
        files.retain(|file| !file.ends_with("translate/promises.rs"));
        for file in &files {
            let text = fs::read_to_string(file).expect("readable");
            for word in [
                "with_readonly",
                "set_readonly",
                "with_can_move",
                "set_can_move",
                "at_first_insertion_point",
            ] {
                assert!(!text.contains(word), "{}: {word}", file.display());
            }
        }
    }
}
