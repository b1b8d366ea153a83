//! Initialisation that the compiler could not do, and the segments that machine code may name
//! later.
//!
//! The reader checked the types of constant expressions when the artifact was opened, and checks
//! elements here, where they are read.

use precast_artifact::records::{ConstOp, ConstOpcode, IMPORTED, NONE, Run};
use precast_artifact::vm::ValRaw;
use precast_artifact::{Error as ArtifactError, HEADER_OFFSET, TrapCode};
use smallvec::SmallVec;

use super::bounds::range;
use super::gather::Gathered;
use super::global::{read_global, write_global};
use super::images::Images;
use super::instance::InstanceData;
use super::item_types::global_type;
use crate::error::Error;
use crate::types::ValType;

impl InstanceData {
    /// Initialises the globals, tables and segments whose values are known only at instantiation.
    ///
    /// # Errors
    /// [`Error::Trap`] for a segment out of bounds, [`Error::Artifact`] for damage.
    ///
    /// # Safety
    /// The store is used by nobody else.
    pub(crate) unsafe fn initialise(&mut self) -> Result<(), Error> {
        let module = self.held_module();
        if let Some(gathered) = module.gathered()
            && gathered.images().has_copies()
        {
            self.copy_content(gathered.images());
        }
        let artifact = module.artifact();
        for (i, record) in (0_u32..).zip(artifact.globals()) {
            if record.init != NONE && record.flags & IMPORTED == 0 {
                let run = Run {
                    first: record.init,
                    count: record.init_len,
                };
                let value = self.evaluate(run)?;
                let ty = global_type(module, i).ok_or_else(damaged)?;
                // SAFETY: the parser checked the place, and that the value is of this type.
                unsafe { write_global(self.byte(record.vm_offset), ty, value) };
            }
        }
        for init in artifact.table_inits() {
            // SAFETY: the parser checked that the value is a reference.
            let value = unsafe { self.evaluate(init.value)?.externref };
            // SAFETY: a table of this instance.
            unsafe { self.table(init.table).as_mut().elements().fill(value) };
        }
        for (i, record) in (0_u32..).zip(artifact.elements()) {
            if record.table != NONE {
                let offset = self.offset(record.offset)?;
                let len = u64::from(record.items.count);
                self.table_init(record.table, record.segment, offset, 0, len)?;
                self.drop_element(i);
            }
        }
        if !artifact.data().is_empty() {
            self.initialise_memories()?;
        }
        Ok(())
    }

    /// Copies the initial content that is not mapped.
    #[cold]
    pub(super) fn copy_content(&mut self, images: &Images) {
        for (memory, guest, bytes) in images.copies() {
            let memory = &mut self.memories[memory];
            let len = bytes.len().min(memory.len().saturating_sub(guest));
            if let Some(shared) = memory.shared() {
                // It is in bounds.
                shared.write(guest as u64, &bytes[..len]);
                continue;
            }
            memory.will_write();
            // SAFETY: in bounds of a memory that no code uses now. The bytes are in a file of the
            // loader, which is not part of any memory.
            unsafe {
                let to = memory.base().add(guest);
                to.copy_from_nonoverlapping(bytes.as_ptr(), len);
            }
        }
    }

    /// Copies the data segments that were not gathered, and drops all that are copied.
    fn initialise_memories(&mut self) -> Result<(), Error> {
        let module = self.held_module();
        let artifact = module.artifact();
        let gathered = module.gathered();
        if gathered.is_some_and(Gathered::has_all_segments) {
            self.drop_all_data();
            return Ok(());
        }
        let imported = artifact.memories().len() - self.memories.len();
        for (i, record) in (0_u32..).zip(artifact.data()) {
            if record.memory == NONE {
                continue;
            }
            let own = (record.memory as usize).checked_sub(imported);
            let is_there = own
                .zip(gathered)
                .is_some_and(|(i, all)| all.has_segments(i));
            if !is_there {
                let offset = self.offset(record.offset)?;
                self.memory_init(record.memory, record.segment, offset, 0, record.len)
                    .map_err(Error::from)?;
            }
            self.drop_data(i);
        }
        Ok(())
    }

    /// The offset of a segment.
    fn offset(&mut self, run: Run) -> Result<u64, Error> {
        // SAFETY: the parser checked that it is an integer; an i32 is zero-extended.
        Ok(unsafe { self.evaluate(run)?.i64 as u64 })
    }

    /// Evaluates a constant expression. Values of 32 bits are zero-extended.
    fn evaluate(&mut self, run: Run) -> Result<ValRaw, Error> {
        use ConstOpcode as Op;
        let module = self.held_module();
        let ops = module.artifact().const_ops();
        let ops = ops.get(run.first as usize..run.first as usize + run.count as usize);
        let mut stack = SmallVec::<[ValRaw; 4]>::new();
        for op in ops.ok_or_else(damaged)? {
            let opcode = Op::from_number(op.op).ok_or_else(damaged)?;
            let value = match opcode {
                Op::Const | Op::RefNull | Op::RefFunc | Op::GlobalGet => self.value(opcode, op)?,
                Op::I32Add | Op::I32Sub | Op::I32Mul | Op::I64Add | Op::I64Sub | Op::I64Mul => {
                    let b = stack.pop().ok_or_else(damaged)?;
                    let a = stack.pop().ok_or_else(damaged)?;
                    // SAFETY: the parser checked that operands of arithmetic are integers.
                    let (a, b) = unsafe { (a.i64, b.i64) };
                    let wrap = |v: i64| i64::from(v as u32);
                    let i64 = match opcode {
                        Op::I32Add => wrap(a.wrapping_add(b)),
                        Op::I32Sub => wrap(a.wrapping_sub(b)),
                        Op::I32Mul => wrap(a.wrapping_mul(b)),
                        Op::I64Add => a.wrapping_add(b),
                        Op::I64Sub => a.wrapping_sub(b),
                        _ => a.wrapping_mul(b),
                    };
                    ValRaw { i64 }
                }
            };
            stack.push(value);
        }
        stack.pop().ok_or_else(damaged)
    }

    /// The value of an operator without operands.
    fn value(&mut self, opcode: ConstOpcode, op: &ConstOp) -> Result<ValRaw, Error> {
        Ok(match opcode {
            ConstOpcode::Const => ValRaw {
                i64: op.bits as i64,
            },
            ConstOpcode::RefFunc => ValRaw {
                funcref: self.func_ref(op.index)?.as_ptr(),
            },
            ConstOpcode::GlobalGet => {
                let ty = global_type(&self.module, op.index).ok_or_else(damaged)?;
                let place = self.global(op.index).ok_or_else(damaged)?;
                // SAFETY: a global of this instance.
                let value = unsafe { read_global(place, ty) };
                match ty.content {
                    // Machine code does not write the upper half.
                    ValType::I32 | ValType::F32 => ValRaw {
                        // SAFETY: any bytes are an integer.
                        i64: i64::from(unsafe { value.f32 }),
                    },
                    _ => value,
                }
            }
            _ => ValRaw { externref: 0 },
        })
    }

    /// `memory.init`, and active data segments.
    pub(crate) fn memory_init(
        &mut self,
        memory: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let module = self.held_module();
        let artifact = module.artifact();
        let i = artifact.data().partition_point(|r| r.segment < segment);
        let record = artifact.data().get(i).filter(|r| r.segment == segment);
        let bytes = match record {
            Some(r) if !self.is_dropped(artifact.header().vm.data_dropped, i) => {
                let segments = artifact.section(artifact.header().segments);
                segments
                    .get(r.bytes as usize..(r.bytes + r.len) as usize)
                    .unwrap_or(&[])
            }
            _ => &[],
        };
        let out = TrapCode::MemoryOutOfBounds;
        let from = range(src, len, bytes.len()).map_err(|_| out)?;
        // SAFETY: a memory of this instance.
        let memory = unsafe { self.memory(memory).as_mut() };
        if let Some(shared) = memory.shared() {
            return match shared.write(dst, &bytes[from]) {
                true => Ok(()),
                false => Err(out),
            };
        }
        let to = range(dst, len, memory.len()).map_err(|_| out)?;
        memory.will_write();
        // SAFETY: both ranges are in bounds; the artifact is not part of any linear memory.
        unsafe {
            let to = memory.base().add(to.start);
            std::ptr::copy_nonoverlapping(bytes[from].as_ptr(), to, len as usize);
        }
        Ok(())
    }

    /// `table.init`, and active element segments.
    ///
    /// # Errors
    /// [`Error::Trap`] out of bounds, [`Error::Artifact`] for elements that are damaged.
    pub(crate) fn table_init(
        &mut self,
        table: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), Error> {
        let module = self.held_module();
        let artifact = module.artifact();
        let i = artifact.elements().partition_point(|r| r.segment < segment);
        let record = artifact.elements().get(i).filter(|r| r.segment == segment);
        let items = match record {
            Some(r) if !self.is_dropped(artifact.header().vm.elem_dropped, i) => r.items,
            _ => Run { first: 0, count: 0 },
        };
        let from = range(src, len, items.count as usize).map_err(Error::from)?;
        let record = artifact.tables().get(table as usize);
        let ty = record.and_then(|record| artifact.val_type(record.element));
        let ty = ty.ok_or_else(damaged)?;
        let mut table = self.table(table);
        // SAFETY: a table of this instance.
        let size = unsafe { table.as_ref().len() };
        let to = range(dst, len, size).map_err(Error::from)?;
        for (item, at) in from.zip(to) {
            let item = artifact.element_item(items.first as usize + item, ty)?;
            let opcode = ConstOpcode::from_number(item.op).ok_or_else(damaged)?;
            let value = self.value(opcode, &item)?;
            // SAFETY: the reader checked that it is a reference of the table's type.
            unsafe { table.as_mut().elements()[at] = value.externref };
        }
        Ok(())
    }

    fn is_dropped(&self, flags: u32, i: usize) -> bool {
        // SAFETY: the parser checked that there is a flag for each record inside the context.
        unsafe { *self.at::<u8>(flags).add(i) != 0 }
    }

    fn drop_data(&mut self, i: u32) {
        let flags = self.module.artifact().header().vm.data_dropped;
        // SAFETY: as for `is_dropped`.
        unsafe { self.at::<u8>(flags).add(i as usize).write(1) };
    }

    fn drop_all_data(&mut self) {
        let artifact = self.module.artifact();
        let flags = self.at::<u8>(artifact.header().vm.data_dropped);
        // SAFETY: as for `is_dropped`.
        unsafe { flags.write_bytes(1, artifact.data().len()) };
    }

    fn drop_element(&mut self, i: u32) {
        let flags = self.module.artifact().header().vm.elem_dropped;
        // SAFETY: as for `is_dropped`.
        unsafe { self.at::<u8>(flags).add(i as usize).write(1) };
    }
}

/// The error for records that the parser has checked: it never happens, but it is better than a
/// panic.
fn damaged() -> Error {
    Error::Artifact(ArtifactError::Damaged {
        offset: HEADER_OFFSET as u64,
        what: "a constant expression that has no value",
    })
}
