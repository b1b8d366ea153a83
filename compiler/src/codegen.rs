//! Generates machine code for all functions, in parallel.
//!
//! Each worker compiles one function at a time and keeps only its machine code; Cranelift's data
//! structures are reused for the next function. The module's functions are compiled first, then the
//! trampolines that the plan lists and the thunks that the compiled code refers to. The result is
//! in the order of the symbols, so it does not depend on the number of threads.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::ExternalName;
use cranelift_codegen::{
    CodegenError, Context, FinalizedMachCallSite, FinalizedMachExceptionHandler,
    FinalizedMachReloc, FinalizedRelocTarget,
};
use cranelift_frontend::FunctionBuilderContext;
use precast_artifact::abi::{TRAMPOLINE_FRAME, UNCHECKED_FRAME};
use precast_artifact::addresses::Change;
use precast_artifact::handlers::Handler;
use precast_artifact::{Builtin, Strategy, TrapCode, shown};
use target_lexicon::Architecture;

use crate::Error;
use crate::addresses::{addresses, instruction_unit};
use crate::exits;
use crate::pressure;
use crate::relax;
use crate::starts::Starts;
use crate::stops::{self, Rewritten, Stop};
use crate::symbol::{GotEntry, Symbol};
use crate::trampoline;
use crate::translate::{self, Env, Mode, Scratch, Stopped};
use crate::workers::Workers;

/// Bytes of WebAssembly code that take about as long to compile as one trampoline.
const TRAMPOLINE: usize = 32;

/// Maximum size of a function's frame, in bytes: more than any thread's stack in practice.
const MAX_FRAME: u32 = 256 << 20;

/// A guard and the function behind it start at multiples of this number of bytes. The constants of
/// both need no higher alignment.
const GUARD_ALIGN: u32 = 64;

/// The machine code of one symbol, with relocations.
#[derive(Debug)]
pub(crate) struct CompiledFunction {
    /// The symbol.
    pub(crate) symbol: Symbol,
    /// Machine code, followed by its constants.
    pub(crate) code: Box<[u8]>,
    /// Where in the text the code may start.
    pub(crate) starts: Starts,
    /// Relocations, in the order of their offsets.
    pub(crate) relocs: Box<[Relocation]>,
    /// Offsets in `code` of instructions that can trap, ascending, with their trap codes.
    pub(crate) traps: Box<[(u32, TrapCode)]>,
    /// Handlers of calls in `code`, by the offsets of their return addresses, ascending.
    pub(crate) handlers: Box<[(u32, Handler)]>,
    /// Address map: offsets in `code`, ascending, each with the position of the code from there on.
    pub(crate) addresses: Box<[(u32, u32)]>,
    /// Where the bodies of inlined callees start and end.
    pub(crate) changes: Box<[Change]>,
}

/// A place in machine code that must hold the address of a symbol, or its distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relocation {
    /// Offset in the code.
    pub(crate) offset: u32,
    /// How the address is written.
    pub(crate) kind: Reloc,
    /// The symbol.
    pub(crate) target: Symbol,
    /// Added to the address.
    pub(crate) addend: i64,
}

/// All machine code of a module, with relocations.
#[derive(Debug)]
pub(crate) struct CompiledModule {
    /// The module's own functions in index order, then all other code in the order of its symbols.
    pub(crate) functions: Vec<CompiledFunction>,
    /// Slots of the GOT that the code refers to, sorted.
    pub(crate) got: Vec<GotEntry>,
}

impl CompiledFunction {
    /// Puts `guard` in front of this function. The guard jumps to this function's symbol.
    fn with_guard(self, guard: Self) -> Self {
        let starts = Starts::multiples(GUARD_ALIGN);
        let body = (guard.code.len() as u32).next_multiple_of(GUARD_ALIGN);
        let mut code = guard.code.into_vec();
        code.resize(body as usize, 0);
        code.extend_from_slice(&self.code);
        let to_body = guard.relocs.into_iter().map(|reloc| Relocation {
            addend: reloc.addend
                + if reloc.target == self.symbol {
                    i64::from(body)
                } else {
                    0
                },
            ..reloc
        });
        let of_body = self.relocs.into_iter().map(|reloc| Relocation {
            offset: reloc.offset + body,
            // This relocation refers to an instruction in the body, not to the symbol's start.
            addend: reloc.addend
                + if reloc.kind == Reloc::RiscvPCRelLo12I {
                    i64::from(body)
                } else {
                    0
                },
            ..reloc
        });
        let traps = self.traps.into_iter().map(|(at, code)| (at + body, code));
        let handlers = self.handlers.into_iter().map(|(call, handler)| {
            let code = handler.code + body;
            (call + body, Handler { code, ..handler })
        });
        let addresses = self
            .addresses
            .into_iter()
            .map(|(at, wasm)| (at + body, wasm));
        Self {
            symbol: self.symbol,
            code: code.into(),
            starts,
            relocs: to_body.chain(of_body).collect(),
            traps: guard.traps.into_iter().chain(traps).collect(),
            handlers: handlers.collect(),
            addresses: guard.addresses.into_iter().chain(addresses).collect(),
            changes: self.changes,
        }
    }
}

/// Called after each function with the number of compiled functions and of all functions.
pub(crate) type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Compiles all code that the artifact needs.
pub(crate) fn compile(
    env: &Env<'_>,
    workers: Workers,
    progress: Progress<'_>,
) -> Result<CompiledModule, Error> {
    let bodies: Vec<_> = env.module.bodies.keys().map(Symbol::Function).collect();
    let bodies_len = |body: &wasmparser::FunctionBody<'_>| body.as_bytes().len();
    let bytes = env.module.bodies.values().map(bodies_len).sum();
    let states = Mutex::new(Vec::new());
    let text = AtomicUsize::new(0);
    let compile = |symbols: &[Symbol], bytes, progress: Progress<'_>| {
        let done = AtomicUsize::new(0);
        workers.map(
            symbols,
            bytes,
            &states,
            |worker: &mut Box<Worker>, symbol| {
                let result = worker.compile(env, *symbol);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, symbols.len());
                let function = result?;
                let len = function.code.len();
                let text = text.fetch_add(len, Ordering::Relaxed) + len;
                env.limits.check_code(text, env.wasm_len)?;
                Ok(function)
            },
        )
    };
    let mut functions = compile(&bodies, bytes, progress)?;

    let plan = env.plan;
    let mut trampolines = BTreeSet::new();
    for &index in &plan.entries {
        trampolines.insert(Symbol::ArrayEntry(index));
        if env.module.signatures[index].is_native() {
            trampolines.insert(Symbol::NativeEntry(index));
        }
    }
    for &index in &plan.exits {
        trampolines.insert(Symbol::ArrayExit(index));
        if env.module.signatures[index].is_native() {
            trampolines.insert(Symbol::NativeExit(index));
        }
    }
    trampolines.extend(plan.import_thunks.iter().copied().map(Symbol::ImportThunk));
    let thunks = targets(&functions).filter(|symbol| {
        use Symbol::{BuiltinThunk, LibCallThunk, Raise, Round};
        matches!(
            symbol,
            BuiltinThunk(_) | Raise(_) | Symbol::Stop | LibCallThunk(_) | Round(..)
        )
    });
    trampolines.extend(thunks);
    if trampolines.contains(&Symbol::Stop) {
        trampolines.insert(Symbol::BuiltinThunk(Builtin::RaiseTrap));
    }

    let trampolines: Vec<_> = trampolines.into_iter().collect();
    let bytes = trampolines.len() * TRAMPOLINE;
    functions.extend(compile(&trampolines, bytes, &|_, _| {})?);
    let got: BTreeSet<GotEntry> = targets(&functions)
        .filter_map(|symbol| match symbol {
            Symbol::GotSlot(entry) => Some(entry),
            _ => None,
        })
        .collect();
    Ok(CompiledModule {
        functions,
        got: got.into_iter().collect(),
    })
}

/// All symbols that the code refers to.
fn targets(functions: &[CompiledFunction]) -> impl Iterator<Item = Symbol> {
    functions
        .iter()
        .flat_map(|function| function.relocs.iter().map(|reloc| reloc.target))
}

/// The reusable data structures for compiling one function at a time.
struct Worker {
    /// Whether the locals of the present function are kept in its frame.
    in_frame: bool,
    /// Whether they are, because the function was [wide](pressure::is_wide). It has more
    /// instructions now, but as many block parameters if these are operands.
    was_wide: bool,
    context: Context,
    builder: FunctionBuilderContext,
    scratch: Scratch,
    control: ControlPlane,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            in_frame: false,
            was_wide: false,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            scratch: Scratch::default(),
            control: ControlPlane::default(),
        }
    }
}

impl Worker {
    fn compile(&mut self, env: &Env<'_>, symbol: Symbol) -> Result<CompiledFunction, Error> {
        if symbol == Symbol::Stop {
            return Ok(stops::routine());
        }
        if let Symbol::Function(index) = symbol
            && env.middle.is_omitted(index)
        {
            return Ok(omitted(symbol, env.isa.triple().architecture));
        }
        (self.in_frame, self.was_wide) = (!env.variables, false);
        let has_stops = stops::are_possible(env);
        self.build(env, symbol, has_stops, false)?;
        let is_guarded_leaf = matches!(symbol, Symbol::Function(_))
            && env.strategy == Strategy::Guarded
            && self.context.func.stack_limit.is_none();
        if is_guarded_leaf && self.frame(env, symbol)? > UNCHECKED_FRAME {
            self.build(env, symbol, has_stops, true)?;
        }
        let mut function = match self.finish(env, symbol) {
            Some(function) => function,
            None => {
                self.build(env, symbol, false, true)?;
                self.finish(env, symbol).expect("nothing to rewrite")
            }
        };
        let frame = self.frame(env, symbol)?;
        if let Symbol::Function(index) = symbol
            && env.strategy == Strategy::Checked
            && frame > UNCHECKED_FRAME
        {
            self.context.clear();
            self.scratch.stops.clear();
            let (func, builder) = (&mut self.context.func, &mut self.builder);
            translate::guard(env, index, frame, func, builder);
            match self.generate(env, symbol, false) {
                Ok(()) => {}
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Explodes) => unreachable!("a guard is generated once"),
            }
            self.frame(env, symbol)?;
            let guard = self.finish(env, symbol).expect("nothing to rewrite");
            function = function.with_guard(guard);
        }
        Ok(function)
    }

    /// Makes Cranelift compile a symbol. With `is_deep`, guarded code compares the stack pointer
    /// with the stack limit even if it calls nothing.
    fn build(
        &mut self,
        env: &Env<'_>,
        symbol: Symbol,
        has_stops: bool,
        is_deep: bool,
    ) -> Result<(), Error> {
        loop {
            match self.try_build(env, symbol, has_stops, is_deep) {
                Ok(()) => return Ok(()),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Explodes) => {
                    assert!(!self.in_frame, "without variables nothing explodes");
                    self.in_frame = true;
                    self.builder = FunctionBuilderContext::new();
                }
            }
        }
    }

    fn try_build(
        &mut self,
        env: &Env<'_>,
        symbol: Symbol,
        has_stops: bool,
        is_deep: bool,
    ) -> Result<(), Stopped> {
        self.context.clear();
        self.scratch.stops.clear();
        let (func, builder) = (&mut self.context.func, &mut self.builder);
        match symbol {
            Symbol::Function(index) => {
                let (scratch, in_frame) = (&mut self.scratch, self.in_frame);
                let mode = Mode {
                    has_stops,
                    in_frame,
                };
                translate::translate(env, index, mode, func, builder, scratch)?;
                if !is_deep && translate::calls_nothing(func) {
                    func.stack_limit = None;
                }
                if env.exits {
                    exits::put_behind_loops(&mut self.context);
                }
            }
            _ => trampoline::build(env, symbol, func, builder),
        }
        self.generate(env, symbol, matches!(symbol, Symbol::Function(_)))
    }

    /// Generates the machine code of the function in the context. `has_body` says whether it is a
    /// function of the module, which can be translated again with its locals in the frame.
    fn generate(&mut self, env: &Env<'_>, symbol: Symbol, has_body: bool) -> Result<(), Stopped> {
        let (context, control) = (&mut self.context, &mut self.control);
        let failed = |error: CodegenError| Error::Codegen {
            symbol: describe(env, symbol),
            message: format!("{error:?}"),
        };
        let mut isa = env.isa;
        let has_many_blocks = pressure::has_many_blocks(&context.func);
        if !pressure::is_small(&context.func) {
            // The optimiser keeps locals of the frame in registers, and is slow for crowded blocks.
            if !self.in_frame {
                if has_body && (has_many_blocks || pressure::is_crowded(&context.func)) {
                    return Err(Stopped::Explodes);
                }
                context.optimize(isa, control).map_err(failed)?;
                if has_body && pressure::is_wide(&context.func) {
                    self.was_wide = true;
                    return Err(Stopped::Explodes);
                }
            }
            let was_wide = has_body && self.was_wide;
            let is_high = has_many_blocks || was_wide || pressure::is_high(&context.func);
            let handles = !context.func.dfg.exception_tables.is_empty();
            if handles && has_body {
                let check = pressure::check_handlers(&context.func, || describe(env, symbol));
                if !self.in_frame && (is_high || check.is_err()) {
                    return Err(Stopped::Explodes);
                }
                check?;
            }
            // Only the usual allocator is known to be right for calls with handlers of exceptions.
            let other = usize::from(is_high && !handles);
            isa = env.finishers[other + 2 * usize::from(has_many_blocks)];
        }
        let done = context.compile(isa, control);
        done.map_err(|error| failed(error.inner))?;
        Ok(())
    }

    /// Bytes of stack that the code in the context takes, without the arguments in its caller's
    /// frame.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if they are more than the limit for this symbol.
    fn frame(&self, env: &Env<'_>, symbol: Symbol) -> Result<u32, Error> {
        let compiled = self.context.compiled_code().expect("compiled");
        let layout = compiled.buffer.frame_layout().expect("every frame has one");
        let frame = layout.frame_to_fp_offset;
        let limit = match symbol {
            Symbol::Function(_) => MAX_FRAME,
            _ => TRAMPOLINE_FRAME,
        };
        if frame > limit {
            return Err(Error::TooLarge {
                what: format!("the stack frame in bytes of {}", describe(env, symbol)),
                found: frame.into(),
                limit: limit.into(),
            });
        }
        Ok(frame)
    }

    /// Copies what the artifact needs of the code in the context. `None` if the code cannot be
    /// rewritten with [`stops`].
    fn finish(&self, env: &Env<'_>, symbol: Symbol) -> Option<CompiledFunction> {
        let compiled = self.context.compiled_code().expect("compiled");
        let buffer = &compiled.buffer;
        let srclocs = buffer.get_srclocs_sorted();
        let is_stop = |at| !self.scratch.stops.is_empty() && stops::is_stop(srclocs, at);
        let rewritten = self.rewrite(env)?;
        let mut relocs: Vec<_> = buffer
            .relocs()
            .iter()
            .map(|reloc| self.relocation(symbol, reloc))
            .chain(rewritten.relocs)
            .collect();
        relocs.sort_by_key(|reloc| reloc.offset);
        let mut traps: Vec<_> = buffer
            .traps()
            .iter()
            .filter(|trap| !is_stop(trap.offset))
            .filter_map(|trap| Some((trap.offset, translate::artifact_code(trap.code)?)))
            .collect();
        traps.sort_by_key(|(offset, _)| *offset);
        let mut handlers: Vec<_> = match symbol {
            Symbol::Function(_) => buffer.call_sites().filter_map(handler).collect(),
            // An entry records its landing pad in the store context, so the table does not have it.
            _ => Vec::new(),
        };
        handlers.sort_by_key(|(call, _)| *call);
        let addresses = match symbol {
            Symbol::Function(_) => {
                let is_access = |code| translate::is_access(code);
                let of_accesses = buffer.traps().iter().filter(|trap| is_access(trap.code));
                let mut of_accesses: Vec<_> = of_accesses.map(|t| (t.offset, t.code)).collect();
                of_accesses.sort_unstable_by_key(|(offset, _)| *offset);
                let remains = |inst| self.context.func.layout.inst_block(inst).is_some();
                let accesses = &self.scratch.accesses;
                let mut seen = translate::resolve(accesses, &of_accesses, srclocs, remains);
                let others = buffer.traps().iter().filter(|trap| !is_access(trap.code));
                let others = others.map(|trap| trap.offset).filter(|at| !is_stop(*at));
                let unit = instruction_unit(env.isa.triple().architecture);
                let calls = buffer.call_sites().map(|call| call.ret_addr - 1);
                seen.extend(
                    others
                        .chain(calls)
                        .filter_map(|at| Some((at, translate::place(srclocs, at)?))),
                );
                let stops = rewritten.places.into_iter();
                seen.extend(stops.map(|(at, number)| (at, self.scratch.stops[number])));
                addresses(seen, unit)
            }
            _ => Box::default(),
        };
        let changes = match symbol {
            Symbol::Function(_) => self.scratch.changes().into(),
            _ => Box::default(),
        };
        // Functions of the module get the alignment that is best for speed. Trampolines run seldom
        // enough that the least alignment will do.
        let alignment = env.isa.function_alignment();
        let starts = match symbol {
            Symbol::Function(_) => Starts::multiples(alignment.preferred.max(buffer.alignment)),
            _ => Starts::multiples(alignment.minimum.max(buffer.alignment)),
        };
        let mut function = CompiledFunction {
            symbol,
            code: rewritten.code.into(),
            starts,
            relocs: relocs.into(),
            traps: traps.into(),
            handlers: handlers.into(),
            addresses,
            changes,
        };
        let is_x86_64 = env.isa.triple().architecture == Architecture::X86_64;
        if is_x86_64 && matches!(symbol, Symbol::Function(_)) {
            let mut blocks = compiled.bb_starts.clone();
            if env.jumps.short || env.jumps.copied {
                let (context, jumps) = (&self.context, env.jumps);
                relax::relax_function(&mut function, &mut blocks, context, jumps);
            }
            if env.loops {
                let code = &function.code;
                function.starts = starts.best(buffer.alignment, &mut blocks, code);
            }
        }
        Some(function)
    }

    /// The code that the context has just compiled, rewritten with its [`stops`]. `None` if that is
    /// not possible.
    fn rewrite(&self, env: &Env<'_>) -> Option<Rewritten> {
        let compiled = self.context.compiled_code().expect("compiled");
        let buffer = &compiled.buffer;
        let srclocs = buffer.get_srclocs_sorted();
        let found = buffer.traps().iter().filter_map(|trap| {
            let code = translate::artifact_code(trap.code)?;
            let offset = trap.offset;
            stops::is_stop(srclocs, offset).then_some(Stop { offset, code })
        });
        let found: Vec<_> = match self.scratch.stops.is_empty() {
            true => Vec::new(),
            false => found.collect(),
        };
        if found.is_empty() {
            let code = buffer.data().into();
            return Some(Rewritten {
                code,
                ..Rewritten::default()
            });
        }
        let layout = buffer.frame_layout().expect("every frame has one");
        let frame = stops::Frame {
            size: layout.frame_to_fp_offset,
            vmctx: layout.stackslots[self.scratch.vmctx_slot()?].offset,
        };
        let architecture = env.isa.triple().architecture;
        stops::rewrite(architecture, buffer.data(), &found, srclocs, frame)
    }

    fn relocation(&self, symbol: Symbol, reloc: &FinalizedMachReloc) -> Relocation {
        let names = self.context.func.params.user_named_funcs();
        let (target, addend) = match &reloc.target {
            FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                (Symbol::from_name(&names[*name]), reloc.addend)
            }
            FinalizedRelocTarget::ExternalName(ExternalName::LibCall(libcall)) => {
                (Symbol::of_libcall(*libcall), reloc.addend)
            }
            // The relocation refers to another place in the same function.
            FinalizedRelocTarget::Func(offset) => (symbol, reloc.addend + i64::from(*offset)),
            other => panic!("no symbol is called {other:?}"),
        };
        Relocation {
            offset: reloc.offset,
            kind: reloc.kind,
            target,
            addend,
        }
    }
}

/// Instructions that fault, in the place of a function that nothing calls.
fn omitted(symbol: Symbol, architecture: Architecture) -> CompiledFunction {
    let filler = match architecture {
        Architecture::X86_64 => 0xcc,
        // Zeros are an illegal instruction.
        _ => 0,
    };
    CompiledFunction {
        symbol,
        code: [filler; 4].into(),
        starts: Starts::multiples(4),
        relocs: Box::default(),
        traps: Box::default(),
        handlers: Box::default(),
        addresses: Box::default(),
        changes: Box::default(),
    }
}

/// The handler of a call, if it has one. A call has at most one handler, for exceptions of every
/// tag.
fn handler(call: FinalizedMachCallSite<'_>) -> Option<(u32, Handler)> {
    let code = match call.exception_handlers {
        [] => return None,
        [FinalizedMachExceptionHandler::Default(code)] => *code,
        others => panic!("the translation makes no calls with the handlers {others:?}"),
    };
    let frame = call.frame_offset.expect("every frame has a size");
    Some((call.ret_addr, Handler { code, frame }))
}

/// Describes a symbol in an error.
fn describe(env: &Env<'_>, symbol: Symbol) -> String {
    let Symbol::Function(index) = symbol else {
        return format!("{symbol:?}");
    };
    let func = env.module.func_index(index);
    let start = env.module.body_range(index).start;
    match env.module.names.function(func) {
        Some(name) => format!(
            "function `{}` ({}, at byte {start:#x})",
            shown(name),
            func.as_u32()
        ),
        None => format!("function {} (at byte {start:#x})", func.as_u32()),
    }
}
