//! Counts the values that are alive at the same time in a function, and its blocks, and chooses the
//! register allocator and what the code generator tells about its code.
//!
//! Cranelift's usual register allocator takes time in the square of the number of values that are
//! alive at one place, as soon as these are far more than there are registers: 4,000 take a second,
//! 70,000 minutes. Such code comes from generators and attackers, not from compilers, and runs at
//! the speed of its stack accesses anyway. So a function with more than [`MANY`] is given to the
//! other allocator, which passes over the code once, and in each block over the values that are
//! alive in it. This depends on the function alone.
//!
//! The other allocator needs time for each block, times its predecessors, times the values that are
//! alive around it: two functions of a Go program with 65,000 blocks took 25 seconds. A function
//! with [very many blocks](MANY_BLOCKS), a [crowded](is_crowded) or a [wide](is_wide) one is
//! translated again with its locals [in the frame](crate::translate::Stopped::Explodes), so that
//! only operands are alive. The other allocator has also been wrong about calls with handlers of
//! exceptions, whose results are defined by a branch. Functions with such calls keep the usual one,
//! with their locals in the frame as well, and are refused if they have too many operands.

use cranelift_codegen::ir::{Block, BlockCall, Function, Opcode, Value, ValueDef};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

use crate::Error;

/// A function with more live values than this has many. Code of C compilers has some hundreds at
/// most.
const MANY: usize = 1000;

/// Square of the number of block parameters, for each instruction, that a function may have. The
/// usual allocator compares each parameter with all others: 4,000 `if`s in one another with 60
/// results each, which are 32 KB of wasm, took a minute, and loops take three times as long.
/// Functions of programs have up to 6,800 (CRuby), and 16,800 where Asyncify has rewritten them
/// (ONNX Runtime).
const PARAMS_SQUARED_PER_INSTRUCTION: u64 = 1 << 15;

/// The usual allocator takes time, or memory, in the square of the number of blocks that assign the
/// same local: 10,000 short loops in a row took 2.6 seconds, and 12,800 `if`s in one another a
/// gigabyte. No count of the function's values tells which do: two functions of CRuby have larger
/// groups of joined values than such code, and take no time. One function of DuckDB has 29,546
/// blocks; other functions of programs have up to 15,719 (Yosys). Cranelift also needs time in the
/// square of the number of blocks without code that follow one another to tell where blocks start:
/// 300,000 take 45 seconds. A function with more blocks than this has its locals in the frame and
/// is given to the other allocator, and the code generator is not asked where its blocks start.
const MANY_BLOCKS: usize = 1 << 14;

/// [`crowding`] that every function may have. The usual allocator compares the branches to one
/// block with one another, and again for each parameter of the block: 5,000 branches to a loop with
/// ten parameters took 4 seconds, 80,000 to one without parameters 5 seconds. The main loop of an
/// interpreter has an eighth of this.
const CROWDING: u64 = 1 << 24;
/// Crowding for each instruction that a function with more than [`CROWDING`] may have. Functions of
/// programs have up to 300.
const CROWDING_PER_INSTRUCTION: u64 = 1 << 11;

/// [`ways_back`] that every function may have. The usual allocator and the optimiser go from each
/// branch back to its target, through the loops in between: 12,800 loops in one another took 1.5
/// seconds, and four times as long for twice as many. Functions of programs have up to 12 million.
const WAYS_BACK: u64 = 1 << 24;
/// Ways back for each instruction that a function with more than [`WAYS_BACK`] may have. Functions
/// of programs have up to 230.
const WAYS_BACK_PER_INSTRUCTION: u64 = 1 << 9;

/// Maximum number of operands that may be alive at one place of a function that handles exceptions.
const HANDLED: usize = 2000;

/// Maximum number of parameters and results of blocks of such a function, if the function is
/// [wide](is_wide).
const HANDLED_PARAMS: usize = 8192;

/// Maximum number of pairs of values that are [joined](joined_pairs) in such a function with more
/// than [`HANDLED_PARAMS`] parameters and results of blocks. The usual allocator joins values one
/// by one, and copies for each all that are joined with it already: 40,000 nested loops with one
/// parameter each, which have 800 million pairs, took 6 GB.
const HANDLED_PAIRS: u64 = 1 << 25;

/// Maximum [`crowding`] of such a function, where a parameter counts as much as [`PER_PARAM`]
/// blocks, if its instructions do not deserve it: 80,000 branches to one block without parameters,
/// or 5,600 to one with ten.
const HANDLED_CROWDING: u64 = 80_000 * 80_000;
/// How much longer the usual allocator takes for a parameter of a block with many branches to it
/// than for the block.
const PER_PARAM: u64 = 20;

/// Whether a function has more than [`MANY_BLOCKS`] blocks.
pub(crate) fn has_many_blocks(func: &Function) -> bool {
    blocks(func) > MANY_BLOCKS
}

/// Whether a function is so small that [`is_high`] does not hold.
pub(crate) fn is_small(func: &Function) -> bool {
    func.dfg.num_values() <= MANY && blocks(func) <= MANY
}

/// Number of blocks. It includes a block for each target of a branch table, because the code
/// generator may make such blocks.
fn blocks(func: &Function) -> usize {
    let tables = func.dfg.jump_tables.values();
    let targets = tables.map(|table| table.all_branches().len());
    func.dfg.num_blocks() + targets.sum::<usize>()
}

/// All branches of a function: targets of branch tables and handlers are branches, too.
fn branches(func: &Function) -> impl Iterator<Item = &BlockCall> {
    let (tables, handlers) = (&func.dfg.jump_tables, &func.dfg.exception_tables);
    let blocks = func.layout.blocks();
    blocks
        .filter_map(|block| func.layout.last_inst(block))
        .flat_map(|inst| func.dfg.insts[inst].branch_destination(tables, handlers))
}

/// For all blocks together, the square of the number of branches to the block, times `per_param`
/// for each of its parameters and one for the block.
fn crowding(func: &Function, per_param: u64) -> u64 {
    let mut ways: SecondaryMap<Block, u32> = SecondaryMap::new();
    let dfg = &func.dfg;
    for call in branches(func) {
        ways[call.block(&dfg.value_lists)] += 1;
    }
    let crowding = ways.iter().map(|(block, ways)| {
        let params = dfg.block_params(block).len() as u64;
        u64::from(*ways)
            .pow(2)
            .saturating_mul(params * per_param + 1)
    });
    crowding.fold(0, u64::saturating_add)
}

/// For all branches back together, the number of blocks from the target to the branch.
fn ways_back(func: &Function) -> u64 {
    let mut places: SecondaryMap<Block, u64> = SecondaryMap::new();
    let (pool, dfg) = (&func.dfg.value_lists, &func.dfg);
    let (tables, handlers) = (&dfg.jump_tables, &dfg.exception_tables);
    let mut sum = 0_u64;
    for (place, block) in (1..).zip(func.layout.blocks()) {
        places[block] = place;
        let Some(inst) = func.layout.last_inst(block) else {
            continue;
        };
        for call in dfg.insts[inst].branch_destination(tables, handlers) {
            // The place of a block further on is still zero.
            match places[call.block(pool)] {
                0 => {}
                target => sum = sum.saturating_add(place - target),
            }
        }
    }
    sum
}

/// Whether more than [`MANY`] values are alive at one place of a function, in the order of its
/// layout, or the function is [wide](is_wide) or [crowded](is_crowded).
pub(crate) fn is_high(func: &Function) -> bool {
    let has_many = func.dfg.num_values() > MANY;
    has_many && (is_wide(func) || max_alive(func) > MANY) || is_crowded(func)
}

/// Whether the [`crowding`] of a function or its [`ways_back`] are more than every function may
/// have, and than its instructions deserve.
pub(crate) fn is_crowded(func: &Function) -> bool {
    let (crowding, ways_back) = (crowding(func, 1), ways_back(func));
    if crowding <= CROWDING && ways_back <= WAYS_BACK {
        return false;
    }
    let insts = insts(func);
    crowding > CROWDING && crowding / CROWDING_PER_INSTRUCTION > insts
        || ways_back > WAYS_BACK && ways_back / WAYS_BACK_PER_INSTRUCTION > insts
}

/// Checks that the usual allocator can cope with a function that handles exceptions and has its
/// locals in the frame.
///
/// # Errors
/// [`Error::TooLarge`].
pub(crate) fn check_handlers(func: &Function, describe: impl Fn() -> String) -> Result<(), Error> {
    let (alive, params) = (max_alive(func), params(func));
    let pairs = match params > HANDLED_PARAMS {
        true => joined_pairs(func),
        false => 0,
    };
    let (what, found, limit) = match () {
        () if alive > HANDLED => {
            let what = "operands that are alive at one place";
            (what, alive as u64, HANDLED as u64)
        }
        () if params > HANDLED_PARAMS && is_wide(func) => {
            let what = "parameters and results of blocks";
            (what, params as u64, HANDLED_PARAMS as u64)
        }
        () if pairs > HANDLED_PAIRS => {
            let what = "pairs of values that parameters and results of blocks join";
            (what, pairs, HANDLED_PAIRS)
        }
        () if is_crowded(func) && crowding(func, PER_PARAM) > HANDLED_CROWDING => {
            let what = "branches to the same block, as a sum of their squares times parameters,";
            (what, crowding(func, PER_PARAM), HANDLED_CROWDING)
        }
        () => return Ok(()),
    };
    Err(Error::TooLarge {
        what: format!(
            "the number of {what} of {}, which handles exceptions,",
            describe()
        ),
        found,
        limit,
    })
}

/// Whether a function has more block parameters than its instructions deserve.
pub(crate) fn is_wide(func: &Function) -> bool {
    let params = params(func) as u64;
    params.saturating_mul(params) / PARAMS_SQUARED_PER_INSTRUCTION > insts(func)
}

/// Number of instructions.
fn insts(func: &Function) -> u64 {
    let blocks = func.layout.blocks();
    let insts = blocks.map(|block| func.layout.block_insts(block).count());
    insts.sum::<usize>() as u64
}

/// Number of pairs of values in the same group, where each parameter of a block is in a group with
/// all arguments for it.
fn joined_pairs(func: &Function) -> u64 {
    // For each value another one of its group, if there is one, and for those that have none the
    // size of the group, less one. The smaller group joins the larger one, so ways are short.
    let mut next: SecondaryMap<Value, PackedOption<Value>> = SecondaryMap::new();
    let mut others: SecondaryMap<Value, u64> = SecondaryMap::new();
    let mut pairs = 0_u64;
    let (pool, dfg) = (&func.dfg.value_lists, &func.dfg);
    for call in branches(func) {
        let params = dfg.block_params(call.block(pool));
        for (param, arg) in params.iter().zip(call.args(pool)) {
            let Some(arg) = arg.as_value() else {
                continue;
            };
            let [mut large, mut small] = [*param, dfg.resolve_aliases(arg)].map(|mut value| {
                while let Some(other) = next[value].expand() {
                    value = other;
                }
                value
            });
            if large == small {
                continue;
            }
            if others[large] < others[small] {
                std::mem::swap(&mut large, &mut small);
            }
            let (of_large, of_small) = (others[large] + 1, others[small] + 1);
            pairs = pairs.saturating_add(of_large * of_small);
            next[small] = large.into();
            others[large] += of_small;
        }
    }
    pairs
}

fn params(func: &Function) -> usize {
    let params = func.layout.blocks().map(|b| func.dfg.block_params(b).len());
    params.sum()
}

/// The largest number of values that are alive at one place.
fn max_alive(func: &Function) -> usize {
    let dfg = &func.dfg;
    // For each value, the place of its definition and the place of its last use.
    let mut ranges: SecondaryMap<_, (u32, u32)> = SecondaryMap::with_capacity(dfg.num_values());
    let mut place = 0_u32;
    for block in func.layout.blocks() {
        for param in dfg.block_params(block) {
            ranges[*param] = (place, place);
        }
        for inst in func.layout.block_insts(block) {
            place += 1;
            for used in dfg.inst_values(inst) {
                ranges[dfg.resolve_aliases(used)].1 = place;
            }
            for result in dfg.inst_results(inst) {
                ranges[*result].0 = place;
            }
        }
    }
    let mut changes = vec![0_i32; place as usize + 2];
    for (value, &(start, end)) in ranges.iter() {
        // A value that the optimiser has removed has an empty range.
        if end > start && !is_constant(func, value) {
            changes[start as usize] += 1;
            changes[end as usize] -= 1;
        }
    }
    let alive = changes.iter().scan(0, |alive, change| {
        *alive += change;
        Some(*alive)
    });
    alive.max().unwrap_or(0) as usize
}

/// Whether a value is a constant, which is made again wherever it is used.
fn is_constant(func: &Function, value: Value) -> bool {
    let ValueDef::Result(inst, _) = func.dfg.value_def(value) else {
        return false;
    };
    matches!(
        func.dfg.insts[inst].opcode(),
        Opcode::Iconst | Opcode::F32const | Opcode::F64const
    )
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::ir::types::I32;
    use cranelift_codegen::ir::{AbiParam, BlockArg, InstBuilder};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    use super::*;

    /// A function that makes `count` values. It uses each before it makes the next one, or makes
    /// all of them `together` before it uses the first.
    fn function(count: usize, together: bool) -> Function {
        let (mut func, mut context) = (Function::new(), FunctionBuilderContext::new());
        func.signature.params.push(AbiParam::new(I32));
        func.signature.returns.push(AbiParam::new(I32));
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let param = builder.block_params(entry)[0];
        let mut sum = param;
        let mut values = Vec::new();
        for _ in 0..count {
            let value = builder.ins().imul(param, sum);
            match together {
                true => values.push(value),
                false => sum = builder.ins().iadd(sum, value),
            }
        }
        for value in values {
            sum = builder.ins().iadd(sum, value);
        }
        builder.ins().return_(&[sum]);
        builder.seal_all_blocks();
        func
    }

    /// A chain of blocks, each of which passes its parameters on to the next.
    fn chain(blocks: usize, params: usize) -> Function {
        let (mut func, mut context) = (Function::new(), FunctionBuilderContext::new());
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.switch_to_block(entry);
        let zero = builder.ins().iconst(I32, 0);
        let mut args = vec![BlockArg::Value(zero); params];
        for _ in 0..blocks {
            let block = builder.create_block();
            let passed = (0..params).map(|_| builder.append_block_param(block, I32));
            let passed: Vec<_> = passed.map(BlockArg::Value).collect();
            builder.ins().jump(block, &args);
            builder.switch_to_block(block);
            args = passed;
        }
        builder.ins().return_(&[]);
        builder.seal_all_blocks();
        func
    }

    /// Blocks with one parameter each, which is a value that no other block has.
    fn separate(blocks: usize) -> Function {
        let (mut func, mut context) = (Function::new(), FunctionBuilderContext::new());
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.switch_to_block(entry);
        for i in 0..blocks {
            let block = builder.create_block();
            builder.append_block_param(block, I32);
            let value = builder.ins().iconst(I32, i as i64);
            builder.ins().jump(block, &[BlockArg::Value(value)]);
            builder.switch_to_block(block);
        }
        builder.ins().return_(&[]);
        builder.seal_all_blocks();
        func
    }

    /// A loop that this many branches lead to, whose header has this many parameters.
    fn crowd(ways: usize, params: usize) -> Function {
        let (mut func, mut context) = (Function::new(), FunctionBuilderContext::new());
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let (entry, header) = (builder.create_block(), builder.create_block());
        builder.switch_to_block(entry);
        let zero = builder.ins().iconst(I32, 0);
        let args = vec![BlockArg::Value(zero); params];
        for _ in 0..params {
            builder.append_block_param(header, I32);
        }
        builder.ins().jump(header, &args);
        builder.switch_to_block(header);
        for _ in 1..ways {
            let next = builder.create_block();
            builder.ins().brif(zero, header, &args, next, &[]);
            builder.switch_to_block(next);
        }
        builder.ins().return_(&[]);
        builder.seal_all_blocks();
        func
    }

    #[test]
    fn counts_branches_to_one_block() {
        assert!(!is_high(&crowd(4000, 0)));
        assert!(is_high(&crowd(4200, 0)));
        assert!(!is_high(&crowd(1200, 10)));
        assert!(is_high(&crowd(1300, 10)));
        assert!(!is_small(&crowd(1300, 10)));
        // The same number of branches, to as many blocks.
        assert!(!is_high(&chain(4200, 0)));
    }

    #[test]
    fn handlers_limit_branches_to_one_block() {
        let describe = || "function 0".to_owned();
        check_handlers(&crowd(79_000, 0), describe).unwrap();
        check_handlers(&crowd(5_600, 10), describe).unwrap();
        check_handlers(&crowd(5_700, 10), describe).unwrap_err();
        let error = check_handlers(&crowd(80_001, 0), describe).unwrap_err();
        assert!(
            error.to_string().contains("branches to the same block"),
            "{error}"
        );
    }

    #[test]
    fn handlers_limit_what_many_blocks_join() {
        let describe = || "function 0".to_owned();
        check_handlers(&chain(HANDLED_PARAMS, 1), describe).unwrap();
        check_handlers(&separate(MANY_BLOCKS + 1), describe).unwrap();
        check_handlers(&chain(MANY_BLOCKS + 1, 0), describe).unwrap();
        let error = check_handlers(&chain(HANDLED_PARAMS + 1, 1), describe).unwrap_err();
        assert!(error.to_string().contains("pairs of values"), "{error}");
    }

    #[test]
    fn counts_pairs_of_joined_values() {
        assert_eq!(joined_pairs(&chain(10, 0)), 0);
        // A constant and ten parameters.
        assert_eq!(joined_pairs(&chain(10, 1)), 11 * 10 / 2);
        // The same constant is the first argument for both.
        assert_eq!(joined_pairs(&chain(10, 2)), 21 * 20 / 2);
        assert_eq!(joined_pairs(&crowd(1000, 3)), 4 * 3 / 2);
    }

    #[test]
    fn compares_parameters_with_instructions() {
        // One instruction for each block, and two more.
        assert!(is_high(&chain(100, 19)));
        assert!(!is_high(&chain(100, 18)));
        assert!(is_high(&chain(10_000, 2)));
        assert!(!is_high(&chain(10_000, 1)));
    }

    #[test]
    fn counts_what_is_alive_at_one_place() {
        assert!(!is_high(&function(20 * MANY, false)));
        assert!(!is_high(&function(MANY - 2, true)));
        assert!(is_high(&function(MANY + 1, true)));
        assert!(!is_high(&Function::new()));
    }
}
