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
//! with their locals in the frame as well, and are refused if they have too many operands,
//! parameters of blocks or branches to one block.

use cranelift_codegen::ir::{Block, BlockCall, Function, Opcode, Value, ValueDef};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

use crate::Error;

/// Number of values alive at one place above which the pressure is [high](is_high). A function that
/// has no more values in all, and no more blocks, is [small](is_small). Functions of C compilers
/// have some hundreds of values alive at most.
const MANY: usize = 1000;

/// Square of the number of block parameters, for each instruction, that a function may have. The
/// usual allocator compares each parameter with all others: 4,000 `if`s in one another with 60
/// results each, which are 32 KB of wasm, took a minute, and loops take three times as long.
/// Functions of programs have up to 6,800 (CRuby).
const PARAMS_SQUARED_PER_INSTRUCTION: u64 = 1 << 13;
/// The same for functions with at most [`SOME_PARAMS`], and with at most [`FEW_OF_BLOCK`] for each
/// block that has any. Those that Asyncify has rewritten have up to 16,800 (ONNX Runtime), and
/// 31,513 parameters, which are ten for each block.
const SOME_PARAMS_SQUARED_PER_INSTRUCTION: u64 = 1 << 15;
/// So many block parameters take the usual allocator 3 seconds, and those of loops up to 12.
const SOME_PARAMS: usize = 1 << 15;
/// The number of parameters of a block that is not high on average.
const FEW_OF_BLOCK: usize = 16;

/// Number of [copies](joining_copies) that a function may have. The usual allocator keeps 7 bytes
/// and more for each: 4,000 nested loops with 28 results took 3 GB. Functions of programs have up
/// to 2 million.
const COPIES: u64 = 1 << 25;
/// With so many block parameters at most, a function cannot have more copies.
const FEW_PARAMS: usize = 4096;

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

/// Maximum number of parameters and results of blocks of such a function if it is [wide](is_wide).
/// They take the usual allocator 1 second, and those of loops up to 3. One function of Open CASCADE
/// has 12,815. A function that is not wide may have [`SOME_PARAMS`]: one of ONNX Runtime has
/// 21,883.
const HANDLED_PARAMS: usize = 1 << 14;

/// Maximum [`crowding`] of such a function, where a parameter counts as much as [`PER_PARAM`]
/// blocks, unless the function is long enough for [`CROWDING_PER_INSTRUCTION`]: 80,000 branches to
/// one block without parameters, or 5,600 to one with ten.
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
/// have, and more than its number of instructions allows.
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
    let max_params = match params > HANDLED_PARAMS && is_wide(func) {
        true => HANDLED_PARAMS,
        false => SOME_PARAMS,
    };
    let (what, found, limit) = if alive > HANDLED {
        let what = "operands that are alive at one place";
        (what, alive as u64, HANDLED as u64)
    } else if params > max_params {
        let what = "parameters and results of blocks";
        (what, params as u64, max_params as u64)
    } else if joining_copies(func) > COPIES {
        let what = "copies of values by which parameters and results of blocks are joined";
        (what, joining_copies(func), COPIES)
    } else if is_crowded(func) && crowding(func, PER_PARAM) > HANDLED_CROWDING {
        let what = "branches to the same block, as a sum of their squares times parameters,";
        (what, crowding(func, PER_PARAM), HANDLED_CROWDING)
    } else {
        return Ok(());
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

/// Whether a function has more block parameters than its number of instructions allows, or than the
/// usual allocator can join with few copies.
pub(crate) fn is_wide(func: &Function) -> bool {
    let params = params(func);
    let square = (params as u64).saturating_pow(2);
    let blocks = func.layout.blocks().skip(1);
    let joining = blocks.filter(|block| !func.dfg.block_params(*block).is_empty());
    let per_instruction = if params <= SOME_PARAMS && params / FEW_OF_BLOCK <= joining.count() {
        SOME_PARAMS_SQUARED_PER_INSTRUCTION
    } else {
        PARAMS_SQUARED_PER_INSTRUCTION
    };
    square / per_instruction > insts(func) || params > FEW_PARAMS && joining_copies(func) > COPIES
}

/// Number of instructions.
fn insts(func: &Function) -> u64 {
    let blocks = func.layout.blocks();
    let insts = blocks.map(|block| func.layout.block_insts(block).count());
    insts.sum::<usize>() as u64
}

/// Number of values that the usual allocator copies while it joins each parameter of a block with
/// its arguments. It joins two groups of values by copying the group of the argument behind that of
/// the parameter, unless it needs more than [`MAX_STEPS`] to see that no two of them are alive
/// together. (This goes by the places where values are made.)
fn joining_copies(func: &Function) -> u64 {
    let (pool, dfg) = (&func.dfg.value_lists, &func.dfg);
    let mut groups: SecondaryMap<Value, Group> = SecondaryMap::new();
    let mut place = 0;
    for block in func.layout.blocks() {
        place += 1;
        for param in dfg.block_params(block) {
            groups[*param] = Group::of(*param, place);
        }
        for inst in func.layout.block_insts(block) {
            place += 1;
            for result in dfg.inst_results(inst) {
                groups[*result] = Group::of(*result, place);
            }
        }
    }
    let mut joins = Vec::new();
    for call in branches(func) {
        let params = dfg.block_params(call.block(pool));
        for (param, arg) in params.iter().zip(call.args(pool)) {
            if let Some(arg) = arg.as_value() {
                let arg = dfg.resolve_aliases(arg);
                joins.push((groups[arg].first, arg, *param));
            }
        }
    }
    // In this order the allocator works.
    joins.sort_by_key(|(place, arg, _)| (*place, *arg));
    let mut copies = 0_u64;
    for (_, arg, param) in joins {
        let [from, to] = [arg, param].map(|mut value| {
            while groups[value].next != value.into() {
                value = groups[value]
                    .next
                    .expand()
                    .expect("every value has a group");
            }
            value
        });
        let [source, target] = [from, to].map(|value| groups[value]);
        let steps = if source.first >= target.last {
            target.size
        } else if target.first >= source.last {
            source.size
        } else {
            source.size + target.size
        };
        if from == to || steps > MAX_STEPS {
            continue;
        }
        copies += u64::from(source.size);
        // The smaller group joins the larger one, so ways are short.
        let (large, small) = if source.size > target.size {
            (from, to)
        } else {
            (to, from)
        };
        groups[small].next = large.into();
        groups[large] = Group {
            next: large.into(),
            size: source.size + target.size,
            first: source.first.min(target.first),
            last: source.last.max(target.last),
        };
    }
    copies
}

/// Maximum number of steps in which the usual allocator compares two groups of values.
const MAX_STEPS: u32 = 200;

/// A group of values that are joined.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// Another value of the group, or the same one if it stands for the group.
    next: PackedOption<Value>,
    /// The number of values.
    size: u32,
    /// The first and the last place where one of them is made.
    first: u32,
    last: u32,
}

impl Group {
    fn of(value: Value, place: u32) -> Self {
        Self {
            next: value.into(),
            size: 1,
            first: place,
            last: place,
        }
    }
}

/// Number of block parameters. Those of the function itself are not joined with anything.
fn params(func: &Function) -> usize {
    let blocks = func.layout.blocks().skip(1);
    blocks.map(|block| func.dfg.block_params(block).len()).sum()
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

    /// Loops in one another with parameters, which are constants of the loop around them at first,
    /// and in the end, for all loops, other constants.
    fn nest(loops: usize, params: usize) -> Function {
        let (mut func, mut context) = (Function::new(), FunctionBuilderContext::new());
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.switch_to_block(entry);
        let mut headers = Vec::new();
        let constants = |builder: &mut FunctionBuilder<'_>| -> Vec<BlockArg> {
            let constants = (0..params).map(|_| builder.ins().iconst(I32, 0));
            constants.map(BlockArg::Value).collect()
        };
        for _ in 0..loops {
            let args = constants(&mut builder);
            let header = builder.create_block();
            for _ in 0..params {
                builder.append_block_param(header, I32);
            }
            builder.ins().jump(header, &args);
            builder.switch_to_block(header);
            headers.push(header);
        }
        let (condition, args) = (builder.ins().iconst(I32, 0), constants(&mut builder));
        for header in headers.into_iter().rev() {
            let next = builder.create_block();
            builder.ins().brif(condition, header, &args, next, &[]);
            builder.switch_to_block(next);
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
        let error = |func: &Function| check_handlers(func, describe).unwrap_err().to_string();
        check_handlers(&nest(5_700, 1), describe).unwrap();
        check_handlers(&separate(SOME_PARAMS), describe).unwrap();
        check_handlers(&chain(16, HANDLED_PARAMS / 16), describe).unwrap();
        check_handlers(&nest(MANY_BLOCKS + 1, 0), describe).unwrap();
        let found = error(&separate(SOME_PARAMS + 1));
        assert!(
            found.contains("parameters and results of blocks"),
            "{found}"
        );
        let found = error(&chain(16, HANDLED_PARAMS / 16 + 1));
        assert!(
            found.contains("parameters and results of blocks") && found.contains("16400"),
            "{found}"
        );
        let found = error(&nest(5_900, 1));
        assert!(found.contains("copies of values"), "{found}");
    }

    #[test]
    fn counts_copies_of_joined_values() {
        assert_eq!(joining_copies(&chain(10, 0)), 0);
        // A constant and ten parameters, each of which comes behind all that are joined with it.
        assert_eq!(joining_copies(&chain(10, 1)), 10 * 11 / 2);
        // After two hundred copies, the allocator begins another group with the next parameter.
        let (whole, last) = (4 * (200 * 201 / 2), 196 * 197 / 2);
        assert_eq!(joining_copies(&chain(4 * 201 + 196, 1)), whole + last);
        // The first constant, ten others, and the value that all loops get in the end.
        assert_eq!(joining_copies(&nest(10, 1)), 10 + 10 * 10);
        assert_eq!(joining_copies(&nest(1000, 3)), 3 * (1000 + 1000 * 1000));
        assert!(!is_wide(&nest(5_700, 1)));
        assert!(is_wide(&nest(5_900, 1)));
    }

    #[test]
    fn compares_parameters_with_instructions() {
        // One instruction for each block, and two more.
        assert!(is_high(&chain(100, FEW_OF_BLOCK + 1)));
        assert!(!is_high(&chain(100, FEW_OF_BLOCK)));
        assert!(!is_wide(&chain(31, FEW_OF_BLOCK + 1)));
        assert!(is_wide(&chain(32, FEW_OF_BLOCK + 1)));
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
