//! The facts about function bodies that decisions need: size, calls, loops.

use std::sync::Mutex;

use cranelift_entity::PrimaryMap;
use precast_artifact::records::NONE;
use wasmparser::{FunctionBody, Operator, OperatorsReader, OperatorsReaderAllocations};

use super::Counts;
use super::guard::{self, Guard};
use crate::Error;
use crate::module::Module;
use crate::operator::{Flow, class};
use crate::plan::Plan;
use crate::regions::FASTER;
use crate::symbol::{DefinedFuncIndex, FuncIndex};
use crate::workers::Workers;

/// A function that declares more locals than this is never inlined: each local would be a variable
/// of the caller, and most such code is generated.
const MAX_LOCALS: u32 = 128;

/// Number of bytes of a body that count as one operator. Operators that only structure code cost no
/// time when the code runs, and nearly no space, but translating them at each call costs time of
/// the compiler. Real code has two to three bytes for each operator that computes something.
const BYTES: u32 = 8;

/// Number of declared locals that count as one operator: where locals are in the frame, each takes
/// an instruction that sets it to zero. Real code uses each local in several operators.
const LOCALS: u32 = 4;

/// A function's body.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Number of operators that compute something, but at least one for each [`BYTES`] of the body,
    /// and for each [`LOCALS`] declared locals.
    pub(crate) size: u32,
    /// Calls of defined functions, in the order of the code, with indirect calls that are compared
    /// with a known function first.
    pub(crate) calls: Vec<Call>,
    /// Whether the body calls anything else: an import, an element of a table, a reference.
    pub(crate) calls_out: bool,
    pub(crate) has_loop: bool,
    /// Whether translation can put the body in the place of a call. Tail calls in an inlined body
    /// would grow the stack. Bodies that catch exceptions or have very many locals are not worth
    /// inlining.
    pub(crate) fits: bool,
    /// Functions that tail calls name.
    pub(crate) tail_calls: Vec<DefinedFuncIndex>,
}

/// A call of a defined function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Offset of the operator in the module.
    pub(crate) offset: u32,
    pub(crate) callee: DefinedFuncIndex,
    pub(crate) in_loop: bool,
    /// Whether the last argument is a constant.
    pub(crate) constant: bool,
}

/// Reads all bodies.
pub(super) fn read_all(
    module: &Module<'_>,
    plan: &Plan,
    counts: Option<&Counts>,
    workers: Workers,
) -> Result<PrimaryMap<DefinedFuncIndex, Body>, Error> {
    let functions: Vec<_> = module.bodies.iter().collect();
    let bytes: usize = functions.iter().map(|(_, b)| b.as_bytes().len()).sum();
    let states = Mutex::new(Vec::<Allocations>::new());
    let bodies = workers.map(
        &functions,
        bytes / FASTER,
        &states,
        |allocations, (function, body)| {
            let guard = |call| guard::find(module, plan, counts?, *function, call);
            read(module, body, &guard, allocations)
        },
    )?;
    Ok(bodies.into_iter().collect())
}

#[derive(Default)]
struct Allocations {
    reader: OperatorsReaderAllocations,
    /// Whether each open block is a loop.
    blocks: Vec<bool>,
}

fn read(
    module: &Module<'_>,
    code: &FunctionBody<'_>,
    guard: &dyn Fn((u32, u32, u32)) -> Option<Guard>,
    allocations: &mut Allocations,
) -> Result<Body, Error> {
    let range = code.range();
    let mut body = Body {
        fits: true,
        ..Body::default()
    };
    let mut locals = 0_u32;
    for declaration in code.get_locals_reader()? {
        locals = locals.saturating_add(declaration?.0);
    }
    let mut loops = 0_u32;
    let mut after_constant = false;
    allocations.blocks.clear();
    let blocks = &mut allocations.blocks;
    let reader = std::mem::take(&mut allocations.reader);
    let operators = code.get_binary_reader_for_operators()?;
    let mut reader = OperatorsReader::new_with_allocs(operators, reader);
    while !reader.eof() {
        let (operator, offset) = reader.read_with_offset()?;
        let position = u32::try_from(offset).unwrap_or(u32::MAX);
        let class = class(&operator);
        body.size += u32::from(class.fuel != 0);
        match class.flow {
            Flow::Opens | Flow::OpensConditionally => blocks.push(false),
            Flow::OpensLoop => {
                blocks.push(true);
                loops += 1;
                body.has_loop = true;
            }
            Flow::OpensTry => {
                blocks.push(false);
                body.fits = false;
            }
            Flow::Closes => loops -= u32::from(blocks.pop() == Some(true)),
            Flow::Calls => match operator {
                Operator::Call { function_index } => {
                    let callee = module.defined(FuncIndex::from_u32(function_index));
                    match callee {
                        Some(callee) => body.calls.push(Call {
                            offset: position,
                            callee,
                            in_loop: loops > 0,
                            constant: after_constant,
                        }),
                        None => body.calls_out = true,
                    }
                }
                Operator::ReturnCall { function_index } => {
                    body.fits = false;
                    let callee = FuncIndex::from_u32(function_index);
                    body.tail_calls.extend(module.defined(callee));
                }
                Operator::CallIndirect {
                    type_index,
                    table_index,
                } => {
                    body.calls_out = true;
                    let guard = guard((position, table_index, type_index));
                    body.calls.extend(guard.map(|guard| Call {
                        offset: position,
                        callee: guard.callee,
                        in_loop: loops > 0,
                        constant: false,
                    }));
                }
                Operator::CallRef { .. } => body.calls_out = true,
                Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                    body.calls_out = true;
                    body.fits = false;
                }
                other => unreachable!("{other:?} has no rule"),
            },
            Flow::Throws => body.calls_out = true,
            Flow::Straight | Flow::Divides | Flow::Branches | Flow::Returns | Flow::Traps => {}
        }
        after_constant = matches!(
            operator,
            Operator::I32Const { .. } | Operator::I64Const { .. }
        );
    }
    allocations.reader = reader.into_allocations();
    let bytes = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
    body.size = body.size.max(bytes / BYTES).max(locals / LOCALS);
    body.fits &= locals <= MAX_LOCALS;
    Ok(body)
}

impl Body {
    /// Whether the body calls nothing.
    pub(crate) fn is_leaf(&self) -> bool {
        self.calls.is_empty() && self.tail_calls.is_empty() && !self.calls_out
    }
}

/// The functions that may be called otherwise than by direct calls in the module's code.
pub(super) fn reached_from_outside(
    module: &Module<'_>,
    plan: &Plan,
) -> PrimaryMap<DefinedFuncIndex, bool> {
    let escapes = |function| plan.funcrefs[module.func_index(function)] != NONE;
    let mut reached: PrimaryMap<_, _> = module.bodies.keys().map(escapes).collect();
    let frozen = plan
        .tables
        .values()
        .filter_map(|table| table.frozen.as_ref());
    let elements = frozen.flat_map(|table| table.elements.iter().flatten());
    for function in elements.copied().chain(module.start) {
        if let Some(defined) = module.defined(function) {
            reached[defined] = true;
        }
    }
    reached
}
