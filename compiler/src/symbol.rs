//! Names of everything that the compiler emits or refers to.
//!
//! A [`Symbol`] is the name of a piece of text, of a slot of the GOT or of read-only data.
//! Cranelift carries it through code generation as a `(namespace, index)` pair; [`Symbol::to_name`]
//! and [`Symbol::from_name`] are the only functions that know the encoding. Trampolines and thunks
//! follow the module's own functions in the text in the order of their symbols, so this order must
//! depend on nothing but the module.

use cranelift_codegen::ir::{LibCall as ClifLibCall, UserExternalName};
use cranelift_entity::{EntityRef, entity_impl};
use precast_artifact::{Builtin, LibCall, TrapCode};

/// Index of a function in the module's function index space, in which imports come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FuncIndex(u32);
entity_impl!(FuncIndex, "func");

/// Index of a function that the module defines, counted from the first that is not imported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DefinedFuncIndex(u32);
entity_impl!(DefinedFuncIndex, "defined");

/// Index of a table in the module's table index space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableIndex(u32);
entity_impl!(TableIndex, "table");

/// Index of a linear memory in the module's memory index space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemoryIndex(u32);
entity_impl!(MemoryIndex, "memory");

/// Index of a global in the module's global index space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GlobalIndex(u32);
entity_impl!(GlobalIndex, "global");

/// Index of a tag in the module's tag index space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TagIndex(u32);
entity_impl!(TagIndex, "tag");

/// Index of a type in the module's type section. Several types may be the same signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TypeIndex(u32);
entity_impl!(TypeIndex, "type");

/// Index of a signature. Equal types of the type section have the same signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SigIndex(u32);
entity_impl!(SigIndex, "signature");

/// Index of a data segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DataIndex(u32);
entity_impl!(DataIndex, "data");

/// Index of an element segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ElemIndex(u32);
entity_impl!(ElemIndex, "elem");

/// What a slot of the GOT holds. Slots are in the order of these values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum GotEntry {
    /// Address of the routine for an operation that the CPU lacks.
    LibCall(LibCall),
    /// Type id of a signature with too many values to be its own type id.
    TypeId(SigIndex),
}

/// A way to round a float to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rounding {
    Ceil,
    Floor,
    Trunc,
    /// To nearest, ties to even.
    Nearest,
}

impl Rounding {
    /// All variants, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Ceil, Self::Floor, Self::Trunc, Self::Nearest];
}

/// A float type, named by its size in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Float {
    F32,
    F64,
}

/// The name of something that the compiler emits or refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Symbol {
    /// A function of the module.
    Function(DefinedFuncIndex),
    /// Code that the host calls with native arguments, and that calls a function of this signature.
    NativeEntry(SigIndex),
    /// Code that the host calls with an array of values, and that calls a function of this
    /// signature.
    ArrayEntry(SigIndex),
    /// Code that wasm code calls, and that calls a host function's native shim.
    NativeExit(SigIndex),
    /// Code that wasm code calls, and that calls a host function's array shim.
    ArrayExit(SigIndex),
    /// Code for an imported function in a frozen table, whose elements are called with the VM
    /// context of the caller.
    ImportThunk(FuncIndex),
    /// Code that records the edge of the wasm frames and calls a routine of the loader.
    BuiltinThunk(Builtin),
    /// Code that ends the activation with this trap.
    Raise(TrapCode),
    /// Code for [stops](crate::stops) on x86-64: calls the thunk of `raise_trap` with the stop as
    /// return address.
    Stop,
    /// Code that Cranelift's own calls go to and that calls the loader's routine.
    LibCallThunk(LibCall),
    /// Code that Cranelift's own calls go to if the CPU cannot round.
    Round(Rounding, Float),
    /// An 8-byte slot of the GOT (data).
    GotSlot(GotEntry),
    /// The entries of a frozen table (read-only data).
    FrozenTable(TableIndex),
    /// First byte of the text.
    TextStart,
}

impl Symbol {
    /// The code that one of Cranelift's library calls goes to.
    pub(crate) fn of_libcall(libcall: ClifLibCall) -> Self {
        use Float::{F32, F64};
        use Rounding::{Ceil, Floor, Nearest, Trunc};
        match libcall {
            ClifLibCall::CeilF32 => Self::Round(Ceil, F32),
            ClifLibCall::CeilF64 => Self::Round(Ceil, F64),
            ClifLibCall::FloorF32 => Self::Round(Floor, F32),
            ClifLibCall::FloorF64 => Self::Round(Floor, F64),
            ClifLibCall::TruncF32 => Self::Round(Trunc, F32),
            ClifLibCall::TruncF64 => Self::Round(Trunc, F64),
            ClifLibCall::NearestF32 => Self::Round(Nearest, F32),
            ClifLibCall::NearestF64 => Self::Round(Nearest, F64),
            ClifLibCall::FmaF32 => Self::LibCallThunk(LibCall::FmaF32),
            ClifLibCall::FmaF64 => Self::LibCallThunk(LibCall::FmaF64),
            ClifLibCall::X86Pshufb => Self::LibCallThunk(LibCall::X86Pshufb),
            other => panic!("wasm code never needs {other:?}"),
        }
    }

    /// The name that stands for this symbol inside Cranelift.
    pub(crate) fn to_name(self) -> UserExternalName {
        let (namespace, index) = match self {
            Self::Function(i) => (0, i.as_u32()),
            Self::NativeEntry(i) => (1, i.as_u32()),
            Self::ArrayEntry(i) => (2, i.as_u32()),
            Self::NativeExit(i) => (3, i.as_u32()),
            Self::ArrayExit(i) => (4, i.as_u32()),
            Self::ImportThunk(i) => (5, i.as_u32()),
            Self::BuiltinThunk(b) => (6, b as u32),
            Self::LibCallThunk(l) => (7, l as u32),
            Self::Round(how, Float::F32) => (8, how as u32),
            Self::Round(how, Float::F64) => (8, 4 + how as u32),
            Self::GotSlot(GotEntry::LibCall(l)) => (9, l as u32),
            Self::GotSlot(GotEntry::TypeId(i)) => (10, i.as_u32()),
            Self::FrozenTable(i) => (11, i.as_u32()),
            Self::TextStart => (12, 0),
            Self::Raise(code) => (13, code as u32),
            Self::Stop => (14, 0),
        };
        UserExternalName { namespace, index }
    }

    /// The symbol that [`Symbol::to_name`] encoded as this name.
    ///
    /// # Panics
    ///
    /// If no symbol has that name.
    pub(crate) fn from_name(name: &UserExternalName) -> Self {
        let index = name.index as usize;
        let builtin = || Builtin::from_number(name.index).expect("number of a builtin");
        let libcall = || LibCall::from_number(name.index).expect("number of a library call");
        match name.namespace {
            0 => Self::Function(DefinedFuncIndex::new(index)),
            1 => Self::NativeEntry(SigIndex::new(index)),
            2 => Self::ArrayEntry(SigIndex::new(index)),
            3 => Self::NativeExit(SigIndex::new(index)),
            4 => Self::ArrayExit(SigIndex::new(index)),
            5 => Self::ImportThunk(FuncIndex::new(index)),
            6 => Self::BuiltinThunk(builtin()),
            7 => Self::LibCallThunk(libcall()),
            8 if index < 4 => Self::Round(Rounding::ALL[index], Float::F32),
            8 => Self::Round(Rounding::ALL[index - 4], Float::F64),
            9 => Self::GotSlot(GotEntry::LibCall(libcall())),
            10 => Self::GotSlot(GotEntry::TypeId(SigIndex::new(index))),
            11 => Self::FrozenTable(TableIndex::new(index)),
            12 => Self::TextStart,
            13 => Self::Raise(TrapCode::from_number(name.index).expect("number of a trap")),
            14 => Self::Stop,
            n => panic!("no symbol has namespace {n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_differ() {
        let mut all = vec![Symbol::TextStart, Symbol::Stop];
        for i in [0_u32, 1, 70_000] {
            let sig = SigIndex::from_u32(i);
            all.extend([
                Symbol::Function(DefinedFuncIndex::from_u32(i)),
                Symbol::NativeEntry(sig),
                Symbol::ArrayEntry(sig),
                Symbol::NativeExit(sig),
                Symbol::ArrayExit(sig),
                Symbol::ImportThunk(FuncIndex::from_u32(i)),
                Symbol::GotSlot(GotEntry::TypeId(sig)),
                Symbol::FrozenTable(TableIndex::from_u32(i)),
            ]);
        }
        for &builtin in Builtin::ALL {
            all.push(Symbol::BuiltinThunk(builtin));
        }
        all.extend(TrapCode::ALL.iter().copied().map(Symbol::Raise));
        for how in Rounding::ALL {
            all.extend([Float::F32, Float::F64].map(|ty| Symbol::Round(how, ty)));
        }
        for &libcall in LibCall::ALL {
            all.push(Symbol::LibCallThunk(libcall));
            all.push(Symbol::GotSlot(GotEntry::LibCall(libcall)));
        }
        for (i, a) in all.iter().enumerate() {
            assert_eq!(Symbol::from_name(&a.to_name()), *a);
            for b in &all[i + 1..] {
                assert_ne!(a.to_name(), b.to_name(), "{a:?} {b:?}");
            }
        }
    }
}
