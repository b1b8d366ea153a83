//! What is left to do at instantiation, and the segments that machine code may name later.

use precast_artifact::TrapCode;
use precast_artifact::records::{ConstOp, ConstOpcode, IMPORTED, NONE, Run};
use precast_artifact::vm::ValRaw;

use super::InstanceData;
use crate::builtins::range;
use crate::global::{read_global, write_global};
use crate::types::global_type;

impl InstanceData {
    /// Globals, tables and segments that are known at instantiation only.
    ///
    /// # Safety
    /// The store is used by nobody else.
    pub(super) unsafe fn initialise(&mut self) -> Result<(), TrapCode> {
        let module = self.held_module();
        let artifact = module.artifact();
        for (i, record) in (0_u32..).zip(artifact.globals()) {
            if record.init != NONE && record.flags & IMPORTED == 0 {
                let run = Run {
                    first: record.init,
                    count: record.init_len,
                };
                let value = self.evaluate(run)?;
                let ty = global_type(&artifact, i).ok_or(TrapCode::Unreachable)?;
                // SAFETY: the parser checked the place.
                unsafe { write_global(self.byte(record.vm_offset), ty, value) };
            }
        }
        for init in artifact.table_inits() {
            // SAFETY: the value of an expression of a reference type.
            let value = unsafe { self.evaluate(init.value)?.externref };
            // SAFETY: a table of this instance.
            unsafe { self.table(init.table).as_mut().elements().fill(value) };
        }
        for (i, record) in (0_u32..).zip(artifact.elements()) {
            if record.table != NONE {
                // SAFETY: offsets are integers; those of 32-bit tables are zero-extended.
                let offset = unsafe { self.evaluate(record.offset)?.i64 as u64 };
                let len = u64::from(record.items.count);
                self.table_init(record.table, record.segment, offset, 0, len)?;
                self.drop_element(i);
            }
        }
        for (i, record) in (0_u32..).zip(artifact.data()) {
            if record.memory != NONE {
                // SAFETY: as above.
                let offset = unsafe { self.evaluate(record.offset)?.i64 as u64 };
                self.memory_init(record.memory, record.segment, offset, 0, record.len)?;
                self.drop_data(i);
            }
        }
        Ok(())
    }

    /// Evaluates a constant expression. The compiler wrote only valid ones, so what cannot be is
    /// damage.
    fn evaluate(&mut self, run: Run) -> Result<ValRaw, TrapCode> {
        let module = self.held_module();
        let ops = module.artifact().const_ops();
        let ops = &ops[run.first as usize..(run.first + run.count) as usize];
        let mut stack = Vec::with_capacity(2);
        for op in ops {
            self.step(op, &mut stack).ok_or(TrapCode::Unreachable)?;
        }
        stack.pop().ok_or(TrapCode::Unreachable)
    }

    fn step(&mut self, op: &ConstOp, stack: &mut Vec<ValRaw>) -> Option<()> {
        use ConstOpcode as Op;
        let opcode = Op::from_number(op.op)?;
        let value = match opcode {
            Op::Const => ValRaw {
                i64: op.bits as i64,
            },
            Op::RefNull => ValRaw { externref: 0 },
            Op::RefFunc => ValRaw {
                funcref: self.func_ref(op.index)?.as_ptr(),
            },
            Op::GlobalGet => {
                let ty = global_type(&self.module.artifact(), op.index)?;
                // SAFETY: a global of this instance.
                unsafe { read_global(self.global(op.index)?, ty) }
            }
            _ => {
                // SAFETY: operands of integer arithmetic are integers; 32-bit ones have defined
                // upper halves, see `Val::to_raw` and the wrapping below.
                let (b, a) = unsafe { (stack.pop()?.i64, stack.pop()?.i64) };
                let wrap = |v: i64| i64::from(v as u32);
                ValRaw {
                    i64: match opcode {
                        Op::I32Add => wrap(a.wrapping_add(b)),
                        Op::I32Sub => wrap(a.wrapping_sub(b)),
                        Op::I32Mul => wrap(a.wrapping_mul(b)),
                        Op::I64Add => a.wrapping_add(b),
                        Op::I64Sub => a.wrapping_sub(b),
                        _ => a.wrapping_mul(b),
                    },
                }
            }
        };
        stack.push(value);
        Some(())
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
        let to = range(dst, len, memory.len()).map_err(|_| out)?;
        // As a store to a page that the system does not make writable would end.
        memory.will_write(to.clone()).map_err(|_| out)?;
        // SAFETY: both ranges are in bounds; the artifact is not part of any linear memory.
        unsafe {
            let to = memory.base().add(to.start);
            std::ptr::copy_nonoverlapping(bytes[from].as_ptr(), to, len as usize);
        }
        Ok(())
    }

    /// `table.init`, and active element segments.
    pub(crate) fn table_init(
        &mut self,
        table: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let module = self.held_module();
        let artifact = module.artifact();
        let i = artifact.elements().partition_point(|r| r.segment < segment);
        let record = artifact.elements().get(i).filter(|r| r.segment == segment);
        let items = match record {
            Some(r) if !self.is_dropped(artifact.header().vm.elem_dropped, i) => {
                let end = (r.items.first + r.items.count) as usize;
                artifact
                    .element_items()
                    .get(r.items.first as usize..end)
                    .unwrap_or(&[])
            }
            _ => &[],
        };
        let from = range(src, len, items.len())?;
        let mut table = self.table(table);
        // SAFETY: a table of this instance.
        let to = range(dst, len, unsafe { table.as_mut().elements().len() })?;
        let mut stack = Vec::with_capacity(1);
        for (item, at) in items[from].iter().zip(to) {
            self.step(item, &mut stack).ok_or(TrapCode::Unreachable)?;
            let value = stack.pop().ok_or(TrapCode::Unreachable)?;
            // SAFETY: items are references, 8 bytes.
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

    fn drop_element(&mut self, i: u32) {
        let flags = self.module.artifact().header().vm.elem_dropped;
        // SAFETY: as for `is_dropped`.
        unsafe { self.at::<u8>(flags).add(i as usize).write(1) };
    }
}
