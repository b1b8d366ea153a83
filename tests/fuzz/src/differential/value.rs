//! Values and outcomes that can be compared between engines.

use precast_loader::{HeapType, Trap, ValType};

use crate::Case;

/// A value, as far as engines must agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// An `i32`.
    I32(u32),
    /// An `i64`.
    I64(u64),
    /// The bits of an `f32`. The generators make all NaNs equal.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
    /// Whether the reference is to a function and not null.
    Func(bool),
    /// The number that the host has wrapped, or null.
    Extern(Option<u32>),
    /// Whether the reference is to an exception and not null.
    Exn(bool),
}

impl Value {
    /// A random value, which is likely to be at the edge of a range.
    pub fn random(case: &mut Case, ty: ValType) -> Self {
        const EDGES: [u64; 20] = [
            0,
            1,
            2,
            7,
            8,
            0xff,
            0xffff,
            0x1_0000,
            0x1_0001,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_fff8,
            0xffff_ffff,
            0x1_0000_0000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
            u64::MAX,
            u64::MAX - 7,
            0x7ff0_0000_0000_0000,
            0x4330_0000_0000_0001,
        ];
        const SINGLES: [u32; 9] = [
            0,
            0x8000_0000,
            0x3f80_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0x4f00_0000,
            0xcf00_0000,
            1,
        ];
        const DOUBLES: [u64; 9] = [
            0,
            1 << 63,
            0x3ff0_0000_0000_0000,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            0x41e0_0000_0000_0000,
            0xc3e0_0000_0000_0000,
            1,
        ];
        let bits = match case.rng.u32(..4) {
            0 => case.rng.u64(..),
            1 => case.rng.u64(..300),
            _ => *case.one_of(&EDGES),
        };
        match ty {
            ValType::I32 => Self::I32(bits as u32),
            ValType::I64 => Self::I64(bits),
            ValType::F32 => Self::F32(*case.one_of(&SINGLES)),
            ValType::F64 => Self::F64(*case.one_of(&DOUBLES)),
            ValType::V128 => Self::V128(u128::from(bits) << 64 | u128::from(case.rng.u64(..))),
            ValType::Ref(ty) if ty.heap_type().top() == HeapType::Func => Self::Func(false),
            ValType::Ref(ty) if ty.heap_type().top() == HeapType::Exn => Self::Exn(false),
            ValType::Ref(_) => Self::Extern((!case.once_in(3)).then(|| case.rng.u32(..4))),
        }
    }

    /// A result of a host function of the harness in its `n`th call.
    pub fn of_host(ty: ValType, n: u32) -> Self {
        match ty {
            ValType::I32 => Self::I32(n.wrapping_mul(0x0101)),
            ValType::I64 => Self::I64(u64::from(n) << 30),
            ValType::F32 => Self::F32((n as f32).to_bits()),
            ValType::F64 => Self::F64(f64::from(n).to_bits()),
            ValType::V128 => Self::V128(u128::from(n) << 60),
            ValType::Ref(ty) if ty.heap_type().top() == HeapType::Func => Self::Func(false),
            ValType::Ref(ty) if ty.heap_type().top() == HeapType::Exn => Self::Exn(false),
            ValType::Ref(_) => Self::Extern(n.is_multiple_of(2).then_some(n % 4)),
        }
    }
}

/// How an instantiation or a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Success, with these results.
    Returned(Vec<Value>),
    /// A trap.
    Trapped(Trap),
    /// An exception with these values, which nothing caught.
    Threw(Vec<Value>),
    /// A host function of the harness failed.
    HostFailed,
    /// The engine refused the operation, because imports do not fit, because of a limit, and so on.
    Refused,
}

impl Outcome {
    /// Whether engines must agree on this outcome and on the state after it. Engines may differ in
    /// how deep a recursion may go, and in how much fuel an operator takes.
    pub fn is_binding(&self) -> bool {
        let different = [Trap::StackOverflow, Trap::OutOfFuel, Trap::Interrupt];
        !matches!(self, Self::Trapped(code) if different.contains(code))
    }
}
