//! How code traps. This is the only file that decides how code raises a trap under each strategy.
//!
//! - *Guarded*: a trap is an instruction that faults, with an entry in the trap table; the signal
//!   handler does the rest.
//! - *Checked*: no instruction may rely on a signal. Code that traps calls the loader's
//!   `raise_trap`, which does not return. A trap with a condition is a conditional trap in
//!   Cranelift's IR, which [`stops`] turns into such a call. Where that is not possible, it is a
//!   branch to a cold block with the call. Each call has its own return address, which shows which
//!   wasm instruction trapped.

use cranelift_codegen::ir::{self, InstBuilder, Value};
use precast_artifact::{Strategy, TrapCode};

use super::FuncTranslator;
use super::accesses::is_access;
use crate::stops;

/// Cranelift's trap code for this trap.
pub(crate) fn clif_code(code: TrapCode) -> ir::TrapCode {
    ir::TrapCode::unwrap_user(code as u8)
}

/// Trap code of the instruction after a call that does not return. It is never reached, so the trap
/// table does not have it.
pub(crate) const AFTER_NO_RETURN: ir::TrapCode = ir::TrapCode::unwrap_user(200);

/// The trap that a Cranelift trap code stands for, or `None` if the trap table does not have it:
/// the loader recognises faults of accesses to linear memory by the address that they accessed.
pub(crate) fn artifact_code(code: ir::TrapCode) -> Option<TrapCode> {
    match code {
        ir::TrapCode::STACK_OVERFLOW => Some(TrapCode::StackOverflow),
        ir::TrapCode::INTEGER_OVERFLOW => Some(TrapCode::IntegerOverflow),
        ir::TrapCode::INTEGER_DIVISION_BY_ZERO => Some(TrapCode::IntegerDivisionByZero),
        ir::TrapCode::BAD_CONVERSION_TO_INTEGER => Some(TrapCode::BadConversionToInteger),
        ir::TrapCode::HEAP_OUT_OF_BOUNDS | AFTER_NO_RETURN => None,
        code if is_access(code) => None,
        other => {
            let code = TrapCode::from_number(u32::from(other.as_raw().get()));
            Some(code.expect("only codes made by clif_code"))
        }
    }
}

impl FuncTranslator<'_, '_> {
    /// Whether instructions may trap by themselves.
    pub(crate) fn traps_by_signal(&self) -> bool {
        self.env.strategy == Strategy::Guarded
    }

    /// Traps. This ends the current Cranelift block; code after it is unreachable.
    pub(crate) fn trap(&mut self, code: TrapCode) {
        if self.traps_by_signal() {
            // Cranelift would turn a block with nothing but a trap into a conditional trap in the
            // block before, without a source location. The sequence point prevents that, and costs
            // no instruction.
            self.builder.ins().sequence_point();
            self.builder.ins().trap(clif_code(code));
        } else {
            self.raise(code);
        }
    }

    /// Traps if `condition` is not zero.
    pub(crate) fn trapnz(&mut self, condition: Value, code: TrapCode) {
        if self.traps_by_signal() {
            self.builder.ins().trapnz(condition, clif_code(code));
        } else if self.begin_stop() {
            self.builder.ins().trapnz(condition, clif_code(code));
            self.end_stop();
        } else {
            let (stop, next) = (self.builder.create_block(), self.builder.create_block());
            self.builder.ins().brif(condition, stop, &[], next, &[]);
            self.raise_in(stop, next, code);
        }
    }

    /// Traps if `condition` is zero.
    pub(crate) fn trapz(&mut self, condition: Value, code: TrapCode) {
        if self.traps_by_signal() {
            self.builder.ins().trapz(condition, clif_code(code));
        } else if self.begin_stop() {
            self.builder.ins().trapz(condition, clif_code(code));
            self.end_stop();
        } else {
            let (stop, next) = (self.builder.create_block(), self.builder.create_block());
            self.builder.ins().brif(condition, next, &[], stop, &[]);
            self.raise_in(stop, next, code);
        }
    }

    /// Gives the next instruction, a conditional trap, the source location of a stop. Returns false
    /// if the trap cannot become a stop.
    fn begin_stop(&mut self) -> bool {
        if !self.has_stops {
            return false;
        }
        let Some(location) = stops::location(self.stops.len()) else {
            return false;
        };
        self.stops.push(self.builder.srcloc().bits());
        self.vmctx_slot();
        self.builder.set_srcloc(location);
        true
    }

    fn end_stop(&mut self) {
        let wasm = *self.stops.last().expect("one has begun");
        self.builder.set_srcloc(ir::SourceLoc::new(wasm));
    }

    /// Fills the cold block `stop` and continues in `next`.
    fn raise_in(&mut self, stop: ir::Block, next: ir::Block, code: TrapCode) {
        self.builder.seal_block(stop);
        self.builder.seal_block(next);
        self.builder.set_cold_block(stop);
        self.builder.switch_to_block(stop);
        self.raise(code);
        self.builder.switch_to_block(next);
    }

    fn raise(&mut self, code: TrapCode) {
        self.save_fuel_aside();
        let vmctx = self.kept_vmctx();
        self.call_raise(vmctx, code);
        self.builder.ins().trap(AFTER_NO_RETURN);
    }
}
