//! Operators on ranges of linear memories, and on data segments.
//!
//! Code reads and writes ranges of a small constant length itself. Other ranges are checked in
//! machine code and then copied or filled by the loader's `memmove` and `memset`. Code calls these
//! two directly: they neither trap nor walk wasm frames, so they need no thunk. Code that epochs
//! can interrupt calls other routines for long ranges, which work in pieces and can stop in
//! between.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use precast_artifact::abi::PIECE;
use precast_artifact::promises::Promise;
use precast_artifact::vm::{VmContextHeader, VmStoreContext};
use precast_artifact::{Builtin, TrapCode};
use std::mem::{offset_of, size_of};
use target_lexicon::Architecture;

use super::FuncTranslator;
use crate::plan::SegmentPlan;
use crate::signature;
use crate::symbol::{DataIndex, MemoryIndex};

/// Maximum length of a constant range that code reads and writes itself, in bytes. For longer
/// ranges, the code would take more space than a call.
const INLINE: u64 = 64;

impl FuncTranslator<'_, '_> {
    pub(super) fn memory_copy(&mut self, dst_memory: u32, src_memory: u32) {
        let (dst, src, len) = self.pop3();
        let units = self.range_begins(len);
        let constant = self.constant_index(len);
        let (dst, src, len) = (
            self.widen_index(dst),
            self.widen_index(src),
            self.widen_index(len),
        );
        let (dst_memory, src_memory) = (
            MemoryIndex::from_u32(dst_memory),
            MemoryIndex::from_u32(src_memory),
        );
        if let Some(count) = constant.filter(|count| *count <= INLINE) {
            let (dst, dst_flags) = self.short_memory_range(dst_memory, dst, len);
            let (src, src_flags) = self.short_memory_range(src_memory, src, len);
            self.range_succeeds(units);
            // All bytes are read before any is written, because the ranges may overlap.
            let pieces: Vec<_> = self.pieces(count).collect();
            let read = |(at, ty): &(i32, Type)| {
                let value = self.builder.ins().load(*ty, src_flags, src, *at);
                (*at, value)
            };
            let values: Vec<_> = pieces.iter().map(read).collect();
            for (at, value) in values {
                self.builder.ins().store(dst_flags, value, dst, at);
            }
            return;
        }
        let dst = self.memory_range(dst_memory, dst, len);
        let src = self.memory_range(src_memory, src, len);
        self.range_succeeds(units);
        self.move_or_set(
            Builtin::MemMove,
            Builtin::MemoryCopy,
            [dst, src, len],
            constant,
        );
    }

    pub(super) fn memory_fill(&mut self, memory: u32) {
        let (dst, value, len) = self.pop3();
        let units = self.range_begins(len);
        let constant = self.constant_index(len);
        let (dst, len) = (self.widen_index(dst), self.widen_index(len));
        let memory = MemoryIndex::from_u32(memory);
        if let Some(count) = constant.filter(|count| *count <= INLINE) {
            let (dst, flags) = self.short_memory_range(memory, dst, len);
            self.range_succeeds(units);
            let byte = self.builder.ins().ireduce(I8, value);
            for (at, ty) in self.pieces(count).collect::<Vec<_>>() {
                let value = self.repeated(byte, ty);
                self.builder.ins().store(flags, value, dst, at);
            }
            return;
        }
        let dst = self.memory_range(memory, dst, len);
        self.range_succeeds(units);
        self.move_or_set(
            Builtin::MemSet,
            Builtin::MemoryFill,
            [dst, value, len],
            constant,
        );
    }

    /// The accesses that together make this many bytes, at most [`INLINE`]: offsets and types.
    fn pieces(&self, count: u64) -> impl Iterator<Item = (i32, Type)> + use<> {
        let has_vectors = matches!(
            self.env.isa.triple().architecture,
            Architecture::X86_64 | Architecture::Aarch64(_)
        );
        let mut at = 0;
        std::iter::from_fn(move || {
            let left = count as i32 - at;
            let ty = match left {
                16.. if has_vectors => I8X16,
                8.. => I64,
                4.. => I32,
                2.. => I16,
                1 => I8,
                _ => return None,
            };
            let here = at;
            at += ty.bytes() as i32;
            Some((here, ty))
        })
    }

    /// A value of this type whose bytes all have this value.
    fn repeated(&mut self, byte: Value, ty: Type) -> Value {
        match ty {
            I8 => byte,
            I8X16 => self.builder.ins().splat(I8X16, byte),
            _ => {
                let wide = self.builder.ins().uextend(I64, byte);
                let ones = self.builder.ins().iconst(I64, 0x0101_0101_0101_0101);
                let all = self.builder.ins().imul(wide, ones);
                match ty {
                    I64 => all,
                    _ => self.builder.ins().ireduce(ty, all),
                }
            }
        }
    }

    pub(super) fn memory_init(&mut self, memory: u32, segment: u32) {
        let (dst, src, len) = self.pop3();
        let units = self.range_begins(len);
        let (dst, src, len) = (
            self.widen_index(dst),
            self.widen_index(src),
            self.widen_index(len),
        );
        match self.env.plan.data[DataIndex::from_u32(segment)] {
            SegmentPlan::Record(_) => {
                let memory = self.index(memory);
                let segment = self.index(segment);
                self.call_builtin(Builtin::MemoryInit, &[memory, segment, dst, src, len]);
            }
            SegmentPlan::Dropped | SegmentPlan::Unused => {
                self.check_dropped(src, len, TrapCode::MemoryOutOfBounds);
                self.memory_range(MemoryIndex::from_u32(memory), dst, len);
            }
        }
        self.range_succeeds(units);
    }

    pub(super) fn data_drop(&mut self, segment: u32) {
        if let SegmentPlan::Record(record) = self.env.plan.data[DataIndex::from_u32(segment)] {
            self.set_dropped(self.env.plan.vm.data_dropped, record);
        }
    }

    /// Traps unless the range of `len` elements from `src` is empty and at index 0, as the segment
    /// is dropped.
    pub(super) fn check_dropped(&mut self, src: Value, len: Value, code: TrapCode) {
        let any = self.builder.ins().bor(src, len);
        self.trapnz(any, code);
    }

    /// An index of the module, as an argument for a routine of the loader.
    pub(super) fn index(&mut self, index: u32) -> Value {
        self.builder.ins().iconst(I32, i64::from(index))
    }

    /// Calls a routine for `len` bytes: `in_pieces` if there are many and the code can be
    /// interrupted by epochs, else `at_once`.
    fn move_or_set(
        &mut self,
        at_once: Builtin,
        in_pieces: Builtin,
        args: [Value; 3],
        constant: Option<u64>,
    ) {
        let len = args[2];
        if !self.env.interruption.has_epochs() {
            return self.call_host(at_once, &args);
        }
        match constant {
            Some(len) if len <= PIECE => self.call_host(at_once, &args),
            Some(_) => {
                self.call_builtin(in_pieces, &args);
            }
            None => {
                let piece = self.builder.ins().iconst(I64, PIECE.cast_signed());
                let is_short = self
                    .builder
                    .ins()
                    .icmp(IntCC::UnsignedLessThanOrEqual, len, piece);
                let (long, short) = self.unless_cold(is_short);
                let done = self.builder.create_block();
                self.builder.switch_to_block(long);
                self.call_builtin(in_pieces, &args);
                self.builder.ins().jump(done, &[]);
                self.builder.seal_block(short);
                self.builder.switch_to_block(short);
                self.call_host(at_once, &args);
                self.builder.ins().jump(done, &[]);
                self.builder.seal_block(done);
                self.builder.switch_to_block(done);
            }
        }
    }

    /// Calls a routine of the loader that needs no thunk.
    fn call_host(&mut self, builtin: Builtin, args: &[Value]) {
        let store = offset_of!(VmContextHeader, store);
        let store = self.read(Promise::StorePointer, self.vmctx, store);
        let builtins = offset_of!(VmStoreContext, builtins);
        let builtins = self.read(Promise::Builtins, store, builtins);
        let position = builtin.position() * size_of::<usize>();
        let code = self.read(Promise::Builtins, builtins, position);
        let signature = signature::builtin(self.env.isa, builtin);
        let signature = self.builder.import_signature(signature);
        self.builder.ins().call_indirect(signature, code, args);
    }
}
