//! The state of one function's translation, and the entities that it declares once.
//!
//! A [`Scratch`] outlives the function and keeps the allocations; each worker has one. The
//! [`Caches`] (signatures, callees, memory bases) are cleared for each function, because their
//! values and entities belong to one function.

use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, Block, BlockArg, ExtFuncData, ExternalName, FuncRef,
    GlobalValue, GlobalValueData, InstBuilder, SigRef, StackSlot, StackSlotData, StackSlotKind,
    Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_entity::packed_option::{PackedOption, ReservedValue};
use cranelift_entity::{EntityRef, SecondaryMap};
use cranelift_frontend::FunctionBuilder;
use precast_artifact::addresses::Change;
use precast_artifact::promises::Promise;
use precast_artifact::{Builtin, Interruption, Strategy, TrapCode};

use super::accesses::Access;
use super::checks::Checks;
use super::control::Frame;
use super::fuel::Fuel;
use super::homes::Extent;
use super::inline::{Positions, Variables};
use super::locals::Assigned;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::middle::Middle;
use crate::module::Module;
use crate::plan::Plan;
use crate::relax::Jumps;
use crate::signature;
use crate::symbol::{FuncIndex, MemoryIndex, SigIndex, Symbol};

/// What the translation of every function reads: the module, the plan and the target.
pub(crate) struct Env<'a> {
    pub(crate) module: &'a Module<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) middle: &'a Middle,
    /// The counters, if code counts what it does.
    pub(crate) counters: Option<&'a Counters>,
    /// Whether a `br_table` may become comparisons.
    pub(crate) switches: bool,
    /// Whether locals are variables, unless there are too many.
    pub(crate) variables: bool,
    /// Whether functions start where their loops run fast.
    pub(crate) loops: bool,
    /// Whether code that leaves a short counted loop is behind the loop.
    pub(crate) exits: bool,
    /// What becomes of jumps.
    pub(crate) jumps: Jumps,
    pub(crate) isa: &'a dyn TargetIsa,
    /// See [`Target::finishers`](crate::target::Target::finishers).
    pub(crate) finishers: [&'a dyn TargetIsa; 4],
    pub(crate) strategy: Strategy,
    pub(crate) interruption: Interruption,
    /// Whether functions call the host's listener.
    pub(crate) listeners: bool,
    pub(crate) limits: &'a Limits,
    /// Number of bytes of the module, on which some of the limits depend.
    pub(crate) wasm_len: usize,
}

/// Translates one function.
pub(crate) struct FuncTranslator<'a, 'b> {
    pub(super) builder: FunctionBuilder<'b>,
    pub(super) env: &'a Env<'a>,
    /// Operand stack, top last.
    pub(super) stack: Vec<Value>,
    /// Open blocks, innermost last; the first is the function itself.
    pub(super) control: Vec<Frame>,
    /// Whether the current position is reachable.
    pub(super) reachable: bool,
    pub(super) locals: Variables,
    pub(super) extent: Extent,
    /// Whether locals are kept in the frame.
    pub(super) in_frame: bool,
    pub(super) positions: Positions,
    /// Index in `control` of the frame of the innermost body: the function itself, or an inlined
    /// callee.
    pub(super) body: usize,
    /// Arguments of the call or jump that is being built.
    pub(super) args: Vec<Value>,
    pub(super) block_args: Vec<BlockArg>,
    /// Number of values that all calls and jumps so far pass.
    pub(super) passed: u64,
    pub(super) vmctx: Value,
    pub(super) entry: Block,
    /// Index of the function.
    pub(super) function: FuncIndex,
    /// Number of bytes of the function's body.
    pub(super) bytes: u64,
    pub(super) caches: Caches,
    /// Accesses that may fault, in the order of the code.
    pub(super) accesses: Vec<Access>,
    /// Whether conditional traps become [stops](crate::stops).
    pub(super) has_stops: bool,
    /// The position of each stop.
    pub(super) stops: Vec<u32>,
    pub(super) fuel: Option<Fuel>,
    /// Wasm offset of the innermost body.
    pub(super) body_start: u32,
    /// Branches of the innermost body, by offset in it, and whether they are likely taken. Empty if
    /// a profile knows better.
    pub(super) hints: &'a [(u32, bool)],
    /// The locals that the loops of the innermost body assign, if the values of locals are tracked
    /// because accesses are checked.
    pub(super) assigned: Option<Assigned>,
}

/// Allocations that are reused for the next function.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Accesses of the last function that may fault, in the order of its code.
    pub(crate) accesses: Vec<Access>,
    /// The position of each conditional trap of the last function that becomes a
    /// [stop](crate::stops).
    pub(crate) stops: Vec<u32>,
    pub(super) stack: Vec<Value>,
    pub(super) control: Vec<Frame>,
    pub(super) locals: Variables,
    pub(super) extent: Extent,
    pub(super) positions: Positions,
    pub(super) args: Vec<Value>,
    pub(super) block_args: Vec<BlockArg>,
    pub(super) caches: Caches,
}

impl Scratch {
    /// Where the bodies that are inlined into the last function start and end.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.positions.changes
    }

    /// The stack slot in which the last function keeps the VM context, if it has one.
    pub(crate) fn vmctx_slot(&self) -> Option<StackSlot> {
        self.caches.vmctx_slot
    }
}

/// Entities and values of the current function that are made at first use.
#[derive(Default)]
pub(super) struct Caches {
    signatures: Cache<SigIndex, SigRef>,
    callees: Cache<FuncIndex, FuncRef>,
    memory_bases: Cache<MemoryIndex, Value>,
    pub(super) checks: Checks,
    /// Stack slot with the VM context for code that raises traps, if there is such code.
    pub(super) vmctx_slot: Option<StackSlot>,
    /// Stack slot with the values that a listener is told.
    pub(super) listened: Option<StackSlot>,
    /// There are few enough symbols, thunks and raises for a linear search.
    symbols: Vec<(Symbol, GlobalValue)>,
    thunks: Vec<(Builtin, FuncRef)>,
    raises: Vec<(TrapCode, FuncRef)>,
}

impl Caches {
    pub(super) fn clear(&mut self) {
        self.signatures.clear();
        self.callees.clear();
        self.memory_bases.clear();
        self.checks.clear();
        self.vmctx_slot = None;
        self.listened = None;
        self.symbols.clear();
        self.thunks.clear();
        self.raises.clear();
    }
}

/// A dense map that is cleared in time proportional to what it holds, not to the module's size.
struct Cache<K: EntityRef, V: ReservedValue + Copy> {
    map: SecondaryMap<K, PackedOption<V>>,
    used: Vec<K>,
}

impl<K: EntityRef, V: ReservedValue + Copy> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            map: SecondaryMap::new(),
            used: Vec::new(),
        }
    }
}

impl<K: EntityRef, V: ReservedValue + Copy> Cache<K, V> {
    fn get(&self, key: K) -> Option<V> {
        self.map[key].expand()
    }

    fn insert(&mut self, key: K, value: V) {
        self.map[key] = value.into();
        self.used.push(key);
    }

    fn clear(&mut self) {
        for key in self.used.drain(..) {
            self.map[key] = None.into();
        }
    }
}

/// Alias regions: accesses in different regions never alias.
#[derive(Clone, Copy)]
pub(super) enum Region {
    /// Fixed parts of the VM context, and of what it points to.
    Vm,
    /// The interrupt word, which other threads write.
    Interrupt,
    /// The count of fuel.
    Fuel,
    /// What code counts for profiles.
    Counters,
    /// Base and length of a memory.
    MemoryHead,
    /// Base and length of a table.
    TableHead,
    /// Elements of tables.
    TableElements,
    /// Read-only data and GOT of the artifact.
    Artifact,
    /// Memories that other modules may share.
    SharedMemory,
    /// Globals that other modules may share.
    SharedGlobal,
    /// A memory that only this module can access.
    Memory(u32),
    /// A global that only this module can access.
    Global(u32),
}

impl Region {
    /// Identity of the region within a function. Each private memory and global has its own number.
    fn data(self) -> AliasRegionData {
        let (user_id, description) = match self {
            Self::Vm => (0, "vm"),
            Self::MemoryHead => (1, "memory head"),
            Self::TableHead => (2, "table head"),
            Self::TableElements => (3, "table elements"),
            Self::Artifact => (4, "artifact"),
            Self::SharedMemory => (5, "shared memory"),
            Self::SharedGlobal => (6, "shared global"),
            Self::Interrupt => (7, "interrupt"),
            Self::Fuel => (u32::MAX, "fuel"),
            Self::Counters => (u32::MAX - 1, "counters"),
            Self::Memory(i) => (8 + 2 * i, "memory"),
            Self::Global(i) => (9 + 2 * i, "global"),
        };
        AliasRegionData {
            user_id,
            description: description.into(),
        }
    }
}

impl FuncTranslator<'_, '_> {
    /// The alias region, as an entity of this function.
    pub(super) fn region(&mut self, region: Region) -> AliasRegion {
        self.builder.func.dfg.alias_regions.insert(region.data())
    }

    /// The base of a memory at the end of this chain of pointers, all of which [can
    /// move](precast_artifact::promises::Promise::can_move).
    pub(super) fn hoisted_memory_base(
        &mut self,
        memory: MemoryIndex,
        path: &[(Promise, usize)],
    ) -> Value {
        if let Some(base) = self.caches.memory_bases.get(memory) {
            return base;
        }
        let base = self.read_hoisted(path);
        self.caches.memory_bases.insert(memory, base);
        base
    }

    /// The signature of wasm functions with these parameters and results.
    pub(super) fn signature(&mut self, index: SigIndex) -> SigRef {
        if let Some(signature) = self.caches.signatures.get(index) {
            return signature;
        }
        let signature = signature::wasm(&self.env.module.signatures[index]);
        let signature = self.builder.import_signature(signature);
        self.caches.signatures.insert(index, signature);
        signature
    }

    /// A function of the module, as a callee.
    pub(super) fn callee(&mut self, index: FuncIndex) -> FuncRef {
        if let Some(callee) = self.caches.callees.get(index) {
            return callee;
        }
        let defined = self
            .env
            .module
            .defined(index)
            .expect("a function of the module");
        let signature = self.signature(self.env.module.functions[index]);
        let callee = self.import_function(Symbol::Function(defined), signature);
        self.caches.callees.insert(index, callee);
        callee
    }

    /// Calls the thunk of a routine of the loader, with the VM context and these arguments.
    pub(super) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Option<Value> {
        let known = self
            .caches
            .thunks
            .iter()
            .find(|(other, _)| *other == builtin);
        let thunk = match known {
            Some((_, thunk)) => *thunk,
            None => {
                let signature = self
                    .builder
                    .import_signature(signature::builtin_thunk(builtin));
                let thunk = self.import_function(Symbol::BuiltinThunk(builtin), signature);
                self.caches.thunks.push((builtin, thunk));
                thunk
            }
        };
        // Before a branch to a cold block, `unless_cold` has loaded the count already.
        self.fuel_before_fork();
        self.save_fuel();
        self.args.clear();
        self.args.push(self.vmctx);
        self.args.extend_from_slice(args);
        let call = self.builder.ins().call(thunk, &self.args);
        self.builder.inst_results(call).first().copied()
    }

    /// Calls the code that ends the activation with this trap.
    pub(super) fn call_raise(&mut self, vmctx: Value, code: TrapCode) {
        let known = self.caches.raises.iter().find(|(other, _)| *other == code);
        let raise = match known {
            Some((_, raise)) => *raise,
            None => {
                let signature = self.builder.import_signature(signature::raise());
                let raise = self.import_function(Symbol::Raise(code), signature);
                self.caches.raises.push((code, raise));
                raise
            }
        };
        self.builder.ins().call(raise, &[vmctx]);
    }

    /// The VM context, for code that raises a trap: loaded from a stack slot, into which the
    /// function's entry stores it once. If each such block used the value itself, the value would
    /// be live all over a function that may have tens of thousands of such blocks, and register
    /// allocation would take time quadratic in their number.
    pub(super) fn kept_vmctx(&mut self) -> Value {
        let slot = self.vmctx_slot();
        // The sequence point keeps Cranelift from replacing the load by the value that was stored.
        self.builder.ins().sequence_point();
        self.builder.ins().stack_load(I64, I64, slot, 0)
    }

    /// The stack slot from which code that raises a trap loads the VM context.
    pub(super) fn vmctx_slot(&mut self) -> StackSlot {
        if let Some(slot) = self.caches.vmctx_slot {
            return slot;
        }
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3);
        let slot = self.builder.create_sized_stack_slot(data);
        self.keep_vmctx(slot);
        self.caches.vmctx_slot = Some(slot);
        slot
    }

    fn import_function(&mut self, symbol: Symbol, signature: SigRef) -> FuncRef {
        let name = self
            .builder
            .func
            .declare_imported_user_function(symbol.to_name());
        self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    /// The address of a symbol.
    pub(super) fn symbol(&mut self, symbol: Symbol) -> Value {
        let known = self
            .caches
            .symbols
            .iter()
            .find(|(other, _)| *other == symbol);
        let global = match known {
            Some((_, global)) => *global,
            None => {
                let global = declare_symbol(self.builder.func, symbol);
                self.caches.symbols.push((symbol, global));
                global
            }
        };
        self.builder.ins().symbol_value(I64, global)
    }
}

/// A symbol of the artifact as a global value of `func`: its address is relative to the code's.
pub(crate) fn declare_symbol(func: &mut ir::Function, symbol: Symbol) -> GlobalValue {
    let name = func.declare_imported_user_function(symbol.to_name());
    func.create_global_value(GlobalValueData::Symbol {
        name: ExternalName::user(name),
        offset: 0.into(),
        colocated: true,
        tls: false,
    })
}

/// An offset in the VM context or one of its parts, which the plan keeps below 2^31.
pub(crate) fn vm_offset(offset: usize) -> Offset32 {
    i32::try_from(offset)
        .expect("the plan limits the VM context")
        .into()
}
