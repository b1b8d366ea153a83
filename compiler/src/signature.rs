//! Cranelift signatures of the calling conventions that [`precast_artifact::vm`] lists.

use cranelift_codegen::ir::types::{F32, F64, I8X16, I32, I64};
use cranelift_codegen::ir::{AbiParam, ArgumentExtension, ArgumentPurpose, Signature, Type};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use precast_artifact::{Builtin, LibCall, ValType};
use target_lexicon::Architecture;

use crate::module;

/// The Cranelift type of a wasm value.
pub(crate) fn clif_type(ty: ValType) -> Type {
    match ty {
        ValType::I32 => I32,
        ValType::F32 => F32,
        ValType::F64 => F64,
        ValType::V128 => I8X16,
        ValType::I64 | ValType::Ref(_) => I64,
    }
}

/// `tail`: `(vmctx, P…) -> R…`. The first parameter of an exit is its import slot instead.
pub(crate) fn wasm(signature: &module::Signature) -> Signature {
    let value = |ty: &ValType| AbiParam::new(clif_type(*ty));
    let vmctx = AbiParam::special(I64, ArgumentPurpose::VMContext);
    Signature {
        params: [vmctx]
            .into_iter()
            .chain(signature.params.iter().map(value))
            .collect(),
        returns: signature.results.iter().map(value).collect(),
        call_conv: CallConv::Tail,
    }
}

/// The platform's C convention: `leading` pointers, then the wasm parameters, at most one result.
pub(crate) fn native(
    isa: &dyn TargetIsa,
    leading: usize,
    signature: &module::Signature,
) -> Signature {
    let value = |ty: &ValType| c_param(isa, clif_type(*ty), false);
    Signature {
        params: std::iter::repeat_n(AbiParam::new(I64), leading)
            .chain(signature.params.iter().map(value))
            .collect(),
        returns: signature.results.iter().map(value).collect(),
        call_conv: isa.default_call_conv(),
    }
}

/// The platform's C convention: `count` pointers, no result.
pub(crate) fn pointers(isa: &dyn TargetIsa, count: usize) -> Signature {
    Signature {
        params: vec![AbiParam::new(I64); count],
        returns: Vec::new(),
        call_conv: isa.default_call_conv(),
    }
}

/// A routine of the loader, in the platform's C convention.
pub(crate) fn builtin(isa: &dyn TargetIsa, builtin: Builtin) -> Signature {
    let (params, result) = builtin_types(builtin);
    // Every 32-bit parameter is unsigned, except the `int` value of `memset`.
    let is_fill = matches!(builtin, Builtin::MemSet | Builtin::MemoryFill);
    let value = |ty: &Type| c_param(isa, *ty, !is_fill);
    Signature {
        params: params.iter().map(value).collect(),
        returns: result.iter().map(value).collect(),
        call_conv: isa.default_call_conv(),
    }
}

/// The thunk of a routine of the loader: the same types, in the `tail` convention. Code that is
/// seldom interrupted keeps its registers over that call, as for [`raise`].
pub(crate) fn builtin_thunk(builtin: Builtin) -> Signature {
    let (params, result) = builtin_types(builtin);
    Signature {
        params: params.iter().map(|ty| AbiParam::new(*ty)).collect(),
        returns: result.iter().map(|ty| AbiParam::new(*ty)).collect(),
        call_conv: match builtin {
            Builtin::Interrupted => CallConv::PreserveAll,
            _ => CallConv::Tail,
        },
    }
}

/// Code that ends the activation with a trap: `(vmctx)`. The convention preserves all registers.
/// Calls of this code never return, but with other conventions register allocation would have to
/// record each clobbered register at each call.
pub(crate) fn raise() -> Signature {
    Signature {
        params: vec![AbiParam::new(I64)],
        returns: Vec::new(),
        call_conv: CallConv::PreserveAll,
    }
}

/// Types of a builtin's parameters and result.
fn builtin_types(builtin: Builtin) -> (&'static [Type], Option<Type>) {
    match builtin {
        Builtin::MemoryGrow => (&[I64, I32, I64], Some(I64)),
        Builtin::MemoryInit => (&[I64, I32, I32, I64, I64, I64], None),
        Builtin::MemMove => (&[I64, I64, I64], None),
        Builtin::MemSet => (&[I64, I32, I64], None),
        Builtin::TableGrow => (&[I64, I32, I64, I64], Some(I64)),
        Builtin::TableInit => (&[I64, I32, I32, I64, I64, I64], None),
        Builtin::TableCopy => (&[I64, I32, I32, I64, I64, I64], None),
        Builtin::TableFill => (&[I64, I32, I64, I64, I64], None),
        Builtin::RefFunc => (&[I64, I32], Some(I64)),
        Builtin::RaiseTrap => (&[I64, I32], None),
        Builtin::MemoryCopy => (&[I64, I64, I64, I64], None),
        Builtin::MemoryFill => (&[I64, I64, I32, I64], None),
        Builtin::ExceptionNew | Builtin::ExceptionGet => (&[I64, I64], Some(I64)),
        Builtin::ExceptionThrow => (&[I64, I64], None),
        Builtin::MemoryWait32 => (&[I64, I32, I64, I32, I64], Some(I32)),
        Builtin::MemoryWait64 => (&[I64, I32, I64, I64, I64], Some(I32)),
        Builtin::MemoryNotify => (&[I64, I32, I64, I32], Some(I32)),
        Builtin::Interrupted => (&[I64], None),
        Builtin::IsSubtype => (&[I64, I64, I64], Some(I64)),
        Builtin::FunctionBefore | Builtin::FunctionAfter => (&[I64, I32, I64], None),
        _ => unreachable!("a builtin that this compiler does not know is never called"),
    }
}

/// A library call, in the convention in which Cranelift calls it.
pub(crate) fn libcall(isa: &dyn TargetIsa, libcall: LibCall) -> Signature {
    let (ty, operands) = match libcall {
        LibCall::FmaF32 => (F32, 3),
        LibCall::FmaF64 => (F64, 3),
        LibCall::X86Pshufb => (I8X16, 2),
        _ => unreachable!("a library call that this compiler does not know is never called"),
    };
    called_by_cranelift(isa, ty, operands)
}

/// A function that Cranelift calls in place of an instruction.
pub(crate) fn called_by_cranelift(isa: &dyn TargetIsa, ty: Type, operands: usize) -> Signature {
    Signature {
        params: vec![AbiParam::new(ty); operands],
        returns: vec![AbiParam::new(ty)],
        call_conv: CallConv::for_libcall(isa.flags(), isa.default_call_conv()),
    }
}

/// A parameter or result of a C function. On some platforms the code that passes an integer must
/// extend it to 64 bits: on z/Architecture according to its type, which is `int` for an i32; on
/// RISC-V an unsigned 32-bit integer is sign extended, too.
fn c_param(isa: &dyn TargetIsa, ty: Type, unsigned: bool) -> AbiParam {
    let extension = match isa.triple().architecture {
        Architecture::Riscv64(_) if ty == I32 => ArgumentExtension::Sext,
        Architecture::S390x if ty == I32 && unsigned => ArgumentExtension::Uext,
        Architecture::S390x if ty == I32 => ArgumentExtension::Sext,
        _ => ArgumentExtension::None,
    };
    AbiParam {
        extension,
        ..AbiParam::new(ty)
    }
}
