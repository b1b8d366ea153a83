//! Where the locals of a function are kept: in variables of Cranelift's front end, or in the frame.
//!
//! Wherever paths join, the front end makes a block parameter of a variable, as long as it does not
//! know that all paths bring the same value. Each branch to that block then has an argument. The
//! front end also keeps a table of each variable's values by blocks. So code with many locals and
//! many nested blocks or branches takes time and memory in proportion to their product: 1,000
//! nested loops that only read 1,000 locals have 7 KB of code and a million parameters, and 1,000
//! branches out of a block behind which 1,000 locals are read have 10 KB of code and a million
//! arguments. Such code comes from generators and attackers. Its translation stops
//! ([`Stopped::Explodes`]) and begins again with the locals in the frame, where each of them has a
//! place of its own. Then, time and memory are in proportion to the code, and the code runs at the
//! speed of its stack accesses.
//!
//! Code that handles exceptions and has more locals than the register allocator can cope with is
//! translated in the same way, see [`pressure`](crate::pressure). The choice depends only on the
//! function and what is inlined into it.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    Block, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Type, Value,
    ValueDef,
};
use cranelift_entity::SecondaryMap;
use cranelift_frontend::Variable;
use wasmparser::{BinaryReaderError, FunctionBody};

use super::FuncTranslator;
use crate::Error;

/// Number of values and of branch arguments, together, that every function may have.
const VALUES: u64 = 1 << 15;

/// Number of values and branch arguments for each operator that a function with more than
/// [`VALUES`] may have. Code of compilers has one to ten.
const VALUES_PER_OPERATOR: u64 = 32;

/// Number of entries, of four bytes each, that the tables of all variables of every function may
/// have together. The largest functions of programs have about as many.
const ENTRIES: u64 = 1 << 22;
/// Number of entries for each operator that a function with more than [`ENTRIES`] may have. The
/// large functions of programs have up to 50.
const ENTRIES_PER_OPERATOR: u64 = 1 << 7;
/// Maximum number of entries of any function.
const MAX_ENTRIES: u64 = 1 << 25;

/// Number of steps for the parameters of loops that every function may take. The front end removes
/// needless parameters one by one from the list of all parameters of a block.
const STEPS: u64 = 1 << 27;
/// Number of such steps for each operator that a function with more than [`STEPS`] may take.
const STEPS_PER_OPERATOR: u64 = 1 << 12;

/// Number of loops inside of one another that every function may have. The front end follows a
/// variable through all loops around its use.
const LOOPS: u32 = 1000;

/// Number of locals that every function may declare.
const LOCALS: u64 = 1 << 10;
/// Number of locals for each byte of its body that a function with more than [`LOCALS`] may
/// declare. Most of them can then not be used.
const LOCALS_PER_BYTE: u64 = 8;

/// Number of bytes that become zero in each turn of the loop that does it.
const ZEROED: u32 = 32;

/// Why a translation stopped before its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    Failed(Error),
    /// Cranelift's variables would take far more time and memory than the number of instructions
    /// justifies. The function is to be translated again with its locals in the frame.
    Explodes,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<BinaryReaderError> for Stopped {
    fn from(error: BinaryReaderError) -> Self {
        Self::Failed(error.into())
    }
}

/// Where a local is kept.
#[derive(Clone, Copy)]
pub(super) enum Home {
    Variable(Variable),
    /// A slot, and the offset in it.
    Frame(StackSlot, i32),
}

/// How much the variables of a function take.
#[derive(Default)]
pub(super) struct Extent {
    /// For each variable, the number of entries in its table.
    tables: SecondaryMap<Variable, u32>,
    entries: u64,
    steps: u64,
    /// For each block, the number of branches to it.
    ways: SecondaryMap<Block, u32>,
    /// Arguments of all branches.
    args: u64,
    /// Loops around the present operator.
    pub(super) loops: u32,
    operators: usize,
}

impl Extent {
    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.entries = 0;
        self.steps = 0;
        self.ways.clear();
        self.args = 0;
        self.loops = 0;
        self.operators = 0;
    }

    /// Notes a branch to a block that has `params` parameters.
    pub(super) fn branch(&mut self, to: Block, params: usize) {
        self.ways[to] += 1;
        self.args += params as u64;
    }

    /// Notes that a block has got another parameter.
    fn param(&mut self, of: Block) {
        self.args += u64::from(self.ways[of]);
    }

    /// Notes the end of a loop whose header has `params` parameters.
    pub(super) fn end_loop(&mut self, params: usize) {
        self.steps = self.steps.saturating_add((params as u64).pow(2));
    }

    /// Notes that a variable's table may reach as far as the block with this number.
    fn touch(&mut self, variable: Variable, block: u32) {
        let known = &mut self.tables[variable];
        if block >= *known {
            self.entries += u64::from(block + 1 - *known);
            *known = block + 1;
        }
    }

    /// Counts an operator, before which the function has `values` values. Returns whether the
    /// function's variables take too much time or memory.
    fn explodes(&mut self, values: usize) -> bool {
        self.operators += 1;
        let operators = self.operators as u64;
        let values = self.args.saturating_add(values as u64);
        self.loops > LOOPS
            || self.entries > MAX_ENTRIES
            || self.entries > ENTRIES && self.entries / ENTRIES_PER_OPERATOR > operators
            || self.steps > STEPS && self.steps / STEPS_PER_OPERATOR > operators
            || values > VALUES && values / VALUES_PER_OPERATOR > operators
    }
}

/// Stops the translation of a function that declares far more locals than its body can use.
/// Making a variable takes longer than making a place in the frame.
pub(super) fn check_declared_locals(body: &FunctionBody<'_>) -> Result<(), Stopped> {
    let mut locals = 0;
    for declaration in body.get_locals_reader()? {
        locals += u64::from(declaration?.0);
    }
    let bytes = body.range().end - body.range().start;
    match locals > LOCALS && locals / LOCALS_PER_BYTE > bytes {
        true => Err(Stopped::Explodes),
        false => Ok(()),
    }
}

impl FuncTranslator<'_, '_> {
    /// A new place for a local.
    pub(super) fn new_home(&mut self, ty: Type) -> Home {
        if !self.in_frame {
            return Home::Variable(self.builder.declare_var(ty));
        }
        let align = ty.bytes().ilog2() as u8;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, ty.bytes(), align);
        Home::Frame(self.builder.create_sized_stack_slot(data), 0)
    }

    pub(super) fn read_home(&mut self, (home, ty): (Home, Type)) -> Value {
        match home {
            Home::Variable(variable) => {
                // The front end goes back through blocks in front of which there is only one other,
                // and notes the value in each. Any block may be among them.
                let blocks = self.builder.func.dfg.num_blocks() as u32;
                self.extent.touch(variable, blocks - 1);
                let known = self.builder.func.dfg.num_values();
                let value = self.builder.use_var(variable);
                self.note_params(known);
                value
            }
            Home::Frame(slot, offset) => self.builder.ins().stack_load(I64, ty, slot, offset),
        }
    }

    /// Notes the parameters of blocks among the values that were made since there were `known`.
    fn note_params(&mut self, known: usize) {
        let dfg = &self.builder.func.dfg;
        for made in known..dfg.num_values() {
            let made = Value::from_u32(made as u32);
            if let ValueDef::Param(block, _) = dfg.value_def(made) {
                self.extent.param(block);
            }
        }
    }

    pub(super) fn write_home(&mut self, home: Home, value: Value) {
        match home {
            Home::Variable(variable) => {
                let block = self.builder.current_block().expect("code is in a block");
                self.extent.touch(variable, block.as_u32());
                self.builder.def_var(variable, value);
            }
            Home::Frame(slot, offset) => {
                self.builder.ins().stack_store(I64, value, slot, offset);
            }
        }
    }

    /// Makes a slot of the frame with at least this number of bytes, and code that fills it with
    /// zeros. The length of that code does not depend on the number.
    pub(super) fn zeroed_slot(&mut self, bytes: u32) -> StackSlot {
        let size = bytes.next_multiple_of(ZEROED);
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
        let slot = self.builder.create_sized_stack_slot(data);
        let (header, next) = (self.builder.create_block(), self.builder.create_block());
        let start = self.builder.ins().stack_addr(I64, slot, 0);
        let end = self.builder.ins().iadd_imm_u(start, i64::from(size));
        let zero = self.builder.ins().iconst(I64, 0);
        let at = self.builder.append_block_param(header, I64);
        self.builder.ins().jump(header, &[start.into()]);
        self.builder.switch_to_block(header);
        for offset in (0..ZEROED as i32).step_by(8) {
            let flags = MemFlagsData::trusted();
            self.builder.ins().store(flags, zero, at, offset);
        }
        let at = self.builder.ins().iadd_imm_u(at, i64::from(ZEROED));
        let again = self.builder.ins().icmp(IntCC::UnsignedLessThan, at, end);
        let branch = self.builder.ins();
        branch.brif(again, header, &[at.into()], next, &[]);
        self.builder.seal_block(header);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        slot
    }

    /// Stops the translation if variables take too much time or memory.
    pub(super) fn check_extent(&mut self) -> Result<(), Stopped> {
        let values = self.builder.func.dfg.num_values();
        match self.extent.explodes(values) && !self.in_frame {
            true => Err(Stopped::Explodes),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cranelift_entity::EntityRef;

    use super::*;

    #[test]
    fn many_values_explode_only_if_the_operators_are_few() {
        let mut extent = Extent::default();
        let (values, per_operator) = (VALUES as usize, VALUES_PER_OPERATOR as usize);
        assert!(!extent.explodes(values));
        assert!(extent.explodes(values + 1));
        extent.operators = values;
        assert!(!extent.explodes(per_operator * values));
        assert!(extent.explodes(per_operator * (values + 3)));
        extent.clear();
        assert!(extent.explodes(values + 1000));
    }

    #[test]
    fn loops_count_while_they_are_open() {
        let mut extent = Extent {
            loops: LOOPS,
            ..Extent::default()
        };
        assert!(!extent.explodes(0));
        extent.loops += 1;
        assert!(extent.explodes(0));
        extent.clear();
        assert!(!extent.explodes(0));
    }

    #[test]
    fn arguments_count_like_values() {
        let (mut extent, block) = (Extent::default(), Block::new(7));
        (0..VALUES / 16).for_each(|_| extent.branch(block, 8));
        (0..8).for_each(|_| extent.param(block));
        (0..100).for_each(|_| extent.param(Block::new(8)));
        assert!(!extent.explodes(0));
        extent.param(block);
        assert!(extent.explodes(0));
    }

    #[test]
    fn parameters_of_loops_take_their_square() {
        let mut extent = Extent::default();
        extent.end_loop(1000);
        assert!(!extent.explodes(0));
        (0..200).for_each(|_| extent.end_loop(1000));
        assert!(extent.explodes(0));
        extent.operators = 1 << 20;
        assert!(!extent.explodes(0));
    }

    #[test]
    fn tables_of_variables_reach_to_their_last_blocks() {
        let mut extent = Extent::default();
        let (first, second) = (Variable::new(0), Variable::new(1));
        extent.touch(first, 9);
        extent.touch(first, 3);
        extent.touch(second, 4);
        assert_eq!(extent.entries, 15);
        extent.touch(first, ENTRIES as u32 - 6);
        assert!(!extent.explodes(0));
        extent.touch(first, ENTRIES as u32 - 5);
        assert!(extent.explodes(0));
        // More operators may have more entries, but not any number.
        extent.operators = 1 << 20;
        assert!(!extent.explodes(0));
        extent.touch(first, MAX_ENTRIES as u32);
        assert!(extent.explodes(0));
    }
}
