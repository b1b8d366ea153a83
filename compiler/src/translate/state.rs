//! The state of one function's translation: builder, operand stack, control stack, caches.
//!
//! A [`Scratch`] outlives the function and keeps the allocations; each worker thread has one. The
//! caches (signatures, callees, memory bases, alias regions) belong to one function, because the
//! values and entities that they hold do.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::types::{I8X16, I64};
use cranelift_codegen::ir::{
    self, AbiParam, AliasRegion, AliasRegionData, Block, ExtFuncData, ExternalName,
    GlobalValueData, InstBuilder, MemFlagsData, Type, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntityRef, SecondaryMap};
use cranelift_frontend::{FunctionBuilder, Variable};
use precast_artifact::{Strategy, ValType};

use super::control::Frame;
use crate::key::{FuncIndex, MemoryIndex, SigIndex, Symbol};
use crate::module::Module;
use crate::plan::Plan;

/// What every function's translation reads: the module, the decisions about it, the target.
pub(crate) struct Env<'a> {
    pub(crate) module: &'a Module<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) isa: &'a dyn TargetIsa,
    pub(crate) strategy: Strategy,
}

/// Translates one function.
pub(crate) struct FuncTranslator<'a, 'b> {
    pub(crate) builder: FunctionBuilder<'b>,
    pub(crate) env: &'a Env<'a>,
    /// Operands, innermost last.
    pub(crate) stack: Vec<Value>,
    /// Open blocks, innermost last; the first is the function itself.
    pub(crate) control: Vec<Frame>,
    /// Whether the current position can be reached at all.
    pub(crate) reachable: bool,
    /// Cranelift variable of each local.
    pub(crate) locals: Vec<Variable>,
    pub(super) vmctx: Value,
    pub(super) entry: Block,
    pub(super) caches: Caches,
}

/// Allocations and per-function caches that are used again for the next function.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) stack: Vec<Value>,
    pub(super) control: Vec<Frame>,
    pub(super) locals: Vec<Variable>,
    pub(super) caches: Caches,
}

/// Entities and values of the current function that are made at first use.
#[derive(Default)]
pub(super) struct Caches {
    pub(super) signatures: Cache<SigIndex, ir::SigRef>,
    pub(super) callees: Cache<FuncIndex, ir::FuncRef>,
    /// Pointers to imported memories and tables, bases of memories that do not move.
    pub(super) memory_bases: Cache<MemoryIndex, Value>,
}

impl Caches {
    fn clear(&mut self) {
        self.signatures.clear();
        self.callees.clear();
        self.memory_bases.clear();
    }
}

/// A dense map that forgets in time proportional to what it holds, not to the module.
pub(super) struct Cache<K: EntityRef, V: EntityRef + cranelift_entity::packed_option::ReservedValue>
{
    map: SecondaryMap<K, PackedOption<V>>,
    used: Vec<K>,
}

impl<K: EntityRef, V: EntityRef + cranelift_entity::packed_option::ReservedValue> Default
    for Cache<K, V>
{
    fn default() -> Self {
        Self { map: SecondaryMap::new(), used: Vec::new() }
    }
}

impl<K: EntityRef, V: EntityRef + cranelift_entity::packed_option::ReservedValue> Cache<K, V> {
    pub(super) fn get(&self, key: K) -> Option<V> {
        self.map[key].expand()
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.map[key] = value.into();
        self.used.push(key);
    }

    fn clear(&mut self) {
        for key in self.used.drain(..) {
            self.map[key] = None.into();
        }
    }
}

/// Parts of memory that no pointer crosses: accesses in different regions never alias.
#[derive(Clone, Copy)]
pub(super) enum Region {
    /// Fixed parts of the VM context and of what it points at.
    Vm,
    /// Base and length of a memory.
    MemoryHead,
    /// Base and length of a table.
    TableHead,
    /// Elements of tables.
    TableElements,
    /// Memories that other modules may share.
    SharedMemory,
    /// Globals that other modules may share.
    SharedGlobal,
    /// A memory of the module alone.
    Memory(u32),
    /// A global of the module alone.
    Global(u32),
}

impl Region {
    /// Identity of the region within a function; memories and globals get numbers of their own.
    fn data(self) -> AliasRegionData {
        let (user_id, description) = match self {
            Self::Vm => (0, "vm"),
            Self::MemoryHead => (1, "memory head"),
            Self::TableHead => (2, "table head"),
            Self::TableElements => (3, "table elements"),
            Self::SharedMemory => (4, "shared memory"),
            Self::SharedGlobal => (5, "shared global"),
            Self::Memory(i) => (8 + 2 * i, "memory"),
            Self::Global(i) => (9 + 2 * i, "global"),
        };
        AliasRegionData { user_id, description: description.into() }
    }
}

/// The Cranelift type of a wasm value.
pub(crate) fn clif_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => ir::types::I32,
        ValType::F32 => ir::types::F32,
        ValType::F64 => ir::types::F64,
        ValType::V128 => I8X16,
        ValType::I64 | ValType::FuncRef | ValType::ExternRef => I64,
    }
}

/// Operand stack.
impl FuncTranslator<'_, '_> {
    /// Pushes an operand. A vector must be an `I8X16`, see [`Self::push_vector`].
    pub(crate) fn push(&mut self, value: Value) {
        debug_assert!({
            let ty = self.builder.func.dfg.value_type(value);
            !ty.is_vector() || ty == I8X16
        });
        self.stack.push(value);
    }

    /// Pops an operand.
    pub(crate) fn pop(&mut self) -> Value {
        self.stack.pop().expect("validated: an operand")
    }

    /// Pops two operands, in the order in which they were pushed.
    pub(crate) fn pop2(&mut self) -> (Value, Value) {
        let b = self.pop();
        (self.pop(), b)
    }

    /// Pops three operands, in the order in which they were pushed.
    pub(crate) fn pop3(&mut self) -> (Value, Value, Value) {
        let c = self.pop();
        let (a, b) = self.pop2();
        (a, b, c)
    }

    /// The operand on top.
    pub(crate) fn peek(&self) -> Value {
        *self.stack.last().expect("validated: an operand")
    }

    /// Pushes a `v128` of any lane type.
    pub(crate) fn push_vector(&mut self, value: Value) {
        let value = self.cast_vector(value, I8X16);
        self.stack.push(value);
    }

    /// Pops a `v128` as a vector of this type.
    pub(crate) fn pop_vector(&mut self, ty: Type) -> Value {
        let value = self.pop();
        self.cast_vector(value, ty)
    }

    /// The same 128 bits as another vector type.
    pub(crate) fn cast_vector(&mut self, value: Value, ty: Type) -> Value {
        if self.builder.func.dfg.value_type(value) == ty {
            return value;
        }
        let flags = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        self.builder.ins().bitcast(ty, flags, value)
    }
}
