//! How code stops: the one place that knows the difference between the strategies.
//!
//! - *Guarded*: a trap is an instruction that faults, with an entry in the trap table; the signal
//!   handler does the rest.
//! - *Checked*: no instruction may rely on a signal. A trap is a branch to a cold block that calls
//!   the loader's `raise_trap`, which does not return. Each trap has a block of its own, so that
//!   its return address tells where in the wasm it happened.

use cranelift_codegen::ir::{self, InstBuilder, Value};
use precast_artifact::{Strategy, TrapCode};

use super::FuncTranslator;
use super::accesses::is_access;

/// The code that Cranelift carries for this trap.
pub(crate) fn clif_code(code: TrapCode) -> ir::TrapCode {
    ir::TrapCode::unwrap_user(code as u8)
}

/// Behind a call that does not return. Never reached, and in no table.
pub(crate) const AFTER_NO_RETURN: ir::TrapCode = ir::TrapCode::unwrap_user(200);

/// The trap of a Cranelift trap code, or `None` for one that the trap table does not hold: accesses
/// to linear memory, which the loader recognises by the address that faulted.
pub(crate) fn artifact_code(code: ir::TrapCode) -> Option<TrapCode> {
    match code {
        ir::TrapCode::STACK_OVERFLOW => Some(TrapCode::StackOverflow),
        ir::TrapCode::INTEGER_OVERFLOW => Some(TrapCode::IntegerOverflow),
        ir::TrapCode::INTEGER_DIVISION_BY_ZERO => Some(TrapCode::IntegerDivideByZero),
        ir::TrapCode::BAD_CONVERSION_TO_INTEGER => Some(TrapCode::InvalidConversionToInteger),
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

    /// Stops here. Ends the current Cranelift block; what follows is unreachable.
    pub(crate) fn trap(&mut self, code: TrapCode) {
        if self.traps_by_signal() {
            // A block of nothing but a trap would become a conditional trap in the block before,
            // which has no place in the wasm. No instruction comes of this.
            self.builder.ins().sequence_point();
            self.builder.ins().trap(clif_code(code));
        } else {
            self.raise(code);
        }
    }

    /// Stops if `condition` is not zero.
    pub(crate) fn trapnz(&mut self, condition: Value, code: TrapCode) {
        if self.traps_by_signal() {
            self.builder.ins().trapnz(condition, clif_code(code));
        } else {
            let (stop, next) = (self.builder.create_block(), self.builder.create_block());
            self.builder.ins().brif(condition, stop, &[], next, &[]);
            self.raise_in(stop, next, code);
        }
    }

    /// Stops if `condition` is zero.
    pub(crate) fn trapz(&mut self, condition: Value, code: TrapCode) {
        if self.traps_by_signal() {
            self.builder.ins().trapz(condition, clif_code(code));
        } else {
            let (stop, next) = (self.builder.create_block(), self.builder.create_block());
            self.builder.ins().brif(condition, next, &[], stop, &[]);
            self.raise_in(stop, next, code);
        }
    }

    /// Fills the cold block `stop` and goes on in `next`.
    fn raise_in(&mut self, stop: ir::Block, next: ir::Block, code: TrapCode) {
        self.builder.seal_block(stop);
        self.builder.seal_block(next);
        self.builder.set_cold_block(stop);
        self.builder.switch_to_block(stop);
        self.raise(code);
        self.builder.switch_to_block(next);
    }

    fn raise(&mut self, code: TrapCode) {
        self.note_fuel();
        let vmctx = self.kept_vmctx();
        self.call_raise(vmctx, code);
        self.builder.ins().trap(AFTER_NO_RETURN);
    }
}
