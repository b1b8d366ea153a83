//! The regions of a function: which of them have counters, and how often each of them ran.
//!
//! A *region* is code without branches into it or out of it: it begins behind an operator, or at
//! the start of the body. Few regions need counters ([`precast_artifact::counters`] lists them),
//! because the counts of the others are computed: the code after a block ran as often as all
//! branches to the end of the block and the last code of the block together. A call that never
//! returns makes a computed count too large, never too small.

use std::mem::{replace, take};
use std::sync::Mutex;

use wasmparser::{BrTable, Catch, FunctionBody, Operator, OperatorsReader};

use crate::Error;
use crate::module::Module;
use crate::operator::{Flow, class};
use crate::workers::Workers;

/// Reading bodies is about this many times as fast as compiling them.
pub(crate) const FASTER: usize = 64;

/// Code is cold if the loop or function around it runs more than this many times as often.
const RARE: u64 = 256;

/// A region of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    /// Offset in the module of the operator in front of the region, or of the body.
    pub(crate) start: u32,
    /// Whether the region has a counter.
    pub(crate) is_counted: bool,
    /// How often the region ran.
    pub(crate) count: u64,
    /// Whether the region ran seldom enough to be out of the way of other code.
    pub(crate) is_cold: bool,
}

/// The regions and the indirect calls of a body.
#[derive(Debug, Default)]
pub(crate) struct CountedCode {
    /// Ascending by their starts. The first is the start of the body.
    pub(crate) regions: Vec<Region>,
    /// Offsets of the indirect calls, ascending.
    pub(crate) sites: Vec<u32>,
}

/// An open block.
struct Frame {
    /// Branches to a loop go to its start, which has a counter.
    is_loop: bool,
    /// How often known branches went to the end of the block.
    incoming: u64,
    /// How often the condition of an `if` is false, until the walk has come to its `else`. Zero for
    /// other blocks.
    otherwise: u64,
    /// Whether the number of branches to the end is not known, so that the code after the block has
    /// a counter.
    is_counted: bool,
    /// The reference count of the enclosing block, which is restored when this block ends.
    outer: u64,
}

struct Walk<'a> {
    counter: &'a dyn Fn(u32) -> u64,
    found: CountedCode,
    frames: Vec<Frame>,
    /// How often the present code ran.
    now: u64,
    /// How often the innermost loop, or the function, ran.
    reference: u64,
}

/// Finds the regions of all bodies, in the order of the module, with the counts that follow from
/// those of the counters.
pub(crate) fn find_all(
    module: &Module<'_>,
    workers: Workers,
    counter: &(dyn Fn(u32) -> u64 + Sync),
) -> Result<Vec<CountedCode>, Error> {
    let bodies: Vec<_> = module.bodies.values().collect();
    let bytes: usize = bodies.iter().map(|body| body.as_bytes().len()).sum();
    workers.map(&bodies, bytes / FASTER, &Mutex::default(), |(), body| {
        find(body, counter)
    })
}

/// Finds the regions of a body, with the counts that follow from those of the counters.
fn find(body: &FunctionBody<'_>, counter: &dyn Fn(u32) -> u64) -> Result<CountedCode, Error> {
    let start = offset(body.range().start);
    let entered = counter(start);
    let mut walk = Walk {
        counter,
        found: CountedCode::default(),
        frames: Vec::new(),
        now: entered,
        reference: entered,
    };
    walk.begin(start, true, entered);
    walk.open(false, 0);
    let mut reader = OperatorsReader::new(body.get_binary_reader_for_operators()?);
    while !reader.eof() {
        let (operator, at) = reader.read_with_offset()?;
        walk.operator(&operator, offset(at));
    }
    Ok(walk.found)
}

/// A module is shorter than 4 GiB.
fn offset(at: u64) -> u32 {
    at as u32
}

impl Walk<'_> {
    fn operator(&mut self, operator: &Operator<'_>, at: u32) {
        match class(operator).flow {
            Flow::Straight => {}
            Flow::Opens => self.open(false, 0),
            Flow::OpensLoop => {
                self.open(true, 0);
                self.begin_counted(at);
                self.reference = self.now;
            }
            Flow::OpensConditionally => {
                let before = self.now;
                let then = (self.counter)(at);
                self.open(false, before.saturating_sub(then));
                self.begin(at, true, then);
            }
            Flow::OpensTry => self.open_try(operator),
            Flow::Divides => self.divide(operator, at),
            Flow::Closes => self.end(at),
            Flow::Branches => self.branch(operator, at),
            Flow::Calls => match operator {
                Operator::Call { .. } | Operator::CallRef { .. } => {}
                Operator::CallIndirect { .. } => self.found.sites.push(at),
                Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => self.now = 0,
                other => unreachable!("{other:?} has no rule"),
            },
            Flow::Returns | Flow::Traps | Flow::Throws => self.now = 0,
        }
    }

    fn open_try(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Try { .. } => {}
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = *catch;
                    self.needs_counter(label);
                }
            }
            other => unreachable!("{other:?} has no rule"),
        }
        self.open(false, 0);
    }

    fn divide(&mut self, operator: &Operator<'_>, at: u32) {
        self.leave(0, self.now);
        match operator {
            Operator::Else => {
                let otherwise = self
                    .frames
                    .last_mut()
                    .map(|frame| take(&mut frame.otherwise));
                self.begin(at, false, otherwise.unwrap_or(0));
            }
            Operator::Catch { .. } | Operator::CatchAll => self.begin_counted(at),
            other => unreachable!("{other:?} has no rule"),
        }
    }

    fn branch(&mut self, operator: &Operator<'_>, at: u32) {
        match operator {
            Operator::Br { relative_depth } => {
                self.leave(*relative_depth, self.now);
                self.now = 0;
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth } => {
                let stayed = (self.counter)(at);
                self.leave(*relative_depth, self.now.saturating_sub(stayed));
                self.begin(at, true, stayed);
            }
            Operator::BrTable { targets } => {
                self.branch_by_table(targets);
                self.now = 0;
            }
            other => unreachable!("{other:?} has no rule"),
        }
    }

    /// Begins a region.
    fn begin(&mut self, start: u32, is_counted: bool, count: u64) {
        self.now = count;
        let region = Region {
            start,
            is_counted,
            count,
            is_cold: count == 0 || count < self.reference / RARE,
        };
        let same = |last: &Region| last.count == count && last.is_cold == region.is_cold;
        if is_counted || !self.found.regions.last().is_some_and(same) {
            self.found.regions.push(region);
        }
    }

    fn begin_counted(&mut self, start: u32) {
        self.begin(start, true, (self.counter)(start));
    }

    fn open(&mut self, is_loop: bool, otherwise: u64) {
        self.frames.push(Frame {
            is_loop,
            incoming: 0,
            otherwise,
            is_counted: false,
            outer: self.reference,
        });
    }

    fn end(&mut self, at: u32) {
        let Some(frame) = self.frames.pop() else {
            return; // The parser checked that blocks are nested.
        };
        self.reference = frame.outer;
        let fallen = replace(&mut self.now, 0);
        if frame.is_counted {
            return self.begin_counted(at);
        }
        let others = frame.incoming.saturating_add(frame.otherwise);
        self.begin(at, false, fallen.saturating_add(others));
    }

    fn frame(&mut self, relative_depth: u32) -> Option<&mut Frame> {
        let depth = self.frames.len().checked_sub(1 + relative_depth as usize)?;
        self.frames.get_mut(depth)
    }

    /// Adds a branch that was taken `count` times to the incoming count of its block.
    fn leave(&mut self, relative_depth: u32, count: u64) {
        if let Some(frame) = self.frame(relative_depth).filter(|frame| !frame.is_loop) {
            frame.incoming = frame.incoming.saturating_add(count);
        }
    }

    /// Notes that it is not known how often a branch to a block is taken.
    fn needs_counter(&mut self, relative_depth: u32) {
        let is_function = self.frames.len() == 1 + relative_depth as usize;
        if let Some(frame) = self.frame(relative_depth) {
            frame.is_counted = !frame.is_loop && !is_function;
        }
    }

    fn branch_by_table(&mut self, table: &BrTable<'_>) {
        self.needs_counter(table.default());
        for target in table.targets().flatten() {
            self.needs_counter(target);
        }
    }
}
